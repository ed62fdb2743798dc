//! Partitions of the output: buckets of its order next to each other, of about a row group's worth of text.

use std::ops::Range;

use crate::key;

/// Cut the buckets into partitions of about `target` bytes of content each: the range of buckets of each.
pub fn partitions(content: &[u64], target: u64) -> Vec<Range<u32>> {
    let mut partitions = Vec::new();
    let (mut start, mut held) = (0, 0);
    for (bucket, bytes) in (0_u32..).zip(content) {
        if held > 0 && held + bytes > target {
            partitions.push(start..bucket);
            (start, held) = (bucket, 0);
        }
        held += bytes;
    }
    let end = u32::try_from(content.len()).unwrap_or(u32::MAX);
    if start < end {
        partitions.push(start..end);
    }
    partitions
}

/// The partitions of the output: which of them a row belongs to.
#[derive(Clone, Debug)]
pub struct Ranges {
    /// Where each begins, in buckets of the output's order.
    starts: Vec<u32>,
    buckets: u32,
}

impl Ranges {
    /// Those that so many buckets are cut into.
    pub fn new(partitions: &[Range<u32>], buckets: usize) -> Self {
        let starts = partitions.iter().map(|partition| partition.start).collect();
        Self { starts, buckets: u32::try_from(buckets).unwrap_or(u32::MAX) }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// The number of the one that begins with this bucket.
    pub fn beginning_with(&self, bucket: u32) -> usize {
        self.starts.partition_point(|start| *start < bucket)
    }

    /// The number of the one of a row of this name.
    pub fn of(&self, name: u64) -> u32 {
        let bucket = key::bucket(name, self.buckets);
        u32::try_from(self.starts.partition_point(|start| *start <= bucket)).unwrap_or(u32::MAX).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_full_and_a_row_is_in_one() {
        let cut = partitions(&[5, 5, 5, 20], 10);
        assert_eq!(cut, [0..2, 2..3, 3..4]);
        assert_eq!(partitions(&[0, 0, 0], 10), std::iter::once(0..3).collect::<Vec<_>>());
        assert_eq!(partitions(&[], 10), Vec::<Range<u32>>::new());
        let ranges = Ranges::new(&cut, 4);
        let quarter = 1_u64 << 62;
        let names = [0, quarter, 2 * quarter - 1, 2 * quarter, 3 * quarter, u64::MAX];
        assert_eq!(names.map(|name| ranges.of(name)), [0, 0, 0, 1, 2, 2]);
        assert_eq!([0, 2, 3].map(|bucket| ranges.beginning_with(bucket)), [0, 1, 2]);
        assert_eq!(ranges.count(), 3);
    }
}
