//! `setaccio train ROWS`: from rows of one's own to a model, with nothing written by hand.

use std::{fmt::Write as _, fs, path::Path};

use crate::fixture::{Run, TestRng, published, setaccio};

/// A folder of conversations in JSON lines, in two files.
fn chats(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    let mut rng = TestRng(11);
    for file in ["a.jsonl", "b.jsonl"] {
        let mut lines = String::new();
        for i in 0..40 {
            let question = format!("Che cosa fa {file} numero {i}?");
            let messages = serde_json::json!([{"role": "user", "content": question}, {"role": "assistant", "content": rng.text()}]);
            writeln!(lines, "{}", serde_json::json!({ "messages": messages })).unwrap();
        }
        fs::write(folder.join(file), lines).unwrap();
    }
}

fn run(args: &[&str]) -> Run {
    setaccio(args)
}

#[test]
fn four_commands_lead_from_a_folder_of_chats_to_a_gguf_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    chats(&dir.path().join("chats"));
    let (rows, out) = (path("chats"), path("run"));
    let few = ["--max-steps", "6", "--set", "data.max_length=128"];
    let train = [&["train", &rows, "--model", "tiny", "--out", &out], &few[..]].concat();
    let said = run(&train).assert_success().stdout;
    assert!(said.contains("schema") && said.contains("built:") && said.contains("trained: 6 steps"), "{said}");
    run(&["generate", &out, "--prompt", "Che cosa fa?", "--max-tokens", "4"]).assert_success();
    run(&["merge", &out]).assert_success();
    run(&["export", &out]).assert_success();
    assert!(dir.path().join("run/export/chats-F16.gguf").is_file());
    let card = fs::read_to_string(dir.path().join("run/README.md")).unwrap();
    assert!(card.contains("# chats\n") && card.contains(": local files |"), "{card}");
    assert!(!card.contains("samples that come with Setaccio"), "{card}");

    // The same again is done already.
    let said = run(&train).assert_success().stdout;
    assert!(said.contains("up to date: ") && !said.contains("trained:"), "{said}");

    // What it followed is there, and gives the same bytes by hand.
    let hand = path("hand");
    let build = ["build", &path("run/chats.toml"), "--out", &format!("{hand}/data")];
    run(&build).assert_success();
    assert!(published(Path::new(&format!("{hand}/data"))) == published(&dir.path().join("run/data")));
    let data = format!("data.train=[{:?}]", format!("{hand}/data"));
    let again = ["train", &path("run/train.toml"), "--out", &format!("{hand}/run"), "--set", &data];
    run(&[&again, &few[..]].concat()).assert_success();
    let weights = |run: &str| fs::read(format!("{run}/adapter/adapter_model.safetensors")).unwrap();
    assert!(weights(&out) == weights(&format!("{hand}/run")));

    // A recipe that was changed is followed as it is, and goes on from its own folder.
    let recipe = dir.path().join("run/train.toml");
    let text = fs::read_to_string(&recipe).unwrap();
    fs::write(&recipe, text.replace("keep = 2", "keep = 3")).unwrap();
    run(&[&["train", &out, "--resume", "--max-steps", "8"], &few[2..]].concat()).assert_success();
    assert!(fs::read_to_string(&recipe).unwrap().contains("keep = 3"));

    // Other rows of the same name are not trained on as these.
    chats(&dir.path().join("other/chats"));
    let other = path("other/chats");
    let said = run(&["train", &other, "--model", "tiny", "--out", &out]).assert_failure();
    assert!(said.contains("reads other rows than") && said.contains("--force"), "{said}");
}

#[test]
fn rows_of_each_kind_are_learned_as_what_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, line: &dyn Fn(usize) -> serde_json::Value| {
        let lines = (0..30).map(|i| line(i).to_string()).collect::<Vec<_>>().join("\n");
        let path = dir.path().join(name);
        fs::write(&path, lines).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let texts = put("texts.jsonl", &|i| serde_json::json!({"text": format!("Il treno numero {i} parte alle sette.")}));
    let pairs = put(
        "pairs.jsonl",
        &|i| serde_json::json!({"prompt": format!("Quanto fa {i} più uno?"), "chosen": format!("Fa {}.", i + 1), "rejected": "Non so."}),
    );
    let alpaca = put(
        "alpaca.jsonl",
        &|i| serde_json::json!({"instruction": format!("Conta fino a {i}"), "input": "", "output": format!("Ecco: {i}")}),
    );
    for (rows, said) in [(&texts, "task = \"text\""), (&pairs, "task = \"preference\""), (&alpaca, "task = \"sft\"")] {
        let out = format!("{rows}-run");
        run(&["train", rows, "--model", "tiny", "--out", &out, "--max-steps", "2"]).assert_success();
        let recipe = fs::read_to_string(format!("{out}/train.toml")).unwrap();
        assert!(recipe.contains(said), "{recipe}");
    }
    // A built data set is taken where it is.
    let out = dir.path().join("of-built");
    let built = format!("{alpaca}-run/data");
    run(&["train", &built, "--model", "tiny", "--out", out.to_str().unwrap(), "--max-steps", "2"]).assert_success();
    assert!(!out.join("data").exists() && out.join("adapter").exists());
}

#[test]
fn rows_are_laid_out_as_is_told_and_all_that_was_made_of_them_is_verified() {
    let dir = tempfile::tempdir().unwrap();
    let rows = dir.path().join("sums.jsonl");
    let lines =
        (0..20).map(|i| serde_json::json!({"question": format!("{i} più uno?"), "answer": format!("Fa {}.", i + 1)}));
    let bad = "{\"question\": 3\n";
    fs::write(&rows, lines.map(|line| line.to_string() + "\n").collect::<String>() + bad).unwrap();
    let (rows, out) = (rows.to_str().unwrap(), dir.path().join("run"));
    let train = ["train", rows, "--model", "tiny", "--out", out.to_str().unwrap(), "--max-steps", "1"];
    let layout =
        ["--schema", "alpaca", "--rename", "instruction=question", "--rename", "output=answer", "--on-bad-row", "skip"];
    run(&[&train[..], &layout].concat()).assert_success();
    // Without a word about it, it is as it was; otherwise it would be another.
    run(&train).assert_success();
    let said = run(&[&train[..], &layout, &["--encoding", "windows-1252"]].concat()).assert_failure();
    assert!(said.contains("says otherwise how the rows are laid out"), "{said}");
    let said = run(&["train", "tiny", "--schema", "alpaca"]).assert_failure();
    assert!(said.contains("are of rows of your own"), "{said}");
    let said = run(&["train", rows, "--model", "nowhere", "--out", dir.path().join("other").to_str().unwrap()])
        .assert_failure();
    assert!(said.contains("there is no nowhere") && !dir.path().join("other").exists(), "{said}");
    let verify = || run(&["verify", out.to_str().unwrap()]);
    let said = verify().assert_success().stdout;
    assert!(!said.contains("did not write") && said.contains("20 rows"), "{said}");
    for name in ["train.toml", "sums.toml", "data/README.md", "data/ledger.json"] {
        let path = out.join(name);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, [&bytes[..], b" "].concat()).unwrap();
        let said = verify().assert_failure();
        assert!(said.contains(name), "{name}: {said}");
        fs::write(&path, bytes).unwrap();
    }
    verify().assert_success();
}

#[test]
fn what_is_missing_is_said_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    chats(&dir.path().join("chats"));
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(dir.path().join("odd.jsonl"), "{\"a\": 1}\n").unwrap();
    let said = run(&["train", &path("odd.jsonl"), "--model", "tiny", "--out", &path("run")]).assert_failure();
    assert!(said.contains("no schema reads"), "{said}");
    assert!(!dir.path().join("run").exists(), "nothing was begun");
    let said = run(&["train", &path("chats"), "--out", &path("run")]).assert_failure();
    assert!(said.contains("name the model to train") && said.contains("--model PATH"), "{said}");
    let said = run(&["train", &path("nowhere.jsonl"), "--model", "tiny"]).assert_failure();
    assert!(said.contains("there is no file"), "{said}");
}
