//! Files of one's own, from the recipe to what is said of each row.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{
    embedded::run_in,
    fixture::{Run, TestRng, Transcript, assert_snapshot, column, published},
};

/// Lines of questions and answers, in the layout of Alpaca, from the number `first` on.
fn questions(first: usize, n: usize) -> String {
    let row = |i| {
        serde_json::json!({
            "instruction": format!("Come si prepara il piatto numero {i}?"),
            "output": format!("Si fa bollire l'acqua per {i} minuti, poi si aggiungono il sale e il pane raffermo."),
        })
    };
    (first..first + n).map(|i| row(i).to_string() + "\n").collect()
}

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

const HEAD: &str = "name = 'mix'\ntitle = 'Mix'\nabout = 'A test.'\nkind = 'chat'\n";

const DOLLY: &str = "[[source]]\nname = 'dolly'\nschema = 'dolly'\nrepo = 'databricks/databricks-dolly-15k'\nrevision = 'main'\n\
                     files = ['*.jsonl']\nsamples = '../data/samples/databricks_dolly_15k.jsonl'\nlicense = 'cc-by-sa-3.0'\n";

fn text_of(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn local_files_stand_beside_another_source_and_the_card_says_what_was_read() {
    let dir = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    write(dir.path(), "domande.jsonl", questions(0, 30));
    let far = write(elsewhere.path(), "anna/altre.jsonl", questions(30, 5));
    let own =
        format!("[[source]]\nname = 'cucina'\nschema = 'alpaca'\npath = ['domande.jsonl', {far:?}]\nweight = 0.7\n");
    write(dir.path(), "mix.toml", format!("{HEAD}{own}{DOLLY}weight = 0.3\n[dedup]\n"));
    let run = run_in(dir.path(), &["build", "mix.toml", "--from", "samples"]).assert_success();
    let out = dir.path().join("data/out/mix");
    let mut transcript = Transcript::default();
    transcript.add("plan", &run_in(dir.path(), &["plan", "mix.toml"]).assert_success().said());
    transcript.add("build", &run.said());
    transcript.add("card", &text_of(&out, "README.md"));
    transcript.assert_snapshot("own_data-mixed");
    for (name, bytes) in published(&out) {
        let text = String::from_utf8_lossy(&bytes);
        let place = elsewhere.path().to_str().unwrap();
        assert!(!text.contains(place) && !text.contains("anna"), "{name} names a folder of this machine");
    }
    // Rows that are given in place of a repository's are no rows of it, and samples of one's own are none of Setaccio's.
    let given =
        write(dir.path(), "given/dolly/a.jsonl", text_of(Path::new("data/samples"), "databricks_dolly_15k.jsonl"));
    write(dir.path(), "dolly.toml", format!("{}{DOLLY}", HEAD.replace("mix", "dolly")));
    write(
        dir.path(),
        "own.toml",
        format!("{HEAD}{DOLLY}").replace("../data/samples/databricks_dolly_15k.jsonl", "own.jsonl"),
    );
    fs::copy(&given, dir.path().join("own.jsonl")).unwrap();
    fs::write(dir.path().join("own.jsonl"), text_of(dir.path(), "own.jsonl") + "\n").unwrap();
    for (args, said) in [
        (
            &["build", "dolly.toml"][..],
            "| dolly | samples of Setaccio that stand for `databricks/databricks-dolly-15k` |  |",
        ),
        (
            &["build", "dolly.toml", "--from", "given"],
            "| dolly | local files that were given for `databricks/databricks-dolly-15k` |  |",
        ),
        (&["build", "own.toml"], "| dolly | local files that were given for `databricks/databricks-dolly-15k` |  |"),
    ] {
        run_in(dir.path(), &[args, &["--out", "card"]].concat()).assert_success();
        let card = text_of(&dir.path().join("card"), "README.md");
        assert!(card.contains(said) && !card.contains("source_datasets"), "{args:?}: {card}");
        assert_eq!(
            card.contains("sample rows that come with Setaccio"),
            said.contains("samples of"),
            "{args:?}: {card}"
        );
    }
}

#[test]
fn a_lock_builds_the_same_bytes_again_or_says_what_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..3 {
        write(dir.path(), &format!("recipe/rows/{i}.jsonl"), questions(10 * i, 10));
    }
    write(
        dir.path(),
        "recipe/mine.toml",
        format!("{HEAD}[[source]]\nname = 'a'\nschema = 'alpaca'\npath = 'rows'\n[dedup]\n"),
    );
    run_in(dir.path(), &["build", "recipe/mine.toml", "--set", "seed=7", "--out", "first"]).assert_success();
    let first = published(&dir.path().join("first"));
    let again = |lock: &str| {
        fs::remove_dir_all(dir.path().join("again")).unwrap_or_default();
        run_in(dir.path(), &["build", lock, "--out", "again"])
    };
    again("first/recipe.lock.toml").assert_success();
    assert_eq!(published(&dir.path().join("again")), first);
    // A file that came later is none of that build's.
    write(dir.path(), "recipe/rows/3.jsonl", questions(30, 10));
    again("first/recipe.lock.toml").assert_success();
    assert_eq!(published(&dir.path().join("again")), first);
    // On another machine the lock lies beside the files, or the command runs where they are.
    write(dir.path(), "elsewhere/recipe.lock.toml", &first["recipe.lock.toml"]);
    let mut transcript = Transcript::default();
    transcript.add("no file is there", &again("elsewhere/recipe.lock.toml").assert_failure());
    for i in 0..3 {
        write(dir.path(), &format!("elsewhere/rows/{i}.jsonl"), questions(10 * i, 10));
    }
    again("elsewhere/recipe.lock.toml").assert_success();
    assert_eq!(published(&dir.path().join("again")), first);
    fs::remove_file(dir.path().join("recipe/rows/0.jsonl")).unwrap();
    write(dir.path(), "recipe/rows/1.jsonl", questions(10, 11));
    transcript.add("one file is gone, one changed", &again("first/recipe.lock.toml").assert_failure());
    transcript
        .add("--set", &run_in(dir.path(), &["plan", "first/recipe.lock.toml", "--set", "seed=8"]).assert_failure());
    transcript
        .add("--limit", &run_in(dir.path(), &["plan", "first/recipe.lock.toml", "--limit", "8"]).assert_failure());
    let lock = String::from_utf8_lossy(&first["recipe.lock.toml"]).replace("seed = 7", "seed = 8");
    write(dir.path(), "elsewhere/recipe.lock.toml", lock);
    transcript.add("an edited lock", &again("elsewhere/recipe.lock.toml").assert_failure());
    transcript.assert_snapshot("own_data-locks");
}

#[test]
fn what_became_of_a_row_is_told_by_id_by_place_and_by_words() {
    let dir = tempfile::tempdir().unwrap();
    let odd = "{\"instruction\": \"E poi?\", \"output\": \"N/A\"}\n{\"instruction\": \"Altro?\", \"output\": \"No.\"}\nnothing\n";
    write(dir.path(), "rows/a.jsonl", questions(0, 8));
    write(dir.path(), "rows/b.jsonl", questions(7, 1) + odd);
    let rules = "[[filter]]\nrule = 'answer'\n[[filter]]\nrule = 'length'\nof = 'answer'\nmin_chars = 10\n[dedup]\n[read]\non_bad_row = 'skip'\n";
    write(dir.path(), "mine.toml", format!("{HEAD}[[source]]\nname = 'a'\nschema = 'alpaca'\npath = 'rows'\n{rules}"));
    run_in(dir.path(), &["build", "mine.toml"]).assert_success();
    let why = |row: &str| run_in(dir.path(), &["why", "data/out/mix", row]);
    let mut transcript = Transcript::default();
    // python3 -c "import hashlib; print(hashlib.sha256('user\x1fCome si prepara il piatto numero 2?\x1eassistant\x1fSi fa
    // bollire l\'acqua per 2 minuti, poi si aggiungono il sale e il pane raffermo.\x1e'.encode()).hexdigest()[:32])"
    for (row, found) in [
        ("61d20c", 1),
        ("a/rows/a.jsonl:2", 1),
        ("b.jsonl:0", 1),
        ("b.jsonl:1", 1),
        ("b.jsonl:2", 1),
        ("b.jsonl:3", 1),
        ("./rows/a.jsonl:2", 1),
        ("../elsewhere/rows/b.jsonl:1", 1),
        (&format!("{}:2", dir.path().join("rows/a.jsonl").display()), 1),
        ("il PIATTO  numero 7", 2),
    ] {
        let said = why(row).assert_success().stdout;
        let rows = said.lines().filter(|line| line.starts_with("+ kept") || line.starts_with("- dropped")).count();
        assert_eq!(rows, found, "{row}: {said}");
        if !row.starts_with(['.', '/']) {
            transcript.add(row, &said);
        }
    }
    for row in ["a.jsonl:99", "c.jsonl:1", "Il gatto dorme", "ffffff"] {
        transcript.add(row, &why(row).assert_failure());
    }
    fs::remove_file(dir.path().join("rows/a.jsonl")).unwrap();
    transcript.add("a kept row of a file that is gone", &why("a.jsonl:3").assert_failure());
    transcript.assert_snapshot("own_data-why");
}

#[test]
fn the_message_that_a_rule_means_is_named_wherever_the_row_is() {
    const IT: &str = "Il treno per Bari parte ogni mattina alle sette, e chi arriva tardi deve aspettare il prossimo.";
    const EN: &str =
        "The train to Bari leaves every morning at seven, and whoever comes late has to wait for the next.";
    let dir = tempfile::tempdir().unwrap();
    let turn = |role: &str, content: &str| serde_json::json!({ "role": role, "content": content });
    let chat = |answers: [&str; 2]| {
        let turns = [turn("system", EN), turn("user", IT), turn("assistant", answers[0]), turn("user", IT)];
        let turns = [&turns[..], &[turn("assistant", answers[1])]].concat();
        serde_json::json!({ "messages": turns }).to_string() + "\n"
    };
    write(
        dir.path(),
        "chat.jsonl",
        chat([IT, EN]) + &chat(["N/A", IT]) + &chat([IT, "Ma accidenti!"]) + &chat([IT, IT]),
    );
    let pair =
        |rejected: &str| serde_json::json!({ "prompt": IT, "chosen": IT, "rejected": rejected }).to_string() + "\n";
    write(dir.path(), "pair.jsonl", pair(EN) + &pair("Boh."));
    let rules = "[[filter]]\nrule = 'language'\nkeep = ['it']\n[[filter]]\nrule = 'answer'\necho = false\n\
                 [[filter]]\nrule = 'bad_words'\nwords = ['accidenti']\n";
    for (kind, schema, expected) in [
        (
            "chat",
            "messages",
            &[
                ("language", "en 1.00", "messages[4] (assistant)"),
                ("answer", "the answer is \"N/A\"", "messages[2] (assistant)"),
                ("bad_words", "accidenti", "messages[4] (assistant)"),
            ][..],
        ),
        ("preference", "preference", &[("language", "en 1.00", "rejected[0] (assistant)")]),
    ] {
        let file = if kind == "chat" { "chat.jsonl" } else { "pair.jsonl" };
        let source = format!("[[source]]\nname = 'a'\nschema = '{schema}'\npath = '{file}'\n");
        write(dir.path(), "mine.toml", format!("{}{source}{rules}", HEAD.replace("'chat'", &format!("'{kind}'"))));
        run_in(dir.path(), &["build", "mine.toml", "--force"]).assert_success();
        let rejects = dir.path().join("data/out/mix/rejects");
        let [rule, detail, message] = ["rule", "detail", "message"].map(|name| column(&rejects, "screen", name));
        let found: Vec<(&str, &str, &str)> = (0..rule.len()).map(|i| (&*rule[i], &*detail[i], &*message[i])).collect();
        assert_eq!(found, expected, "{kind}");
        let preview = run_in(dir.path(), &["preview", "mine.toml"]).assert_success().stdout;
        for (row, (rule, detail, message)) in expected.iter().enumerate() {
            assert!(preview.contains(&format!("{rule}: {detail}\n    of         {message}\n")), "{preview}");
            let why = run_in(dir.path(), &["why", "data/out/mix", &format!("{file}:{row}")]).assert_success().stdout;
            assert!(why.contains(&format!("because    {detail}\n    of         {message}\n")), "{why}");
        }
    }
}

#[test]
fn a_role_or_a_field_that_is_called_otherwise_is_told_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let rows = [
        serde_json::json!({"messages": [{"role": "developer", "content": "Sii breve."}, {"role": "user", "content": "Ciao, come va?"},
            {"role": "assistant", "content": "Bene, grazie."}]}),
        serde_json::json!({"messages": [{"from": "Human", "value": "Che tempo fa a Bari?"}, {"from": "gpt", "value": "Guardo."},
            {"from": "function_call", "value": "{\"name\": \"meteo\", \"parameters\": {\"posto\": \"Bari\"}}"},
            {"from": "observation", "value": "19 gradi"}, {"from": "gpt", "value": "Fa 19 gradi."}],
            "tools": "[{\"name\": \"meteo\"}]"}),
        serde_json::json!({"messages": [{"role": "user", "content": "E domani?"}, {"role": "assistant", "content": "Piove."}]}),
    ];
    write(dir.path(), "chat.jsonl", rows.map(|row| row.to_string() + "\n").concat());
    let source = "[[source]]\nname = 'a'\nschema = 'messages'\npath = 'chat.jsonl'\n";
    write(dir.path(), "mine.toml", format!("{HEAD}{source}"));
    let plan = run_in(dir.path(), &["plan", "mine.toml"]).assert_success().stdout;
    let told = plan.lines().find(|line| line.contains("called otherwise in a: ")).unwrap_or(&plan);
    let expected = [
        ("role", "Human", "user", 1),
        ("role", "developer", "system", 1),
        ("role", "function_call", "assistant", 1),
        ("role", "gpt", "assistant", 1),
        ("role", "observation", "tool", 1),
        ("field", "content", "tool_calls", 1),
        ("field", "from", "role", 1),
        ("field", "tool_calls[].name", "tool_calls[].function.name", 1),
        ("field", "tool_calls[].parameters", "tool_calls[].function.arguments", 1),
        ("field", "tools[].name", "tools[].function.name", 1),
        ("field", "value", "content", 1),
    ];
    for (what, from, to, _) in expected {
        assert!(told.contains(&format!("{what} {from} is {to}")), "{from}: {told}");
    }
    run_in(dir.path(), &["build", "mine.toml"]).assert_success();
    let out = dir.path().join("data/out/mix");
    let ledger: Value = serde_json::from_str(&text_of(&out, "ledger.json")).unwrap();
    let counted: Vec<(&str, &str, &str, u64)> = ledger["renamed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let text = |name: &str| entry[name].as_str().unwrap();
            (text("what"), text("from"), text("to"), entry["rows"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(counted, expected);
    let card = text_of(&out, "README.md");
    assert!(card.contains("What `a` calls otherwise: the role `Human` is `user` (in 1 of 3 rows), "), "{card}");
}

#[test]
fn a_build_after_one_more_file_does_only_its_tasks_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut rng = TestRng(3);
    for name in ["b", "d"] {
        write(dir.path(), &format!("rows/{name}.jsonl"), rng.lines(60));
    }
    let rules = "[[filter]]\nrule = 'length'\nmin_chars = 300\n[dedup]\n";
    let recipe =
        "name = 'web'\ntitle = 'Web'\nabout = 'A test.'\nkind = 'text'\n[[source]]\nname = 'web'\nschema = 'text'\n";
    write(dir.path(), "web.toml", format!("{recipe}path = 'rows'\n{rules}"));
    let build = |args: &[&str]| run_in(dir.path(), &[&["build", "web.toml"], args].concat()).assert_success().stdout;
    let tasks = |said: &str| said.lines().next().unwrap_or_default().to_owned();
    assert_eq!(tasks(&build(&[])), "built: 2 tasks, 0 of them done before");
    // The numbers of the files that were there move.
    write(dir.path(), "rows/a.jsonl", rng.lines(60));
    write(dir.path(), "rows/c.jsonl", text_of(dir.path(), "rows/b.jsonl"));
    assert_eq!(tasks(&build(&[])), "built: 4 tasks, 2 of them done before");
    build(&["--out", "fresh"]);
    let out = dir.path().join("data/out/web");
    assert_eq!(published(&out), published(&dir.path().join("fresh")), "what is reused is what would be made");
    // What is said of a source, and how its files are named, is no reason to read it again; a rule is.
    let named = "license = 'mit'\npath = ['rows/a.jsonl', 'rows/b.jsonl', 'rows/c.jsonl', 'rows/d.jsonl']\n";
    write(dir.path(), "web.toml", format!("{recipe}{named}{rules}"));
    assert_eq!(tasks(&build(&[])), "built: 4 tasks, 4 of them done before");
    assert_eq!(tasks(&build(&["--set", "filter.length.min_chars=301"])), "built: 4 tasks, 0 of them done before");
    assert_eq!(
        tasks(&build(&["--set", "filter.length.min_chars=301", "--force"])),
        "built: 4 tasks, 0 of them done before"
    );
    // Kept rejects are those that were published: one that was changed there is made anew.
    let rejects = out.join("rejects/screen-00000.parquet");
    let mut bytes = fs::read(&rejects).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&rejects, bytes).unwrap();
    assert_eq!(
        tasks(&build(&["--set", "filter.length.min_chars=301", "--set", "seed=42", "--set", "title='W'"])),
        "built: 4 tasks, 3 of them done before"
    );
    run_in(dir.path(), &["verify", "data/out/web"]).assert_success();
    build(&["--set", "title='X'", "--keep-tasks", "never"]);
    assert!(!out.join(".setaccio/tasks").exists());
}

/// The one JSON object that a command printed.
fn json(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}", run.stdout))
}

#[test]
fn json_is_one_object_and_quiet_is_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rows.jsonl", questions(0, 8) + "{\"instruction\": \"E poi?\", \"output\": \"N/A\"}\n");
    let rules = "[[filter]]\nrule = 'answer'\n[dedup]\n";
    write(
        dir.path(),
        "mine.toml",
        format!("{HEAD}[[source]]\nname = 'a'\nschema = 'alpaca'\npath = 'rows.jsonl'\n{rules}"),
    );
    let mut transcript = Transcript::default();
    for args in [
        &["plan", "mine.toml"][..],
        &["preview", "mine.toml", "--dropped"],
        &["build", "mine.toml"],
        &["build", "mine.toml"],
        &["verify", "data/out/mix"],
    ] {
        let run =
            run_in(dir.path(), &[args, &["--json", "--jobs", "2"][..if args[0] == "verify" { 1 } else { 3 }]].concat());
        let mut object = json(&run.assert_success());
        assert_eq!((&object["command"], &object["format"]), (&args[0].into(), &1.into()));
        if object["ledger"].is_object() {
            let file: Value = serde_json::from_str(&text_of(dir.path(), "data/out/mix/ledger.json")).unwrap();
            assert_eq!(object["ledger"], file);
            object["ledger"] = "as in the file".into();
        }
        // Seconds are measured, and sizes of work files follow how they are written.
        for (part, key) in [("estimate", "seconds"), ("estimate", "work_bytes"), ("tasks", "kept_bytes")] {
            if let Some(value) = object[part].get_mut(key) {
                assert!(value.is_number(), "{key}");
                *value = "a number".into();
            }
        }
        transcript.add(args.join(" "), &serde_json::to_string_pretty(&object).unwrap());
        let quiet = run_in(dir.path(), &[args, &["-q"]].concat()).assert_success();
        assert_eq!(quiet.said(), "", "{args:?}");
    }
    fs::write(dir.path().join("data/out/mix/waterfall.svg"), "").unwrap();
    let run = run_in(dir.path(), &["verify", "data/out/mix", "--json"]);
    assert_eq!(run.code, Some(1));
    transcript.add("verify of a changed folder", &serde_json::to_string_pretty(&json(&run)).unwrap());
    let run = run_in(dir.path(), &["plan", "gone.toml", "--json"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "an error is on stderr");
    assert_eq!(run_in(dir.path(), &["build", "mine.toml", "--json", "-q"]).code, Some(2));
    transcript.assert_snapshot("own_data-json");
}

#[test]
fn a_preview_shows_the_rows_that_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.jsonl", questions(0, 8) + "{\"instruction\": \"E poi?\", \"output\": \"N/A\"}\n");
    write(
        dir.path(),
        "b.jsonl",
        questions(8, 1)
            + "{\"instruction\": \"Perch\u{e9}?\", \"output\": \"Dipende, accidenti, dal forno.\"}\nnothing\n",
    );
    let source = |name: &str| format!("[[source]]\nname = '{name}'\nschema = 'alpaca'\npath = '{name}.jsonl'\n");
    let rules = "[[filter]]\nrule = 'answer'\n[[filter]]\nrule = 'bad_words'\nwords = ['Accidenti']\nlists = []\n";
    write(dir.path(), "mine.toml", format!("{HEAD}{}{}{rules}", source("a"), source("b")));
    let mut transcript = Transcript::default();
    for args in [
        "--source b",
        "--dropped -n 9",
        "--rule answer",
        "--kept --source a -n 2",
        "--rule bad_words --on-bad-row skip",
    ] {
        let args: Vec<&str> = args.split(' ').collect();
        let run = run_in(dir.path(), &[&["preview", "mine.toml"], args.as_slice()].concat());
        transcript.add(args.join(" "), &run.assert_success().said());
    }
    for args in [["--source", "c"], ["--rule", "anwser"]] {
        let run = run_in(dir.path(), &[&["preview", "mine.toml"], &args[..]].concat());
        transcript.add(args.join(" "), &run.assert_failure());
    }
    transcript.assert_snapshot("own_data-preview");
}

#[test]
fn what_a_folder_holds_beside_the_rows_is_told_wherever_they_are() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rows/a.csv", "text\nIl treno parte alle sette.\n");
    write(dir.path(), "rows/note.txt", "Una nota.");
    write(dir.path(), "rows/altro/tesi.pdf", "%PDF-1.4");
    let recipe = HEAD.replace("'chat'", "'text'") + "[[source]]\nname = 'a'\nschema = 'text'\npath = 'rows'\n";
    write(dir.path(), "mine.toml", recipe);
    let names = "a/rows/altro/tesi.pdf, a/rows/note.txt";
    for (command, told) in [
        (&["plan", "mine.toml"][..], format!("not read: 2 files beside these, {names}")),
        (&["preview", "mine.toml"], format!("2 files of a not read: {names}")),
        (
            &["build", "mine.toml"],
            format!("The folders of `a` hold 2 more files, of another kind, that were not read: {names}."),
        ),
    ] {
        let said = run_in(dir.path(), command).assert_success().said();
        assert!(said.contains(&told), "{said}");
    }
    assert!(text_of(dir.path(), "data/out/mix/README.md").contains(names));
    for command in ["plan", "preview"] {
        let object = json(&run_in(dir.path(), &[command, "mine.toml", "--json"]).assert_success());
        let left_out = if command == "plan" { &object["sources"][0]["left_out"] } else { &object["left_out"]["a"] };
        assert_eq!(left_out, &serde_json::json!(["a/rows/altro/tesi.pdf", "a/rows/note.txt"]), "{object}");
    }
}

#[test]
fn the_columns_of_a_plan_are_those_of_the_build_and_a_template_without_tools_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let call = serde_json::json!([{"type": "function", "function": {"name": "meteo", "arguments": {"luogo": "Bari"}}}]);
    let row = serde_json::json!({
        "messages": [
            {"role": "user", "content": "Piove?"},
            {"role": "assistant", "content": "", "tool_calls": call},
            {"role": "tool", "content": "sole", "name": "meteo"},
            {"role": "assistant", "content": "No.", "reasoning_content": "Dice sole."},
        ],
        "tools": [{"type": "function", "function": {"name": "meteo", "parameters": {}}}],
    });
    write(dir.path(), "rows.jsonl", format!("{row}\n"));
    write(dir.path(), "deaf.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}");
    let source = "[[source]]\nname = 'a'\nschema = 'messages'\npath = 'rows.jsonl'\n";
    write(dir.path(), "mine.toml", format!("{HEAD}{source}[output]\ntemplate = 'deaf.jinja'\n"));
    let plan = json(&run_in(dir.path(), &["plan", "mine.toml", "--json"]).assert_success());
    let planned: Vec<&str> = plan["columns"].as_array().unwrap().iter().filter_map(|c| c["name"].as_str()).collect();
    let told = "output.template reads no `tools`: the column `text` says nothing of them";
    let built = run_in(dir.path(), &["build", "mine.toml"]).assert_success().said();
    assert!(built.contains(told), "{built}");
    let shards = crate::fixture::batches(&dir.path().join("data/out/mix/data"), "");
    let columns: Vec<String> = shards[0].schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(planned, columns);
    let messages = plan["columns"].as_array().unwrap().iter().find(|c| c["name"] == "messages").unwrap();
    let kind = messages["type"].as_str().unwrap();
    assert!(kind.contains("tool_calls") && kind.contains("reasoning_content"), "{kind}");
    write(dir.path(), "deaf.jinja", "{{ tools|length }}{% for m in messages %}{{ m.content }}{% endfor %}");
    let built = run_in(dir.path(), &["build", "mine.toml"]).assert_success().said();
    assert!(!built.contains("reads no `tools`"), "{built}");
}

#[test]
fn an_empty_file_of_one_s_own_is_called_empty() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "none.jsonl", "");
    write(dir.path(), "other.csv", "\n");
    write(dir.path(), "object.jsonl", "{}\n");
    let init = |files: &[&str]| run_in(dir.path(), &[&["init", "mine"], files].concat()).assert_failure();
    for (files, told) in [
        (&["none.jsonl"][..], "none.jsonl holds no rows: put some into it first"),
        (
            &["none.jsonl", "other.csv"],
            "none of these files holds a row, put some into one first: none.jsonl, other.csv",
        ),
        (&["object.jsonl"], "object.jsonl, row 0 (from 0): the row is an empty object, {}"),
    ] {
        let said = init(files);
        assert!(said.contains(told), "{said}");
    }
    write(dir.path(), "mine.toml", format!("{HEAD}[[source]]\nname = 'a'\nschema = 'alpaca'\npath = 'none.jsonl'\n"));
    let said = run_in(dir.path(), &["build", "mine.toml"]).assert_failure();
    assert!(said.contains("a/none.jsonl: holds no rows: put some into it, or take it out of the recipe"), "{said}");
}

#[test]
fn mistakes_of_one_s_own_data_are_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.jsonl", questions(0, 8));
    write(dir.path(), "text.jsonl", "{\"text\": \"Uno.\"}\n");
    write(
        dir.path(),
        "chat.jsonl",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"?\"}, {\"role\": \"assistant\", \"content\": \"!\"}]}\n",
    );
    write(dir.path(), "odd.jsonl", "{\"instruction\": \"?\", \"risposta\": \"!\"}\n");
    fs::create_dir(dir.path().join("empty")).unwrap();
    let mut transcript = Transcript::default();
    for args in [
        "init x a.jsonl --license ",
        "init x a.jsonl --license CC-BY",
        "init x a.jsonl --language italiano",
        "init x a.jsonl --rename instruction=domanda",
        "init x a.jsonl --rename instruction=istruction",
        "init x odd.jsonl",
        "init x text.jsonl a.jsonl",
        "init x chat.jsonl a.jsonl",
        "init x empty",
        "verify nowhere",
        "verify empty",
        "why empty x",
    ] {
        let run = run_in(dir.path(), &args.split(' ').collect::<Vec<_>>());
        transcript.add(args, &run.assert_failure());
    }
    let recipe = |keys: &str| format!("{HEAD}[[source]]\nname = 'a'\nschema = 'alpaca'\n{keys}\n");
    for keys in [
        "path = 'b.jsonl'",
        "path = ['a.jsonl', 'b/*.jsonl']",
        "path = 'empty'",
        "path = ''",
        "path = 3",
        "path = 'a.jsonl'\nrepo = 'x/y'\nrevision = 'main'",
        "path = 'a.jsonl'\nfiles = ['a.jsonl']",
        "",
        "repo = 'x/y'\nrevision = 'main'\nfiles = ['*']",
        "path = 'a.jsonl'\nlanguage = 'italiano'",
    ] {
        write(dir.path(), "bad.toml", recipe(keys));
        transcript.add(keys, &run_in(dir.path(), &["build", "bad.toml"]).assert_failure());
    }
    assert!(!dir.path().join("data").exists(), "nothing was built, so nothing is left");
    transcript.assert_snapshot("own_data-mistakes");
}

#[test]
fn what_from_does_not_concern_is_said() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.jsonl", questions(0, 8));
    write(
        dir.path(),
        "mine.toml",
        format!("{HEAD}[[source]]\nname = 'a'\nschema = 'alpaca'\npath = ['a.jsonl', './a.jsonl']\n"),
    );
    let run = run_in(dir.path(), &["build", "mine.toml", "--from", "/nowhere"]).assert_success();
    assert_snapshot("own_data-from", run.said());
}

#[test]
fn thousands_of_files_make_no_list_of_thousands_of_lines() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..61 {
        write(dir.path(), &format!("testi/{i:02}.txt"), format!("Il testo numero {i}."));
    }
    let source = "[[source]]\nname = 'testi'\nschema = 'text'\npath = 'testi'\n";
    write(dir.path(), "testi.toml", format!("{}{source}", HEAD.replace("chat", "text")));
    run_in(dir.path(), &["build", "testi.toml"]).assert_success();
    let out = dir.path().join("data/out/mix");
    let inputs: Vec<_> =
        text_of(&out, "README.md").lines().filter(|l| l.contains(".txt |")).map(str::to_owned).collect();
    assert_eq!(inputs.len(), 50);
    let card = text_of(&out, "README.md");
    let rest = card.lines().find(|line| line.starts_with("| and")).unwrap();
    // Each of these eleven texts has 19 bytes.
    assert_eq!(rest, "| and 11 files more, each with its hash in `recipe.lock.toml` | 209 | |");
    assert_eq!(text_of(&out, "recipe.lock.toml").matches("sha256 =").count(), 61);
    let plan = run_in(dir.path(), &["plan", "testi.toml"]).assert_success().said();
    assert_eq!(plan.matches(".txt  ").count(), 20);
    assert!(plan.contains("and 41 files more"), "{plan}");
}

#[test]
fn an_output_folder_that_holds_its_own_source_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "domande/a.jsonl", questions(0, 5));
    let source = "[[source]]\nname = 'a'\nschema = 'alpaca'\npath = 'domande'\n";
    write(dir.path(), "mix.toml", format!("{HEAD}{source}"));
    let run = run_in(dir.path(), &["build", "mix.toml", "--out", "domande"]).assert_failure();
    assert!(run.contains("domande/a.jsonl is read from: name another folder with --out"), "{run}");
    assert_eq!(fs::read_dir(dir.path().join("domande")).unwrap().count(), 1, "nothing is written there");
    // A source may hold the output, which is no part of it.
    write(dir.path(), "mix.toml", format!("{HEAD}{}", source.replace("'domande'", "'.'")));
    for _ in 0..2 {
        run_in(dir.path(), &["build", "mix.toml"]).assert_success();
    }
}
