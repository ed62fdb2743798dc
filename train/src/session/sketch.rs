//! What a run would take, by the model's configuration alone: without weights, a tokenizer or built rows.

use std::{fs, path::Path};

use candle_core::DType;
use serde_json::Value;

use super::{
    outlook::{Lengths, Outlook, Place},
    plan,
};
use crate::{
    data::{Split, shards::Build},
    device,
    error::{Error, Result},
    formats::{config_json::DTYPES, model_files::ModelFiles},
    model::config::Config,
    recipe::RecipeFile,
};

/// A run of which only the shape is known.
pub struct Sketch {
    /// The recipe and where it came from.
    pub recipe_file: RecipeFile,
    /// What it takes, with every row as long as the recipe lets it be.
    pub outlook: Outlook,
    /// Rows to learn from, if their builds are there.
    pub rows: Option<u64>,
    /// Folders of data that are not built.
    pub unbuilt: Vec<String>,
}

/// A model's configuration and the type that its embedding and head are stored in.
pub struct Outline {
    /// Sizes and switches.
    pub config: Config,
    /// As the files say, or config.json.
    pub stored: DType,
}

impl Outline {
    /// Of a config.json.
    ///
    /// # Errors
    /// It cannot be read, or is of a model that is not supported.
    pub fn of_config(file: &Path) -> Result<Self> {
        let config = Config::read(file)?;
        let text = fs::read(file).map_err(Error::io("read", file))?;
        let json: Value = serde_json::from_slice(&text).map_err(|e| Error::model(file, format!("is no JSON: {e}")))?;
        // transformers 5 writes `dtype`; a model that says neither is in 32 bits.
        let named = ["dtype", "torch_dtype"].iter().find_map(|key| json.get(key)?.as_str());
        let stored = named.and_then(|named| DTYPES.iter().find(|(name, _)| *name == named));
        Ok(Self { config, stored: stored.map_or(DType::F32, |(_, dtype)| *dtype) })
    }

    /// Of a model's files.
    ///
    /// # Errors
    /// They are no model that is supported.
    pub fn of_model(path: &Path) -> Result<Self> {
        let files = ModelFiles::open(path)?;
        Ok(Self { config: files.config().clone(), stored: files.stored()? })
    }
}

impl Sketch {
    /// Look ahead at a recipe's run with a model, in `place` or on this machine.
    ///
    /// # Errors
    /// A recipe that does not fit the model; a build that is there and broken.
    pub fn new(mut recipe_file: RecipeFile, model: Outline, place: Option<Place>) -> Result<Self> {
        let Outline { config, stored } = model;
        plan::fit(&mut recipe_file, &config)?;
        // Without a tokenizer, every token that is added is taken to need a row.
        let config = Config { vocab_size: config.vocab_size + recipe_file.recipe.model.added().len(), ..config };
        let recipe = recipe_file.recipe.clone();
        let place = if let Some(place) = place {
            place
        } else {
            let (device, dtype) = device::pick(recipe.train.device)?;
            device::products(recipe.train.dtype, &device)?;
            Place::here(&recipe, &device, dtype)
        };
        if recipe.lora.use_dora && place.gpu.is_some() {
            return Err(Error::recipe(&recipe_file.file, plan::NO_DORA));
        }
        let there = |folder: &&std::path::PathBuf| folder.join("ledger.json").exists();
        let (built, unbuilt): (Vec<_>, Vec<_>) = recipe.data.train.iter().partition(there);
        let unbuilt: Vec<String> = unbuilt.iter().map(|folder| folder.display().to_string()).collect();
        let rows = if unbuilt.is_empty() {
            let rows = built.iter().map(|folder| Ok(Build::open(folder)?.rows(Split::Train)));
            let rows: u64 = rows.sum::<Result<u64>>()?;
            Some(if recipe.data.limit == 0 { rows } else { rows.min(recipe.data.limit as u64) })
        } else {
            None
        };
        let outlook = Outlook { recipe, config, stored, place, lengths: Lengths::Longest };
        Ok(Self { recipe_file, outlook, rows, unbuilt })
    }

    /// Steps of the run, and whether fewer may come of it: packing puts several rows into a sequence, and rows may be left
    /// out. None if nothing says how many there are.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub fn steps(&self) -> Option<(u64, bool)> {
        let train = &self.outlook.recipe.train;
        if train.max_steps > 0 {
            return Some((train.max_steps, false));
        }
        let batches = self.rows?.div_ceil(train.batch as u64).div_ceil(train.accumulation as u64);
        Some(((batches as f64 * train.epochs).ceil() as u64, true))
    }
}
