//! Scripts that write words without spaces between them: Han, kana, Thai, Lao, Khmer and Myanmar.
//!
//! A listed word of such a script is found inside running text, as C4 finds it. Where words are counted, those of
//! these scripts are estimated: to tell them apart takes a dictionary for each language.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What words are to a rule that counts them, where a script has no spaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Spaceless {
    /// They are estimated from the letters.
    #[default]
    Estimate,
    /// A run of letters between white space is one word, as it was to C4.
    Run,
}

/// A script, or several that share a length of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    /// Chinese characters and the syllables of Japanese.
    HanKana,
    /// Thai, Lao and Khmer.
    ThaiLaoKhmer,
    /// Burmese and its neighbours.
    Myanmar,
}

/// The script of a character, if it is one without spaces. Blocks of
/// [Unicode](https://www.unicode.org/Public/UCD/latest/ucd/Blocks.txt); what is no letter in them is told by other means.
fn script(c: char) -> Option<Script> {
    match c {
        '\u{e00}'..='\u{eff}' | '\u{1780}'..='\u{17ff}' | '\u{19e0}'..='\u{19ff}' => Some(Script::ThaiLaoKhmer),
        '\u{1000}'..='\u{109f}' | '\u{a9e0}'..='\u{a9ff}' | '\u{aa60}'..='\u{aa7f}' => Some(Script::Myanmar),
        // Radicals, iteration marks and the zero among ideographs; kana, also of half width.
        '\u{2e80}'..='\u{2fdf}'
        | '\u{3005}'..='\u{3007}'
        | '\u{3021}'..='\u{3029}'
        | '\u{3031}'..='\u{30ff}'
        | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{ff66}'..='\u{ff9f}'
        | '\u{1aff0}'..='\u{1b16f}'
        | '\u{20000}'..='\u{3ffff}' => Some(Script::HanKana),
        _ => None,
    }
}

/// Whether words that this character is part of stand without spaces.
pub fn is_spaceless(c: char) -> bool {
    c >= '\u{e00}' && script(c).is_some()
}

/// The number of words of a text, which stand between white space; those of scripts without spaces are estimated from
/// their letters, which comes within 5% of what ICU's dictionaries count (`tests/oracles/segments.mjs`).
pub fn count_words(text: &str) -> usize {
    // Most text holds none of these scripts, and most of that no byte that they begin with.
    if !may_be_spaceless(text) {
        return text.split_whitespace().count();
    }
    let mut words = 0;
    let mut letters = Letters::default();
    for token in text.split_whitespace() {
        if !token.contains(is_spaceless) {
            words += 1;
            continue;
        }
        // What stands between them is a word each: `iPhone` in a Japanese sentence.
        words += token.split(is_spaceless).filter(|piece| piece.contains(char::is_alphanumeric)).count();
        token.chars().for_each(|c| letters.count(c));
    }
    words + letters.words()
}

/// Whether `text` has at least `min` words, as [`count_words`] counts them.
pub fn has_words(text: &str, min: usize) -> bool {
    min == 0 || text.split_whitespace().nth(min - 1).is_some() || (may_be_spaceless(text) && count_words(text) >= min)
}

fn may_be_spaceless(text: &str) -> bool {
    // E0 to F0 begin U+0800 and more; E2 begins the dashes and quotes of any language, and radicals, which are rare.
    text.bytes().any(|b| b >= 0xe0) && text.contains(is_spaceless)
}

/// Letters of scripts without spaces, by the lengths of their words.
#[derive(Default)]
struct Letters {
    han_kana: usize,
    thai_lao_khmer: usize,
    myanmar: usize,
}

impl Letters {
    /// Count `c`, if it is a letter of these scripts. Vowels and tones written around a letter are none.
    fn count(&mut self, c: char) {
        if !c.is_alphanumeric() || unicode_normalization::char::is_combining_mark(c) {
            return;
        }
        match script(c) {
            Some(Script::HanKana) => self.han_kana += 1,
            Some(Script::ThaiLaoKhmer) => self.thai_lao_khmer += 1,
            Some(Script::Myanmar) => self.myanmar += 1,
            None => {}
        }
    }

    /// At 1.7 Han characters or kana a word, 3.2 letters of Thai, Lao or Khmer, 2.2 of Myanmar; rounded up.
    fn words(&self) -> usize {
        let of = |letters: usize, tenths: usize| (letters * 10).div_ceil(tenths);
        of(self.han_kana, 17) + of(self.thai_lao_khmer, 32) + of(self.myanmar, 22)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_are_near_what_dictionaries_count() {
        let oracle: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/oracles/segments.json")).unwrap_or_else(|e| panic!("{e}"));
        let declarations = oracle["declarations"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(declarations.len(), 7);
        for declaration in declarations {
            let number =
                |key: &str| declaration[key].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or_default();
            let text = declaration["letter"].as_str().unwrap_or_default().repeat(number("letters"));
            let (estimate, words) = (count_words(&text), number("words"));
            assert!(estimate.abs_diff(words) * 20 <= words, "{}: {estimate}, not {words}", declaration["file"]);
        }
    }

    #[test]
    fn other_words_stand_between_white_space() {
        for (text, words) in [
            ("", 0),
            ("L’età dell’oro… — e poi", 5),
            ("Home  |  Contatti", 3),
            ("今日はiPhoneを買いました。", 7),
            ("한국어는 띄어쓰기를 한다.", 3),
            ("東京、 京都。", 3),
            ("日", 1),
            ("。、", 1),
            ("ไทย", 1),
        ] {
            assert_eq!(count_words(text), words, "{text}");
            assert!(has_words(text, words) && !has_words(text, words + 1), "{text}");
        }
    }
}
