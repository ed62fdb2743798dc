//! How llama.cpp cuts a text by a vocabulary of the kind `llama`: SentencePiece's BPE, which joins the two neighbours that
//! make the piece of the highest score, the leftmost of equal ones. tokenizer.json has an order of merges instead, so what
//! is exported is held against this.
//! Source: `llm_tokenizer_spm_session` and `tokenizer_st_partition` of llama.cpp's src/llama-vocab.cpp.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, HashMap},
};

use candle_core::quantized::gguf_file::Value;

use super::{
    by_name,
    tokenizer::{SPACE, kind},
};

/// A vocabulary.
pub(crate) struct Spm {
    ids: HashMap<String, u32>,
    scores: Vec<f32>,
    /// What a text is searched for before anything else, the longest first.
    whole: Vec<(String, u32)>,
    unknown: u32,
    prefix: bool,
    /// Whether special tokens swallow the white space behind them.
    swallowing: bool,
}

/// Two neighbours that make a piece.
struct Pair {
    left: usize,
    right: usize,
    score: f32,
    /// Bytes of both, by which a pair is known that has changed since.
    size: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

impl Spm {
    /// From the keys of a file; none if it is of another kind, or not whole.
    pub fn new(keys: &HashMap<String, Value>) -> Option<Self> {
        let get = |name: &str| keys.get(&format!("tokenizer.ggml.{name}"));
        if get("model")?.to_string().ok()? != "llama" {
            return None;
        }
        let texts: Vec<&String> =
            get("tokens")?.to_vec().ok()?.iter().map(|t| t.to_string().ok()).collect::<Option<_>>()?;
        let kinds = get("token_type")?.to_vec().ok()?.iter().map(|k| k.to_i32().ok()).collect::<Option<Vec<_>>>()?;
        let scores = get("scores")?.to_vec().ok()?.iter().map(|s| s.to_f32().ok()).collect::<Option<Vec<_>>>()?;
        let special = [kind::CONTROL, kind::USER_DEFINED, kind::UNKNOWN];
        let all = (0_u32..).zip(&texts).map(|(id, text)| ((*text).clone(), id));
        let mut whole: Vec<(String, u32)> =
            all.clone().zip(&kinds).filter(|(_, kind)| special.contains(&i64::from(**kind))).map(|(t, _)| t).collect();
        whole.sort_by_key(|(text, id)| (usize::MAX - text.len(), *id));
        let unknown = get("unknown_token_id").and_then(|id| id.to_u32().ok()).unwrap_or(0);
        let prefix = get("add_space_prefix").and_then(|b| b.to_bool().ok()).unwrap_or(true);
        Some(Self { ids: all.collect(), scores, whole, unknown, prefix, swallowing: by_name::is_marked(keys) })
    }

    /// The ids of a text.
    pub fn ids(&self, text: &str) -> Vec<u32> {
        // A text in parts, each to be cut yet or a token.
        let mut parts: Vec<(&str, Option<u32>)> = vec![(text, None)];
        for (token, id) in &self.whole {
            if token.is_empty() || !text.contains(token.as_str()) {
                continue;
            }
            parts = parts.into_iter().flat_map(|part| around(part, token, *id)).collect();
        }
        if self.swallowing {
            let swallower = |id: u32| self.whole.iter().any(|(token, own)| *own == id && by_name::swallows(token));
            for i in 1..parts.len() {
                if parts[i].1.is_none() && parts[i - 1].1.is_some_and(swallower) {
                    parts[i].0 = parts[i].0.trim_start_matches(by_name::is_space);
                }
            }
            parts.retain(|(part, id)| id.is_some() || !part.is_empty());
        }
        let (mut ids, mut after_token) = (Vec::new(), true);
        for (part, id) in parts {
            if let Some(id) = id {
                ids.push(id);
            } else {
                let space = if self.prefix && after_token { " " } else { "" };
                self.cut(&format!("{space}{part}").replace(' ', SPACE), &mut ids);
            }
            after_token = id.is_some();
        }
        ids
    }

    fn cut(&self, text: &str, ids: &mut Vec<u32>) {
        // Symbols by where they begin: their length, none once joined to the one before, and their neighbours.
        let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let mut length: Vec<usize> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let n = length.len();
        let mut before: Vec<Option<usize>> = (0..n).map(|i| i.checked_sub(1)).collect();
        let mut after: Vec<Option<usize>> = (0..n).map(|i| Some(i + 1).filter(|next| *next < n)).collect();
        let mut queue = BinaryHeap::new();
        let pair = |left: Option<usize>, right: Option<usize>, length: &[usize]| {
            let (left, right) = (left?, right?);
            let size = length[left] + length[right];
            let id = *self.ids.get(&text[starts[left]..starts[left] + size])?;
            Some(Pair { left, right, score: *self.scores.get(id as usize)?, size })
        };
        queue.extend((1..n).filter_map(|i| pair(Some(i - 1), Some(i), &length)));
        while let Some(Pair { left, right, size, .. }) = queue.pop() {
            if length[left] == 0 || length[right] == 0 || length[left] + length[right] != size {
                continue;
            }
            length[left] = size;
            length[right] = 0;
            after[left] = after[right];
            if let Some(next) = after[left] {
                before[next] = Some(left);
            }
            queue.extend(pair(before[left], Some(left), &length));
            queue.extend(pair(Some(left), after[left], &length));
        }
        for (start, length) in starts.iter().zip(length).filter(|(_, length)| *length > 0) {
            let symbol = &text[*start..start + length];
            match self.ids.get(symbol) {
                Some(id) => ids.push(*id),
                None => ids.extend(
                    symbol
                        .bytes()
                        .map(|byte| self.ids.get(&format!("<0x{byte:02X}>")).copied().unwrap_or(self.unknown)),
                ),
            }
        }
    }
}

/// A part with every occurrence of a token cut out of it.
fn around<'a>((part, done): (&'a str, Option<u32>), token: &str, id: u32) -> Vec<(&'a str, Option<u32>)> {
    if done.is_some() {
        return vec![(part, done)];
    }
    let (mut out, mut from) = (Vec::new(), 0);
    for (at, found) in part.match_indices(token) {
        out.extend(Some((&part[from..at], None)).filter(|(text, _)| !text.is_empty()));
        out.push((found, Some(id)));
        from = at + token.len();
    }
    out.extend(Some((&part[from..], None)).filter(|(text, _)| !text.is_empty()));
    out
}
