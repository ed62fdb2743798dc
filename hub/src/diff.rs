//! Two texts line by line, for people.

use std::fmt::Write;

/// Lines around a change that are shown with it.
const AROUND: usize = 2;
/// Longer texts are not compared line by line.
const LONGEST: usize = 4000;

/// What differs between two texts: lines of `before` alone under `-`, of `after` alone under `+`.
pub fn lines(before: &str, after: &str) -> String {
    let (before, after): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    if before.len().max(after.len()) > LONGEST {
        return format!("  {} lines there, {} lines here\n", before.len(), after.len());
    }
    let steps = steps(&before, &after);
    let mut out = String::new();
    let mut told = 0;
    for (i, (mark, line)) in steps.iter().enumerate() {
        let near = &steps[i.saturating_sub(AROUND)..(i + AROUND + 1).min(steps.len())];
        if near.iter().all(|(mark, _)| *mark == ' ') {
            continue;
        }
        if i > told {
            out.push_str("  ...\n");
        }
        told = i + 1;
        let _ = writeln!(out, "  {mark} {line}");
    }
    out
}

/// The shortest way from one to the other, by the longest common subsequence.
fn steps<'a>(before: &[&'a str], after: &[&'a str]) -> Vec<(char, &'a str)> {
    let width = after.len() + 1;
    // common[i * width + j]: how many lines before[i..] and after[j..] have in common.
    let mut common = vec![0_u16; (before.len() + 1) * width];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            common[i * width + j] = if before[i] == after[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut steps = Vec::new();
    while i < before.len() || j < after.len() {
        if i < before.len() && j < after.len() && before[i] == after[j] {
            steps.push((' ', before[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == after.len() || (i < before.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            steps.push(('-', before[i]));
            i += 1;
        } else {
            steps.push(('+', after[j]));
            j += 1;
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        assert_eq!(lines("a\nb\nc\n", "a\nb\nc\n"), "");
        assert_eq!(lines("a\nb\nc\n", "a\nx\nc\n"), "    a\n  - b\n  + x\n    c\n");
        let many: Vec<String> = (0..20).map(|i| i.to_string()).collect();
        let changed = many.join("\n").replace("\n10\n", "\nten\n");
        let told = lines(&many.join("\n"), &changed);
        assert_eq!(told, "  ...\n    8\n    9\n  - 10\n  + ten\n    11\n    12\n");
    }
}
