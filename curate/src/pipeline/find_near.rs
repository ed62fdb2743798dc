//! Finds near-duplicates among the rows of all tasks. Every stage is cut into pieces, and each holds what is in one of them:
//!
//! ```text
//! part of the bands ──> groups of rows that share a hash ──> partition of the output: rows, shingles
//!                                                                        │
//!    partition of the output: what goes <── components: decisions <── partition: rows and groups of each component
//! ```

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

use super::{
    filter::FLUSH_BYTES,
    find_components::{self, Finder, piece_of},
    kept_rows::{Kept, KeptRows},
    near::{
        NearDuplicates,
        bands::{self, BandWriter},
        component::{Decider, Gone, Node},
        files::{AllShingles, OwnShingles, file_of},
        shingles::Shingler,
    },
    ranges::Ranges,
    resolver::{KeepRow, Resolver},
    shuffle::{Sent, Shuffle, number, pair},
    spill::{self, LABEL, WORDS},
    spill_file::{Block, SpillIndex},
    team::{Json, Team, each},
};
use crate::{
    error::{Error, Result},
    key,
    plan::Earlier,
};

/// The processes that decide, or a folder of this one alone.
type At<'a> = (Option<&'a Team>, &'a Path);

/// Hashes of a band that a thread holds, in bytes, about. Each of several shares reads them all.
const BAND_BYTES: u64 = 64 << 20;

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
    /// Which of them a row is of.
    pub ranges: &'a Ranges,
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
        let (at, by): (At<'_>, _) = ((self.team, scratch), (pool, progress));
        let ranges = self.ranges;
        let earlier = self.sketch_earlier(near, (&seen, at), ranges, by)?;
        let shares = self.shares();
        let parts = (near.bands * self.parts) as usize * shares;

        let groups = Shuffle::new(at, ("bands", "groups"), parts)?;
        let mut places = 0;
        let find = |part: usize| {
            let records = self.groups(part, shares, ranges)?;
            let places = records.len() as u64;
            groups.write(part, ranges.count(), records)?;
            Ok(Json(places))
        };
        each(self.team, "bands", parts, by, find, |Json(more)| {
            places += more;
            Ok(())
        })?;

        let found = self.look_at_rows(near, (&seen, at), (ranges, parts), (&groups, earlier), by)?;
        let pieces = find_components::pieces(places);
        let finder = Finder { at, by, pieces };
        let components = finder.find(found.present, parts, (ranges.count(), &|row| ranges.of(row)))?;
        let rows = Shuffle::new(at, ("linked", "rows"), ranges.count())?;
        let links = Shuffle::new(at, ("linked", "groups"), ranges.count())?;
        let link = |partition: usize| {
            let mut nodes = found.nodes.read_of(partition, 0)?;
            if let Some(given) = &found.given {
                nodes.extend(given.read(partition)?);
            }
            let centres = components.read(partition)?;
            let (nodes, members) = linked(&centres, &nodes, &groups.read(partition)?, pieces);
            rows.write(partition, pieces, nodes)?;
            links.write(partition, pieces, members)?;
            Ok(Json(()))
        };
        each(self.team, "linked", ranges.count(), by, link, |Json(())| Ok(()))?;
        groups.done()?;
        components.done()?;
        found.nodes.done()?;
        found.given.map_or(Ok(()), Shuffle::done)?;

        let shingles = AllShingles::open(&seen, found.files)?;
        let gone = Shuffle::new(at, ("compare", "gone"), pieces)?;
        let mut cut = 0;
        let decider = Decider { near, shingles: &shingles };
        let decide = |piece: usize| {
            let decided = decider.decide((&rows.read(piece)?, &links.read(piece)?), progress)?;
            let sent = decided.gone.iter().map(|gone: &Gone| (ranges.of(gone.row), gone.to_bytes()));
            gone.write(piece, ranges.count(), sent.collect())?;
            Ok(Json(decided.cut))
        };
        each(self.team, "compare", pieces, by, decide, |Json(more)| {
            cut += more;
            Ok(())
        })?;
        rows.done()?;
        links.done()?;
        Ok(NearDuplicates::new(gone, ranges.clone(), cut))
    }

    /// In how many shares each part of a band is looked at, so that a thread holds no more than it should.
    fn shares(&self) -> usize {
        let most = self.bands.content().iter().max().copied().unwrap_or(0);
        usize::try_from((most / BAND_BYTES + 1).next_power_of_two()).unwrap_or(1)
    }

    /// Rows of groups of a part of the bands, each with its group, where its partition finds them. A band has `shares` such parts where
    /// tasks cut it once.
    fn groups(&self, part: usize, shares: usize, ranges: &Ranges) -> Result<Vec<Sent<16>>> {
        let mut groups = bands::Groups::new(part % shares, shares);
        let bucket = u32::try_from(part / shares).unwrap_or(u32::MAX);
        self.bands.each(&(bucket..bucket + 1), |batch| groups.add(batch))?;
        let mut records = Vec::new();
        groups.finish(|number, row| {
            records.push((ranges.of(row), pair(row, find_components::group(part, number))));
        });
        Ok(records)
    }

    /// Every shard of the earlier data sets, with the number of its set.
    fn shards(&self) -> impl Iterator<Item = (usize, &Path)> {
        let sets = self.earlier.iter().enumerate();
        sets.flat_map(|(set, earlier)| earlier.shards().map(move |shard| (set, shard)))
    }

    /// Write the band hashes of earlier data sets, and add them to those of the tasks; says where partitions find the names of their
    /// rows, each with the number of its shard.
    fn sketch_earlier(
        &mut self,
        near: &Near,
        (seen, at): (&Path, At<'_>),
        ranges: &Ranges,
        by: (&ThreadPool, &dyn Progress),
    ) -> Result<Option<Shuffle<16>>> {
        if self.earlier.is_empty() {
            return Ok(None);
        }
        let shards: Vec<(usize, &Path)> = self.shards().collect();
        let names = Shuffle::new(at, ("sketch", "names"), shards.len())?;
        let sketch = |i: usize| {
            let (set, shard) = shards[i];
            let path = seen.join(format!("earlier-{i}.bands"));
            let mut writer = BandWriter::create(&path, near, self.dedup.on, self.parts)?;
            let (mut held, mut sent) = (0, Vec::new());
            self.earlier[set].each_row(shard, by.1, |content| {
                let name = Earlier::name(set, &key::id(content));
                writer.add(name, content);
                sent.push((ranges.of(name), pair(name, i as u64)));
                held += content.bytes();
                if held < FLUSH_BYTES {
                    return Ok(());
                }
                held = 0;
                writer.flush()
            })?;
            names.write(i, ranges.count(), sent)?;
            Ok(Json((path, writer.finish()?)))
        };
        let mut sketched: Vec<(PathBuf, Vec<Block>)> = Vec::new();
        each(self.team, "sketch", shards.len(), by, sketch, |Json(found)| {
            sketched.push(found);
            Ok(())
        })?;
        drop(shards);
        let buckets = near.bands * self.parts;
        for (number, (path, blocks)) in sketched.into_iter().enumerate() {
            // Of each process its own: those of the tasks are read by all as they lie there.
            let index = self.team.map_or(at.1, Team::own).join(format!("earlier-{number}.index"));
            self.bands.add(path, &blocks, buckets, &index)?;
        }
        Ok(Some(names))
    }

    /// Store the shingles of the rows of groups, and what is known of each.
    fn look_at_rows(
        &self,
        near: &Near,
        (seen, at): (&Path, At<'_>),
        (ranges, parts): (&Ranges, usize),
        (groups, earlier): (&Shuffle<16>, Option<Shuffle<16>>),
        by: (&ThreadPool, &dyn Progress),
    ) -> Result<Found> {
        let shards: Vec<(usize, &Path)> = self.shards().collect();
        let store = Store(Mutex::new(OwnShingles::create(seen)?));
        let nodes = Shuffle::new(at, ("near", "rows"), ranges.count())?;
        let present = Shuffle::new(at, ("near", "groups"), ranges.count())?;
        let wanted = Shuffle::new(at, ("near", "wanted"), ranges.count())?;
        let look = |partition: usize| {
            let members = groups.read(partition)?;
            let names = names(&members);
            let found = self.shingles(near, (&names, &store), &self.partitions[partition], by.1)?;
            let mut here: Vec<u64> = found.iter().map(|record| number(record, 0)).collect();
            let mut asked = Vec::new();
            if let Some(earlier) = &earlier {
                let mut offered = earlier.read(partition)?;
                // Of a row that several shards have, the first shows it.
                offered.dedup_by_key(|record| number(record, 0));
                for record in offered {
                    let (name, shard) = (number(&record, 0), number(&record, 8));
                    if names.binary_search(&name).is_ok() {
                        here.push(name);
                        asked.push((u32::try_from(shard).unwrap_or(u32::MAX), name.to_be_bytes()));
                    }
                }
                wanted.write(partition, shards.len(), asked)?;
            }
            here.sort_unstable();
            // Those that are not here are copies in dispute, all of which were dropped.
            let there = members.iter().filter(|record| here.binary_search(&number(*record, 0)).is_ok());
            let back = there.map(|record| {
                let (name, group) = (number(record, 0), number(record, 8));
                (find_components::part_of(group), pair(group, name))
            });
            present.write(partition, parts, back.collect())?;
            let files = self.settle(&store, &found)?;
            nodes.write(partition, 1, found.into_iter().map(|record| (0, record)).collect())?;
            Ok(Json(files))
        };
        let mut files = 0;
        let mut count = |Json(more): Json<usize>| {
            files = files.max(more);
            Ok(())
        };
        each(self.team, "near", ranges.count(), by, look, &mut count)?;
        let mut given = None;
        if earlier.is_some() {
            let rows = Shuffle::new(at, ("against", "rows"), shards.len())?;
            let look = |shard: usize| {
                let names: Vec<u64> = wanted.read(shard)?.into_iter().map(u64::from_be_bytes).collect();
                let found = self.shingles_of_earlier(near, (&names, &store), shards[shard], by.1)?;
                let files = self.settle(&store, &found)?;
                let sent = found.into_iter().map(|record| (ranges.of(number(&record, 0)), record));
                rows.write(shard, ranges.count(), sent.collect())?;
                Ok(Json(files))
            };
            each(self.team, "against", shards.len(), by, look, count)?;
            given = Some(rows);
            wanted.done()?;
        }
        earlier.map_or(Ok(()), Shuffle::done)?;
        Ok(Found { nodes, given, present, files })
    }

    /// Store the shingles of those rows of a partition that share a band with another and have no copy before them.
    fn shingles(
        &self,
        near: &Near,
        (names, store): (&[u64], &Store),
        partition: &Range<u32>,
        progress: &dyn Progress,
    ) -> Result<Vec<Known>> {
        let Self { index, resolver, .. } = *self;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let (mut shingler, mut found, mut held) = (Shingler::default(), Vec::new(), Held::default());
        let wanted = |_: &KeepRow, order| names.binary_search(&order).is_ok();
        KeptRows { index, resolver, progress }.each(partition, wanted, |Kept { row, order, content, batch, at }| {
            let node = Node { rank: resolver.rank(row.source), source: row.source, ..node(batch, at)? };
            held.push(order, node, shingler.set(&content, self.dedup.on, near));
            if held.is_full() { store.put(&mut held, &mut found) } else { Ok(()) }
        })?;
        store.put(&mut held, &mut found)?;
        Ok(found)
    }

    /// What was put is where others of a team see it before they are told. Says how many files of shingles there are at least.
    fn settle(&self, store: &Store, found: &[Known]) -> Result<usize> {
        if self.team.is_some() && !found.is_empty() {
            store.own().file.sync()?;
        }
        Ok(found.iter().map(|record| file_of(Node::of_bytes(&record[8..]).at) + 1).max().unwrap_or(0))
    }

    /// The same of a shard of an earlier data set.
    fn shingles_of_earlier(
        &self,
        near: &Near,
        (names, store): (&[u64], &Store),
        (set, shard): (usize, &Path),
        progress: &dyn Progress,
    ) -> Result<Vec<Known>> {
        let source = u16::try_from(self.resolver.sources() + set).unwrap_or(u16::MAX);
        let (mut shingler, mut found, mut held) = (Shingler::default(), Vec::new(), Held::default());
        self.earlier[set].each_row(shard, progress, |content| {
            let id = key::id(content);
            let name = Earlier::name(set, &id);
            if names.binary_search(&name).is_err() {
                return Ok(());
            }
            let shingles = shingler.set(content, self.dedup.on, near);
            held.push(name, Node { given: true, source, id, ..Node::default() }, shingles);
            if held.is_full() { store.put(&mut held, &mut found) } else { Ok(()) }
        })?;
        store.put(&mut held, &mut found)?;
        Ok(found)
    }
}

/// What is known of the rows of groups.
struct Found {
    /// Of those of each partition.
    nodes: Shuffle<56>,
    /// Of those of earlier data sets, where partitions of the output find them.
    given: Option<Shuffle<56>>,
    /// The rows that are there, each after its group, where the part of the bands that the group is of finds them.
    present: Shuffle<16>,
    /// How many files of shingles there are.
    files: usize,
}

/// The name of a row and what is known of it.
type Known = [u8; 56];

/// Shingles that are held before they are put in place, in bytes.
const HELD_BYTES: usize = 32 << 20;

/// Rows that share a band with another, and their shingles, on their way to the files.
#[derive(Default)]
struct Held {
    nodes: Vec<(u64, Node)>,
    shingles: Vec<u8>,
}

impl Held {
    fn push(&mut self, name: u64, mut node: Node, set: &[u32]) {
        node.at = self.shingles.len() as u64;
        node.shingles = u32::try_from(set.len()).unwrap_or(u32::MAX);
        self.nodes.push((name, node));
        self.shingles.extend(set.iter().flat_map(|shingle| shingle.to_le_bytes()));
    }

    fn is_full(&self) -> bool {
        self.shingles.len() > HELD_BYTES
    }
}

/// Where shingles are put. Threads put them in any order; each row knows where its own are.
struct Store(Mutex<OwnShingles>);

impl Store {
    fn own(&self) -> MutexGuard<'_, OwnShingles> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Put what is held into the file; the rows then know where their shingles are.
    fn put(&self, held: &mut Held, found: &mut Vec<Known>) -> Result<()> {
        let Held { nodes, shingles } = std::mem::take(held);
        let start = self.own().append(&shingles)?;
        found.extend(nodes.into_iter().map(|(name, node)| {
            let mut record = [0; 56];
            record[..8].copy_from_slice(&name.to_be_bytes());
            record[8..].copy_from_slice(&Node { at: start + node.at, ..node }.to_bytes());
            record
        }));
        Ok(())
    }
}

/// The rows of groups, each once, ascending: `members` are rows with their groups, ascending.
fn names(members: &[[u8; 16]]) -> Vec<u64> {
    let mut names: Vec<u64> = members.iter().map(|record| number(record, 0)).collect();
    names.dedup();
    names
}

/// Rows of a partition that are linked with others, each after its component, and their groups, where those who decide on a component
/// find them. `centres` are rows with their components, and `members` rows with their groups.
fn linked(
    centres: &[[u8; 16]],
    nodes: &[Known],
    members: &[[u8; 16]],
    pieces: usize,
) -> (Vec<Sent<64>>, Vec<Sent<24>>) {
    let component = |name: u64| {
        let place = centres.binary_search_by_key(&name, |record| number(record, 0)).ok()?;
        Some(number(&centres[place], 8))
    };
    let rows = nodes.iter().filter_map(|known| {
        let component = component(number(known, 0))?;
        let mut record = [0; 64];
        record[..8].copy_from_slice(&component.to_be_bytes());
        record[8..].copy_from_slice(known);
        Some((piece_of(component, pieces), record))
    });
    let links = members.iter().filter_map(|member| {
        let (name, group) = (number(member, 0), number(member, 8));
        let component = component(name)?;
        let mut record = [0; 24];
        for (at, value) in [(0, component), (8, group), (16, name)] {
            record[at..at + 8].copy_from_slice(&value.to_be_bytes());
        }
        Some((piece_of(component, pieces), record))
    });
    (rows.collect(), links.collect())
}

/// What order of preference goes by, of a row of a spill batch.
fn node(batch: &RecordBatch, row: usize) -> Result<Node> {
    let words = spill::column(batch, WORDS)?.as_primitive::<UInt32Type>().value(row);
    let labels = spill::column(batch, LABEL)?.as_primitive::<UInt64Type>();
    let label = if labels.is_valid(row) { labels.value(row).max(1) } else { 0 };
    Ok(Node { words, id: spill::id(batch, row)?, label, ..Node::default() })
}
