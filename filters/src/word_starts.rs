//! Where listed words may begin: at the first letter of a word, which is looked up in a table and then in a trie.
//!
//! An automaton over all bytes waits for memory at each of them. Here most bytes are only told apart as part of a word or
//! not, 64 at a time, and of most words three bytes say that none of the list begins so.

use std::ops::ControlFlow;

/// Bytes that are told apart at a time.
const BLOCK: usize = 64;
/// Bits of the table of beginnings: 4 KiB, which stays in the first cache.
const TABLE_BITS: u32 = 15;

/// What a first byte may lead to.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum First {
    /// No listed word.
    #[default]
    None,
    /// Words of which the table knows the first three bytes.
    Three,
    /// A word of one byte too.
    One,
}

/// Listed words, indexed by how they begin.
pub struct WordStarts {
    first: [First; 256],
    /// One bit for each hash of three bytes that a word begins with.
    table: Vec<u64>,
    /// Bytes of ASCII that are no part of a word and begin one that is listed, as in `@$$`.
    symbols: Vec<u8>,
    trie: Trie,
}

/// Fill `text` up with zeros, as [`WordStarts::visit`] needs it; says how long it was.
pub fn pad(text: &mut Vec<u8>) -> usize {
    let len = text.len();
    text.resize(len.next_multiple_of(BLOCK) + BLOCK, 0);
    len
}

impl WordStarts {
    /// An index of `words`, none of them empty.
    pub fn new(words: &[String]) -> Self {
        let mut first = [First::None; 256];
        let mut table = vec![0; 1 << (TABLE_BITS - 6)];
        let mut symbols = Vec::new();
        for word in words {
            let bytes = word.as_bytes();
            if bytes[0].is_ascii() && !is_word(bytes[0]) && !symbols.contains(&bytes[0]) {
                symbols.push(bytes[0]);
            }
            let kind = &mut first[usize::from(bytes[0])];
            // A word of two bytes may be followed by any.
            let (pair, thirds) = match *bytes {
                [a, b, c, ..] => ((a, b), c..=c),
                [a, b] => ((a, b), 0..=u8::MAX),
                _ => {
                    *kind = First::One;
                    continue;
                }
            };
            for third in thirds {
                let bit = hash(pair.0, pair.1, third);
                table[bit / 64] |= 1 << (bit % 64);
            }
            if *kind == First::None {
                *kind = First::Three;
            }
        }
        Self { first, table, symbols, trie: Trie::new(words) }
    }

    /// Show `visit` each place where a word stands in the first `len` bytes of `text`, which is padded by [`pad`]: start,
    /// end, index of the word; in the order of starts, then ends, until it breaks. Places within a word are left out.
    pub fn visit(
        &self,
        text: &[u8],
        len: usize,
        mut visit: impl FnMut(usize, usize, usize) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut in_word = 0;
        for (n, block) in text[..len.next_multiple_of(BLOCK)].as_chunks::<BLOCK>().0.iter().enumerate() {
            let words = bits(block, is_word);
            // Whether what is not ASCII is part of a word takes more than a byte to tell.
            let mut starts = (words & !(words << 1 | in_word)) | bits(block, |b| b >= 0xc0);
            in_word = words >> (BLOCK - 1);
            for symbol in &self.symbols {
                starts |= bits(block, |b| b == *symbol);
            }
            while starts != 0 {
                let at = n * BLOCK + starts.trailing_zeros() as usize;
                starts &= starts - 1;
                if self.may_begin(&text[at..]) {
                    self.trie.walk(&text[at..len], |length, word| visit(at, at + length, word))?;
                }
            }
        }
        ControlFlow::Continue(())
    }

    #[inline]
    fn may_begin(&self, text: &[u8]) -> bool {
        let [a, b, c, ..] = *text else { return false };
        match self.first[usize::from(a)] {
            First::None => false,
            First::Three => {
                let bit = hash(a, b, c);
                self.table[bit / 64] >> (bit % 64) & 1 == 1
            }
            First::One => true,
        }
    }
}

#[inline]
fn hash(a: u8, b: u8, c: u8) -> usize {
    (u32::from_le_bytes([a, b, c, 0]).wrapping_mul(0x9e37_79b1) >> (32 - TABLE_BITS)) as usize
}

/// Whether a byte of ASCII is part of a word.
#[inline]
fn is_word(byte: u8) -> bool {
    (byte | 0x20).wrapping_sub(b'a') < 26 || byte.wrapping_sub(b'0') < 10 || byte == b'_'
}

/// One bit a byte of the block: whether it is of a kind.
#[inline]
fn bits(block: &[u8; BLOCK], is: impl Fn(u8) -> bool) -> u64 {
    let mut flags = [0; BLOCK];
    for (flag, byte) in flags.iter_mut().zip(block) {
        *flag = u8::from(is(*byte));
    }
    let mut bits = 0;
    for (n, eight) in flags.as_chunks::<8>().0.iter().enumerate() {
        // The product moves the lowest bit of each byte into the highest byte, one beside the other.
        let moved = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        bits |= moved << (8 * n);
    }
    bits
}

/// Words by their bytes, one a step.
struct Trie {
    nodes: Vec<Node>,
    /// The children of all nodes: a byte, and the node it leads to.
    edges: Vec<(u8, u32)>,
    /// The words that end at nodes.
    ends: Vec<u32>,
    /// The nodes of first bytes, which are asked for most; 0, the root, for none.
    first: [u32; 256],
}

/// Ranges of the trie's edges and ends.
#[derive(Clone, Copy)]
struct Node {
    edges: (u32, u32),
    ends: (u32, u32),
}

impl Trie {
    fn new(words: &[String]) -> Self {
        let mut sorted: Vec<(&[u8], u32)> = words.iter().map(String::as_bytes).zip(0..).collect();
        sorted.sort_unstable();
        let mut trie = Self { nodes: Vec::new(), edges: Vec::new(), ends: Vec::new(), first: [0; 256] };
        // Breadth first: what stands at place n here becomes node n. A word may be too long to go down by recursion.
        let mut groups = vec![(sorted.as_slice(), 0)];
        let mut at = 0;
        while let Some((words, depth)) = groups.get(at).copied() {
            let starts = (to_u32(trie.edges.len()), to_u32(trie.ends.len()));
            let (here, longer) = words.split_at(words.partition_point(|(w, _)| w.len() == depth));
            trie.ends.extend(here.iter().map(|(_, index)| *index));
            for group in longer.chunk_by(|a, b| a.0[depth] == b.0[depth]) {
                trie.edges.push((group[0].0[depth], to_u32(groups.len())));
                groups.push((group, depth + 1));
            }
            let edges = (starts.0, to_u32(trie.edges.len()));
            trie.nodes.push(Node { edges, ends: (starts.1, to_u32(trie.ends.len())) });
            at += 1;
        }
        let root = trie.nodes[0].edges;
        for (byte, node) in &trie.edges[root.0 as usize..root.1 as usize] {
            trie.first[usize::from(*byte)] = *node;
        }
        trie
    }

    /// Show `visit` the words that `text` begins with: length and index.
    fn walk(&self, text: &[u8], mut visit: impl FnMut(usize, usize) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut next = text.first().map_or(0, |byte| self.first[usize::from(*byte)]);
        for depth in 0..text.len() {
            if next == 0 {
                break;
            }
            let node = self.nodes[next as usize];
            for word in &self.ends[node.ends.0 as usize..node.ends.1 as usize] {
                visit(depth + 1, *word as usize)?;
            }
            let edges = &self.edges[node.edges.0 as usize..node.edges.1 as usize];
            let Some(byte) = text.get(depth + 1) else { break };
            next = edges.iter().find(|(b, _)| b == byte).map_or(0, |(_, node)| *node);
        }
        ControlFlow::Continue(())
    }
}

/// Words of a list and their bytes are far fewer than 2^32.
fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
