//! Write on from a prompt, token by token, so that a person can see what was learned.

use candle_core::DType;
use setaccio_base::{progress::Progress, row::Message};
use setaccio_templates::{Clock, End};

use crate::{
    device,
    error::{Error, Result},
    formats::model_files::ModelFiles,
    model::{
        config::Config,
        kv_cache::KvCache,
        llama::Llama,
        load::{self, LoadOptions},
    },
    random, recipe,
    tokenizer::Tokens,
};

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0 takes the most probable token; above, logits are divided by it.
    pub temperature: f64,
    /// Choose among the most probable tokens that together have this probability.
    pub top_p: f64,
    /// Decides the choices.
    pub seed: u64,
    /// At most this many new tokens.
    pub max_tokens: usize,
}

/// The model as it is stored, in the memory of what computes.
pub fn load_model(files: &ModelFiles, device: recipe::Device, progress: &dyn Progress) -> Result<Llama> {
    let (device, dtype) = device::pick(device)?;
    files.warn(progress);
    progress.stage("load", files.config().layers as u64);
    load::model(files.config(), files, &LoadOptions { dtype, device, ..LoadOptions::default() }, &|_| {
        progress.advance(1, "");
        !progress.cancelled()
    })
}

/// Ids of a text to be written on from as it is, for a model whose embedding has `vocab` rows.
///
/// # Errors
/// The tokenizer fails, or has a token that the model has not.
pub fn raw_ids((tokens, vocab): (&Tokens, usize), text: &str) -> Result<Vec<u32>> {
    let mut ids = tokens.encode(text).map_err(in_prompt)?.ids;
    if let Some((_, bos)) = tokens.bos.as_ref().filter(|_| tokens.adds_bos) {
        ids.insert(0, *bos);
    }
    known((tokens, vocab), ids)
}

/// Ids of a conversation up to where the answer begins, for a model whose embedding has `vocab` rows. `clock` is what a
/// template takes for now.
///
/// # Errors
/// The model has no chat template, its template cannot render the conversation, or the tokenizer has a token that the
/// model has not.
pub fn chat_ids((tokens, vocab): (&Tokens, usize), messages: &[Message], clock: Option<Clock>) -> Result<Vec<u32>> {
    let Some(template) = &tokens.chat_template else {
        return Err(Error::Other(
            "this model has no chat template: give --raw to write on from the prompt as it is".into(),
        ));
    };
    let renderer = tokens.renderer(template).map_err(|e| Error::damaged(&tokens.source, e.to_string()))?.at(clock);
    let text = renderer.chat(messages, None, End::Prompt).map_err(in_prompt)?.text;
    known((tokens, vocab), tokens.encode(&text).map_err(in_prompt)?.ids)
}

fn known((tokens, vocab): (&Tokens, usize), ids: Vec<u32>) -> Result<Vec<u32>> {
    tokens.within(&ids, vocab).map_err(|why| Error::model(&tokens.source, format!("the prompt: {why}")))?;
    Ok(ids)
}

#[allow(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
fn in_prompt(message: String) -> Error {
    Error::Other(format!("the prompt: {message}"))
}

/// How many tokens may follow a prompt of so many: beyond its positions a model writes nonsense.
pub fn tokens_left(config: &Config, prompt: usize) -> Result<usize> {
    let positions = config.max_position_embeddings;
    match positions.checked_sub(prompt) {
        None | Some(0) => Err(Error::Other(format!(
            "the prompt has {prompt} tokens, and the model has {positions} positions: shorten it"
        ))),
        Some(left) => Ok(left),
    }
}

/// New tokens after `prompt`. `each` is called with every one of them, and ends it by `false`; a token of `stop` ends it
/// too, and is not one of them.
///
/// # Errors
/// An empty prompt, an id outside the vocabulary, logits that are not numbers.
pub fn generate(
    model: &Llama,
    prompt: &[u32],
    stop: &[u32],
    sampling: &Sampling,
    each: &mut dyn FnMut(u32) -> bool,
) -> Result<Vec<u32>> {
    if prompt.is_empty() {
        return Err(Error::Other("the prompt has no tokens".into()));
    }
    let mut caches = vec![KvCache::default(); model.layers.len()];
    let (mut input, mut written) = (prompt.to_vec(), Vec::new());
    let stream = random::key(sampling.seed, "generate");
    while written.len() < sampling.max_tokens {
        let logits: Vec<f32> = model.next_logits(&input, &mut caches)?.to_dtype(DType::F32)?.to_vec1()?;
        if !logits.iter().all(|x| x.is_finite()) {
            return Err(Error::Other(format!("the model's logits after token {} are not numbers", caches[0].len())));
        }
        let token = choose(&logits, sampling, random::uniform(stream, written.len() as u64));
        if stop.contains(&token) {
            break;
        }
        written.push(token);
        if !each(token) {
            break;
        }
        input = vec![token];
    }
    Ok(written)
}

/// The token at the point `at` in [0, 1) of the distribution. Of equal logits the first comes first.
fn choose(logits: &[f32], sampling: &Sampling, at: f32) -> u32 {
    let mut order: Vec<u32> = (0..).take(logits.len()).collect();
    order.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)));
    if sampling.temperature <= 0.0 {
        return order[0];
    }
    let top = f64::from(logits[order[0] as usize]);
    let weight = |id: &u32| ((f64::from(logits[*id as usize]) - top) / sampling.temperature).exp();
    let weights: Vec<f64> = order.iter().map(weight).collect();
    let total: f64 = weights.iter().sum();
    let mut nucleus = 0.0;
    let kept = weights.iter().take_while(|w| {
        let open = nucleus < sampling.top_p * total;
        nucleus += **w;
        open
    });
    let kept: Vec<f64> = kept.copied().collect();
    let mut left = f64::from(at) * kept.iter().sum::<f64>();
    let position = kept.iter().position(|w| {
        left -= w;
        left < 0.0
    });
    order[position.unwrap_or(kept.len().saturating_sub(1))]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(temperature: f64, top_p: f64) -> Sampling {
        Sampling { temperature, top_p, seed: 0, max_tokens: 1 }
    }

    #[test]
    fn greedy_takes_the_first_of_the_best() {
        assert_eq!(choose(&[0.0, 2.0, 2.0, 1.0], &sampling(0.0, 1.0), 0.9), 1);
    }

    #[test]
    fn the_nucleus_holds_the_most_probable_only() {
        // Probabilities 0.5, 0.25, 0.125, 0.125.
        let logits = [0.25, 0.5, 0.125, 0.125].map(f32::ln);
        let chosen = |top_p, at| choose(&logits, &sampling(1.0, top_p), at);
        assert_eq!([0.0, 0.49, 0.51, 0.74, 0.76, 0.99].map(|at| chosen(1.0, at)), [1, 1, 0, 0, 2, 3]);
        assert_eq!([0.0, 0.65, 0.67, 0.99].map(|at| chosen(0.75, at)), [1, 1, 0, 0]);
        assert_eq!([0.0, 0.99].map(|at| chosen(0.1, at)), [1, 1]);
    }

    #[test]
    fn a_prompt_that_the_model_has_no_rows_for_names_the_tokenizer() {
        let tokens = crate::tokenizer::tiny::train(["ciao"].into_iter(), 300).unwrap();
        let ids = raw_ids((&tokens, tokens.vocab), "ciao").unwrap();
        let largest = *ids.iter().max().unwrap() as usize;
        let error = raw_ids((&tokens, largest), "ciao").unwrap_err().to_string();
        let said = format!("the prompt: token {largest} (");
        assert!(error.starts_with(&tokens.source.display().to_string()) && error.contains(&said), "{error}");
        assert!(error.contains(&format!("outside the model's vocabulary of {largest}")), "{error}");
    }

    #[test]
    fn a_low_temperature_sharpens() {
        let logits = [0.0, 1.0];
        let share =
            |t| (0..1000_u16).filter(|i| choose(&logits, &sampling(t, 1.0), f32::from(*i) / 1000.0) == 1).count();
        assert_eq!([share(1.0), share(0.5)], [732, 881]); // 1 / (1 + e^-1), 1 / (1 + e^-2)
    }
}
