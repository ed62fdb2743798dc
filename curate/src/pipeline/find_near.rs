//! Finds near-duplicates among the rows of all tasks: groups from band hashes, shingles of the rows in them, components, decisions.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{UInt32Type, UInt64Type},
};
use rayon::ThreadPool;
use setaccio_base::{atomic, progress::Progress};
use setaccio_dataset::recipe::{Dedup, Near};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    filter::FLUSH_BYTES,
    kept_rows::{Kept, KeptRows},
    near::{
        NONE, NearDuplicates,
        bands::{self, BandWriter},
        component::{Decider, Node},
        files::{AllShingles, OwnShingles, file_of},
        names::{NamedGroups, Names, NumberedGroups, SomeNames},
        shingles::Shingler,
    },
    resolver::{KeepRow, Resolver},
    scratch::{ListReader, ListWriter, Places},
    spill::{self, LABEL, WORDS},
    spill_file::{Block, SpillIndex},
    team::{Json, Kept as KeptPiece, Team, each},
};
use crate::{
    error::{Error, Result},
    key,
    plan::{Earlier, SPILL_BUCKETS},
};

/// Groups of one file, in bytes: what a thread decides on at once.
const BUCKET_BYTES: u64 = 16 << 20;

/// What is decided on.
pub struct Rows<'a> {
    /// The recipe's `[dedup]`.
    pub dedup: &'a Dedup,
    /// The rows of all tasks.
    pub index: &'a SpillIndex,
    /// Their partitions.
    pub partitions: &'a [Range<u32>],
    /// Tells rows that are the same.
    pub resolver: &'a Resolver<'a>,
    /// The band hashes of all tasks.
    pub bands: SpillIndex,
    /// Ranges that the hashes of a band are cut into.
    pub parts: u32,
    /// Earlier data sets, whose rows stay.
    pub earlier: &'a [Earlier],
    /// Who decides together, if this process is not alone.
    pub team: Option<&'a Team>,
}

impl Rows<'_> {
    /// Decide which rows go, in the folder `scratch`, which is emptied first.
    ///
    /// # Errors
    /// A damaged work file, an earlier data set that cannot be read, a full disk, Ctrl-C.
    pub fn decide(
        mut self,
        near: &Near,
        scratch: &Path,
        pool: &ThreadPool,
        progress: &dyn Progress,
    ) -> Result<NearDuplicates> {
        atomic::remove(scratch)?;
        fs::create_dir_all(scratch).map_err(Error::io("create", scratch))?;
        // What others read lies where they see it.
        let seen = self.team.map_or_else(|| scratch.to_owned(), |team| team.folder().to_owned());
        let (team, by) = (self.team, (pool, progress));
        let buckets = near.bands * self.parts;
        if !self.earlier.is_empty() {
            let (mut number, mut sketched) = (0, Vec::new());
            self.sketch_earlier(near, &seen, by, |Json((path, blocks))| {
                let at = scratch.join(format!("earlier-{number}.index"));
                number += 1;
                sketched.push((path, blocks, at));
                Ok(())
            })?;
            for (path, blocks, at) in sketched {
                self.bands.add(path, &blocks, buckets, &at)?;
            }
        }
        let (names, groups) = find_groups(&self.bands, (buckets, self.ranges()), (scratch, team), by)?;

        // Of these the names have no order.
        let all = if self.earlier.is_empty() { None } else { Some(names.all()?) };
        let shingles = Mutex::new(OwnShingles::create(&seen)?);
        let nodes = Places::create(&scratch.join("nodes"), Node::BYTES * u64::from(names.count()))?;
        let (mut parents, mut files) = (vec![NONE; names.count() as usize], 0);
        let mut found = |Nodes(found): Nodes| -> Result<()> {
            for (number, node) in found {
                node.write(&nodes, number)?;
                parents[number as usize] = number;
                files = files.max(file_of(node.at) + 1);
            }
            Ok(())
        };
        let store = |i: usize| self.shingles(near, (&names, &Store(&shingles)), &self.partitions[i], progress);
        each(team, "near", self.partitions.len(), by, store, &mut found)?;
        let shards: Vec<(usize, &Path)> = self.shards().collect();
        if let Some(all) = &all {
            let store = |i: usize| self.shingles_of_earlier(near, (all, &Store(&shingles)), shards[i], progress);
            each(team, "against", shards.len(), by, store, &mut found)?;
        }
        drop((all, shingles));
        let shingles = AllShingles::open(&seen, files)?;

        let buckets = into_components(&groups, &mut parents, scratch)?;
        drop(parents);
        groups.remove()?;
        let mut near_duplicates = NearDuplicates::new(names, nodes, scratch)?;
        let mut cut = 0;
        let decider = Decider { near, nodes: near_duplicates.nodes(), shingles: &shingles };
        let decide = |i: usize| decider.decide(&buckets[i], progress);
        each(team, "compare", buckets.len(), by, decide, |decided| {
            cut += decided.cut;
            decided.gone.into_iter().try_for_each(|gone| near_duplicates.add(gone))
        })?;
        near_duplicates.cut = cut;
        Ok(near_duplicates)
    }

    /// Ranges that names are cut into: as many as tasks cut their rows into.
    fn ranges(&self) -> u32 {
        self.parts * SPILL_BUCKETS
    }

    /// Every shard of the earlier data sets, with the number of its set.
    fn shards(&self) -> impl Iterator<Item = (usize, &Path)> {
        let sets = self.earlier.iter().enumerate();
        sets.flat_map(|(set, earlier)| earlier.shards().map(move |shard| (set, shard)))
    }

    /// Write the band hashes of earlier data sets.
    fn sketch_earlier(
        &self,
        near: &Near,
        seen: &Path,
        by: (&ThreadPool, &dyn Progress),
        written: impl FnMut(Json<(PathBuf, Vec<Block>)>) -> Result<()> + Send,
    ) -> Result<()> {
        let shards: Vec<(usize, &Path)> = self.shards().collect();
        let sketch = |i: usize| {
            let (set, shard) = shards[i];
            let path = seen.join(format!("earlier-{i}.bands"));
            let mut writer = BandWriter::create(&path, near, self.dedup.on, self.parts)?;
            let mut held = 0;
            self.earlier[set].each_row(shard, by.1, |content| {
                writer.add(Earlier::name(set, &key::id(content)), content);
                held += content.bytes();
                if held < FLUSH_BYTES {
                    return Ok(());
                }
                held = 0;
                writer.flush()
            })?;
            Ok(Json((path, writer.finish()?)))
        };
        each(self.team, "sketch", shards.len(), by, sketch, written)
    }

    /// Store the shingles of those rows of a partition that share a band with another and have no copy before them.
    fn shingles(
        &self,
        near: &Near,
        (names, store): (&Names, &Store<'_>),
        partition: &Range<u32>,
        progress: &dyn Progress,
    ) -> Result<Nodes> {
        let Self { index, resolver, .. } = *self;
        let names = names.of(partition, to_u32(index.content().len()))?;
        if names.count() == 0 {
            return Ok(Nodes(Vec::new()));
        }
        let (mut shingler, mut found, mut part) = (Shingler::default(), Vec::new(), Part::default());
        let wanted = |_: &KeepRow, order| names.number(order).is_some();
        KeptRows { index, resolver, progress }.each(partition, wanted, |Kept { row, order, content, batch, at }| {
            let Some(number) = names.number(order) else { return Ok(()) };
            let node = Node { rank: resolver.rank(row.source), source: row.source, ..node(batch, at)? };
            part.push(number, node, shingler.set(&content, self.dedup.on, near));
            if part.shingles.len() as u64 > PIECE_BYTES {
                found.extend(store.put(std::mem::take(&mut part))?);
            }
            Ok(())
        })?;
        found.extend(store.put(part)?);
        self.settle(store, found)
    }

    /// What was put is where others of a team see it before they are told.
    fn settle(&self, store: &Store<'_>, found: Vec<(u32, Node)>) -> Result<Nodes> {
        if self.team.is_some() && !found.is_empty() {
            store.own().file.sync()?;
        }
        Ok(Nodes(found))
    }

    /// The same of a shard of an earlier data set.
    fn shingles_of_earlier(
        &self,
        near: &Near,
        (names, store): (&SomeNames, &Store<'_>),
        (set, shard): (usize, &Path),
        progress: &dyn Progress,
    ) -> Result<Nodes> {
        let source = u16::try_from(self.resolver.sources() + set).unwrap_or(u16::MAX);
        let (mut shingler, mut found, mut part) = (Shingler::default(), Vec::new(), Part::default());
        self.earlier[set].each_row(shard, progress, |content| {
            let id = key::id(content);
            if let Some(number) = names.number(Earlier::name(set, &id)) {
                let shingles = shingler.set(content, self.dedup.on, near);
                part.push(number, Node { given: true, source, id, ..Node::default() }, shingles);
                if part.shingles.len() as u64 > PIECE_BYTES {
                    found.extend(store.put(std::mem::take(&mut part))?);
                }
            }
            Ok(())
        })?;
        found.extend(store.put(part)?);
        self.settle(store, found)
    }
}

/// Shingles that are held before they are put in place, in bytes.
const PIECE_BYTES: u64 = 32 << 20;

/// Rows that share a band with another, and their shingles, on their way to the files.
#[derive(Default)]
struct Part {
    nodes: Vec<(u32, Node)>,
    shingles: Vec<u8>,
}

impl Part {
    fn push(&mut self, number: u32, mut node: Node, set: &[u32]) {
        node.at = self.shingles.len() as u64;
        node.shingles = u32::try_from(set.len()).unwrap_or(u32::MAX);
        self.nodes.push((number, node));
        self.shingles.extend(set.iter().flat_map(|shingle| shingle.to_le_bytes()));
    }
}

/// Where they are put. Threads put them in any order; each row knows where its own are.
struct Store<'a>(&'a Mutex<OwnShingles>);

impl Store<'_> {
    fn own(&self) -> MutexGuard<'_, OwnShingles> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Put the shingles of a part into the file; the rows then know where they are.
    fn put(&self, part: Part) -> Result<impl Iterator<Item = (u32, Node)>> {
        let start = self.own().append(&part.shingles)?;
        Ok(part.nodes.into_iter().map(move |(number, node)| (number, Node { at: start + node.at, ..node })))
    }
}

/// Rows that share a band with another, by number.
struct Nodes(Vec<(u32, Node)>);

impl KeptPiece for Nodes {
    fn bytes(&self) -> Result<Vec<u8>> {
        let one = |(number, node): &(u32, Node)| number.to_le_bytes().into_iter().chain(node.to_bytes());
        Ok(self.0.iter().flat_map(one).collect())
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let (nodes, rest) = bytes.as_chunks::<52>();
        let one = |bytes: &[u8; 52]| {
            let (number, node) = bytes.split_first_chunk()?;
            Some((u32::from_le_bytes(*number), Node::of_bytes(node.first_chunk()?)))
        };
        rest.is_empty().then(|| nodes.iter().map(one).collect::<Option<_>>()).flatten().map(Self)
    }
}

/// Groups of rows that share a band hash, by name.
struct Groups(Vec<Vec<u64>>);

impl KeptPiece for Groups {
    fn bytes(&self) -> Result<Vec<u8>> {
        let one =
            |group: &Vec<u64>| [group.len() as u64].into_iter().chain(group.iter().copied()).collect::<Vec<u64>>();
        Ok(self.0.iter().flat_map(one).flat_map(u64::to_le_bytes).collect())
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let (numbers, rest) = bytes.as_chunks::<8>();
        let mut numbers = numbers.iter().map(|number| u64::from_le_bytes(*number));
        let mut groups = Vec::new();
        while let Some(length) = numbers.next() {
            let group: Vec<u64> = numbers.by_ref().take(usize::try_from(length).ok()?).collect();
            if group.len() as u64 != length {
                return None;
            }
            groups.push(group);
        }
        rest.is_empty().then_some(Self(groups))
    }
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(NONE)
}

/// What order of preference goes by, of a row of a spill batch.
fn node(batch: &RecordBatch, row: usize) -> Result<Node> {
    let words = spill::column(batch, WORDS)?.as_primitive::<UInt32Type>().value(row);
    let labels = spill::column(batch, LABEL)?.as_primitive::<UInt64Type>();
    let label = if labels.is_valid(row) { labels.value(row).max(1) } else { 0 };
    Ok(Node { words, id: spill::id(batch, row)?, label, ..Node::default() })
}

/// The names of all rows that share a band with another, and their groups.
fn find_groups(
    bands: &SpillIndex,
    (buckets, ranges): (u32, u32),
    (scratch, team): (&Path, Option<&Team>),
    by: (&ThreadPool, &dyn Progress),
) -> Result<(Names, NumberedGroups)> {
    let mut found = NamedGroups::create(scratch, ranges)?;
    let find = |i: usize| {
        let bucket = to_u32(i);
        bands::groups(&bands.gather(&(bucket..bucket + 1))?).map(Groups)
    };
    each(team, "bands", buckets as usize, by, find, |Groups(groups)| {
        groups.iter().try_for_each(|group| found.add(group))
    })?;
    found.number(scratch)
}

/// Put groups that are linked with each other into one file: each as its component's number, then its rows' numbers.
/// `parents` names each row that is here its own, and is used up.
fn into_components(groups: &NumberedGroups, parents: &mut [u32], scratch: &Path) -> Result<Vec<ListReader>> {
    let mut present = ListWriter::create(scratch.join("present"))?;
    groups.each(|group| {
        // Those that are not here are copies in dispute, all of which were dropped.
        let here: Vec<u32> = group.iter().copied().filter(|number| parents[*number as usize] != NONE).collect();
        let [first, rest @ ..] = here.as_slice() else { return Ok(()) };
        if rest.is_empty() {
            return Ok(());
        }
        for row in rest {
            unite(parents, *first, *row);
        }
        present.list(here.iter().map(|row| row.to_le_bytes()))
    })?;
    let files = (present.bytes / BUCKET_BYTES + 1).next_power_of_two().min(256);
    let name = |i: u64| scratch.join(format!("component-{i}"));
    let mut writers: Vec<ListWriter> = (0..files).map(|i| ListWriter::create(name(i))).collect::<Result<_>>()?;
    present.finish()?.each(|group: &[[u8; 4]]| {
        let component = root(parents, u32::from_le_bytes(group[0])).to_le_bytes();
        let file = xxh3_64(&component) & (files - 1);
        let numbers: Vec<[u8; 4]> = [component].into_iter().chain(group.iter().copied()).collect();
        writers[usize::try_from(file).unwrap_or(0)].list(numbers.into_iter())
    })?;
    writers.into_iter().map(ListWriter::finish).collect()
}

/// The smallest number of a component.
fn root(parents: &mut [u32], mut row: u32) -> u32 {
    while parents[row as usize] != row {
        let above = parents[parents[row as usize] as usize];
        parents[row as usize] = above;
        row = above;
    }
    row
}

fn unite(parents: &mut [u32], one: u32, another: u32) {
    let (one, another) = (root(parents, one), root(parents, another));
    parents[one.max(another) as usize] = one.min(another);
}
