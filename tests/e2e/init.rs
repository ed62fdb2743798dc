//! `setaccio init`: a recipe for one's own rows, which plans, previews and builds as it is.

use std::{fs, path::Path};

use crate::{
    embedded::run_in,
    fixture::{ROOT, column},
};

/// Ten conversations in the layout of Alpaca, in Italian.
fn questions() -> String {
    let row = |i| {
        serde_json::json!({
            "instruction": format!("Come si prepara il piatto numero {i} della cucina toscana?"),
            "output": format!("Si fa bollire l'acqua per {i} minuti, poi si aggiungono il sale e il pane raffermo."),
        })
    };
    (0..10).map(|i| row(i).to_string() + "\n").collect()
}

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn the_recipe_works_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rows/domande.jsonl", questions());
    let said = run_in(dir.path(), &["init", "cucina", "rows/domande.jsonl"]).assert_success().stdout;
    assert!(said.contains("schema alpaca: the first 10 rows have its columns `instruction`, `output`"), "{said}");
    assert!(said.contains("language it, of 10 rows looked at"), "{said}");
    let plan = run_in(dir.path(), &["plan", "cucina.toml"]).assert_success().stdout;
    assert!(plan.contains("the licence is not known") && plan.contains("10 rows expected"), "{plan}");
    let preview = run_in(dir.path(), &["preview", "cucina.toml"]).assert_success().stdout;
    assert!(preview.contains("10 kept, 0 dropped"), "{preview}");
    let said = run_in(dir.path(), &["build", "cucina.toml"]).assert_success().stdout;
    assert!(!said.contains("bundled samples"), "{said}");
    let out = dir.path().join("data/out/cucina");
    assert_eq!(column(&out.join("data"), "", "id").len(), 10);
    run_in(dir.path(), &["verify", out.to_str().unwrap()]).assert_success();
    for name in ["README.md", "recipe.lock.toml", "ledger.json"] {
        let text = fs::read_to_string(out.join(name)).unwrap();
        assert!(!text.contains(dir.path().to_str().unwrap()), "{name} names a path of this machine: {text}");
    }
    let card = fs::read_to_string(out.join("README.md")).unwrap();
    assert!(card.contains("| cucina | local files |") && !card.contains("sample rows"), "{card}");
    // Wherever the others come from, one's own files are one's own.
    run_in(dir.path(), &["build", "cucina.toml", "--from", "hub", "--out", "hub"]).assert_success();
    let lock = |out: &Path| fs::read(out.join("recipe.lock.toml")).unwrap();
    assert_eq!(lock(&out), lock(&dir.path().join("hub")));
}

#[test]
fn a_folder_stays_what_it_was_after_a_build_and_two_languages_are_none() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.jsonl", questions());
    let row = |i| {
        serde_json::json!({
            "instruction": format!("How is dish number {i} of the kitchens of Tuscany made on a holiday?"),
            "output": format!("Boil the water for {i} minutes, then stir in the salt and the bread of the day before."),
        })
    };
    write(dir.path(), "b.jsonl", (0..90).map(|i| row(i).to_string() + "\n").collect::<String>());
    run_in(dir.path(), &["init", "mix", "."]).assert_success();
    let recipe = fs::read_to_string(dir.path().join("mix.toml")).unwrap();
    assert!(recipe.contains("\nlanguage = \"en\""), "nine in ten: {recipe}");
    for _ in 0..2 {
        run_in(dir.path(), &["build", "mix.toml"]).assert_success();
    }
    write(dir.path(), "c.jsonl", questions().replace("cucina toscana", "cucina ligure"));
    run_in(dir.path(), &["init", "mix", ".", "--force"]).assert_success();
    let recipe = fs::read_to_string(dir.path().join("mix.toml")).unwrap();
    assert!(!recipe.contains("\nlanguage = \""), "the first file alone is Italian: {recipe}");
}

#[test]
fn every_layout_of_the_samples_is_told() {
    let dir = tempfile::tempdir().unwrap();
    for (file, schema) in [
        ("camoscio.json", "alpaca"),
        ("alpaca_orca.json", "orca"),
        ("databricks_dolly_15k.jsonl", "dolly"),
        ("fauno.json", "baize"),
        ("kto.jsonl", "kto"),
        ("sharegpt.json", "sharegpt"),
        ("ultrachat_200k.parquet", "messages"),
        ("orpo_dpo_mix_40k.parquet", "preference"),
        ("ultrafeedback_binarized.parquet", "preference"),
        ("mc4_raw_it.parquet", "text"),
        ("clean_mc4_it.json.gz", "text"),
    ] {
        let path = format!("{ROOT}/data/samples/{file}");
        let said =
            run_in(dir.path(), &["init", "mine", &path, "--force", "--license", "cc-by-4.0"]).assert_success().stdout;
        assert!(said.contains(&format!("schema {schema}: ")), "{file}: {said}");
        let plan = run_in(dir.path(), &["plan", "mine.toml"]).assert_success().stdout;
        assert!(!plan.contains("the licence is not known"), "{plan}");
        run_in(dir.path(), &["preview", "mine.toml"]).assert_success();
        run_in(dir.path(), &["build", "mine.toml", "--force"]).assert_success();
        if schema == "kto" {
            let lock = fs::read_to_string(dir.path().join("data/out/mine/recipe.lock.toml")).unwrap();
            assert!(lock.contains("label = \"bool\""), "what KTO learns from is kept: {lock}");
        }
    }
}

#[test]
fn columns_by_other_names_are_renamed() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "qa.jsonl", questions().replace("instruction", "question").replace("output", "answer"));
    let said = run_in(dir.path(), &["init", "qa", "qa.jsonl"]).assert_failure();
    assert!(said.contains("qa.jsonl, row 0") && said.contains("`answer`, `question`"), "{said}");
    assert!(said.contains("--rename instruction=QUESTION --rename output=ANSWER"), "{said}");
    assert!(!dir.path().join("qa.toml").exists());
    let rename = ["--rename", "instruction=question", "--rename", "output=answer"];
    let said = run_in(dir.path(), &[&["init", "qa", "qa.jsonl"][..], &rename].concat()).assert_success().stdout;
    assert!(said.contains("schema alpaca"), "{said}");
    run_in(dir.path(), &["build", "qa.toml"]).assert_success();
    assert_eq!(column(&dir.path().join("data/out/qa/data"), "", "id").len(), 10);
    let said =
        run_in(dir.path(), &["init", "qb", "qa.jsonl", "--schema", "text", "--rename", "txt=answer"]).assert_failure();
    assert!(said.contains("--rename txt: the schema text takes text (did you mean `text`?)"), "{said}");
}

#[test]
fn a_bad_row_is_named_and_can_be_skipped() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "rows.jsonl", questions() + "{\"instruction\": \"E dopo?\"}\n");
    let said = run_in(dir.path(), &["init", "mine", "rows.jsonl"]).assert_failure();
    assert!(said.contains("rows.jsonl, row 10 (from 0)") && said.contains("`output`"), "{said}");
    run_in(dir.path(), &["init", "mine", "rows.jsonl", "--on-bad-row", "skip"]).assert_success();
    run_in(dir.path(), &["build", "mine.toml"]).assert_success();
    assert_eq!(column(&dir.path().join("data/out/mine/data"), "", "id").len(), 10);
    write(dir.path(), "torn.jsonl", "{\"text\": \"uno\"}\n{\"text\": \n");
    let said = run_in(dir.path(), &["init", "torn", "torn.jsonl"]).assert_failure();
    assert!(said.contains("torn.jsonl, row 1 (from 0)") && said.contains("not JSON"), "{said}");
}

#[test]
fn what_is_there_stays_and_odd_names_are_found() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "raw [1]/a b.jsonl", questions());
    write(dir.path(), "work/mine.toml", "mine");
    let work = dir.path().join("work");
    let said = run_in(&work, &["init", "mine", "../raw [1]/a b.jsonl"]).assert_failure();
    assert!(said.contains("mine.toml is there: --force replaces it"), "{said}");
    run_in(&work, &["init", "mine.toml", "../raw [1]/a b.jsonl", "--force"]).assert_success();
    run_in(&work, &["build", "mine.toml"]).assert_success();
    assert_eq!(column(&work.join("data/out/mine/data"), "", "id").len(), 10);
    // A folder is read whole, and the recipe may lie anywhere.
    run_in(dir.path(), &["init", "work/other", "raw [1]", "--title", "A \"title\"", "--language", "it"])
        .assert_success();
    run_in(dir.path(), &["build", "work/other.toml"]).assert_success();
    let lock = fs::read_to_string(dir.path().join("data/out/other/recipe.lock.toml")).unwrap();
    assert!(lock.contains("../raw [1]/a b.jsonl") && lock.contains("title = 'A \"title\"'"), "{lock}");
    fs::create_dir(dir.path().join("empty")).unwrap();
    for (args, what) in [
        (&["init", "x", "nowhere.jsonl"][..], "nowhere.jsonl"),
        (&["init", "-x", "work"], "x"),
        (&["init", "x y", "raw [1]"], "use letters"),
        (&["init", "x", "empty"], "is a folder without any file that can be read"),
    ] {
        let run = run_in(dir.path(), args);
        assert!(run.code != Some(0) && run.stderr.contains(what), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn every_container_is_told() {
    let rows: Vec<serde_json::Value> = questions().lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    let field = |row: &serde_json::Value, name: &str| row[name].as_str().unwrap().replace('"', "\"\"");
    let csv = rows.iter().map(|row| format!("\"{}\";\"{}\"\n", field(row, "instruction"), field(row, "output")));
    let csv: String = std::iter::once("instruction;output\n".to_owned()).chain(csv).collect();
    let outer = serde_json::json!({ "version": "1", "licence": {}, "data": rows });
    let columns = |name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    let columns = serde_json::json!({ "instruction": columns("instruction"), "output": columns("output") });
    let pretty: String = rows.iter().map(|row| serde_json::to_string_pretty(row).unwrap() + "\n").collect();
    let mut ids = Vec::new();
    for (name, text, key) in [
        ("rows.jsonl", questions(), ""),
        ("rows.csv", csv, ""),
        ("rows.json", outer.to_string(), "\nfield = \"data\"\n"),
        ("columns.json", columns.to_string(), ""),
        ("pretty.json", pretty, ""),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), name, text);
        run_in(dir.path(), &["init", "mine", name]).assert_success();
        let recipe = fs::read_to_string(dir.path().join("mine.toml")).unwrap();
        assert!(recipe.contains("\nschema = \"alpaca\"\n") && recipe.contains(key), "{name}: {recipe}");
        run_in(dir.path(), &["plan", "mine.toml"]).assert_success();
        run_in(dir.path(), &["build", "mine.toml"]).assert_success();
        ids.push(column(&dir.path().join("data/out/mine/data"), "", "id"));
    }
    assert!(
        ids[0].len() == 10 && ids.iter().all(|other| *other == ids[0]),
        "the same rows, whatever holds them: {ids:?}"
    );
    // Labels are words in CSV.
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "voti.csv", "prompt,completion,voto\nChi?,Io.,True\nDove?,Qui.,false\n");
    run_in(dir.path(), &["init", "voti", "voti.csv", "--rename", "label=voto"]).assert_success();
    let recipe = fs::read_to_string(dir.path().join("voti.toml")).unwrap();
    assert!(recipe.contains("\nschema = \"kto\"\n"), "{recipe}");
    run_in(dir.path(), &["build", "voti.toml"]).assert_success();
    // A folder of texts, each a document, or each line.
    let dir = tempfile::tempdir().unwrap();
    for (i, row) in rows.iter().enumerate() {
        write(
            dir.path(),
            &format!("testi/{i}.txt"),
            format!("{}\n\n{}\n", field(row, "instruction"), field(row, "output")),
        );
    }
    write(dir.path(), "testi/vuoto.txt", "\n");
    run_in(dir.path(), &["init", "testi", "testi"]).assert_success();
    let recipe = fs::read_to_string(dir.path().join("testi.toml")).unwrap();
    assert!(recipe.contains("\nschema = \"text\"\n") && recipe.contains("\ndocuments = \"file\"\n"), "{recipe}");
    for (documents, count) in [("file", 10), ("line", 20)] {
        fs::write(dir.path().join("testi.toml"), recipe.replace("\"file\"", &format!("\"{documents}\""))).unwrap();
        let said = run_in(dir.path(), &["build", "testi.toml"]).assert_success().said();
        assert!(said.contains("Of the 11 files of `testi` 1 hold no rows: testi/testi/vuoto.txt."), "{said}");
        assert!(!said.contains("nothing reads"), "{said}");
        assert_eq!(column(&dir.path().join("data/out/testi/data"), "", "id").len(), count, "{documents}");
        run_in(dir.path(), &["build", "testi.toml", "--set", "output.keep.file=string"]).assert_success();
        let files = column(&dir.path().join("data/out/testi/data"), "", "file");
        assert!(files.iter().all(|file| file.starts_with("testi/testi/") && Path::new(file).extension().is_some_and(|e| e == "txt")), "{files:?}");
    }
}

#[test]
fn what_is_said_of_rows_is_short_whatever_their_columns_are_called() {
    let dir = tempfile::tempdir().unwrap();
    let long = "colonna".repeat(50_000);
    let many: serde_json::Map<String, serde_json::Value> = (0..20_000).map(|i| (format!("c{i}"), 1.into())).collect();
    for row in [serde_json::json!({ &long: 1 }), many.into(), serde_json::json!({ "messages": [{ &long: 1 }] })] {
        write(dir.path(), "a.jsonl", format!("{row}\n"));
        for args in [&["init", "mine", "a.jsonl"][..], &["init", "mine", "a.jsonl", "--rename", "text=testo"]] {
            let said = run_in(dir.path(), args).assert_failure();
            assert!(said.len() < 1000, "{} bytes: {}", said.len(), &said[..500]);
        }
    }
}

#[test]
fn several_lists_in_one_object_are_named_and_one_is_chosen() {
    let rows: Vec<serde_json::Value> = questions().lines().map(|row| serde_json::from_str(row).unwrap()).collect();
    for (test, train) in [(&rows[..3], &rows[3..]), (&rows[..0], &rows[..])] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "rows.json", serde_json::json!({ "train": train, "test": test, "version": 1 }).to_string());
        let lists: serde_json::Value = serde_json::json!({ "train": train, "test": test });
        write(dir.path(), "lists.json", lists.to_string());
        for file in ["rows.json", "lists.json"] {
            if !test.is_empty() {
                let said = run_in(dir.path(), &["init", "mine", file, "--force"]).assert_failure();
                let told =
                    format!("{file} is one object that holds several lists of objects: train, test. Say which one");
                assert!(said.contains(&told) && said.contains("--field train"), "{said}");
            }
            let chosen = ["--field", "train", "--force"];
            run_in(dir.path(), &[&["init", "mine", file][..], &chosen].concat()).assert_success();
            let recipe = fs::read_to_string(dir.path().join("mine.toml")).unwrap();
            assert!(recipe.contains("\nfield = \"train\"\n"), "{recipe}");
            run_in(dir.path(), &["build", "mine.toml", "--force"]).assert_success();
            assert_eq!(column(&dir.path().join("data/out/mine/data"), "", "id").len(), train.len());
            // Without it a build says what is to be written.
            fs::write(dir.path().join("mine.toml"), recipe.replace("field = \"train\"\n", "")).unwrap();
            let said = run_in(dir.path(), &["build", "mine.toml", "--force"]).assert_failure();
            assert!(said.contains("`field = \"train\"`"), "{said}");
        }
    }
    // A list of objects beside columns of one length is a table of its own, too.
    let dir = tempfile::tempdir().unwrap();
    let odd = serde_json::json!({ "data": rows, "tags": ["a", "b"] });
    write(dir.path(), "rows.json", odd.to_string());
    let said = run_in(dir.path(), &["init", "mine", "rows.json"]).assert_failure();
    assert!(said.contains("they are not of one length") && said.contains("--field data"), "{said}");
}

#[test]
fn prompts_with_completions_are_told_as_texts_and_as_messages() {
    let turn = |role: &str, text: &str| serde_json::json!({ "role": role, "content": text });
    let asked = "Come si prepara il piatto numero 3 della cucina toscana?";
    let answer = "Si fa bollire l'acqua, poi si aggiungono il sale e il pane raffermo.";
    let mut ids = Vec::new();
    for (prompt, completion) in [
        (asked.into(), answer.into()),
        (serde_json::json!([turn("user", asked)]), serde_json::json!([turn("assistant", answer)])),
        (turn("user", asked), turn("assistant", answer)),
        (serde_json::json!([turn("user", asked)]), answer.into()),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "rows.jsonl", serde_json::json!({ "prompt": prompt, "completion": completion }).to_string());
        let said = run_in(dir.path(), &["init", "mine", "rows.jsonl"]).assert_success().stdout;
        assert!(
            said.contains("schema prompt_completion: the first 1 rows have its columns `prompt`, `completion`"),
            "{said}"
        );
        run_in(dir.path(), &["build", "mine.toml"]).assert_success();
        ids.push(column(&dir.path().join("data/out/mine/data"), "", "id"));
    }
    assert!(ids.iter().all(|id| id.len() == 1 && *id == ids[0]), "one conversation, however it is written: {ids:?}");
}

#[test]
fn the_encoding_of_the_files_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let text = "instruction;output\nPerché il cielo è blu?;È così perché l'aria diffonde la luce più corta.\n";
    // Windows-1252 has these letters in one byte each, as Latin-1 has them.
    let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    write(dir.path(), "rows.csv", bytes);
    let said = run_in(dir.path(), &["init", "mine", "rows.csv"]).assert_failure();
    assert!(said.contains("`--encoding` of `setaccio init`"), "{said}");
    run_in(dir.path(), &["init", "mine", "rows.csv", "--encoding", "windows-1252"]).assert_success();
    let recipe = fs::read_to_string(dir.path().join("mine.toml")).unwrap();
    assert!(recipe.contains("\nencoding = \"windows-1252\"\n"), "{recipe}");
    run_in(dir.path(), &["build", "mine.toml"]).assert_success();
    let said = run_in(dir.path(), &["why", "data/out/mine", "rows.csv:0"]).assert_success().stdout;
    assert!(said.contains("Perché il cielo è blu?"), "{said}");
    let said = run_in(dir.path(), &["init", "other", "rows.csv", "--encoding", "windows-125"]).assert_failure();
    assert!(said.contains("there is no encoding \"windows-125\""), "{said}");
}
