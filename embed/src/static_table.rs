//! Static embeddings: every token has a vector, and a text the mean of its tokens'. Model2Vec
//! (<https://github.com/MinishLab/model2vec>), `StaticEmbedding` of sentence-transformers and WordLlama write them.

use serde_json::Value;
use setaccio_base::{Error, Result};

use crate::{
    folder::Folder,
    tensors::{Table, Tensors},
    words::Words,
};

/// Tokens that Model2Vec reads of a text if a model says nothing of it.
const MODEL2VEC_TOKENS: usize = 512;

/// A table of vectors.
pub struct StaticTable {
    tensors: Tensors,
    table: Table,
    /// What the vector of each token is multiplied by, if by anything.
    weights: Option<Vec<f32>>,
    /// The row of each token, if it is not its number.
    mapping: Option<Vec<usize>>,
    /// The token that stands for unknown words, if it counts for nothing.
    unknown: Option<u32>,
    /// Tokens, and characters, that are read of a text.
    most: Option<(usize, usize)>,
}

impl StaticTable {
    /// The name of the table in Model2Vec's files.
    pub const MODEL2VEC: &str = "embeddings";
    /// The name that others give it.
    pub const OTHERS: &str = "embedding.weight";

    /// That of a model's folder, for these tokens.
    ///
    /// # Errors
    /// Tensors are missing, or too small for the tokens.
    pub fn new(tensors: Tensors, folder: &Folder, words: &Words) -> Result<Self> {
        let model2vec = tensors.has(Self::MODEL2VEC);
        let name = if model2vec { Self::MODEL2VEC } else { Self::OTHERS };
        let table = tensors.table(name)?;
        let optional = |name: &str| tensors.has(name).then(|| tensors.values(name, &[0])).transpose();
        let weights = if model2vec { optional("weights")? } else { None };
        let mapping = (model2vec && tensors.has("mapping")).then(|| tensors.numbers("mapping")).transpose()?;
        let too_small = |name: &str, holds: usize| {
            let tokens = words.tokens;
            tensors
                .wrong(name, format!("has {holds} rows, and the tokenizer {tokens} tokens: they belong to two models"))
        };
        for (name, list) in [("weights", weights.as_ref().map(Vec::len)), ("mapping", mapping.as_ref().map(Vec::len))] {
            if let Some(holds) = list.filter(|holds| *holds < words.tokens) {
                return Err(too_small(name, holds));
            }
        }
        let largest = mapping.as_ref().map_or(words.tokens.checked_sub(1), |rows| rows.iter().max().copied());
        if largest.is_some_and(|largest| largest >= table.rows) {
            return Err(too_small(name, table.rows));
        }
        // Others read all of a text, and take the token for unknown words like any other.
        let unknown = if model2vec { words.unknown } else { None };
        let most = match folder.config.get("max_length") {
            _ if !model2vec => None,
            Some(Value::Null) => None,
            None => Some(MODEL2VEC_TOKENS),
            Some(named) => {
                let number = folder.number("max_length").filter(|tokens| *tokens > 0);
                let wrong = || Error::damaged(&folder.path, format!("config.json says `max_length` = {named}"));
                Some(number.ok_or_else(wrong)?)
            }
        };
        let most = most.map(|tokens| (tokens, tokens.saturating_mul(words.median_characters)));
        Ok(Self { tensors, table, weights, mapping, unknown, most })
    }

    /// Values of a vector.
    pub fn dimensions(&self) -> usize {
        self.table.width
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> u64 {
        self.tensors.bytes()
    }

    /// Tokens, and characters, that are read of a text.
    pub fn most(&self) -> Option<(usize, usize)> {
        self.most
    }

    /// Add up to `out`, which holds zeros, the mean of the vectors of these tokens; says whether there are any.
    pub fn embed(&self, tokens: &[u32], out: &mut [f32]) -> bool {
        let (mut row, mut n) = (Vec::with_capacity(self.table.width), 0_u32);
        for token in tokens.iter().filter(|token| Some(**token) != self.unknown) {
            let number = *token as usize;
            let at = self.mapping.as_ref().map_or(number, |rows| rows[number]);
            self.tensors.row(&self.table, at, &mut row);
            let weight = self.weights.as_ref().map_or(1.0, |weights| weights[number]);
            for (sum, x) in out.iter_mut().zip(&row) {
                *sum += x * weight;
            }
            n += 1;
        }
        let any = n > 0;
        #[allow(clippy::cast_precision_loss, reason = "far below 2^24")]
        let n = n.max(1) as f32;
        for x in out {
            *x /= n;
        }
        any
    }
}
