//! Where the assistant's answers lie in a rendered conversation, for templates that do not say.
//!
//! The conversation up to an answer, with the opening that a model is given before it answers, is as a rule
//! the beginning of the whole: the answer starts where it ends. Templates that render a turn differently
//! when it is the last (Qwen 3, Mistral) break the rule; there, two made-up answers are put in its place,
//! and what differs between the two is where it stands.

use std::ops::Range;

use setaccio_base::row::Message;
use setaccio_templates::Renderer;

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

/// Find the answer of turn `i` in `full`, which is `messages` rendered.
///
/// # Errors
/// The template leaves it out, or changes the rest of the text with it.
pub fn find(renderer: &Renderer, messages: &[Message], i: usize, full: &str) -> Result<Answer, String> {
    let render = |messages: &[Message], prompt| renderer.chat(messages, prompt).ok().map(|r| r.text);
    let opening = render(&messages[..i], true).filter(|o| full.starts_with(o.as_str()));
    let said = messages[i].content.trim();
    let direct = opening.as_ref().and_then(|opening| {
        let rest = &full[opening.len()..];
        let spoken = rest.trim_start();
        let end = full.len() - spoken.len() + said.len();
        (!said.is_empty() && spoken.starts_with(said)).then_some(opening.len()..end)
    });
    let text = if let Some(text) = direct {
        text
    } else {
        let place = differing(renderer, messages, i, full)?;
        // Without an opening of its own, what stands before the answer is the template's, not the model's.
        let opens = opening.filter(|o| o.len() <= place.start && render(&messages[..i], false).as_ref() != Some(o));
        opens.map_or(place.start, |o| o.len())..place.end
    };
    if i + 1 == messages.len() {
        return Ok(Answer { text, bound: full.len(), next: false });
    }
    let shared = render(&messages[..=i], false).map_or(0, |closed| same(closed.bytes(), full.bytes()));
    if shared > text.end {
        return Ok(Answer { text, bound: shared, next: false });
    }
    Ok(Answer { text, bound: full.len(), next: true })
}

/// Where the content of turn `i` stands: what changes when it does.
fn differing(renderer: &Renderer, messages: &[Message], i: usize, full: &str) -> Result<Range<usize>, String> {
    // Both ends differ, and neither is white space that a template might trim.
    let [a, b] = ["0a1", "1b0"].map(|content| {
        let mut other = messages.to_vec();
        content.clone_into(&mut other[i].content);
        renderer.chat(&other, false).map(|r| r.text)
    });
    let (a, b) = (a?, b?);
    let start = same(a.bytes(), b.bytes());
    let tail = same(a[start..].bytes().rev(), b[start..].bytes().rev());
    let whole = full.as_bytes();
    if a == b {
        return Err(format!("the template leaves turn {i} out, which is an answer"));
    }
    let around = whole.len() >= start + tail
        && whole.starts_with(&a.as_bytes()[..start])
        && whole.ends_with(&a.as_bytes()[a.len() - tail..]);
    if around {
        Ok(start..whole.len() - tail)
    } else {
        Err(format!("the template changes the text around turn {i} with what it says; its answers cannot be found"))
    }
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
        let renderer = Renderer::new(Some(template.to_owned()), None, "<s>", "</s>").unwrap();
        let full = renderer.chat(&messages, false).unwrap().text;
        let answers = (0..messages.len()).filter(|i| messages[*i].role == "assistant");
        answers
            .map(|i| find(&renderer, &messages, i, &full).unwrap())
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
            let renderer = Renderer::new(Some(template.to_owned()), None, "", "").unwrap();
            let full = renderer.chat(&messages, false).unwrap().text;
            let error = find(&renderer, &messages, 1, &full).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
