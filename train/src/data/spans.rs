//! Where the assistant's answers lie in a rendered conversation, for templates that do not say.
//!
//! The conversation up to an answer, with the opening that a model is given before it answers, is as a rule
//! the beginning of the whole: the answer starts where it ends. Templates that render a turn differently
//! when it is the last (Qwen 3, Mistral) break the rule; there, two made-up answers are put in its place,
//! and what differs between the two is where it stands.

use std::ops::Range;

use serde_json::Value;
use setaccio_base::row::{Message, TOOL_CALLS};
use setaccio_templates::{End, Renderer};

/// A conversation, and what renders it.
#[derive(Clone, Copy)]
pub struct Conversation<'a> {
    /// Its template.
    pub renderer: &'a Renderer,
    /// Its turns.
    pub messages: &'a [Message],
    /// The tools that it offers.
    pub tools: Option<&'a Value>,
}

impl Conversation<'_> {
    fn render(&self, messages: &[Message], end: End) -> Result<String, String> {
        self.renderer.chat(messages, self.tools, end).map(|r| r.text)
    }
}

/// An answer, in bytes of the rendered text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// From the first byte that the model writes, to the end of what the row says.
    pub text: Range<usize>,
    /// The stop token starts between the end of `text` and here.
    pub bound: usize,
    /// The stop token comes next, with nothing but white space before it.
    pub next: bool,
}

/// Find the answer of turn `i` in `full`, which is the whole conversation rendered. The calls of tools belong to it.
///
/// # Errors
/// The template leaves it out, or changes the rest of the text with it.
pub fn find(chat: &Conversation<'_>, i: usize, full: &str) -> Result<Answer, String> {
    let messages = chat.messages;
    let turn = &messages[i];
    let opening = chat.render(&messages[..i], End::Prompt).ok().filter(|o| full.starts_with(o.as_str()));
    let said = turn.content.trim();
    let direct = opening.as_ref().filter(|_| !turn.calls_tools()).and_then(|opening| {
        let rest = &full[opening.len()..];
        let spoken = rest.trim_start();
        let end = full.len() - spoken.len() + said.len();
        (!said.is_empty() && spoken.starts_with(said)).then_some(opening.len()..end)
    });
    let text = if let Some(text) = direct {
        text
    } else {
        let place = match (differing(chat, i, full), &opening) {
            // A template may refuse to answer a turn that calls nothing; such calls begin where the answer opens.
            (Err(_), Some(opening)) if turn.calls_tools() => opening.len()..opening.len(),
            (place, _) => place?,
        };
        // Without an opening of its own, what stands before the answer is the template's, not the model's.
        let closed = || chat.render(&messages[..i], End::Whole).ok();
        let opens = opening.filter(|o| o.len() <= place.start && closed().as_ref() != Some(o));
        opens.map_or(place.start, |o| o.len())..place.end
    };
    if i + 1 == messages.len() {
        return Ok(Answer { text, bound: full.len(), next: false });
    }
    let closed = chat.render(&messages[..=i], End::Whole);
    let shared = closed.map_or(0, |closed| same(closed.bytes(), full.bytes()));
    if shared > text.end {
        return Ok(Answer { text, bound: shared, next: false });
    }
    Ok(Answer { text, bound: full.len(), next: true })
}

/// Where what turn `i` says stands: what changes when it does.
fn differing(chat: &Conversation<'_>, i: usize, full: &str) -> Result<Range<usize>, String> {
    // Both ends differ, and neither is white space that a template might trim. A turn that calls says nothing else, lest
    // the calls be taken for what surrounds it.
    let [a, b] = ["0a1", "1b0"].map(|content| {
        let mut other = chat.messages.to_vec();
        let turn = &mut other[i];
        content.clone_into(&mut turn.content);
        if let Some(fields) = turn.fields.as_mut().filter(|fields| fields.contains_key(TOOL_CALLS)) {
            fields.shift_remove(TOOL_CALLS);
            fields.shift_remove("content");
        }
        chat.render(&other, End::Whole)
    });
    let (a, b) = (a?, b?);
    let start = same(a.bytes(), b.bytes());
    let tail = same(a[start..].bytes().rev(), b[start..].bytes().rev());
    let whole = full.as_bytes();
    if a == b {
        return Err(format!("the template leaves turn {i} out, which is an answer"));
    }
    let around = |tail: usize| {
        let fits = whole.len() >= start + tail
            && whole.starts_with(&a.as_bytes()[..start])
            && whole.ends_with(&a.as_bytes()[a.len() - tail..]);
        fits.then(|| start..whole.len() - tail)
    };
    // White space behind a text may be the text's own, and missing where there are calls alone.
    let bare = a.as_bytes()[a.len() - tail..].trim_ascii_start().len();
    let bare = Some(bare).filter(|_| chat.messages[i].calls_tools());
    around(tail).or_else(|| around(bare?)).ok_or_else(|| {
        format!("the template changes the text around turn {i} with what it says; its answers cannot be found")
    })
}

fn same(a: impl Iterator<Item = u8>, b: impl Iterator<Item = u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each answer of the conversation is found to be, and where its stop may be.
    fn found(template: &str, turns: &[(&str, &str)]) -> Vec<(String, String, bool)> {
        let messages: Vec<Message> = turns.iter().map(|(r, c)| Message::new(*r, *c)).collect();
        let renderer = Renderer::new(Some(template), None, "<s>", "</s>").unwrap();
        let chat = Conversation { renderer: &renderer, messages: &messages, tools: None };
        let full = chat.render(&messages, End::Whole).unwrap();
        let answers = (0..messages.len()).filter(|i| messages[*i].role == "assistant");
        answers
            .map(|i| find(&chat, i, &full).unwrap())
            .map(|a| (full[a.text.clone()].to_owned(), full[a.text.end..a.bound].to_owned(), a.next))
            .collect()
    }

    const TURNS: [(&str, &str); 4] = [("user", "U1"), ("assistant", " A1 "), ("user", "U2"), ("assistant", "A2")];

    fn expect(template: &str, expected: [(&str, &str, bool); 2]) {
        let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c));
        assert_eq!(found(template, &TURNS), expected);
    }

    #[test]
    fn an_opening_ends_where_the_answer_starts() {
        expect(
            "{% for m in messages %}<|{{ m.role }}|>{{ m.content|trim }}<e>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
            [("A1", "<e>\n", false), ("A2", "<e>\n", false)],
        );
    }

    #[test]
    fn a_template_that_always_opens_the_next_turn() {
        // As the first Llama-3 template: what is shared with the next turn's opening is not the answer's.
        expect(
            "{% for m in messages %}[{{ m.role }}]{{ m.content|trim }}<e>{% endfor %}{{ '[assistant]' }}",
            [("A1", "<e>[", false), ("A2", "<e>[assistant]", false)],
        );
    }

    #[test]
    fn a_template_without_an_opening() {
        expect(
            "{% for m in messages %}<|{{ m.role }}|>{{ m.content|trim }}<e>{% endfor %}",
            [("A1", "<e>", false), ("A2", "<e>", false)],
        );
        // The opening is the user's end: the space before the answer is the model's.
        expect(
            "{% for m in messages %}{% if m.role == 'user' %}[I] {{ m.content }} [/I]{% else %} {{ m.content|trim }} </s>{% endif %}{% endfor %}",
            [(" A1", " </s>", false), (" A2", " </s>", false)],
        );
    }

    #[test]
    fn a_last_turn_that_is_written_otherwise() {
        // Qwen 3 thinks in its last turn only, and what it thinks it has written itself.
        expect(
            "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}{{ m.content|trim }}<e>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
            [("A1", "<e><user>U2<e><assistant><think></think>A2<e>", true), ("<think></think>A2", "<e>", false)],
        );
        // Mistral puts something before the last question: neither opening nor end is a beginning of the whole.
        expect(
            "{% for m in messages %}{% if m.role == 'user' %}{% if messages[loop.index:]|selectattr('role', 'equalto', 'user')|list|length == 0 %}SYS {% endif %}[I]{{ m.content }}[/I]{% else %}{{ m.content|trim }}</s>{% endif %}{% endfor %}",
            [("A1", "</s>SYS [I]U2[/I]A2</s>", true), ("A2", "</s>", false)],
        );
    }

    #[test]
    fn an_answer_that_cannot_be_found_is_refused() {
        let messages = TURNS.map(|(r, c)| Message::new(r, c));
        for (template, expected) in [
            ("{% for m in messages %}{{ m.content if m.role == 'user' }}{% endfor %}", "leaves turn 1 out"),
            (
                "{{ messages|map(attribute='content')|join|length }}{% for m in messages %}{{ m.content }}{% endfor %}",
                "around turn 1",
            ),
        ] {
            let renderer = Renderer::new(Some(template), None, "", "").unwrap();
            let chat = Conversation { renderer: &renderer, messages: &messages, tools: None };
            let full = chat.render(&messages, End::Whole).unwrap();
            let error = find(&chat, 1, &full).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_calls_of_a_turn_are_its_answer() {
        const CALLS: &str = "{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}{{ c.function.arguments|tojson }}</call>{% endfor %}";
        let turn = format!("<{{{{ m.role }}}}>{{{{ m.content }}}}{CALLS}<e>");
        let opening = "{% if add_generation_prompt %}<assistant>{% endif %}";
        let plain = format!("{{% for m in messages %}}{turn}{{% endfor %}}{opening}");
        // Only the last turn says that it is one, and what is said before a call stands on a line of its own.
        let last = turn
            .replace("<e>", "{{ '<last>' if loop.last }}<e>")
            .replace("{{ m.content }}", "{{ m.content ~ '\n' if m.content }}");
        let last = format!("{{% for m in messages %}}{last}{{% endfor %}}{opening}");
        // A result without a call is refused.
        let strict = plain.replace("{% for m in", "{% for m in messages if m.role == 'tool' and not messages[1].tool_calls %}{{ raise_exception('') }}{% endfor %}{% for m in");
        let call = serde_json::json!([{"function": {"name": "f", "arguments": {"è": 1}}}]);
        for template in [&plain, &last, &strict] {
            for content in [Some(""), None, Some("Ora guardo.")] {
                let calling =
                    content.map_or_else(|| Message::without_text("assistant"), |c| Message::new("assistant", c));
                let messages = [
                    Message::new("user", "U"),
                    calling.with(TOOL_CALLS, call.clone()),
                    Message::new("tool", "R"),
                    Message::new("assistant", "A"),
                ];
                let renderer = Renderer::new(Some(template), None, "", "").unwrap();
                let chat = Conversation { renderer: &renderer, messages: &messages, tools: None };
                // `none` is what Python prints for it.
                let full = chat.render(&messages, End::Whole).unwrap();
                let answer = find(&chat, 1, &full).unwrap();
                let (begins, ends) = (full.find("<assistant>").unwrap() + 11, full.find("</call>").unwrap() + 7);
                assert_eq!(answer.text.start, begins, "{template}\n{full}");
                let stop = full[answer.text.end..].find("<e>").map(|at| answer.text.end + at);
                assert!(answer.bound > ends && (!answer.next || answer.text.end == ends), "{template}\n{full}");
                assert_eq!(stop, Some(ends), "{template}\n{full}");
            }
        }
    }
}
