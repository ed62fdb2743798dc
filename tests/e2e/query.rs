//! Questions in SQL of what builds and runs left. `tests/python/check_query.py` holds answers against duckdb's.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::fixture::{Fixture, Run, TestRng, Transcript, batches, in_shell, interrupt, setaccio, web_rules};

/// A build of three hundred texts in two splits, of which a rule drops some.
fn web() -> Fixture {
    let fixture = Fixture::text(&web_rules(40_000));
    fixture.write("data/web/a.jsonl", TestRng(5).lines(300));
    fixture.build("out", &[]).assert_success();
    fixture
}

fn query(fixture: &Fixture, args: &[&str]) -> Run {
    let out = fixture.path("out");
    setaccio(&[&["query", out.to_str().unwrap()], args].concat())
}

/// The rows of an answer.
fn rows(fixture: &Fixture, sql: &str) -> Vec<Value> {
    serde_json::from_str(&query(fixture, &[sql, "--format", "json"]).assert_success().stdout).unwrap()
}

#[test]
fn tables_are_listed_and_bad_questions_are_answered_with_what_there_is() {
    let fixture = web();
    let mut transcript = Transcript::default();
    transcript.add("query OUT", &query(&fixture, &[]).assert_success().said());
    for sql in [
        "SELECT rule, count(*) AS n FROM rejects GROUP BY 1",
        "SELECT * FROM reject",
        "SELECT * FROM Shards",
        "SELECT ruel FROM rejects",
        "SELECT r.detial FROM rejects AS r JOIN ledger AS l ON r.rule = l.rule",
        "SELECT xyzzy FROM ledger",
        "SELECT rule FROM rejects\nWERE rule = 'near'",
        "SELECT 'open FROM rejects",
        "SELECT nosuch(rule) FROM rejects",
        "SELECT rule + 1 FROM ledger",
        "SELECT rule FROM ledger WHERE regexp_like(rule, '(')",
        "SELECT id, id FROM shards",
        "WITH shards AS (SELECT * FROM shards WHERE language = 'it') SELECT count(*) FROM shards",
        "SELECT rule FROM rejects GROUP BY rule ORDER BY count(*) DESC",
        "SELECT rule, count(*) OVER () FROM rejects GROUP BY rule",
        "SELECT rule FROM rejects GROUP BY ROLLUP(rule)",
        "SELECT rule, count(*) AS n FROM rejects GROUP BY rule HAVING count(*) > 2 AND rule LIKE 'c%'",
        "DROP TABLE rejects",
        "SELECT * FROM read_parquet('/etc/passwd')",
        "SELECT 1; SELECT 2",
        "",
    ] {
        let run = query(&fixture, &[sql]);
        assert!(matches!(run.code, Some(0 | 1)), "{}", run.said());
        transcript.add(sql.replace('\n', " "), &run.said());
    }
    for args in [&["SELECT 1 AS one", "--output", "rows.xls"][..], &["SELECT 1 AS one", "-n", "0"]] {
        transcript.add(args.join(" "), &query(&fixture, args).said());
    }
    for out in ["s3://lab/out", "no/such/folder", "data"] {
        transcript.add(format!("query {out}"), &setaccio(&["query", out, "SELECT 1"]).assert_failure());
    }
    transcript.assert_snapshot("query");
    assert_eq!(query(&fixture, &["SELECT 1", "--format", "xml"]).code, Some(2));
}

#[test]
fn a_build_that_is_not_as_it_was_written_is_refused() {
    let fixture = web();
    let name = "out/data/train-00000-of-00001.parquet";
    let refused = |what: &str| {
        let said = query(&fixture, &["SELECT count(*) FROM ledger"]).assert_failure();
        assert!(said.contains(what), "{what}: {said}");
    };
    let whole = fs::read(fixture.path(name)).unwrap();
    fixture.write(name, &whole[..whole.len() - 1]);
    refused("is no whole Parquet file");
    // Whole, and of another build.
    fixture.write(name, fs::read(fixture.path("out/rejects/screen-00000.parquet")).unwrap());
    refused("is not the file that was written; `setaccio verify`");
    fs::remove_file(fixture.path(name)).unwrap();
    refused("cannot open");
    fixture.write(name, &whole);
    query(&fixture, &["SELECT count(*) FROM ledger"]).assert_success();
    let ledger = fs::read_to_string(fixture.path("out/ledger.json")).unwrap();
    fixture.write("out/ledger.json", ledger.replacen("\"rows_in\": 3", "\"rows_in\": 4", 1));
    refused("was changed after the build");
    fs::remove_file(fixture.path("out/ledger.json")).unwrap();
    refused("holds no build");
}

/// A changed byte within a page is not looked for; it may be found, and it ends in an answer or an error.
#[test]
fn a_damaged_page_ends_in_an_answer_or_an_error() {
    let fixture = web();
    let path = fixture.path("out/data/train-00000-of-00001.parquet");
    let whole = fs::read(&path).unwrap();
    let mut rng = TestRng(11);
    for _ in 0..12 {
        let mut bytes = whole.clone();
        // The footer is at the end.
        let at = 4 + rng.below(bytes.len() / 2);
        bytes[at] ^= 1 << rng.below(8);
        fs::write(&path, bytes).unwrap();
        let run = query(&fixture, &["SELECT max(length(text)) AS most, min(id) AS first FROM shards"]);
        assert!(
            run.code == Some(0) || (run.code == Some(1) && run.stderr.contains("setaccio verify")),
            "{at}: {}",
            run.said()
        );
    }
}

#[test]
fn counts_are_the_ledgers() {
    let fixture = web();
    let ledger: Value = serde_json::from_slice(&fs::read(fixture.path("out/ledger.json")).unwrap()).unwrap();
    let splits = rows(
        &fixture,
        "SELECT split, count(*) AS n, sum(octet_length(text)) AS bytes FROM shards GROUP BY split ORDER BY n DESC",
    );
    for (found, split) in splits.iter().zip(ledger["splits"].as_array().unwrap()) {
        assert_eq!([&found["split"], &found["n"], &found["bytes"]], [&split["split"], &split["rows"], &split["bytes"]]);
    }
    assert_eq!(splits.len(), 2);
    // Each rule of each source beside its rejects: none is left over on either side.
    let differ = "SELECT * FROM (SELECT l.stage, l.rule, l.source, l.dropped, count(r.rule) AS there FROM ledger AS l \
                  LEFT JOIN rejects AS r ON l.stage = r.stage AND l.rule = r.rule AND l.source = r.source \
                  GROUP BY l.stage, l.rule, l.source, l.dropped) AS c WHERE c.dropped <> c.there";
    assert_eq!(rows(&fixture, differ), Vec::<Value>::new());
    let lost = rows(
        &fixture,
        "SELECT a, b FROM (SELECT sum(dropped) AS a FROM ledger) AS l CROSS JOIN (SELECT count(*) AS b FROM rejects) AS r",
    );
    assert!(lost[0]["a"].as_u64().unwrap() > 0 && lost[0]["a"] == lost[0]["b"], "{lost:?}");
}

#[test]
fn the_same_question_has_the_same_answer_to_the_byte() {
    let fixture = web();
    let out = fixture.path("out");
    for sql in [
        "SELECT substr(text, 1, 3) AS a, count(*) AS n, max(id) AS z FROM shards GROUP BY 1",
        "SELECT substr(text, 1, 3) AS a, count(*) AS n FROM shards GROUP BY 1 ORDER BY n DESC",
        "SELECT DISTINCT left(text, 9) AS a FROM shards LIMIT 7",
        "SELECT left(text, 9) AS a FROM shards UNION SELECT rule AS a FROM rejects",
        "SELECT id, split FROM shards",
        "SELECT id FROM shards WHERE text LIKE '%gatto%' LIMIT 5",
    ] {
        let mut said = Vec::new();
        for threads in ["1", "2", "7", "2"] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
            command.args(["query", out.to_str().unwrap(), sql, "--format", "jsonl"]).env("POLARS_MAX_THREADS", threads);
            said.push(Run::from(command.output().unwrap()).assert_success().stdout);
        }
        assert!(said[0].lines().count() > 1, "{sql}: {}", said[0]);
        assert!(said.iter().all(|other| *other == said[0]), "{sql}:\n{}", said.join("\n--\n"));
    }
    // Rows come as they lie.
    let ids: Vec<String> =
        rows(&fixture, "SELECT id FROM shards").iter().map(|row| row["id"].as_str().unwrap().into()).collect();
    assert_eq!(ids, [fixture.ids("out", "train"), fixture.ids("out", "validation")].concat());
}

#[test]
fn rows_are_written_in_each_format_and_an_earlier_file_stays_when_they_are_not() {
    let fixture = web();
    let sql = "SELECT rule, row, row_group, detail, text FROM rejects ORDER BY row, rule";
    let written = |name: &str, sql: &str| query(&fixture, &[sql, "--output", fixture.path(name).to_str().unwrap()]);
    let expected = rows(&fixture, sql);
    for name in ["r/rows.json", "r/rows.jsonl", "r/rows.csv", "r/rows.parquet"] {
        let said = written(name, sql).assert_success().stdout;
        assert!(said.starts_with("written: ") && said.contains(&format!("({} rows)", expected.len())), "{said}");
    }
    let read = |name: &str| fs::read_to_string(fixture.path(name)).unwrap();
    assert_eq!(serde_json::from_str::<Vec<Value>>(&read("r/rows.json")).unwrap(), expected);
    let lines: Vec<Value> = read("r/rows.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, expected);
    assert!(read("r/rows.csv").starts_with("rule,row,row_group,detail,text\n"), "{}", read("r/rows.csv"));
    let parquet = batches(&fixture.path("r"), "rows.parquet");
    assert_eq!(parquet.iter().map(arrow_array::RecordBatch::num_rows).sum::<usize>(), expected.len());
    let names: Vec<String> = parquet[0].schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["rule", "row", "row_group", "detail", "text"]);
    // Texts are no numbers, which shows when rows are there already.
    let before = read("r/rows.csv");
    let said = written("r/rows.csv", "SELECT CAST(text AS BIGINT) AS n FROM shards").assert_failure();
    assert!(said.contains("cannot be computed"), "{said}");
    assert_eq!(read("r/rows.csv"), before);
    assert_eq!(fs::read_dir(fixture.path("r")).unwrap().count(), 4, "nothing is left beside it");
    // The files of the build are no place for others.
    let said = written("out/data/train-00000-of-00001.parquet", sql).assert_failure();
    assert!(said.contains("lies in the folder that is asked"), "{said}");
    setaccio(&["verify", fixture.path("out").to_str().unwrap()]).assert_success();
}

#[test]
fn what_rows_say_is_shown_and_not_obeyed() {
    let text = "Il gatto \u{1b}[31mrosso\u{1b}[0m \u{202e}oirartnoc\u{202c}\tdorme\u{7}.\r\nE il cane no, \"mai\".";
    let fixture = Fixture::text("");
    fixture.write("data/web/a.jsonl", json!({ "text": text }).to_string());
    fixture.build("out", &[]).assert_success();
    let sql = "SELECT text, id FROM shards";
    let said = query(&fixture, &[sql]).assert_success().stdout;
    assert!(
        said.contains("\\u{1b}[31mrosso")
            && said.contains("\\u{202e}oirartnoc")
            && said.contains("\\tdorme")
            && said.contains("\\u{7}."),
        "{said}"
    );
    assert!(!said.contains(['\u{1b}', '\u{202e}', '\u{7}', '\t', '\r']), "{said:?}");
    // A program gets what the row says.
    let json = query(&fixture, &[sql, "--format", "jsonl"]).assert_success().stdout;
    assert!(!json.contains(['\u{1b}', '\u{202e}']), "{json:?}");
    let row: Value = serde_json::from_str(&json).unwrap();
    let kept = row["text"].as_str().unwrap().to_owned();
    let csv = query(&fixture, &[sql, "--format", "csv"]).assert_success().stdout;
    assert_eq!(csv, format!("text,id\n\"{}\",{}\n", kept.replace('"', "\"\""), row["id"].as_str().unwrap()));
    assert!(kept.contains("\u{1b}[31mrosso"), "{kept:?}");
}

#[test]
fn rows_beyond_those_that_are_shown_are_counted() {
    let fixture = web();
    let said = query(&fixture, &["SELECT id FROM shards", "-n", "3"]).assert_success().stdout;
    let all = rows(&fixture, "SELECT id FROM shards").len();
    assert_eq!(said.lines().count(), 6, "{said}");
    assert!(said.ends_with(&format!("{all} rows, of which {} are not shown: -n N shows N\n", all - 3)), "{said}");
    let mut head = in_shell("\"$@\" | head -n 1");
    head.args(["query", fixture.path("out").to_str().unwrap(), "SELECT * FROM shards", "--format", "jsonl"]);
    let run = Run::from(head.output().unwrap()).assert_success();
    assert_eq!((run.stdout.lines().count(), run.stderr.as_str()), (1, ""));
}

#[test]
fn ctrl_c_stops_a_question_and_leaves_nothing() {
    let fixture = web();
    let file = fixture.path("r/rows.csv");
    fixture.write("r/rows.csv", "before");
    let sql = "SELECT count(*) AS n FROM shards AS a CROSS JOIN shards AS b CROSS JOIN shards AS c CROSS JOIN shards AS d \
               WHERE a.id < b.id AND c.id < d.id AND a.text < d.text";
    let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
    command.args(["query", fixture.path("out").to_str().unwrap(), sql, "--output", file.to_str().unwrap()]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    interrupt(&child);
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!(run.code, Some(130), "{}", run.said());
    assert!(run.stderr.contains("interrupted"), "{}", run.said());
    assert_eq!(fs::read_to_string(file).unwrap(), "before");
    let hidden = fs::read_dir(fixture.path("r")).unwrap().flatten().map(|entry| entry.file_name());
    assert_eq!(hidden.filter(|name| !name.to_string_lossy().contains("lock")).count(), 1);
}

/// The folder with what the cookbook asks.
#[cfg(feature = "train")]
fn kitchen() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for recipe in ["sft-mix", "clean-web-it"] {
        let out = dir.path().join("data/out").join(recipe);
        setaccio(&["build", &format!("pipelines/{recipe}.toml"), "--out", out.to_str().unwrap()]).assert_success();
    }
    let run = dir.path().join("runs/tiny");
    let sets = ["train.max_steps=6", "eval.every=3"];
    let trained = crate::fixture::training("tiny", &dir.path().join("data/out/sft-mix"), &run, &sets);
    Run::from({ trained }.output().unwrap()).assert_success();
    dir
}

/// The questions of a page, as a shell reads them, and what it shows below each.
#[cfg(feature = "train")]
fn questions(page: &str) -> Vec<(String, String)> {
    let blocks = page.split("\n```").skip(1).step_by(2);
    let asked = blocks.filter_map(|block| block.split_once('\n')?.1.strip_prefix("$ setaccio ").map(str::to_owned));
    let question = |block: String| {
        // The query ends where its quotes do.
        let end =
            block.match_indices('\n').map(|(at, _)| at).find(|at| block[..*at].matches('"').count().is_multiple_of(2));
        let (command, shown) = block.split_at(end.unwrap_or(block.len()));
        (command.to_owned(), shown.trim_matches('\n').to_owned())
    };
    asked.map(question).filter(|(command, _)| command.starts_with("query ")).collect()
}

#[cfg(feature = "train")]
#[test]
fn the_cookbook_shows_what_it_asks() {
    let page = fs::read_to_string(Path::new(crate::fixture::ROOT).join("docs/query.md")).unwrap();
    let questions = questions(&page);
    assert!(questions.len() > 10, "{questions:?}");
    let dir = kitchen();
    let mut stale = Vec::new();
    for (command, shown) in questions {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("\"{}\" {command}", env!("CARGO_BIN_EXE_setaccio"))]).current_dir(dir.path());
        let run = Run::from(shell.output().unwrap());
        let said = run.said();
        if run.code != Some(0) || said.trim_end() != shown {
            stale.push(format!("$ setaccio {command}\n{said}"));
        }
    }
    assert!(stale.is_empty(), "docs/query.md does not show what these say:\n\n{}", stale.join("\n"));
}

#[cfg(feature = "train")]
#[test]
fn a_run_is_asked_while_it_is_whole() {
    let dir = kitchen();
    let run = dir.path().join("runs/tiny");
    let ask = |sql: &str| setaccio(&["query", run.to_str().unwrap(), sql, "--format", "json"]);
    let lines = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let losses: Vec<f64> = lines.iter().filter_map(|line| line["loss"].as_f64()).collect();
    let found: Vec<Value> = serde_json::from_str(
        &ask("SELECT loss FROM metrics WHERE loss IS NOT NULL ORDER BY step").assert_success().stdout,
    )
    .unwrap();
    assert_eq!(found.iter().map(|row| row["loss"].as_f64().unwrap()).collect::<Vec<_>>(), losses);
    // Of a run that goes on there is no manifest, and half a line is none.
    let (manifest, metrics) = (run.join("manifest.json"), run.join("metrics.jsonl"));
    let whole = fs::read(&metrics).unwrap();
    fs::write(&metrics, [&whole[..], b"{\"step\": 9, \"lo"].concat()).unwrap();
    let said = ask("SELECT max(step) AS s FROM metrics").assert_failure();
    assert!(said.contains("metrics.jsonl: was changed after it was written"), "{said}");
    fs::remove_file(&manifest).unwrap();
    let found: Vec<Value> =
        serde_json::from_str(&ask("SELECT max(step) AS s FROM metrics").assert_success().stdout).unwrap();
    assert_eq!(found, [json!({"s": 6})]);
    fs::write(&metrics, [b"{\"stpe\": 1}\n", &whole[..]].concat()).unwrap();
    let said = ask("SELECT max(step) AS s FROM metrics").assert_failure();
    assert!(said.contains("line 1 is not a JSON object with a `step`"), "{said}");
}
