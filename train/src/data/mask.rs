//! A row as tokens, with those marked that the model learns to produce: the assistant's answers and the
//! token that ends each, or the last answer, or everything.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use serde_json::Value;
use setaccio_base::bundle::Place;
use setaccio_base::numbers::counted;
use setaccio_base::row::{Content, Message};
use setaccio_templates::{Clock, End, Renderer};

use super::{
    batch::Example,
    keep,
    said::{self, Said},
    spans::{self, Conversation},
};
use crate::{
    error::{Error, Result},
    recipe::{Data, EmptyAnswers, Overlong, TrainOn, Unsaid},
    tokenizer::{Encoding, Tokens},
};

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowOutcome<T> {
    /// It is trained on.
    Tokens {
        /// Its tokens.
        tokens: T,
        /// Whether some were cut off.
        truncated: bool,
        /// What of it its template does not write.
        said: Said,
    },
    /// Too long, and `overlong = "drop"`.
    Overlong,
    /// Nothing that is learned was left after cutting.
    Unanswered,
    /// The template does not write its answers as the row has them, or not where they can be found: what it does.
    Unsaid(String),
    /// An answer is empty: which.
    Empty(String),
    /// Its two answers become the same tokens.
    Equal,
}

/// Why a row is not learned from.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Whatever the settings are.
    Always(String),
    /// As `data.unsaid` says.
    Unsaid(String),
    /// As `data.empty_answers` says.
    Empty(String),
}

impl From<String> for Refusal {
    fn from(message: String) -> Self {
        Self::Always(message)
    }
}

impl Refusal {
    /// An error, or a row that is left out, as the settings have it.
    pub(super) fn by<T>(self, data: &Data) -> std::result::Result<RowOutcome<T>, String> {
        match self {
            Self::Always(message) => Err(message),
            Self::Unsaid(message) if data.unsaid == Unsaid::Refuse => {
                Err(format!("{message}; `data.unsaid = \"drop\"` leaves such rows out"))
            }
            Self::Unsaid(message) => Ok(RowOutcome::Unsaid(message)),
            Self::Empty(message) if data.empty_answers == EmptyAnswers::Refuse => {
                let drops = "the rule `answer` of `setaccio build` drops such rows";
                Err(format!("{message}; {drops}, and `data.empty_answers = \"drop\"` leaves them out"))
            }
            Self::Empty(message) => Ok(RowOutcome::Empty(message)),
        }
    }
}

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
        let token = |t: &Option<(String, u32)>| t.as_ref().map(|(t, _)| t.clone()).unwrap_or_default();
        let (bos, eos) = (token(&tokens.bos), token(&tokens.eos));
        let clock = Clock::date(&data.date);
        if clock.is_none() && !data.date.is_empty() {
            let message = format!("data.date = {:?}: a date is written as 2026-01-31", data.date);
            return Err(Error::recipe(&recipe.name(), message));
        }
        let renderer = |source: &str, file: &Path| {
            let renderer = Renderer::new(Some(source), None, &bos, &eos);
            Ok::<_, Error>(renderer.map_err(|e| Error::damaged(file, e.to_string()))?.at(clock))
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

/// Refuse an answer that says nothing: a model that learns it learns to stop at once.
pub(super) fn empty(messages: &[Message], learned: &[usize]) -> std::result::Result<(), Refusal> {
    let Some(i) = learned.iter().find(|i| said::nothing(&messages[**i])) else { return Ok(()) };
    let message = "is an empty answer, and a model that learns it learns to stop at once";
    Err(Refusal::Empty(format!("turn {i} {message}")))
}

/// What a template does that loses so many characters.
pub(super) fn leaves_out(characters: u64) -> String {
    let characters = counted(characters, "character");
    format!("the template leaves out {characters} of what its answers say, or writes them otherwise")
}

/// A text and its tokens.
struct RenderedTokens<'a> {
    tokens: Encoding,
    text: &'a str,
}

impl RenderedTokens<'_> {
    /// Numbers of the tokens that touch a range of bytes.
    fn within(&self, range: &Range<usize>) -> Range<usize> {
        let start = self.tokens.offsets.partition_point(|(_, end)| *end <= range.start);
        let end = self.tokens.offsets.partition_point(|(begin, _)| *begin < range.end);
        start..end.max(start)
    }

    /// The tokens of an answer. One that lies across its beginning is learned if only white space stands before it, and given
    /// if a part of the header does, as a special token that takes the white space after it.
    fn answer(&self, range: &Range<usize>, said: &mut Said) -> Range<usize> {
        let tokens = self.within(range);
        let begins = self.tokens.offsets.get(tokens.start).map_or(range.start, |(begin, _)| *begin);
        if tokens.is_empty() || begins >= range.start {
            return tokens;
        }
        if self.text.get(begins..range.start).is_none_or(|before| before.trim().is_empty()) {
            said.learned = true;
            tokens
        } else {
            said.given = true;
            tokens.start + 1..tokens.end
        }
    }

    /// The text from a byte to the stop that tokens end with.
    fn before_stop(&self, start: usize, tokens: &Range<usize>) -> &str {
        let stop = tokens.end.checked_sub(1).map_or(0, |stop| self.tokens.offsets[stop].0);
        self.text.get(start..stop).unwrap_or_default()
    }

    /// The text of a token, as far as it is whole characters.
    fn of(&self, token: usize) -> &str {
        let (start, end) = self.tokens.offsets[token];
        self.text.get(start..end).unwrap_or("\u{FFFD}")
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::{Row, TOOL_CALLS};

    use super::*;
    use crate::tokenizer::tiny;

    const CHATML: &str = "{% for m in messages %}<|start_header_id|>{{ m.role }}\n{{ m.content }}END\n{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant\n{% endif %}";
    const TURNS: [(&str, &str); 5] =
        [("system", "Sii breve."), ("user", "Uno?"), ("assistant", "1 🙂"), ("user", "Due?"), ("assistant", " 2 ")];

    fn tokens() -> Tokens {
        let words = "breve Uno Due assistant user system".split(' ').cycle().take(60);
        tiny::train(words, 300).unwrap()
    }

    fn data(template: &str, train_on: TrainOn) -> (tempfile::TempDir, Data) {
        let dir = tempfile::tempdir().unwrap();
        let name = if template.is_empty() { "" } else { "t.jinja" };
        std::fs::write(dir.path().join("t.jinja"), template).unwrap();
        let mut data: Data = toml::from_str(&format!("train = ['x']\ntemplate = '{name}'")).unwrap();
        data.train_on = train_on;
        (dir, data)
    }

    /// The row's text with what is learned in brackets and ~ if that is not all of its answers, or what is wrong with it.
    fn shown(content: &Content, template: &str, change: impl FnOnce(&mut Data)) -> std::result::Result<String, String> {
        let tokens = tokens();
        let (dir, mut data) = data(template, TrainOn::Assistant);
        change(&mut data);
        let masker = Masker::new(&data, &Place::disk(dir.path().join("recipe.toml")), &tokens, 300).unwrap();
        let (example, said) = match masker.row(content)? {
            RowOutcome::Tokens { tokens, said, .. } => (tokens, said),
            other => return Ok(format!("{other:?}")),
        };
        assert!(!example.trained[0]);
        let mut text = String::new();
        let mut start = 0;
        for run in example.trained.chunk_by(|a, b| a == b) {
            let part = tokens.decode_with_special(&example.ids[start..start + run.len()]).unwrap();
            let brackets = if run[0] { ["[", "]"] } else { ["", ""] };
            text += &[brackets[0], &part, brackets[1]].concat();
            start += run.len();
        }
        Ok(text + if said.lost > 0 || said.tools_unseen { "~" } else { "" })
    }

    fn turns(n: usize) -> Content {
        Row::chat(&TURNS[..n]).content
    }

    #[test]
    fn answers_and_their_stop_tokens_are_learned() {
        let opened = "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nSii breve.<|eot_id|>\
                      <|start_header_id|>user<|end_header_id|>\n\nUno?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n";
        let second = "<|start_header_id|>user<|end_header_id|>\n\nDue?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n";
        let cases = [
            (5, TrainOn::Assistant, format!("{opened}[1 🙂<|eot_id|>]{second}[2<|eot_id|>]")),
            (5, TrainOn::Completion, format!("{opened}1 🙂<|eot_id|>{second}[2<|eot_id|>]")),
            // A question without an answer at the end is given, not learned.
            (
                4,
                TrainOn::Completion,
                format!("{opened}[1 🙂<|eot_id|>]<|start_header_id|>user<|end_header_id|>\n\nDue?<|eot_id|>"),
            ),
            (
                2,
                TrainOn::All,
                opened
                    .replacen("<|begin_of_text|>", "<|begin_of_text|>[", 1)
                    .replace("<|start_header_id|>assistant<|end_header_id|>\n\n", "]"),
            ),
        ];
        for (n, train_on, expected) in cases {
            assert_eq!(shown(&turns(n), "", |d| d.train_on = train_on).unwrap(), expected);
        }
    }

    #[test]
    fn generation_blocks_decide_where_there_are_any() {
        let template = "{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}{{ m.content|trim }}<|eot_id|>{% endgeneration %}{% else %}Q:{{ m.content }}{% endif %}{% endfor %}";
        let all = "Q:Sii breve.Q:Uno?A:[1 🙂<|eot_id|>]Q:Due?A:[2<|eot_id|>]";
        assert_eq!(shown(&turns(5), template, |_| ()).unwrap(), all);
        let last = "Q:Sii breve.Q:Uno?A:1 🙂<|eot_id|>Q:Due?A:[2<|eot_id|>]";
        assert_eq!(shown(&turns(5), template, |d| d.train_on = TrainOn::Completion).unwrap(), last);
        let late = template.replace("<|eot_id|>{% endgeneration %}", "{% endgeneration %}<|eot_id|>");
        let error = shown(&turns(5), &late, |_| ()).unwrap_err();
        assert!(error.contains("{% endgeneration %} must come after the stop token"), "{error}");
    }

    #[test]
    fn what_a_template_leaves_out_of_an_answer_is_told() {
        let chat = |answer: &str| Row::chat(&[("user", "2 + 2?"), ("assistant", answer)]).content;
        let cut = "{% for m in messages %}{{ m.role }}:{{ m.content.split('</think>')[-1] }}<|eot_id|>{% endfor %}";
        let cases = [
            ("<think>Sommo.</think>Fa 4.", "user:2 + 2?<|eot_id|>assistant:[Fa 4.<|eot_id|>]~"),
            ("Fa 4.", "user:2 + 2?<|eot_id|>assistant:[Fa 4.<|eot_id|>]"),
        ];
        for (answer, expected) in cases {
            assert_eq!(shown(&chat(answer), cut, |_| ()).unwrap(), expected);
        }
        let thought =
            [Message::new("user", "2 + 2?"), Message::new("assistant", "Fa 4.").with("reasoning_content", "Sommo.")];
        assert!(shown(&Content::chat(thought.to_vec()), cut, |_| ()).unwrap().ends_with("[Fa 4.<|eot_id|>]~"));
        let marked = "{% for m in messages %}{{ m.role }}:{% generation %}{{ m.content }}<|eot_id|>{% endgeneration %}{% endfor %}";
        assert!(shown(&Content::chat(thought.to_vec()), marked, |_| ()).unwrap().ends_with("[Fa 4.<|eot_id|>]~"));
    }

    #[test]
    fn a_setting_decides_about_what_a_template_leaves_out() {
        let chat = |answer: &str| Row::chat(&[("user", "2 + 2?"), ("assistant", answer)]).content;
        let thinks = chat("<think>\nSommo.\n</think>\n\nFa 4.");
        // The opening begins the reasoning, and what is answered has none.
        let cut = "{% for m in messages %}{{ m.role }}:{{ m.content.split('</think>')[-1] }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}assistant:<think>\n{% endif %}";
        let by = |unsaid, train_on| shown(&thinks, cut, |d| (d.unsaid, d.train_on) = (unsaid, train_on));
        let answer = by(Unsaid::Accept, TrainOn::Assistant).unwrap();
        assert_eq!(answer, "user:2 + 2?<|eot_id|>assistant:[\n\nFa 4.<|eot_id|>]~");
        let answer = by(Unsaid::Keep, TrainOn::Assistant).unwrap();
        assert_eq!(answer, "user:2 + 2?<|eot_id|>assistant:<think>\n[Sommo.\n</think>\n\nFa 4.<|eot_id|>]");
        let answer = by(Unsaid::Keep, TrainOn::All).unwrap();
        assert_eq!(answer, "user[:2 + 2?<|eot_id|>assistant:<think>\nSommo.\n</think>\n\nFa 4.<|eot_id|>]");
        let answer = by(Unsaid::Drop, TrainOn::Assistant).unwrap();
        assert!(answer.starts_with("Unsaid(\"the template leaves out 6 characters"), "{answer}");
        let error = by(Unsaid::Refuse, TrainOn::Assistant).unwrap_err();
        assert!(error.starts_with("the template leaves out 6 characters"), "{error}");
        // A row that loses nothing is the same whatever the setting.
        for unsaid in [Unsaid::Accept, Unsaid::Keep, Unsaid::Drop, Unsaid::Refuse] {
            let answer = shown(&chat("Fa 4."), cut, |d| d.unsaid = unsaid).unwrap();
            assert_eq!(answer, "user:2 + 2?<|eot_id|>assistant:[Fa 4.<|eot_id|>]");
        }
        // A template that changes the rest with an answer cannot be searched; the row does not stop the run.
        let counts = "{{ messages|map(attribute='content')|join|length }}{% for m in messages %}{{ m.content }}<|eot_id|>{% endfor %}";
        assert!(
            shown(&thinks, counts, |_| ()).unwrap().starts_with("Unsaid(\"the template changes the text around turn 1")
        );
    }

    #[test]
    fn what_follows_the_last_stop_is_not_learned() {
        let after = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}<END>\n\nGive your assessment.<|eot_id|>";
        let error = shown(&turns(3), after, |_| ()).unwrap_err();
        assert!(error.contains("ends turn 2 without a stop token") && error.contains("\\n\\n<END>"), "{error}");
        // What every turn has before its stop is the turn's, and what comes after its stop is nobody's.
        let closed = "{% for m in messages %}{{ m.role }}:({{ m.content }})<|eot_id|>{% endfor %}Fine.<|eot_id|>";
        let text = shown(&turns(3), closed, |_| ()).unwrap();
        assert!(text.ends_with("assistant:([1 🙂)<|eot_id|>]Fine.<|eot_id|>"), "{text}");
        let last = "{% for m in messages %}{{ m.role }}:{{ m.content }}{{ '\n<|eot_id|>' if loop.last }}{% endfor %}";
        assert!(shown(&turns(3), last, |_| ()).unwrap().ends_with("assistant:[1 🙂\n<|eot_id|>]"));
    }

    #[test]
    fn a_token_across_the_beginning_of_an_answer_is_given_with_its_header() {
        // A token that takes the white space after it, as the role tokens of Phi-3 do.
        let plain = tiny::train(std::iter::repeat_n("assistant: Due", 60), 300).unwrap();
        let mut json: Value = serde_json::from_str(plain.json()).unwrap();
        let header =
            json["added_tokens"].as_array_mut().unwrap().iter_mut().find(|t| t["content"] == "<|end_header_id|>");
        header.unwrap()["rstrip"] = true.into();
        let dir = tempfile::tempdir().unwrap();
        plain.save(dir.path()).unwrap();
        std::fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
        let tokens = Tokens::open(dir.path()).unwrap();
        let learned = |template: &str, answer: &str| {
            let (dir, data) = data(template, TrainOn::Assistant);
            let masker = Masker::new(&data, &Place::disk(dir.path().join("recipe.toml")), &tokens, 300).unwrap();
            match masker.row(&Row::chat(&[("user", "Uno?"), ("assistant", answer)]).content).unwrap() {
                RowOutcome::Tokens { tokens: Example { ids, trained }, said, .. } => {
                    let ids: Vec<u32> = ids.into_iter().zip(trained).filter(|(_, t)| *t).map(|(id, _)| id).collect();
                    (tokens.decode_with_special(&ids).unwrap(), said.given, said.learned)
                }
                other => (format!("{other:?}"), false, false),
            }
        };
        let header = "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>{{ m.content }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>{% endif %}";
        assert_eq!(learned(header, "\nDue"), ("Due<|eot_id|>".into(), true, false));
        assert_eq!(learned(header, "Due"), ("Due<|eot_id|>".into(), false, false));
        // White space alone before an answer: the token holds its first word, which is to be learned.
        let space = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}";
        assert_eq!(learned(space, "Due"), (" Due<|eot_id|>".into(), false, true));
        let marked = "{% for m in messages %}{{ m.role }}<|end_header_id|>{% generation %}{{ m.content }}<|eot_id|>{% endgeneration %}{% endfor %}";
        assert_eq!(learned(marked, "\nDue").0, "\nUno?<|eot_id|>Due<|eot_id|>".trim_start());
    }

    #[test]
    fn calls_of_tools_are_learned_and_offered_tools_are_seen() {
        let template = "{{ tools|tojson if tools }}{% for m in messages %}{{ m.role }}:{{ m.content or '' }}\
                        {% for c in m.tool_calls or [] %}<{{ c.function.name }}{{ c.function.arguments|tojson }}>{% endfor %}<|eot_id|>{% endfor %}";
        let call = serde_json::json!([{"function": {"name": "ora", "arguments": {"è": 1}}}]);
        let messages = vec![
            Message::new("user", "Che ore sono?"),
            Message::without_text("assistant").with(TOOL_CALLS, call),
            Message::new("tool", "12"),
            Message::new("assistant", "Le 12."),
        ];
        let tools = Some(serde_json::json!([{"name": "ora"}]));
        let content = Content::Chat { messages, tools };
        let expected = "[{\"name\": \"ora\"}]user:Che ore sono?<|eot_id|>assistant:[<ora{\"è\": 1}><|eot_id|>]tool:12<|eot_id|>assistant:[Le 12.<|eot_id|>]";
        assert_eq!(shown(&content, template, |_| ()).unwrap(), expected);
        let blind = template.replace("{{ tools|tojson if tools }}", "");
        assert!(shown(&content, &blind, |_| ()).unwrap().ends_with("[Le 12.<|eot_id|>]~"));
        let deaf = "{% for m in messages %}{{ m.role }}:{{ m.content or '' }}<|eot_id|>{% endfor %}";
        for (unsaid, left_out) in [(Unsaid::Accept, true), (Unsaid::Keep, true), (Unsaid::Refuse, false)] {
            let (Ok(said) | Err(said)) = shown(&content, deaf, |d| d.unsaid = unsaid);
            assert_eq!(said.starts_with("Unsaid("), left_out, "{said}");
            assert!(
                said.contains(if unsaid == Unsaid::Keep {
                    "never writes all of turn 1"
                } else {
                    "writes nothing of turn 1"
                }),
                "{said}"
            );
        }
    }

    #[test]
    fn a_template_that_asks_for_the_date_gets_the_recipes() {
        let template = "{{ strftime_now('%d %b %Y') }}{% for m in messages %}|{{ m.content }}<|eot_id|>{% endfor %}";
        let error = shown(&turns(3), template, |_| ()).unwrap_err();
        assert!(error.contains("give `data.date`"), "{error}");
        let text = shown(&turns(3), template, |d| d.date = "2026-01-31".into()).unwrap();
        assert!(text.starts_with("31 Jan 2026|Sii breve."), "{text}");
    }

    #[test]
    fn documents_are_learned_whole() {
        let text = |t: &str| Content::Text(t.into());
        assert_eq!(shown(&text("Uno. "), "", |_| ()).unwrap(), "<|begin_of_text|>[Uno. <|eot_id|>]");
        let template = "{{ bos_token }}~{{ text }}{{ eos_token }}";
        assert_eq!(shown(&text("Uno. "), template, |_| ()).unwrap(), "<|begin_of_text|>[~Uno. <|eot_id|>]");
        // A template for conversations says nothing about documents, and the other way round.
        assert_eq!(shown(&text("Uno"), CHATML, |_| ()).unwrap(), "<|begin_of_text|>[Uno<|eot_id|>]");
        assert!(shown(&turns(3), template, |_| ()).unwrap().ends_with("[1 🙂<|eot_id|>]"));
    }

    #[test]
    fn long_rows_are_cut_or_dropped() {
        let whole = shown(&turns(3), "", |_| ()).unwrap();
        let cut = |n: usize, overlong| shown(&turns(3), "", |d| (d.max_length, d.overlong) = (n, overlong)).unwrap();
        let n = (2..99).find(|n| cut(*n, Overlong::Truncate) == whole).unwrap();
        assert_eq!(cut(n - 1, Overlong::Truncate), whole.replace("<|eot_id|>]", "]"));
        assert_eq!((cut(n - 1, Overlong::Drop), cut(n, Overlong::Drop)), ("Overlong".into(), whole));
        assert_eq!(cut(5, Overlong::Truncate), "Unanswered");
    }

    #[test]
    fn what_cannot_be_learned_is_refused() {
        let chat = |turns: &[(&str, &str)]| Row::chat(turns).content;
        let refused = |content: &Content, template: &str| shown(content, template, |_| ()).unwrap_err();
        let cases = [
            (chat(&TURNS[..2]), "", "has no assistant turn"),
            (chat(&[("user", " "), ("assistant", "")]), "", "is empty"),
            (
                chat(&[("user", "a"), ("assistant", ""), ("user", "b"), ("assistant", "c")]),
                "",
                "turn 1 is an empty answer",
            ),
            (Content::Text("\n".into()), "", "is empty"),
            (turns(3), CHATML, "comes \"END\\n\", where <|eot_id|> or <|end_of_text|> is expected"),
            (turns(3), "{{ raise_exception('no system turn' ~ messages[9].x) }}", "the template fails"),
        ];
        for (content, template, expected) in cases {
            let error = refused(&content, template);
            assert!(error.contains(expected), "{error}");
        }
        let error = shown(&turns(3), CHATML, |d| d.train_on = TrainOn::All).unwrap_err();
        assert!(error.contains("never learn to stop"), "{error}");
        let deaf = "{% for m in messages %}{% endfor %}";
        let error = shown(&turns(3), deaf, |d| d.unsaid = Unsaid::Refuse).unwrap_err();
        assert!(error.contains("leaves turn 2 out") && error.contains("`data.unsaid = \"drop\"`"), "{error}");
        let row = chat(&[("user", "a"), ("assistant", ""), ("user", "b"), ("assistant", "c")]);
        let dropped = shown(&row, "", |d| d.empty_answers = EmptyAnswers::Drop).unwrap();
        assert!(dropped.starts_with("Empty(\"turn 1 is an empty answer"), "{dropped}");
        let tokens = tokens();
        let (dir, data) = data("", TrainOn::Assistant);
        let small = Masker::new(&data, &Place::disk(dir.path().join("recipe.toml")), &tokens, 200).unwrap();
        let error = small.row(&turns(3)).unwrap_err();
        assert!(error.contains("outside the model's vocabulary of 200: the tokenizer is another model's"), "{error}");
    }
}
