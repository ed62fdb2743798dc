//! What a model writes at each evaluation, so that a person sees what its loss does not tell: the same few prompts each time, the
//! most probable token each time.

use setaccio_base::{progress::Progress, row::Message};
use setaccio_templates::Clock;

use super::plan::RunPlan;
use crate::{
    data::Dataset,
    error::{Error, Result},
    generate::{chat_ids, generate, raw_ids, tokens_left},
    inference::sampling::Sampling,
    model::llama::Llama,
    recipe::Task,
    report::line::Sample,
    tokenizer::Tokens,
};

/// Of a document that is learned whole the model is given so many tokens, or half of a shorter one.
const OPENING: usize = 16;

/// Prompts as tokens, and what stops an answer.
pub struct Samples {
    prompts: Vec<(String, Vec<u32>)>,
    tokens: Tokens,
    /// Tokens of an answer, at most.
    most: usize,
}

impl Samples {
    /// The prompts of a run: those of its recipe, or the questions of the first rows that are held back.
    ///
    /// # Errors
    /// A prompt that the model cannot be asked.
    pub fn of(plan: &RunPlan) -> Result<Self> {
        let (recipe, tokens) = (&plan.recipe_file.recipe, plan.trained_tokens()?);
        let eval = &recipe.eval;
        let vocab = plan.config.vocab_size;
        let mut prompts = Vec::new();
        if eval.sample_tokens > 0 {
            for prompt in &eval.prompts {
                let ids = if recipe.task == Task::Text || tokens.chat_template.is_none() {
                    raw_ids((&tokens, vocab), prompt)?
                } else {
                    chat_ids((&tokens, vocab), &[Message::new("user", prompt)], Clock::date(&recipe.data.date))?
                };
                prompts.push((prompt.clone(), ids));
            }
            if let Some(rows) = plan.eval.as_ref().filter(|_| eval.prompts.is_empty()) {
                prompts = first(rows, eval.samples, &tokens)?;
            }
        }
        // What the model has no positions for is not asked.
        prompts.retain(|(_, ids)| tokens_left(&plan.config, ids.len() + eval.sample_tokens).is_ok());
        Ok(Self { prompts, tokens, most: eval.sample_tokens })
    }

    /// Whether there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }

    /// What the model writes now.
    pub fn ask(&self, model: &Llama, progress: &dyn Progress) -> Result<Vec<Sample>> {
        let ask = |(prompt, ids): &(String, Vec<u32>)| {
            let written = generate(model, ids, (&self.tokens.eos_ids, self.most), &Sampling::default(), &mut |_| {
                !progress.cancelled()
            })?;
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            Ok(Sample { prompt: prompt.clone(), text: self.tokens.decode(&written)? })
        };
        self.prompts.iter().map(ask).collect()
    }
}

/// The questions of the first `n` rows with different ones: what stands before the first token that is learned.
fn first(rows: &Dataset, n: usize, tokens: &Tokens) -> Result<Vec<(String, Vec<u32>)>> {
    let mut prompts: Vec<(String, Vec<u32>)> = Vec::new();
    for i in 0..rows.len() {
        if prompts.len() == n {
            break;
        }
        let example = rows.example(i);
        let learned = example.trained.iter().position(|trained| *trained).unwrap_or(example.ids.len());
        // Of what is learned from the first token on there is no question.
        let end = if learned > 1 { learned } else { OPENING.min(example.ids.len() / 2) };
        let ids = example.ids[..end].to_vec();
        if ids.is_empty() || prompts.iter().any(|(_, known)| *known == ids) {
            continue;
        }
        prompts.push((tokens.decode(&ids)?.trim().to_owned(), ids));
    }
    Ok(prompts)
}
