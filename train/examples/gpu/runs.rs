//! What is measured. `benches/peers/gpu_torch.py` has the same names and shapes.

use setaccio_train::{
    Error, Result,
    data::{
        Batch, Example, MicroBatch,
        micro::{PairBatch, Question},
    },
    random::{bits, key},
    recipe::Recipe,
};

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub name: &'static str,
    /// Sequences of a step.
    pub batch: usize,
    /// Tokens of each.
    pub length: usize,
    pub dropout: f64,
    /// `auto`, `all` or `none`.
    pub recompute: &'static str,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text a sequence.
    Texts,
    /// Documents of several lengths in each sequence.
    Packed,
    /// Pairs of answers, each text of that length, half of it the question.
    Pairs,
    /// A text a sequence, with moments in 8 bits and the adapter in 16.
    Least,
}

const fn run(
    name: &'static str,
    batch: usize,
    length: usize,
    dropout: f64,
    recompute: &'static str,
    kind: Kind,
) -> Run {
    Run { name, batch, length, dropout, recompute, kind }
}

pub const RUNS: [Run; 7] = [
    run("sft-8x1024", 8, 1024, 0.0, "auto", Kind::Texts),
    run("sft-8x1024-dropout", 8, 1024, 0.1, "auto", Kind::Texts),
    run("sft-8x1024-recompute", 8, 1024, 0.0, "all", Kind::Texts),
    run("packed-4x4096", 4, 4096, 0.0, "auto", Kind::Packed),
    run("packed-4x4096-dropout", 4, 4096, 0.1, "auto", Kind::Packed),
    run("dpo-4x1024", 4, 1024, 0.0, "auto", Kind::Pairs),
    run("least-1x2048", 1, 2048, 0.0, "all", Kind::Least),
];

/// Lengths of the documents of a packed sequence of 4096.
const DOCUMENTS: [usize; 6] = [1500, 900, 700, 600, 300, 96];

pub const RANK: usize = 64;

impl Run {
    /// With lengths divided by `shorter`.
    pub fn shortened(self, shorter: usize) -> Self {
        Self { length: self.length / shorter, ..self }
    }

    pub fn recipe(&self) -> Result<Recipe> {
        let (task, preference) = match self.kind {
            Kind::Pairs => ("preference", "[preference]\nloss = 'dpo'\nbeta = 0.1\n"),
            _ => ("sft", ""),
        };
        let (optimizer, dtype) = if self.kind == Kind::Least { ("adamw_8bit", "bf16") } else { ("adamw", "f32") };
        let text = format!(
            "name = 'bench'\ntask = '{task}'\n[model]\npath = 'none'\nquantization = 'nf4'\n[data]\ntrain = ['none']\n\
             [lora]\nr = {RANK}\nalpha = 16\ndropout = {:?}\ndtype = '{dtype}'\n{preference}[train]\nbatch = {}\n\
             learning_rate = 1e-4\nschedule = 'constant'\noptimizer = '{optimizer}'\nrecompute = '{}'\n",
            self.dropout, self.batch, self.recompute
        );
        toml::from_str(&text).map_err(|error| Error::Other(error.to_string()))
    }

    /// Random ids of a vocabulary of that size; all count, but for questions.
    pub fn micro(&self, vocab: usize) -> MicroBatch {
        let stream = key(1, self.name);
        let mut drawn = 0_u64;
        let mut ids = |n: usize| {
            let all = (0..n as u64).map(|i| bits(stream, drawn + i) % vocab as u64);
            let all: Vec<u32> = all.map(|id| u32::try_from(id).unwrap_or(0)).collect();
            drawn += n as u64;
            all
        };
        let mut batch = Batch::default();
        match self.kind {
            Kind::Pairs => {
                let asked = self.length / 2;
                let mut rows = Vec::new();
                for row in 0..self.batch {
                    let question = ids(asked);
                    let mut answer = || {
                        let ids = [question.clone(), ids(self.length - asked)].concat();
                        Example { trained: (0..self.length).map(|i| i >= asked).collect(), ids }
                    };
                    rows.push((u32::try_from(row).unwrap_or(0), answer(), answer()));
                }
                return MicroBatch::Pairs(PairBatch::new(&rows, Question::Given));
            }
            Kind::Packed => {
                let all: usize = DOCUMENTS.iter().sum();
                for _ in 0..self.batch {
                    let mut end = 0;
                    for document in DOCUMENTS {
                        // Cut where the whole is cut, so that a shorter sequence is as full.
                        let from = end * self.length / all;
                        end += document;
                        let length = end * self.length / all - from;
                        batch.push(&Example { ids: ids(length), trained: vec![true; length] }, 0);
                    }
                }
            }
            Kind::Texts | Kind::Least => {
                for _ in 0..self.batch {
                    batch.push(&Example { ids: ids(self.length), trained: vec![true; self.length] }, 0);
                }
            }
        }
        MicroBatch::Texts(batch)
    }
}

/// Whether the reference is asked beside the step.
pub fn asks_reference(micro: &MicroBatch) -> bool {
    matches!(micro, MicroBatch::Pairs(PairBatch { reference: None, .. }))
}
