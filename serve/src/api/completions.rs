//! `/v1/completions`: texts that are written on, and the log-probabilities of prompts, as evaluation harnesses ask for them.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use setaccio_train::{
    generate::raw_ids,
    inference::{
        request::{Task, Writing},
        text::Writer,
    },
    models::Served,
};
use tokio::task::block_in_place;

use super::{
    asked::{Asked, read},
    choice::{Choice, Piece, usage},
    error::{ApiError, ApiResult},
    logprobs::Columns,
    state::{State, now},
    stream::{self, Ending, Told},
};

/// New tokens where it is not said how many.
const MAX_TOKENS: usize = 16;
/// Most probable tokens that can be asked for.
const MOST_LOGPROBS: i64 = 20;
/// Prompts of one request.
const MOST_PROMPTS: usize = 1024;

#[derive(Deserialize)]
#[serde(untagged, expecting = "`prompt` is a text, a list of texts, a list of token ids, or a list of such lists")]
enum Prompt {
    Text(String),
    Ids(Vec<u32>),
    Texts(Vec<String>),
    Batch(Vec<Vec<u32>>),
}

#[derive(Deserialize)]
struct Body {
    prompt: Option<Prompt>,
    echo: Option<bool>,
    logprobs: Option<i64>,
    suffix: Option<String>,
    #[serde(flatten)]
    asked: Asked,
}

/// A prompt as tokens.
struct Read {
    ids: Vec<u32>,
    /// As it was given.
    text: String,
    /// Whether a BOS was put before it, of which nothing is told.
    behind_bos: bool,
}

/// How one of the texts is told.
struct Line {
    index: u64,
    id: String,
    created: u64,
    served: Served,
    /// The prompt, where it is told.
    echo: Option<Read>,
    columns: Option<Columns>,
    /// Whether the answer has to have one token more than the prompt.
    whole: bool,
}

impl Line {
    fn chunk(&self, text: &str, logprobs: &Value, finish: Option<&str>) -> Value {
        json!({
            "id": self.id, "object": "text_completion", "created": self.created, "model": self.served.id,
            "choices": [{ "index": self.index, "text": text, "logprobs": logprobs, "finish_reason": finish }],
        })
    }

    /// The piece's text, and why it was the last.
    fn take(&mut self, piece: Piece) -> (String, Option<&'static str>) {
        let tokens = self.served.tokens.clone();
        match piece {
            Piece::Prompt(scores) => {
                if let (Some(read), Some(columns)) = (&self.echo, &mut self.columns) {
                    if !read.behind_bos {
                        columns.first(&tokens, read.ids[0]);
                    }
                    for token in &scores {
                        columns.push(&tokens, token);
                    }
                }
                (String::new(), None)
            }
            Piece::Text(text, scored) => {
                if let Some(columns) = &mut self.columns {
                    for token in &scored {
                        columns.push(&tokens, token);
                    }
                    self.whole &= scored.is_empty();
                }
                (text, None)
            }
            Piece::End(why, ended) => {
                // Harnesses take the last token off: one was asked for, so one is told, also if it ends the text.
                if let (true, Some(columns)) = (self.whole, &mut self.columns) {
                    match ended {
                        Some(token) => columns.push(&tokens, &token),
                        None => columns.placeholder(),
                    }
                }
                (String::new(), Some(why))
            }
        }
    }
}

impl Told for Line {
    fn opening(&mut self) -> Vec<Value> {
        match &self.echo {
            Some(read) => vec![self.chunk(&read.text, &Value::Null, None)],
            None => Vec::new(),
        }
    }

    fn piece(&mut self, piece: Piece) -> Vec<Value> {
        let (text, finish) = self.take(piece);
        let logprobs = self.columns.as_mut().map_or(Value::Null, Columns::take);
        vec![self.chunk(&text, &logprobs, finish)]
    }
}

/// Answer.
pub async fn answer(extract::State(state): extract::State<Arc<State>>, body: Bytes) -> ApiResult<Response> {
    let body: Body = read(&body)?;
    let (model, served) = state.model(body.asked.model.as_deref())?;
    if body.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty()) {
        return Err(ApiError::wrong("suffix", "this server writes on; it does not fill in before a suffix"));
    }
    let echo = body.echo.unwrap_or(false);
    let logprobs = match body.logprobs {
        None => None,
        Some(n @ 0..=MOST_LOGPROBS) => Some(usize::try_from(n).unwrap_or(0)),
        Some(n) => {
            return Err(ApiError::wrong("logprobs", format!("logprobs is {n}, and may be up to {MOST_LOGPROBS}")));
        }
    };
    let writing = body.asked.writing(&state, &served.tokens, MAX_TOKENS)?;
    let writing = Writing { logprobs, prompt_logprobs: logprobs.filter(|_| echo), ..writing };
    let prompts = block_in_place(|| prompts(&state, served, body.prompt.as_ref(), &writing))?;
    let (n, (streams, tells_usage)) = (body.asked.choices()?, body.asked.streams());
    state.fits(prompts.len() as u64 * n)?;
    let (id, created) = (state.name("cmpl"), now());
    let prompt_tokens: usize = prompts.iter().map(|read| read.ids.len() - usize::from(read.behind_bos)).sum();
    let mut choices = Vec::new();
    for (number, prompt) in (0..).zip(prompts) {
        for choice in 0..n {
            let mut writing = writing.clone();
            writing.sampling.seed = writing.sampling.seed.wrapping_add(choice);
            let whole = writing.prompt_logprobs.is_some() && writing.max_tokens > 0;
            let answers = state.ask(model, prompt.ids.clone(), Task::Write(writing))?;
            let read = Read { ids: prompt.ids.clone(), text: prompt.text.clone(), behind_bos: prompt.behind_bos };
            let line = Line {
                index: number * n + choice,
                id: id.clone(),
                created,
                served: served.clone(),
                echo: echo.then_some(read),
                columns: logprobs.map(|_| Columns::default()),
                whole,
            };
            let writer = Writer::new(served.tokens.clone(), body.asked.stops()).after(&prompt.ids);
            choices.push((Choice::new(answers, writer), line));
        }
    }
    if streams {
        let line = choices.last().filter(|_| tells_usage).map(|(_, line)| line.chunk("", &Value::Null, None));
        let ending = line.map(|line| Ending { line, prompt: prompt_tokens, choices: n });
        return Ok(stream::send(state, choices, ending));
    }
    let (mut told, mut used) = (Vec::new(), Vec::new());
    for (mut choice, mut line) in choices {
        let mut text = line.echo.as_ref().map_or_else(String::new, |read| read.text.clone());
        let finish = loop {
            let (more, finish) = line.take(choice.next(&state).await?);
            text += &more;
            if let Some(finish) = finish {
                break finish;
            }
        };
        let logprobs = line.columns.as_mut().map_or(Value::Null, Columns::take);
        told.push(json!({ "index": line.index, "text": text, "logprobs": logprobs, "finish_reason": finish }));
        used.push(choice.used);
    }
    Ok(Json(json!({
        "id": id, "object": "text_completion", "created": created, "model": served.id, "choices": told,
        "usage": usage(prompt_tokens, &used, n),
    }))
    .into_response())
}

fn prompts(state: &State, served: &Served, prompt: Option<&Prompt>, writing: &Writing) -> ApiResult<Vec<Read>> {
    let tokens = &served.tokens;
    let of_text = |text: &String| {
        state.short_enough(served, "prompt", text)?;
        let begins = tokens.bos.as_ref().is_some_and(|(bos, _)| text.starts_with(bos.as_str()));
        let ids = if begins {
            tokens.encode(text).map(|e| e.ids)
        } else {
            raw_ids((tokens, served.vocab), text).map_err(|e| e.to_string())
        };
        let ids = ids.map_err(|why| ApiError::wrong("prompt", why))?;
        Ok(Read { ids, text: text.clone(), behind_bos: false })
    };
    let of_ids = |ids: &Vec<u32>| {
        tokens.within(ids, served.vocab).map_err(|why| ApiError::wrong("prompt", why))?;
        let text = tokens.decode_with_special(ids).unwrap_or_default();
        let bos = tokens.bos.as_ref().map(|(_, id)| *id).filter(|bos| state.score_with_bos && ids.first() != Some(bos));
        let ids: Vec<u32> = bos.into_iter().chain(ids.iter().copied()).collect();
        Ok(Read { ids, text, behind_bos: bos.is_some() })
    };
    let read: Vec<Read> = match prompt {
        None => return Err(ApiError::wrong("prompt", "there is no prompt")),
        Some(Prompt::Text(text)) => vec![of_text(text)?],
        Some(Prompt::Ids(ids)) => vec![of_ids(ids)?],
        Some(Prompt::Texts(texts)) => texts.iter().map(of_text).collect::<ApiResult<_>>()?,
        Some(Prompt::Batch(batch)) => batch.iter().map(of_ids).collect::<ApiResult<_>>()?,
    };
    if read.is_empty() || read.len() > MOST_PROMPTS {
        return Err(ApiError::wrong(
            "prompt",
            format!("{} prompts; there may be from 1 to {MOST_PROMPTS}", read.len()),
        ));
    }
    // The last token of a prompt whose probability is asked for is not looked at.
    let most = state.positions + usize::from(writing.prompt_logprobs.is_some());
    for Read { ids, behind_bos, .. } in &read {
        let given = ids.len() - usize::from(*behind_bos);
        if given == 0 {
            return Err(ApiError::wrong("prompt", "the prompt has no tokens"));
        }
        if ids.len() > most {
            return Err(ApiError::too_long(given, state.positions));
        }
    }
    Ok(read)
}
