//! Templates with pieces cut out, doubled and put elsewhere are rendered or refused: none crashes, and none takes long.

use std::{collections::BTreeMap, fs, time::Instant};

use serde::Deserialize;
use setaccio_base::row::Message;
use setaccio_templates::{Clock, End, Renderer};

#[derive(Deserialize)]
struct Oracle {
    messages: Vec<Message>,
    groups: BTreeMap<String, Vec<(String, Option<String>)>>,
}

/// A generator of the linear congruential kind, with Knuth's constants.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit.max(1)
    }
}

/// Words, signs and white space.
fn pieces(template: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    for c in template.chars() {
        match pieces.last_mut() {
            Some(last) if c.is_alphanumeric() && last.ends_with(char::is_alphanumeric) => last.push(c),
            _ => pieces.push(c.to_string()),
        }
    }
    pieces
}

#[test]
fn no_template_crashes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracles/jinja.json");
    let oracle: Oracle = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    // Those that ask for too much, too.
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/template");
    let mut seeds: Vec<_> = fs::read_dir(seeds).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    let seeds: Vec<String> = seeds.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let seeds = seeds.iter().map(|seed| seed.split('\u{1}').next().unwrap_or_default());
    let templates = oracle.groups.values().flatten().map(|(template, _)| template.as_str()).chain(seeds);
    let templates: Vec<Vec<String>> = templates.map(pieces).filter(|p| !p.is_empty()).collect();
    let rounds = std::env::var("ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(4000);
    let mut numbers = Numbers(42);
    let mut rendered = 0;
    for _ in 0..rounds {
        let mut template = templates[numbers.below(templates.len())].clone();
        for _ in 0..=numbers.below(3) {
            let at = numbers.below(template.len());
            let other = &templates[numbers.below(templates.len())];
            match numbers.below(4) {
                0 => drop(template.drain(at..(at + 1 + numbers.below(3)).min(template.len()))),
                1 => template.insert(at, other[numbers.below(other.len())].clone()),
                2 => template.insert(at, template[numbers.below(template.len().max(1)).min(at)].clone()),
                _ => template.extend(other.iter().skip(numbers.below(other.len())).cloned()),
            }
            if template.is_empty() {
                break;
            }
        }
        let template = template.concat();
        let began = Instant::now();
        if let Ok(renderer) = Renderer::new(Some(&template), None, "<s>", "") {
            let renderer = renderer.at(Clock::date("2026-01-05"));
            rendered += usize::from(renderer.chat(&oracle.messages, None, End::Prompt).is_ok());
        }
        assert!(began.elapsed().as_secs() < 120, "{template}");
    }
    assert!(rendered > rounds / 20, "{rendered} of {rounds} were rendered");
}
