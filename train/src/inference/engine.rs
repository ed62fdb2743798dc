//! The engine: requests in, answers out, a step at a time.

use std::{collections::VecDeque, sync::Arc};

use candle_core::Tensor;
use rayon::prelude::*;

use super::{
    pieces::{self, BLOCK},
    request::{Event, Finish, Pooling, Request, Scored, Task, Writing},
    rows::{Found, Prompt, Rows},
    sampling::{largest, log_sum_exp},
};
use crate::{
    error::{Error, Result},
    kernels::{self, RowIndex, Span, rows_alike},
    model::{context::Mode, kv_cache::KvCache, layer::Layer, linear, llama::Llama},
    random,
};

/// Rows of prompts in a step, unless one piece has more.
const PROMPT_ROWS: usize = 512;
/// Rows of logits at a time.
const LOGIT_ROWS: usize = 64;
/// Rows that a text gets beyond its prompt, and again when it has written these.
const MORE: usize = 128;

/// What an engine may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Tokens of prompts and texts whose keys and values there is room for.
    pub rows: usize,
    /// Texts that are written beside each other.
    pub texts: usize,
    /// Whether prompts are kept for those that begin alike.
    pub keep_prompts: bool,
}

/// What an engine has done, and holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tokens of prompts that were read.
    pub read: u64,
    /// Tokens of prompts that were there.
    pub kept: u64,
    /// New tokens.
    pub written: u64,
    /// Texts that gave up their room and began again.
    pub restarted: u64,
    /// Steps.
    pub steps: u64,
    /// Requests that wait.
    pub waiting: usize,
    /// Requests that are worked on.
    pub running: usize,
    /// Rows of the cache that these have.
    pub rows: usize,
    /// Rows that prompts have which were read.
    pub kept_rows: usize,
}

/// Models of one base that answer requests beside each other, each with an adapter of its own or none.
pub struct Engine {
    models: Vec<Arc<Llama>>,
    positions: usize,
    /// Rows that are computed of prompts at the least.
    least: usize,
    caches: Vec<KvCache>,
    rows: Rows,
    limits: Limits,
    /// Whether what was read of a prompt is the same wherever reading began.
    shares: bool,
    /// Requests that came.
    came: u64,
    waiting: VecDeque<Text>,
    /// In the order in which they came.
    running: Vec<Text>,
    counts: Counts,
}

/// A request on its way.
struct Text {
    request: Request,
    /// Which of the requests it is, as they came.
    number: u64,
    /// Tokens of the prompt that are read: one more than there are positions can be asked for with its probability.
    end: usize,
    /// What was written.
    written: Vec<u32>,
    /// Tokens whose keys and values are in the cache.
    done: usize,
    /// Its first row, and how many it has.
    run: (usize, usize),
    /// The text before it that reads what both begin with, and how many tokens that are, whole blocks: it waits for these.
    follows: Option<(u64, usize)>,
    /// Log-probabilities of the prompt's tokens, from the first that is told.
    scores: Vec<Scored>,
    /// The sum of its hidden states, for their mean.
    sum: Vec<f64>,
    /// The stream of its random numbers.
    stream: u64,
    /// Whether it was said that it has begun.
    begun: bool,
    /// Whether nobody wants more of it.
    over: bool,
}

impl Text {
    fn tell(&mut self, event: Event) {
        if !self.over && !self.request.answer.tell(event) {
            self.over = true;
        }
    }

    fn finish(&mut self, event: Event) {
        self.tell(event);
        self.over = true;
    }

    fn writing(&self) -> Option<&Writing> {
        match &self.request.task {
            Task::Write(writing) => Some(writing),
            Task::Embed(_) => None,
        }
    }

    /// How many of the most probable tokens are told for each of the prompt, if they are.
    fn scored(&self) -> Option<usize> {
        self.writing().and_then(|writing| writing.prompt_logprobs)
    }

    /// The first token whose log-probability is told.
    fn scored_from(&self) -> usize {
        self.writing().map_or(1, |writing| writing.scored_from.max(1))
    }

    /// What its next token depends on beside the logits.
    fn asked(&self) -> Option<Asked<'_>> {
        let writing = self.writing()?;
        Some(Asked { writing, prompt: &self.request.prompt, written: &self.written, stream: self.stream })
    }

    fn reads(&self) -> bool {
        self.done < self.end
    }

    /// Tokens whose keys and values may be taken over. A vector is made of all tokens. The last token is always read, since it gives
    /// the next one, and so is that before the first whose log-probability is told.
    fn may_take(&self) -> usize {
        let Some(writing) = self.writing() else { return 0 };
        let last = self.end - 1;
        if writing.prompt_logprobs.is_some() { last.min(self.scored_from() - 1) } else { last }
    }

    /// Whether its run has no row for the next token.
    fn is_full(&self) -> bool {
        !self.over && !self.reads() && self.done == self.run.1
    }

    /// The next token whose keys and values are not there, behind the prompt.
    fn next(&self) -> u32 {
        self.written[self.done - self.end]
    }
}

impl Engine {
    /// For these models, whose embeddings and layers are alike. `positions` is how many tokens one can look at.
    ///
    /// # Errors
    /// No memory for the cache.
    pub fn new(models: Vec<Arc<Llama>>, positions: usize, limits: Limits) -> Result<Self> {
        let Some(base) = models.first() else { return Err(Error::Other("an engine without a model".into())) };
        let least = models.iter().map(|model| rows_alike(narrowest(model))).max().unwrap_or(1);
        let caches = base.caches(least + limits.rows)?;
        // Where a layer sees the last keys only, its sums depend on where a piece begins.
        let windows = base.layers.iter().filter_map(|layer| layer.attention.heads.scores.window);
        let whole = windows.min().is_none_or(|window| window >= positions);
        let limits = Limits { keep_prompts: limits.keep_prompts && whole, ..limits };
        let (shares, came) = (whole, 0);
        let (rows, counts) = (Rows::new(least, limits.rows), Counts::default());
        let (waiting, running) = (VecDeque::new(), Vec::new());
        Ok(Self { models, positions, least, caches, rows, limits, shares, came, waiting, running, counts })
    }

    /// Bytes of the cache for each row of `model`.
    pub fn row_bytes(model: &Llama) -> usize {
        let width = |heads: crate::kernels::Heads| 2 * heads.kv * heads.dim;
        let elements: usize = model.layers.iter().map(|layer| width(layer.attention.heads)).sum();
        elements * model.dtype.size_in_bytes()
    }

    /// Take a request in.
    pub fn submit(&mut self, request: Request) {
        let end = request.prompt.len().min(self.positions);
        let seed = match &request.task {
            Task::Write(writing) => writing.sampling.seed,
            Task::Embed(_) => 0,
        };
        self.came += 1;
        let mut text = Text {
            number: self.came,
            follows: None,
            end,
            written: Vec::new(),
            done: 0,
            run: (0, 0),
            scores: Vec::new(),
            sum: Vec::new(),
            stream: random::key(seed, "generate"),
            begun: false,
            over: false,
            request,
        };
        match self.refusal(&text) {
            Some(why) => text.finish(Event::Failed(why)),
            None => self.waiting.push_back(text),
        }
    }

    fn refusal(&self, text: &Text) -> Option<String> {
        let (prompt, positions) = (&text.request.prompt, self.positions);
        let Some(model) = self.models.get(text.request.model) else { return Some("there is no such model".into()) };
        if prompt.is_empty() {
            return Some("the prompt has no tokens".into());
        }
        let vocab = model.embedding.weight.tensor().dim(0).unwrap_or(0);
        if let Some(id) = prompt.iter().find(|id| **id as usize >= vocab) {
            return Some(format!("token {id} is outside the model's vocabulary of {vocab}"));
        }
        let most = if text.scored().is_some() { positions + 1 } else { positions };
        if prompt.len() > most {
            return Some(format!("the prompt has {} tokens, and the model has {positions} positions", prompt.len()));
        }
        let rows = self.rows.most();
        (text.end > rows)
            .then(|| format!("the prompt has {} tokens, and the KV cache has room for {rows}", prompt.len()))
    }

    /// Whether nothing is to be done.
    pub fn idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    /// What it has done, and holds now.
    pub fn counts(&self) -> Counts {
        let (rows, kept_rows) = self.rows.used();
        Counts { waiting: self.waiting.len(), running: self.running.len(), rows, kept_rows, ..self.counts }
    }

    /// Go on with what was asked for: pieces of prompts are read, and every text whose prompt is read gets a token more.
    ///
    /// # Errors
    /// A model cannot be computed; every request is told.
    pub fn step(&mut self) -> Result<()> {
        // A thread of the pool takes part in the work that it shares out; another would be woken up after each piece of it.
        let on_cpu = self.models.first().is_some_and(|model| model.device().is_cpu());
        if on_cpu { rayon::scope(|_| self.advance()) } else { self.advance() }
    }

    fn advance(&mut self) -> Result<()> {
        let done = self.admit().and_then(|()| self.read()).and_then(|()| self.write());
        if let Err(error) = &done {
            let texts = self.running.iter_mut().chain(&mut self.waiting);
            texts.for_each(|text| text.finish(error.into()));
        }
        self.counts.steps += 1;
        self.leave();
        done
    }

    /// Give room to those that wait, in their order.
    fn admit(&mut self) -> Result<()> {
        self.waiting.retain(|text| !text.over && text.request.answer.wanted());
        // Room that becomes free is for those that cannot go on without it.
        if self.running.iter().any(Text::is_full) {
            return Ok(());
        }
        while self.running.len() < self.limits.texts {
            let Some(text) = self.waiting.front() else { break };
            let (model, scores) = (text.request.model, text.scored());
            let more = text.writing().map_or(0, |writing| writing.max_tokens.min(MORE));
            let len = (text.end + text.written.len() + more).min(self.positions).min(self.rows.most());
            // Those of the prompt before the first that is told are not needed.
            let from = text.scored_from();
            let kept = scores.filter(|_| from == 1);
            let found = self.rows.find(model, &text.request.prompt[..text.end], kept);
            let Some(start) = self.rows.take(len, found.as_ref().map(|found| found.start)) else { break };
            let Some(mut text) = self.waiting.pop_front() else { break };
            text.run = (start, len);
            let usable = |found: &Found| text.writing().is_some() && self.rows.keeps(found.start);
            if let Some(found) = found.filter(usable) {
                // Where log-probabilities are taken over, the last token in common is read: it gives that of the first which is not.
                let done = if kept.is_some() { found.len - 1 } else { found.len.min(text.may_take()) };
                let done = done / BLOCK * BLOCK;
                self.caches.iter().try_for_each(|cache| cache.copy(found.start, start, done))?;
                text.done = done;
                text.scores = found.scores;
                self.counts.kept += done as u64;
            }
            text.follows = self.leader(&text, self.running.len());
            self.running.push(text);
        }
        Ok(())
    }

    /// Which of the first `among` running texts reads most of what this one begins with, if that is more than it has, and how much.
    fn leader(&self, text: &Text, among: usize) -> Option<(u64, usize)> {
        if !self.shares {
            return None;
        }
        let most = text.may_take();
        let common = |other: &Text| {
            let prompts = other.request.prompt[..other.end].iter().zip(&text.request.prompt[..most]);
            prompts.take_while(|(a, b)| a == b).count() / BLOCK * BLOCK
        };
        let alike = |other: &&Text| !other.over && other.request.model == text.request.model;
        let found = self.running[..among].iter().filter(alike).map(|other| (other.number, common(other)));
        found.filter(|(_, len)| *len > text.done).max_by_key(|(number, len)| (*len, std::cmp::Reverse(*number)))
    }

    /// Let texts take over what those that they follow have read, and say of all that wait for none that they have begun.
    fn take_over(&mut self) -> Result<()> {
        for at in 0..self.running.len() {
            while let Some((number, len)) = self.running[at].follows {
                let leader = self.running[..at].iter().find(|other| other.number == number);
                if let Some(leader) = leader.filter(|leader| leader.done >= len) {
                    let (from, to, had) = (leader.run.0, self.running[at].run.0, self.running[at].done);
                    self.caches.iter().try_for_each(|cache| cache.copy(from + had, to + had, len - had))?;
                    self.counts.kept += (len - had) as u64;
                    let text = &mut self.running[at];
                    text.done = len;
                    text.follows = None;
                } else if leader.is_some_and(|leader| !leader.over) {
                    break;
                } else {
                    // It has gone: perhaps another reads the same.
                    self.running[at].follows = self.leader(&self.running[at], at);
                }
            }
            let text = &mut self.running[at];
            if text.follows.is_none() && !text.begun {
                text.begun = true;
                text.tell(Event::Started(text.done));
            }
        }
        Ok(())
    }

    /// Read pieces of prompts: of the first model that has some, in the order in which they came.
    fn read(&mut self) -> Result<()> {
        self.take_over()?;
        let reads = |text: &Text| text.reads() && text.follows.is_none() && !text.over;
        let Some(model) = self.running.iter().find(|text| reads(text)).map(|text| text.request.model) else {
            return Ok(());
        };
        let (mut ids, mut spans, mut parts) = (Vec::new(), Vec::new(), Vec::new());
        for (at, text) in self.running.iter().enumerate() {
            if text.request.model != model || !reads(text) {
                continue;
            }
            let piece = pieces::next(text.done, text.end);
            if !ids.is_empty() && ids.len() + piece.len() > PROMPT_ROWS {
                break;
            }
            parts.push((at, piece.clone(), ids.len()));
            spans.extend(pieces::blocks(&piece, ids.len(), text.run.0));
            ids.extend(&text.request.prompt[piece]);
        }
        if ids.len() < self.least {
            // Rows of nobody's, so that the others' products are those of many rows.
            let lacking = self.least - ids.len();
            spans.push(Span { q: ids.len(), q_len: lacking, k: 0, k_len: lacking });
            ids.resize(self.least, 0);
        }
        let llama = self.models[model].clone();
        let states = llama.extend(&ids, &spans, &self.caches, Mode::Eval)?;
        for (at, piece, first) in parts {
            let rows = states.narrow(0, first, piece.len())?;
            let text = &mut self.running[at];
            self.counts.read += (piece.end - text.done) as u64;
            if let Task::Embed(pooling) = text.request.task {
                embed(text, &llama, &rows, (piece.start, pooling))?;
            } else {
                if let Some(n) = text.scored() {
                    score(text, &llama, &rows, (piece.start, n))?;
                }
                if piece.end == text.end && !text.over {
                    self.prompt_ends(at, &llama, &rows.narrow(0, piece.len() - 1, 1)?)?;
                }
            }
            let text = &mut self.running[at];
            text.done = piece.end;
            text.tell(Event::Read(piece.end));
        }
        // Those that were read may have ended by now.
        self.take_over()
    }

    /// A prompt was read: tell its log-probabilities, and write the first token, of the hidden state of the last, [1, H].
    fn prompt_ends(&mut self, at: usize, llama: &Llama, last: &Tensor) -> Result<()> {
        let text = &mut self.running[at];
        // One that began again has told it.
        if !text.written.is_empty() {
            return Ok(());
        }
        if text.scored().is_some() {
            let scores = text.scores.clone();
            text.tell(Event::Prompt(scores));
        }
        let left = self.positions - text.end;
        let asked = text.writing().map_or(0, |writing| writing.max_tokens);
        // The text may be one token longer than there are positions: nothing comes after it.
        if asked == 0 || text.request.prompt.len() > text.end {
            text.finish(Event::Finished(Finish::Length));
            return Ok(());
        }
        let logits = kernels::to_host(&llama.head.logits_in(last, Mode::Tokens)?)?;
        let Some(choice) = text.asked().map(|asked| asked.choose(&logits)) else { return Ok(()) };
        self.counts.written += u64::from(write(text, choice, left + 1));
        Ok(())
    }

    /// A token more for every text whose prompt is read, model by model.
    fn write(&mut self) -> Result<()> {
        self.make_room()?;
        for model in 0..self.models.len() {
            let ready = |text: &Text| {
                let goes_on = !text.over && !text.reads() && text.done < text.end + text.written.len();
                goes_on && text.request.model == model && text.done < text.run.1
            };
            let texts: Vec<usize> = (0..self.running.len()).filter(|at| ready(&self.running[*at])).collect();
            if texts.is_empty() {
                continue;
            }
            let ids: Vec<u32> = texts.iter().map(|at| self.running[*at].next()).collect();
            let span = |(q, at): (usize, &usize)| {
                let text = &self.running[*at];
                Span { q, q_len: 1, k: text.run.0, k_len: text.done + 1 }
            };
            let spans: Vec<Span> = texts.iter().enumerate().map(span).collect();
            let llama = self.models[model].clone();
            let states = llama.extend(&ids, &spans, &self.caches, Mode::Tokens)?;
            // A text that began again has tokens that are told already.
            let new = |(row, at): (usize, &usize)| {
                let text = &mut self.running[*at];
                text.done += 1;
                (text.done == text.end + text.written.len()).then_some((row, *at))
            };
            let new: Vec<(usize, usize)> = texts.iter().enumerate().filter_map(new).collect();
            for new in new.chunks(LOGIT_ROWS) {
                let logits = llama.head.logits_in(&some(&states, new.iter().map(|(row, _)| *row))?, Mode::Tokens)?;
                let (logits, vocab) = (kernels::to_host(&logits)?, logits.dim(1)?);
                let asked: Vec<Option<Asked<'_>>> = new.iter().map(|(_, at)| self.running[*at].asked()).collect();
                let each = asked.par_iter().zip(logits.par_chunks(vocab));
                let choices = each.map(|(asked, logits)| Some(asked.as_ref()?.choose(logits)));
                for ((_, at), choice) in new.iter().zip(choices.collect::<Vec<_>>()) {
                    let left = self.positions - self.running[*at].end + 1;
                    let wrote = choice.is_some_and(|choice| write(&mut self.running[*at], choice, left));
                    self.counts.written += u64::from(wrote);
                }
            }
        }
        Ok(())
    }

    /// Let every text that has filled its run have a longer one. If there is no room for any, the last one begins again later.
    fn make_room(&mut self) -> Result<()> {
        loop {
            let mut stuck = false;
            for at in 0..self.running.len() {
                if !self.running[at].is_full() {
                    continue;
                }
                let (start, len) = self.running[at].run;
                let longer = (len + MORE).min(self.positions).min(self.rows.most());
                if longer == len {
                    stuck = true;
                } else if self.rows.stretch(start, longer) {
                    self.running[at].run.1 = longer;
                } else if let Some(place) = self.rows.take(longer, None) {
                    self.caches.iter().try_for_each(|cache| cache.copy(start, place, len))?;
                    self.rows.free(start);
                    self.running[at].run = (place, longer);
                } else {
                    stuck = true;
                }
            }
            if !stuck || self.running.iter().any(|text| !text.over && !text.is_full()) {
                return Ok(());
            }
            if let [text] = &mut self.running[..] {
                let (start, len) = text.run;
                if len == self.rows.most() {
                    text.finish(Event::Finished(Finish::Length));
                    return Ok(());
                }
                text.run.0 = self.rows.move_to_front(start);
                let to = text.run.0;
                self.caches.iter().try_for_each(|cache| cache.copy(start, to, len))?;
                continue;
            }
            let Some(mut text) = self.running.pop() else { return Ok(()) };
            self.rows.free(text.run.0);
            text.done = 0;
            text.follows = None;
            text.scores.clear();
            text.sum.clear();
            self.counts.restarted += 1;
            self.waiting.push_front(text);
        }
    }

    /// Those that have ended give their rows back, or leave their prompts there.
    fn leave(&mut self) {
        let (over, running): (Vec<Text>, _) = std::mem::take(&mut self.running).into_iter().partition(|text| text.over);
        self.running = running;
        for text in over {
            let read = text.done.min(text.end);
            // Shorter ones are of no use to another.
            let whole = !text.reads() && read >= BLOCK;
            if self.limits.keep_prompts && whole && text.writing().is_some() {
                let mut ids = text.request.prompt;
                ids.truncate(read);
                let scores = match &text.request.task {
                    Task::Write(Writing { prompt_logprobs: Some(n), scored_from: 0 | 1, .. }) => {
                        Some((*n, text.scores))
                    }
                    _ => None,
                };
                // The last one's may be of a token that was not read.
                let scores = scores.map(|(n, scores)| (n, scores.into_iter().take(read - 1).collect()));
                self.rows.keep(text.run.0, Prompt { model: text.request.model, ids, scores });
            } else {
                self.rows.free(text.run.0);
            }
        }
    }
}

/// The fewest columns of a product with a weight or an adapter of a model; those with a vector are no products.
fn narrowest(model: &Llama) -> usize {
    let linears = linear::narrowest(model.layers.iter().flat_map(Layer::linears));
    let tables = [&model.embedding.lora, &model.head.lora].map(|lora| lora.as_ref()?.a.value.dim(0).ok());
    tables.into_iter().flatten().fold(linears, usize::min).max(1)
}

/// Some of the `rows` [T, H], by their numbers.
fn some(rows: &Tensor, which: impl Iterator<Item = usize>) -> Result<Tensor> {
    let which = which.map(|row| u32::try_from(row).map_err(|e| Error::Other(e.to_string())));
    let index = RowIndex::new(which.collect::<Result<_>>()?, rows.dim(0)?, rows.device())?;
    kernels::gather_rows(rows, &index, rows.dtype())
}

/// Log-probabilities of the tokens that come after those of a piece, whose hidden states are `rows` [T, H].
fn score(text: &mut Text, llama: &Llama, rows: &Tensor, (start, n): (usize, usize)) -> Result<()> {
    let count = rows.dim(0)?;
    let prompt = &text.request.prompt;
    // What was read again is known.
    let known = text.scored_from() - 1 + text.scores.len();
    let mut first = known.saturating_sub(start);
    while first < count && start + first + 1 < prompt.len() {
        let len = LOGIT_ROWS.min(count - first);
        // Logits of few rows are added up otherwise than those of more, so that some may be there twice.
        let lacking = rows_alike(llama.embedding.weight.tensor().dim(0)?).saturating_sub(len);
        let block = some(rows, (first..first + len).chain(std::iter::repeat_n(first, lacking)))?;
        let logits = llama.head.logits(&block)?;
        let (logits, vocab) = (kernels::to_host(&logits)?, logits.dim(1)?);
        for (row, logits) in logits.chunks(vocab).enumerate().take(len) {
            let Some(id) = prompt.get(start + first + row + 1) else { break };
            text.scores.push(scored(*id, logits, n));
        }
        first += len;
    }
    Ok(())
}

/// A token among these logits.
#[allow(clippy::cast_possible_truncation, reason = "log-probabilities are told as f32")]
fn scored(id: u32, logits: &[f32], n: usize) -> Scored {
    let sum = log_sum_exp(logits);
    let logprob = |id: u32| (f64::from(logits[id as usize]) - sum) as f32;
    Scored { id, logprob: logprob(id), top: largest(logits, n).into_iter().map(|id| (id, logprob(id))).collect() }
}

/// Add hidden states `rows` [T, H] to a text's vector, and tell it when all are there.
#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a mean of few rows, told as f32")]
fn embed(text: &mut Text, llama: &Llama, rows: &Tensor, (start, pooling): (usize, Pooling)) -> Result<()> {
    let (count, width) = rows.dims2()?;
    let normed = kernels::to_host(&llama.head.norm.forward(rows)?)?;
    let all = start + count == text.end;
    text.sum.resize(width, 0.0);
    match pooling {
        Pooling::Mean => {
            for row in normed.chunks(width).skip(text.done - start) {
                text.sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
            }
        }
        Pooling::Last => text.sum = normed[(count - 1) * width..].iter().map(|x| f64::from(*x)).collect(),
    }
    if all {
        let by = if pooling == Pooling::Mean { text.end as f64 } else { 1.0 };
        let vector = text.sum.iter().map(|sum| (sum / by) as f32).collect();
        text.finish(Event::Vector(vector));
    }
    Ok(())
}

/// What a text's next token depends on beside the logits.
struct Asked<'a> {
    writing: &'a Writing,
    prompt: &'a [u32],
    written: &'a [u32],
    stream: u64,
}

impl Asked<'_> {
    /// The next token; none if the logits are not numbers.
    fn choose(&self, logits: &[f32]) -> Option<Scored> {
        let Self { writing: Writing { sampling, logprobs, .. }, prompt, written, stream } = self;
        if !logits.iter().all(|x| x.is_finite()) {
            return None;
        }
        let at = random::uniform(*stream, written.len() as u64);
        let id = if sampling.penalizes() {
            let mut penalized = logits.to_vec();
            sampling.penalize(&mut penalized, prompt, written);
            sampling.choose(&penalized, at)
        } else {
            sampling.choose(logits, at)
        };
        // What is told is the model's own, without penalties.
        Some(match logprobs {
            Some(n) => scored(id, logits, *n),
            None => Scored { id, ..Scored::default() },
        })
    }
}

/// Put the next token into a text, of which there may be `left` in all, and tell it. Gives whether there is one.
fn write(text: &mut Text, choice: Option<Scored>, left: usize) -> bool {
    let Some(told) = choice else {
        let after = text.end + text.written.len();
        text.finish(Event::Failed(format!("the model's logits after token {after} are not numbers")));
        return false;
    };
    let Some(&Writing { max_tokens, logprobs, .. }) = text.writing() else { return false };
    let id = told.id;
    if text.writing().is_some_and(|writing| writing.stop.contains(&id)) {
        if logprobs.is_some() {
            text.tell(Event::Ended(told));
        }
        text.finish(Event::Finished(Finish::Stop));
        return false;
    }
    text.written.push(id);
    text.tell(Event::Token(told));
    if text.written.len() >= max_tokens.min(left) {
        text.finish(Event::Finished(Finish::Length));
    }
    true
}
