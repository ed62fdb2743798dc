//! Finds which rows are linked through groups of rows that share a band hash: the components of that graph, by stars (`near/star.rs`).

use std::path::Path;

use rayon::ThreadPool;
use setaccio_base::progress::Progress;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    near::star::{self, Edge},
    shuffle::{Sent, Shuffle, number, pair},
    team::{Json, Stage, Team, each},
};
use crate::error::Result;

/// What a person sees of all of it.
const SHOWN: &str = "components";

/// Bits of the number of a group that say which of its part it is; those above say of which part it is.
const WITHIN: u32 = 40;

/// The number of a group of a part of the bands.
pub fn group(part: usize, number: usize) -> u64 {
    (part as u64) << WITHIN | number as u64
}

/// The part of a group.
pub fn part_of(group: u64) -> u32 {
    to_u32(group >> WITHIN)
}

/// In how many pieces edges and components are looked at, for so many places of rows in groups: enough for many processes, of as much
/// as a thread may hold where there are very many.
pub fn pieces(places: u64) -> usize {
    /// Bytes of a place's edges, from both ends.
    const EACH: u64 = 32;
    let (few, many) = (((places * EACH) >> 20).min(64), (places * EACH) >> 26);
    usize::try_from(few.max(many).next_power_of_two().min(4096)).unwrap_or(1)
}

/// The piece, of so many, that a row or a component belongs to. Centres of stars are small names, so that ranges of names would not do.
pub fn piece_of(name: u64, pieces: usize) -> u32 {
    to_u32(xxh3_64(&name.to_le_bytes()) & (pieces as u64 - 1))
}

fn to_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Who finds them, and where.
#[derive(Clone, Copy)]
pub struct Finder<'a> {
    /// The processes, or a folder of this one, and
    pub at: (Option<&'a Team>, &'a Path),
    /// its threads.
    pub by: (&'a ThreadPool, &'a dyn Progress),
    /// How many pieces there are of edges.
    pub pieces: usize,
}

impl Finder<'_> {
    /// The component of each row that is linked with another, where partitions of the output find it: the row, then the least row that
    /// it is linked with. `groups` has what parts of the bands have of those rows that are there: a group, then a row.
    ///
    /// # Errors
    /// A damaged work file, a full disk, Ctrl-C.
    pub fn find(
        self,
        groups: Shuffle<16>,
        parts: usize,
        (partitions, partition_of): (usize, &(dyn Fn(u64) -> u32 + Sync)),
    ) -> Result<Shuffle<16>> {
        let Self { at, pieces, .. } = self;
        let links = Shuffle::new(at, ("link", "edges"), parts)?;
        self.stage("link", parts, |part| {
            let mut edges = Vec::new();
            for group in groups.read(part)?.chunk_by(|a, b| a[..8] == b[..8]) {
                let rows: Vec<u64> = group.iter().map(|record| number(record, 8)).collect();
                star::of_group(&rows, |to, edge| edges.push((piece_of(to, pieces), edge)));
            }
            links.write(part, pieces, edges)?;
            Ok(0)
        })?;
        groups.done()?;
        let mut edges = links;
        for turn in 0.. {
            let mut changed = 0;
            for (name, star) in [("large", large as Star), ("small", small)] {
                let stage = format!("{name}-{turn}");
                let next = Shuffle::new(at, (&stage, "edges"), pieces)?;
                changed += self.stage(&stage, pieces, |piece| {
                    let mut sent = Vec::new();
                    let changed = star(edges.read(piece)?, pieces, &mut sent);
                    next.write(piece, pieces, sent)?;
                    Ok(changed)
                })?;
                std::mem::replace(&mut edges, next).done()?;
            }
            if changed == 0 {
                break;
            }
        }
        let found = Shuffle::new(at, ("centres", "rows"), pieces)?;
        self.stage("centres", pieces, |piece| {
            let mut rows = Vec::new();
            star::centres(edges.read(piece)?, |row, centre| rows.push((partition_of(row), pair(row, centre))));
            found.write(piece, partitions, rows)?;
            Ok(0)
        })?;
        edges.done()?;
        Ok(found)
    }

    /// A stage of so many pieces; the sum of what they say.
    fn stage(self, folder: &str, pieces: usize, make: impl Fn(usize) -> Result<u64> + Sync) -> Result<u64> {
        let (mut sum, (team, _)) = (0, self.at);
        let make = |piece| make(piece).map(Json);
        each(team, Stage { shown: SHOWN, folder }, pieces, self.by, make, |Json(said)| {
            sum += said;
            Ok(())
        })?;
        Ok(sum)
    }
}

/// Takes the edges of a piece of so many, and sends those that come of them; says how many changed.
type Star = fn(Vec<Edge>, usize, &mut Vec<Sent<16>>) -> u64;

fn large(edges: Vec<Edge>, pieces: usize, sent: &mut Vec<Sent<16>>) -> u64 {
    star::large(edges, |to, edge| sent.push((piece_of(to, pieces), edge)))
}

fn small(edges: Vec<Edge>, pieces: usize, sent: &mut Vec<Sent<16>>) -> u64 {
    star::small(edges, |to, edge| sent.push((piece_of(to, pieces), edge)))
}
