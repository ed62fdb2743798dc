//! Languages told by a model of fastText, such as the published [`lid.176`](https://fasttext.cc/docs/en/language-identification.html):
//! pieces of words, so it is surer of short texts than trigrams are, and knows more languages. The model is a file of
//! the user's; nothing is fetched.

use std::io::Cursor;

use fasttext_pure_rs::{FastText as Model, Prediction};
use setaccio_base::{suggest, unwound::unwound};

use super::Answer;

/// More than what fastText's hundred thousandths come to: it adds one to every factor of a probability, so a label that is
/// sure comes to a little more than 1, and less on the way there.
const ROUNDING: f32 = 1e-3;

/// Labels stand in a model with this before them.
const LABEL: &str = "__label__";

/// Tells the languages to keep from all others that the model knows.
pub struct FastText {
    model: Model,
    keep: Vec<String>,
    labels: usize,
}

impl FastText {
    /// A model, as its file holds it, and the languages to keep, by the model's labels.
    ///
    /// # Errors
    /// It is no model of fastText that tells labels, or does not know a language to keep.
    pub fn new(bytes: &[u8], keep: &[String]) -> Result<Self, String> {
        Self::knowing(bytes, keep, "language")
    }

    /// The same; `what` is what its labels are to who names one that it does not know.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn knowing(bytes: &[u8], keep: &[String], what: &str) -> Result<Self, String> {
        check(bytes)?;
        let mut reader = Cursor::new(bytes);
        // The crate checks what it reads as it goes, but not every number that one part of a file says of another.
        let load = || Model::load_from_reader(&mut reader).map_err(|e| e.to_string());
        let model = unwound(load, |_| "its parts do not fit together".into())?;
        if reader.position() != bytes.len() as u64 {
            return Err("there is more in the file than a model".into());
        }
        let probe = || model.predict("la the de 1 ё 中文", usize::from(u16::MAX), 0.0).map_err(|e| e.to_string());
        let known = unwound(probe, |_| "it cannot be asked".into())?;
        let known: Vec<&str> = known.iter().map(|p| p.label.trim_start_matches(LABEL)).collect();
        if let Some(unknown) = keep.iter().find(|code| !known.contains(&code.as_str())) {
            let near = suggest::nearest(unknown, known.iter().copied());
            return Err(format!("the model knows no {what} `{unknown}`{near}"));
        }
        let labels = known.len();
        Ok(Self { model, keep: keep.to_vec(), labels })
    }

    /// How likely it is that a line of text has the first of the labels to keep, from 0 to 1.
    #[must_use]
    pub fn likely(&self, line: &str) -> f64 {
        let Ok(all) = self.model.predict(line, self.labels, 0.0) else { return 0.0 };
        let wanted = |p: &&_| self.keep.first().is_some_and(|keep| label(p) == keep);
        all.iter().find(wanted).map_or(0.0, |p| probability(p.probability))
    }

    /// The language of `text`, with the model's probability. It is in doubt where a language to keep and another are
    /// nearly as likely: where the lesser has more than `1 - doubt` of the probability of the greater.
    #[must_use]
    pub fn ask(&self, text: &str, doubt: f64) -> Answer {
        let Ok(likely) = self.model.predict(text, 1, 0.0) else { return Answer::Doubt };
        let Some(best) = likely.first().map(|p| p.probability) else { return Answer::Doubt };
        #[allow(clippy::cast_possible_truncation, reason = "a probability")]
        let least = (best * (1.0 - doubt as f32) - ROUNDING).max(0.0);
        // Only those that come near the first: to name all 176 takes longer than to tell the language.
        let Ok(near) = self.model.predict(text, self.labels, least) else { return Answer::Doubt };
        // The likeliest comes first.
        let first = |keep: bool| {
            near.iter()
                .map(|p| (p.label.trim_start_matches(LABEL), p.probability))
                .find(|(label, _)| self.keep.iter().any(|k| k == label) == keep)
        };
        match (first(true), first(false)) {
            (Some((language, p)), None) => Answer::Keep { language: language.to_owned(), confidence: probability(p) },
            (None, Some((language, p))) => Answer::other(language, probability(p)),
            _ => Answer::Doubt,
        }
    }
}

fn label(prediction: &Prediction) -> &str {
    prediction.label.trim_start_matches(LABEL)
}

/// A probability without what [`ROUNDING`] is for.
fn probability(p: f32) -> f64 {
    f64::from(p).clamp(0.0, 1.0)
}

/// The numbers at the head of a model of fastText, version 12, that say how large its parts are: a file that is none, or
/// was cut, is refused before anything is made of that size.
fn check(bytes: &[u8]) -> Result<(), String> {
    let number = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(i32::from_le_bytes);
    if number(0) != Some(793_712_314) {
        return Err("it is no model of fastText".into());
    }
    if number(4) != Some(12) {
        return Err("it is of another version of fastText's format than 12".into());
    }
    // From `dim` on twelve numbers of 4 bytes and one of 8; then the dictionary's.
    let at = |i: usize| number(8 + 4 * i).and_then(|n| usize::try_from(n).ok());
    let (Some(dim), Some(grams), Some(kind), Some(bucket), Some(min), Some(max)) =
        (at(0), at(5), at(7), at(8), at(9), at(10))
    else {
        return Err("it was cut, or is damaged".into());
    };
    let (Some(size), Some(words), Some(labels)) = (at(14), at(15), at(16)) else {
        return Err("it was cut, or is damaged".into());
    };
    if kind != 3 || labels == 0 {
        return Err("it holds vectors of words and tells no languages".into());
    }
    let sound = (1..=10_000).contains(&dim)
        && (1..=100).contains(&grams)
        && bucket > 0
        && min <= 100
        && max <= 100
        && words.checked_add(labels) == Some(size)
        // An entry takes at least a byte for the end of its word, eight for its count and one for its kind.
        && size <= bytes.len() / 10;
    if sound { Ok(()) } else { Err("it was cut, or is damaged".into()) }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;
    use crate::language::oracle;

    /// Labels as fastText's own library gives them, and probabilities as near as its look-up tables of logarithms and
    /// sigmoids allow.
    fn agree(bytes: &[u8], of: impl Fn(&oracle::Sentence) -> &Vec<(String, f64)>) {
        for sentence in oracle::sentences() {
            let (label, probability) = &of(&sentence)[0];
            let keep = FastText::new(bytes, std::slice::from_ref(label)).unwrap_or_else(|e| panic!("{label}: {e}"));
            let answer = keep.ask(&sentence.text, 0.0);
            let Answer::Keep { language, confidence } = answer else {
                panic!("not {label} but {answer:?}: {}", sentence.text)
            };
            assert_eq!(language, *label);
            assert!(
                (confidence - probability.min(1.0)).abs() < 2e-3,
                "{confidence}, not {probability}: {}",
                sentence.text
            );
        }
    }

    #[test]
    fn a_model_says_what_fasttext_says() {
        agree(&oracle::tiny(), |sentence| &sentence.tiny);
    }

    #[test]
    #[ignore = "needs the real models: SETACCIO_ASSETS, which tools/fetch-assets.sh fills"]
    fn the_published_model_says_what_fasttext_says() {
        let cache = || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/setaccio-assets");
        let assets = std::env::var_os("SETACCIO_ASSETS").map_or_else(cache, PathBuf::from);
        let bytes = fs::read(assets.join("lid176/lid.176.ftz")).unwrap_or_else(|e| panic!("lid.176.ftz: {e}"));
        agree(&bytes, |sentence| &sentence.lid_176);
    }

    #[test]
    fn two_languages_that_are_nearly_as_likely_are_a_doubt() {
        let sentences = oracle::sentences();
        let latin = sentences.iter().find(|s| s.lang == "la").unwrap_or_else(|| panic!("no Latin"));
        // By fastText, Latin has 0.569 and Catalan 0.223, which is 0.392 of it.
        let catalan = FastText::new(&oracle::tiny(), &["ca".into()]).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(catalan.ask(&latin.text, 0.7), Answer::Doubt);
        assert_eq!(catalan.ask(&latin.text, 0.5), Answer::Drop("la 0.57".into()));
    }

    #[test]
    fn a_file_that_is_no_whole_model_is_refused_in_a_sentence() {
        let whole = oracle::tiny();
        let refused = |bytes: &[u8]| FastText::new(bytes, &["it".into()]).err().unwrap_or_default();
        assert_eq!(refused(b"<html>Not found</html>"), "it is no model of fastText");
        assert_eq!(refused(&[]), "it is no model of fastText");
        for length in [8, 60, 91, 92, 500, whole.len() / 2, whole.len() - 1] {
            let message = refused(&whole[..length]);
            assert!((1..200).contains(&message.len()), "cut to {length}: {message}");
        }
        let longer: Vec<u8> = whole.iter().chain(b"x").copied().collect();
        assert_eq!(refused(&longer), "there is more in the file than a model");
        // Any damage to the numbers at its head: refused, or a model all the same, but no crash.
        for at in 0..92 {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= flip;
                let _ = FastText::new(&damaged, &["it".into()]);
            }
        }
    }

    #[test]
    fn a_language_that_the_model_does_not_know_is_named() {
        let refused = FastText::new(&oracle::tiny(), &["ita".into()]).err().unwrap_or_default();
        assert!(refused.contains("knows no language `ita` (did you mean `it`?)"), "{refused}");
    }
}
