//! The hashes that a row is known by: its id, what deduplication compares, its place in the output.

use std::borrow::Cow;

use serde_json::Value;
use setaccio_base::{
    nfc::nfc,
    row::{Content, Message},
};
use setaccio_dataset::recipe::{Dedup, DedupOn};
use setaccio_filters::fold::lowercase_into;
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_seed};

/// Splits must not move when a recipe's seed does.
const SPLIT_SEED: u64 = 0x5e7a_cc10;

/// What sampling, shuffling, splitting and deduplication go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Seeded hash of `same`: the order of the output; the smallest make a sample.
    pub order: u64,
    /// Hash of the normalised content: equal for rows that are the same.
    pub same: u128,
}

impl Key {
    /// The key of `content` under a recipe's seed and its notion of sameness.
    pub fn new(content: &Content, dedup: &Dedup, seed: u64) -> Self {
        let same = same(content, dedup);
        Self { order: xxh3_64_with_seed(&same.to_le_bytes(), seed), same }
    }

    /// Which of `buckets` (a power of two) equal ranges of `order` it falls in.
    pub fn bucket(&self, buckets: u32) -> u32 {
        bucket(self.order, buckets)
    }

    /// Whether the row is of the validation split of this share.
    pub fn in_validation(&self, share: f64) -> bool {
        below(xxh3_64_with_seed(&self.same.to_le_bytes(), SPLIT_SEED), share)
    }

    /// Whether the row is of a sample of this share.
    pub fn in_sample(&self, share: f64) -> bool {
        below(self.order, share)
    }
}

/// Which of `buckets` (a power of two) equal ranges a uniform hash falls in.
pub fn bucket(hash: u64, buckets: u32) -> u32 {
    if buckets <= 1 { 0 } else { u32::try_from(hash >> (64 - buckets.trailing_zeros())).unwrap_or(0) }
}

/// Whether a uniform hash falls below `share` of its range.
fn below(hash: u64, share: f64) -> bool {
    // 53 bits are what an f64 holds exactly.
    #[allow(clippy::cast_precision_loss, reason = "both sides are below 2^53")]
    let unit = (hash >> 11) as f64 / (1_u64 << 53) as f64;
    unit < share
}

/// The row's id: SHA-256 of its content, the first 128 bits. For a text that is
/// `hashlib.sha256(text.encode()).hexdigest()[:32]`; in chats each message is `role U+001F content U+001E`,
/// and the sides of a preference are joined by U+001D. What a message holds beside role and content comes before its
/// U+001E as U+001C and an object of JSON, and the tools come last, likewise; keys are sorted, without white space.
pub fn id(content: &Content) -> [u8; 16] {
    let mut hash = Sha256::new();
    feed(content, DedupOn::Row, &mut |part| hash.update(part.bytes()));
    let mut id = [0; 16];
    id.copy_from_slice(&hash.finalize()[..16]);
    id
}

/// The hash of the normalised content.
fn same(content: &Content, dedup: &Dedup) -> u128 {
    let mut hash = Xxh3::new();
    let mut buffer = Vec::new();
    feed(content, dedup.on, &mut |part| match part {
        Part::Text(text) => hash.update(normalise(text, dedup, &mut buffer)),
        Part::Exact(bytes) => hash.update(bytes),
    });
    hash.digest128()
}

/// The hash of a part of a text, by the same notion of sameness. What it leaves nothing of is itself.
pub fn part(text: &str, dedup: &Dedup, buffer: &mut Vec<u8>) -> u64 {
    let normal = normalise(text, dedup, buffer);
    if normal.is_empty() { xxh3_64(text.as_bytes()) } else { xxh3_64(normal) }
}

/// Unicode NFC always, so that one text typed in two ways is one; the rest as the recipe says.
fn normalise<'a>(text: &str, dedup: &Dedup, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    let mut text = nfc(text);
    if dedup.punctuation {
        text = Cow::Owned(text.chars().filter(|c| c.is_alphanumeric() || c.is_whitespace()).collect());
    }
    match (dedup.lowercase, dedup.whitespace) {
        (true, true) => lowercase_into(&text, buffer),
        (lowercase, whitespace) => {
            buffer.clear();
            let words =
                if whitespace { text.split_whitespace().collect::<Vec<_>>().join(" ") } else { text.into_owned() };
            buffer.extend_from_slice(if lowercase { words.to_lowercase() } else { words }.as_bytes());
        }
    }
    if dedup.whitespace { buffer.trim_ascii() } else { buffer }
}

/// A part of what a hash sees.
enum Part<'a> {
    /// What is normalised before it is compared.
    Text(&'a str),
    /// What is compared as it is: marks between texts, and JSON.
    Exact(&'a [u8]),
}

impl Part<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Part::Text(text) => text.as_bytes(),
            Part::Exact(bytes) => bytes,
        }
    }
}

type Sink<'a> = &'a mut dyn FnMut(Part<'_>);

/// The turns of a conversation that deduplication compares, a list a side; none of a text.
pub fn compared(content: &Content, on: DedupOn) -> impl Iterator<Item = &[Message]> {
    let sides: [Option<&[Message]>; 3] = match (content, on) {
        (Content::Text(_), _) => [None, None, None],
        (Content::Chat { messages, .. }, DedupOn::Row) => [Some(messages), None, None],
        (Content::Chat { messages, .. }, DedupOn::Prompt) => {
            let end = messages.iter().rposition(|m| m.role == "assistant").unwrap_or(messages.len());
            [Some(&messages[..end]), None, None]
        }
        (Content::Preference { prompt, .. }, DedupOn::Prompt) => [Some(prompt), None, None],
        (Content::Preference { prompt, chosen, rejected, .. }, DedupOn::Row) => {
            [Some(prompt), Some(chosen), Some(rejected)]
        }
    };
    sides.into_iter().flatten()
}

/// What a hash sees of a row, part by part.
fn feed(content: &Content, on: DedupOn, sink: Sink<'_>) {
    if let Content::Text(text) = content {
        sink(Part::Text(text));
    }
    for (side, turns) in compared(content, on).enumerate() {
        if side > 0 {
            sink(Part::Exact(b"\x1d"));
        }
        feed_turns(turns, sink);
    }
    if let Some(tools) = content.tools() {
        feed_json(tools.clone(), sink);
    }
}

fn feed_turns(turns: &[Message], sink: Sink<'_>) {
    for turn in turns {
        sink(Part::Text(&turn.role));
        sink(Part::Exact(b"\x1f"));
        sink(Part::Text(&turn.content));
        if turn.others().next().is_some() {
            feed_json(turn.others().map(|(name, value)| (name.clone(), value.clone())).collect(), sink);
        }
        sink(Part::Exact(b"\x1e"));
    }
}

/// The order of keys is the container's, and no difference.
fn feed_json(mut value: Value, sink: Sink<'_>) {
    value.sort_all_objects();
    sink(Part::Exact(b"\x1c"));
    sink(Part::Exact(value.to_string().as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use setaccio_base::{row::Row, sha256::hex};

    fn key(text: &str, dedup: &Dedup) -> Key {
        Key::new(&Content::Text(text.into()), dedup, 42)
    }

    #[test]
    fn ids_are_what_python_gives() {
        // python3 -c "import hashlib; print(hashlib.sha256('perché no?'.encode()).hexdigest()[:32])"
        assert_eq!(hex(&id(&Content::Text("perché no?".into()))), "0dd1d9e2afc21394dca9d0a59c9ab9e6");
        // hashlib.sha256('user\x1fCiao\x1eassistant\x1fCiao!\x1e'.encode())
        assert_eq!(
            hex(&id(&Row::chat(&[("user", "Ciao"), ("assistant", "Ciao!")]).content)),
            "33582cf72c2921091a85558a40022b48"
        );
    }

    #[test]
    fn sameness_is_what_the_recipe_says() {
        let dedup = Dedup::default();
        for same in ["Il  gatto\n dorme.", " il gatto dorme. ", "IL GATTO DORME."] {
            assert_eq!(key(same, &dedup), key("Il gatto dorme.", &dedup), "{same}");
        }
        assert_eq!(key("perche\u{301}", &dedup), key("perché", &dedup));
        assert_ne!(key("Il gatto dorme", &dedup), key("Il gatto dorme.", &dedup));
        let loose = Dedup { punctuation: true, ..Dedup::default() };
        assert_eq!(key("Il gatto, dorme", &loose), key("il gatto dorme!", &loose));
        let strict = Dedup { lowercase: false, whitespace: false, ..Dedup::default() };
        assert_ne!(key("Il gatto", &strict), key("il gatto", &strict));
        assert_ne!(key("il  gatto", &strict), key("il gatto", &strict));
    }

    #[test]
    fn prompts_alone_can_be_compared() {
        let on_prompt = Dedup { on: DedupOn::Prompt, ..Dedup::default() };
        let one = Row::chat(&[("user", "Ciao"), ("assistant", "Ciao!")]).content;
        let two = Row::chat(&[("user", "Ciao"), ("assistant", "Salve.")]).content;
        assert_eq!(Key::new(&one, &on_prompt, 1), Key::new(&two, &on_prompt, 1));
        assert_ne!(Key::new(&one, &Dedup::default(), 1), Key::new(&two, &Dedup::default(), 1));
    }

    #[test]
    fn calls_and_tools_that_differ_make_other_rows() {
        let call = |json: &str| -> Content {
            let calls: Value = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}"));
            Content::chat(vec![
                Message::new("user", "Piove?"),
                Message::without_text("assistant").with("tool_calls", calls),
            ])
        };
        let bari = call(r#"[{"function":{"name":"f","arguments":{"city":"Bari","at":1}}}]"#);
        let turned = call(r#"[{"function":{"arguments":{"at":1,"city":"Bari"},"name":"f"}}]"#);
        let roma = call(r#"[{"function":{"name":"f","arguments":{"city":"Roma","at":1}}}]"#);
        let plain = Row::chat(&[("user", "Piove?"), ("assistant", "")]).content;
        let both = |content: &Content| (id(content), Key::new(content, &Dedup::default(), 1));
        assert_eq!(both(&bari), both(&turned));
        assert!(both(&bari).0 != both(&roma).0 && both(&bari).1 != both(&roma).1 && both(&bari).1 != both(&plain).1);
        let Content::Chat { messages, .. } = plain.clone() else { panic!("a chat") };
        let tools = Content::Chat { messages, tools: Some(serde_json::json!([{"name": "f"}])) };
        assert!(both(&tools).0 != both(&plain).0 && both(&tools).1 != both(&plain).1);
        // hashlib.sha256(('user\x1fPiove?\x1eassistant\x1f\x1c' + json.dumps({"tool_calls": [{"function": {"name": "f",
        // "arguments": {"city": "Bari", "at": 1}}}]}, sort_keys=True, separators=(',', ':')) + '\x1e').encode())
        assert_eq!(hex(&id(&bari)), "379c318dfccadcb1a56475632def098a");
    }

    #[test]
    fn the_split_does_not_follow_the_seed_and_shares_are_met() {
        let (mut validation, mut sampled) = (0, 0);
        for i in 0..10_000 {
            let content = Content::Text(format!("documento numero {i}"));
            let [one, two] = [1, 2].map(|seed| Key::new(&content, &Dedup::default(), seed));
            assert_eq!(one.in_validation(0.1), two.in_validation(0.1));
            assert_ne!(one.order, two.order);
            assert!(one.bucket(8) < 8 && one.bucket(1) == 0);
            validation += u32::from(one.in_validation(0.1));
            sampled += u32::from(one.in_sample(0.25));
        }
        // Three standard deviations: sqrt(10000 p (1 - p)) is 30 and 43.
        assert!((910..=1090).contains(&validation) && (2370..=2630).contains(&sampled), "{validation} {sampled}");
    }
}
