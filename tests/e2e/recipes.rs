//! Every recipe that ships plans, builds from the samples and verifies, and its rules catch what was planted for them.

use std::{collections::BTreeMap, fs, path::PathBuf};

use arrow_array::{cast::AsArray, types::UInt64Type};
use serde_json::Value;
use setaccio_base::row::Kind;
use setaccio_dataset::columns::ContentColumns;

use crate::fixture::{Fixture, ROOT, TestRng, assert_snapshot, batches, column, setaccio};

/// The names of the recipes.
fn recipes() -> Vec<String> {
    let found = fs::read_dir(format!("{ROOT}/pipelines")).unwrap().flatten().map(|e| e.path());
    let mut found: Vec<PathBuf> = found.filter(|p| p.extension().is_some_and(|e| e == "toml")).collect();
    found.sort();
    found.iter().map(|p| p.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

/// A recipe built from the samples.
struct Built {
    dir: tempfile::TempDir,
    said: String,
}

fn build(recipe: &str, args: &[&str]) -> Built {
    let dir = tempfile::tempdir().unwrap();
    let file = format!("pipelines/{recipe}.toml");
    let run = setaccio(&[&["build", &file, "--out", dir.path().to_str().unwrap()], args].concat()).assert_success();
    Built { dir, said: run.stdout }
}

impl Built {
    /// The rule that dropped each row, by file and number of the row.
    fn dropped(&self) -> BTreeMap<(String, u64), String> {
        let mut found = BTreeMap::new();
        for batch in batches(&self.dir.path().join("rejects"), "") {
            let text = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>().clone();
            let (files, rules) = (text("file"), text("rule"));
            let rows = batch.column_by_name("row").unwrap().as_primitive::<UInt64Type>().clone();
            for i in 0..rows.len() {
                found.insert((files.value(i).to_owned(), rows.value(i)), rules.value(i).to_owned());
            }
        }
        found
    }

    fn kept(&self, name: &str) -> Vec<String> {
        column(&self.dir.path().join("data"), "", name)
    }

    fn ledger(&self) -> Value {
        serde_json::from_slice(&fs::read(self.dir.path().join("ledger.json")).unwrap()).unwrap()
    }
}

/// The lines of a file of expectations.
fn expected(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(format!("{ROOT}/data/samples/expected/{name}.jsonl")).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}

#[test]
fn every_recipe_plans_builds_verifies_and_writes_its_card_again() {
    let recipes = recipes();
    assert!(recipes.len() >= 7, "{recipes:?}");
    for recipe in recipes {
        let plan = setaccio(&["plan", &format!("pipelines/{recipe}.toml")]).assert_success();
        assert_snapshot(&format!("recipes-{recipe}-plan"), plan.said());
        let built = build(&recipe, &[]);
        assert_snapshot(&format!("recipes-{recipe}-build"), &built.said);
        let out = built.dir.path();
        let shown = out.to_str().unwrap();
        setaccio(&["verify", shown]).assert_success();
        let card = fs::read_to_string(out.join("README.md")).unwrap();
        fs::remove_file(out.join("README.md")).unwrap();
        setaccio(&["card", shown]).assert_success();
        assert_eq!(fs::read_to_string(out.join("README.md")).unwrap(), card);
        let rows = built.kept("id").len();
        assert!(rows >= 50, "{recipe} keeps {rows} rows");
        let head = fs::read_to_string(format!("{ROOT}/pipelines/{recipe}.toml")).unwrap();
        assert!(head.contains("#   setaccio build") && head.contains("# Where the numbers come from"), "{recipe}");
    }
}

/// Which of several copies stays goes by content, not by position: one that was expected to stay may go.
fn are_copies(met: Option<&str>, expected: Option<&str>) -> bool {
    matches!((met, expected), (Some("dedup"), None) | (None, Some("dedup")))
}

#[test]
fn planted_rows_meet_the_rule_they_were_planted_for() {
    let planted = expected("chats");
    let mut seen = 0;
    let runs: [(&str, &[&str]); 5] = [
        ("sft-mix", &[]),
        ("sft-mix", &["--set", "variant=merged"]),
        ("dpo-mix", &[]),
        ("ultrachat", &[]),
        ("dolly", &[]),
    ];
    for (recipe, args) in runs {
        let built = build(recipe, args);
        let dropped = built.dropped();
        let ledger = built.ledger();
        let rules: Vec<&str> = ledger["stages"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|s| s["rules"].as_array().unwrap())
            .map(|r| r["rule"].as_str().unwrap())
            .collect();
        let read = fs::read_to_string(built.dir.path().join("recipe.lock.toml")).unwrap();
        let mut copies = 0;
        for case in &planted {
            let file = format!("samples/{}", case["file"].as_str().unwrap());
            if !read.contains(&format!("\"{file}\"")) {
                continue;
            }
            let rule = case["expect"].as_str().unwrap();
            let by = dropped.get(&(file, case["index"].as_u64().unwrap())).map(String::as_str);
            // An editing rule keeps its row, and so does a rule that this recipe does not have.
            let drops = rules.contains(&rule) && rule != "strip_role_tokens";
            let expected = drops.then_some(rule);
            copies += isize::from(by == Some("dedup")) - isize::from(expected == Some("dedup"));
            assert!(by == expected || are_copies(by, expected), "{recipe}: {case} met {by:?}");
            seen += 1;
        }
        assert_eq!(copies, 0, "{recipe}: of several copies one stays");
    }
    assert!(seen >= 90, "only {seen} planted cases were met");
}

#[test]
fn a_card_says_the_command_that_built_it() {
    let built = build("dolly", &["--set", "seed=7", "--limit", "60"]);
    let card = fs::read_to_string(built.dir.path().join("README.md")).unwrap();
    assert!(card.contains("\nsetaccio build pipelines/dolly.toml --set 'seed=7' --limit 60\n"), "{card}");
}

#[test]
fn no_role_token_is_left() {
    for args in [&[][..], &["--set", "variant=merged"]] {
        let built = build("sft-mix", args);
        for text in built.kept("text") {
            let lower = text.to_lowercase();
            assert!(!lower.contains("<<human>>") && !lower.contains("<<assistant>>"), "{text}");
        }
    }
}

#[test]
fn lines_of_web_pages_stay_where_the_recipe_is_told_so() {
    let built = build("clean-web-it", &["--set", "dedup.repeats.off=true"]);
    let texts = built.kept("text");
    let shared = "Le copie in alta risoluzione si consultano in sala";
    assert_eq!(texts.iter().filter(|text| text.contains(shared)).count(), 3);
    let ledger = built.ledger();
    assert!(ledger.get("repeats").is_none() && !ledger.to_string().contains("\"repeats\""), "{ledger}");
}

#[test]
fn web_pages_come_out_as_the_oracle_says() {
    let built = build("clean-web-it", &[]);
    let dropped = built.dropped();
    let urls = built.kept("url");
    let texts: BTreeMap<String, String> = urls.into_iter().zip(built.kept("text")).collect();
    let pages = batches_of_sample();
    let line = |url: &str, index: &serde_json::Value| {
        pages[url].lines().nth(usize::try_from(index.as_u64().unwrap()).unwrap()).unwrap().trim().to_owned()
    };
    // What several pages hold stays on one of them, by a hash of the page.
    let mut on_pages: BTreeMap<String, u32> = BTreeMap::new();
    for case in expected("mc4_raw_it") {
        for index in case["kept_lines"].as_array().into_iter().flatten() {
            *on_pages.entry(line(case["url"].as_str().unwrap(), index)).or_default() += 1;
        }
    }
    on_pages.retain(|_, pages| *pages > 1);
    assert_eq!(on_pages.len(), 2);
    for line in on_pages.keys() {
        assert_eq!(texts.values().flat_map(|text| text.lines()).filter(|kept| kept == line).count(), 1, "{line}");
    }
    for (row, case) in (0_u64..).zip(expected("mc4_raw_it")) {
        let url = case["url"].as_str().unwrap();
        let verdict = case["expected"].as_str().unwrap();
        let by = dropped.get(&("samples/mc4_raw_it.parquet".into(), row)).map(|r| r.replace("clean_mc4_it.", ""));
        assert_eq!(by.as_deref(), (verdict != "keep").then_some(verdict), "{case}");
        let Some(lines) = case["kept_lines"].as_array() else { continue };
        // The lines that stay, in order; citations are cut out of them, so compare what is left of each.
        let own = |line: &str| !on_pages.contains_key(line);
        let source: Vec<String> = lines.iter().map(|index| line(url, index)).filter(|line| own(line)).collect();
        let kept: Vec<&str> = texts[url].lines().filter(|line| own(line)).collect();
        assert_eq!(kept.len(), source.len(), "{url}");
        for (line, original) in kept.iter().zip(&source) {
            let cited = original.contains('[');
            if line.contains('<') {
                continue; // Personal data is masked in it, which another test looks at.
            }
            assert!(cited || line == original, "{url}: {line:?} is not {original:?}");
            assert!(line.chars().all(|c| original.contains(c)) && !line.contains("[1]"), "{url}: {line:?}");
        }
    }
}

#[test]
fn personal_data_of_web_pages_is_masked_unless_the_recipe_is_told_otherwise() {
    for (recipe, start, masked, left) in [
        (
            "clean-web-it",
            "Da lunedì la sede",
            &["ad <EMAIL> o", "tel. <PHONE> 20 posti", "al <PHONE> dopo", "conto <IBAN>,", "esempio <CODICE_FISCALE>."]
                [..],
            &["L'ordine 20200302", "45 euro", "14/03/2020"][..],
        ),
        ("adapt-it", "Il corso di primavera", &["a <EMAIL> entro", "il <PHONE> nel"], &["numero 20190311"]),
    ] {
        let text = |args: &[&str]| {
            let texts = build(recipe, args).kept("text");
            texts.into_iter().find(|text| text.starts_with(start)).unwrap_or_else(|| panic!("{recipe}: {start}"))
        };
        let on = text(&[]);
        assert!(masked.iter().chain(left).all(|part| on.contains(part)), "{on}");
        let off = text(&["--set", "filter.personal_data.off=true"]);
        assert!(!off.contains('<') && off.contains('@'), "{off}");
    }
    let strict = build("clean-web-it", &["--set", "filter.fineweb2_it.off=false"]);
    let ledger = strict.ledger().to_string();
    assert!(
        ledger.contains("fineweb2_it.quality")
            && !build("clean-web-it", &[]).ledger().to_string().contains("fineweb2_it")
    );
}

#[test]
fn what_a_filter_says_is_checked_and_named_whatever_it_is() {
    let fixture = Fixture::text("");
    fixture.write("data/web/x.jsonl", TestRng(3).lines(30));
    let mut said = String::new();
    for filter in [
        "rule='length', min_chars=3, off='yes'",
        "rule='length', min_chars=3, as=3",
        "rule='length', min_chars=3, as=' '",
        "rule='length', min_char=3, off=true",
        "rule='length', min_chars='three', off=true",
        "rule='gopher_quality', max_symbols_to_words=nan",
    ] {
        said += &fixture.build("out", &["--set", &format!("filter=[{{{filter}}}]")]).assert_failure();
    }
    assert_snapshot("recipes-filter-keys", said);
    // The parts of a rule are called after its name here.
    let filter = "filter=[{rule='clean_mc4_it', as='pages', bad_words={words=['parolaccia']}}]";
    fixture.build("out", &["--set", filter]).assert_success();
    let ledger = fs::read_to_string(fixture.path("out/ledger.json")).unwrap();
    assert!(ledger.contains("\"pages.sentences\"") && !ledger.contains("\"clean_mc4_it."), "{ledger}");
    // `--set` asks for the rule by that name.
    fixture.build("out", &["--set", filter, "--set", "filter.pages.sentences.min=1"]).assert_success();
}

fn batches_of_sample() -> BTreeMap<String, String> {
    let folder = PathBuf::from(format!("{ROOT}/data/samples"));
    let [urls, texts] = ["url", "text"].map(|c| column(&folder, "mc4_raw_it.parquet", c));
    urls.into_iter().zip(texts).collect()
}

#[test]
fn clean_web_text_comes_out_as_its_sources_say() {
    let built = build("adapt-it", &[]);
    let dropped = built.dropped();
    let mut copies = 0;
    for (row, case) in (0_u64..).zip(expected("clean_mc4_it")) {
        let verdict = case["expected"].as_str().unwrap();
        let rule = if verdict == "duplicate" { "dedup" } else { verdict };
        let by = dropped.get(&("samples/clean_mc4_it.json.gz".into(), row)).map(String::as_str);
        let expected = (rule != "keep").then_some(rule);
        copies += isize::from(by == Some("dedup")) - isize::from(expected == Some("dedup"));
        assert!(by == expected || are_copies(by, expected), "{case} met {by:?}");
    }
    assert_eq!(copies, 0, "of several copies one stays");
}

#[test]
fn pages_of_two_languages_come_out_half_and_half() {
    let built = build("culturax-it-en", &["--set", "sample.left_out=reject"]);
    let dropped = built.dropped();
    let (mut kept, mut near) = (0, 0);
    for case in expected("culturax") {
        let file = format!("samples/{}", case["file"].as_str().unwrap());
        let by = dropped.get(&(file, case["index"].as_u64().unwrap())).map(String::as_str);
        let verdict = case["expected"].as_str().unwrap();
        near += isize::from(by == Some("near")) - isize::from(verdict == "near");
        kept += usize::from(by.is_none());
        // Which of two that are near stays goes by content.
        let either = [by.unwrap_or("keep"), verdict].iter().all(|said| ["keep", "near", "sample"].contains(said));
        assert!(either || by.unwrap_or("keep") == verdict, "{case} met {by:?}");
    }
    assert_eq!(near, 0);
    let sources = built.kept("source");
    assert_eq!(sources.len(), kept);
    assert_eq!(sources.iter().filter(|source| *source == "culturax-it").count() * 2, kept);
    assert!(built.kept("origin").iter().all(|origin| origin == "mC4" || origin.starts_with("OSCAR-")));
}

#[test]
fn tasks_of_evalita_become_instructions() {
    let built = build("evalita", &[]);
    let mut rows = Vec::new();
    for batch in batches(&built.dir.path().join("data"), "") {
        let contents = ContentColumns::new(&batch, Kind::Chat).unwrap();
        let texts = |i| contents.get(i).unwrap().texts().map(str::to_owned).collect::<Vec<_>>();
        rows.extend((0..batch.num_rows()).map(texts));
    }
    for (asked, answer) in [
        ("Che concerto ieri sera!", "positivo"),
        ("Due ore di coda per un timbro", "negativo"),
        ("binario 3", "neutro"),
        ("camerieri scortesi", "misto"),
        ("1. Suonava il piano con le finestre aperte.", "no"),
        ("Ipotesi: Il poeta conosceva il latino.", "sì"),
        ("I nomadi rubano per natura", "sì"),
        ("Il mercato rionale riapre", "no"),
    ] {
        let row = rows.iter().find(|row| row[0].contains(asked)).unwrap_or_else(|| panic!("{asked}"));
        assert_eq!(row[1..], [answer], "{asked}");
    }
    assert!(rows.iter().any(|row| row[0].starts_with("La parola «pesca» ha lo stesso significato")));
}

#[test]
fn a_preview_shows_both_kinds_of_rows_and_their_reasons() {
    let shown = setaccio(&["preview", "pipelines/clean-web-it.toml", "-n", "91"]).assert_success().said();
    assert!(!shown.contains('\u{1b}'), "colours belong on a terminal");
    assert_snapshot("recipes-clean-web-it-preview", shown);
}

#[test]
fn a_preview_drops_what_the_output_has_no_place_for() {
    let fixture = Fixture::text("[output.keep]\nstars = 'int64'\n[read]\non_bad_row = 'skip'\n");
    fixture
        .write("data/web/a.jsonl", b"{\"text\": \"uno\", \"stars\": 5}\n{\"text\": \"due\", \"stars\": \"cinque\"}\n");
    let (recipe, data) = (fixture.path("recipe.toml"), fixture.path("data"));
    let shown =
        setaccio(&["preview", recipe.to_str().unwrap(), "--from", data.to_str().unwrap()]).assert_success().said();
    assert_snapshot("recipes-preview_of_a_row_with_no_place_in_the_output", shown);
    fixture.build("out", &[]).assert_success();
    assert_eq!(fixture.ids("out", "train").len(), 1, "a build drops the same");
}
