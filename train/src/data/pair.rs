//! Answers to a question as tokens: the question with each answer, of which the answers are learned.

use serde_json::Value;
use setaccio_base::row::{Content, Message};
use setaccio_templates::End;

use super::{
    batch::Example,
    keep,
    mask::Masker,
    outcome::{Refusal, RowOutcome, empty, leaves_out},
    said::{self, Said},
    spans::{Conversation, same},
};
use crate::recipe::{Overlong, Unsaid};

/// Names of a row's answers.
pub const SIDES: [&str; 2] = ["chosen", "rejected"];

/// The question with each of its answers, and which of [`SIDES`] each is.
pub type Answers = Vec<(u32, Example)>;

/// One of them as its row has it.
type Side<'a> = (u32, &'a [Message]);

/// How many answers a question must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Two, which are compared.
    Both,
    /// One, which was wanted or not.
    One,
}

impl Masker<'_> {
    /// One row with the answers that it `needs`. The question keeps its last `longest_prompt` tokens (0 for all), then the texts their first `max_length`, as in TRL's trainers.
    ///
    /// # Errors
    /// What is wrong with the row, or with the template as the row shows it.
    pub fn answers(
        &self,
        content: &Content,
        longest_prompt: usize,
        needs: Needs,
    ) -> std::result::Result<RowOutcome<Answers>, String> {
        let Content::Preference { prompt, chosen, rejected, tools } = content else {
            return Err("is one text, and a question with two answers is needed".into());
        };
        let sane = "the rule `preference_sanity` of `setaccio build` drops such rows";
        if prompt.is_empty() {
            return Err(format!("has no question that its answers share; {sane}"));
        }
        let mut sides: Vec<Side<'_>> = vec![(0, chosen), (1, rejected)];
        sides.retain(|(_, answer)| !answer.is_empty());
        if sides.len() < if needs == Needs::One { 1 } else { 2 } {
            let one = "only `preference.loss = \"kto\"` learns from single answers";
            return Err(format!("has no two answers; {sane}, and {one}"));
        }
        match self.sides((prompt, &sides, tools.as_ref()), longest_prompt) {
            Ok(made) => Ok(made),
            Err(refusal) => refusal.by(&self.data),
        }
    }

    fn sides(
        &self,
        (prompt, sides, tools): (&[Message], &[Side<'_>], Option<&Value>),
        longest_prompt: usize,
    ) -> std::result::Result<RowOutcome<Answers>, Refusal> {
        let asked = self.chat_text(prompt, tools, End::Prompt)?;
        let mut whole = Vec::new();
        let mut said = Said::default();
        for (side, answer) in sides {
            let learned: Vec<usize> = (prompt.len()..prompt.len() + answer.len()).collect();
            let messages = [prompt, answer].concat();
            if *side == 0 {
                let spoken: Vec<usize> = learned.iter().copied().filter(|i| messages[*i].role == "assistant").collect();
                empty(&messages, &spoken)?;
            }
            let (text, lost) = self.side(&asked, &messages, &learned, tools)?;
            said.lost += lost;
            whole.push(self.tokens.encode(&text)?.ids);
        }
        said.tools_unseen = tools.is_some() && !self.template()?.reads("tools");
        let asked = self.tokens.encode(&asked)?.ids;
        // A template may write the question alone in another way, and tokens may merge across its end: what all of
        // them begin with is the question.
        let shared = whole.iter().map(|ids| same(&asked, ids)).min().unwrap_or(0);
        if shared == 0 {
            let message = "begins with other tokens than its question alone: the template does not fit pairs";
            return Err(Refusal::Always(message.into()));
        }
        if whole.windows(2).any(|pair| pair[0] == pair[1]) {
            if self.data.unsaid == Unsaid::Refuse {
                let why =
                    "the template leaves out what they differ in, for instance their reasoning, or they are the same";
                let message = format!("has two answers that become the same tokens: {why}");
                return Err(Refusal::Unsaid(message));
            }
            return Ok(RowOutcome::Equal);
        }
        for (ids, (side, _)) in whole.iter().zip(sides) {
            self.ends(&ids[shared..], SIDES[*side as usize])?;
            self.known(ids)?;
        }
        let cut = if longest_prompt == 0 { 0 } else { shared.saturating_sub(longest_prompt) };
        let (shared, max) = (shared - cut, self.data.max_length);
        let longer = whole.iter().any(|ids| ids.len() - cut > max);
        if longer && self.data.overlong == Overlong::Drop {
            return Ok(RowOutcome::Overlong);
        }
        if shared >= max {
            return Ok(RowOutcome::Unanswered);
        }
        let example = |ids: Vec<u32>| {
            let ids: Vec<u32> = ids.into_iter().skip(cut).take(max).collect();
            Example { trained: (0..ids.len()).map(|i| i >= shared).collect(), ids }
        };
        let made = sides.iter().map(|(side, _)| *side).zip(whole.into_iter().map(example));
        Ok(RowOutcome::Tokens { tokens: made.collect(), truncated: longer || cut > 0, said })
    }

    /// A question with one of its answers as text, and how many characters of the answer it does not hold.
    fn side(
        &self,
        asked: &str,
        messages: &[Message],
        learned: &[usize],
        tools: Option<&Value>,
    ) -> std::result::Result<(String, u64), Refusal> {
        let text = self.chat_text(messages, tools, End::Whole)?;
        // What a template writes of the question alone in another way is no answer: it is shared up to there.
        let shared = text.floor_char_boundary(same(asked.bytes(), text.bytes()));
        let spoken = learned.iter().filter(|i| messages[**i].role == "assistant");
        let lost: u64 = spoken.clone().map(|i| said::lost(&text[shared..], &messages[*i])).sum();
        match self.data.unsaid {
            Unsaid::Accept => Ok((text, lost)),
            _ if lost == 0 => Ok((text, 0)),
            Unsaid::Keep => {
                let chat = Conversation { renderer: self.template()?, messages, tools };
                let kept = keep::keep(&chat, &spoken.copied().collect::<Vec<_>>()).map_err(Refusal::Unsaid)?;
                Ok((kept.text, 0))
            }
            Unsaid::Drop | Unsaid::Refuse => Err(Refusal::Unsaid(leaves_out(lost))),
        }
    }
}

/// A conversation whose last answer was wanted or not, as a pair with one side.
///
/// # Errors
/// Nobody judged it, or it does not end with an answer.
pub fn one_sided(
    messages: &[Message],
    tools: Option<&Value>,
    label: Option<bool>,
) -> std::result::Result<Content, String> {
    let Some(label) = label else {
        let message = "has no column `label` that says whether its answer was wanted: build it with the schema `kto` and \
                       `label = \"bool\"` in [output.keep]";
        return Err(message.into());
    };
    let asked = messages.iter().rposition(|m| m.role != "assistant").map_or(0, |last| last + 1);
    let (prompt, answer) = (messages[..asked].to_vec(), messages[asked..].to_vec());
    if answer.is_empty() {
        return Err("does not end with an answer, so there is nothing that was judged".into());
    }
    let (chosen, rejected) = if label { (answer, Vec::new()) } else { (Vec::new(), answer) };
    Ok(Content::Preference { prompt, chosen, rejected, tools: tools.cloned() })
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;
    use crate::{
        recipe::{Data, EmptyAnswers},
        tokenizer::tiny,
    };

    fn content(sides: [&[(&str, &str)]; 3]) -> Content {
        let turns = |turns: &[(&str, &str)]| match Row::chat(turns).content {
            Content::Chat { messages, .. } => messages,
            _ => Vec::new(),
        };
        let [prompt, chosen, rejected] = sides.map(turns);
        Content::preference(prompt, chosen, rejected)
    }

    const ASKED: &[(&str, &str)] = &[("system", "Sii breve."), ("user", "Uno?")];
    const GOOD: &[(&str, &str)] = &[("assistant", "1 uno")];
    const BAD: &[(&str, &str)] = &[("assistant", "2"), ("user", "No"), ("assistant", "3")];

    /// Each answer as text, with what is learned in brackets.
    fn shown(
        content: &Content,
        longest: usize,
        needs: Needs,
        change: impl FnOnce(&mut Data),
    ) -> std::result::Result<Vec<String>, String> {
        let tokens = tiny::train("breve Uno Due assistant user system".split(' ').cycle().take(60), 300).unwrap();
        let mut data: Data = toml::from_str("train = ['x']").unwrap();
        change(&mut data);
        let masker = Masker::new(&data, &setaccio_base::bundle::Place::disk("recipe.toml"), &tokens, 300).unwrap();
        let (sides, truncated, said) = match masker.answers(content, longest, needs)? {
            RowOutcome::Tokens { tokens: sides, truncated, said } => (sides, truncated, said),
            RowOutcome::Overlong | RowOutcome::Unanswered => return Ok(vec!["none".into()]),
            other => return Ok(vec![format!("{other:?}")]),
        };
        let lost = if said.lost > 0 { format!(" {} lost", said.lost) } else { String::new() };
        let text = |(side, e): &(u32, Example)| {
            let first = e.trained.iter().position(|t| *t).unwrap();
            assert!(e.trained[first..].iter().all(|t| *t));
            let part = |ids: &[u32]| tokens.decode_with_special(ids).unwrap();
            let cut = if truncated { "~" } else { "" };
            format!("{side}{cut}{}[{}]{lost}", part(&e.ids[..first]), part(&e.ids[first..]))
        };
        Ok(sides.iter().map(text).collect())
    }

    #[test]
    fn answers_are_learned_to_their_end() {
        let open = |role: &str| format!("<|start_header_id|>{role}<|end_header_id|>\n\n");
        let question = format!(
            "<|begin_of_text|>{}Sii breve.<|eot_id|>{}Uno?<|eot_id|>{}",
            open("system"),
            open("user"),
            open("assistant")
        );
        let good = format!("0{question}[1 uno<|eot_id|>]");
        let bad = format!("1{question}[2<|eot_id|>{}No<|eot_id|>{}3<|eot_id|>]", open("user"), open("assistant"));
        let both = content([ASKED, GOOD, BAD]);
        assert_eq!(shown(&both, 0, Needs::Both, |_| ()).unwrap(), [good.clone(), bad.clone()]);
        assert_eq!(shown(&content([ASKED, GOOD, &[]]), 0, Needs::One, |_| ()).unwrap(), [good]);
        assert_eq!(shown(&content([ASKED, &[], BAD]), 0, Needs::One, |_| ()).unwrap(), [bad]);
        // The end of a question is nearest to its answer, and stays.
        let cut = shown(&both, 5, Needs::Both, |_| ()).unwrap();
        assert_eq!(cut[0], "0~<|start_header_id|>assistant<|end_header_id|>\n\n[1 uno<|eot_id|>]");
        let short = shown(&both, 5, Needs::Both, |data| data.max_length = 6).unwrap();
        assert_eq!(short[0], "0~<|start_header_id|>assistant<|end_header_id|>\n\n[1]");
        assert_eq!(shown(&both, 5, Needs::Both, |data| data.max_length = 5).unwrap(), ["none"]);
        assert_eq!(
            shown(&both, 5, Needs::Both, |d| (d.max_length, d.overlong) = (6, Overlong::Drop)).unwrap(),
            ["none"]
        );
    }

    #[test]
    fn answers_that_become_the_same_are_left_out_or_kept_apart() {
        let cut = "{% for m in messages %}{{ m.role }}:{{ m.content.split('</think>')[-1] }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}assistant:<think>\n{% endif %}";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cut.jinja").display().to_string();
        std::fs::write(&path, cut).unwrap();
        let [good, bad] = ["giusto", "sbagliato"].map(|why| format!("<think>\n{why}\n</think>\n\n4"));
        let pair = content([ASKED, &[("assistant", &good)], &[("assistant", &bad)]]);
        let by = |unsaid| shown(&pair, 0, Needs::Both, |d| (d.template, d.unsaid) = (path.clone(), unsaid));
        assert_eq!(by(Unsaid::Accept).unwrap(), ["Equal"]);
        assert_eq!(shown(&content([ASKED, GOOD, GOOD]), 0, Needs::Both, |_| ()).unwrap(), ["Equal"]);
        let question = "system:Sii breve.<|eot_id|>user:Uno?<|eot_id|>assistant:<think>\n";
        let kept = ["0", "1"]
            .into_iter()
            .zip([good, bad])
            .map(|(side, text)| format!("{side}{question}[{}<|eot_id|>]", text.strip_prefix("<think>\n").unwrap()));
        assert_eq!(by(Unsaid::Keep).unwrap(), kept.collect::<Vec<_>>());
        assert!(by(Unsaid::Drop).unwrap()[0].starts_with("Unsaid(\"the template leaves out 6 characters"));
        assert!(by(Unsaid::Refuse).unwrap_err().contains("leaves out 6 characters"));
        // One answer alone is not compared; what it loses is counted.
        let one = content([ASKED, &[("assistant", "<think>\nno\n</think>\n\n4")], &[]]);
        let accepted = shown(&one, 0, Needs::One, |d| d.template.clone_from(&path)).unwrap();
        assert_eq!(accepted, ["0system:Sii breve.<|eot_id|>user:Uno?<|eot_id|>assistant:[\n\n4<|eot_id|>] 2 lost"]);
        let empty = content([ASKED, &[("assistant", " ")], BAD]);
        assert!(shown(&empty, 0, Needs::Both, |_| ()).unwrap_err().contains("turn 2 is an empty answer"));
        let left = shown(&empty, 0, Needs::Both, |d| d.empty_answers = EmptyAnswers::Drop).unwrap();
        assert!(left[0].starts_with("Empty("), "{left:?}");
    }

    #[test]
    fn an_unpaired_answer_is_one_side() {
        let Content::Chat { messages: turns, .. } = Row::chat(&[ASKED, GOOD].concat()).content else {
            panic!("a chat")
        };
        assert_eq!(one_sided(&turns, None, Some(true)).unwrap(), content([ASKED, GOOD, &[]]));
        assert_eq!(one_sided(&turns, None, Some(false)).unwrap(), content([ASKED, &[], GOOD]));
    }

    #[test]
    fn what_cannot_be_learned_is_refused() {
        let refused = |content: &Content, needs| shown(content, 0, needs, |_| ()).unwrap_err();
        let cases = [
            (content([&[], GOOD, BAD]), Needs::Both, "has no question that its answers share"),
            (content([ASKED, GOOD, &[]]), Needs::Both, "only `preference.loss = \"kto\"` learns from single answers"),
            (content([ASKED, &[], &[]]), Needs::One, "has no two answers"),
            (Row::chat(ASKED).content, Needs::Both, "a question with two answers is needed"),
        ];
        assert!(one_sided(&[], None, None).unwrap_err().contains("[output.keep]"));
        assert!(
            one_sided(&[Message::new("user", "a")], None, Some(true))
                .unwrap_err()
                .contains("does not end with an answer")
        );
        for (content, needs, expected) in cases {
            let error = refused(&content, needs);
            assert!(error.contains(expected), "{error}");
        }
    }
}
