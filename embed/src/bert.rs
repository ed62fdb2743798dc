//! Encoders of BERT's build: BERT, RoBERTa and XLM-R, DistilBERT, as sentence-transformers leaves them, with what `modules.rs` knows
//! behind them.

use setaccio_base::{Error, Result};

use crate::{
    folder::Folder,
    math::{add_rows, gelu, norm_rows, relu, softmax},
    modules::{Dense, Modules},
    product::{Panels, multiply},
    tensors::{Table, Tensors},
};

/// A way to call the parts of a model.
struct Names {
    /// What `model_type` of config.json may be.
    kinds: &'static [&'static str],
    /// What may stand before all names.
    prefix: &'static str,
    /// Keys of config.json: width, heads, layers, width between the two layers behind attention.
    keys: [&'static str; 4],
    /// What layer `N` is called.
    layer: &'static str,
    /// Query, key, value, what is behind attention, its norm, the two layers behind it, their norm.
    parts: [&'static str; 8],
}

const FAMILIES: [Names; 2] = [
    Names {
        kinds: &["bert", "roberta", "xlm-roberta", "camembert"],
        prefix: "bert.",
        keys: ["hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size"],
        layer: "encoder.layer",
        parts: [
            "attention.self.query",
            "attention.self.key",
            "attention.self.value",
            "attention.output.dense",
            "attention.output.LayerNorm",
            "intermediate.dense",
            "output.dense",
            "output.LayerNorm",
        ],
    },
    Names {
        kinds: &["distilbert"],
        prefix: "distilbert.",
        keys: ["dim", "n_heads", "n_layers", "hidden_dim"],
        layer: "transformer.layer",
        parts: [
            "attention.q_lin",
            "attention.k_lin",
            "attention.v_lin",
            "attention.out_lin",
            "sa_layer_norm",
            "ffn.lin1",
            "ffn.lin2",
            "output_layer_norm",
        ],
    },
];

/// A window of fewer tokens has no room for a text.
const LEAST_TOKENS: usize = 3;

/// An encoder.
pub struct Bert {
    tensors: Tensors,
    words: Table,
    positions: Vec<f32>,
    /// The position of the first token.
    first: usize,
    /// What is added to every token for being of the first of two texts.
    kind: Vec<f32>,
    norm: [Vec<f32>; 2],
    layers: Vec<Layer>,
    heads: usize,
    epsilon: f64,
    activation: fn(&mut [f32]),
    /// Bytes of all weights but the words'.
    rest: u64,
    /// Tokens that are read of a text.
    pub most: usize,
    /// What comes before and behind it.
    pub modules: Modules,
}

struct Layer {
    query: Dense,
    key: Dense,
    value: Dense,
    out: Dense,
    out_norm: [Vec<f32>; 2],
    up: Dense,
    down: Dense,
    down_norm: [Vec<f32>; 2],
}

/// Whether config.json is of such a model.
pub fn is_known(folder: &Folder) -> bool {
    family(folder).is_some()
}

fn family(folder: &Folder) -> Option<&'static Names> {
    FAMILIES.iter().find(|names| names.kinds.contains(&folder.text("model_type")))
}

impl Bert {
    /// That of a model's folder, for so many tokens.
    ///
    /// # Errors
    /// Tensors are missing or do not fit what config.json says, or the model has parts that are not known.
    pub fn new(mut tensors: Tensors, folder: &mut Folder, tokens: usize) -> Result<Self> {
        let path = folder.path.clone();
        let wrong = |why: String| Error::damaged(&path, why);
        let names = family(folder).ok_or_else(|| wrong("is no BERT".into()))?;
        let mut sizes = [0; 4];
        for (size, key) in sizes.iter_mut().zip(names.keys) {
            let found = folder.number(key).filter(|n| *n > 0);
            *size = found.ok_or_else(|| wrong(format!("config.json does not say `{key}`")))?;
        }
        let [width, heads, layers, between] = sizes;
        if !width.is_multiple_of(heads) {
            return Err(wrong(format!("config.json says {heads} heads, which do not divide the width {width}")));
        }
        if folder.config.get("position_embedding_type").is_some_and(|kind| *kind != "absolute") {
            return Err(wrong("config.json says `position_embedding_type`, and only `absolute` is known".into()));
        }
        let activation = match [folder.text("hidden_act"), folder.text("activation")].concat().as_str() {
            "gelu" => gelu,
            "relu" => relu,
            other => return Err(wrong(format!("has the activation `{other}`, and `gelu` and `relu` are known"))),
        };
        let prefix = ["", names.prefix, "roberta."].into_iter();
        let prefix =
            prefix.into_iter().find(|prefix| tensors.has(&format!("{prefix}embeddings.word_embeddings.weight")));
        let prefix = prefix.ok_or_else(|| tensors.wrong("embeddings.word_embeddings.weight", "is not there"))?;
        let mut words = tensors.table(&format!("{prefix}embeddings.word_embeddings.weight"))?;
        if words.rows < tokens || words.width != width {
            let why = format!("has {} rows of {} values, not {tokens} of {width}", words.rows, words.width);
            return Err(tensors.wrong("embeddings.word_embeddings.weight", why));
        }
        let norm = |name: &str| {
            // Models of the first years have other names.
            let old = tensors.has(&format!("{prefix}{name}.gamma"));
            let part = |part: &str| tensors.values(&format!("{prefix}{name}.{part}"), &[width]);
            Ok::<_, Error>(if old { [part("gamma")?, part("beta")?] } else { [part("weight")?, part("bias")?] })
        };
        let positions = tensors.values(&format!("{prefix}embeddings.position_embeddings.weight"), &[0, width])?;
        let kind = format!("{prefix}embeddings.token_type_embeddings.weight");
        let kind = if tensors.has(&kind) {
            let kinds = tensors.values(&kind, &[0, width])?;
            kinds.get(..width).ok_or_else(|| tensors.wrong(&kind, "has no rows"))?.to_vec()
        } else {
            vec![0.0; width]
        };
        let layer = |n: usize| {
            let name = |i: usize| format!("{}.{n}.{}", names.layer, names.parts[i]);
            let dense = |i: usize, sizes| Dense::new(&tensors, &format!("{prefix}{}", name(i)), sizes, true);
            Ok::<_, Error>(Layer {
                query: dense(0, [width, width])?,
                key: dense(1, [width, width])?,
                value: dense(2, [width, width])?,
                out: dense(3, [width, width])?,
                out_norm: norm(&name(4))?,
                up: dense(5, [width, between])?,
                down: dense(6, [between, width])?,
                down_norm: norm(&name(7))?,
            })
        };
        let layers: Vec<Layer> = (0..layers).map(layer).collect::<Result<_>>()?;
        // RoBERTa's positions begin behind the one that padding has.
        let roberta = matches!(folder.text("model_type"), "roberta" | "xlm-roberta" | "camembert");
        let first = if roberta { folder.number("pad_token_id").unwrap_or(1) + 1 } else { 0 };
        let norm = norm("embeddings.LayerNorm")?;
        let modules = Modules::read(folder, width)?;
        let reach = (positions.len() / width).saturating_sub(first);
        let most = modules.most.map_or(reach, |most| most.min(reach));
        if most < LEAST_TOKENS {
            let why =
                format!("reads {most} tokens of a text, two of which only begin and end it: see `max_seq_length`");
            return Err(wrong(why));
        }
        let epsilon = match folder.config.get("layer_norm_eps") {
            None => 1e-12,
            Some(named) => {
                named.as_f64().ok_or_else(|| wrong(format!("config.json says `layer_norm_eps` = {named}")))?
            }
        };
        let bytes = |dense: &Dense| dense.bytes();
        let all = |layer: &Layer| {
            [&layer.query, &layer.key, &layer.value, &layer.out, &layer.up, &layer.down].map(bytes).iter().sum::<u64>()
        };
        let rest = layers.iter().map(all).sum();
        tensors.keep(&mut words);
        Ok(Self {
            tensors,
            words,
            positions,
            first,
            kind,
            norm,
            layers,
            heads,
            epsilon,
            activation,
            rest,
            most,
            modules,
        })
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> u64 {
        self.tensors.bytes() + self.rest
    }

    /// Write to `out` the vector of a text of these tokens, of which there are some, those that begin and end it among them.
    pub fn embed(&self, tokens: &[u32], out: &mut [f32]) {
        out.copy_from_slice(&self.modules.pool(&self.states(tokens, self.layers.len()), self.words.width));
    }

    /// Layers.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// The hidden states of these tokens behind so many layers, [tokens, width].
    pub fn states(&self, tokens: &[u32], layers: usize) -> Vec<f32> {
        let width = self.words.width;
        let (mut row, mut x) = (Vec::new(), Vec::with_capacity(tokens.len() * width));
        for (t, token) in tokens.iter().enumerate() {
            self.tensors.row(&self.words, *token as usize, &mut row);
            let position = &self.positions[(self.first + t) * width..][..width];
            x.extend(row.iter().zip(position).zip(&self.kind).map(|((word, position), kind)| word + kind + position));
        }
        norm_rows(&mut x, &self.norm, self.epsilon);
        for layer in &self.layers[..layers] {
            let mut attended = layer.out.apply(&self.attend(layer, &x));
            add_rows(&mut attended, &x);
            norm_rows(&mut attended, &layer.out_norm, self.epsilon);
            let mut up = layer.up.apply(&attended);
            (self.activation)(&mut up);
            x = layer.down.apply(&up);
            add_rows(&mut x, &attended);
            norm_rows(&mut x, &layer.down_norm, self.epsilon);
        }
        x
    }

    /// What each token takes from all, before the layer behind it.
    fn attend(&self, layer: &Layer, x: &[f32]) -> Vec<f32> {
        let (width, n) = (self.words.width, x.len() / self.words.width);
        let head = width / self.heads;
        let [query, key, value] = [&layer.query, &layer.key, &layer.value].map(|dense| dense.apply(x));
        #[allow(clippy::cast_precision_loss, reason = "far below 2^24")]
        let scale = 1.0 / (head as f32).sqrt();
        let mut out = vec![0.0; x.len()];
        for start in (0..width).step_by(head) {
            let of = |rows: &[f32]| -> Vec<f32> {
                rows.chunks_exact(width).flat_map(|row| &row[start..start + head]).copied().collect()
            };
            let mut scores = vec![0.0; n * n];
            multiply(&of(&query), &Panels::from_columns(&of(&key), head), &mut scores);
            for row in scores.chunks_exact_mut(n) {
                softmax(row, scale);
            }
            let mut taken = vec![0.0; n * head];
            multiply(&scores, &Panels::from_rows(&of(&value), head), &mut taken);
            for (out, taken) in out.chunks_exact_mut(width).zip(taken.chunks_exact(head)) {
                out[start..start + head].copy_from_slice(taken);
            }
        }
        out
    }
}
