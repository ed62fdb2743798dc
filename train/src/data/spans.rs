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

use super::said;

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
    pub(super) fn render(&self, messages: &[Message], end: End) -> Result<String, String> {
        self.renderer.chat(messages, self.tools, end).map(|r| r.text)
    }
}

/// Find the answer of turn `i` in `full`, which is the whole conversation rendered: in bytes, from the first that the model
/// writes to the end of what the row says. The calls of tools belong to it.
///
/// # Errors
/// The template leaves it out, or changes the rest of the text with it.
pub fn find(chat: &Conversation<'_>, i: usize, full: &str) -> Result<Range<usize>, String> {
    let messages = chat.messages;
    let turn = &messages[i];
    let prompt = chat.render(&messages[..i], End::Prompt).ok();
    let opening = prompt.clone().filter(|o| full.starts_with(o.as_str()));
    let said = turn.content.trim();
    let direct = opening.as_ref().filter(|_| !turn.calls_tools()).and_then(|opening| {
        let rest = &full[opening.len()..];
        let spoken = rest.trim_start();
        let end = full.len() - spoken.len() + said.len();
        (!said.is_empty() && spoken.starts_with(said)).then_some(opening.len()..end)
    });
    if let Some(text) = direct {
        return Ok(text);
    }
    let place = match (differing(chat, i, full), &opening) {
        // A template may refuse to answer a turn that calls nothing; such calls begin where the answer opens.
        (Err(_), Some(opening)) if turn.calls_tools() => opening.len()..opening.len(),
        (place, _) => place?,
    };
    // Without an opening of its own, what stands before the answer is the template's, not the model's.
    let closed = || chat.render(&messages[..i], End::Whole).ok();
    let own = |o: &String| closed().as_ref() != Some(o);
    let opens = match opening {
        Some(opening) => Some(opening.len()).filter(|at| *at <= place.start && own(&opening)),
        // An opening that says there is no reasoning, where there is some: the answer begins where the two part.
        None => prompt.filter(|o| said::reasoning(&turn.content).is_some() && own(o)).map(|o| {
            let shared = same(o.bytes(), full.bytes()).min(place.start);
            full.floor_char_boundary(shared)
        }),
    };
    Ok(opens.unwrap_or(place.start)..place.end)
}

/// How far into `full` the text goes that turn `i` has whether another follows or not: what the template writes after an
/// answer and before its stop token, if it is not the stop token that comes next.
pub fn closing(chat: &Conversation<'_>, i: usize, full: &str) -> usize {
    let mut other = chat.messages[..=i].to_vec();
    if i + 1 == chat.messages.len() {
        other.push(Message::new("user", "0"));
    }
    chat.render(&other, End::Whole).map_or(0, |other| same(other.bytes(), full.bytes()))
}

/// Where what turn `i` says stands: what changes when it does.
fn differing(chat: &Conversation<'_>, i: usize, full: &str) -> Result<Range<usize>, String> {
    let turn = &chat.messages[i];
    let plain = changing(chat, i, "", full);
    // A template may write reasoning otherwise where there is some: then it stays, and the rest changes.
    match said::reasoning(&turn.content).filter(|end| *end < turn.content.trim_end().len()) {
        Some(end) if plain.is_err() => changing(chat, i, &turn.content[..end], full).or(plain),
        _ => plain,
    }
}

/// Where what turn `i` says after `begun` stands.
fn changing(chat: &Conversation<'_>, i: usize, begun: &str, full: &str) -> Result<Range<usize>, String> {
    // Both ends differ, and neither is white space that a template might trim. A turn that calls says nothing else, lest
    // the calls be taken for what surrounds it.
    let [a, b] = ["0a1", "1b0"].map(|content| {
        let mut other = chat.messages.to_vec();
        let turn = &mut other[i];
        turn.content = format!("{begun}{content}");
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

/// How many items both begin with.
pub(super) fn same<T: PartialEq>(a: impl IntoIterator<Item = T>, b: impl IntoIterator<Item = T>) -> usize {
    a.into_iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each answer of the conversation is found to be, and what belongs to its turn after it.
    fn found(template: &str, turns: &[(&str, &str)]) -> Vec<(String, String)> {
        let messages: Vec<Message> = turns.iter().map(|(r, c)| Message::new(*r, *c)).collect();
        let renderer = Renderer::new(Some(template), None, "<s>", "</s>").unwrap();
        let chat = Conversation { renderer: &renderer, messages: &messages, tools: None };
        let full = chat.render(&messages, End::Whole).unwrap();
        let answers = (0..messages.len()).filter(|i| messages[*i].role == "assistant");
        let after = |i: usize, end: usize| full.get(end..closing(&chat, i, &full)).unwrap_or("-").to_owned();
        answers
            .map(|i| (i, find(&chat, i, &full).unwrap()))
            .map(|(i, text)| (full[text.clone()].to_owned(), after(i, text.end)))
            .collect()
    }

    const TURNS: [(&str, &str); 4] = [("user", "U1"), ("assistant", " A1 "), ("user", "U2"), ("assistant", "A2")];

    fn expect(template: &str, expected: [(&str, &str); 2]) {
        assert_eq!(found(template, &TURNS), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn an_opening_ends_where_the_answer_starts() {
        expect(
            "{% for m in messages %}<|{{ m.role }}|>{{ m.content|trim }}<e>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
            [("A1", "<e>\n"), ("A2", "<e>\n")],
        );
    }

    #[test]
    fn a_template_that_always_opens_the_next_turn() {
        // As the first Llama-3 template: what is shared with the next turn's opening is not the answer's.
        expect(
            "{% for m in messages %}[{{ m.role }}]{{ m.content|trim }}<e>{% endfor %}{{ '[assistant]' }}",
            [("A1", "<e>["), ("A2", "<e>[")],
        );
    }

    #[test]
    fn a_template_without_an_opening() {
        expect(
            "{% for m in messages %}<|{{ m.role }}|>{{ m.content|trim }}<e>{% endfor %}",
            [("A1", "<e>"), ("A2", "<e>")],
        );
        // The opening is the user's end: the space before the answer is the model's.
        expect(
            "{% for m in messages %}{% if m.role == 'user' %}[I] {{ m.content }} [/I]{% else %} {{ m.content|trim }} </s>{% endif %}{% endfor %}",
            [(" A1", " </s>"), (" A2", " </s>")],
        );
    }

    #[test]
    fn what_follows_the_conversation_is_no_turns() {
        expect(
            "{% for m in messages %}<{{ m.role }}>{{ m.content|trim }}\n\n{% endfor %}The end.<e>",
            [("A1", "\n\n"), ("A2", "\n\n")],
        );
    }

    #[test]
    fn a_last_turn_that_is_written_otherwise() {
        // Qwen 3 thinks in its last turn only, and what it thinks it has written itself.
        expect(
            "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' and loop.last %}<think></think>{% endif %}{{ m.content|trim }}<e>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}",
            [("A1", "-"), ("<think></think>A2", "-")],
        );
        // Mistral puts something before the last question: neither opening nor end is a beginning of the whole.
        expect(
            "{% for m in messages %}{% if m.role == 'user' %}{% if messages[loop.index:]|selectattr('role', 'equalto', 'user')|list|length == 0 %}SYS {% endif %}[I]{{ m.content }}[/I]{% else %}{{ m.content|trim }}</s>{% endif %}{% endfor %}",
            [("A1", "-"), ("A2", "-")],
        );
    }

    #[test]
    fn reasoning_that_is_written_otherwise_is_found() {
        // Where an answer has none, the template says so; where it has some, it writes it on a line of its own.
        let template = "{% for m in messages %}<{{ m.role }}>{% if m.role == 'assistant' %}{% if '</think>' in m.content %}<t>{{ m.content.split('</think>')[0].split('<think>')[-1].strip() }}</t>\n{{ m.content.split('</think>')[-1].strip() }}{% else %}<none>{{ m.content }}{% endif %}{% else %}{{ m.content }}{% endif %}<e>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
        let turns = [("user", "U"), ("assistant", "<think>\nSommo.\n</think>\n\nFa 4.")];
        assert_eq!(found(template, &turns), [("<t>Sommo.</t>\nFa 4.".to_owned(), "<e>".to_owned())]);
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
                assert_eq!(answer.start, begins, "{template}\n{full}");
                let stop = full[answer.end..].find("<e>").map(|at| answer.end + at);
                assert_eq!(stop, Some(ends), "{template}\n{full}");
                assert!(answer.end == ends || closing(&chat, 1, &full) > ends, "{template}\n{full}");
            }
        }
    }
}
