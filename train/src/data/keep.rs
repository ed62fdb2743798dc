//! A conversation with its answers as its row has them, where a template leaves out or rewrites a part: what TRL's training
//! variants of published templates do for some families, for any template. The conversation is rendered with a mark in
//! place of each answer, and the answer is put where the mark stands: as the template writes it when the turn is the last, if
//! that says all of it, or else as it is in the row.

use std::ops::Range;

use setaccio_base::row::{Message, TOOL_CALLS};
use setaccio_templates::End;

use super::{
    said::{self, REASONING},
    spans::{self, Conversation},
};

/// A rendered conversation, and where in it the answers stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The text.
    pub text: String,
    /// Of each turn asked for, in bytes: from the first that the model writes to the end of what the row says.
    pub answers: Vec<Range<usize>>,
}

/// Render a conversation with the answers of `turns`, in order, as the row has them.
///
/// # Errors
/// The template never writes what the row says of a turn, or does not write an answer once and whole.
pub fn keep(chat: &Conversation<'_>, turns: &[usize]) -> Result<Kept, String> {
    // No template writes these, and no row that is rendered here holds them.
    let mark = |turn: usize| format!("\u{FDD2}{turn}\u{FDD3}");
    let mut marked = chat.messages.to_vec();
    if marked.iter().any(|m| m.content.contains(['\u{FDD2}', '\u{FDD3}'])) {
        return Err("the row holds U+FDD2 or U+FDD3, which no text should".into());
    }
    for turn in turns {
        let message = &mut marked[*turn];
        message.content = mark(*turn);
        if let Some(fields) = &mut message.fields {
            for name in REASONING.into_iter().chain([TOOL_CALLS, "content"]) {
                fields.shift_remove(name);
            }
        }
    }
    let marked = Conversation { messages: &marked, ..*chat };
    let (whole, full) = (marked.render(marked.messages, End::Whole)?, chat.render(chat.messages, End::Whole)?);
    let mut kept = Kept { text: String::new(), answers: Vec::new() };
    let mut from = 0;
    for turn in turns {
        let mark = mark(*turn);
        let unwritten = || format!("the template does not write turn {turn} once and as it is: it cannot be kept");
        let place = whole.find(&mark).filter(|place| *place >= from).ok_or_else(unwritten)?;
        if whole[place + mark.len()..].contains(&mark) {
            return Err(unwritten());
        }
        // What the template puts between the opening and an answer, such as empty reasoning, is the answer's to say.
        let opening = marked.render(&marked.messages[..*turn], End::Prompt).unwrap_or_default();
        let closed = marked.render(&marked.messages[..*turn], End::Whole).ok();
        // Without an opening of its own only white space before an answer is the model's.
        let own = |o: &&String| {
            closed.as_ref() != Some(o) || whole.get(o.len()..place).is_some_and(|space| space.trim().is_empty())
        };
        let opens = Some(&opening).filter(|o| whole.starts_with(o.as_str())).filter(own);
        let start = opens.map_or(place, String::len).min(place).max(from);
        // An opening that begins the reasoning itself, where the template writes none.
        let begun = opening.get(place..).filter(|_| opening.starts_with(&whole[..place])).unwrap_or_default();
        let (mut said, header) = text(chat, *turn, &full, &whole[start..place])?;
        let (opened, header) = (&whole[from..start], header.unwrap_or_default());
        // How long the opening is by itself: so far it may be another.
        let prompt = closed.as_ref().and_then(|c| opening.strip_prefix(c.as_str())).map_or(0, str::len);
        let more = header.rfind(opened).map(|at| &header[at + opened.len()..]).filter(|more| more.len() <= prompt);
        let start = if let Some(more) = more {
            // What stands there between the opening and the answer, such as a tag, belongs to it.
            said.insert_str(0, more);
            start
        } else {
            // What the opening says of reasoning that there is none is not said where there is some.
            let least = opened.len().saturating_sub(prompt).max(1);
            let mut ends = (least..opened.len()).rev().filter(|k| opened.is_char_boundary(*k));
            ends.find(|k| header.ends_with(&opened[..*k])).map_or(start, |k| from + k)
        };
        kept.text.push_str(&whole[from..start]);
        let given = if said.starts_with(begun) { begun.len() } else { 0 };
        let answer = kept.text.len() + given;
        kept.text.push_str(&said);
        kept.answers.push(answer..kept.text.len());
        from = place + mark.len();
    }
    kept.text.push_str(&whole[from..]);
    Ok(kept)
}

/// What a turn says, whole. `full` is the conversation as the template writes it, `before` what it puts between the opening
/// and the answer.
///
/// Gives with it what its rendering has before it, if it is not the row's own text.
fn text(chat: &Conversation<'_>, turn: usize, full: &str, before: &str) -> Result<(String, Option<String>), String> {
    let message = &chat.messages[turn];
    let whole = |chat: &Conversation<'_>, full: &str| {
        let range = spans::find(chat, turn, full).ok()?;
        let written = &full[range.clone()];
        (said::lost(written, message) == 0).then(|| (written.to_owned(), Some(full[..range.start].to_owned())))
    };
    let last = Conversation { messages: &chat.messages[..=turn], ..*chat };
    let as_last = || whole(&last, &last.render(last.messages, End::Whole).ok()?);
    if let Some(written) = whole(chat, full).or_else(as_last) {
        return Ok(written);
    }
    let other = |message: &Message| REASONING.iter().any(|name| message.field(name).is_some()) || message.calls_tools();
    if other(message) {
        return Err(format!(
            "the template never writes all of turn {turn}, of its reasoning or calls: it cannot be kept"
        ));
    }
    let space = if before.trim().is_empty() { before } else { "" };
    Ok((format!("{space}{}", message.content.trim()), None))
}

#[cfg(test)]
mod tests {
    use setaccio_templates::Renderer;

    use super::*;

    const THINKS: &str = "<think>\nSommo.\n</think>\n\nFa 4.";

    /// The text with its answers in brackets.
    fn kept(template: &str, messages: &[Message]) -> Result<String, String> {
        let renderer = Renderer::new(Some(template), None, "<s>", "</s>").unwrap();
        let turns: Vec<usize> = (0..messages.len()).filter(|i| messages[*i].role == "assistant").collect();
        let Kept { mut text, answers } = keep(&Conversation { renderer: &renderer, messages, tools: None }, &turns)?;
        for range in answers.into_iter().rev() {
            text.insert(range.end, ']');
            text.insert(range.start, '[');
        }
        Ok(text)
    }

    fn turns(answers: [&str; 2]) -> [Message; 4] {
        let [a, b] = answers.map(|answer| Message::new("assistant", answer));
        [Message::new("user", "U1"), a, Message::new("user", "U2"), b]
    }

    #[test]
    fn reasoning_stays_where_the_template_drops_it() {
        // The opening begins the reasoning; an answer is written without it.
        let template = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}<U>{{ m.content }}{% else %}<A>{{ m.content.split('</think>')[-1] }}</s>{% endif %}{% endfor %}{% if add_generation_prompt %}<A><think>\n{% endif %}";
        let want = "<s><U>U1<A><think>\n[Sommo.\n</think>\n\nFa 4.]</s><U>U2<A>[Fa 5.]</s>";
        assert_eq!(kept(template, &turns([THINKS, "Fa 5."])).unwrap(), want);
    }

    #[test]
    fn an_earlier_turn_is_written_as_a_last_one() {
        // Reasoning of the last turn alone, in a form of its own, and an empty one where there is none.
        let template = "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% set t = m.reasoning_content if m.reasoning_content is string else (m.content.split('</think>')[0].split('<think>')[-1] if '</think>' in m.content else '') %}{% if loop.last %}<t>{{ t.strip() }}</t>{% endif %}{% endif %}{{ m.content.split('</think>')[-1].strip() }}<e>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
        let want = "<user>U1<e><assistant>[<t>Sommo.</t>Fa 4.]<e><user>U2<e><assistant>[<t></t>Fa 5.]<e>";
        assert_eq!(kept(template, &turns([THINKS, "Fa 5."])).unwrap(), want);
        // Of a field likewise.
        let mut messages = turns(["Fa 4.", "Fa 5."]);
        messages[1] = messages[1].clone().with("reasoning_content", "Sommo.");
        assert_eq!(kept(template, &messages).unwrap(), want);
    }

    #[test]
    fn an_opening_that_begins_the_reasoning_is_given() {
        // The last turn has its reasoning, as the opening has; earlier ones have none.
        let template = "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' and loop.last %}<think>\n{{ m.content.split('</think>')[0].split('<think>')[-1].strip() if '</think>' in m.content }}\n</think>\n\n{% endif %}{{ m.content.split('</think>')[-1].strip() }}<e>{% endfor %}{% if add_generation_prompt %}<assistant><think>\n{% endif %}";
        let want = "<user>U1<e><assistant><think>\n[Sommo.\n</think>\n\nFa 4.]<e><user>U2<e><assistant><think>\n[Ecco.\n</think>\n\nFa 5.]<e>";
        assert_eq!(kept(template, &turns([THINKS, "<think>\nEcco.\n</think>\n\nFa 5."])).unwrap(), want);
    }

    #[test]
    fn white_space_before_an_answer_is_the_models() {
        let template = "{% for m in messages %}{% if m.role == 'user' %}[I] {{ m.content }} [/I]{% else %} {{ m.content.split('</think>')[-1]|trim }} </s>{% endif %}{% endfor %}";
        let messages = turns([THINKS, "A2"]);
        let text = kept(template, &messages).unwrap();
        assert_eq!(text, "[I] U1 [/I][ <think>\nSommo.\n</think>\n\nFa 4.] </s>[I] U2 [/I][ A2] </s>");
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let deaf = "{% for m in messages %}{{ m.content }}</s>{% endfor %}";
        let mut messages = turns(["Fa 4.", "Fa 5."]);
        messages[1] = messages[1].clone().with("reasoning_content", "Sommo.");
        assert!(kept(deaf, &messages).unwrap_err().contains("never writes all of turn 1"));
        let twice = "{% for m in messages %}{{ m.content }}{{ m.content }}</s>{% endfor %}";
        assert!(kept(twice, &turns(["A1", "A2"])).unwrap_err().contains("does not write turn 1 once"));
    }
}
