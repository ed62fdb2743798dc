//! What a run takes where it is going to be: memory, whether that is there, what would help if not, and time. It needs a
//! recipe, the model's configuration and how long the rows are, no weights.

use std::fmt;

use candle_core::{DType, Device};

use crate::{
    cost::{Cost, Step, Trained},
    device,
    gpus::{self, Gpu},
    memory::{GIB, Memory},
    model::config::Config,
    recipe::{Form, Method, Optimizer, Packing, Quantization, Recipe, Recompute},
};

/// Where a run is going to be.
#[derive(Clone, Debug)]
pub struct Place {
    /// As a person would say it; empty for this machine.
    pub name: String,
    /// Memory that a run may take, in bytes.
    pub budget: usize,
    /// What of it the program takes before it reads a weight, in bytes.
    pub held: usize,
    /// What it computes in.
    pub dtype: DType,
    /// The GPU, if it has a name.
    pub gpu: Option<&'static Gpu>,
}

impl Place {
    /// This machine, as the recipe would use it.
    pub fn here(recipe: &Recipe, device: &Device, dtype: DType) -> Self {
        let held = device::resident(device);
        Self { name: String::new(), budget: budget(recipe, device), held, dtype, gpu: None }
    }

    /// A GPU that may not be here.
    pub fn gpu(gpu: &'static Gpu) -> Self {
        Self { gpu: Some(gpu), ..Self::memory(gpu.bytes(), gpu.title.to_owned()) }
    }

    /// A GPU of which only the memory is known.
    pub fn device_memory(bytes: usize) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "shown to a few digits")]
        let gib = bytes as f64 / GIB;
        Self::memory(bytes, format!("a GPU of {gib:.4} GiB").replace(".0000 ", " "))
    }

    fn memory(bytes: usize, name: String) -> Self {
        let held = gpus::CONTEXT.min(bytes);
        // A tenth is left, as of what is free on a machine at hand.
        Self { name, budget: (bytes - held) / 10 * 9 + held, held, dtype: DType::BF16, gpu: None }
    }

    /// What a run may fill.
    fn free(&self) -> usize {
        self.budget.saturating_sub(self.held)
    }
}

/// Memory of the device that a run may take.
fn budget(recipe: &Recipe, device: &Device) -> usize {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number of bytes")]
    match recipe.train.memory_gib {
        gib if gib > 0.0 => (gib * GIB) as usize,
        // Leave a tenth to others.
        _ => device::free(device).map_or(usize::MAX, |free| free / 10 * 9 + device::resident(device)),
    }
}

/// How long rows are in tokens, as far as it is known.
#[derive(Clone, Debug)]
pub enum Lengths {
    /// Nothing is known: as long as the recipe lets them be.
    Longest,
    /// The longest rows, longest first, and the largest micro-batch of the run as it is.
    Known { longest: Vec<u32>, largest: usize },
}

/// So many of the longest rows are enough to know what any batch may be; larger ones are taken to be full.
const KEPT: usize = 1 << 12;

impl Lengths {
    /// Of rows.
    pub fn of(mut lengths: Vec<u32>, largest: usize) -> Self {
        if lengths.len() > KEPT {
            lengths.select_nth_unstable_by(KEPT, |a, b| b.cmp(a));
            lengths.truncate(KEPT);
        }
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        Self::Known { longest: lengths, largest }
    }

    /// Tokens of the largest micro-batch of a recipe, at most. `own` is the recipe that [`Self::Known`] is of.
    fn most(&self, recipe: &Recipe, own: &Recipe) -> usize {
        let (batch, length) = (recipe.train.batch, recipe.data.max_length);
        // Two answers with a question each, at most.
        let row = if matches!(recipe.form(), Form::Pairs { .. }) { 2 * length } else { length };
        let full = batch.saturating_mul(row);
        let Self::Known { longest, largest } = self else { return full };
        if (batch, length) == (own.train.batch, own.data.max_length) {
            return *largest;
        }
        if recipe.data.packing == Packing::Bfd {
            return full;
        }
        let known: usize = longest.iter().take(batch).map(|n| (*n as usize).min(row)).sum();
        known + batch.saturating_sub(longest.len()).saturating_mul(if longest.len() < KEPT { 0 } else { row })
    }
}

/// What is asked for, of a recipe as it is.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// The recipe.
    pub recipe: Recipe,
    /// The model.
    pub config: Config,
    /// Type that its embedding and head are stored in.
    pub stored: DType,
    /// Where it is going to be.
    pub place: Place,
    /// How long its rows are.
    pub lengths: Lengths,
}

/// What a recipe takes.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Part by part.
    pub memory: Memory,
    /// Tokens of the largest micro-batch.
    pub tokens: usize,
    /// Layers that are computed again in the backward pass.
    pub recompute: usize,
    /// All of it, in bytes.
    pub peak: usize,
}

/// Changes to a recipe that let it fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// As `--set` would make them.
    pub sets: Vec<String>,
    /// What the run takes then, in bytes.
    pub peak: usize,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets: Vec<String> = self.sets.iter().map(|set| format!("--set {set}")).collect();
        f.write_str(&sets.join(" "))
    }
}

impl Outlook {
    /// What the recipe takes.
    pub fn taken(&self) -> Taken {
        self.taken_by(&self.recipe)
    }

    /// What the recipe takes with some changes in it.
    fn taken_by(&self, recipe: &Recipe) -> Taken {
        let memory = Memory::new(&self.config, recipe, self.stored, self.place.dtype);
        let tokens = self.lengths.most(recipe, &self.recipe);
        let recompute = memory.recompute(recipe.train.recompute, tokens, tokens, self.place.free());
        let peak = memory.parts(tokens, tokens, recompute).total() + self.place.held;
        Taken { memory, tokens, recompute, peak }
    }

    /// Whether a recipe's run fits.
    fn fits(&self, recipe: &Recipe) -> bool {
        self.taken_by(recipe).peak <= self.place.budget
    }

    /// The least that has to be changed for the run to fit, each change tried by planning again: none if it fits, or if
    /// nothing of this kind would help. What changes no number of the run comes first, then what changes the fewest of them.
    pub fn advice(&self) -> Option<Advice> {
        if self.fits(&self.recipe) {
            return None;
        }
        // A bit a change: counted upwards, the heaviest change of a set decides, and all lighter ones were tried before.
        (1_u32..1 << CHANGES.len()).find_map(|set| {
            let mut recipe = self.recipe.clone();
            let mut said = Vec::new();
            let chosen = |i: &usize| set >> i & 1 == 1;
            // How much smaller a batch or a row has to be is known when all else is decided.
            let (sized, fixed): (Vec<usize>, Vec<usize>) =
                (0..CHANGES.len()).filter(chosen).partition(|i| CHANGES[*i].1);
            for i in fixed.into_iter().chain(sized) {
                said.extend(CHANGES[i].0(self, &mut recipe)?);
            }
            let peak = self.taken_by(&recipe).peak;
            (peak <= self.place.budget).then_some(Advice { sets: said, peak })
        })
    }

    /// The largest number of sequences of `length` tokens that fit at a time, with as many layers computed again as that
    /// takes, and how many those are.
    pub fn largest_batch(&self, length: usize) -> (usize, usize) {
        let memory = Memory::new(&self.config, &self.recipe, self.stored, self.place.dtype);
        let again = match self.recipe.train.recompute {
            Recompute::None => 0,
            _ => self.config.layers,
        };
        let most = memory.largest_batch(length, self.place.free(), again);
        let tokens = most * length;
        (most, memory.recompute(self.recipe.train.recompute, tokens, tokens, self.place.free()))
    }

    /// Seconds of a run that goes over `tokens` in micro-batches of so many on average, in rows of `length` on average; none
    /// where there is no GPU that a prediction could be made for.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    pub fn seconds(&self, tokens: f64, micro_batch: f64, length: f64) -> Option<f64> {
        let machine = self.place.gpu?.machine();
        let recipe = &self.recipe;
        let packed = self.config.quantization.is_some() || recipe.model.quantization == Quantization::Nf4;
        let step = Step {
            tokens: micro_batch as usize,
            pairs: micro_batch * length / 2.0,
            targets: micro_batch as usize,
            recompute: self.taken().recompute,
            trained: match recipe.method {
                Method::Lora => Trained::Adapter(recipe.lora.r),
                Method::Full => Trained::Whole,
            },
            packed,
            dropout: recipe.lora.dropout > 0.0 && recipe.method == Method::Lora,
            reference: matches!(recipe.form(), Form::Pairs { .. } | Form::Unpaired { .. })
                && recipe.preference().loss.needs_reference(),
            shared: matches!(recipe.form(), Form::Pairs { .. }),
        };
        Some(tokens / micro_batch.max(1.0) * Cost::of(&self.config, &step, &machine).predicted(&machine))
    }
}

/// A change to a recipe: what it sets, or nothing if there is nothing to change.
type Change = fn(&Outlook, &mut Recipe) -> Option<Vec<String>>;

/// From the one that changes the least; and whether it asks how much of it is needed.
const CHANGES: [(Change, bool); 6] =
    [(recompute, false), (batch, true), (optimizer, false), (quantize, false), (shorten, true), (adapter, false)];

/// Compute layers again: the same numbers, in more time.
fn recompute(_: &Outlook, recipe: &mut Recipe) -> Option<Vec<String>> {
    if recipe.train.recompute != Recompute::None {
        return None;
    }
    recipe.train.recompute = Recompute::Auto;
    Some(vec!["train.recompute=auto".into()])
}

/// Fewer sequences at a time, and as many more batches a step.
fn batch(outlook: &Outlook, recipe: &mut Recipe) -> Option<Vec<String>> {
    let (batch, steps) = (recipe.train.batch, recipe.train.accumulation);
    // KTO compares within a micro-batch.
    let least = if matches!(recipe.form(), Form::Unpaired { .. }) { 2 } else { 1 };
    let smaller = |b: &usize| {
        let mut with = recipe.clone();
        (with.train.batch, with.train.accumulation) = (*b, steps * (batch / b));
        with
    };
    // As many rows a step as before.
    let divisors: Vec<usize> = (least..batch).rev().filter(|b| batch.is_multiple_of(*b)).collect();
    let fitting = divisors.iter().map(smaller).find(|with| outlook.fits(with));
    let found = fitting.or_else(|| divisors.last().map(smaller))?;
    *recipe = found;
    Some(vec![
        format!("train.batch={}", recipe.train.batch),
        format!("train.accumulation={}", recipe.train.accumulation),
    ])
}

/// Moments in 8 bits.
fn optimizer(_: &Outlook, recipe: &mut Recipe) -> Option<Vec<String>> {
    if recipe.train.optimizer == Optimizer::Adamw8bit {
        return None;
    }
    recipe.train.optimizer = Optimizer::Adamw8bit;
    Some(vec!["train.optimizer=adamw_8bit".into()])
}

/// A base in 4 bits.
fn quantize(outlook: &Outlook, recipe: &mut Recipe) -> Option<Vec<String>> {
    let packed = recipe.model.quantization == Quantization::Nf4 || outlook.config.quantization.is_some();
    if packed || recipe.method == Method::Full {
        return None;
    }
    recipe.model.quantization = Quantization::Nf4;
    Some(vec!["model.quantization=nf4".into()])
}

/// Shorter rows: half as long until they fit, but no shorter than 256 tokens.
fn shorten(outlook: &Outlook, recipe: &mut Recipe) -> Option<Vec<String>> {
    const LEAST: usize = 256;
    if recipe.data.max_length <= LEAST {
        return None;
    }
    while recipe.data.max_length > LEAST {
        recipe.data.max_length = (recipe.data.max_length / 2).max(LEAST);
        if outlook.fits(recipe) {
            break;
        }
    }
    Some(vec![format!("data.max_length={}", recipe.data.max_length)])
}

/// An adapter instead of every weight.
fn adapter(_: &Outlook, recipe: &mut Recipe) -> Option<Vec<String>> {
    if recipe.method == Method::Lora {
        return None;
    }
    recipe.method = Method::Lora;
    Some(vec!["method=lora".into()])
}

#[cfg(test)]
mod tests;
