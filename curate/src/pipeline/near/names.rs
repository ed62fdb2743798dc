//! The names of all rows that share a band with another, and their numbers: a row's number is its place among the names, ascending. They
//! lie in a file, and so do the groups of rows that share a band hash, by number; in memory is a bucket of either.

use std::path::Path;

use crate::{
    error::Result,
    key,
    pipeline::scratch::{Buckets, Places},
};

/// A row's name and the number of a group that it is in, as they are sorted.
type NamePart = [u8; 16];

/// The number of a group and that of a row in it, as they are sorted.
type GroupPart = [u8; 12];

/// Groups of rows, as they are found.
pub struct NamedGroups {
    parts: Buckets<16>,
    groups: u64,
}

impl NamedGroups {
    /// None yet, in the folder `scratch`, by so many ranges of names.
    pub fn create(scratch: &Path, buckets: u32) -> Result<Self> {
        Ok(Self { parts: Buckets::create(scratch.join("grouped"), buckets)?, groups: 0 })
    }

    /// Add one: the names of its rows, each once.
    pub fn add(&mut self, group: &[u64]) -> Result<()> {
        for name in group {
            let mut part: NamePart = [0; 16];
            part[..8].copy_from_slice(&name.to_be_bytes());
            part[8..].copy_from_slice(&self.groups.to_be_bytes());
            self.parts.put(key::bucket(*name, self.parts.buckets()), &part)?;
        }
        self.groups += 1;
        Ok(())
    }

    /// Give each row its number.
    pub fn number(self, scratch: &Path) -> Result<(Names, NumberedGroups)> {
        let buckets = self.parts.buckets();
        let (mut file, mut starts, mut count) = (Places::create(&scratch.join("names"), 0)?, vec![0], 0_u32);
        let numbered = Buckets::create(scratch.join("groups"), buckets)?;
        for bucket in 0..buckets {
            let mut names = Vec::new();
            for same in self.parts.sorted(bucket..bucket + 1)?.chunk_by(|a, b| a[..8] == b[..8]) {
                names.extend(u64_of(&same[0]).to_le_bytes());
                for part in same {
                    let group = u64_of(&part[8..]);
                    let mut place: GroupPart = [0; 12];
                    place[..8].copy_from_slice(&group.to_be_bytes());
                    place[8..].copy_from_slice(&count.to_be_bytes());
                    // Groups come in order, so that a range of them is a bucket.
                    let of = u128::from(group) * u128::from(buckets) / u128::from(self.groups.max(1));
                    numbered.put(u32::try_from(of).unwrap_or(0), &place)?;
                }
                count += 1;
            }
            file.append(&names)?;
            starts.push(count);
        }
        self.parts.remove()?;
        Ok((Names { file, starts }, NumberedGroups(numbered)))
    }
}

fn u64_of(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Groups of rows by their numbers.
pub struct NumberedGroups(Buckets<12>);

impl NumberedGroups {
    /// Give each to `each`, in order.
    pub fn each(&self, mut each: impl FnMut(&[u32]) -> Result<()>) -> Result<()> {
        let number = |part: &GroupPart| part.last_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        for bucket in 0..self.0.buckets() {
            for group in self.0.sorted(bucket..bucket + 1)?.chunk_by(|a, b| a[..8] == b[..8]) {
                each(&group.iter().map(number).collect::<Vec<_>>())?;
            }
        }
        Ok(())
    }

    /// Make room for others.
    pub fn remove(self) -> Result<()> {
        self.0.remove()
    }
}

/// The names of all rows, ascending.
pub struct Names {
    file: Places,
    /// How many come before those of each range, and how many there are in all.
    starts: Vec<u32>,
}

impl Names {
    /// How many there are.
    pub fn count(&self) -> u32 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The range of names, of so many, that a name is in.
    pub fn range_of(&self, name: u64) -> u32 {
        key::bucket(name, self.ranges())
    }

    fn ranges(&self) -> u32 {
        u32::try_from(self.starts.len() - 1).unwrap_or(u32::MAX)
    }

    /// Those of buckets `range` of `buckets` buckets of names, of which there are no more than ranges.
    pub fn of(&self, range: &std::ops::Range<u32>, buckets: u32) -> Result<SomeNames> {
        let each = (self.ranges() / buckets).max(1);
        let [from, to] = [range.start * each, range.end * each].map(|at| self.starts[at as usize]);
        let mut bytes = vec![0; (to - from) as usize * 8];
        self.file.read(u64::from(from) * 8, &mut bytes)?;
        let names = bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        Ok(SomeNames { first: from, names })
    }

    /// Those of one range.
    pub fn of_range(&self, range: u32) -> Result<SomeNames> {
        self.of(&(range..range + 1), self.ranges())
    }

    /// All.
    pub fn all(&self) -> Result<SomeNames> {
        self.of(&(0..1), 1)
    }
}

/// Some names that follow each other.
pub struct SomeNames {
    /// The number of the first.
    pub first: u32,
    names: Vec<u64>,
}

impl SomeNames {
    /// The number of the row of this name, if it is among them.
    pub fn number(&self, name: u64) -> Option<u32> {
        self.names.binary_search(&name).ok().and_then(|at| u32::try_from(at).ok()).map(|at| self.first + at)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.names.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn rows_are_numbered_by_their_names_and_groups_stay_together() -> Result<()> {
        let dir = tempfile::tempdir().map_err(Error::io("create", "temp"))?;
        let name = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let groups: Vec<Vec<u64>> =
            (0..3000).map(|group: u64| (0..2 + group % 3).map(|i| name(group * 7 % 1000 + i * 13)).collect()).collect();
        let mut all: Vec<u64> = groups.concat();
        all.sort_unstable();
        all.dedup();
        for buckets in [1, 4, 64] {
            let mut named = NamedGroups::create(dir.path(), buckets)?;
            groups.iter().try_for_each(|group| named.add(group))?;
            let (names, numbered) = named.number(dir.path())?;
            assert_eq!(names.count() as usize, all.len());
            assert_eq!(names.all()?.names, all);
            for (number, name) in all.iter().enumerate() {
                let some = names.of_range(names.range_of(*name))?;
                assert_eq!(some.number(*name).map(|n| n as usize), Some(number));
            }
            assert_eq!(names.all()?.number(5), None);
            if buckets == 64 {
                let half = names.of(&(1..2), 2)?;
                assert_eq!((half.first as usize + half.count(), half.number(all[0])), (all.len(), None));
            }
            let mut found = Vec::new();
            numbered.each(|group| {
                let mut names: Vec<u64> = group.iter().map(|number| all[*number as usize]).collect();
                names.sort_unstable();
                found.push(names);
                Ok(())
            })?;
            let expected = groups.iter().map(|group| {
                let mut group = group.clone();
                group.sort_unstable();
                group
            });
            assert_eq!(found, expected.collect::<Vec<_>>());
            numbered.remove()?;
        }
        Ok(())
    }
}
