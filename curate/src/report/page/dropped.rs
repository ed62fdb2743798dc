//! Which of the rejects a page shows: of each rule the rows with the smallest ids, which are as good as drawn, and of what
//! repeats each other some sets of copies. What is held does not grow with the rows.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
};

use arrow_array::Array;
use setaccio_base::progress::Progress;
use setaccio_dataset::ledger::FileEntry;

use super::super::rows::{SHORT, each_batch, repeated_id, texts};
use crate::error::{Error, Result};

/// Copies of one row that are shown beside it.
const COPIES: usize = 3;
/// Sets of copies that are shown of each rule.
const CLUSTERS: usize = 5;

/// A row of a published file: the number of the file in the ledger, and its own there.
pub type Place = (usize, u64);

/// Stage and rule.
pub type RuleName = (String, String);

/// Rows that are copies of one that stayed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// How many there are.
    pub copies: u64,
    /// The first of them.
    pub places: Vec<Place>,
}

/// What is shown.
#[derive(Debug, Default)]
pub struct Picked {
    /// Rows of each rule, by their ids; those without one first, in the order of their files.
    pub rules: BTreeMap<RuleName, BTreeSet<(String, Place)>>,
    /// Copies by rule and the id of what they are copies of.
    pub clusters: BTreeMap<String, BTreeMap<String, Cluster>>,
}

/// Pick `most` rows of each rule from the rejects among `files`.
///
/// # Errors
/// A file is missing or damaged, or somebody stops it.
pub fn pick(out: &Path, files: &[FileEntry], most: usize, progress: &dyn Progress) -> Result<Picked> {
    let mut rules: HashMap<String, HashMap<String, BTreeSet<(String, Place)>>> = HashMap::new();
    let mut clusters: BTreeMap<String, BTreeMap<String, Cluster>> = BTreeMap::new();
    for (number, entry) in files.iter().enumerate().filter(|(_, entry)| entry.path.starts_with("rejects/")) {
        // Those that a task dropped are copies of nothing.
        let merged = entry.path.starts_with("rejects/merge-");
        let names = ["stage", "rule", "id"].into_iter().chain(merged.then_some("detail"));
        let path = out.join(&entry.path);
        each_batch(&path, names, (SHORT, None), progress, |batch, first| {
            let column = |name| texts(batch, name);
            let (Some(stages), Some(rule_names), Some(ids)) = (column("stage"), column("rule"), column("id")) else {
                return Err(Error::damaged(&path, "holds no rejects; build the data set again"));
            };
            let details = column("detail");
            for i in 0..batch.num_rows() {
                let (stage, rule) = (stages.value(i), rule_names.value(i));
                let id = if ids.is_valid(i) { ids.value(i) } else { "" };
                let place = (number, first + i as u64);
                if !rules.get(stage).is_some_and(|of| of.contains_key(rule)) {
                    rules.entry(stage.to_owned()).or_default().insert(rule.to_owned(), BTreeSet::new());
                }
                if let Some(rows) = rules.get_mut(stage).and_then(|of| of.get_mut(rule)) {
                    keep_smallest(rows, most, (id, place));
                }
                if let Some(details) = details.filter(|_| stage == "dedup")
                    && let Some(kept) = repeated_id(details.value(i))
                {
                    gather(&mut clusters, rule, kept, place);
                }
            }
            Ok(())
        })?;
    }
    let rules =
        rules.into_iter().flat_map(|(stage, of)| of.into_iter().map(move |(rule, r)| ((stage.clone(), rule), r)));
    Ok(Picked { rules: rules.collect(), clusters })
}

/// Take a row among the `most` with the smallest ids.
pub fn keep_smallest(rows: &mut BTreeSet<(String, Place)>, most: usize, (id, place): (&str, Place)) {
    let smaller = |(last, at): &(String, Place)| (id, place) < (last.as_str(), *at);
    if rows.len() < most || rows.last().is_some_and(smaller) {
        rows.insert((id.to_owned(), place));
        if rows.len() > most {
            rows.pop_last();
        }
    }
}

/// Count a copy of the row `kept`, if that is among the smallest so far. One that is not now is not later, so that the counts of
/// those that remain are whole.
fn gather(clusters: &mut BTreeMap<String, BTreeMap<String, Cluster>>, rule: &str, kept: &str, place: Place) {
    if !clusters.contains_key(rule) {
        clusters.insert(rule.to_owned(), BTreeMap::new());
    }
    let Some(of) = clusters.get_mut(rule) else { return };
    if of.len() == CLUSTERS && of.last_key_value().is_some_and(|(last, _)| kept > last.as_str()) {
        return;
    }
    let cluster = of.entry(kept.to_owned()).or_default();
    cluster.copies += 1;
    if cluster.places.len() < COPIES {
        cluster.places.push(place);
    }
    if of.len() > CLUSTERS {
        of.pop_last();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_counted_whatever_comes_between() {
        let mut clusters = BTreeMap::new();
        for (n, kept) in ["h", "b", "g", "f", "e", "d", "h", "c", "b", "h", "a", "b", "b"].iter().enumerate() {
            gather(&mut clusters, "dedup", kept, (0, n as u64));
        }
        let found: Vec<(&str, u64)> = clusters["dedup"].iter().map(|(id, c)| (id.as_str(), c.copies)).collect();
        assert_eq!(found, [("a", 1), ("b", 4), ("c", 1), ("d", 1), ("e", 1)]);
        assert_eq!(clusters["dedup"]["b"].places, [(0, 1), (0, 8), (0, 11)]);
    }
}
