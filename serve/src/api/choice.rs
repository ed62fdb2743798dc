//! One text that is being written: the engine's tokens as text, until it ends.

use std::time::Instant;

use serde_json::{Value, json};
use setaccio_train::inference::{
    request::{Event, Finish, Scored},
    text::{Writer, Written},
};

use super::{
    error::{ApiError, ApiResult},
    state::State,
};
use crate::desk::Answers;

/// A text that is being written.
pub struct Choice {
    answers: Answers,
    writer: Writer,
    /// Tokens whose text is held back.
    held: Vec<Scored>,
    /// What was counted so far.
    pub used: Used,
    since: Instant,
    ended: Option<Scored>,
    end: Option<&'static str>,
}

/// Tokens of an answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// Of the prompt, those that were in the cache.
    pub cached: usize,
    /// New ones.
    pub written: usize,
}

/// What comes next of a text.
pub enum Piece {
    /// The prompt's tokens from the second on.
    Prompt(Vec<Scored>),
    /// New text, and the tokens that it is of.
    Text(String, Vec<Scored>),
    /// The end: why, as OpenAI calls it, and the token that ended it.
    End(&'static str, Option<Scored>),
}

impl Choice {
    /// Of these answers, as `writer` has it.
    pub fn new(answers: Answers, writer: Writer) -> Self {
        let (held, used, since) = (Vec::new(), Used::default(), Instant::now());
        Self { answers, writer, held, used, since, ended: None, end: None }
    }

    /// What comes next.
    ///
    /// # Errors
    /// The engine failed.
    pub async fn next(&mut self, state: &State) -> ApiResult<Piece> {
        loop {
            if let Some(end) = self.end {
                return Ok(Piece::End(end, self.ended.take()));
            }
            let Some((now, event)) = self.answers.recv().await else {
                return Err(ApiError::engine("the engine has stopped"));
            };
            match event {
                Event::Started(cached) => self.used.cached = cached,
                Event::Read(_) | Event::Vector(_) => {}
                Event::Prompt(scores) => return Ok(Piece::Prompt(scores)),
                Event::Ended(token) => self.ended = Some(token),
                Event::Token(token) => {
                    let time = now.saturating_duration_since(std::mem::replace(&mut self.since, now));
                    let times = &state.metrics;
                    if self.used.written == 0 {
                        times.first_token.add(time);
                    } else {
                        times.per_token.add(time);
                    }
                    self.used.written += 1;
                    let Written { text, stopped } = self.writer.push(token.id);
                    self.held.push(token);
                    if stopped {
                        // Nobody wants more of it.
                        self.answers.close();
                        self.end = Some("stop");
                        return Ok(Piece::Text(text, std::mem::take(&mut self.held)));
                    }
                    if !text.is_empty() {
                        return Ok(Piece::Text(text, std::mem::take(&mut self.held)));
                    }
                }
                Event::Finished(why) => {
                    self.end = Some(name(why));
                    let rest = self.writer.rest();
                    if !rest.is_empty() || !self.held.is_empty() {
                        return Ok(Piece::Text(rest, std::mem::take(&mut self.held)));
                    }
                }
                Event::Failed(why) => return Err(ApiError::engine(why)),
            }
        }
    }
}

fn name(why: Finish) -> &'static str {
    match why {
        Finish::Stop => "stop",
        Finish::Length => "length",
    }
}

/// What was used, as OpenAI tells it.
///
/// Of a prompt that has several choices, what was there is that of the first.
pub fn usage(prompt: usize, used: &[Used], choices: u64) -> Value {
    let written: usize = used.iter().map(|used| used.written).sum();
    let firsts = used.iter().step_by(usize::try_from(choices).unwrap_or(1).max(1));
    let cached: usize = firsts.map(|used| used.cached).sum();
    json!({
        "prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written,
        "prompt_tokens_details": { "cached_tokens": cached },
    })
}
