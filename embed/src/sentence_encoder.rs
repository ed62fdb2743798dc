//! The multilingual Universal Sentence Encoder, version 3 (<https://arxiv.org/abs/1907.04307>), its convolutional kind: a table of
//! vectors, three branches that look at 2, 3 and 5 tokens side by side, their sum over the text, and a few dense layers.
//! `tools/convert_use.py` makes its files.
//!
//! ```text
//! token ─> table ─┬──────────────────────────────────────────────┐
//!                 └> projection ─> norm ─> n-grams, twice, 3 x ──┴─> norm ─> sum over tokens ─> mean ─> dense ─> tanh
//! ```

use setaccio_base::Result;

use crate::{
    folder::Folder,
    math::{add_rows, norm_rows, relu, tanh},
    product::{Panels, multiply},
    tensors::{Table, Tensors},
};

/// What `model_type` of config.json calls it.
pub const KIND: &str = "universal-sentence-encoder-multilingual";

/// Tokens of a text that are read if config.json says nothing.
const MOST_TOKENS: usize = 1024;

/// The tokens around every text.
const START: u32 = 1;
const END: u32 = 2;

/// Tokens that each branch looks at, and how many of these come before the one in the middle.
const BRANCHES: [(usize, usize); 3] = [(2, 0), (3, 1), (5, 2)];

/// The encoder.
pub struct SentenceEncoder {
    tensors: Tensors,
    table: Table,
    /// What a value of the table stands for: `scale * value + low`, of the part of the vocabulary that a token is in.
    scale: Vec<f32>,
    low: Vec<f32>,
    projection: Dense,
    /// Gain and bias of the norm of what all branches get.
    projection_norm: [Vec<f32>; 2],
    branches: [[Dense; 2]; 3],
    norm: [Vec<f32>; 2],
    mean: Dense,
    /// The dense layers by the names that their tensors have.
    d: [Panels; 4],
    p1: Panels,
    p3: Panels,
    epsilon: f64,
    most: usize,
}

/// A product and a bias.
struct Dense {
    weights: Panels,
    bias: Vec<f32>,
}

impl Dense {
    fn apply(&self, left: &[f32]) -> Vec<f32> {
        let mut out = product(left, &self.weights);
        add_rows(&mut out, &self.bias);
        out
    }
}

fn product(left: &[f32], right: &Panels) -> Vec<f32> {
    let mut out = vec![0.0; left.len() / right.depth().max(1) * right.columns()];
    multiply(left, right, &mut out);
    out
}

impl SentenceEncoder {
    /// That of a model's folder, for so many tokens.
    ///
    /// # Errors
    /// Tensors are missing, or do not fit each other.
    pub fn new(tensors: Tensors, folder: &Folder, tokens: usize) -> Result<Self> {
        let table = tensors.table("table")?;
        if table.rows < tokens {
            let why = format!("has {} rows, and the tokenizer {tokens} tokens: they belong to two models", table.rows);
            return Err(tensors.wrong("table", why));
        }
        let scale = tensors.values("table.scale", &[0])?;
        let low = tensors.values("table.low", &[scale.len()])?;
        if scale.is_empty() {
            return Err(tensors.wrong("table.scale", "is empty"));
        }
        let width = table.width;
        // Each branch is as wide as the first one's bias says.
        let branch = tensors.values("ngram2.projection_bias", &[0])?.len();
        let matrix = |name: &str, rows: usize, columns: usize| {
            Ok::<_, setaccio_base::Error>(Panels::from_rows(&tensors.values(name, &[rows, columns])?, columns))
        };
        let dense = |name: &str, rows: usize, columns: usize| {
            let bias = tensors.values(&format!("{name}_bias"), &[columns])?;
            Ok::<_, setaccio_base::Error>(Dense { weights: matrix(name, rows, columns)?, bias })
        };
        // The projections of all branches are one product, and one norm goes over what they give.
        let all = 3 * branch;
        let mut projection = vec![0.0; width * all];
        let (mut bias, mut gain, mut norm_bias) = (Vec::new(), Vec::new(), Vec::new());
        for (i, (n, _)) in BRANCHES.iter().enumerate() {
            let name = |part: &str| format!("ngram{n}.{part}");
            let part = tensors.values(&name("projection"), &[width, branch])?;
            for (row, values) in part.chunks_exact(branch.max(1)).enumerate() {
                projection[row * all + i * branch..][..branch].copy_from_slice(values);
            }
            bias.extend(tensors.values(&name("projection_bias"), &[branch])?);
            gain.extend(tensors.values(&name("norm"), &[branch])?);
            norm_bias.extend(tensors.values(&name("norm_bias"), &[branch])?);
        }
        let branches = |i: usize| {
            let n = BRANCHES[i].0;
            Ok::<_, setaccio_base::Error>([
                dense(&format!("ngram{n}.1"), n * branch, branch)?,
                dense(&format!("ngram{n}.2"), n * branch, branch)?,
            ])
        };
        let features = width + all;
        let out = tensors.values("mean_bias", &[0])?.len();
        let [first, third] = ["dense.d0", "dense.d3"].map(|name| tensors.table(name).map(|table| table.width));
        let (first, third) = (first?, third?);
        Ok(Self {
            projection: Dense { weights: Panels::from_rows(&projection, all), bias },
            projection_norm: [gain, norm_bias],
            branches: [branches(0)?, branches(1)?, branches(2)?],
            norm: [tensors.values("norm", &[features])?, tensors.values("norm_bias", &[features])?],
            mean: dense("mean", features, out)?,
            d: [
                matrix("dense.d0", out, first)?,
                matrix("dense.d1", first, first)?,
                matrix("dense.d2", first, third)?,
                matrix("dense.d3", third, third)?,
            ],
            p1: matrix("dense.p1", out, first)?,
            p3: matrix("dense.p3", first, third)?,
            epsilon: folder.config.get("layer_norm_eps").and_then(serde_json::Value::as_f64).unwrap_or(1e-6),
            most: folder.number("max_length").unwrap_or(MOST_TOKENS),
            table,
            scale,
            low,
            tensors,
        })
    }

    /// Values of a vector.
    pub fn dimensions(&self) -> usize {
        self.p3.columns()
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> u64 {
        self.tensors.bytes()
    }

    /// Tokens that are read of a text.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Write to `out` the vector of a text of these tokens.
    pub fn embed(&self, tokens: &[u32], out: &mut [f32]) {
        let (width, all) = (self.table.width, self.projection.bias.len());
        let branch = all / 3;
        let ids: Vec<u32> = [START].into_iter().chain(tokens.iter().copied()).chain([END]).collect();
        let (mut row, mut words) = (Vec::new(), Vec::with_capacity(ids.len() * width));
        for id in &ids {
            let id = *id as usize;
            self.tensors.row(&self.table, id, &mut row);
            let part = id % self.scale.len();
            words.extend(row.iter().map(|x| x * self.scale[part] + self.low[part]));
        }
        let mut projected = self.projection.apply(&words);
        norm_rows(&mut projected, &self.projection_norm, self.epsilon);
        let looked: Vec<Vec<f32>> = (0..3)
            .map(|i| {
                let own: Vec<f32> =
                    projected.chunks_exact(all).flat_map(|row| &row[i * branch..(i + 1) * branch]).copied().collect();
                let [first, second] = &self.branches[i];
                look(second, &look(first, &own, branch, BRANCHES[i]), branch, BRANCHES[i])
            })
            .collect();
        let mut features = Vec::with_capacity(ids.len() * (width + all));
        for (t, word) in words.chunks_exact(width).enumerate() {
            features.extend(word);
            for branches in &looked {
                features.extend(&branches[t * branch..(t + 1) * branch]);
            }
        }
        norm_rows(&mut features, &self.norm, self.epsilon);
        let mut sum = vec![0.0; width + all];
        for row in features.chunks_exact(width + all) {
            add_rows(&mut sum, row);
        }
        #[allow(clippy::cast_precision_loss, reason = "far below 2^24")]
        let n = ids.len() as f32;
        let mut mean = product(&sum, &self.mean.weights);
        for (x, bias) in mean.iter_mut().zip(&self.mean.bias) {
            *x = (*x + n * bias) / n.sqrt();
        }
        let mut y0 = product(&mean, &self.d[0]);
        relu(&mut y0);
        let mut y1 = product(&mean, &self.p1);
        add_rows(&mut y1, &product(&y0, &self.d[1]));
        relu(&mut y1);
        let mut y2 = product(&y1, &self.d[2]);
        relu(&mut y2);
        let mut z = product(&y1, &self.p3);
        add_rows(&mut z, &product(&y2, &self.d[3]));
        #[allow(clippy::cast_possible_truncation, reason = "rounded on purpose")]
        for (out, z) in out.iter_mut().zip(z) {
            *out = tanh(f64::from(z)) as f32;
        }
    }
}

/// What a layer of a branch makes of the rows of a text: each row, and what the layer says of it and its neighbours. Beyond the ends
/// of the text there are zeros.
fn look(layer: &Dense, rows: &[f32], width: usize, (n, before): (usize, usize)) -> Vec<f32> {
    let tokens = rows.len() / width.max(1);
    let mut windows = vec![0.0; tokens * n * width];
    for (t, window) in windows.chunks_exact_mut((n * width).max(1)).enumerate() {
        for (i, slot) in window.chunks_exact_mut(width).enumerate() {
            let at = (t + i).checked_sub(before).filter(|at| *at < tokens);
            if let Some(at) = at {
                slot.copy_from_slice(&rows[at * width..(at + 1) * width]);
            }
        }
    }
    let mut out = layer.apply(&windows);
    relu(&mut out);
    add_rows(&mut out, rows);
    out
}
