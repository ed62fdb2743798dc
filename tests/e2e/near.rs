//! Near-duplicates: what goes is what an independent program finds (`tests/oracles/near_duplicates.py`), however the work is
//! divided and whatever happens on the way.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::fixture::{Fixture, assert_snapshot, column, setaccio, tear_and_remove_a_part};

/// Steele, Lea and Flood's generator, as the oracle has it.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn index(&mut self, below: usize) -> usize {
        usize::try_from(self.next(below as u64)).unwrap()
    }
}

fn word(number: u64) -> String {
    let syllable = |n: u64| {
        let n = usize::try_from(n % 70).unwrap();
        [&"bcdfglmnprstvz"[n / 5..=n / 5], &"aeiou"[n % 5..=n % 5]].concat()
    };
    [number, number / 70, number / 4900].map(syllable).concat()
}

/// The oracle's `corpus`: sources and texts.
fn corpus() -> Vec<(&'static str, String)> {
    let mut rows: Vec<(&str, Vec<String>)> = Vec::new();
    for i in 0..300_u64 {
        let mut rng = SplitMix(1000 + i);
        rows.push(("a", (0..60 + i % 90).map(|_| word(rng.next(343_000))).collect()));
    }
    for i in 0..300_u64 {
        let mut rng = SplitMix(5000 + i);
        let mut words = rows[rng.index(rows.len())].1.clone();
        for _ in 0..i % 6 {
            // The oracle draws the word before the place.
            let new = word(rng.next(343_000));
            let at = rng.index(words.len());
            words[at] = new;
        }
        if i % 5 == 4 {
            words.drain(..rng.index(9));
        }
        rows.push((if i % 2 == 1 { "b" } else { "a" }, words));
    }
    let text = |(i, (source, words)): (usize, (&'static str, Vec<String>))| {
        let text = match i % 3 {
            0 => words.join(" "),
            1 => words.join(", ").to_uppercase() + "!",
            _ => words.join("\n").replace('a', "à"),
        };
        (source, text)
    };
    rows.into_iter().enumerate().map(text).collect()
}

/// A recipe over the corpus, with `settings`.
fn fixture(settings: &str) -> Fixture {
    let more = "[read]\ntask_bytes = 30000\n[output]\nshard_bytes = 60000\nrow_group_bytes = 20000\n";
    let fixture = Fixture::new("text", &[("a", "text"), ("b", "text")], &[settings, more].concat());
    for source in ["a", "b"] {
        let of = corpus().into_iter().filter(|row| row.0 == source);
        let rows: Vec<String> = of.map(|(_, text)| serde_json::json!({ "text": text }).to_string()).collect();
        fixture.write(&format!("data/{source}/x.jsonl"), rows.join("\n"));
    }
    fixture
}

const NEAR: &str = "[dedup]\nprefer = ['b']\n[dedup.near]\n";

/// Ids of the rows that a rule dropped, with the details.
fn dropped(fixture: &Fixture, out: &str, rule: &str) -> Vec<(String, String)> {
    let folder = fixture.path(out).join("rejects");
    let [rules, ids, details] = ["rule", "id", "detail"].map(|name| column(&folder, "", name));
    let rows = rules.into_iter().zip(ids.into_iter().zip(details));
    rows.filter(|(found, _)| found == rule).map(|(_, row)| row).collect()
}

fn oracle() -> Value {
    serde_json::from_str(include_str!("../oracles/near_duplicates.json")).unwrap()
}

#[test]
fn what_goes_is_what_the_oracle_finds() {
    let fixture = fixture(NEAR);
    fixture.build("out", &["--jobs", "2"]).assert_success();
    let mut found = dropped(&fixture, "out", "near");
    found.sort();
    let expected = oracle();
    let expected = expected["gone"].as_array().unwrap().iter().map(|gone| {
        let text = |i: usize| gone[i].as_str().unwrap().to_owned();
        let detail = format!("near-duplicate of {} of {}, Jaccard {:.2}", text(1), text(2), gone[3].as_f64().unwrap());
        (text(0), detail)
    });
    assert_eq!(found, expected.collect::<Vec<_>>());
    setaccio(&["verify", fixture.path("out").to_str().unwrap()]).assert_success();
    // What a person sees of it.
    let lines =
        |text: String| text.lines().filter(|l| l.contains("near")).map(|l| l.to_owned() + "\n").collect::<String>();
    let card = fs::read_to_string(fixture.path("out/README.md")).unwrap();
    let [recipe, data, out] = ["recipe.toml", "data", "out"].map(|name| fixture.path(name).display().to_string());
    let plan = setaccio(&["plan", &recipe, "--from", &data]).assert_success().stdout;
    let why = setaccio(&["why", &out, &found[0].0]).assert_success().stdout;
    assert_snapshot("near-told", [lines(plan), lines(card), why].join("---\n"));
}

#[test]
fn bytes_do_not_depend_on_threads_slices_or_a_second_run() {
    let fixture = fixture(&format!("{NEAR}[sample]\nrows = 300\n[split]\nvalidation = 0.2\n"));
    fixture.build("one", &["--jobs", "1"]).assert_success();
    let one = fixture.published("one");
    fixture.build("five", &["--jobs", "5"]).assert_success();
    assert_eq!(fixture.published("five"), one);
    for slice in (1..=7).rev() {
        fixture.build("seven", &["--task", &format!("{slice}/7")]).assert_success();
    }
    fixture.build("seven", &["--finish"]).assert_success();
    assert_eq!(fixture.published("seven"), one, "joined from slices");
    // Another threshold is decided anew from the same sketches.
    let said = fixture.build("one", &["--set", "dedup.near.threshold=0.9"]).assert_success().said();
    assert!(said.contains("done before") || said.contains("were done by an earlier"), "{said}");
    assert!(dropped(&fixture, "one", "near").len() < dropped(&fixture, "five", "near").len());
    fixture.build("one", &[]).assert_success();
    assert_eq!(fixture.published("one"), one);
}

#[test]
fn clusters_are_every_row_that_is_linked_but_the_first() {
    let fixture = fixture(&format!("{NEAR}rule = 'cluster'\nthreshold = 1\n"));
    fixture.build("out", &[]).assert_success();
    let [cluster, greedy] = [dropped(&fixture, "out", "near"), {
        fixture
            .build("greedy", &["--set", "dedup.near.rule=greedy", "--set", "dedup.near.threshold=0.8"])
            .assert_success();
        dropped(&fixture, "greedy", "near")
    }];
    let ids = |rows: &[(String, String)]| rows.iter().map(|(id, _)| id.clone()).collect::<BTreeSet<_>>();
    assert!(
        ids(&greedy).is_subset(&ids(&cluster)) && cluster.len() > greedy.len(),
        "{} {}",
        cluster.len(),
        greedy.len()
    );
    let kept: BTreeSet<String> = ["train", "validation"].iter().flat_map(|split| fixture.ids("out", split)).collect();
    for (_, detail) in cluster {
        assert!(kept.contains(detail.split(' ').nth(2).unwrap()), "what stays is here: {detail}");
    }
}

#[test]
fn rows_of_earlier_data_sets_stay_and_those_near_them_go() {
    let fixture = fixture(NEAR);
    let first: Vec<String> = corpus().into_iter().take(300).map(|(_, text)| text).collect();
    let rows: Vec<String> = first.iter().map(|text| serde_json::json!({ "text": text }).to_string()).collect();
    let earlier = Fixture::text("");
    earlier.write("data/web/x.jsonl", rows.join("\n"));
    earlier.build("old", &[]).assert_success();
    let old = earlier.path("old").display().to_string();
    let against = ["--set", &format!("dedup.near.against=['{old}']")];
    fixture.build("out", &against).assert_success();
    let gone = dropped(&fixture, "out", "near");
    let ids: BTreeSet<String> = gone.iter().map(|(id, _)| id.clone()).collect();
    // Every row of it that is here too goes, for the sake of itself.
    let same = earlier.ids("old", "train");
    let here = dropped(&fixture, "out", "dedup").into_iter().map(|(id, _)| id).collect::<BTreeSet<_>>();
    assert_eq!(same.iter().filter(|id| !ids.contains(*id) && !here.contains(*id)).count(), 0);
    let by_old = gone.iter().filter(|(_, detail)| detail.contains(" of old, Jaccard")).count();
    assert!(by_old >= 290, "{by_old}");
    let lock = fs::read_to_string(fixture.path("out/recipe.lock.toml")).unwrap();
    assert!(lock.contains("[[against]]\nkey = \"old\""), "{lock}");
    let said = earlier.build("old", &["--set", "dedup.near.against=['old']"]).assert_failure();
    assert!(said.contains("is the data set old of dedup.near.against"), "{said}");
    // One that was changed since, and one of another kind or none.
    let shard = fs::read_dir(earlier.path("old/data")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..bytes.len() / 2]).unwrap();
    let said = [against[1], "dedup.near.against=['nowhere']"];
    let said = said.map(|set| fixture.build("next", &["--set", set]).assert_failure());
    assert!(said[0].contains("train-00000-of-00001.parquet"), "{}", said[0]);
    assert!(said[1].contains("nowhere") && said[1].contains("dedup.near.against"), "{}", said[1]);
}

#[test]
fn a_torn_part_stops_the_build_and_its_task_is_done_again() {
    let fixture = fixture(NEAR);
    tear_and_remove_a_part(&fixture, "bands");
    fixture.build("out", &[]).assert_success();
    fixture.build("whole", &[]).assert_success();
    assert_eq!(fixture.published("out"), fixture.published("whole"));
}

#[test]
fn settings_that_say_nothing_are_refused() {
    let fixture = fixture(NEAR);
    let mut said = String::new();
    for set in ["threshold=0", "threshold=1.1", "ngram=0", "bands=0", "bands=200", "unit='lines'", "against=['x','x']"]
    {
        said += &fixture.build("out", &["--set", &format!("dedup.near.{set}")]).assert_failure();
    }
    assert_snapshot("near-refused", said);
}
