//! Names of the Hub's repositories where a path may stand too.

/// Owner and name of a repository, and the revision behind `@`, if that is what `text` is: `owner/name@revision`. A path of the same
/// letters is written with `./` before it.
pub fn parse(text: &str) -> Option<(&str, &str)> {
    let (repo, revision) = text.split_once('@')?;
    let (owner, name) = repo.split_once('/')?;
    let plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    let there = !revision.is_empty() && !revision.contains(|c: char| c.is_whitespace());
    (plain(owner) && plain(name) && there).then_some((repo, revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_paths() {
        for (text, found) in [
            ("minishlab/potion-base-8M@0f1e", Some(("minishlab/potion-base-8M", "0f1e"))),
            ("a/b@refs/pr/1", Some(("a/b", "refs/pr/1"))),
            ("a/b", None),
            ("../models/a@1", None),
            ("./a/b@1", None),
            ("/a/b@1", None),
            ("~/a@1", None),
            ("a/b/c@1", None),
            ("b@1", None),
            ("a/b@", None),
        ] {
            assert_eq!(parse(text), found, "{text}");
        }
    }
}
