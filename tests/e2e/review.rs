//! A person judges rows, and what was said is kept and counted.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::fixture::{Fixture, ROOT, Run, assert_snapshot, setaccio};

/// Ten rows that stay, and six that two rules drop.
fn built() -> Fixture {
    let settings =
        "[[filter]]\nrule = 'length'\nmin_chars = 12\n[[filter]]\nrule = 'bad_words'\nwords = ['accidenti']\n[dedup]\n";
    let fixture = Fixture::text(settings);
    let kept = (0..10).map(|i| format!("Il gatto numero {i} dorme."));
    let dropped = (0..3).flat_map(|i| [format!("Breve {i}."), format!("Accidenti, il numero {i} no.")]);
    let line = |text| format!("{}\n", json!({ "text": text }));
    fixture.write("data/web/a.jsonl", kept.chain(dropped).map(line).collect::<Vec<_>>().concat());
    fixture.build("out", &[]).assert_success();
    fixture
}

/// `setaccio review` of the build, with what a person types.
fn review(fixture: &Fixture, args: &[&str], typed: &str) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
    command.arg("review").arg(fixture.path("out")).args(args).current_dir(ROOT);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    child.wait_with_output().unwrap().into()
}

fn judgements(fixture: &Fixture) -> Vec<Value> {
    let text = fs::read_to_string(fixture.path("out.review.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_a_person_says_is_kept_and_counted() {
    let fixture = built();
    // 4 rows that stayed, 2 of each rule. Nothing but what is asked for is an answer.
    let said = review(&fixture, &["--rows", "8"], "che?\nk\ns\nd di poco conto\nb\nk\nq\n").assert_success();
    assert_snapshot("review", &said.stderr);
    let found = judgements(&fixture);
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!((&found[1]["verdict"], &found[1]["note"]), (&json!("drop"), &json!("di poco conto")));
    assert_eq!((&found[2]["verdict"], &found[1]["id"]), (&json!("keep"), &found[2]["id"]));
    // What was judged is not asked again; the end of what is typed is the end.
    let said = review(&fixture, &["--rows", "8"], "k\nk\nk\nk\nk\nk\n").assert_success();
    assert!(said.stderr.contains("1 of 6") && !said.stderr.contains("7 of"), "{}", said.stderr);
    let said = review(&fixture, &["--rows", "8"], "").assert_success();
    assert!(!said.stderr.contains(" of 8") && !said.stderr.contains("k keep"), "{}", said.stderr);
    let said =
        setaccio(&["review", fixture.path("out").to_str().unwrap(), "--rates", "--json"]).assert_success().stdout;
    let rates: Value = serde_json::from_str(&said).unwrap();
    let rates: Vec<(&Value, &Value, &Value)> =
        rates["rates"].as_array().unwrap().iter().map(|r| (&r["rule"], &r["judged"], &r["wrong"])).collect();
    // Everything was to be kept, so that all that rules dropped was wrong.
    let expected = [("bad_words", 2, 2), ("kept", 4, 0), ("length", 2, 2)];
    assert_eq!(
        rates,
        expected
            .map(|(rule, judged, wrong)| (json!(rule), json!(judged), json!(wrong)))
            .each_ref()
            .map(|(a, b, c)| (a, b, c))
    );
    let said = setaccio(&["review", fixture.path("out").to_str().unwrap(), "--markdown"]).assert_success().stdout;
    // Wilson's interval of 2 of 2, by statsmodels' proportion_confint(2, 2, method="wilson").
    assert!(said.contains("| `length` | 2 | 2 | 100.0% | 34.2% to 100.0% |"), "{said}");
}

#[test]
fn the_card_quotes_them_where_somebody_asks_and_stays_what_the_ledger_says() {
    let fixture = built();
    let out = fixture.path("out");
    let card = || fs::read_to_string(out.join("README.md")).unwrap();
    let said = setaccio(&["card", out.to_str().unwrap(), "--review"]).assert_failure();
    assert!(said.contains("out.review.jsonl") && said.contains("holds no judgement"), "{said}");
    review(&fixture, &["--rows", "8"], &"k\n".repeat(8)).assert_success();
    let before = card();
    let said = setaccio(&["card", out.to_str().unwrap(), "--review"]).assert_success().stdout;
    let section = said.strip_prefix(before.as_str()).unwrap_or_else(|| panic!("{said}"));
    assert!(
        section.contains("\n## What a person thought\n") && section.contains("| `length` | 2 | 2 | 100.0% |"),
        "{section}"
    );
    assert_eq!(card(), before);
    setaccio(&["verify", out.to_str().unwrap()]).assert_success();
}

#[test]
fn the_card_of_a_run_is_no_builds() {
    let fixture = Fixture::text("");
    fixture.write("run/run.lock.toml", "");
    fixture.write("chain/chain.lock.toml", "");
    for (name, command) in [("run", "`setaccio train`"), ("chain", "`setaccio train-all`")] {
        let out = fixture.path(name);
        for args in [&["card", out.to_str().unwrap()][..], &["card", out.to_str().unwrap(), "--review"]] {
            let said = setaccio(args).assert_failure();
            assert!(said.contains(&format!("{name} holds a {name}, ")) && said.contains(command), "{said}");
        }
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    }
}

#[test]
fn judgements_that_cannot_be_read_are_not_passed_over() {
    let fixture = built();
    fixture.write("out.review.jsonl", "{\"build\": 1}\n");
    let said = review(&fixture, &[], "k\n").assert_failure();
    assert!(said.contains("out.review.jsonl") && said.contains("line 1"), "{said}");
}
