//! How much memory a run takes, part by part, before a weight is read: the sizes of everything that
//! `model/` keeps, added up. `train/tests/memory.rs` measures runs beside it.

use candle_core::DType;

use crate::{
    model::{
        config::{BlockLinear, Config, is_expert},
        head::chunk_rows,
    },
    nf4::DoubleQuant,
    optim,
    recipe::{EMBEDDING, HEAD, Init, Method, Quantization, Recipe, Recompute, Task},
};

/// Bytes of a GiB.
pub const GIB: f64 = 1_073_741_824.0;

/// What of a model and a recipe decides the memory.
#[derive(Clone, Debug)]
pub struct Memory {
    /// Bytes of an activation.
    unit: usize,
    layers: Vec<Block>,
    hidden: usize,
    query: usize,
    keys: usize,
    heads: usize,
    /// Whether q and k go through norms.
    head_norms: bool,
    /// Norms behind attention and MLP.
    norms_behind: usize,
    /// Whether q, k and v come out of one matrix, and gate and up out of another.
    fused: bool,
    vocab: usize,
    rank: usize,
    dropout: bool,
    /// Frozen weights, and what preference training keeps of others as they were.
    pub weights: usize,
    /// Numbers that are trained.
    pub trainable: usize,
    /// These numbers, their gradients and the optimiser's moments.
    pub trained: usize,
    /// A linear layer unpacked from 4 bits, or the head brought to the type that is computed with.
    unpacked: usize,
    /// The widest output whose rows have lengths that are trained.
    scaled: usize,
    /// Whether embedding, head or norms are trained, or have an adapter.
    whole: bool,
}

/// What of a layer differs from others.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Width inside the MLP, or of all experts together that a token goes through.
    inner: usize,
    /// Adapters that a token goes through.
    adapters: usize,
    /// Experts, and how many of them a token goes through.
    experts: Option<[usize; 2]>,
}

impl Block {
    fn new(config: &Config, layer: usize, has_adapter: &dyn Fn(&BlockLinear) -> bool) -> Self {
        let linears = config.linears(layer);
        let of =
            |of_experts: bool| linears.iter().filter(|l| is_expert(&l.name) == of_experts && has_adapter(l)).count();
        match config.experts(layer) {
            None => Self { inner: config.intermediate_size, adapters: of(false), experts: None },
            Some(experts) => Self {
                inner: experts.chosen * experts.inner,
                adapters: of(false) + of(true) / experts.count * experts.chosen,
                experts: Some([experts.count, experts.chosen]),
            },
        }
    }
}

/// Bytes of a run, part by part; the parts are there at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Frozen weights, and what preference training keeps of others as they were.
    pub weights: usize,
    /// What is trained, its gradients and moments.
    pub trained: usize,
    /// What layers keep for the backward pass.
    pub kept: usize,
    /// The widest moment of the work on one layer, or on the head.
    pub work: usize,
}

impl Parts {
    /// All parts.
    pub fn total(&self) -> usize {
        self.weights + self.trained + self.kept + self.work
    }
}

impl Memory {
    /// `stored` is the type that embedding and head have in the files.
    pub fn new(config: &Config, recipe: &Recipe, stored: DType, compute: DType) -> Self {
        let (hidden, vocab) = (config.hidden_size, config.vocab_size);
        let (query, keys) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
        let unit = compute.size_in_bytes();
        let linears: Vec<BlockLinear> = (0..config.layers).flat_map(|layer| config.linears(layer)).collect();
        let shapes = linears.iter().map(|linear| (linear.out, linear.input));
        let nf4_asked = recipe.model.quantization == Quantization::Nf4;
        let packed = |linear: &BlockLinear| match &config.quantization {
            Some(quantization) if !nf4_asked => !(quantization.whole_experts && is_expert(&linear.name)),
            other => nf4_asked || other.is_some(),
        };
        let any_packed = nf4_asked || config.quantization.is_some();
        let double = config.quantization.as_ref().map_or(recipe.model.double_quant, |q| q.double_quant);
        let linear: usize = linears
            .iter()
            .map(|l| if packed(l) { nf4(l.out * l.input, double.into()) } else { l.out * l.input * unit })
            .sum();
        let largest = shapes.clone().map(|(o, i)| o * i).max().unwrap_or(0);
        let lora = &recipe.lora;
        let saved: Vec<(String, usize)> = config
            .savable()
            .into_iter()
            .filter(|(module, _)| lora.saves(module) && !(config.tie_word_embeddings && module == HEAD))
            .map(|(module, shape)| (module, shape.iter().product()))
            .collect();
        let is_saved = |module: &str| saved.iter().any(|(name, _)| name == module);
        let frozen = |module: &str| usize::from(!is_saved(module));
        let tables = frozen(EMBEDDING) + if config.tie_word_embeddings { 0 } else { frozen(HEAD) };
        let family = config.architecture.family();
        let behind = [family.norms[1], family.norms[3]].into_iter().flatten().count();
        let of_layer = family.norms.iter().flatten().count() * hidden + config.head_norms().map_or(0, |[q, k]| q + k);
        let norms = (config.layers * of_layer + hidden) * unit;
        let routers =
            (0..config.layers).filter_map(|layer| config.experts(layer)).map(|experts| experts.count * hidden);
        let routers = routers.sum::<usize>() * unit;
        let weights = linear + routers + tables * vocab * hidden * stored.size_in_bytes() + norms;
        let targets = || linears.iter().filter(|linear| lora.covers(&linear.name));
        let of_layers = targets().map(|linear| lora.r * (linear.out + linear.input)).sum::<usize>();
        let lengths: Vec<usize> = targets().filter(|_| lora.use_dora).map(|linear| linear.out).collect();
        let of_lengths = lengths.iter().sum::<usize>();
        let on_tables = [EMBEDDING, HEAD].iter().filter(|module| lora.covers(module)).count();
        let on_tables = if config.tie_word_embeddings { on_tables.min(1) } else { on_tables };
        let of_tables = [lora.r * vocab, lora.r * hidden].repeat(on_tables);
        let adapters = of_layers + of_tables.iter().sum::<usize>();
        let whole_numbers: usize = saved.iter().map(|(_, n)| n).sum();
        let value = match lora.dtype {
            crate::recipe::AdapterType::F32 => 4,
            crate::recipe::AdapterType::Bf16 => 2,
        };
        let sizes = targets().flat_map(|linear| [lora.r * linear.out, lora.r * linear.input]);
        let of_saved = saved.iter().map(|(_, n)| *n);
        let moments = optim::Optimizer::bytes(recipe.train.optimizer, sizes)
            + optim::Optimizer::bytes(recipe.train.optimizer, lengths.iter().copied())
            + optim::Optimizer::bytes(recipe.train.optimizer, of_tables.iter().copied().chain(of_saved));
        let of_head = if config.tie_word_embeddings { EMBEDDING } else { HEAD };
        let held = if is_saved(of_head) { DType::F32 } else { stored };
        let head = if held == compute { 0 } else { vocab * hidden * unit };
        let goes_on = !lora.adapter.is_empty() || lora.init == Init::Pissa;
        let asked = recipe.task == Task::Preference && recipe.preference().asks_beside();
        let before =
            if asked { whole_numbers * unit + usize::from(goes_on) * (adapters * value + of_lengths * 4) } else { 0 };
        let made = Self {
            unit,
            layers: (0..config.layers)
                .map(|layer| Block::new(config, layer, &|linear| lora.covers(&linear.name)))
                .collect(),
            hidden,
            query,
            keys,
            heads: config.heads,
            head_norms: config.head_norms().is_some(),
            norms_behind: behind,
            fused: family.fused,
            vocab,
            rank: lora.r,
            dropout: lora.dropout > 0.0,
            weights: weights + before,
            trainable: adapters + of_lengths + whole_numbers,
            trained: adapters * (value + 4) + (of_lengths + whole_numbers) * 8 + moments,
            scaled: lengths.iter().copied().max().unwrap_or(0),
            unpacked: if any_packed { (largest * unit).max(head) } else { head },
            whole: !saved.is_empty() || on_tables > 0,
        };
        if recipe.method == Method::Lora { made } else { made.whole(config, recipe, largest) }
    }

    /// The same with every weight trained, in f32.
    fn whole(self, config: &Config, recipe: &Recipe, largest: usize) -> Self {
        let sizes = || config.shapes().into_iter().map(|(_, shape)| shape.iter().product::<usize>());
        let trainable = sizes().sum::<usize>();
        let narrow = (self.unit < 4).then(|| largest.max(self.vocab * self.hidden) * self.unit);
        let asked = recipe.task == Task::Preference && recipe.preference().asks_beside();
        Self {
            weights: usize::from(asked) * trainable * self.unit,
            trainable,
            trained: 8 * trainable + optim::Optimizer::bytes(recipe.train.optimizer, sizes()),
            unpacked: narrow.unwrap_or(0),
            layers: self.layers.iter().map(|block| Block { adapters: 0, ..*block }).collect(),
            dropout: false,
            scaled: 0,
            whole: true,
            ..self
        }
    }

    /// With micro-batches of `tokens`, of which `targets` count in the loss, and `recompute` layers computed again.
    pub fn parts(&self, tokens: usize, targets: usize, recompute: usize) -> Parts {
        let row = |width: usize| tokens * width * self.unit;
        let h = self.hidden;
        let again = &self.layers[..recompute.min(self.layers.len())];
        let kept: usize = self.layers[again.len()..].iter().map(|block| self.saved(block, tokens)).sum();
        let kept = kept + again.len() * row(h);
        let works = self.layers.iter().enumerate().map(|(i, block)| {
            // The input of a layer that is computed again is there already.
            let again = if i < again.len() { self.saved(block, tokens) - row(h) } else { 0 };
            self.work(block, tokens, recompute > 0) + again
        });
        let layer = works.max().unwrap_or(0);
        let rows = chunk_rows(self.vocab, self.dtype()).min(targets.max(1));
        let chosen = targets * h * self.unit;
        // A head that is trained holds hidden states a second time, normed and weighed.
        let head =
            row(3 * h) + (4 + 2 * usize::from(self.whole)) * chosen + rows * self.vocab * self.unit + self.unpacked;
        let work = layer.max(head);
        Parts { weights: self.weights, trained: self.trained, kept, work }
    }

    /// What a layer keeps for the backward pass.
    fn saved(&self, block: &Block, tokens: usize) -> usize {
        let (h, q, kv) = (self.hidden, self.query, self.keys);
        // The input of a layer is the output of the one before, so it is counted once.
        let before_norms = if self.head_norms { q + kv } else { 0 };
        let behind = self.norms_behind * h;
        let inner = 2 * block.inner + block.adapters * self.rank;
        let width = 2 * h + 2 * q + 2 * kv + inner + self.heads + before_norms + behind;
        // Of every expert that a token goes through, its number and its weight.
        let shares = block.experts.map_or(0, |[_, chosen]| chosen * 12);
        tokens * (width * self.unit + shares)
    }

    /// The widest moment of the work on a layer, beside what is kept.
    fn work(&self, block: &Block, tokens: usize, makes_output: bool) -> usize {
        let row = |width: usize| tokens * width * self.unit;
        let (h, q, kv, i) = (self.hidden, self.query, self.keys, block.inner);
        let masked = usize::from(self.dropout);
        // Of the feed-forward part: the product, in whose place its gradient stands; gate and up, saved, turn into theirs.
        // What comes out of one matrix, or goes back into it, is there as a whole and in parts, beside that matrix's input
        // and its gradient. A layer that is computed again makes its output again, beside the gradient of it.
        let output = if makes_output { row(h) } else { 0 };
        let fused = if self.fused { row(2 * i + h) } else { 0 };
        let up = match block.experts {
            None => row((1 + masked) * i).max(fused),
            // The input and its gradient, and of one expert's tokens, as many as if all experts had the same number: their rows
            // of it and of both gradients, the product and its gradient twice.
            Some([count, chosen]) => row(2 * h) + row(3 * h * chosen + 2 * i) / count,
        };
        // Of the attention: a head's own sums of dq, dk, dv, and what they are put together in. What the feed-forward
        // part saved, and the residual stream before it, is gone by then.
        let attention = row(q + 3 * q + q + 2 * kv + masked * 2 * h).saturating_sub(row(2 * i));
        // The gradients of a norm's weight are summed up from products in f32, those of the embedding from rows with
        // their places.
        let whole = usize::from(self.whole) * tokens * h * 8;
        // The product before it is scaled, its gradient, and both as one.
        let scaled = row(3 * self.scaled);
        row(h) + scaled + (up + output).max(attention) + self.unpacked + whole
    }

    fn dtype(&self) -> DType {
        if self.unit == 2 { DType::BF16 } else { DType::F32 }
    }

    /// How many layers must be computed again for a micro-batch to fit into `budget` bytes; all of them if even
    /// that is not enough.
    pub fn recompute(&self, how: Recompute, tokens: usize, targets: usize, budget: usize) -> usize {
        match how {
            Recompute::All => self.layers.len(),
            Recompute::None => 0,
            Recompute::Auto => {
                let layers = self.layers.len();
                (0..layers).find(|n| self.parts(tokens, targets, *n).total() <= budget).unwrap_or(layers)
            }
        }
    }

    /// The largest number of sequences of `length` tokens, all of them targets, that fit into `budget` bytes at a
    /// time with `recompute` layers computed again: 0 if not even one does.
    pub fn largest_batch(&self, length: usize, budget: usize, recompute: usize) -> usize {
        let fits = |n: usize| self.parts(n * length, n * length, recompute).total() <= budget;
        let mut most = 1;
        while fits(most) && most < 1 << 20 {
            most *= 2;
        }
        let (mut low, mut high) = (0, most);
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            if fits(middle) { low = middle } else { high = middle }
        }
        low
    }
}

/// Bytes of `n` weights in NF4: half a byte each, and the scales.
fn nf4(n: usize, double: DoubleQuant) -> usize {
    let blocks = n.div_ceil(64);
    n.div_ceil(2)
        + match double {
            DoubleQuant::On => blocks + blocks.div_ceil(256) * 4,
            DoubleQuant::Off => blocks * 4,
        }
}

/// Main memory that is free, in bytes, as Linux tells it.
pub fn free() -> Option<usize> {
    field("/proc/meminfo", "MemAvailable:")
}

/// The most memory that this process has held, in bytes.
pub fn peak() -> Option<usize> {
    field("/proc/self/status", "VmHWM:")
}

/// What this process holds now, in bytes.
pub fn resident() -> Option<usize> {
    field("/proc/self/status", "VmRSS:")
}

fn field(file: &str, name: &str) -> Option<usize> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse::<usize>().ok().map(|kib| kib << 10)
}
