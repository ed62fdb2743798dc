//! Sampling, weights, deduplication and splits go by content, not by position.

use std::collections::BTreeSet;

use crate::fixture::{Fixture, TestRng, assert_snapshot, column};

/// `n` rows that are all different.
fn rows(n: usize) -> Vec<String> {
    let mut rng = TestRng(9);
    (0..n).map(|i| serde_json::json!({ "text": format!("Riga {i}. {}", rng.text()) }).to_string()).collect()
}

fn set(ids: Vec<String>) -> BTreeSet<String> {
    ids.into_iter().collect()
}

/// Every id that was kept.
fn kept(fixture: &Fixture, out: &str) -> BTreeSet<String> {
    set(column(&fixture.path(out).join("data"), "", "id"))
}

#[test]
fn a_sample_is_exact_and_the_same_whatever_the_order_and_the_files() {
    let settings = "[sample]\nrows = 137\n[split]\nvalidation = 0.2\n[read]\ntask_bytes = 9000\n";
    let rows = rows(400);
    let one = Fixture::text(settings);
    one.write("data/web/all.jsonl", rows.join("\n"));
    one.build("out", &[]).assert_success();

    let many = Fixture::text(settings);
    let mut shuffled = rows.clone();
    let mut rng = TestRng(2);
    for i in (1..shuffled.len()).rev() {
        shuffled.swap(i, rng.below(i + 1));
    }
    for (i, part) in shuffled.chunks(61).enumerate() {
        many.write(&format!("data/web/{i}.json"), format!("[{}]", part.join(",")));
    }
    many.build("out", &[]).assert_success();

    assert_eq!(one.ids("out", "train").len() + one.ids("out", "validation").len(), 137);
    assert_eq!(set(one.ids("out", "train")), set(many.ids("out", "train")));
    assert_eq!(set(one.ids("out", "validation")), set(many.ids("out", "validation")));
    // The order goes by content too.
    assert_eq!(one.ids("out", "train"), many.ids("out", "train"));

    // Another seed, another sample; more rows, the same ones first.
    one.build("seed", &["--set", "seed=7"]).assert_success();
    assert_ne!(kept(&one, "seed"), kept(&one, "out"));
    one.build("more", &["--set", "sample.rows=200"]).assert_success();
    assert!(kept(&one, "out").is_subset(&kept(&one, "more")));
    let rejects = column(&one.path("more/rejects"), "", "stage");
    assert_eq!(rejects, vec!["sample"; 200]);
}

#[test]
fn a_row_never_changes_side() {
    let fixture = Fixture::text("[split]\nvalidation = 0.2\n");
    let rows = rows(300);
    fixture.write("data/web/all.jsonl", rows[..200].join("\n"));
    fixture.build("small", &[]).assert_success();
    fixture.write("data/web/all.jsonl", rows.join("\n"));
    fixture.build("large", &["--set", "seed=5"]).assert_success();
    for split in ["train", "validation"] {
        let (small, large) = (set(fixture.ids("small", split)), set(fixture.ids("large", split)));
        assert!(small.is_subset(&large), "rows left {split} as the data grew and the seed changed");
    }
    let share = fixture.ids("large", "validation").len();
    assert!((35..=85).contains(&share), "{share} of 300 rows, where 60 are expected");
}

#[test]
fn a_fraction_keeps_its_rows_as_the_data_grow() {
    let fixture = Fixture::text("[sample]\nfraction = 0.3\n");
    let rows = rows(400);
    fixture.write("data/web/all.jsonl", rows[..300].join("\n"));
    fixture.build("small", &[]).assert_success();
    fixture.write("data/web/all.jsonl", rows.join("\n"));
    fixture.build("large", &[]).assert_success();
    assert!(kept(&fixture, "small").is_subset(&kept(&fixture, "large")));
    let n = kept(&fixture, "large").len();
    assert!((85..=155).contains(&n), "{n} of 400 rows, where 120 are expected");
}

/// Three sources of 200, 100 and 50 rows; the first ten of each are the same up to case and white space.
fn mix(settings: &str) -> Fixture {
    let fixture = Fixture::new("text", &[("a", "text"), ("b", "text"), ("c", "text")], settings);
    let all = rows(400);
    for (name, range, change) in [("a", 0..200, 0), ("b", 200..300, 1), ("c", 300..350, 2)] {
        let own = all[range].iter().skip(10).cloned();
        let same = all[..10].iter().map(|row| match change {
            1 => row.replace("Riga", "RIGA"),
            2 => row.replace(". ", ".  "),
            _ => row.clone(),
        });
        fixture.write(&format!("data/{name}/x.jsonl"), same.chain(own).collect::<Vec<_>>().join("\n"));
    }
    fixture
}

fn by_source(fixture: &Fixture, out: &str) -> [usize; 3] {
    let sources = column(&fixture.path(out).join("data"), "", "source");
    ["a", "b", "c"].map(|s| sources.iter().filter(|v| *v == s).count())
}

#[test]
fn duplicates_across_sources_are_kept_once_in_the_stated_order() {
    let fixture = mix("[dedup]\n");
    fixture.build("out", &[]).assert_success();
    assert_eq!(by_source(&fixture, "out"), [200, 90, 40]);
    fixture.build("prefer", &["--set", "dedup.prefer=['c', 'b']"]).assert_success();
    assert_eq!(by_source(&fixture, "prefer"), [190, 90, 50]);
    fixture.build("exact", &["--set", "dedup.lowercase=false"]).assert_success();
    assert_eq!(by_source(&fixture, "exact"), [200, 100, 40]);
    let details = column(&fixture.path("out/rejects"), "merge", "detail");
    assert_eq!(details.len(), 20);
    let kept = kept(&fixture, "out");
    for detail in details {
        let id = detail.strip_prefix("same as ").and_then(|d| d.split(' ').next()).unwrap();
        assert!(kept.contains(id), "a duplicate names the row that stays: {detail}");
    }
}

#[test]
fn weights_set_the_shares() {
    let weights = ["--set", "source.a.weight=1", "--set", "source.b.weight=2", "--set", "source.c.weight=1"];
    let fixture = mix("");
    let args = |rows: &'static str| [&weights[..], &["--set", rows]].concat();
    fixture.build("out", &args("sample.rows=100")).assert_success();
    assert_eq!(by_source(&fixture, "out"), [25, 50, 25]);
    // The proportions are kept where a source has too little, and it is said.
    let said = fixture.build("short", &args("sample.rows=260")).assert_success().said();
    assert_eq!(by_source(&fixture, "short"), [50, 100, 50], "{said}");
    assert_snapshot("sampling-too_few_rows", said);
}
