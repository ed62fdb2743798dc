use setaccio_base::row::{Row, TOOL_CALLS};

use super::*;
use crate::{recipe::EmptyAnswers, tokenizer::tiny};

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
    let second =
        "<|start_header_id|>user<|end_header_id|>\n\nDue?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n";
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
    let marked =
        "{% for m in messages %}{{ m.role }}:{% generation %}{{ m.content }}<|eot_id|>{% endgeneration %}{% endfor %}";
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
    let after =
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n\n{% endfor %}<END>\n\nGive your assessment.<|eot_id|>";
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
    let header = json["added_tokens"].as_array_mut().unwrap().iter_mut().find(|t| t["content"] == "<|end_header_id|>");
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
        (chat(&[("user", "a"), ("assistant", ""), ("user", "b"), ("assistant", "c")]), "", "turn 1 is an empty answer"),
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
