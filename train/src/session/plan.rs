//! Everything of a run that can be known, and can fail, before a weight is read: the base's files, its tokenizer, the
//! rows as tokens, the order of the steps, the memory.

use std::{
    fs,
    path::{Path, PathBuf},
};

use candle_core::{DType, Device};
use setaccio_base::{atomic, progress::Progress};
use setaccio_templates::Renderer;
use tempfile::TempDir;

use super::outlook::{Lengths, Outlook, Place};
use crate::{
    artifacts::tiny::Tiny,
    checkpoint::ownership,
    data::{Dataset, Order, Shape, Split, shards::Build, told},
    device,
    error::{Error, Result},
    formats::{
        model_files::ModelFiles,
        peft::{self, AdapterFile},
    },
    kernels::Products,
    memory::Memory,
    model::config::Config,
    recipe::{EMBEDDING, Form, HEAD, Lora, Method, PreferenceLoss, Recipe, RecipeFile, TINY_FOLDER, Train},
    report::lock::{self, RunLock},
    tokenizer::{self, Tokens},
};

/// Texts that the tiny tokenizer is trained on, at most.
const TINY_TEXTS: usize = 5000;

/// A run that is ready to start.
pub struct RunPlan {
    /// The recipe and where it came from.
    pub recipe_file: RecipeFile,
    /// The run's folder.
    pub folder: PathBuf,
    /// The base.
    pub files: ModelFiles,
    /// Its tokenizer, or the recipe's, with the tokens that are added.
    pub tokens: Tokens,
    /// The model that is trained: the base, with rows for these.
    pub config: Config,
    /// The adapter that is gone on with, if one is.
    pub adapter: Option<AdapterFile>,
    /// What is learned from.
    pub train: Dataset,
    /// What is held back, if the builds have a validation split.
    pub eval: Option<Dataset>,
    /// The rows of each step.
    pub order: Order,
    /// Steps of the whole run.
    pub total: u64,
    /// What computes.
    pub device: Device,
    /// In which type.
    pub dtype: DType,
    /// How products with weights are computed.
    pub products: Products,
    /// What it takes.
    pub memory: Memory,
    /// Layers that are computed again in the backward pass.
    pub recompute: usize,
    /// Tokens and targets of the largest micro-batch.
    pub largest: (usize, usize),
    /// Memory that the run may take, in bytes.
    pub budget: usize,
    /// What the program holds of it before it reads a weight, in bytes.
    pub base_memory: usize,
    /// The tiny base, until a run begins: the folder may hold another run, which goes by the one that is there.
    made: Option<TempDir>,
}

impl RunPlan {
    /// Prepare the run of a recipe in `folder`.
    ///
    /// # Errors
    /// Files that are missing or wrong, rows that cannot be learned from, a model that does not fit the recipe.
    pub fn new(mut recipe_file: RecipeFile, folder: &Path, progress: &dyn Progress) -> Result<Self> {
        let recipe = &recipe_file.recipe;
        ownership::check(folder)?;
        let (device, dtype) = device::pick(recipe.train.device)?;
        let products = device::products(recipe.train.dtype, &device)?;
        computable(recipe, &recipe_file.file, &device)?;
        let made = if recipe.model.is_tiny() { Some(tiny(recipe, progress)?) } else { None };
        let path = made.as_ref().map_or_else(|| PathBuf::from(&recipe.model.path), |made| made.path().to_owned());
        let files = ModelFiles::open(&path)?;
        files.check()?;
        files.warn(progress);
        fit(&mut recipe_file, files.config())?;
        let recipe = &recipe_file.recipe;
        if recipe.method == Method::Full && files.config().quantization.is_some() {
            let message = "holds weights in 4 bits, which `method = \"full\"` cannot train: name the model that they were \
                           made from, or train an adapter with `method = \"lora\"`";
            return Err(Error::model(&path, message));
        }
        let (tokens, config) = vocabulary(&recipe_file, &files, &path)?;
        let adapter = match recipe.lora.adapter.as_str() {
            "" => None,
            named => {
                let file = peft::load(Path::new(named))?;
                file.fits(files.config(), &Path::new(named).join(peft::WEIGHTS))?;
                same_base(&files, Path::new(named), progress)?;
                same_vocabulary((&file, named), (&files, &config), &recipe_file.file)?;
                same_added(
                    (Path::new(named), &file),
                    (&files, &tokens, recipe.model.added().len()),
                    &recipe_file.file,
                )?;
                Some(file)
            }
        };
        let cache = folder.join("tokens");
        fs::create_dir_all(&cache).map_err(Error::io("create", &cache))?;
        atomic::sweep(&cache)?;
        let open = |split: Split, limit: usize| {
            let data = (&recipe.data, &recipe_file.place);
            Dataset::open(
                data,
                (recipe.task, recipe.form()),
                (split, limit),
                (&tokens, config.vocab_size),
                &cache,
                progress,
            )
        };
        let train = open(Split::Train, recipe.data.limit)?;
        for sentence in told::sentences(&train) {
            progress.warn(&sentence);
        }
        if train.is_empty() {
            let why = train.left_out().map_or_else(
                || "look at data.max_length and data.overlong".to_owned(),
                |first| format!("the first one is left out because {first}"),
            );
            return Err(Error::recipe(&recipe_file.file, format!("no row is left to train on: {why}")));
        }
        if recipe.form() != Form::Texts {
            one_kind(recipe, &recipe_file.file, &train)?;
        }
        let eval = open(Split::Validation, recipe.eval.rows)?;
        for sentence in told::sentences(&eval) {
            progress.warn(&format!("held back: {sentence}"));
        }
        let eval = Some(eval).filter(|d| !d.is_empty());
        let shape = Shape {
            packing: recipe.data.packing,
            max_length: recipe.data.max_length,
            batch: recipe.train.batch,
            accumulation: recipe.train.accumulation,
        };
        let order = Order::new(train.lengths(), shape, recipe.seed);
        let total = steps(&order, &recipe.train);
        let memory = Memory::new(&config, recipe, files.stored()?, dtype);
        let largest = largest(&order, total);
        let Place { budget, held: base_memory, .. } = Place::here(recipe, &device, dtype);
        let free = budget.saturating_sub(base_memory);
        let recompute = memory.recompute(recipe.train.recompute, largest.0, largest.1, free);
        Ok(Self {
            folder: folder.to_owned(),
            files,
            tokens,
            config,
            adapter,
            train,
            eval,
            order,
            total,
            device,
            dtype,
            products,
            memory,
            recompute,
            largest,
            budget,
            base_memory,
            recipe_file,
            made,
        })
    }

    /// Where the base is, or will be once a run has begun.
    pub fn base(&self) -> PathBuf {
        if self.made.is_some() { self.folder.join(TINY_FOLDER) } else { self.files.path().to_owned() }
    }

    /// Put the tiny base into the run's folder.
    pub fn place_base(&self) -> Result<()> {
        let Some(made) = &self.made else { return Ok(()) };
        let mut files = Vec::new();
        for entry in fs::read_dir(made.path()).map_err(Error::io("list", made.path()))? {
            let path = entry.map_err(Error::io("list", made.path()))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            files.push((name, fs::read(&path).map_err(Error::io("read", &path))?));
        }
        // A folder with a config.json is whole.
        files.sort_by_key(|(name, _)| (name == "config.json", name.clone()));
        let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.clone())).collect();
        Ok(atomic::write_together(&self.folder.join(TINY_FOLDER), &files)?)
    }

    /// What it takes in `place`, or on this machine.
    ///
    /// # Errors
    /// The files do not say what their embedding is stored in.
    pub fn outlook(&self, place: Option<Place>) -> Result<Outlook> {
        let here = || Place { budget: self.budget, held: self.base_memory, ..self.here() };
        Ok(Outlook {
            recipe: self.recipe_file.recipe.clone(),
            config: self.config.clone(),
            stored: self.files.stored()?,
            place: place.unwrap_or_else(here),
            lengths: Lengths::of(self.train.lengths(), self.largest.0),
        })
    }

    /// The most memory that the run is to take, in bytes, with what the program held before it.
    pub fn predicted_memory(&self) -> usize {
        let (tokens, targets) = self.largest;
        self.memory.parts(tokens, targets, self.recompute).total() + self.base_memory
    }

    fn here(&self) -> Place {
        Place::here(&self.recipe_file.recipe, &self.device, self.dtype)
    }

    /// Steps of a run over these rows that is to be as long as `train` says.
    pub fn steps_of(&self, train: &Train) -> u64 {
        steps(&self.order, train)
    }

    /// Passes over the data after `steps` steps.
    #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^53 steps")]
    pub fn epoch(&self, steps: u64) -> f64 {
        steps as f64 / self.order.steps_per_epoch().max(1) as f64
    }

    /// The recipe's own chat template, if it has one.
    ///
    /// # Errors
    /// It cannot be read, or does not parse.
    pub fn chat_template(&self) -> Result<Option<String>> {
        let name = &self.recipe_file.recipe.data.template;
        if name.is_empty() {
            return Ok(None);
        }
        let template = self.recipe_file.place.beside(name);
        let source = template.text_plain().map_err(Error::io("read the template", template.path()))?;
        let unread = |e: setaccio_templates::Error| Error::damaged(template.path(), e.to_string());
        let chat = Renderer::new(Some(&source), None, "", "").map_err(unread)?.reads("messages");
        Ok(chat.then_some(source))
    }

    /// The tokenizer with the template that it is trained with, which is what a model wants to be asked with.
    ///
    /// # Errors
    /// As [`Self::chat_template`].
    pub fn trained_tokens(&self) -> Result<Tokens> {
        let mut tokens = self.tokens.clone();
        tokens.chat_template = self.chat_template()?.or(tokens.chat_template);
        Ok(tokens)
    }

    /// Rows of a step as a person would look for them.
    pub fn places(&self, step: u64) -> String {
        const SHOWN: usize = 8;
        let rows: Vec<u32> = self.order.step(step).into_iter().flatten().flatten().collect();
        let mut places: Vec<String> = rows.iter().take(SHOWN).map(|row| self.train.place(*row as usize)).collect();
        if rows.len() > SHOWN {
            places.push(format!("and {} more", rows.len() - SHOWN));
        }
        places.join("; ")
    }
}

/// Make the tiny base. It is a function of recipe and rows, and takes no time.
fn tiny(recipe: &Recipe, progress: &dyn Progress) -> Result<TempDir> {
    let folder = tempfile::tempdir().map_err(Error::io("create a folder in", std::env::temp_dir()))?;
    let mut texts = Vec::new();
    for build in &recipe.data.train {
        let build = Build::open(build)?;
        for shard in build.shards(Split::Train) {
            for row in build.read(shard, &|| progress.cancelled())?.1 {
                if texts.len() < TINY_TEXTS {
                    texts.extend(row?.content.texts().map(str::to_owned));
                }
            }
        }
    }
    let tokens = tokenizer::tiny::train(texts.into_iter(), tokenizer::tiny::VOCAB)?;
    let bos = tokens.bos.as_ref().map(|(_, id)| *id);
    let tiny = Tiny { bos, eos: tokens.eos_ids.clone(), ..Tiny::new(tokens.vocab, recipe.seed) };
    tiny.make(folder.path())?;
    tokens.save(folder.path())?;
    Ok(folder)
}

/// Check that an adapter that a run left was trained upon this very base.
fn same_base(files: &ModelFiles, adapter: &Path, progress: &dyn Progress) -> Result<()> {
    let lock = adapter.with_file_name(lock::NAME);
    if !lock.is_file() {
        return Ok(());
    }
    let upon = RunLock::read(&lock)?.base;
    let found = files.hashes(&|| progress.cancelled())?;
    let Some(differs) = lock::differing(&found, &upon) else { return Ok(()) };
    let message = format!(
        "was trained upon another base than `model.path`: {differs} differs from what {} says; name that one, or leave \
         `lora.adapter` out",
        lock.display()
    );
    Err(Error::damaged(adapter, message))
}

/// What a GPU cannot do yet.
pub(super) const NO_DORA: &str = "`lora.use_dora` has no kernels for a GPU yet: train on the CPU with `train.device = \"cpu\"`, or \
                                  without it";

/// Check that what computes has kernels for all that is asked.
fn computable(recipe: &Recipe, file: &str, device: &Device) -> Result<()> {
    if !recipe.lora.use_dora || device.is_cpu() {
        return Ok(());
    }
    Err(Error::recipe(file, NO_DORA))
}

/// The tokenizer with the tokens that are added, and what the base is with rows for them.
fn vocabulary(recipe_file: &RecipeFile, files: &ModelFiles, path: &Path) -> Result<(Tokens, Config)> {
    let model = &recipe_file.recipe.model;
    let tokens = match model.tokenizer.as_str() {
        "" => Tokens::open(path)?,
        named => Tokens::open(recipe_file.place.beside(named).path())?,
    };
    let added = model.added();
    let tokens = tokens.with_added(&added)?;
    // Ids that the base has spare rows for need no more.
    let rows = if added.is_empty() { 0 } else { tokens.vocab };
    let config = Config { vocab_size: files.config().vocab_size.max(rows), ..files.config().clone() };
    Ok((tokens, config))
}

/// Check that an adapter with rows for added tokens is gone on with under the same number of them.
fn same_vocabulary(
    (file, named): (&AdapterFile, &str),
    (files, config): (&ModelFiles, &Config),
    recipe: &str,
) -> Result<()> {
    let found = file.applied(files.config()).vocab_size;
    if found == config.vocab_size {
        return Ok(());
    }
    let (base, run) = (files.config().vocab_size, config.vocab_size);
    let message = format!(
        "the adapter in {named} has {found} rows of the embedding, the base {base}, and the run {run}: give `model.add_tokens` and \
         `model.add_special_tokens` what they had when it was trained"
    );
    Err(Error::recipe(recipe, message))
}

/// Check that an adapter's rows of added tokens are gone on with by the same tokens, in the same order: each row was learned for
/// its own.
fn same_added(
    (folder, file): (&Path, &AdapterFile),
    (files, tokens, added): (&ModelFiles, &Tokens, usize),
    recipe: &str,
) -> Result<()> {
    let grown = file.applied(files.config()).vocab_size > files.config().vocab_size;
    // Without a tokenizer beside it, nobody knows which tokens an adapter was trained with.
    if (added == 0 && !grown) || !folder.join("tokenizer.json").exists() {
        return Ok(());
    }
    let theirs = Tokens::open(folder)?;
    let from = tokens.vocab.saturating_sub(added);
    let [theirs, ours] = [&theirs, tokens].map(|tokens| tokens.added_from(from));
    if theirs == ours {
        return Ok(());
    }
    let [theirs, ours] = [theirs, ours].map(|list| if list.is_empty() { "none".to_owned() } else { list.join(", ") });
    let message = format!(
        "the adapter in {} was trained with added tokens {theirs}, and the run adds {ours}: give `model.add_tokens` and \
         `model.add_special_tokens` what they had then, in the same order",
        folder.display()
    );
    Err(Error::recipe(recipe, message))
}

/// KTO weighs what was wanted against what was not.
fn one_kind(recipe: &Recipe, file: &str, train: &Dataset) -> Result<()> {
    let kinds = |wanted: bool| (0..train.len()).any(|i| train.desirable(i) == wanted);
    if recipe.preference().loss != PreferenceLoss::Kto || (kinds(true) && kinds(false)) {
        return Ok(());
    }
    let only = if kinds(true) { "wanted" } else { "unwanted" };
    let message = format!(
        "every answer of data.train is {only}, and KTO learns from the difference: add data with the other kind, or train \
         on wanted answers alone with `task = \"sft\"`"
    );
    Err(Error::recipe(file, message))
}

/// Check that the recipe fits the model, and call the layers to be adapted what they are called in it.
pub(super) fn fit(recipe_file: &mut RecipeFile, config: &Config) -> Result<()> {
    let (recipe, file) = (&mut recipe_file.recipe, &recipe_file.file);
    let (length, positions) = (recipe.data.max_length, config.max_position_embeddings);
    if length > positions {
        let message = format!("data.max_length is {length}, and the model is made for {positions} positions");
        return Err(Error::recipe(file, message));
    }
    if recipe.method == Method::Lora {
        let named = recipe.lora.targets_in(&config.targets());
        recipe.lora.targets = named.map_err(|why| Error::recipe(file, format!("lora.targets has {why}")))?;
        on_experts(&recipe.lora, config).map_err(|why| Error::recipe(file, why))?;
        if config.tie_word_embeddings {
            recipe.lora.tie();
        }
        let learned = |module: &str| recipe.lora.covers(module) || recipe.lora.saves(module);
        let half = [EMBEDDING, HEAD].into_iter().find(|module| !learned(module));
        if let (Some(module), false, true) = (half, config.tie_word_embeddings, !recipe.model.added().is_empty())
            && !recipe.model.added_stay
        {
            let message = format!(
                "tokens are added, and nothing learns their rows of `{module}`: name it in `lora.modules_to_save` or in \
                 `lora.targets`, or let them stay what they begin as with `model.added_stay = true`"
            );
            return Err(Error::recipe(file, message));
        }
        let savable: Vec<String> = config.savable().into_iter().map(|(module, _)| module).collect();
        let saved = recipe.lora.check_saved(&savable);
        saved.map_err(|why| Error::recipe(file, format!("lora.modules_to_save has {why}")))?;
    }
    Ok(())
}

/// Check that an adapter on experts is one that PEFT reads. Upon transformers 5, where a layer's experts are two tensors, it makes one
/// adapter each of those of all experts, gate and up beside each other; what cannot be made so is refused.
///
/// # Errors
/// The message is a sentence.
fn on_experts(lora: &Lora, config: &Config) -> std::result::Result<(), String> {
    let (Some(experts), Some(names)) = (&config.experts, config.architecture.family().experts) else { return Ok(()) };
    let named = names.linears.map(|name| lora.targets.iter().any(|target| target == name));
    if !named.contains(&true) {
        return Ok(());
    }
    let [gate, up, _] = names.linears;
    let without = if experts.without.contains(&true) {
        Some("layers that have an MLP without experts, whose adapters it would lose".to_owned())
    } else if named[0] != named[1] {
        Some(format!("`{gate}` or `{up}` alone, which are one tensor there: name both"))
    } else if lora.dropout > 0.0 {
        Some("dropout: set `lora.dropout = 0`".to_owned())
    } else if lora.rslora {
        Some("`lora.rslora`, whose scale it would change: set `lora.alpha` to alpha times the root of `lora.r` without it".to_owned())
    } else if lora.use_dora {
        Some("`lora.use_dora`: leave it out".to_owned())
    } else {
        None
    };
    match without {
        Some(without) => Err(format!(
            "lora.targets names layers of experts, on which PEFT has no adapter with {without}; or let the experts be: \
             lora.targets = [\"q_proj\", \"k_proj\", \"v_proj\", \"o_proj\"]"
        )),
        None => Ok(()),
    }
}

fn steps(order: &Order, train: &Train) -> u64 {
    match train.max_steps {
        0 => order.steps(train.epochs),
        steps => steps,
    }
}

/// Tokens and targets of the largest micro-batch; all tokens count as targets, which is what memory has to be there for.
fn largest(order: &Order, total: u64) -> (usize, usize) {
    // An epoch sees every row; later ones pair them in other ways, so look at a few of them.
    let steps = total.min(order.steps_per_epoch().saturating_mul(3));
    let most = (0..steps).map(|k| order.largest(k)).max().unwrap_or(0);
    (most, most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_on_experts_are_those_that_peft_reads() {
        let json = |family: &str, only: &[usize]| {
            serde_json::json!({
                "model_type": family, "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
                "num_attention_heads": 4, "mlp_only_layers": only,
            })
        };
        let said = |family: &str, only: &[usize], lora: Lora| {
            let config = Config::from_json(Path::new("c"), json(family, only).as_object().unwrap()).unwrap();
            let targets = lora.targets_in(&config.targets()).unwrap();
            on_experts(&Lora { targets, ..lora }, &config).err().unwrap_or_default()
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let attention =
            || Lora { targets: names(&["q_proj", "o_proj"]), dropout: 0.1, rslora: true, ..Lora::default() };
        for family in ["mixtral", "qwen3_moe"] {
            assert_eq!(said(family, &[], Lora::default()), "");
            assert_eq!(said(family, &[], attention()), "");
            assert!(said(family, &[], Lora { dropout: 0.1, ..Lora::default() }).contains("set `lora.dropout = 0`"));
            assert!(said(family, &[], Lora { rslora: true, ..Lora::default() }).contains("`lora.rslora`, whose scale"));
            assert!(
                said(family, &[], Lora { use_dora: true, ..Lora::default() }).contains("`lora.use_dora`: leave it out")
            );
            let half = Lora { targets: names(&["q_proj", "up_proj"]), ..Lora::default() };
            assert!(said(family, &[], half).contains("alone, which are one tensor there: name both"));
            assert_eq!(said(family, &[], Lora { targets: names(&["down_proj"]), ..Lora::default() }), "");
        }
        assert!(said("qwen3_moe", &[0], Lora::default()).contains("layers that have an MLP without experts"));
        assert_eq!(said("qwen3_moe", &[0], attention()), "");
        assert_eq!(said("qwen3", &[], Lora { dropout: 0.1, ..Lora::default() }), "");
    }
}
