//! Finds near-duplicates among the rows of all tasks. Every stage is cut into pieces, and each holds what is in one of them:
//!
//! ```text
//! part of the bands ──> groups of rows that share a hash ──> partition of the output: rows, shingles
//!                                                                        │
//!    partition of the output: what goes <── components: decisions <── partition: rows and groups of each component
//! ```

use std::{fs, ops::Range, path::Path};

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
        component::{Decider, Gone, Node, check},
        files::{ShingleFiles, ShingleWriter},
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
    /// Bytes of the hashes of a band that a thread may hold, about.
    pub held: u64,
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
        let (at, by): (At<'_>, _) = ((self.team, scratch), (pool, progress));
        let ranges = self.ranges;
        let earlier = self.sketch_earlier(near, at, ranges, by)?;
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

        let shingles = ShingleFiles::new(at, [("near", ranges.count()), ("against", self.shards().count())]);
        let found = self.look_at_rows(near, (at, &shingles), (ranges, parts), (&groups, earlier), by)?;
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
        Ok(NearDuplicates::new(gone, ranges.clone(), cut, pool.current_num_threads()))
    }

    /// In how many shares each part of a band is looked at, so that a thread holds no more than it should.
    fn shares(&self) -> usize {
        let most = self.bands.content().iter().max().copied().unwrap_or(0);
        usize::try_from((most / self.held + 1).next_power_of_two()).unwrap_or(1)
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
        at: At<'_>,
        ranges: &Ranges,
        by: (&ThreadPool, &dyn Progress),
    ) -> Result<Option<Shuffle<16>>> {
        if self.earlier.is_empty() {
            return Ok(None);
        }
        let shards: Vec<(usize, &Path)> = self.shards().collect();
        let names = Shuffle::new(at, ("sketch", "names"), shards.len())?;
        let folder = at.0.map_or(at.1, Team::folder).join("sketch");
        let path = |i: usize| folder.join(format!("{i:05}.bands"));
        let sketch = |i: usize| {
            let (set, shard) = shards[i];
            let path = path(i);
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
            writer.finish().map(Json)
        };
        let mut sketched: Vec<Vec<Block>> = Vec::new();
        each(self.team, "sketch", shards.len(), by, sketch, |Json(found)| {
            sketched.push(found);
            Ok(())
        })?;
        drop(shards);
        let buckets = near.bands * self.parts;
        for (number, blocks) in sketched.into_iter().enumerate() {
            at.0.map_or(Ok(()), |team| team.commons().bring(&path(number)))?;
            // Of each process its own: those of the tasks are read by all as they lie there.
            let index = self.team.map_or(at.1, Team::own).join(format!("earlier-{number}.index"));
            self.bands.add(path(number), &blocks, buckets, &index)?;
        }
        Ok(Some(names))
    }

    /// Store the shingles of the rows of groups, and what is known of each.
    fn look_at_rows(
        &self,
        near: &Near,
        (at, files): (At<'_>, &ShingleFiles),
        (ranges, parts): (&Ranges, usize),
        (groups, earlier): (&Shuffle<16>, Option<Shuffle<16>>),
        by: (&ThreadPool, &dyn Progress),
    ) -> Result<Found> {
        let shards: Vec<(usize, &Path)> = self.shards().collect();
        let nodes = Shuffle::new(at, ("near", "rows"), ranges.count())?;
        let present = Shuffle::new(at, ("near", "groups"), ranges.count())?;
        let wanted = Shuffle::new(at, ("near", "wanted"), ranges.count())?;
        let look = |partition: usize| {
            let members = groups.read(partition)?;
            let names = names(&members);
            let found =
                self.shingles(near, (&names, files.create(0, partition)?), &self.partitions[partition], by.1)?;
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
            nodes.write(partition, 1, found.into_iter().map(|record| (0, record)).collect()).map(Json)
        };
        each(self.team, "near", ranges.count(), by, look, |Json(())| Ok(()))?;
        let mut given = None;
        if earlier.is_some() {
            let rows = Shuffle::new(at, ("against", "rows"), shards.len())?;
            let look = |shard: usize| {
                let names: Vec<u64> = wanted.read(shard)?.into_iter().map(u64::from_be_bytes).collect();
                let found = self.shingles_of_earlier(near, (&names, files.create(1, shard)?), shards[shard], by.1)?;
                let sent = found.into_iter().map(|record| (ranges.of(number(&record, 0)), record));
                rows.write(shard, ranges.count(), sent.collect()).map(Json)
            };
            each(self.team, "against", shards.len(), by, look, |Json(())| Ok(()))?;
            given = Some(rows);
            wanted.done()?;
        }
        earlier.map_or(Ok(()), Shuffle::done)?;
        Ok(Found { nodes, given, present })
    }

    /// Store the shingles of those rows of a partition that share a band with another and have no copy before them.
    fn shingles(
        &self,
        near: &Near,
        (names, file): (&[u64], ShingleWriter),
        partition: &Range<u32>,
        progress: &dyn Progress,
    ) -> Result<Vec<Known>> {
        let Self { index, resolver, .. } = *self;
        let (mut shingler, mut held) = (Shingler::default(), Held::new(file));
        if names.is_empty() {
            return held.finish();
        }
        let wanted = |_: &KeepRow, order| names.binary_search(&order).is_ok();
        KeptRows { index, resolver, progress }.each(partition, wanted, |Kept { row, order, content, batch, at }| {
            let node = Node { rank: resolver.rank(row.source), source: row.source, ..node(batch, at)? };
            held.push(order, node, shingler.set(&content, self.dedup.on, near))
        })?;
        held.finish()
    }

    /// The same of a shard of an earlier data set.
    fn shingles_of_earlier(
        &self,
        near: &Near,
        (names, file): (&[u64], ShingleWriter),
        (set, shard): (usize, &Path),
        progress: &dyn Progress,
    ) -> Result<Vec<Known>> {
        let source = u16::try_from(self.resolver.sources() + set).unwrap_or(u16::MAX);
        let (mut shingler, mut held) = (Shingler::default(), Held::new(file));
        self.earlier[set].each_row(shard, progress, |content| {
            let id = key::id(content);
            let name = Earlier::name(set, &id);
            if names.binary_search(&name).is_err() {
                return Ok(());
            }
            let shingles = shingler.set(content, self.dedup.on, near);
            held.push(name, Node { given: true, source, id, ..Node::default() }, shingles)
        })?;
        held.finish()
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
}

/// The name of a row and what is known of it.
type Known = [u8; 56];

/// Rows that share a band with another, and their shingles, on their way to the files.
struct Held {
    file: ShingleWriter,
    found: Vec<Known>,
    bytes: Vec<u8>,
}

impl Held {
    fn new(file: ShingleWriter) -> Self {
        Self { file, found: Vec::new(), bytes: Vec::new() }
    }

    fn push(&mut self, name: u64, mut node: Node, set: &[u32]) -> Result<()> {
        self.bytes.clear();
        self.bytes.extend(set.iter().flat_map(|shingle| shingle.to_le_bytes()));
        node.at = self.file.append(&self.bytes)?;
        node.check = check(&self.bytes);
        node.shingles = u32::try_from(set.len()).unwrap_or(u32::MAX);
        let mut record = [0; 56];
        record[..8].copy_from_slice(&name.to_be_bytes());
        record[8..].copy_from_slice(&node.to_bytes());
        self.found.push(record);
        Ok(())
    }

    /// The rows; their shingles are in place.
    fn finish(self) -> Result<Vec<Known>> {
        self.file.finish()?;
        Ok(self.found)
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
