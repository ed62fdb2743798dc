//! Asks models: how likely continuations of contexts are, and how prompts go on. It knows nothing of tasks, so that whoever has other
//! questions can ask them too.
//!
//! Contexts and continuations become tokens as lm-evaluation-harness makes them: together, and what the context alone does not
//! have is the continuation's. Questions of a group are asked one after the other, each going on from what was read of the one
//! before; groups are asked beside each other, and an answer does not depend on what is beside it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use setaccio_base::{parallel, row::Message};
use setaccio_templates::{Clock, End};
use setaccio_train::{
    inference::{
        engine::{Counts, Engine, Limits},
        request::{Answer, Event, Finish, Request, Scored, Task, Writing},
        sampling::Sampling,
        text::Writer,
    },
    models::{Loaded, Served},
    tokenizer::Tokens,
};

use crate::{
    error::{Error, Result},
    whitespace::is_space,
};

/// Rows of the KV cache at the least.
const LEAST_ROWS: usize = 64;

/// What a scorer may use.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Bytes of the KV cache.
    pub cache_bytes: usize,
    /// Groups that are asked beside each other.
    pub groups: usize,
    /// Tokens that a model looks at, if that is to be fewer than its positions.
    pub positions: Option<usize>,
}

/// Models of one base that can be asked.
pub struct Scorer {
    served: Vec<Served>,
    engine: Engine,
    positions: usize,
    groups: usize,
}

/// A context and what follows it, as tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    ids: Vec<u32>,
    /// Where the continuation begins; not 0.
    from: usize,
    /// Tokens of the context that did not fit.
    pub cut: usize,
}

/// How likely a continuation is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// The sum of its tokens' log-probabilities.
    pub sum: f64,
    /// How many tokens it has.
    pub tokens: usize,
    /// Whether each is the most probable one in its place.
    pub greedy: bool,
}

/// A prompt that is to be gone on with.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    ids: Vec<u32>,
    /// Tokens of the prompt that did not fit.
    pub cut: usize,
    /// Texts that end the answer, and are none of it.
    pub stop: Vec<String>,
    /// Most new tokens.
    pub max_tokens: usize,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The text, up to where it was stopped.
    pub text: String,
    /// Its tokens, those of a stop among them.
    pub tokens: usize,
    /// Whether it ended because it had as many tokens as were asked for.
    pub cut_short: bool,
}

/// A question.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// How likely is this?
    Score(Pair),
    /// How does this go on?
    Write(Open),
}

/// Its answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// So likely.
    Score(Score),
    /// So.
    Written(Written),
}

impl Scorer {
    /// For these models.
    ///
    /// # Errors
    /// No memory for the cache.
    pub fn new(loaded: Loaded, room: Room) -> Result<Self> {
        parallel::take_part();
        let Loaded { served, models, positions } = loaded;
        let positions = room.positions.map_or(positions, |most| most.min(positions));
        let row = models.first().map_or(1, |model| Engine::row_bytes(model)).max(1);
        let limits = Limits { rows: (room.cache_bytes / row).max(LEAST_ROWS), texts: room.groups, keep_prompts: true };
        Ok(Self { served, engine: Engine::new(models, positions, limits)?, positions, groups: room.groups })
    }

    /// The models, by their numbers.
    pub fn models(&self) -> &[Served] {
        &self.served
    }

    /// Tokens that a model looks at.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// What was computed so far.
    pub fn counts(&self) -> Counts {
        self.engine.counts()
    }

    /// A context and its continuation for a model. Spaces at the context's end are the continuation's.
    ///
    /// # Errors
    /// The tokenizer fails, has a token that the model has not, or gives the continuation no token of its own; or the continuation
    /// alone is longer than the model looks.
    pub fn pair(&self, model: usize, context: &str, continuation: &str) -> Result<Pair, String> {
        let served = &self.served[model];
        let tokens = &served.tokens;
        let (context_ids, continuation_ids) = if context.is_empty() {
            let first = prefix(tokens)?;
            let ids = tokens.encode(continuation)?.ids;
            if ids.first() == Some(&first) { (vec![first], ids[1..].to_vec()) } else { (vec![first], ids) }
        } else {
            let bare = context.trim_end_matches(is_space);
            let whole = ids_of(tokens, &format!("{context}{continuation}"))?;
            let context = ids_of(tokens, bare)?;
            let behind = whole.get(context.len()..).unwrap_or_default().to_vec();
            (context, behind)
        };
        if continuation_ids.is_empty() {
            return Err(format!("the tokenizer gives {continuation:?} no token of its own behind its context"));
        }
        self.of_ids(model, &context_ids, &continuation_ids)
    }

    /// The same of tokens.
    fn of_ids(&self, model: usize, context: &[u32], continuation: &[u32]) -> Result<Pair, String> {
        let served = &self.served[model];
        let all = [context, continuation].concat();
        served.tokens.within(&all, served.vocab)?;
        if continuation.len() > self.positions {
            return Err(format!(
                "the continuation has {} tokens, and the model looks at {}",
                continuation.len(),
                self.positions
            ));
        }
        if context.is_empty() {
            return Err("the tokenizer gives the context no token".into());
        }
        // One token more can be told than can be looked at.
        let cut = all.len().saturating_sub(self.positions + 1);
        Ok(Pair { ids: all[cut..].to_vec(), from: all.len() - cut - continuation.len(), cut })
    }

    /// A whole text, window after window: each token is scored once, behind one token before its window.
    ///
    /// # Errors
    /// The tokenizer fails, or has a token that the model has not.
    pub fn windows(&self, model: usize, text: &str) -> Result<Vec<Pair>, String> {
        let tokens = &self.served[model].tokens;
        let (ids, first) = (ids_of(tokens, text)?, prefix(tokens)?);
        let mut pairs = Vec::new();
        for start in (0..ids.len()).step_by(self.positions) {
            let before = if start == 0 { first } else { ids[start - 1] };
            let window = &ids[start..ids.len().min(start + self.positions)];
            pairs.push(self.of_ids(model, &[before], window)?);
        }
        Ok(pairs)
    }

    /// A prompt to be gone on with for at most `max_tokens`, or until one of `stop` comes. Of one that is too long the end is taken.
    ///
    /// # Errors
    /// The tokenizer fails or has a token that the model has not, or the answer would leave no room for a prompt.
    pub fn open(&self, model: usize, prompt: &str, max_tokens: usize, stop: &[String]) -> Result<Open, String> {
        let served = &self.served[model];
        let ids = ids_of(&served.tokens, prompt)?;
        served.tokens.within(&ids, served.vocab)?;
        let most = self.positions.saturating_sub(max_tokens);
        if most == 0 {
            return Err(format!(
                "an answer of {max_tokens} tokens leaves no room for a prompt: the model looks at {}",
                self.positions
            ));
        }
        if ids.is_empty() {
            return Err("the prompt has no tokens".into());
        }
        let cut = ids.len().saturating_sub(most);
        Ok(Open { ids: ids[cut..].to_vec(), cut, stop: stop.to_vec(), max_tokens })
    }

    /// How likely each pair is, in order. `cancelled` is asked between steps.
    ///
    /// # Errors
    /// The model's logits are no numbers, the cache is too small for one, or it was cancelled.
    pub fn score(&mut self, model: usize, pairs: Vec<Pair>, cancelled: &dyn Fn() -> bool) -> Result<Vec<Score>> {
        let mut scores = vec![Score::default(); pairs.len()];
        let groups = pairs.into_iter().map(|pair| vec![Ask::Score(pair)]).collect();
        self.ask(model, groups, cancelled, &mut |group, replies| {
            if let Some(Reply::Score(score)) = replies.first() {
                scores[group] = *score;
            }
            Ok(())
        })?;
        Ok(scores)
    }

    /// How each prompt goes on, in order.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn write(&mut self, model: usize, prompts: Vec<Open>, cancelled: &dyn Fn() -> bool) -> Result<Vec<Written>> {
        let mut texts = vec![Written::default(); prompts.len()];
        let groups = prompts.into_iter().map(|open| vec![Ask::Write(open)]).collect();
        self.ask(model, groups, cancelled, &mut |group, mut replies| {
            if let Some(Reply::Written(written)) = replies.pop() {
                texts[group] = written;
            }
            Ok(())
        })?;
        Ok(texts)
    }

    /// Ask groups of questions. `each` is given the number of a group and its answers as soon as all are there, in any order.
    ///
    /// # Errors
    /// As [`Scorer::score`], or what `each` says; what was given to `each` is answered.
    pub fn ask(
        &mut self,
        model: usize,
        groups: Vec<Vec<Ask>>,
        cancelled: &dyn Fn() -> bool,
        each: &mut dyn FnMut(usize, Vec<Reply>) -> Result<()>,
    ) -> Result<()> {
        let (sender, told) = mpsc::channel();
        let line = Line { sender, hung_up: Arc::default() };
        // However this ends, what is still asked then is let go of.
        let _hangs_up = HangUp(line.hung_up.clone());
        let mut waiting = groups.into_iter().enumerate();
        let mut open: HashMap<usize, (std::vec::IntoIter<Ask>, Vec<Reply>)> = HashMap::new();
        loop {
            while open.len() < self.groups {
                let Some((number, group)) = waiting.next() else { break };
                let mut questions = group.into_iter();
                match questions.next() {
                    Some(first) => {
                        self.submit(model, number, first, &line);
                        open.insert(number, (questions, Vec::new()));
                    }
                    None => each(number, Vec::new())?,
                }
            }
            if open.is_empty() {
                return Ok(());
            }
            if cancelled() {
                return Err(Error::Interrupted);
            }
            let stepped = self.engine.step();
            for (number, reply) in told.try_iter() {
                let reply = reply.map_err(|message| Error::Group { number, message })?;
                let Some((questions, replies)) = open.get_mut(&number) else { continue };
                replies.push(reply);
                if let Some(next) = questions.next() {
                    self.submit(model, number, next, &line);
                } else {
                    let replies = std::mem::take(replies);
                    open.remove(&number);
                    each(number, replies)?;
                }
            }
            stepped?;
        }
    }

    fn submit(&mut self, model: usize, number: usize, ask: Ask, line: &Line) {
        let tokens = &self.served[model].tokens;
        let line = line.clone();
        let request = match ask {
            Ask::Score(Pair { ids, from, .. }) => {
                let writing = Writing { prompt_logprobs: Some(1), scored_from: from, ..Writing::default() };
                let listening = Box::new(Scoring { line, number });
                Request { model, prompt: ids, task: Task::Write(writing), answer: listening }
            }
            Ask::Write(Open { ids, stop, max_tokens, .. }) => {
                let writing = Writing {
                    max_tokens,
                    stop: tokens.eos_ids.clone(),
                    sampling: Sampling::default(),
                    ..Writing::default()
                };
                let writer = Writer::new(tokens.clone(), stop.clone());
                let listening =
                    Box::new(Listening { line, number, tokens: tokens.clone(), stop, writer, ids: Vec::new() });
                Request { model, prompt: ids, task: Task::Write(writing), answer: listening }
            }
        };
        self.engine.submit(request);
    }
}

/// Turns in a model's own chat template, up to where the answer begins; `clock` is what the template takes for now.
///
/// # Errors
/// There is no template, or it refuses the turns.
pub fn chat(tokens: &Tokens, turns: &[Message], clock: Option<Clock>) -> Result<String, String> {
    let template = tokens.chat_template.as_ref().ok_or("the model has no chat template")?;
    let renderer = tokens.renderer(template).map_err(|e| e.to_string())?.at(clock);
    renderer.chat(turns, None, End::Prompt).map(|rendering| rendering.text)
}

/// What stands before a text that has no context: BOS, or else the end of texts.
fn prefix(tokens: &Tokens) -> Result<u32, String> {
    let first = tokens.bos.as_ref().or(tokens.eos.as_ref()).map(|(_, id)| *id);
    first.ok_or_else(|| "the tokenizer names neither a beginning nor an end of texts".to_owned())
}

/// A text as tokens, with BOS before it where the tokenizer puts one, unless the text has it.
fn ids_of(tokens: &Tokens, text: &str) -> Result<Vec<u32>, String> {
    let mut ids = tokens.encode(text)?.ids;
    if let Some((bos, id)) = tokens.bos.as_ref().filter(|(bos, _)| tokens.adds_bos && !text.starts_with(bos.as_str())) {
        debug_assert!(!bos.is_empty());
        ids.insert(0, *id);
    }
    Ok(ids)
}

/// Where answers are told.
#[derive(Clone)]
struct Line {
    sender: mpsc::Sender<(usize, Result<Reply, String>)>,
    hung_up: Arc<AtomicBool>,
}

impl Line {
    fn wanted(&self) -> bool {
        !self.hung_up.load(Ordering::Relaxed)
    }

    /// Tell an answer, after which no more are wanted.
    fn tell(&self, number: usize, reply: Result<Reply, String>) -> bool {
        drop(self.sender.send((number, reply)));
        false
    }
}

/// Ends what is asked when it is dropped.
struct HangUp(Arc<AtomicBool>);

impl Drop for HangUp {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Hears how likely a continuation is.
struct Scoring {
    line: Line,
    number: usize,
}

impl Answer for Scoring {
    fn tell(&mut self, event: Event) -> bool {
        let reply = match event {
            Event::Prompt(scores) => Ok(Reply::Score(Score {
                sum: scores.iter().map(|token| f64::from(token.logprob)).sum(),
                tokens: scores.len(),
                greedy: scores.iter().all(is_greedy),
            })),
            Event::Failed(why) => Err(why),
            _ => return self.line.wanted(),
        };
        self.line.tell(self.number, reply)
    }

    fn wanted(&self) -> bool {
        self.line.wanted()
    }
}

/// Whether a token is the most probable one in its place.
fn is_greedy(token: &Scored) -> bool {
    token.top.first().is_some_and(|(id, _)| *id == token.id)
}

/// Hears how a prompt goes on.
struct Listening {
    line: Line,
    number: usize,
    tokens: Arc<Tokens>,
    stop: Vec<String>,
    writer: Writer,
    ids: Vec<u32>,
}

impl Listening {
    fn finish(&mut self, cut_short: bool) -> bool {
        // The whole is decoded at once, as it would be by whoever has all of it.
        let written = self.tokens.decode(&self.ids).map_err(|e| e.to_string()).map(|text| {
            let end =
                self.stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop.as_str())).min();
            let text = text[..end.unwrap_or(text.len())].to_owned();
            Reply::Written(Written { text, tokens: self.ids.len(), cut_short })
        });
        self.line.tell(self.number, written)
    }
}

impl Answer for Listening {
    fn tell(&mut self, event: Event) -> bool {
        match event {
            Event::Token(token) => {
                self.ids.push(token.id);
                if self.writer.push(token.id).stopped { self.finish(false) } else { self.line.wanted() }
            }
            Event::Finished(why) => self.finish(why == Finish::Length),
            Event::Failed(why) => self.line.tell(self.number, Err(why)),
            _ => self.line.wanted(),
        }
    }

    fn wanted(&self) -> bool {
        self.line.wanted()
    }
}
