//! Languages told by whatlang: letters and trigrams of a text beside those of 70 languages. It needs no file.

use whatlang::{Detector, Info, Lang, Script};

use super::{Answer, scripts::Scripts};
use crate::codes::CODES;

/// A language and how clearly it leads.
pub struct Lead {
    /// Its code.
    pub language: &'static str,
    /// Whether it is one to keep.
    pub keep: bool,
    /// How far it leads, from 0 to 1: the second of all, or at least its rivals, which are the languages to keep, if it is
    /// none, and else the others.
    pub confidence: f64,
}

impl Lead {
    fn new(info: &Info, keep: bool, confidence: f64) -> Self {
        Self { language: code(info.lang()), keep, confidence }
    }
}

/// Tells the languages to keep from all others that whatlang knows.
pub struct Trigrams {
    keep: Vec<Lang>,
    /// Every other language.
    others: Vec<Lang>,
    /// The candidates and those to keep, if these are not all.
    candidates: Option<Detector>,
    all: Detector,
}

impl Trigrams {
    /// For these languages to keep, and those that may rule a text out before all are asked.
    #[must_use]
    pub fn new(keep: Vec<Lang>, candidates: &[Lang]) -> Self {
        let others = Lang::all().iter().copied().filter(|l| !keep.contains(l)).collect();
        let first: Vec<Lang> =
            Lang::all().iter().copied().filter(|l| candidates.contains(l) || keep.contains(l)).collect();
        let candidates = (first.len() < Lang::all().len()).then(|| Detector::with_allowlist(first));
        Self { keep, others, candidates, all: Detector::new() }
    }

    /// The candidate that leads all others and those to keep beyond doubt. If it is not to be kept, neither is the text:
    /// where more languages are compared another may lead, but none of those to keep, as how near a text is to one
    /// language does not depend on which others are compared. If it is, a language that was not compared may be nearer
    /// yet, unless `supported` knows better.
    #[must_use]
    pub fn first(&self, text: &str, supported: impl FnOnce(&str) -> bool) -> Option<Lead> {
        let info = self.candidates.as_ref()?.detect(text).filter(|info| info.confidence() >= 1.0)?;
        let lead = Lead::new(&info, self.keep.contains(&info.lang()), 1.0);
        // With Chinese no candidate, whatlang takes Han for Japanese.
        let answers = if lead.keep { supported(lead.language) } else { info.script() != Script::Mandarin };
        answers.then_some(lead)
    }

    /// The language that leads all others, and by how much. A lead of `enough` over the second of all is not looked into;
    /// else the languages to keep and the others are each other's rivals: that Catalan and Spanish are near each other
    /// is no doubt whether a text is Italian.
    #[must_use]
    pub fn lead(&self, text: &str, enough: f64) -> Option<Lead> {
        let info = self.all.detect(text)?;
        let keep = self.keep.contains(&info.lang());
        if info.confidence() >= enough {
            return Some(Lead::new(&info, keep, info.confidence()));
        }
        let rivals = if keep { &self.others } else { &self.keep };
        // whatlang's confidence, were there only the rivals; it is never less than that over the second of all.
        let pair = Detector::with_allowlist(rivals.iter().copied().chain([info.lang()]).collect());
        let over = pair.detect(text).filter(|first| first.lang() == info.lang());
        Some(Lead::new(&info, keep, over.map_or(info.confidence(), |first| first.confidence())))
    }

    /// The language of a text that is of none of `scripts`, as far as whatlang knows one, and its confidence.
    #[must_use]
    pub fn foreign(&self, text: &str, scripts: &Scripts) -> Option<Answer> {
        let info = self.all.detect(text).filter(|info| !scripts.have(info.script()))?;
        Some(Answer::other(code(info.lang()), info.confidence()))
    }
}

/// The code of a language.
fn code(lang: Lang) -> &'static str {
    CODES.iter().find(|(_, l)| *l == lang).map_or("und", |(code, _)| code)
}
