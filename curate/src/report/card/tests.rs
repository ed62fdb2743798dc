//! The card of a small ledger.

use setaccio_base::filter_report::Tally;
use setaccio_dataset::ledger::{Flow, Ledger, RuleCount, Stage};

use super::{
    front,
    waterfall::{draw, steps},
};

#[test]
fn sizes_are_named_as_the_hub_names_them() {
    assert_eq!([999, 1000, 100_000].map(front::size), ["n<1K", "1K<n<10K", "100K<n<1M"]);
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
    let svg = draw(&steps(&ledger));
    assert!(svg.contains(">6 (\u{2212}4)<") && svg.ends_with("</svg>\n"), "{svg}");
}
