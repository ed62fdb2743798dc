//! What base and result of a chain say to the same prompt.

use std::{fs, path::Path};

use anyhow::Result;
use setaccio_base::{atomic, progress::Progress as _, row::Message};
use setaccio_train::{
    chain::card::{SAMPLE_TOKENS, Sample, Told},
    generate::{Sampling, generate},
    merge::Trained,
    model::files::ModelFiles,
    recipe,
    tokenizer::Tokens,
};

use super::steps::{Work, inputs_of};
use crate::commands::train::generate::{chat_ids, load_whole, raw_ids, room};

impl Work<'_> {
    /// The answers of base and result to the chain's prompt, asked once.
    pub fn sample(&mut self, told: &[Told]) -> Result<Option<Sample>> {
        let chain = self.opened.chain.clone();
        let (Some(first), Some(begun), Some(last)) = (chain.stage.first(), told.first(), told.last()) else {
            return Ok(None);
        };
        if chain.prompt.is_empty() {
            return Ok(None);
        }
        let path = self.places.0.join("sample.json");
        let inputs =
            inputs_of(&["sample", &chain.prompt], begun.lock.base.iter().chain(&last.lock.base).chain(&last.lock.made));
        let sample = |answers| Some(Sample { prompt: chain.prompt.clone(), answers });
        if self.kept.has("sample", &inputs, &path)
            && let Some(answers) = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
        {
            return Ok(sample(answers));
        }
        let trained = Trained::open(&self.places.run(first))?;
        // Both are asked as the first stage asked: with the template that it was trained with.
        let ask = |model: &Path| self.ask(model, &trained.made, &chain.prompt);
        let answers = [ask(&trained.base)?, ask(&self.merged())?];
        atomic::write(&path, &serde_json::to_vec_pretty(&answers)?)?;
        self.kept.add("sample", &inputs, &path)?;
        Ok(sample(answers))
    }

    /// The most probable answer of the model in `path`, with the tokenizer that lies in `tokens`.
    fn ask(&self, path: &Path, tokens: &Path, prompt: &str) -> Result<String> {
        let (files, tokens, progress) = (ModelFiles::open(path)?, Tokens::open(tokens)?, &self.progress);
        let model = load_whole(&files, recipe::Device::Auto, progress)?;
        let ids = if tokens.chat_template.is_some() {
            chat_ids(&tokens, &[Message::new("user", prompt)])?
        } else {
            raw_ids(&tokens, prompt)?
        };
        let room = room(files.config(), ids.len())?;
        let sampling = Sampling { temperature: 0.0, top_p: 1.0, seed: 0, max_tokens: SAMPLE_TOKENS.min(room) };
        let mut written = Vec::new();
        generate(&model, &ids, &tokens.eos_ids, &sampling, &mut |id| {
            written.push(id);
            !progress.cancelled()
        })?;
        if progress.cancelled() {
            return Err(setaccio_train::Error::Interrupted.into());
        }
        Ok(tokens.decode(&written, true)?)
    }
}
