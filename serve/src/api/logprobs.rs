//! Log-probabilities as the two routes tell them.

use serde_json::{Map, Value, json};
use setaccio_train::{inference::request::Scored, tokenizer::Tokens};

/// The least that is told: what is less is no number in JSON.
const LEAST: f32 = -9999.0;

fn told(logprob: f32) -> f32 {
    logprob.max(LEAST)
}

/// A token's own text.
fn piece(tokens: &Tokens, id: u32) -> String {
    let text = tokens.decode_with_special(&[id]).unwrap_or_default();
    // SentencePiece writes a space so, and decoders take it off a text's beginning.
    let spaced = tokens.tokenizer.id_to_token(id).is_some_and(|token| token.starts_with('\u{2581}'));
    if spaced && !text.starts_with(' ') { format!(" {text}") } else { text }
}

/// Those of completions: tokens, their log-probabilities, the most probable ones and where each begins, side by side.
#[derive(Default)]
pub struct Columns {
    tokens: Vec<Value>,
    logprobs: Vec<Value>,
    top: Vec<Value>,
    offsets: Vec<Value>,
    /// Characters so far.
    end: usize,
    /// Tokens from that place on that are no whole character yet.
    unfinished: Vec<u32>,
}

/// Tokens that may make a character together.
const TOGETHER: usize = 8;

impl Columns {
    /// The prompt's first token, of which nothing is known.
    pub fn first(&mut self, tokens: &Tokens, id: u32) {
        self.add(piece(tokens, id), Value::Null, Value::Null);
        self.goes_on(tokens, id);
    }

    /// A token. The keys of its most probable ones differ, whatever their texts, and it is itself among them.
    pub fn push(&mut self, tokens: &Tokens, token: &Scored) {
        let own = std::iter::once((token.id, token.logprob));
        let others = token.top.iter().copied().filter(|(id, _)| *id != token.id);
        let mut top = Map::new();
        for (id, logprob) in own.chain(others) {
            let text = piece(tokens, id);
            let key = if top.contains_key(&text) { format!("token_id:{id}") } else { text };
            top.insert(key, json!(told(logprob)));
        }
        self.add(piece(tokens, token.id), json!(told(token.logprob)), Value::Object(top));
        self.goes_on(tokens, token.id);
    }

    /// A token that was not computed, after as many as the model can look at.
    pub fn placeholder(&mut self) {
        self.add(String::new(), json!(0.0), json!({}));
    }

    fn add(&mut self, text: String, logprob: Value, top: Value) {
        self.offsets.push(self.end.into());
        self.tokens.push(text.into());
        self.logprobs.push(logprob);
        self.top.push(top);
    }

    /// A token's characters are behind us; of several that make one character together, with the last.
    fn goes_on(&mut self, tokens: &Tokens, id: u32) {
        self.unfinished.push(id);
        let text = match self.unfinished.as_slice() {
            [one] => piece(tokens, *one),
            several => tokens.decode_with_special(several).unwrap_or_default(),
        };
        if !text.ends_with(char::REPLACEMENT_CHARACTER) || self.unfinished.len() == TOGETHER {
            self.end += text.chars().count();
            self.unfinished.clear();
        }
    }

    /// As the answer has them, from here on for the next piece.
    pub fn take(&mut self) -> Value {
        let columns = [&mut self.tokens, &mut self.logprobs, &mut self.top, &mut self.offsets].map(std::mem::take);
        let [tokens, logprobs, top, offsets] = columns;
        json!({ "tokens": tokens, "token_logprobs": logprobs, "top_logprobs": top, "text_offset": offsets })
    }
}

/// Those of chat: a list of tokens, each with its bytes and so many of the most probable ones.
pub fn list(tokens: &Tokens, scored: &[Scored]) -> Value {
    let entry = |id: u32, logprob: f32| {
        let text = piece(tokens, id);
        // Bytes that are no character by themselves are not told.
        let bytes = (!text.contains(char::REPLACEMENT_CHARACTER)).then_some(text.as_bytes());
        json!({ "token": text, "logprob": told(logprob), "bytes": bytes })
    };
    let each = scored.iter().map(|token| {
        let mut own = entry(token.id, token.logprob);
        own["top_logprobs"] = token.top.iter().map(|(id, logprob)| entry(*id, *logprob)).collect();
        own
    });
    each.collect()
}
