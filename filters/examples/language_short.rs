//! Precision and recall of the rule `language` on short texts, by length in words and in characters.
//!
//!     cargo run --release -p setaccio-filters --example language_short -- it es,pt,ro,ca,la "" "doubt = 0" < texts.jsonl
//!
//! Reads JSON lines `{text, lang}` from standard input; `tools/language-rows.sh` fetches such. The first argument is the
//! language to keep, the second its near languages, the others are settings (TOML, `;` between keys; an empty one is the
//! default). Prints Markdown tables of three kinds of row: what a setting keeps of the language (recall), of all others, of
//! each near one, of those that whatlang does not know, and of other scripts. Precision is what it would be were there as many
//! texts of the language as of the others together: recall / (recall + share of others kept). Texts of fewer letters than
//! `min_letters` are left out: the rule does not look at them.

use std::{collections::BTreeMap, error::Error, io::BufRead};

use serde_json::Value;
use setaccio_base::row::{Kind, Row};
use setaccio_filters::{context::Context, pipeline::Pipeline, registry};

/// Texts of this many words, from the first to the second.
const WORDS: [(usize, usize); 6] = [(1, 2), (3, 5), (6, 9), (10, 15), (16, 30), (31, usize::MAX)];

/// Texts of this many characters.
const CHARS: [(usize, usize); 5] = [(20, 49), (50, 99), (100, 199), (200, 399), (400, usize::MAX)];

/// Letters from which on the rule looks at a text.
const MIN_LETTERS: usize = 20;

/// Languages of the corpus that whatlang does not know.
const UNKNOWN: [&str; 17] =
    ["bs", "eu", "ga", "is", "lg", "mi", "ms", "mt", "nn", "so", "sq", "st", "sw", "tn", "ts", "xh", "yo"];

struct Text {
    row: Row,
    language: String,
    words: usize,
    chars: usize,
    latin: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let keep = args.next().ok_or("which language? for instance `it`")?;
    let near: Vec<String> =
        args.next().ok_or("which are near? for instance `es,pt`")?.split(',').map(Into::into).collect();
    let settings: Vec<String> = args.collect();
    let mut texts = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let value: Value = serde_json::from_str(&line?)?;
        let field = |name: &str| value[name].as_str().ok_or(format!("a text has no `{name}`"));
        let text = field("text")?;
        if text.chars().filter(|c| c.is_alphabetic()).count() < MIN_LETTERS {
            continue;
        }
        let latin = text.chars().filter(|c| c.is_alphabetic()).filter(|c| *c < '\u{250}').count() * 2 > MIN_LETTERS;
        texts.push(Text {
            language: field("lang")?.to_owned(),
            words: text.split_whitespace().count(),
            chars: text.chars().count(),
            latin,
            row: Row::text(text),
        });
    }
    let kept: Vec<Vec<bool>> =
        settings.iter().map(|setting| judge(&keep, setting, &texts)).collect::<Result<_, _>>()?;
    for (unit, lengths) in [("words", &WORDS[..]), ("characters", &CHARS[..])] {
        print!("| {unit} | setting | {keep} | other | precision | recall | others");
        for code in &near {
            print!(" | {code}");
        }
        println!(" | not known | other scripts |");
        println!("|---:|---|{}", "---:|".repeat(7 + near.len()));
        for (first, last) in lengths {
            let length = |t: &Text| if unit == "words" { t.words } else { t.chars };
            for (setting, kept) in settings.iter().zip(&kept) {
                let of = |test: &dyn Fn(&Text) -> bool| {
                    let these =
                        texts.iter().zip(kept).filter(|(t, _)| (*first..=*last).contains(&length(t)) && test(t));
                    these.fold((0, 0), |(all, kept), (_, k)| (all + 1, kept + usize::from(*k)))
                };
                let own = of(&|t| t.language == keep);
                let others = of(&|t| t.language != keep);
                let (recall, wrong) = (share(own), share(others));
                let range = if *last == usize::MAX { format!("{first}+") } else { format!("{first} to {last}") };
                let name = if setting.is_empty() { "default" } else { setting };
                print!(
                    "| {range} | {name} | {} | {} | {:.3} | {recall:.3} | {wrong:.3}",
                    own.0,
                    others.0,
                    recall / (recall + wrong)
                );
                for code in &near {
                    print!(" | {:.3}", share(of(&|t| t.language == *code)));
                }
                let unknown = share(of(&|t| UNKNOWN.contains(&t.language.as_str())));
                println!(" | {unknown:.3} | {:.3} |", share(of(&|t| t.language != keep && !t.latin)));
            }
        }
        println!();
    }
    languages(&keep, &settings, &kept, &texts);
    Ok(())
}

/// The languages of which most is kept wrongly.
fn languages(keep: &str, settings: &[String], kept: &[Vec<bool>], texts: &[Text]) {
    for (setting, kept) in settings.iter().zip(kept) {
        let mut tally: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for (text, kept) in texts.iter().zip(kept).filter(|(t, _)| t.language != keep && t.words >= 10) {
            let (all, wrong) = tally.entry(&text.language).or_default();
            *all += 1;
            *wrong += usize::from(*kept);
        }
        let mut worst: Vec<(&str, (usize, usize))> = tally.into_iter().collect();
        worst.sort_by(|a, b| share(b.1).total_cmp(&share(a.1)));
        let worst: Vec<String> = worst.iter().take(12).map(|(code, t)| format!("{code} {:.3}", share(*t))).collect();
        println!("kept of ten words or more, \"{setting}\": {}", worst.join(", "));
    }
}

#[allow(clippy::cast_precision_loss, reason = "shares are shown to a few digits")]
fn share((all, some): (usize, usize)) -> f64 {
    some as f64 / all as f64
}

fn judge(keep: &str, setting: &str, texts: &[Text]) -> Result<Vec<bool>, Box<dyn Error>> {
    let mut table: toml::Table = setting.replace(';', "\n").parse()?;
    table.insert("keep".into(), vec![keep.to_owned()].into());
    let filters = registry::find("language")?.compile(table, &Context::default())?;
    let pipeline = Pipeline::new(filters, Kind::Text)?;
    Ok(texts.iter().map(|t| pipeline.apply(&mut t.row.clone(), &mut pipeline.tallies()).is_none()).collect())
}
