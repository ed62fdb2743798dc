//! What is taken out of written answers, and when two texts are the same.

use regex::Regex;

use crate::{
    recipe::{Extract, Generate, expression},
    whitespace,
};

/// What stands for an answer in which nothing is found.
const NONE: &str = "[invalid]";

/// Takes a part out of an answer.
pub struct Extractor {
    regex: Regex,
    pick: i32,
}

impl Extractor {
    /// As a task says.
    ///
    /// # Errors
    /// Its expression is none.
    pub fn new(extract: &Extract) -> Result<Self, String> {
        Ok(Self { regex: expression(&extract.regex)?, pick: extract.pick })
    }

    /// The part.
    pub fn take(&self, text: &str) -> String {
        let found: Vec<&str> = self
            .regex
            .captures_iter(text)
            .map(|captures| {
                let groups = captures.iter().skip(usize::from(captures.len() > 1)).flatten();
                groups.map(|group| group.as_str()).find(|group| !group.is_empty()).unwrap_or_default()
            })
            .collect();
        let place = usize::try_from(self.pick.unsigned_abs()).unwrap_or(usize::MAX);
        let at = if self.pick < 0 { found.len().checked_sub(place) } else { Some(place) };
        match at.and_then(|at| found.get(at)) {
            // Several groups of which none has anything are as good as no match.
            Some(part) if !(part.is_empty() && self.regex.captures_len() > 2) => whitespace::strip(part).to_owned(),
            _ => NONE.to_owned(),
        }
    }
}

/// Whether two texts are the same.
pub struct Comparison<'a> {
    ignore: Vec<Regex>,
    of: &'a Generate,
}

impl<'a> Comparison<'a> {
    /// As a task says.
    ///
    /// # Errors
    /// An expression is none.
    pub fn new(of: &'a Generate) -> Result<Self, String> {
        Ok(Self { ignore: of.ignore.iter().map(|regex| expression(regex)).collect::<Result<_, _>>()?, of })
    }

    /// Whether they are.
    pub fn same(&self, answer: &str, target: &str) -> bool {
        self.bare(answer) == self.bare(target)
    }

    fn bare(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for regex in &self.ignore {
            text = regex.replace_all(&text, "").into_owned();
        }
        if self.of.ignore_case {
            text = text.to_lowercase();
        }
        if self.of.ignore_punctuation {
            text.retain(|c| !c.is_ascii_punctuation());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(regex: &str, pick: i32, text: &str) -> String {
        let extract = Extract { name: "x".into(), regex: regex.into(), pick };
        Extractor::new(&extract).unwrap_or_else(|e| panic!("{e}")).take(text)
    }

    #[test]
    fn parts_are_those_of_the_harness() {
        // lm_eval.filters.extraction.RegexFilter(regex, group_select).apply([[text]], [{}])
        let strict = r"#### (\-?[0-9\.\,]+)";
        let flexible = r"(-?[$0-9.,]{2,})|(-?[0-9]+)";
        for (regex, pick, text, part) in [
            (strict, 0, "3 + 4 = 7\n#### 7\n#### 8", "7"),
            (strict, 0, "the answer is 7", "[invalid]"),
            (strict, 0, "#### -1,250.50 euros", "-1,250.50"),
            (flexible, -1, "first 3, then $1,200. So 5", "5"),
            (flexible, -1, "it is $1,200.", "$1,200."),
            (flexible, 0, "first 3, then 44", "3,"),
            (flexible, -1, "none", "[invalid]"),
            (r"[A-D]", 0, "(B) or C", "B"),
            (r"x( *)y", 0, "x  y", ""),
            (r"(a*)b|(c*)d", 0, "b", "[invalid]"),
        ] {
            assert_eq!(take(regex, pick, text), part, "{regex} of {text}");
        }
    }

    #[test]
    fn texts_are_compared_without_what_is_ignored() {
        let generate = Generate {
            prompt: String::new(),
            target: String::new(),
            stop: Vec::new(),
            max_tokens: 1,
            extract: Vec::new(),
            ignore: [",", "\\$", "(?s).*#### ", "\\.$"].map(str::to_owned).to_vec(),
            ignore_case: true,
            ignore_punctuation: false,
        };
        let compare = Comparison::new(&generate).unwrap_or_else(|e| panic!("{e}"));
        for (answer, target, same) in
            [("1,250.", "so\n#### 1250", true), ("$8", "#### 8", true), ("8.0", "#### 8", false), ("A", "a", true)]
        {
            assert_eq!(compare.same(answer, target), same, "{answer} {target}");
        }
    }
}
