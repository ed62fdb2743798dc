//! What every route sees.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use setaccio_train::{
    inference::request::{Pooling, Task},
    models::Served,
};

use super::error::{ApiError, ApiResult};
use crate::{
    desk::{Answers, Desk},
    metrics::Metrics,
};

/// What every route sees.
pub struct State {
    /// What is served; the first is the base.
    pub served: Vec<Served>,
    /// Tokens that a model can look at.
    pub positions: usize,
    /// Where requests are handed in.
    pub desk: Desk,
    /// What is measured.
    pub metrics: Metrics,
    /// Bytes of the KV cache for a token.
    pub row_bytes: usize,
    /// Seconds since 1970 when the server began.
    pub since: u64,
    /// Most new tokens of an answer.
    pub max_tokens: usize,
    /// What vectors are made of.
    pub pooling: Pooling,
    /// Whether token ids are scored behind a BOS that they do not begin with.
    pub score_with_bos: bool,
    /// Whether no more requests are taken.
    pub ending: Arc<AtomicBool>,
    /// Requests so far.
    pub requests: AtomicU64,
    /// Makes different seeds of requests that name none.
    pub chance: u64,
}

impl State {
    /// The model that is asked, and its number: the base where none is named.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn model(&self, asked: Option<&str>) -> ApiResult<(usize, &Served)> {
        let Some(asked) = asked.filter(|asked| !asked.is_empty()) else { return Ok((0, &self.served[0])) };
        let ids = || self.served.iter().map(|served| served.id.as_str()).collect::<Vec<_>>();
        let found = self.served.iter().enumerate().find(|(_, served)| served.id == asked);
        found.ok_or_else(|| ApiError::no_model(asked, &ids()))
    }

    /// Whether so many requests can ever wait.
    ///
    /// # Errors
    /// There is no room for them.
    pub fn fits(&self, requests: u64) -> ApiResult<()> {
        let room = self.desk.room();
        if requests <= room as u64 {
            return Ok(());
        }
        Err(ApiError::wrong("n", format!("{requests} texts are asked for at once, and there is room for {room}")))
    }

    /// Whether a text may be a prompt by its length alone: a tokenizer takes long over texts that are none.
    ///
    /// # Errors
    /// It has more bytes than the longest tokens could make.
    pub fn short_enough(&self, served: &Served, param: &'static str, text: &str) -> ApiResult<()> {
        let most = (self.positions + 1).saturating_mul(served.longest);
        if text.len() <= most {
            return Ok(());
        }
        let (bytes, positions) = (text.len(), self.positions);
        let message =
            format!("a text of {bytes} bytes has more tokens than the model has positions ({positions}): shorten it");
        Err(ApiError { code: Some("context_length_exceeded"), ..ApiError::wrong(param, message) })
    }

    /// Hand in one more of a request that was taken.
    ///
    /// # Errors
    /// Too many wait.
    pub fn ask_on(&self, model: usize, prompt: Vec<u32>, task: Task) -> ApiResult<Answers> {
        self.desk.ask(model, prompt, task).map_err(|_| ApiError::full())
    }

    /// Hand a request in.
    ///
    /// # Errors
    /// Too many wait, or the server is about to end.
    pub fn ask(&self, model: usize, prompt: Vec<u32>, task: Task) -> ApiResult<Answers> {
        if self.ending.load(Ordering::SeqCst) {
            return Err(ApiError::ending());
        }
        self.ask_on(model, prompt, task)
    }

    /// A name for an answer, which no other answer of this server has.
    pub fn name(&self, what: &str) -> String {
        format!("{what}-{:016x}", self.number())
    }

    /// A seed for a request that names none.
    pub fn seed(&self) -> u64 {
        self.number()
    }

    fn number(&self) -> u64 {
        let count = self.requests.fetch_add(1, Ordering::SeqCst);
        setaccio_train::random::child(self.chance, count)
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
