//! Errors as OpenAI's clients read them.

use std::time::Duration;

use axum::{
    http::{HeaderValue, StatusCode, header::RETRY_AFTER},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// What is told instead of an answer.
#[derive(Debug)]
pub struct ApiError {
    /// HTTP's.
    pub status: StatusCode,
    /// For a person.
    pub message: String,
    /// The field that is wrong.
    pub param: Option<&'static str>,
    /// For a program.
    pub code: Option<&'static str>,
}

pub type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: None }
    }

    /// The request cannot be answered as it is.
    pub fn wrong(param: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(param), ..Self::new(StatusCode::BAD_REQUEST, message) }
    }

    /// The body is no request.
    pub fn body(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// The prompt is longer than the model can look at.
    pub fn too_long(prompt: usize, positions: usize) -> Self {
        let message = format!("the prompt has {prompt} tokens, and the model has {positions} positions: shorten it");
        Self { code: Some("context_length_exceeded"), ..Self::wrong("prompt", message) }
    }

    /// There is no such model.
    pub fn no_model(asked: &str, ids: &[&str]) -> Self {
        let message = format!("there is no model `{asked}` here; there are: {}", ids.join(", "));
        Self { code: Some("model_not_found"), param: Some("model"), ..Self::new(StatusCode::NOT_FOUND, message) }
    }

    /// Too many requests wait.
    pub fn full() -> Self {
        let message = "too many requests wait already: try again later";
        Self { code: Some("queue_full"), ..Self::new(StatusCode::TOO_MANY_REQUESTS, message) }
    }

    /// The server is about to end.
    pub fn ending() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the server is about to end and takes no more requests")
    }

    /// The key is missing or another.
    pub fn key() -> Self {
        let message = "this server asks for a key, as `Authorization: Bearer KEY`";
        Self { code: Some("invalid_api_key"), ..Self::new(StatusCode::UNAUTHORIZED, message) }
    }

    /// A page of elsewhere asks.
    pub fn origin() -> Self {
        let message =
            "a page of another origin, or another name of this machine: name the origin by --cors, or ask localhost";
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// The body is longer than is taken.
    pub fn too_large(most: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {most} bytes: send less at once"))
    }

    /// The body took too long to come.
    pub fn slow(most: Duration) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, format!("the body took more than {} seconds to come", most.as_secs()))
    }

    /// There is no such route.
    pub fn no_route(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no {path} here"))
    }

    /// The engine failed.
    pub fn engine(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// As the body has it.
    pub fn json(&self) -> serde_json::Value {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        json!({ "error": { "message": self.message, "type": kind, "param": self.param, "code": self.code } })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.json())).into_response();
        if matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}
