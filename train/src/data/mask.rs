//! A row as tokens, with those marked that the model learns to produce: the assistant's answers and the
//! token that ends each, or the last answer, or everything.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use serde_json::Value;
use setaccio_base::bundle::Place;
use setaccio_base::row::{Content, Message};
use setaccio_templates::{Clock, End, Renderer};

use super::{
    batch::Example,
    keep,
    outcome::{Refusal, RowOutcome, empty, leaves_out},
    rendered::RenderedTokens,
    said::{self, Said},
    spans::{self, Conversation},
};
use crate::{
    error::{Error, Result},
    recipe::{Data, Overlong, TrainOn, Unsaid},
    tokenizer::Tokens,
};

/// Turns rows into tokens.
pub struct Masker<'a> {
    pub(super) tokens: &'a Tokens,
    chat: Option<Renderer>,
    text: Option<Renderer>,
    /// The templates' sources, for the cache's key.
    pub templates: [String; 2],
    pub(super) data: Data,
    vocab: usize,
}

impl<'a> Masker<'a> {
    /// For a recipe's `[data]`; its `template` is one that `recipe` names. A template that reads `messages` is for
    /// conversations, any other is for texts. `vocab` is the model's.
    ///
    /// # Errors
    /// The template is missing or does not parse.
    pub fn new(data: &Data, recipe: &Place, tokens: &'a Tokens, vocab: usize) -> Result<Self> {
        let clock = Clock::date(&data.date);
        if clock.is_none() && !data.date.is_empty() {
            let message = format!("data.date = {:?}: a date is written as 2026-01-31", data.date);
            return Err(Error::recipe(&recipe.name(), message));
        }
        let renderer = |source: &str, file: &Path| {
            let renderer = tokens.renderer(source).map_err(|e| Error::damaged(file, e.to_string()));
            Ok::<_, Error>(renderer?.at(clock))
        };
        let mut files = [tokens.source.clone(), PathBuf::new()];
        let mut templates = [tokens.chat_template.clone().unwrap_or_default(), String::new()];
        if !data.template.is_empty() {
            let template = recipe.beside(&data.template);
            let source = template.text_plain().map_err(Error::io("read the template", template.path()))?;
            let which = usize::from(!renderer(&source, template.path())?.reads("messages"));
            (templates[which], files[which]) = (source, template.path().to_owned());
        }
        let [chat, text] = [0, 1].map(|which| {
            let (source, file) = (&templates[which], &files[which]);
            if source.is_empty() { Ok(None) } else { renderer(source, file).map(Some) }
        });
        Ok(Self { tokens, chat: chat?, text: text?, templates, data: data.clone(), vocab })
    }

    /// One row.
    ///
    /// # Errors
    /// What is wrong with the row, or with the template as the row shows it.
    pub fn row(&self, content: &Content) -> std::result::Result<RowOutcome<Example>, String> {
        let (mut example, said) = match content {
            Content::Text(text) => (self.text(text)?, Said::default()),
            Content::Chat { messages, tools } => match self.chat(messages, tools.as_ref()) {
                Ok(made) => made,
                Err(refusal) => return refusal.by(&self.data),
            },
            Content::Preference { .. } => return Err("is a pair of answers, and one text is needed".into()),
        };
        self.known(&example.ids)?;
        if let Some(first) = example.trained.first_mut() {
            *first = false;
        }
        if !example.trained.contains(&true) {
            return Err("has no token to learn".into());
        }
        let truncated = example.ids.len() > self.data.max_length;
        if truncated && self.data.overlong == Overlong::Drop {
            return Ok(RowOutcome::Overlong);
        }
        example.ids.truncate(self.data.max_length);
        example.trained.truncate(self.data.max_length);
        Ok(if example.trained.contains(&true) {
            RowOutcome::Tokens { tokens: example, truncated, said }
        } else {
            RowOutcome::Unanswered
        })
    }

    /// Whether the model has all of these tokens.
    pub(super) fn known(&self, ids: &[u32]) -> std::result::Result<(), String> {
        self.tokens.within(ids, self.vocab)
    }

    /// The chat template, which a conversation needs.
    pub(super) fn template(&self) -> std::result::Result<&Renderer, String> {
        let dateless = self.data.date.is_empty();
        if self.chat.as_ref().is_some_and(|template| dateless && template.reads("strftime_now")) {
            let example = "give `data.date`, for instance \"2026-01-31\", and every run learns the same";
            return Err(format!("needs the date of the day, which its chat template asks for: {example}"));
        }
        self.chat.as_ref().ok_or_else(|| {
            let message = "is a conversation, and neither the tokenizer nor `data.template` has a chat template";
            format!("{message}: name one, for instance templates/chatml.jinja")
        })
    }

    /// A conversation as its template writes it.
    pub(super) fn chat_text(
        &self,
        messages: &[Message],
        tools: Option<&Value>,
        end: End,
    ) -> std::result::Result<String, String> {
        Ok(self.template()?.chat(messages, tools, end)?.text)
    }

    /// Whether an answer has the token that ends it.
    pub(super) fn ends(&self, answer: &[u32], which: &str) -> std::result::Result<(), String> {
        if answer.iter().any(|id| self.stops(*id)) {
            return Ok(());
        }
        let last = answer[answer.len().saturating_sub(8)..].to_vec();
        Err(self.endless(&format!("the {which} answer"), &self.tokens.decode_with_special(&last).unwrap_or_default()))
    }

    /// A document: all of it is learned, whatever `train_on` says.
    fn text(&self, text: &str) -> std::result::Result<Example, String> {
        if text.trim().is_empty() {
            return Err("is empty; the rules `length` and `sentences` of `setaccio build` drop such rows".into());
        }
        let ids = if let Some(template) = &self.text {
            self.tokens.encode(&template.render(&Content::Text(text.to_owned()))?)?.ids
        } else {
            let mut ids = self.tokens.encode(text)?.ids;
            if let Some((_, bos)) = self.tokens.bos.as_ref().filter(|_| self.tokens.adds_bos) {
                ids.insert(0, *bos);
            }
            ids.extend(self.tokens.eos.as_ref().map(|(_, id)| *id));
            ids
        };
        let trained = vec![true; ids.len()];
        Ok(Example { ids, trained })
    }

    fn chat(&self, messages: &[Message], tools: Option<&Value>) -> std::result::Result<(Example, Said), Refusal> {
        let renderer = self.template()?;
        if messages.iter().all(|m| m.content.trim().is_empty() && !m.calls_tools()) {
            return Err(Refusal::Empty("is empty".into()));
        }
        let all = self.data.train_on == TrainOn::All;
        let answers: Vec<usize> = (0..messages.len()).filter(|i| messages[*i].role == "assistant").collect();
        if answers.is_empty() && !all {
            let message =
                "has no assistant turn, so nothing to learn; the rule `roles` of `setaccio build` drops such rows";
            return Err(format!("{message}, and `data.train_on = \"all\"` learns them whole").into());
        }
        let learned = &answers[self.given(answers.len())..];
        empty(messages, learned)?;
        let chat = Conversation { renderer, messages, tools };
        let (example, mut said) = match (self.as_written(&chat, learned), self.data.unsaid) {
            (Ok(made), Unsaid::Accept) => made,
            (Ok(made), _) if made.1.lost == 0 => made,
            (Ok(_) | Err(Refusal::Unsaid(_)), Unsaid::Keep) => self.as_kept(&chat, learned)?,
            (Ok((_, said)), _) => return Err(Refusal::Unsaid(leaves_out(said.lost))),
            (Err(refusal), _) => return Err(refusal),
        };
        said.tools_unseen = tools.is_some() && !renderer.reads("tools");
        Ok((example, said))
    }

    /// How many of so many answers are given, not learned.
    fn given(&self, answers: usize) -> usize {
        if self.data.train_on == TrainOn::Completion { answers.saturating_sub(1) } else { 0 }
    }

    /// A conversation as its template writes it.
    fn as_written(&self, chat: &Conversation<'_>, learned: &[usize]) -> std::result::Result<(Example, Said), Refusal> {
        let full = chat.renderer.chat(chat.messages, chat.tools, End::Whole)?;
        let row = RenderedTokens { tokens: self.tokens.encode(&full.text)?, text: &full.text };
        let mut said = Said::default();
        let lost = |text: &str, i: usize| said::lost(text, &chat.messages[i]);
        let mut trained = vec![self.data.train_on == TrainOn::All; row.tokens.ids.len()];
        if self.data.train_on == TrainOn::All {
            self.stops_at_all(&row, learned)?;
            said.lost = learned.iter().map(|i| lost(&full.text, *i)).sum();
        } else if chat.renderer.marks() {
            if full.generated.is_empty() {
                let message = "has answers, and the template writes none of them inside {% generation %}";
                return Err(Refusal::Unsaid(message.into()));
            }
            let blocks = &full.generated[self.given(full.generated.len())..];
            for range in blocks {
                trained[self.marked(&row, range, &mut said)?].fill(true);
            }
            let written: String = blocks.iter().map(|range| &full.text[range.clone()]).collect();
            said.lost = learned.iter().map(|i| lost(&written, *i)).sum();
        } else {
            for i in learned {
                let answer = spans::find(chat, *i, &full.text).map_err(Refusal::Unsaid)?;
                let closing = || spans::closing(chat, *i, &full.text);
                let tokens = self.answered(&row, (&answer, &closing), *i, &mut said)?;
                let written = row.before_stop(answer.start, &tokens);
                if written.trim().is_empty() {
                    let message = "name a chat template that knows tools in `data.template`";
                    let message = format!("the template writes nothing of turn {i}, which is an answer: {message}");
                    return Err(Refusal::Unsaid(message));
                }
                said.lost += lost(written, *i);
                trained[tokens].fill(true);
            }
        }
        Ok((Example { ids: row.tokens.ids, trained }, said))
    }

    /// A conversation with its learned answers as the row has them.
    fn as_kept(&self, chat: &Conversation<'_>, learned: &[usize]) -> std::result::Result<(Example, Said), Refusal> {
        let kept = keep::keep(chat, learned).map_err(Refusal::Unsaid)?;
        let row = RenderedTokens { tokens: self.tokens.encode(&kept.text)?, text: &kept.text };
        let mut said = Said::default();
        let mut trained = vec![self.data.train_on == TrainOn::All; row.tokens.ids.len()];
        if self.data.train_on == TrainOn::All {
            self.stops_at_all(&row, learned)?;
        } else {
            for (i, answer) in learned.iter().zip(&kept.answers) {
                trained[self.answered(&row, (answer, &|| answer.end), *i, &mut said)?].fill(true);
            }
        }
        Ok((Example { ids: row.tokens.ids, trained }, said))
    }

    /// With every token learned: whether a stop token is among them, where there are answers.
    fn stops_at_all(&self, row: &RenderedTokens<'_>, answers: &[usize]) -> std::result::Result<(), String> {
        if answers.is_empty() || row.tokens.ids.iter().any(|id| self.stops(*id)) {
            return Ok(());
        }
        Err(self.endless("every turn", ""))
    }

    /// The tokens of an answer and of the stop that ends it: the next token but for white space, or one that comes before
    /// what `closing` gives.
    fn answered(
        &self,
        row: &RenderedTokens<'_>,
        (answer, closing): (&Range<usize>, &dyn Fn() -> usize),
        turn: usize,
        said: &mut Said,
    ) -> std::result::Result<Range<usize>, Refusal> {
        let offsets = &row.tokens.offsets;
        let after = || (row.within(&(answer.start..row.text.len()))).filter(|t| offsets[*t].0 >= answer.end);
        let stops = |t: &usize| self.stops(row.tokens.ids[*t]);
        let next = || after().take_while(|t| stops(t) || row.of(*t).trim().is_empty()).find(stops);
        let later = || {
            let bound = closing();
            after().take_while(|t| offsets[*t].0 < bound).find(stops)
        };
        let Some(stop) = next().or_else(later) else {
            return Err(self.endless(&format!("turn {turn}"), &row.text[answer.end..]).into());
        };
        let mut across = Said::default();
        let tokens = row.answer(&(answer.start..offsets[stop].1), &mut across);
        (said.given, said.learned) = (said.given || across.given, said.learned || across.learned);
        if across.given && tokens.start >= stop {
            let message =
                format!("the only token of turn {turn}, which is an answer, begins with a part of its header");
            return Err(Refusal::Unsaid(message));
        }
        Ok(tokens.start..stop + 1)
    }

    /// The tokens of a `{% generation %}` block.
    fn marked(
        &self,
        row: &RenderedTokens<'_>,
        range: &Range<usize>,
        said: &mut Said,
    ) -> std::result::Result<Range<usize>, String> {
        let tokens = row.answer(range, said);
        let last = tokens.clone().rev().find(|t| !row.of(*t).trim().is_empty());
        if last.is_some_and(|t| self.stops(row.tokens.ids[t])) {
            return Ok(tokens);
        }
        let block = "a {% generation %} block, whose {% endgeneration %} must come after the stop token";
        Err(self.endless(block, &row.text[range.end..]))
    }

    fn stops(&self, id: u32) -> bool {
        self.tokens.eos_ids.binary_search(&id).is_ok()
    }

    fn endless(&self, place: &str, after: &str) -> String {
        let stops = self.tokens.eos_ids.iter().filter_map(|id| self.tokens.tokenizer.id_to_token(*id));
        let stops = stops.collect::<Vec<_>>().join(" or ");
        let after: String = after.chars().take(40).collect();
        format!(
            "the template ends {place} without a stop token, so the model would never learn to stop: after the answer \
             comes {after:?}, where {stops} is expected; mend the template, or name the token that it ends turns with in \
             `eos_token_id` of generation_config.json"
        )
    }
}

#[cfg(test)]
mod tests;
