//! `/v1/embeddings`: vectors of texts, of length 1.

use std::sync::Arc;

use axum::{Json, body::Bytes, extract};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use serde_json::{Value, json};
use setaccio_train::{
    generate::raw_ids,
    inference::request::{Event, Task},
};

use super::{
    asked::read,
    error::{ApiError, ApiResult},
    state::State,
};

/// Texts of one request.
const MOST_TEXTS: usize = 8192;

#[derive(Deserialize)]
struct Body {
    model: Option<String>,
    input: Option<Value>,
    encoding_format: Option<String>,
    dimensions: Option<usize>,
}

/// Answer.
pub async fn answer(extract::State(state): extract::State<Arc<State>>, body: Bytes) -> ApiResult<Json<Value>> {
    let body: Body = read(&body)?;
    let (model, served) = state.model(body.model.as_deref())?;
    let texts = texts(body.input.as_ref())?;
    let base64 = match body.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            return Err(ApiError::wrong("encoding_format", format!("`{other}` is neither float nor base64")));
        }
    };
    let mut prompts = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        state.short_enough(served, "input", text)?;
        let ids = raw_ids((&served.tokens, served.vocab), text).map_err(|e| ApiError::wrong("input", e.to_string()))?;
        if ids.is_empty() {
            return Err(ApiError::wrong("input", format!("text {i} has no tokens")));
        }
        if ids.len() > state.positions {
            return Err(ApiError { param: Some("input"), ..ApiError::too_long(ids.len(), state.positions) });
        }
        prompts.push(ids);
    }
    let tokens: usize = prompts.iter().map(Vec::len).sum();
    let mut data = Vec::with_capacity(prompts.len());
    // A few at a time: one request must not fill the queue.
    let mut waiting = std::collections::VecDeque::new();
    let mut prompts = prompts.into_iter();
    loop {
        while waiting.len() < 32
            && let Some(ids) = prompts.next()
        {
            // What was begun is ended, also while the server is about to end.
            let task = Task::Embed(state.pooling);
            let first = data.is_empty() && waiting.is_empty();
            waiting.push_back(if first { state.ask(model, ids, task)? } else { state.ask_on(model, ids, task)? });
        }
        let Some(mut answers) = waiting.pop_front() else { break };
        let vector = loop {
            match answers.recv().await {
                Some((_, Event::Vector(vector))) => break vector,
                Some((_, Event::Failed(why))) => return Err(ApiError::engine(why)),
                Some(_) => {}
                None => return Err(ApiError::engine("the engine has stopped")),
            }
        };
        let vector = shortened(vector, body.dimensions)?;
        let embedding = if base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
            json!(STANDARD.encode(bytes))
        } else {
            json!(vector)
        };
        data.push(json!({ "object": "embedding", "index": data.len(), "embedding": embedding }));
    }
    let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    Ok(Json(json!({ "object": "list", "model": served.id, "data": data, "usage": usage })))
}

fn texts(input: Option<&Value>) -> ApiResult<Vec<String>> {
    let ids = "token ids: they are those of another model's tokenizer as a rule, and mean something else here; send \
               texts (LangChain: check_embedding_ctx_length=False)";
    match input {
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(list)) if !list.is_empty() && list.len() <= MOST_TEXTS => {
            let text = |text: &Value| match text {
                Value::String(text) => Ok(text.clone()),
                _ => Err(ApiError::wrong("input", ids)),
            };
            list.iter().map(text).collect()
        }
        _ => Err(ApiError::wrong("input", format!("a text, or from 1 to {MOST_TEXTS} of them"))),
    }
}

/// The first `dimensions` elements, brought to length 1.
#[allow(clippy::cast_possible_truncation, reason = "rounded once")]
fn shortened(mut vector: Vec<f32>, dimensions: Option<usize>) -> ApiResult<Vec<f32>> {
    if let Some(n) = dimensions {
        if n == 0 || n > vector.len() {
            let message = format!("dimensions is {n}, and vectors have {}", vector.len());
            return Err(ApiError::wrong("dimensions", message));
        }
        vector.truncate(n);
    }
    let length = vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    if length > 0.0 {
        for x in &mut vector {
            *x = (f64::from(*x) / length) as f32;
        }
    }
    Ok(vector)
}
