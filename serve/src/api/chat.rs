//! `/v1/chat/completions`: conversations in the model's own chat template.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use setaccio_base::row::Message;
use setaccio_templates::{Clock, End};
use setaccio_train::{
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
    logprobs,
    state::{State, now},
    stream::{self, Ending, Told},
};

/// Most probable tokens that can be asked for.
const MOST_LOGPROBS: i64 = 20;

#[derive(Deserialize)]
struct Body {
    messages: Option<Vec<Map<String, Value>>>,
    tools: Option<Value>,
    logprobs: Option<bool>,
    top_logprobs: Option<i64>,
    #[serde(flatten)]
    asked: Asked,
}

/// How one of the answers is told.
struct Line {
    index: u64,
    id: String,
    created: u64,
    served: Served,
    logprobs: bool,
}

impl Line {
    fn chunk(&self, delta: &Value, logprobs: &Value, finish: Option<&str>) -> Value {
        json!({
            "id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.served.id,
            "choices": [{ "index": self.index, "delta": delta, "logprobs": logprobs, "finish_reason": finish }],
        })
    }

    fn logprobs(&self, scored: &[setaccio_train::inference::request::Scored]) -> Value {
        if !self.logprobs {
            return Value::Null;
        }
        json!({ "content": logprobs::list(&self.served.tokens, scored) })
    }
}

impl Told for Line {
    fn opening(&mut self) -> Vec<Value> {
        vec![self.chunk(&json!({ "role": "assistant", "content": "" }), &Value::Null, None)]
    }

    fn piece(&mut self, piece: Piece) -> Vec<Value> {
        match piece {
            Piece::Prompt(_) => Vec::new(),
            Piece::Text(text, scored) => vec![self.chunk(&json!({ "content": text }), &self.logprobs(&scored), None)],
            Piece::End(why, _) => vec![self.chunk(&json!({}), &Value::Null, Some(why))],
        }
    }
}

/// Answer.
pub async fn answer(extract::State(state): extract::State<Arc<State>>, body: Bytes) -> ApiResult<Response> {
    let body: Body = read(&body)?;
    let (model, served) = state.model(body.asked.model.as_deref())?;
    let given = body.messages.as_deref().filter(|messages| !messages.is_empty());
    let given = given.ok_or_else(|| ApiError::wrong("messages", "there are no messages"))?;
    for text in given.iter().filter_map(|message| message.get("content")?.as_str()) {
        state.short_enough(served, "messages", text)?;
    }
    let ids = prompt(served, given, body.tools.as_ref())?;
    if ids.len() > state.positions {
        return Err(ApiError { param: Some("messages"), ..ApiError::too_long(ids.len(), state.positions) });
    }
    let top = match body.top_logprobs.unwrap_or(0) {
        n @ 0..=MOST_LOGPROBS => usize::try_from(n).unwrap_or(0),
        n => {
            let message = format!("top_logprobs is {n}, and may be up to {MOST_LOGPROBS}");
            return Err(ApiError::wrong("top_logprobs", message));
        }
    };
    let tells = body.logprobs.unwrap_or(false);
    let writing = body.asked.writing(&state, &served.tokens, usize::MAX)?;
    let writing = Writing { logprobs: tells.then_some(top), ..writing };
    let (n, (streams, tells_usage)) = (body.asked.choices()?, body.asked.streams());
    state.fits(n)?;
    let (id, created, prompt_tokens) = (state.name("chatcmpl"), now(), ids.len());
    let line = |index| Line { index, id: id.clone(), created, served: served.clone(), logprobs: tells };
    let mut choices = Vec::new();
    for index in 0..n {
        let mut writing = writing.clone();
        writing.sampling.seed = writing.sampling.seed.wrapping_add(index);
        let answers = state.ask(model, ids.clone(), Task::Write(writing))?;
        choices.push((Choice::new(answers, Writer::new(served.tokens.clone(), body.asked.stops())), line(index)));
    }
    if streams {
        let ending = tells_usage.then(|| {
            let line = line(0).chunk(&json!({}), &Value::Null, None);
            Ending { line, prompt: prompt_tokens, choices: n }
        });
        return Ok(stream::send(state.clone(), choices, ending));
    }
    let (mut told, mut used) = (Vec::new(), Vec::new());
    for (mut choice, line) in choices {
        let (mut text, mut scored) = (String::new(), Vec::new());
        let finish = loop {
            match choice.next(&state).await? {
                Piece::Prompt(_) => {}
                Piece::Text(more, tokens) => {
                    text += &more;
                    scored.extend(tokens);
                }
                Piece::End(why, _) => break why,
            }
        };
        let message = json!({ "role": "assistant", "content": text });
        let logprobs = line.logprobs(&scored);
        told.push(json!({ "index": line.index, "message": message, "logprobs": logprobs, "finish_reason": finish }));
        used.push(choice.used);
    }
    Ok(Json(json!({
        "id": id, "object": "chat.completion", "created": created, "model": served.id, "choices": told,
        "usage": usage(prompt_tokens, &used, n),
    }))
    .into_response())
}

/// A conversation as tokens, up to where the answer begins.
pub fn prompt(served: &Served, given: &[Map<String, Value>], tools: Option<&Value>) -> ApiResult<Vec<u32>> {
    let tokens = &served.tokens;
    let wrong = |why: String| ApiError::wrong("messages", why);
    let template = tokens.chat_template.as_ref().ok_or_else(|| {
        let why = "this model has no chat template: ask /v1/completions, or serve one that has";
        wrong(why.into())
    })?;
    let now = i64::try_from(now()).unwrap_or(0);
    let renderer = tokens.renderer(template).map_err(|e| ApiError::engine(e.to_string()))?.at(Some(Clock::unix(now)));
    let messages = given
        .iter()
        .enumerate()
        .map(|(i, fields)| message(fields, template).map_err(|why| wrong(format!("messages[{i}]: {why}"))));
    let messages = messages.collect::<ApiResult<Vec<_>>>()?;
    // Clients send tools with every message, used or not: they are said where the template says them.
    let tools = tools.filter(|tools| renderer.reads("tools") && tools.as_array().is_some_and(|list| !list.is_empty()));
    let text = renderer.chat(&messages, tools, End::Prompt).map_err(wrong)?.text;
    let ids = block_in_place(|| tokens.encode(&text)).map_err(wrong)?.ids;
    tokens.within(&ids, served.vocab).map_err(wrong)?;
    Ok(ids)
}

/// A turn, in the form that templates know.
fn message(fields: &Map<String, Value>, template: &str) -> Result<Message, String> {
    let role = fields.get("role").and_then(Value::as_str).ok_or("it has no `role`")?;
    // What OpenAI has renamed goes by the name that the template knows.
    let role = match role {
        "developer" if !template.contains("developer") => "system",
        "function" if !template.contains("\"function\"") && !template.contains("'function'") => "tool",
        role => role,
    };
    let mut message = match fields.get("content") {
        // What clients send with calls of tools. Templates write it as a text, or add to it.
        None | Some(Value::Null) => Message::new(role, ""),
        Some(Value::String(text)) => Message::new(role, text),
        Some(Value::Array(parts)) => Message::new(role, text(parts)?),
        Some(_) => return Err("its `content` is neither a text nor a list of texts".into()),
    };
    for (name, value) in
        fields.iter().filter(|(name, value)| !["role", "content"].contains(&name.as_str()) && !value.is_null())
    {
        let value = if name == "tool_calls" { calls(value) } else { value.clone() };
        message = message.with(name, value);
    }
    Ok(message)
}

/// Text parts, each on a line of its own.
fn text(parts: &[Value]) -> Result<String, String> {
    let text = |part: &Value| match (part["type"].as_str(), part["text"].as_str(), part.as_str()) {
        (Some("text" | "input_text" | "output_text"), Some(text), _) | (None, _, Some(text)) => Ok(text.to_owned()),
        (kind, ..) => Err(format!("a part of type `{}`: this model reads texts only", kind.unwrap_or("none"))),
    };
    Ok(parts.iter().map(text).collect::<Result<Vec<_>, _>>()?.join("\n"))
}

/// Calls with arguments as objects, which is what templates write; the API has them as JSON text.
fn calls(calls: &Value) -> Value {
    let mut calls = calls.clone();
    for call in calls.as_array_mut().into_iter().flatten() {
        let arguments =
            call["function"]["arguments"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
        if let Some(arguments @ Value::Object(_)) = arguments {
            call["function"]["arguments"] = arguments;
        }
    }
    calls
}
