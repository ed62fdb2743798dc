//! The page that shows a build says what the ledger says, to the byte the same every time, whatever rows hold.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use serde_json::{Value, json};

use crate::fixture::{Fixture, TestRng, setaccio, web_rules};

/// What a page must show and never do.
const PLANTED: &str = "</script><script>document.title = 'planted'</script><img src=x onerror=alert(1)> \
                       [qui](javascript:alert(2)) \u{202e}oirartnoc\u{202c} \u{1b}[31mrosso\u{1b}[0m <!-- @DATA@";

/// The data of the page of the build in `out`, after it was written.
fn report(fixture: &Fixture, out: &str) -> Value {
    setaccio(&["report", fixture.path(out).to_str().unwrap()]).assert_success();
    let html = fs::read_to_string(fixture.path(out).join("report.html")).unwrap();
    let (_, rest) = html.split_once("id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

fn ledger(fixture: &Fixture, out: &str) -> Value {
    serde_json::from_slice(&fs::read(fixture.path(out).join("ledger.json")).unwrap()).unwrap()
}

/// The blocks of this kind in a page.
fn blocks<'p>(page: &'p Value, kind: &'p str) -> impl Iterator<Item = &'p Value> {
    let all = page["sections"].as_array().unwrap().iter().flat_map(|section| section["blocks"].as_array().unwrap());
    all.filter(move |block| block["is"] == kind)
}

fn rules(page: &Value) -> Vec<&Value> {
    blocks(page, "rules").flat_map(|block| block["rules"].as_array().unwrap()).collect()
}

/// The texts of a row of a page, with what is marked.
fn row<'p>(page: &'p Value, number: &Value) -> (String, Vec<&'p str>) {
    let row = &page["rows"][usize::try_from(number.as_u64().unwrap()).unwrap()];
    let parts =
        row["texts"].as_array().unwrap().iter().flat_map(|text| text["parts"].as_array().unwrap().iter().enumerate());
    let parts: Vec<(usize, &str)> = parts.map(|(i, part)| (i, part.as_str().unwrap())).collect();
    (
        parts.iter().map(|(_, part)| *part).collect(),
        parts.iter().filter(|(i, _)| i % 2 == 1).map(|(_, part)| *part).collect(),
    )
}

/// Two sources of web rows with all that can happen to them, and a planted row in each.
fn web() -> Fixture {
    let near = "[dedup.near]\nthreshold = 0.7\n";
    let personal =
        "[[filter]]\nrule = 'personal_data'\n[[filter]]\nrule = 'bad_words'\nas = 'late'\nwords = ['tardivo']\n";
    let sets = "[decontamination]\n[[decontamination.set]]\nname = 'quiz'\npath = 'quiz.jsonl'\nfields = 'question'\n";
    let rules = web_rules(40_000).replace("[dedup]\n", &format!("{personal}{sets}[dedup]\n{near}"));
    let planted = "[[filter]]\nrule = 'bad_words'\nas = 'planted'\nwords = ['piantato']\n";
    let fixture = Fixture::new("text", &[("web", "text"), ("forum", "text")], &format!("{planted}{rules}"));
    let question = "Quale fra i fiumi che attraversano la citta di Torino e il piu lungo di tutti in Italia";
    fixture.write("quiz.jsonl", format!("{}\n", json!({ "question": question })));
    for (seed, source) in [(1, "web"), (2, "forum")] {
        let mut rng = TestRng(seed);
        let mut lines = rng.lines(300);
        for first in [
            format!("{PLANTED} piantato."),
            "Scrivi ad anna@posta.example per saperne di piu.".into(),
            format!("Una domanda: {question}?"),
            "Senza un punto alla fine\nIl treno tardivo non parte.".into(),
        ] {
            let text = format!("{first}\n{}", rng.text().replace("Accidenti!", ""));
            writeln!(lines, "{}", json!({ "text": text, "url": "https://x.example/" })).unwrap();
        }
        fixture.write(&format!("data/{source}/a.jsonl"), lines);
    }
    fixture
}

#[cfg(unix)]
#[test]
fn the_page_is_given_to_what_opens_pages_and_is_there_whatever_becomes_of_that() {
    use std::os::unix::fs::PermissionsExt as _;
    let fixture = Fixture::text("[[filter]]\nrule = 'length'\nmin_chars = 5\n");
    fixture.write("data/web/a.jsonl", "{\"text\": \"Il gatto dorme al sole.\"}\n");
    fixture.build("out", &[]).assert_success();
    let page = fixture.path("out").join("report.html");
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let open = |path: &str| {
        let _ = fs::remove_file(&page);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_setaccio"));
        command.args(["report", fixture.path("out").to_str().unwrap(), "--open"]).env("PATH", fixture.path(path));
        let run = crate::fixture::Run::from(command.output().unwrap()).assert_success();
        assert!(page.is_file() && run.stdout.contains("written:"), "{}", run.said());
        run.stderr
    };
    for (folder, script) in [("good", "echo \"$#: $1\" >\"$0.told\""), ("bad", "exit 3")] {
        let script = fixture.write(&format!("{folder}/{opener}"), format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    }
    assert_eq!(open("good"), "");
    let told = fs::read_to_string(fixture.path(&format!("good/{opener}.told"))).unwrap();
    assert_eq!(told, format!("1: {}\n", page.display()));
    let said = open("bad");
    assert!(said.contains(&format!("{opener} failed")) && said.contains("report.html in a browser"), "{said}");
    let said = open("nothing");
    assert!(said.contains(&format!("there is no {opener}")) && said.contains("report.html in a browser"), "{said}");
}

#[test]
fn every_count_of_the_page_is_the_ledgers() {
    let fixture = web();
    fixture.build("out", &[]).assert_success();
    let (page, ledger) = (report(&fixture, "out"), ledger(&fixture, "out"));
    let stages = ledger["stages"].as_array().unwrap();
    let expected: Vec<(&Value, &Value)> =
        stages.iter().flat_map(|s| s["rules"].as_array().unwrap()).map(|r| (&r["rule"], &r["dropped"])).collect();
    let found: Vec<(&Value, &Value)> = rules(&page).into_iter().map(|r| (&r["name"], &r["dropped"])).collect();
    assert_eq!(found, expected);
    for (rule, count) in rules(&page).into_iter().zip(stages.iter().flat_map(|s| s["rules"].as_array().unwrap())) {
        let of = |v: &Value| -> BTreeMap<String, u64> {
            let sources = v["sources"].as_array().unwrap().iter();
            sources.map(|s| (s["source"].as_str().unwrap().to_owned(), s["dropped"].as_u64().unwrap())).collect()
        };
        assert_eq!(rule["by"], json!(of(count)), "{}", rule["name"]);
        // Ten rows of each, or all.
        let dropped =
            rule["lists"].as_array().unwrap().iter().find(|l| l["title"].as_str().unwrap().starts_with("Dropped"));
        let shown = dropped.map_or(0, |list| list["rows"].as_array().unwrap().len() as u64);
        assert_eq!(shown, count["dropped"].as_u64().unwrap().min(10), "{}", rule["name"]);
    }
    let flow = blocks(&page, "flow").next().unwrap();
    for (i, stage) in flow["stages"].as_array().unwrap().iter().enumerate() {
        let of = stages.iter().find(|s| s["stage"] == *stage).unwrap();
        assert_eq!(flow["all"][i], json!([of["rows_in"], of["rows_out"]]));
        for source in of["sources"].as_array().unwrap() {
            assert_eq!(
                flow["by"][source["source"].as_str().unwrap()][i],
                json!([source["rows_in"], source["rows_out"]])
            );
        }
    }
    // A step of a rule begins with what the steps before it left.
    let steps = blocks(&page, "bars").next().unwrap()["steps"].as_array().unwrap();
    for (a, b) in steps.iter().zip(&steps[1..]) {
        for (a, b) in [(&a["all"], &b["all"]), (&a["by"]["web"], &b["by"]["web"])] {
            assert_eq!(a[0].as_u64().unwrap() - a[1].as_u64().unwrap(), b[0].as_u64().unwrap());
        }
    }
    // All rows were measured, and as the build measured them.
    let characters = blocks(&page, "histograms").next().unwrap();
    let rows: u64 = characters["series"].as_array().unwrap().iter().map(|s| s["rows"].as_u64().unwrap()).sum();
    let all: u64 = ledger["splits"].as_array().unwrap().iter().map(|s| s["rows"].as_u64().unwrap()).sum();
    assert_eq!(rows, all);
    let extreme = |of: &Value, key: &str, more: bool| {
        let values =
            of.as_array().unwrap().iter().filter(|l| l["measure"] != "words").map(|l| l[key].as_u64().unwrap());
        if more { values.max() } else { values.min() }
    };
    for (key, more) in [("min", false), ("max", true)] {
        assert_eq!(extreme(&characters["series"], key, more), extreme(&ledger["lengths"], key, more), "{key}");
    }
}

#[test]
fn rows_are_shown_with_what_a_rule_matched_and_do_nothing() {
    let fixture = web();
    fixture.build("out", &[]).assert_success();
    let page = report(&fixture, "out");
    let html = fs::read_to_string(fixture.path("out/report.html")).unwrap();
    assert_eq!(html.matches("<script>").count(), 1);
    assert!(!html.contains(['\u{202e}', '\u{1b}']) && !html.contains("onerror=alert(1)>"));
    let list = |rule: &str, title: &str| -> Vec<(String, Vec<&str>)> {
        let rule = rules(&page).into_iter().find(|r| r["name"] == rule).unwrap_or_else(|| panic!("{rule}"));
        let lists = rule["lists"].as_array().unwrap().iter();
        let rows = lists
            .filter(|l| l["title"].as_str().unwrap().starts_with(title))
            .flat_map(|l| l["rows"].as_array().unwrap());
        rows.map(|number| row(&page, number)).collect()
    };
    let bad = list("clean_mc4_it.bad_words", "Dropped");
    assert_eq!(bad.len(), 10);
    assert!(
        bad.iter().all(|(_, marked)| marked.iter().all(|m| m.eq_ignore_ascii_case("accidenti")) && !marked.is_empty())
    );
    let masked = list("personal_data.email", "Kept");
    assert!(
        !masked.is_empty() && masked.iter().all(|(text, marked)| text.contains("Scrivi ad") && *marked == ["<EMAIL>"])
    );
    // Filters are asked again about rows that a later one dropped.
    let edited = list("clean_mc4_it.line_end", "Before and after");
    assert!(
        !edited.is_empty() && edited.iter().all(|(text, _)| text.contains("Senza un punto alla fine")),
        "{edited:?}"
    );
    assert!(
        edited.iter().all(|(_, marked)| marked.iter().any(|m| m.contains("Senza un punto alla fine"))),
        "{edited:?}"
    );
    let held = list("decontamination", "Dropped");
    assert!(!held.is_empty());
    assert!(held.iter().all(|(_, marked)| marked.len() == 1 && marked[0].starts_with("Quale fra i fiumi")), "{held:?}");
    // What was planted is there, as it can be seen.
    let shown: Vec<String> = (0..page["rows"].as_array().unwrap().len()).map(|n| row(&page, &json!(n)).0).collect();
    let planted = shown.iter().find(|text| text.contains("document.title")).unwrap();
    for part in [
        "</script><script>",
        "<img src=x onerror=alert(1)>",
        "(javascript:alert(2))",
        "\\u{202e}oirartnoc",
        "\\u{1b}[31m",
    ] {
        assert!(planted.contains(part), "{part}: {planted}");
    }
    // Copies stand beside what they are copies of.
    let groups: Vec<&Value> = blocks(&page, "groups").flat_map(|b| b["groups"].as_array().unwrap()).collect();
    let copies = groups.iter().find(|g| g["rule"] == "dedup").unwrap();
    let texts: Vec<String> = copies["rows"].as_array().unwrap().iter().map(|r| row(&page, &r[1]).0).collect();
    assert!(texts.len() > 1 && texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    assert_eq!(copies["rows"][0][0], "kept");
}

#[test]
fn the_same_build_gives_the_same_bytes_and_another_takes_the_page_away() {
    let fixture = web();
    fixture.build("out", &["--jobs", "1"]).assert_success();
    fixture.build("again", &["--jobs", "3"]).assert_success();
    report(&fixture, "out");
    report(&fixture, "again");
    let html = |out: &str| fs::read(fixture.path(out).join("report.html")).unwrap();
    let first = html("out");
    // The command that built each is the one thing that differs, for it names the folder.
    let text = |out| String::from_utf8(html(out)).unwrap();
    assert_eq!(
        text("out"),
        text("again").replace(fixture.path("again").to_str().unwrap(), fixture.path("out").to_str().unwrap())
    );
    report(&fixture, "out");
    assert_eq!(html("out"), first);
    let out = fixture.path("out");
    let said = setaccio(&["verify", out.to_str().unwrap()]).assert_success().stdout;
    assert!(!said.contains("report.html"), "{said}");
    // It tells of the build that is there: another one takes it away, and one that changes nothing leaves it.
    fixture.build("out", &[]).assert_success();
    assert!(out.join("report.html").exists());
    fixture.build("out", &["--limit", "5"]).assert_success();
    assert!(!out.join("report.html").exists());
}

#[test]
fn many_rules_of_many_rows_stay_a_small_page() {
    let rule = |i: u32| format!("[[filter]]\nrule = 'length'\nas = 'at_least_{i}'\nmin_chars = {}\n", 100 + 20 * i);
    let rules = (0..40).map(rule).collect::<Vec<_>>().concat();
    let fixture = Fixture::text(&format!("{rules}[dedup]\n"));
    let mut rng = TestRng(7);
    let line = |i: u32, rng: &mut TestRng| {
        let text: String = (0..4)
            .map(|_| rng.text() + " <&>\n")
            .collect::<String>()
            .chars()
            .take(80 + (i as usize * 7) % 900)
            .collect();
        format!("{}\n", json!({ "text": text, "url": "" }))
    };
    fixture.write("data/web/a.jsonl", (0..3000).map(|i| line(i, &mut rng)).collect::<String>());
    fixture.build("out", &[]).assert_success();
    let page = report(&fixture, "out");
    let bytes = fs::metadata(fixture.path("out/report.html")).unwrap().len();
    assert!(bytes < 2_000_000, "{bytes}");
    assert!(page["rows"].as_array().unwrap().len() > 400);
}

#[test]
fn only_a_whole_build_is_shown() {
    let fixture = web();
    fs::create_dir(fixture.path("empty")).unwrap();
    let empty = fixture.path("empty");
    let said = setaccio(&["report", empty.to_str().unwrap()]).assert_failure();
    assert!(said.contains("holds no build"), "{said}");
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);
    fixture.build("out", &[]).assert_success();
    let path = fixture.path("out/ledger.json");
    let changed = fs::read_to_string(&path).unwrap().replacen("\"dropped\": 0", "\"dropped\": 1", 1);
    fs::write(&path, changed).unwrap();
    let said = setaccio(&["report", fixture.path("out").to_str().unwrap()]).assert_failure();
    assert!(said.contains("was changed after the build"), "{said}");
    assert!(!fixture.path("out/report.html").exists());
}

#[test]
#[cfg(feature = "train")]
fn a_run_is_shown_by_its_metrics() {
    use crate::fixture::{Run, training};

    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let sets = ["train.max_steps=4", "data.max_length=128", "eval.every=2", "eval.samples=1", "checkpoint.every=4"];
    let ran: Run = training("tiny", crate::train::data(), &run, &sets).output().unwrap().into();
    ran.assert_success();
    setaccio(&["report", run.to_str().unwrap()]).assert_success();
    let html = fs::read_to_string(run.join("report.html")).unwrap();
    let (_, rest) = html.split_once("id=\"data\">").unwrap();
    let page: Value = serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap();
    assert!(page["warnings"][0].as_str().unwrap().contains("samples that come with Setaccio"));
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for name in ["loss", "eval_loss", "learning_rate", "grad_norm"] {
        let expected: Vec<Value> =
            lines.iter().filter(|line| line[name].is_number()).map(|line| json!([line["step"], line[name]])).collect();
        let curves = blocks(&page, "curves").flat_map(|block| block["curves"].as_array().unwrap());
        let found = curves.filter(|curve| curve["name"] == name).map(|curve| &curve["points"]).next().unwrap();
        assert_eq!(*found, json!(expected), "{name}");
    }
    let asked: Vec<&Value> = lines.iter().filter(|line| line["samples"].is_array()).collect();
    let groups = blocks(&page, "groups").next().unwrap()["groups"].as_array().unwrap();
    for (i, group) in groups.iter().enumerate() {
        let shown: Vec<&Value> = group["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| &page["rows"][usize::try_from(row[1].as_u64().unwrap()).unwrap()])
            .collect();
        assert_eq!(shown.len(), asked.len());
        for (row, line) in shown.iter().zip(&asked) {
            assert_eq!(row["texts"][0]["parts"][0], line["samples"][i]["text"]);
        }
    }
    let said = setaccio(&["verify", run.to_str().unwrap()]).assert_success().stdout;
    assert!(!said.contains("report.html"), "{said}");
    // It was of the run that was there.
    let ran: Run = training("tiny", crate::train::data(), &run, &sets).arg("--force").output().unwrap().into();
    ran.assert_success();
    assert!(!run.join("report.html").exists());
}
