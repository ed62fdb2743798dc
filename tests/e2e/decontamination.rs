//! Contamination: what goes is what an independent program finds by brute force (`tests/oracles/decontamination.py`), however the work
//! is divided and whatever happens on the way.

use std::{collections::BTreeMap, fs, process::Stdio};

use serde_json::Value;

use crate::fixture::{Fixture, TestRng, assert_snapshot, column, setaccio, tear_and_remove_a_part};

fn oracle() -> Value {
    serde_json::from_str(include_str!("../oracles/decontamination.json")).unwrap()
}

fn lines<'v>(values: impl IntoIterator<Item = &'v Value>) -> String {
    values.into_iter().flat_map(|value| [value.to_string(), "\n".to_owned()]).collect()
}

/// The sets of the oracle, in files of one's own.
const SETS: &str = "[[decontamination.set]]\nname = 'quiz'\npath = 'sets/quiz.jsonl'\n\
    fields = ['question', 'question + choices.text']\nid = 'id'\n\
    [[decontamination.set]]\nname = 'note'\npath = 'sets/note'\nfields = 'text'\n";

/// A recipe over the oracle's rows in several tasks, with `settings`.
fn fixture(settings: &str) -> Fixture {
    let more = "[read]\ntask_bytes = 8000\n[output]\nshard_bytes = 30000\nrow_group_bytes = 10000\n";
    let fixture = Fixture::text(&[settings, SETS, more].concat());
    let oracle = oracle();
    let list = |name: &str| oracle[name].as_array().unwrap().clone();
    fixture.write("sets/quiz.jsonl", lines(&list("quiz")));
    fixture.write("sets/note/x.jsonl", lines(&list("note")));
    let rows: Vec<Value> = list("rows").into_iter().map(|text| serde_json::json!({ "text": text })).collect();
    fixture.write("data/web/x.jsonl", lines(&rows));
    fixture
}

/// Details of the rows that a stage drops for contamination, by id.
fn dropped(fixture: &Fixture, out: &str, stage: &str) -> BTreeMap<String, String> {
    let folder = fixture.path(out).join("rejects");
    let [stages, rules, ids, details] = ["stage", "rule", "id", "detail"].map(|name| column(&folder, "", name));
    let rows = stages.into_iter().zip(rules).zip(ids.into_iter().zip(details));
    rows.filter(|((found, rule), _)| found == stage && rule == "decontamination").map(|(_, row)| row).collect()
}

fn ledger(fixture: &Fixture, out: &str) -> Value {
    serde_json::from_slice(&fs::read(fixture.path(out).join("ledger.json")).unwrap()).unwrap()
}

#[test]
fn what_goes_is_what_brute_force_finds() {
    let fixture = fixture("[decontamination]\n");
    let oracle = oracle();
    let measures: [(&str, &[&str]); 3] = [
        ("tulu3", &[]),
        ("gpt3", &["--set", "decontamination.preset=gpt3"]),
        ("ngram_5_share_0.9", &["--set", "decontamination.ngram=5", "--set", "decontamination.share=0.9"]),
    ];
    for (measure, args) in measures {
        fixture.build("out", args).assert_success();
        let expected = &oracle[measure];
        let mut found = dropped(&fixture, "out", "screen");
        for row in expected["rows"].as_array().unwrap() {
            let text = |i: usize| row[i].as_str().unwrap();
            let [covered, words, start, end] = [3, 4, 5, 6].map(|i| row[i].as_u64().unwrap());
            let said = format!("{} {}: {covered} of {words} words, characters {start} to {end}: ", text(1), text(2));
            let detail = found.remove(text(0)).unwrap_or_else(|| panic!("{measure}: {row} is not found"));
            assert!(detail.starts_with(&said), "{measure}: {detail}, where {said} is expected");
        }
        assert_eq!(found, BTreeMap::new(), "{measure}: rows that the oracle keeps");
        for set in ledger(&fixture, "out")["evaluations"].as_array().unwrap() {
            let counts = &expected["sets"][set["set"].as_str().unwrap()];
            for count in ["short", "found", "rows"] {
                assert_eq!(set[count], counts[count], "{measure}: {count} of {set}");
            }
        }
        setaccio(&["verify", fixture.path("out").to_str().unwrap()]).assert_success();
    }
}

#[test]
fn a_person_is_told_of_it() {
    let fixture = fixture("[decontamination]\n");
    fixture.build("out", &[]).assert_success();
    let [recipe, data, out] = ["recipe.toml", "data", "out"].map(|name| fixture.path(name).display().to_string());
    let plan = setaccio(&["plan", &recipe, "--from", &data]).assert_success().stdout;
    let plan: String =
        plan.lines().skip_while(|line| !line.contains("filter")).take(3).map(|l| l.to_owned() + "\n").collect();
    let card = fs::read_to_string(fixture.path("out/README.md")).unwrap();
    let card: String = card
        .lines()
        .skip_while(|line| !line.contains("held against"))
        .take(6)
        .chain(card.lines().filter(|line| line.contains("`decontamination`")))
        .map(|l| l.to_owned() + "\n")
        .collect();
    let (first, _) = dropped(&fixture, "out", "screen").into_iter().next().unwrap();
    let why = setaccio(&["why", &out, &first]).assert_success().stdout;
    let preview = ["preview", &recipe, "--from", &data, "--rule", "decontamination", "-n", "2"];
    let preview = setaccio(&preview).assert_success().stdout;
    let lock = fs::read_to_string(fixture.path("out/recipe.lock.toml")).unwrap();
    let lock: String = lock
        .split("\n\n")
        .filter(|table| table.contains("[[evaluation]]"))
        .map(|table| table.lines().filter(|line| !line.starts_with("sha256")).collect::<Vec<_>>().join("\n") + "\n")
        .collect();
    assert_snapshot("decontamination-told", [plan, card, why, preview, lock].join("---\n"));
}

#[test]
fn bytes_do_not_depend_on_threads_and_slices() {
    let settings = "[dedup]\n[sample]\nrows = 80\n[split]\nvalidation = 0.2\n[decontamination]\nvalidation = true\n";
    let fixture = fixture(settings);
    // Texts of few different sentences, so that many share some.
    fixture.write("data/web/more.jsonl", TestRng(3).lines(1500));
    fixture.build("one", &["--jobs", "1"]).assert_success();
    let one = fixture.published("one");
    assert!(dropped(&fixture, "one", "screen").len() > 100 && dropped(&fixture, "one", "dedup").len() > 5);
    for jobs in ["2", "5"] {
        fixture.build("other", &["--jobs", jobs, "--force"]).assert_success();
        assert_eq!(fixture.published("other"), one, "{jobs} jobs");
    }
    for slices in [3, 7] {
        let out = format!("slices-{slices}");
        for slice in (1..=slices).rev() {
            fixture.build(&out, &["--task", &format!("{slice}/{slices}")]).assert_success();
        }
        fixture.build(&out, &["--finish"]).assert_success();
        assert_eq!(fixture.published(&out), one, "joined from {slices} slices");
    }
    let lock = fixture.path("one/recipe.lock.toml").display().to_string();
    let again = |out: &str| {
        let out = fixture.path(out).display().to_string();
        setaccio(&["build", &lock, "--from", fixture.path("data").to_str().unwrap(), "--out", &out])
    };
    again("again").assert_success();
    assert_eq!(fixture.published("again"), one, "from the lock");
    // A set that was changed is another build, and what was done against the old one is not used.
    let quiz = fs::read_to_string(fixture.path("sets/quiz.jsonl")).unwrap();
    fixture.write("sets/quiz.jsonl", quiz.lines().take(20).flat_map(|line| [line, "\n"]).collect::<String>());
    let said = again("other").assert_failure();
    assert!(said.contains("evaluation/quiz/sets/quiz.jsonl is another one than that with SHA-256"), "{said}");
    let said = fixture.build("one", &[]).assert_success().said();
    assert!(said.contains(" 0 of them done before") && fixture.published("one") != one, "{said}");
    fixture.write("sets/quiz.jsonl", quiz);
    fixture.build("one", &[]).assert_success();
    assert_eq!(fixture.published("one"), one);
}

#[test]
fn killed_at_random_moments_it_resumes_to_the_same_bytes() {
    let fixture = fixture("[dedup]\n[split]\nvalidation = 0.2\n[decontamination]\nvalidation = true\n");
    let mut rng = TestRng(3);
    fixture.write("data/web/more.jsonl", rng.lines(3000));
    let began = std::time::Instant::now();
    fixture.build("whole", &["--jobs", "2"]).assert_success();
    let (took, whole) = (began.elapsed(), fixture.published("whole"));
    let mut cut = 0;
    for round in 0..4 {
        let out = format!("out{round}");
        let mut command = fixture.command(&out, &["--jobs", "2"]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(took * rng.below_u32(900) / 1000);
        cut += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        fixture.build(&out, &[]).assert_success();
        assert_eq!(fixture.published(&out), whole, "round {round}");
    }
    assert!(cut > 0, "no run was killed before its end");
}

#[test]
fn a_torn_or_missing_part_stops_the_build() {
    let fixture = fixture("[split]\nvalidation = 0.2\n[decontamination]\nvalidation = true\n");
    tear_and_remove_a_part(&fixture, "blocks");
    fixture.build("out", &[]).assert_success();
    fixture.build("whole", &[]).assert_success();
    assert_eq!(fixture.published("out"), fixture.published("whole"));
    // A set that is cut short, empty or gone.
    let quiz = fs::read_to_string(fixture.path("sets/quiz.jsonl")).unwrap();
    let mut said = String::new();
    for set in [&quiz[..quiz.len() / 2], ""] {
        fixture.write("sets/quiz.jsonl", set);
        said += &fixture.build("next", &[]).assert_failure();
    }
    fs::remove_file(fixture.path("sets/quiz.jsonl")).unwrap();
    said += &fixture.build("next", &[]).assert_failure();
    assert_snapshot("decontamination-torn_sets", said);
}

#[test]
fn rows_that_train_hold_nothing_that_others_validate() {
    let words = |seed: usize| {
        let mut rng = TestRng(seed as u64 + 50);
        (0..40)
            .map(|_| format!("parola{}", "abcdefghij".repeat(2).split_at(rng.below(10)).1.split_at(1 + rng.below(9)).0))
            .collect::<Vec<_>>()
    };
    let rows = |number: usize, tail: &[String]| {
        let text = [words(number), tail.to_vec()].concat().join(" ");
        serde_json::json!({ "text": text })
    };
    let fixture = Fixture::text("[split]\nvalidation = 0.3\n[decontamination]\nvalidation = true\n");
    let mut texts: Vec<Value> = (0..60).map(|i| rows(i, &[])).collect();
    // Half of each in a row of its own, with as many others around it, and a sixth of it.
    for i in 0..60 {
        texts.push(rows(1000 + i, &words(i)[5..30]));
        texts.push(rows(2000 + i, &words(i)[..7]));
    }
    fixture.write("data/web/x.jsonl", lines(&texts));
    fixture.build("out", &[]).assert_success();
    let gone = dropped(&fixture, "out", "dedup");
    let [train, validation] = ["train", "validation"].map(|split| {
        let folder = fixture.path("out/data");
        column(&folder, split, "id").into_iter().zip(column(&folder, split, "text")).collect::<BTreeMap<_, _>>()
    });
    let runs = |text: &str| {
        let words: Vec<&str> = text.split(' ').collect();
        words.windows(8).map(|run| run.join(" ")).collect::<Vec<_>>()
    };
    // By brute force: how many words of a row that validates lie in runs that another row has.
    let covered = |of: &str, text: &str| {
        let there = runs(text);
        let mut words = vec![false; of.split(' ').count()];
        for (at, _) in runs(of).iter().enumerate().filter(|(_, run)| there.contains(run)) {
            words[at..at + 8].fill(true);
        }
        (words.iter().filter(|word| **word).count(), words.len())
    };
    for text in train.values() {
        for of in validation.values() {
            let (covered, words) = covered(of, text);
            assert!(covered * 2 < words, "{text} trains, and {of} validates");
        }
    }
    assert!(gone.len() >= 10, "{gone:?}");
    for (id, detail) in &gone {
        let by = detail.split([' ', ':']).nth(1).unwrap();
        assert!(detail.starts_with("validation ") && validation.contains_key(by), "{id}: {detail}");
        assert!(!train.contains_key(id) && !validation.contains_key(id));
    }
    let evaluations = ledger(&fixture, "out")["evaluations"].clone();
    assert_eq!(evaluations[0]["rows"], gone.len());
    assert_eq!(evaluations[0]["items"], validation.len());
    setaccio(&["verify", fixture.path("out").to_str().unwrap()]).assert_success();
}

#[test]
fn rows_of_earlier_builds_count_as_items() {
    // Chats, of which some validate, and texts that hold them.
    let chats = Fixture::new("chat", &[("chats", "messages")], "[split]\nvalidation = 0.5\n");
    let mut rng = TestRng(8);
    let said: Vec<[String; 2]> = (0..40).map(|_| [rng.text(), rng.text()]).collect();
    let rows = said.iter().map(|[ask, answer]| {
        serde_json::json!({"messages": [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]}).to_string()
    });
    chats.write("data/chats/x.jsonl", rows.collect::<Vec<_>>().join("\n"));
    chats.build("old", &[]).assert_success();
    let old = chats.path("old").display().to_string();
    let texts = Fixture::text("[decontamination]\nnumbers = true\n");
    let rows: Vec<Value> =
        said.iter().map(|[ask, _]| serde_json::json!({ "text": format!("Si legge: {ask} Nulla di più.") })).collect();
    texts.write("data/web/x.jsonl", lines(&rows) + &rng.lines(40));
    let against = format!("decontamination.against=['{old}']");
    texts.build("out", &["--set", &against]).assert_success();
    let validating = chats.ids("old", "validation").len();
    let gone = dropped(&texts, "out", "screen");
    assert_eq!(gone.len(), validating, "{gone:?}");
    assert!(gone.values().all(|detail| detail.starts_with("old ")), "{gone:?}");
    let ids = chats.ids("old", "validation");
    assert!(gone.values().all(|detail| ids.iter().any(|id| detail.contains(id.as_str()))), "{gone:?}");
    let all = "decontamination.against_rows=all";
    texts.build("all", &["--set", &against, "--set", all]).assert_success();
    assert_eq!(dropped(&texts, "all", "screen").len(), 40);
    let lock = fs::read_to_string(texts.path("out/recipe.lock.toml")).unwrap();
    assert!(lock.contains("source = \"evaluation/old\"") && lock.contains("against = [\"old\"]"), "{lock}");
    // One without rows that validate, one that is none, and itself.
    chats.build("train", &["--set", "split.validation=0"]).assert_success();
    let train = format!("decontamination.against=['{}']", chats.path("train").display());
    let mut said = String::new();
    for set in [train.as_str(), "decontamination.against=['nowhere']"] {
        said += &texts.build("next", &["--set", set]).assert_failure();
    }
    said += &texts.build("all", &["--set", "decontamination.against=['all']", "--set", all]).assert_failure();
    assert_snapshot("decontamination-against", said);
}

#[test]
fn sets_that_are_not_there_stop_the_build_or_are_told() {
    let fixture = Fixture::text("[decontamination]\nsets = ['arc', 'gsm8k-it']\n");
    fixture.write("data/web/x.jsonl", TestRng(1).lines(30));
    let mut said = fixture.build("out", &[]).assert_failure();
    fixture.write("data/evaluation/arc/test.jsonl", include_str!("../../data/samples/evaluation/arc.jsonl"));
    fixture
        .write("data/evaluation/arc/ARC-Easy/test-0.parquet", include_str!("../../data/samples/evaluation/arc.jsonl"));
    let run = fixture.build("out", &["--set", "decontamination.missing=skip"]).assert_success();
    said += &run.said().lines().filter(|line| line.contains("gsm8k")).map(|l| l.to_owned() + "\n").collect::<String>();
    let notes = ledger(&fixture, "out")["notes"].to_string();
    assert!(notes.contains("gsm8k-it") && !notes.contains("`arc`"), "{notes}");
    assert_eq!(ledger(&fixture, "out")["evaluations"][0]["items"], 6);
    // Files of one's own are not held against samples.
    let own = format!("source=[{{name='mine', schema='text', path='{}'}}]", fixture.path("data/web").display());
    let recipe = fixture.path("recipe.toml").display().to_string();
    said += &setaccio(&["plan", &recipe, "--set", &own]).assert_failure();
    for set in [
        "sets=['arcc']",
        "sets=['arc', 'arc']",
        "ngram=0",
        "share=0",
        "share=1.5",
        "validation=true",
        "set=[{name='x', path='data/web/x.jsonl', fields=[]}]",
        "set=[{name='x', path='data/web/x.jsonl', fields='question + '}]",
        "set=[{name='x', fields='question'}]",
        "set=[{name='arc', path='data/web/x.jsonl', fields='text'}]",
    ] {
        said += &fixture.build("next", &["--set", &format!("decontamination.{set}")]).assert_failure();
    }
    let sets = ["--set", "decontamination.sets=[]", "--set"];
    fixture.write("nested.jsonl", r#"{"question": {"stem": "Quanti giorni ha un anno?", "choices": []}}"#);
    fixture.write("latin.jsonl", b"{\"text\": \"Perch\xe9 il cielo \xe8 azzurro di giorno?\"}\n");
    for set in [
        "[{name='x', path='data/web/x.jsonl', fields='testo + text'}]",
        "[{name='x', path='data/web/x.jsonl', fields='text', id='id'}]",
        "[{name='x', path='nested.jsonl', fields='question'}]",
        "[{name='x', path='nowhere.jsonl', fields='text'}]",
        "[{name='x', path='latin.jsonl', fields='text'}]",
    ] {
        let set = format!("decontamination.set={set}");
        said += &fixture.build("next", &[&sets[..], &[set.as_str()]].concat()).assert_failure();
    }
    assert_snapshot("decontamination-refused", said);
    // One file of two that is laid out in another way, and items of which none is long enough.
    fixture.write("two/a.jsonl", r#"{"question": "Quanti giorni ha un anno che non sia bisestile?"}"#);
    fixture.write("two/b.jsonl", r#"{"domanda": "Quanti mesi ha un anno, e come si chiama il primo?"}"#);
    fixture.write("short/a.jsonl", r#"{"question": "Quanti giorni?"}"#);
    for (path, why) in [
        ("two/*.jsonl", "two/b.jsonl has no column `question`; there are domanda"),
        ("short/a.jsonl", "each of its 1 items has fewer words than decontamination.min_words"),
    ] {
        let set = format!("decontamination.set=[{{name='x', path='{path}', fields='question'}}]");
        let refused = fixture.build("next", &[&sets[..], &[set.as_str()]].concat()).assert_failure();
        assert!(refused.contains(why), "{refused}");
    }
}

#[test]
fn clean_italian_text_is_left_alone() {
    // Sentences that any page could hold, held against every sample of a set in Italian.
    let sets = "['arc-it', 'hellaswag-it', 'mmlu-it', 'gsm8k-it', 'truthfulqa-it', 'winogrande-it']";
    let fixture = Fixture::text(&format!("[decontamination]\nsets = {sets}\n"));
    let recipe = fs::read_to_string(fixture.path("recipe.toml")).unwrap();
    fixture.write("data/web/x.jsonl", TestRng(4).lines(2000));
    fixture.write(
        "recipe.toml",
        recipe.replace("samples = 'none'", &format!("samples = '{}'", fixture.path("data/web/x.jsonl").display())),
    );
    let recipe = fixture.path("recipe.toml").display().to_string();
    let out = fixture.path("out").display().to_string();
    setaccio(&["build", &recipe, "--out", &out]).assert_success();
    assert_eq!(dropped(&fixture, "out", "screen"), BTreeMap::new());
}
