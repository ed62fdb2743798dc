//! What is asked of the engine, and what it answers.

use super::sampling::Sampling;
use crate::error::Error;

/// A text to be written on, or to be made a vector of.
pub struct Request {
    /// Number of the model that is asked.
    pub model: usize,
    /// Its tokens.
    pub prompt: Vec<u32>,
    /// What is asked of them.
    pub task: Task,
    /// Is given each answer as it comes, and ends the request by `false`.
    pub answer: Box<dyn Answer>,
}

/// Takes answers.
pub trait Answer: Send {
    /// One has come. `false` says that no more are wanted.
    fn tell(&mut self, event: Event) -> bool;

    /// Whether any is wanted still, asked while nothing is told.
    fn wanted(&self) -> bool {
        true
    }
}

impl<F: FnMut(Event) -> bool + Send> Answer for F {
    fn tell(&mut self, event: Event) -> bool {
        self(event)
    }
}

/// What is asked of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// To be written on.
    Write(Writing),
    /// A vector.
    Embed(Pooling),
}

/// How a prompt is written on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Writing {
    /// At most so many new tokens.
    pub max_tokens: usize,
    /// Tokens that end the text, and are none of it.
    pub stop: Vec<u32>,
    /// How they are chosen.
    pub sampling: Sampling,
    /// Log-probabilities of each new token and of so many of the most probable ones in its place.
    pub logprobs: Option<usize>,
    /// The same of the prompt's tokens.
    pub prompt_logprobs: Option<usize>,
    /// The first of the prompt's tokens whose log-probability is asked for. Before the second, of which one is known, it asks for all.
    pub scored_from: usize,
}

/// What a text's vector is made of: the hidden states behind the last norm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean.
    #[default]
    Mean,
    /// The last one.
    Last,
}

/// An answer of the engine.
#[derive(Clone, Debug)]
pub enum Event {
    /// The prompt is being read; of so many of its tokens keys and values were there.
    Started(usize),
    /// The prompt's tokens with their log-probabilities, from the first of which one is asked for.
    Prompt(Vec<Scored>),
    /// A new token.
    Token(Scored),
    /// The token that ended the text, and is none of it, where log-probabilities were asked for.
    Ended(Scored),
    /// A piece of the prompt was read: so many of its tokens are.
    Read(usize),
    /// The vector.
    Vector(Vec<f32>),
    /// The text has ended.
    Finished(Finish),
    /// It cannot be gone on with.
    Failed(String),
}

/// A token and how probable it was.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scored {
    /// The token.
    pub id: u32,
    /// Its log-probability; 0 where it was not asked for.
    pub logprob: f32,
    /// The most probable tokens in its place, the most probable first.
    pub top: Vec<(u32, f32)>,
}

/// Why a text has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// A token that ends texts came.
    Stop,
    /// It has as many tokens as were asked for, or as there are positions.
    Length,
}

impl From<&Error> for Event {
    fn from(error: &Error) -> Self {
        Self::Failed(error.to_string())
    }
}
