//! `setaccio eval`: the numbers of lm-evaluation-harness (`tests/oracles/eval/lm_eval_hf.py`), the same bytes after a stop, runs and
//! chains that are told of theirs.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use arrow_array::{Array, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use setaccio_base::sha256::hex_digest;

use crate::{
    fixture::{ROOT, setaccio, signal, training, wait_for},
    train::data,
};

/// A run of the tiny recipe, whose base is the oracle's model.
pub fn run() -> &'static Path {
    static RUN: OnceLock<tempfile::TempDir> = OnceLock::new();
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let dir = RUN.get_or_init(|| tempfile::tempdir().unwrap());
        let path = dir.path().join("tiny");
        let run = training("tiny", data(), &path, &["train.max_steps=2", "train.learning_rate=0.02"]).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        path
    })
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Evaluate, and read what is printed as JSON.
fn eval(models: &[&Path], args: &[&str]) -> Value {
    let mut all = vec!["eval"];
    all.extend(models.iter().map(|model| text(model)));
    all.extend(["--device", "cpu", "--jobs", "2", "--json"]);
    all.extend(args);
    serde_json::from_str(&setaccio(&all).assert_success().stdout).unwrap()
}

fn answers(path: &Path) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(path).unwrap()).unwrap().build().unwrap();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert_eq!(batches.len(), 1, "so few rows are one batch");
    batches.into_iter().next().unwrap()
}

fn column<'a, T: 'static>(batch: &'a RecordBatch, name: &str) -> &'a T {
    batch.column_by_name(name).unwrap_or_else(|| panic!("{name}")).as_any().downcast_ref().unwrap()
}

fn near(what: &str, found: f64, expected: f64) {
    assert!((found - expected).abs() <= 1e-4 * expected.abs().max(1.0), "{what}: {found}, and not {expected}");
}

/// What the harness calls our metrics.
const METRICS: [(&str, &str); 10] = [
    ("acc", "acc,none"),
    ("acc_norm", "acc_norm,none"),
    ("mc2", "acc,none"),
    ("f1", "f1,none"),
    ("sentiment_f1", "f1,none"),
    ("exact_match,strict-match", "exact_match,strict-match"),
    ("exact_match,flexible-extract", "exact_match,flexible-extract"),
    ("word_perplexity", "word_perplexity,none"),
    ("byte_perplexity", "byte_perplexity,none"),
    ("bits_per_byte", "bits_per_byte,none"),
];

#[test]
fn tasks_have_the_prompts_likelihoods_and_numbers_of_the_harness() {
    let oracle = fs::read_to_string(format!("{ROOT}/tests/oracles/eval/lm_eval_hf.json")).unwrap();
    let oracle: Value = serde_json::from_str(&oracle).unwrap();
    let base = run().join("base");
    let dir = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for (number, expected) in oracle["runs"].as_array().unwrap().iter().enumerate() {
        let (task, shots) = (expected["task"].as_str().unwrap(), expected["shots"].to_string());
        let out = dir.path().join(number.to_string());
        let texts = oracle["texts"].to_string();
        let mut args = vec!["--task", task, "--out", text(&out), "--shots", &shots, "--max-tokens", "32"];
        if task == "perplexity_it" {
            args.extend(["--limit", &texts]);
        }
        let found = &eval(&[&base], &args)["tasks"][0];
        let rows = expected["answers"].as_array().unwrap();
        assert_eq!(found["rows"], rows.len(), "{task}");
        let batch = answers(&out.join(task).join("base.parquet"));
        for (row, expected) in rows.iter().enumerate() {
            let what = format!("{task} with {shots} examples, row {row}");
            let prompt = column::<StringArray>(&batch, "prompt").value(row);
            let sha = &hex_digest(prompt.as_bytes())[..16];
            assert_eq!(Some(sha), expected["prompt"].as_str(), "{what}: {prompt}");
            if let Some(sums) = expected["sums"].as_array() {
                let own = column::<ListArray>(&batch, "log_likelihoods").value(row);
                let own: &Float64Array = own.as_any().downcast_ref().unwrap();
                assert_eq!(own.len(), sums.len(), "{what}");
                sums.iter().enumerate().for_each(|(i, sum)| near(&what, own.value(i), sum.as_f64().unwrap()));
                compared += sums.len();
            } else if let Some(sum) = expected["sum"].as_f64() {
                near(&what, column::<Float64Array>(&batch, "log_likelihood").value(row), sum);
                compared += 1;
            } else {
                let answer = column::<StringArray>(&batch, "answer").value(row);
                assert_eq!(Some(answer), expected["text"].as_str(), "{what}");
                assert!(column::<Int64Array>(&batch, "tokens").value(row) <= 32);
                assert_eq!(column::<BooleanArray>(&batch, "cut_short").len(), rows.len());
                compared += 1;
            }
        }
        let mut named = 0;
        for metric in found["models"][0]["metrics"].as_array().unwrap() {
            let name = metric["metric"].as_str().unwrap();
            let theirs = METRICS.iter().find(|(ours, _)| *ours == name).map(|(_, theirs)| *theirs);
            // Those of one task of several, weighed by their rows, are their mean here: all have as many.
            let Some(values) = theirs.and_then(|theirs| expected["metrics"][theirs].as_array()) else { continue };
            #[allow(clippy::cast_precision_loss, reason = "a few")]
            let mean = values.iter().map(|v| v.as_f64().unwrap()).sum::<f64>() / values.len() as f64;
            near(&format!("{name} of {task}"), metric["value"].as_f64().unwrap(), mean);
            named += 1;
            let stderr = theirs.unwrap().replacen(',', "_stderr,", 1);
            if let (Some([stderr]), Some(own)) =
                (expected["metrics"][&stderr].as_array().map(Vec::as_slice), metric["stderr"].as_f64())
            {
                near(&format!("stderr of {name} of {task}"), own, stderr.as_f64().unwrap());
            }
        }
        assert!(named > 0, "{task}: none of its numbers is the harness's");
    }
    assert!(compared > 500, "{compared}");
}

#[test]
fn every_carried_task_runs_on_its_samples() {
    let carried: Vec<String> = fs::read_dir(format!("{ROOT}/pipelines/eval"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert!(carried.len() >= 19, "{carried:?}");
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let tasks = carried.join(",");
    let found = eval(
        &[&run().join("base")],
        &["--task", &tasks, "--out", text(&out), "--limit", "3", "--max-tokens", "8", "--shots", "1"],
    );
    assert_eq!(found["tasks"].as_array().unwrap().len(), carried.len());
    for task in found["tasks"].as_array().unwrap() {
        let name = task["task"].as_str().unwrap();
        assert!(carried.iter().any(|carried| carried == name), "{name} is not called as its file");
        let metrics = task["models"][0]["metrics"].as_array().unwrap();
        assert!(!metrics.is_empty() && metrics.iter().all(|metric| metric["value"].is_f64()), "{name}: {metrics:?}");
        assert_eq!((&task["rows"], &task["unanswerable"]), (&3.into(), &0.into()), "{name}");
    }
}

/// All files below a folder but what is hidden, by their paths.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().unwrap() != ".setaccio" {
                    folders.push(path);
                }
            } else {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
                found.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[test]
fn what_was_answered_is_not_asked_again_and_the_bytes_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, cut] = ["whole", "cut"].map(|name| dir.path().join(name));
    let args = |out: &Path, more: &[&str]| -> Vec<String> {
        let fixed = ["--task", "arc_it,gsm8k", "--max-tokens", "12", "--shots", "1", "--out", text(out)];
        fixed.iter().chain(more).map(|arg| (*arg).to_owned()).collect()
    };
    let ask = |out: &Path, more: &[&str]| {
        let args = args(out, more);
        eval(&[run()], &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    ask(&whole, &["--parallel", "1"]);
    // A part of the rows, then all: beside each other, and behind a line that a crash has cut.
    ask(&cut, &["--limit", "4"]);
    let journals = cut.join(".setaccio/answers");
    for entry in fs::read_dir(&journals).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.split(|byte| *byte == b'\n').count(), 5, "four lines");
        fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    }
    ask(&cut, &["--parallel", "7"]);
    assert!(files(&whole) == files(&cut), "other bytes");
    assert_eq!(files(&whole).len(), 6);
    // Nothing is left to ask: whoever answers need not even be there.
    let lines = |folder: &Path| {
        let sizes = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
        sizes.sum::<u64>()
    };
    let before = lines(&journals);
    ask(&cut, &[]);
    assert_eq!(lines(&journals), before);
}

#[test]
fn base_and_adapter_stand_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let twice = setaccio(&["eval", text(run()), text(&run().join("base")), "--task", "arc_it", "--out", text(&out)]);
    assert!(twice.assert_failure().contains("two models would be called `base`"));
    let found = eval(&[run()], &["--task", "hellaswag_it", "--out", text(&out)]);
    let task = &found["tasks"][0];
    let models: Vec<&str> = task["models"].as_array().unwrap().iter().map(|m| m["model"].as_str().unwrap()).collect();
    assert_eq!(models, ["base", "tiny"]);
    assert_eq!(task["models"][1]["parent"], "base");
    let differences = task["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 2);
    for differing in differences {
        let metric = &differing["metric"];
        let of = |model: usize| {
            let metrics = task["models"][model]["metrics"].as_array().unwrap().iter();
            metrics.clone().find(|m| m["metric"] == *metric).unwrap()["value"].as_f64().unwrap()
        };
        near("the difference", differing["value"].as_f64().unwrap(), of(1) - of(0));
        let p = differing["p"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&p));
        // By hand: the rows that one has and the other has not, and McNemar's test of them.
        let [a, b] = ["base", "tiny"].map(|model| answers(&out.join("hellaswag_it").join(format!("{model}.parquet"))));
        let [a, b] = [&a, &b].map(|batch| column::<Float64Array>(batch, metric.as_str().unwrap()).values().to_vec());
        let ahead = |a: &[f64], b: &[f64]| u32::try_from(a.iter().zip(b).filter(|(a, b)| a > b).count()).unwrap();
        let (one, other) = (ahead(&a, &b), ahead(&b, &a));
        let (n, few) = (one + other, one.min(other));
        let choose = |k: u32| (0..k).fold(1.0, |c, i| c * f64::from(n - i) / f64::from(i + 1));
        let expected = (2.0 * (0..=few).map(choose).sum::<f64>() / 2.0_f64.powi(i32::try_from(n).unwrap())).min(1.0);
        near("p", p, expected);
    }
}

#[test]
fn stopped_or_killed_at_any_moment_it_goes_on_to_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let command = |out: &Path| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
        command.arg("eval").arg(run()).args(["--task", "arc_it,mmlu,gsm8k", "--max-tokens", "16", "--shots", "1"]);
        command.args(["--device", "cpu", "--jobs", "1", "--parallel", "2", "--out"]).arg(out);
        command.stdout(Stdio::null()).stderr(Stdio::null()).current_dir(ROOT);
        command
    };
    let written = |out: &Path| {
        let entries = fs::read_dir(out.join(".setaccio/answers")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum::<u64>()
    };
    let whole = dir.path().join("whole");
    assert!(command(&whole).status().unwrap().success());
    let all = written(&whole);
    let mut cut = 0;
    for (round, (name, code)) in
        [("KILL", None), ("INT", Some(130)), ("TERM", Some(143)), ("KILL", None)].into_iter().enumerate()
    {
        let out = dir.path().join(format!("out{round}"));
        // Again and again, each time a little further.
        for part in 1..4 {
            let mut child = command(&out).spawn().unwrap();
            wait_for(&mut child, || written(&out) > all * part / 4);
            if child.try_wait().unwrap().is_none() {
                signal(&child, name);
                let status = child.wait().unwrap();
                assert!(status.success() || status.code() == code, "{name}: {status}");
                cut += usize::from(!status.success());
            }
            // What is there of results is whole.
            for (name, bytes) in files(&out) {
                assert!(files(&whole).get(&name) == Some(&bytes), "{name} after {part} of 4");
            }
        }
        assert!(command(&out).status().unwrap().success());
        assert!(files(&out) == files(&whole), "other bytes after {name}");
    }
    assert!(cut >= 8, "only {cut} were stopped before their end");
}

#[test]
fn areas_beside_terms_are_of_files_in_the_layout_of_ami() {
    let dir = tempfile::tempdir().unwrap();
    let mut rows = "id\ttext\tmisogynous\n".to_owned();
    for (number, (term, label)) in
        ["donna", "Casalinga", "zia"].iter().flat_map(|term| [(term, 0), (term, 1)]).enumerate()
    {
        let text = if label == 1 { format!("odio ogni {term}!") } else { format!("ascolto ogni {term}, madonna") };
        writeln!(rows, "{number}\t{text}\t{label}").unwrap();
    }
    fs::write(dir.path().join("synthetic.tsv"), &rows).unwrap();
    let task = |terms: &str| {
        let text = format!(
            "name = 'ami_unbiased'\ntitle = 'AMI 2020, subtask B'\nmetrics = ['bias_auc', 'auc']\ndata.path = 'synthetic.tsv'\n[choice]\n\
             prompt = 'Testo: {{{{ text }}}}\\nMisogino:'\nchoices = ['no', 'sì']\nanswer = '{{{{ misogynous }}}}'\n\
             [choice.groups]\ntext = '{{{{ text }}}}'\nterms = {terms}\n"
        );
        let path = dir.path().join("task.toml");
        fs::write(&path, text).unwrap();
        path
    };
    let base = run().join("base");
    let out = dir.path().join("out");
    let found = eval(&[&base], &["--task", text(&task("['donna', 'casalinga']")), "--out", text(&out)]);
    let metrics = found["tasks"][0]["models"][0]["metrics"].as_array().unwrap();
    let number = |name: &str| metrics.iter().find(|m| m["metric"] == name).unwrap()["value"].as_f64().unwrap();
    let batch = answers(&out.join("ami_unbiased/base.parquet"));
    let sums = column::<ListArray>(&batch, "log_likelihoods");
    let score = |row: usize| {
        let sums = sums.value(row);
        let sums: &Float64Array = sums.as_any().downcast_ref().unwrap();
        sums.value(1) - sums.value(0)
    };
    let ahead = |positive: usize, negative: usize| f64::from(u8::from(score(positive) > score(negative)));
    // Rows are negative and positive in turn; `madonna` is not `donna`.
    near("auc_subgroup", number("auc_subgroup"), f64::midpoint(ahead(1, 0), ahead(3, 2)));
    let bpsn = [(3, 0), (5, 0), (1, 2), (5, 2)].map(|(p, n)| ahead(p, n)).iter().sum::<f64>() / 4.0;
    let bnsp = [(1, 2), (1, 4), (3, 0), (3, 4)].map(|(p, n)| ahead(p, n)).iter().sum::<f64>() / 4.0;
    near("auc_bpsn", number("auc_bpsn"), bpsn);
    near("auc_bnsp", number("auc_bnsp"), bnsp);
    let pairs = [1, 3, 5].into_iter().flat_map(|p| [0, 2, 4].map(|n| ahead(p, n)));
    near("auc", number("auc"), pairs.sum::<f64>() / 9.0);
    let said = setaccio(&["eval", text(&base), "--task", text(&task("['nonna']"))]).assert_failure();
    assert!(said.contains("with or without the term `nonna`"), "{said}");
}

#[test]
fn a_row_that_asks_nothing_or_has_nothing_to_choose_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let base = run().join("base");
    let (rows, task) = (dir.path().join("rows.jsonl"), dir.path().join("task.toml"));
    let good = r#"{"question": "Chi?", "answers": ["io", "tu"]}"#;
    let task_of = |choices: &str| {
        format!(
            "name = 'mine'\ntitle = ''\nmetrics = ['acc']\ndata.path = 'rows.jsonl'\n[choice]\nprompt = '{{{{ question }}}}'\n\
             choices = {choices}\nanswer = '0'\n"
        )
    };
    for (row, why) in [
        (r#"{"question": "Chi?", "answers": []}"#, "has no answers to choose from"),
        (r#"{"question": "Chi?", "answers": ["io"]}"#, "has one answer, and choosing takes two at least"),
        (r#"{"question": "Chi?", "answers": ["io", ""]}"#, "has an answer without text"),
        (r#"{"question": " ", "answers": ["io", "tu"]}"#, "has no question: choice.prompt makes nothing of it"),
    ] {
        fs::write(&rows, format!("{good}\n{row}\n")).unwrap();
        fs::write(&task, task_of("'{{ answers | tojson }}'")).unwrap();
        let said = setaccio(&["eval", text(&base), "--task", text(&task)]).assert_failure();
        assert!(said.contains("rows.jsonl") && said.contains("row 1") && said.contains(why), "{said}");
    }
    fs::write(&task, task_of("['io']")).unwrap();
    let said = setaccio(&["eval", text(&base), "--task", text(&task)]).assert_failure();
    assert!(said.contains("choice.choices names one answer"), "{said}");
}

#[test]
fn a_chain_evaluates_and_audits_its_models() {
    let dir = tempfile::tempdir().unwrap();
    let chain = |limit: usize| {
        let text = format!(
            "name = 'small'\ntitle = 'Small'\nbase = {{ path = 'tiny', license = 'mit' }}\n[[stage]]\nname = 'learn'\nbuild = '{ROOT}/pipelines/brief-it.toml'\n\
             train = '{ROOT}/pipelines/train/sft.toml'\nset = ['method=full', 'data.max_length=512', 'train.batch=1', 'train.max_steps=2', \
             'train.optimizer=adamw', 'eval.every=0', 'checkpoint.every=0']\n[eval]\ntasks = ['arc_it']\nlimit = {limit}\n\
             [audit]\nsuite = '{}'\nwriting = false\n",
            crate::audit::suite(dir.path())
        );
        let path = dir.path().join("small.toml");
        fs::write(&path, text).unwrap();
        path
    };
    let root = dir.path().join("chain");
    let all = |limit| setaccio(&["train-all", text(&chain(limit)), "--out", text(&root)]).assert_success().stdout;
    let said = all(3);
    assert!(said.contains("audited: base and chain"), "{said}");
    let card = fs::read_to_string(root.join("merged/README.md")).unwrap();
    let [evaluation, audit, licences] = ["\n## Evaluation\n", "\n## Audit for bias and refusals\n", "\n## Licences\n"]
        .map(|head| card.find(head).unwrap_or_else(|| panic!("{head}: {card}")));
    assert!(evaluation < audit && audit < licences && card.contains("machines and care"), "{card}");
    let results = |of: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(root.join("eval").join(of).join("arc_it/results.json")).unwrap())
            .unwrap()
    };
    assert_eq!((&results("base")["rows"], results("learn")["models"].as_array().unwrap().len()), (&3.into(), 2));
    setaccio(&["verify", text(&root)]).assert_success();
    let before = files(&root);
    let again = all(3);
    assert!(again.matches("up to date").count() >= 5 && files(&root) == before, "{again}");
    // Another number of rows is another evaluation, and the same audit.
    let more = all(4);
    assert!(more.contains("up to date: ") && more.contains(text(&root.join("audit"))), "{more}");
    assert_eq!(results("learn")["rows"], 4);
    setaccio(&["verify", text(&root)]).assert_success();
    // What is asked of a stage by hand lies elsewhere: the chain has recorded what lies in it.
    let stage = root.join("learn");
    let work = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
    command.arg("eval").arg(&stage).args(["--task", "arc_it", "--limit", "2"]).current_dir(work.path());
    assert!(command.status().unwrap().success());
    assert!(work.path().join("eval/learn/arc_it/results.json").is_file() && !stage.join("eval").exists());
    setaccio(&["verify", text(&root)]).assert_success();
}
