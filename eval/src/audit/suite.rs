//! The sentences and lists of an audit: the structs are its TOML tables.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, Serialize};
use setaccio_base::{sha256::hex_digest, suggest};

use crate::error::{Error, Result};

/// The suite that the program carries.
pub const ITALIAN: &str = include_str!("../../audit/it.toml");

/// A whole suite.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Names it.
    pub name: String,
    /// Goes up when a sentence changes.
    pub version: u32,
    /// The language of its sentences, as ISO 639-1 has it.
    pub language: String,
    /// Lists of predicates, by name.
    #[serde(default)]
    pub phrases: BTreeMap<String, Vec<String>>,
    /// Which of two answers is likelier.
    #[serde(default)]
    pub association: Option<Association>,
    /// Sentences that differ in who is spoken of.
    #[serde(default)]
    pub pairs: Vec<Pairs>,
    /// Which gender is given where none is told.
    #[serde(default)]
    pub masculine: Option<Masculine>,
    /// The same questions in several forms.
    #[serde(default)]
    pub parity: Option<Parity>,
    /// What is refused.
    #[serde(default)]
    pub refusals: Option<Refusals>,
    /// What is written about two people who differ in one attribute.
    #[serde(default)]
    pub generation: Option<Generation>,
}

/// `[association]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Association {
    /// Questions with `{phrase}`, `{a}` and `{b}`; the answer follows after a space.
    pub templates: Vec<String>,
    /// What is asked.
    pub test: Vec<AssociationTest>,
}

/// `[[association.test]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssociationTest {
    /// What the answers differ in.
    pub axis: String,
    /// A line for people.
    pub about: String,
    /// One list of phrases.
    pub x: String,
    /// The other.
    pub y: String,
    /// The answer that prejudice gives to `x`.
    pub a: String,
    /// The answer that prejudice gives to `y`.
    pub b: String,
}

/// `[[pairs]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pairs {
    /// What the subjects differ in.
    pub axis: String,
    /// What the first subjects have in common.
    pub first: String,
    /// What the second have.
    pub second: String,
    /// Subjects of sentences, the first and the second.
    pub subjects: Vec<[String; 2]>,
}

/// `[masculine]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Masculine {
    /// Subjects of which the article tells no gender.
    pub nouns: Vec<String>,
    /// What follows them, with the masculine ending and with the feminine one.
    pub predicates: Vec<[String; 2]>,
}

/// `[parity]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parity {
    /// The form that the others are compared with.
    pub reference: String,
    /// What is asked.
    pub question: Vec<Question>,
}

/// `[[parity.question]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question {
    /// Answers; the first is right.
    pub choices: Vec<String>,
    /// The question in each form, by the form's name.
    #[serde(flatten)]
    pub forms: BTreeMap<String, String>,
}

/// `[refusals]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusals {
    /// What an answer holds that refuses, in small letters or not.
    pub phrases: Vec<String>,
    /// Requests that should be refused.
    pub harmful: Vec<String>,
    /// Requests that only look like it.
    pub harmless: Vec<String>,
}

/// `[generation]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generation {
    /// Requests with `{person}`.
    pub prompts: Vec<String>,
    /// Who is put in.
    pub pair: Vec<Persons>,
}

/// `[[generation.pair]]`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persons {
    /// What the two differ in.
    pub axis: String,
    /// One.
    pub first: String,
    /// The other.
    pub second: String,
}

impl Suite {
    /// Read the suite in `path`, or the one that the program carries.
    ///
    /// # Errors
    /// It is missing, not TOML, says something unknown, or contradicts itself.
    pub fn open(path: Option<&Path>) -> Result<(Self, String)> {
        let (name, text) = match path {
            None => ("the bundled suite".to_owned(), ITALIAN.to_owned()),
            Some(path) => {
                let text =
                    fs::read_to_string(path).map_err(|e| Error::task(&path.display().to_string(), e.to_string()))?;
                (path.display().to_string(), text)
            }
        };
        let suite: Self =
            toml::from_str(&text).map_err(|e| Error::task(&name, suggest::explain(&e.to_string(), e.message())))?;
        suite.check().map_err(|e| Error::task(&name, e))?;
        Ok((suite, hex_digest(text.as_bytes())))
    }

    fn check(&self) -> Result<(), String> {
        for (name, phrases) in &self.phrases {
            several(&format!("`phrases.{name}`"), phrases, 2)?;
        }
        if let Some(association) = &self.association {
            several("`association.templates`", &association.templates, 1)?;
            for template in &association.templates {
                if let Some(lacks) = ["{phrase}", "{a}", "{b}"].iter().find(|part| !template.contains(**part)) {
                    return Err(format!("a template of `association` lacks {lacks}: {template:?}"));
                }
            }
            for list in association.test.iter().flat_map(|test| [&test.x, &test.y]) {
                if !self.phrases.contains_key(list) {
                    let known: Vec<_> = self.phrases.keys().map(|key| format!("`{key}`")).collect();
                    return Err(format!("there is no list `phrases.{list}`; there are {}", known.join(", ")));
                }
            }
        }
        for pairs in &self.pairs {
            if pairs.subjects.is_empty() {
                return Err(format!("the pairs of {} and {} have no `subjects`", pairs.first, pairs.second));
            }
        }
        if !self.pairs.is_empty() && ["good", "bad"].iter().any(|list| !self.phrases.contains_key(*list)) {
            return Err(
                "`pairs` put the lists `phrases.good` and `phrases.bad` behind their subjects: give both".into()
            );
        }
        if let Some(Masculine { nouns, predicates }) = &self.masculine {
            several("`masculine.nouns`", nouns, 2)?;
            if predicates.is_empty() {
                return Err("`masculine.predicates` is empty".into());
            }
        }
        if let Some(parity) = &self.parity {
            let forms = parity.forms();
            for (i, question) in parity.question.iter().enumerate() {
                several(&format!("`choices` of question {i} of `parity` (from 0)"), &question.choices, 2)?;
                if !question.forms.keys().eq(&forms) {
                    return Err(format!(
                        "question {i} of `parity` (from 0) has other forms than the first: each has all"
                    ));
                }
            }
            if !forms.contains(&parity.reference) {
                return Err(format!("no question of `parity` has its reference, `{}`", parity.reference));
            }
        }
        if let Some(refusals) = &self.refusals {
            several("`refusals.phrases`", &refusals.phrases, 1)?;
        }
        if let Some(generation) = &self.generation
            && let Some(prompt) = generation.prompts.iter().find(|prompt| !prompt.contains("{person}"))
        {
            return Err(format!("a prompt of `generation` lacks {{person}}: {prompt:?}"));
        }
        Ok(())
    }
}

impl Parity {
    /// The names of the forms, in order.
    pub fn forms(&self) -> Vec<String> {
        self.question.first().map(|first| first.forms.keys().cloned().collect()).unwrap_or_default()
    }
}

/// That a list has at least so many entries, and none twice.
fn several(name: &str, list: &[String], least: usize) -> Result<(), String> {
    if list.len() < least {
        return Err(format!("{name} has {} entries, and needs at least {least}", list.len()));
    }
    match list.iter().enumerate().find(|(i, entry)| list[..*i].contains(entry)) {
        Some((_, twice)) => Err(format!("{name} has {twice:?} twice")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_suite_is_as_large_as_it_says() {
        let (suite, sha256) = Suite::open(None).unwrap();
        assert_eq!(sha256.len(), 64);
        // 385 pairs tell a share to five points either way.
        let phrases = suite.phrases["good"].len() + suite.phrases["bad"].len();
        for pairs in &suite.pairs {
            assert!(pairs.subjects.len() * phrases >= 400, "{} {}", pairs.axis, pairs.second);
        }
        for test in &suite.association.as_ref().unwrap().test {
            assert!(suite.phrases[&test.x].len() >= 24 && suite.phrases[&test.y].len() >= 24, "{}", test.axis);
        }
        assert_eq!(suite.parity.unwrap().forms(), ["lei", "neapolitan", "regional", "tu"]);
    }

    #[test]
    fn what_a_suite_lacks_is_said() {
        let check = |text: &str| toml::from_str::<Suite>(text).map_err(|e| e.to_string()).and_then(|s| s.check());
        let head = "name = 'a'\nversion = 1\nlanguage = 'it'\n";
        for (rest, said) in [
            ("[association]\ntemplates = ['{phrase} {a}']\ntest = []", "lacks {b}"),
            ("[masculine]\nnouns = ['a', 'a']\npredicates = [['b', 'c']]", "twice"),
            ("[parity]\nreference = 'tu'\nquestion = [{ choices = ['a', 'b'], lei = 'c' }]", "reference"),
            ("[generation]\nprompts = ['ciao']\npair = []", "{person}"),
            ("[[pairs]]\naxis = 'a'\nfirst = 'b'\nsecond = 'c'\nsubjects = [['d', 'e']]", "phrases.good"),
            ("phrase = 1", "unknown field"),
        ] {
            let why = check(&format!("{head}{rest}")).unwrap_err();
            assert!(why.contains(said), "{why}");
        }
    }
}
