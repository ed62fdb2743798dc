//! The pieces that a prompt is read in. They are made of blocks of the same places in every prompt, so that what is computed of a
//! block does not depend on where reading began.

use std::ops::Range;

use crate::kernels::Span;

/// Tokens of a block.
pub const BLOCK: usize = 16;
/// Tokens of a piece.
const PIECE: usize = 32 * BLOCK;

/// The next piece of a prompt of `end` tokens, of which `read` are read: from the block on that is not read whole.
pub fn next(read: usize, end: usize) -> Range<usize> {
    let start = read / BLOCK * BLOCK;
    start..end.min(start + PIECE)
}

/// The blocks of a piece: its first token is row `q` of what is computed, and the first of its text has its keys in row `k`.
pub fn blocks(piece: &Range<usize>, q: usize, k: usize) -> impl Iterator<Item = Span> {
    piece.clone().step_by(BLOCK).map({
        let Range { start: first, end } = *piece;
        move |start| {
            let end = end.min(start + BLOCK);
            Span { q: q + start - first, q_len: end - start, k, k_len: end }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_blocks_but_for_the_end() {
        assert_eq!(
            [next(0, 5), next(4, 5), next(0, 600), next(512, 600), next(47, 600)],
            [0..5, 0..5, 0..512, 512..600, 32..544]
        );
        let blocks: Vec<Span> = blocks(&(32..70), 5, 100).collect();
        let span = |q, q_len, k_len| Span { q, q_len, k: 100, k_len };
        assert_eq!(blocks, [span(5, 16, 48), span(21, 16, 64), span(37, 6, 70)]);
    }
}
