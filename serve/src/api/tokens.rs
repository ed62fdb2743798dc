//! `/tokenize`, `/detokenize` and `/tokenizer_info`, as vLLM has them and evaluation harnesses ask them.

use std::sync::Arc;

use axum::{Json, body::Bytes, extract};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::task::block_in_place;

use super::{
    asked::read,
    chat,
    error::{ApiError, ApiResult},
    state::State,
};

#[derive(Deserialize)]
struct Tokenize {
    model: Option<String>,
    prompt: Option<String>,
    content: Option<String>,
    messages: Option<Vec<Map<String, Value>>>,
    add_special_tokens: Option<bool>,
}

/// Token ids of a text, or of a conversation up to where the answer begins.
pub async fn tokenize(extract::State(state): extract::State<Arc<State>>, body: Bytes) -> ApiResult<Json<Value>> {
    let body: Tokenize = read(&body)?;
    let (_, served) = state.model(body.model.as_deref())?;
    let ids = match (body.messages, body.prompt.or(body.content)) {
        (Some(messages), _) => chat::prompt(served, &messages, None)?,
        (None, Some(text)) => {
            let tokens = &served.tokens;
            let ids = block_in_place(|| tokens.encode(&text)).map_err(|why| ApiError::wrong("prompt", why))?.ids;
            let special = body.add_special_tokens.unwrap_or(true) && tokens.adds_bos;
            let bos = tokens.bos.as_ref().map(|(_, id)| *id).filter(|bos| special && ids.first() != Some(bos));
            bos.into_iter().chain(ids).collect()
        }
        (None, None) => return Err(ApiError::wrong("prompt", "there is no `prompt`")),
    };
    Ok(Json(json!({ "count": ids.len(), "max_model_len": state.positions, "tokens": ids })))
}

#[derive(Deserialize)]
struct Detokenize {
    model: Option<String>,
    tokens: Vec<u32>,
}

/// The text of token ids, special tokens written out.
pub async fn detokenize(extract::State(state): extract::State<Arc<State>>, body: Bytes) -> ApiResult<Json<Value>> {
    let body: Detokenize = read(&body)?;
    let (_, served) = state.model(body.model.as_deref())?;
    served.tokens.within(&body.tokens, served.vocab).map_err(|why| ApiError::wrong("tokens", why))?;
    let text = served.tokens.decode_with_special(&body.tokens).map_err(|e| ApiError::engine(e.to_string()))?;
    Ok(Json(json!({ "prompt": text, "content": text })))
}

/// What a harness makes a tokenizer of. Only where it is asked for: with it lm-evaluation-harness leaves out BOS, unasked.
pub async fn info(extract::State(state): extract::State<Arc<State>>) -> Json<Value> {
    let tokens = &state.served[0].tokens;
    let text = |token: &Option<(String, u32)>| token.as_ref().map(|(text, _)| text.clone());
    Json(json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": text(&tokens.bos), "eos_token": text(&tokens.eos),
        "pad_token": text(&tokens.pad), "chat_template": tokens.chat_template, "add_bos_token": tokens.adds_bos,
        "model_max_length": state.positions,
    }))
}
