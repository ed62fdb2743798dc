//! Write on from a prompt, token by token, so that a person can see what was learned.

use std::sync::{Arc, mpsc};

use setaccio_base::{parallel, progress::Progress, row::Message};
use setaccio_templates::{Clock, End};

use crate::{
    device,
    error::{Error, Result},
    formats::model_files::ModelFiles,
    inference::{
        engine::{Engine, Limits},
        request::{Event, Request, Task, Writing},
        sampling::Sampling,
    },
    model::{
        config::Config,
        llama::Llama,
        load::{self, LoadOptions},
    },
    recipe,
    tokenizer::Tokens,
};

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

/// At most so many new tokens after `prompt`. `each` is called with every one of them, and ends it by `false`; a token of `stop`
/// ends it too, and is not one of them.
///
/// # Errors
/// An empty prompt, an id outside the vocabulary, logits that are not numbers.
pub fn generate(
    model: &Llama,
    prompt: &[u32],
    (stop, max_tokens): (&[u32], usize),
    sampling: &Sampling,
    each: &mut dyn FnMut(u32) -> bool,
) -> Result<Vec<u32>> {
    parallel::take_part();
    let rows = prompt.len() + max_tokens;
    let limits = Limits { rows, texts: 1, keep_prompts: false };
    let mut engine = Engine::new(vec![Arc::new(model.clone())], rows, limits)?;
    let (answers, told) = mpsc::channel();
    let task = Task::Write(Writing { max_tokens, stop: stop.to_vec(), sampling: *sampling, ..Writing::default() });
    let answer = Box::new(move |event: Event| answers.send(event).is_ok());
    engine.submit(Request { model: 0, prompt: prompt.to_vec(), task, answer });
    let mut written = Vec::new();
    loop {
        for event in told.try_iter() {
            match event {
                Event::Token(token) => {
                    written.push(token.id);
                    if !each(token.id) {
                        return Ok(written);
                    }
                }
                Event::Failed(why) => return Err(Error::Other(why)),
                _ => {}
            }
        }
        if engine.idle() {
            return Ok(written);
        }
        engine.step()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
