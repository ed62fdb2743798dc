//! Scripts: what a text is written in says which languages it cannot be of, whatever its words are.

use unicode_script::{Script, UnicodeScript};
use whatlang::Lang;

/// Scripts that languages are written in.
#[derive(Clone, Debug)]
pub struct Scripts(Vec<Script>);

/// The letters of a text, by whether their script is one of [`Scripts`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Letters {
    /// Of these scripts.
    pub within: usize,
    /// Of others.
    pub outside: usize,
    /// The first other script that leads the rest by [Boyer and Moore's vote](https://www.cs.utexas.edu/~moore/best-ideas/mjrty/):
    /// the one most of `outside` is of, if there is such a one.
    pub foreign: Option<Script>,
}

impl Scripts {
    /// The scripts of `languages`.
    #[must_use]
    pub fn of(languages: &[Lang]) -> Self {
        let known = whatlang::Script::all().iter();
        let mut scripts: Vec<Script> =
            known.filter(|s| s.langs().iter().any(|l| languages.contains(l))).map(|s| unicode(*s)).collect();
        // What whatlang lists beside Hiragana is not all that Japanese is written in; Korean has some Han too.
        if languages.iter().any(|l| matches!(l, Lang::Jpn)) {
            scripts.extend([Script::Han, Script::Hiragana, Script::Katakana]);
        }
        if languages.contains(&Lang::Kor) {
            scripts.push(Script::Han);
        }
        if languages.contains(&Lang::Cmn) {
            scripts.push(Script::Bopomofo);
        }
        Self(scripts)
    }

    /// Whether a script of whatlang is one of them.
    #[must_use]
    pub fn have(&self, script: whatlang::Script) -> bool {
        self.0.contains(&unicode(script))
    }

    /// Count the letters of `text`. Those of no script of their own, such as `ª` in mathematics, count nowhere.
    #[must_use]
    pub fn letters(&self, text: &str) -> Letters {
        let latin = self.0.contains(&Script::Latin);
        let mut letters = Letters::default();
        let mut lead = 0_usize;
        for c in text.chars() {
            if c.is_ascii() {
                if c.is_ascii_alphabetic() {
                    if latin {
                        letters.within += 1;
                        continue;
                    }
                } else {
                    continue;
                }
            }
            let script = c.script();
            if !c.is_alphabetic() || matches!(script, Script::Common | Script::Inherited | Script::Unknown) {
                continue;
            }
            if self.0.contains(&script) {
                letters.within += 1;
                continue;
            }
            letters.outside += 1;
            if lead == 0 {
                letters.foreign = Some(script);
            }
            if letters.foreign == Some(script) { lead += 1 } else { lead -= 1 }
        }
        letters
    }
}

/// The name that Unicode has for a script of whatlang.
fn unicode(script: whatlang::Script) -> Script {
    match script {
        whatlang::Script::Arabic => Script::Arabic,
        whatlang::Script::Armenian => Script::Armenian,
        whatlang::Script::Bengali => Script::Bengali,
        whatlang::Script::Cyrillic => Script::Cyrillic,
        whatlang::Script::Devanagari => Script::Devanagari,
        whatlang::Script::Ethiopic => Script::Ethiopic,
        whatlang::Script::Georgian => Script::Georgian,
        whatlang::Script::Greek => Script::Greek,
        whatlang::Script::Gujarati => Script::Gujarati,
        whatlang::Script::Gurmukhi => Script::Gurmukhi,
        whatlang::Script::Hangul => Script::Hangul,
        whatlang::Script::Hebrew => Script::Hebrew,
        whatlang::Script::Hiragana => Script::Hiragana,
        whatlang::Script::Kannada => Script::Kannada,
        whatlang::Script::Katakana => Script::Katakana,
        whatlang::Script::Khmer => Script::Khmer,
        whatlang::Script::Latin => Script::Latin,
        whatlang::Script::Malayalam => Script::Malayalam,
        whatlang::Script::Mandarin => Script::Han,
        whatlang::Script::Myanmar => Script::Myanmar,
        whatlang::Script::Oriya => Script::Oriya,
        whatlang::Script::Sinhala => Script::Sinhala,
        whatlang::Script::Tamil => Script::Tamil,
        whatlang::Script::Telugu => Script::Telugu,
        whatlang::Script::Thai => Script::Thai,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted_by_script() {
        let italian = Scripts::of(&[Lang::Ita]);
        for (text, within, outside, foreign) in [
            ("Perché no? 12 €", 8, 0, None),
            ("Il quotidiano «Правда» dice", 16, 6, Some(Script::Cyrillic)),
            ("ລົດໄຟ bus", 3, 5, Some(Script::Lao)),
            // Mathematical letters are of no script; `ª` is Latin.
            ("𝑥𝑦 1ª", 1, 0, None),
            ("αβ гд еж", 0, 6, Some(Script::Cyrillic)),
        ] {
            assert_eq!(italian.letters(text), Letters { within, outside, foreign }, "{text}");
        }
    }

    #[test]
    fn japanese_and_korean_are_written_in_several_scripts() {
        let outside = |lang, text| Scripts::of(&[lang]).letters(text).outside;
        assert_eq!(outside(Lang::Jpn, "電車はテレビ"), 0);
        assert_eq!(outside(Lang::Kor, "대한민국 大韓民國"), 0);
        assert_eq!(outside(Lang::Cmn, "火車 ㄏㄨㄛ"), 0);
        assert_eq!(outside(Lang::Cmn, "電車は"), 1);
    }
}
