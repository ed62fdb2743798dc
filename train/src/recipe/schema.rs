//! The schema of a training recipe: the structs are its TOML tables.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::{date, run_lock::Method};

use super::{
    lora::Lora,
    preference::{Preference, PreferenceLoss},
};

/// A whole recipe.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Names the run; its folder is `runs/NAME`.
    pub name: String,
    /// A line for people.
    #[serde(default)]
    pub title: String,
    /// Decides adapter initialisation, dropout, noise and order.
    #[serde(default = "seed")]
    pub seed: u64,
    /// What is learned from: answers (`sft`), choices between them (`preference`) or documents (`text`).
    #[serde(default)]
    pub task: Task,
    /// What of the model is trained: an adapter (`lora`) or every weight (`full`).
    #[serde(default)]
    pub method: Method,
    /// The base.
    pub model: Model,
    /// The adapter; not read with `method = "full"`.
    #[serde(default)]
    pub lora: Lora,
    /// What it is trained on.
    pub data: Data,
    /// How.
    #[serde(default)]
    pub train: Train,
    /// Evaluation while training.
    #[serde(default)]
    pub eval: Eval,
    /// What is kept on the way.
    #[serde(default)]
    pub checkpoint: Checkpoint,
    /// For `task = "preference"`: the loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preference: Option<Preference>,
}

impl Recipe {
    /// The preference loss; DPO's own settings if the recipe says nothing.
    pub fn preference(&self) -> Preference {
        self.preference.clone().unwrap_or_default()
    }

    /// What its rows are made into.
    pub fn form(&self) -> Form {
        let preference = self.preference();
        let longest_prompt = preference.max_prompt_length;
        match (self.task, preference.loss) {
            (Task::Sft | Task::Text, _) => Form::Texts,
            (Task::Preference, PreferenceLoss::Kto) => Form::Unpaired { longest_prompt },
            (Task::Preference, loss) => Form::Pairs { longest_prompt, whole: loss == PreferenceLoss::Orpo },
        }
    }
}

/// What the rows of a data set are made into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// One text a row.
    #[default]
    Texts,
    /// A question and two answers a row. The question keeps its last `longest_prompt` tokens, 0 for all of them; it is
    /// learned together with the chosen answer if `whole`.
    Pairs { longest_prompt: usize, whole: bool },
    /// A question and one answer each, which somebody wanted or did not.
    #[serde(rename = "judged")]
    Unpaired { longest_prompt: usize },
}

/// What is learned from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Answers, or whatever `data.train_on` says, of conversations and documents.
    #[default]
    Sft,
    /// Pairs of answers, or answers that were judged.
    Preference,
    /// Documents, every token of them.
    Text,
}

/// `[model]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// A Hugging Face folder (config.json, safetensors, tokenizer.json) or a GGUF file; `tiny` is made by the program.
    pub path: String,
    /// What to call the base in cards and in adapter_config.json, e.g. `meta-llama/Meta-Llama-3-8B-Instruct`.
    #[serde(default)]
    pub repo: String,
    /// Commit or tag of `repo`.
    #[serde(default)]
    pub revision: String,
    /// Licence of the base model, for the card.
    #[serde(default)]
    pub license: String,
    /// `none` keeps the linear layers as they are, `nf4` quantises them on load.
    #[serde(default)]
    pub quantization: Quantization,
    /// Quantise the block scales of NF4 too.
    #[serde(default = "yes")]
    pub double_quant: bool,
    /// A tokenizer.json to use instead of the model's own.
    #[serde(default)]
    pub tokenizer: String,
    /// Words that become tokens of their own, behind those that the tokenizer has. The model gets a row of embedding and head
    /// for each, which begins as the mean of the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_tokens: Vec<String>,
    /// Marks that become special tokens, behind `add_tokens`: the text of an answer is shown without them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_special_tokens: Vec<String>,
    /// Add tokens though neither `lora.targets` nor `lora.modules_to_save` lets their rows be learned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub added_stay: bool,
}

/// `model.path` of a base that the program makes itself.
pub const TINY: &str = "tiny";
/// Where it is put in the run's folder.
pub const TINY_FOLDER: &str = "base";

impl Model {
    /// Whether the program makes the base itself.
    pub fn is_tiny(&self) -> bool {
        self.path == TINY
    }

    /// What is added to the vocabulary, in order, and whether each is special.
    pub fn added(&self) -> Vec<(&str, bool)> {
        let plain = self.add_tokens.iter().map(|token| (token.as_str(), false));
        plain.chain(self.add_special_tokens.iter().map(|token| (token.as_str(), true))).collect()
    }
}

/// How the frozen linear layers are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quantization {
    /// As they were stored, at most in 32 bits.
    #[default]
    None,
    /// 4 bits, normal float.
    Nf4,
}

/// `[data]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Folders that `setaccio build` wrote, e.g. `data/out/sft-mix`, relative to the working folder.
    pub train: Vec<PathBuf>,
    /// A chat template; empty takes the model's own. Relative to the recipe.
    #[serde(default)]
    pub template: String,
    /// What a template takes for today, `strftime_now`, for instance `2026-01-31`. A template that asks for it needs it.
    #[serde(default, deserialize_with = "date::text", skip_serializing_if = "String::is_empty")]
    pub date: String,
    /// Which tokens are learned.
    #[serde(default)]
    pub train_on: TrainOn,
    /// Longest row, and longest packed row, in tokens.
    #[serde(default = "max_length")]
    pub max_length: usize,
    /// What happens to longer rows.
    #[serde(default)]
    pub overlong: Overlong,
    /// What happens to rows of whose answers the chat template leaves out or rewrites a part, such as their reasoning.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unsaid: Unsaid,
    /// What happens to rows with an answer that says nothing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub empty_answers: EmptyAnswers,
    /// How rows share a sequence.
    #[serde(default)]
    pub packing: Packing,
    /// Use only the first N rows, 0 for all.
    #[serde(default)]
    pub limit: usize,
}

/// Which tokens are learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrainOn {
    /// The assistant's turns and the token that ends each.
    #[default]
    Assistant,
    /// The last answer and the token that ends it.
    Completion,
    /// Everything.
    All,
}

/// What happens to rows longer than `max_length`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlong {
    /// Keep the first `max_length` tokens.
    #[default]
    Truncate,
    /// Leave the row out, and count it.
    Drop,
}

/// What happens to rows of whose answers the chat template leaves out or rewrites a part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unsaid {
    /// Learn what the template writes, and count the rest; a row whose answers cannot be found is left out, and counted.
    #[default]
    Accept,
    /// Put the answers into the text as the rows have them; a row where that cannot be done is left out, and counted.
    Keep,
    /// Leave the row out, and count it.
    Drop,
    /// Stop with an error that names the row.
    Refuse,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// What happens to rows with an answer that says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EmptyAnswers {
    /// Stop with an error that names the row.
    #[default]
    Refuse,
    /// Leave the row out, and count it.
    Drop,
}

/// How rows share a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// Best fit, decreasing: fills sequences of `max_length`; positions restart and no document sees another.
    Bfd,
    /// One row, one sequence, in shuffled order.
    #[default]
    None,
    /// One row, one sequence; rows of like length in one batch.
    Length,
}

/// `[train]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Train {
    /// Sequences at a time.
    pub batch: usize,
    /// Batches a step.
    pub accumulation: usize,
    /// Passes over the data; ignored if `max_steps` is set.
    pub epochs: f64,
    /// Steps, 0 to go by epochs.
    pub max_steps: u64,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Shape of the learning rate after warmup.
    pub schedule: Schedule,
    /// Steps from 0 to the peak.
    pub warmup_steps: u64,
    /// Or a share of all steps.
    pub warmup_ratio: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// `adamw` or `adamw_8bit`.
    pub optimizer: Optimizer,
    /// Decay of the first and second moments.
    pub betas: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Gradients are scaled down to this norm; 0 leaves them.
    pub max_grad_norm: f64,
    /// LoRA+: the learning rate of B is this many times that of A (arXiv 2402.12354); 1 is plain LoRA.
    pub lora_plus_ratio: f64,
    /// NEFTune: uniform noise of alpha / sqrt(length x width) on the embeddings (arXiv 2310.05914); 0 for none.
    pub neftune_alpha: f64,
    /// Which layers are computed again in the backward pass instead of being kept.
    pub recompute: Recompute,
    /// For `recompute = "auto"`: how much memory of the device the run may take, in GiB; 0 takes what is free.
    pub memory_gib: f64,
    /// What computes: `cpu` in f32, `cuda` (the first NVIDIA GPU, in a build with feature `cuda`) in bf16, `auto` the
    /// GPU if there is one that the build can use, else the CPU.
    pub device: Device,
    /// The type of the factors of products with the model's weights: on a CPU `auto` and `f32` leave them as they are; `bf16` rounds
    /// them and adds up in f32, by AMX or AVX512-BF16 where the processor has it, and all else stays in f32. A GPU computes in `bf16`.
    #[serde(skip_serializing_if = "ComputeType::is_auto")]
    pub dtype: ComputeType,
    /// A line of metrics every N steps.
    pub log_every: u64,
}

/// Shape of the learning rate after warmup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Straight to 0 at the last step.
    #[default]
    Linear,
    /// Half a cosine to 0.
    Cosine,
    /// As it is.
    Constant,
}

/// The optimiser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Optimizer {
    /// PyTorch's AdamW.
    #[default]
    Adamw,
    /// With moments in 8 bits, as bitsandbytes keeps them.
    #[serde(rename = "adamw_8bit")]
    Adamw8bit,
}

/// Which layers are computed again in the backward pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Recompute {
    /// As many as the memory asks for.
    #[default]
    Auto,
    /// Every layer.
    All,
    /// None.
    None,
}

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The GPU if there is one that this build can use, else the CPU.
    #[default]
    Auto,
    /// In f32.
    Cpu,
    /// The first NVIDIA GPU, in bf16.
    Cuda,
}

/// The type of the factors of products with the model's weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ComputeType {
    /// What the device computes in: f32 on a CPU, bf16 on a GPU.
    #[default]
    Auto,
    /// On a CPU.
    F32,
    /// On a CPU the sums are in f32.
    Bf16,
}

impl ComputeType {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

impl Default for Train {
    fn default() -> Self {
        Self {
            batch: 8,
            accumulation: 1,
            epochs: 3.0,
            max_steps: 0,
            learning_rate: 2e-5,
            schedule: Schedule::Linear,
            warmup_steps: 0,
            warmup_ratio: 0.0,
            weight_decay: 0.0,
            optimizer: Optimizer::Adamw,
            betas: [0.9, 0.999],
            eps: 1e-8,
            max_grad_norm: 1.0,
            lora_plus_ratio: 1.0,
            neftune_alpha: 0.0,
            recompute: Recompute::Auto,
            memory_gib: 0.0,
            device: Device::Auto,
            dtype: ComputeType::Auto,
            log_every: 10,
        }
    }
}

/// `[eval]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Eval {
    /// Evaluate every N steps and at the end; 0 only at the end.
    pub every: u64,
    /// At most this many rows of the `validation` split; 0 for all.
    pub rows: usize,
    /// Evaluate before the first step too, to see what training changes.
    pub at_start: bool,
    /// So many questions of the validation split are asked at each evaluation, the first that differ; 0 for none.
    pub samples: usize,
    /// What is asked instead of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<String>,
    /// Tokens of each answer, at most; 0 asks nothing.
    pub sample_tokens: usize,
    /// Stop when the evaluation loss was not less than the least for so many evaluations one after the other; 0 never.
    pub patience: u64,
    /// How much less it has to be to count, for `patience`.
    pub min_delta: f64,
}

impl Default for Eval {
    fn default() -> Self {
        Self {
            every: 0,
            rows: 1000,
            at_start: false,
            samples: 3,
            prompts: Vec::new(),
            sample_tokens: 64,
            patience: 0,
            min_delta: 0.0,
        }
    }
}

/// `[checkpoint]`
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpoint {
    /// Every N steps and at the end; 0 only at the end.
    pub every: u64,
    /// The last N are kept, and the best by evaluation loss.
    pub keep: usize,
    /// The result is what had the least evaluation loss, not what the last step left; a checkpoint is taken at each
    /// evaluation that finds a lesser one.
    pub load_best_model_at_end: bool,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self { every: 500, keep: 2, load_best_model_at_end: false }
    }
}

fn seed() -> u64 {
    42
}
fn yes() -> bool {
    true
}
fn max_length() -> usize {
    1024
}
