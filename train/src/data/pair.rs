//! Answers to a question as tokens: the question with each answer, of which the answers are learned.

use serde_json::Value;
use setaccio_base::row::{Content, Message};
use setaccio_templates::End;

use super::{
    batch::Example,
    mask::{Masker, RowOutcome, Said},
};
use crate::recipe::Overlong;

/// Names of a row's answers.
pub const SIDES: [&str; 2] = ["chosen", "rejected"];

/// The question with each of its answers, and which of [`SIDES`] each is.
pub type Answers = Vec<(u32, Example)>;

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
        let mut sides: Vec<(u32, &[Message])> = vec![(0, chosen), (1, rejected)];
        sides.retain(|(_, answer)| !answer.is_empty());
        if sides.len() < if needs == Needs::One { 1 } else { 2 } {
            let one = "only `preference.loss = \"kto\"` learns from single answers";
            return Err(format!("has no two answers; {sane}, and {one}"));
        }
        let asked = self.chat_ids(prompt, tools.as_ref(), End::Prompt)?;
        let whole = |(_, answer): &(u32, &[Message])| {
            self.chat_ids(&[prompt.as_slice(), answer].concat(), tools.as_ref(), End::Whole)
        };
        let whole = sides.iter().map(whole).collect::<std::result::Result<Vec<_>, _>>()?;
        // A template may write the question alone in another way, and tokens may merge across its end: what all of
        // them begin with is the question.
        let shared = whole.iter().map(|ids| common(&asked, ids)).min().unwrap_or(0);
        if shared == 0 {
            return Err("begins with other tokens than its question alone: the template does not fit pairs".into());
        }
        if whole.windows(2).any(|pair| pair[0] == pair[1]) {
            let why = "the template leaves out what they differ in, for instance their reasoning";
            return Err(format!("has two answers that become the same tokens: {why}, or they are the same; {sane}"));
        }
        for (ids, (side, _)) in whole.iter().zip(&sides) {
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
        let made = sides.into_iter().map(|(side, _)| side).zip(whole.into_iter().map(example));
        Ok(RowOutcome::Tokens { tokens: made.collect(), truncated: longer || cut > 0, said: Said::Whole })
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

/// How many tokens both begin with.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;
    use crate::{recipe::Data, tokenizer::tiny};

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
        let RowOutcome::Tokens { tokens: sides, truncated, .. } = masker.answers(content, longest, needs)? else {
            return Ok(vec!["none".into()]);
        };
        let text = |(side, e): &(u32, Example)| {
            let first = e.trained.iter().position(|t| *t).unwrap();
            assert!(e.trained[first..].iter().all(|t| *t));
            let part = |ids: &[u32]| tokens.decode_with_special(ids).unwrap();
            format!("{side}{}{}[{}]", if truncated { "~" } else { "" }, part(&e.ids[..first]), part(&e.ids[first..]))
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
            (content([ASKED, GOOD, GOOD]), Needs::Both, "two answers that become the same tokens"),
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
