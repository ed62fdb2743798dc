//! Numbers beside those of scipy (tests/oracles/audit).

use serde_json::Value;
use setaccio_base::numbers::wilson;

use super::{association, sureness};

fn oracle() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracles/audit/audit.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn near(what: &str, found: f64, expected: &Value) {
    let expected = number(expected);
    assert!((found - expected).abs() < 1e-12, "{what}: {found}, scipy {expected}");
}

#[test]
fn associations_are_those_of_scipy() {
    for case in oracle()["association"].as_array().unwrap() {
        let of = |list: &str| -> Vec<Vec<[f64; 2]>> { serde_json::from_value(case[list].clone()).unwrap() };
        let (x, y) = (of("x"), of("y"));
        let found = association::measure(&[x.clone(), y].concat(), x.len(), 1);
        near("soft", found.soft, &case["soft"]);
        near("hard", found.hard, &case["hard"]);
        near("p", found.p, &case["p"]);
        near("default", found.default, &case["default"]);
        near("order effect", found.order_effect, &case["order_effect"]);
        near("neither", found.neither, &case["neither"]);
        let [low, high] = found.interval.unwrap();
        assert!(low < found.soft && found.soft < high, "{found:?}");
    }
}

#[test]
fn shares_and_adjusted_p_values_are_those_of_scipy() {
    let oracle = oracle();
    for case in oracle["wilson"].as_array().unwrap() {
        let [hits, n] = [0, 1].map(|i| usize::try_from(case[i].as_u64().unwrap()).unwrap());
        let [low, high] = wilson(hits, n);
        near("low", low, &case[2]);
        near("high", high, &case[3]);
        near("p", crate::statistics::binomial(hits, n - hits), &case[4]);
    }
    let list = |i: usize| -> Vec<f64> { oracle["holm"][i].as_array().unwrap().iter().map(number).collect() };
    for (found, expected) in sureness::holm(&list(0)).into_iter().zip(list(1)) {
        assert!((found - expected).abs() < 1e-15, "{found} {expected}");
    }
}

#[test]
fn drawn_permutations_come_near_all_of_them() {
    // 24 of 48: too many to try all. Two lists that differ by what half of a deviation is are told apart, the same list is not.
    let of = |seed| setaccio_train::random::normal_vec(seed, 24, 1.0).into_iter().map(f64::from).collect::<Vec<f64>>();
    let (x, y): (Vec<f64>, Vec<f64>) = (of(1).iter().map(|v| v + 1.5).collect(), of(2));
    assert!(sureness::permuted(&x, &y, 7) < 0.001);
    assert!((sureness::permuted(&x, &x, 7) - 1.0).abs() < 1e-12);
    assert_eq!(sureness::permuted(&x, &y, 7).to_bits(), sureness::permuted(&x, &y, 7).to_bits());
}
