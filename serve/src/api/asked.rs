//! Fields that completions and chat have in common. Each may be null or absent, and fields that are not known are passed over.

use serde::Deserialize;
use serde_json::{Number, Value};
use setaccio_train::{
    inference::{request::Writing, sampling::Sampling},
    tokenizer::Tokens,
};

use super::{
    error::{ApiError, ApiResult},
    state::State,
};

/// Stop strings.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`stop` is a text or a list of texts")]
pub enum Stop {
    /// One.
    One(String),
    /// Some.
    Many(Vec<String>),
}

/// What both routes are asked.
#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    pub model: Option<String>,
    pub max_tokens: Option<i64>,
    pub max_completion_tokens: Option<i64>,
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<i64>,
    pub min_p: Option<f64>,
    pub repetition_penalty: Option<f64>,
    pub frequency_penalty: Option<f64>,
    pub presence_penalty: Option<f64>,
    pub seed: Option<Number>,
    pub n: Option<i64>,
    pub stop: Option<Stop>,
    pub stop_token_ids: Option<Vec<u32>>,
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    pub response_format: Option<Value>,
}

/// What is streamed beside the text.
#[derive(Debug, Default, Deserialize)]
pub struct StreamOptions {
    pub include_usage: Option<bool>,
}

/// Stop strings and tokens, and bytes of the strings together.
const MOST_STOPS: usize = 64;
const STOP_BYTES: usize = 4096;

/// Choices of one answer at the most.
const MOST_CHOICES: i64 = 128;

impl Asked {
    /// How many answers are asked for.
    ///
    /// # Errors
    /// None, or too many.
    pub fn choices(&self) -> ApiResult<u64> {
        match self.n.unwrap_or(1) {
            n @ 1..=MOST_CHOICES => Ok(n.unsigned_abs()),
            n => Err(ApiError::wrong("n", format!("n is {n}, and may be from 1 to {MOST_CHOICES}"))),
        }
    }

    /// Whether the answer is streamed, and whether what was used is told at its end.
    pub fn streams(&self) -> (bool, bool) {
        let usage = self.stream_options.as_ref().and_then(|options| options.include_usage);
        (self.stream.unwrap_or(false), usage.unwrap_or(false))
    }

    /// What decides the choices: any whole number of 64 bits, below 0 too.
    fn seed(&self, state: &State) -> ApiResult<u64> {
        let Some(seed) = &self.seed else { return Ok(state.seed()) };
        let whole = seed.as_u64().or_else(|| seed.as_i64().map(i64::cast_unsigned));
        whole.ok_or_else(|| ApiError::wrong("seed", format!("seed is {seed}, and may be a whole number of 64 bits")))
    }

    /// Stop strings.
    pub fn stops(&self) -> Vec<String> {
        match &self.stop {
            None => Vec::new(),
            Some(Stop::One(stop)) => vec![stop.clone()],
            Some(Stop::Many(stops)) => stops.clone(),
        }
    }

    /// How a prompt is written on, with so many new tokens where it is not said.
    ///
    /// # Errors
    /// A field that is out of bounds.
    pub fn writing(&self, state: &State, tokens: &Tokens, default: usize) -> ApiResult<Writing> {
        let within = |name: &'static str, value: Option<f64>, default: f64, (low, high): (f64, f64)| match value {
            None => Ok(default),
            Some(x) if (low..=high).contains(&x) => Ok(x),
            Some(x) => Err(ApiError::wrong(name, format!("{name} is {x}, and may be from {low} to {high}"))),
        };
        if let Some(format) = &self.response_format
            && format["type"].as_str().is_some_and(|kind| kind != "text")
        {
            let message = format!("response_format is {}, and this server writes text only", format["type"]);
            return Err(ApiError::wrong("response_format", message));
        }
        let asked = self.max_completion_tokens.or(self.max_tokens);
        let max_tokens = match asked {
            None => default,
            Some(n) => usize::try_from(n)
                .map_err(|_| ApiError::wrong("max_tokens", format!("max_tokens is {n}, and may not be below 0")))?,
        };
        let top_k = match self.top_k.unwrap_or(0) {
            // vLLM's and llama.cpp's ways to say all.
            -1 | 0 => 0,
            k => usize::try_from(k)
                .map_err(|_| ApiError::wrong("top_k", format!("top_k is {k}, and may not be below 0 (all)")))?,
        };
        let sampling = Sampling {
            temperature: within("temperature", self.temperature, 1.0, (0.0, 100.0))?,
            top_p: within("top_p", self.top_p, 1.0, (0.0, 1.0))?,
            top_k,
            min_p: within("min_p", self.min_p, 0.0, (0.0, 1.0))?,
            repetition_penalty: within("repetition_penalty", self.repetition_penalty, 1.0, (0.01, 100.0))?,
            frequency_penalty: within("frequency_penalty", self.frequency_penalty, 0.0, (-2.0, 2.0))?,
            presence_penalty: within("presence_penalty", self.presence_penalty, 0.0, (-2.0, 2.0))?,
            seed: self.seed(state)?,
        };
        let (stops, ids) = (self.stops(), self.stop_token_ids.as_ref().map_or(0, Vec::len));
        if stops.len() + ids > MOST_STOPS || stops.iter().map(String::len).sum::<usize>() > STOP_BYTES {
            let message = format!("there may be {MOST_STOPS} stops at the most, of {STOP_BYTES} bytes together");
            return Err(ApiError::wrong("stop", message));
        }
        // A stop string that is a special token has no text.
        let special = self.stops().into_iter().filter_map(|stop| tokens.tokenizer.token_to_id(&stop));
        let special = special.filter(|id| tokens.is_special(*id));
        let stop = tokens.eos_ids.iter().copied().chain(special).chain(self.stop_token_ids.iter().flatten().copied());
        let (stop, max_tokens) = (stop.collect(), max_tokens.min(state.max_tokens));
        Ok(Writing { max_tokens, stop, sampling, ..Writing::default() })
    }
}

/// A body as a request.
///
/// # Errors
/// It is no JSON, or a field has another type.
pub fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> ApiResult<T> {
    use serde_json::error::Category;
    if body.trim_ascii_start().first().is_some_and(|first| *first != b'{') {
        return Err(ApiError::body("the body is no JSON object, {\"...\": ...}"));
    }
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        Category::Data => ApiError::body(format!("the body cannot be read: {error}")),
        _ => ApiError::body(format!("the body is no JSON: {error}")),
    })
}
