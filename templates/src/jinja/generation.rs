//! What `{% generation %}` blocks wrote, which is transformers' own: marks stand around it until the end of rendering,
//! so that a block may lie in a macro or be filtered.

use std::ops::Range;

/// Unicode keeps these two code points free for such use: no text holds them.
pub const MARKS: [char; 2] = ['\u{FDD0}', '\u{FDD1}'];

/// The text without marks, and the bytes of it that were between them.
pub fn unmark(marked: &str) -> (String, Vec<Range<usize>>) {
    let (mut text, mut generated) = (String::with_capacity(marked.len()), Vec::new());
    let mut open = 0;
    let mut depth = 0_usize;
    for piece in marked.split_inclusive(MARKS) {
        text.push_str(piece.trim_end_matches(MARKS));
        let end = text.len();
        if piece.ends_with(MARKS[0]) {
            open = if depth == 0 { end } else { open };
            depth += 1;
        } else if piece.ends_with(MARKS[1]) {
            depth = depth.saturating_sub(1);
            if depth == 0 {
                generated.push(open..end);
            }
        }
    }
    (text, generated)
}
