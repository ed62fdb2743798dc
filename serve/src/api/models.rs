//! `/v1/models`: what can be asked.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State as Extract},
};
use serde_json::{Value, json};
use setaccio_train::models::Served;

use super::{error::ApiResult, state::State};

fn told(state: &State, served: &Served) -> Value {
    json!({
        "id": served.id, "object": "model", "created": state.since, "owned_by": "setaccio", "root": served.id,
        "parent": served.parent, "max_model_len": state.positions,
    })
}

/// All.
pub async fn list(Extract(state): Extract<Arc<State>>) -> Json<Value> {
    let data: Vec<Value> = state.served.iter().map(|served| told(&state, served)).collect();
    Json(json!({ "object": "list", "data": data }))
}

/// One.
pub async fn one(Extract(state): Extract<Arc<State>>, Path(id): Path<String>) -> ApiResult<Json<Value>> {
    let (_, served) = state.model(Some(&id))?;
    Ok(Json(told(&state, served)))
}
