//! The card of a small ledger.

use super::*;
use setaccio_dataset::ledger::{Flow, RuleCount, Stage};

#[test]
fn the_strictest_license_wins_and_an_unknown_one_needs_a_reader() {
    assert_eq!(strictest(["odc-by", "cc-by-nc-sa-4.0", "mit"]), "cc-by-nc-sa-4.0");
    assert_eq!(strictest(["apache-2.0", "cc-by-4.0"]), "cc-by-4.0");
    assert_eq!(strictest(["mit", "house-licence"]), "other");
}

#[test]
fn numbers_are_grouped_and_sizes_named() {
    assert_eq!([0, 12, 123, 1234, 1_234_567].map(grouped), ["0", "12", "123", "1,234", "1,234,567"]);
    assert_eq!([999, 1000, 100_000].map(front::size), ["n<1K", "1K<n<10K", "100K<n<1M"]);
}

#[test]
fn front_matter_quotes_what_yaml_would_misread() {
    let scalars = [
        ("mit", "mit"),
        ("no", "\"no\""),
        ("a: b # c", "\"a: b # c\""),
        ("1.0", "\"1.0\""),
        ("perch\u{e9} \"s\u{ec}\"", "\"perch\u{e9} \\\"s\u{ec}\\\"\""),
        ("a\u{7f}b\u{85}c\u{2028}d", "\"a\\u007fb\\u0085c\\u2028d\""),
    ];
    for (text, expected) in scalars {
        assert_eq!(quoted(text), expected);
    }
}

#[test]
fn steps_follow_the_rows() {
    let flow = |rows_in, rows_out| Flow { rows_in, rows_out, ..Flow::default() };
    let rule = |rule: &str, dropped| RuleCount {
        rule: rule.into(),
        tally: Tally { dropped, lines_dropped: 3 * u64::from(rule == "line_end"), ..Tally::default() },
        ..RuleCount::default()
    };
    let stage = |stage: &str, flow, rules| Stage { stage: stage.into(), flow, rules, ..Stage::default() };
    let ledger = Ledger {
        stages: vec![
            stage("read", flow(10, 10), vec![rule("bad_row", 0)]),
            stage("screen", flow(10, 6), vec![rule("line_end", 0), rule("length", 4)]),
            stage("dedup", flow(6, 5), vec![rule("dedup", 1)]),
        ],
        ..Ledger::default()
    };
    let told: Vec<_> = steps(&ledger).into_iter().map(|s| (s.name, s.rows_in, s.dropped, s.edits)).collect();
    let expected =
        [("read", 10, 0, ""), ("line_end", 10, 0, "3 lines dropped"), ("length", 10, 4, ""), ("dedup", 6, 1, "")];
    assert_eq!(told, expected.map(|(n, i, d, e)| (n.to_owned(), i, d, e.to_owned())));
    let svg = waterfall::draw(&steps(&ledger));
    assert!(svg.contains(">6 (\u{2212}4)<") && svg.ends_with("</svg>\n"), "{svg}");
}
