//! Turns of a conversation in the shapes that public sets have, made into one: OpenAI's messages, whose calls are
//! `{id, type, function: {name, arguments}}`, with the arguments as a value.

use serde_json::{Map, Value, json};
use setaccio_base::{
    row::{Content, Message, Renamed, TOOL_CALLS},
    value,
};
use setaccio_dataset::columns::{TOOLS, TURN_FIELDS};

use super::{
    json_object,
    record::{self, Reading, Record, missing, shown, wrong},
};

/// Columns beside a conversation, and fields of a message, that hold what no text keeps.
const MEDIA: [&str; 6] = ["images", "image", "videos", "video", "audios", "audio"];

/// What a text says where a picture or a sound belongs, which a column names by its path.
const PLACES: [&str; 3] = ["<image>", "<video>", "<audio>"];

/// Refuse a row that is more than text: without its pictures it would say something else.
///
/// # Errors
/// Names the column.
pub fn refuse_media(record: &Record) -> Result<(), String> {
    let filled = |name: &&&str| match record.get(**name) {
        // A path or an address may stand beside any text.
        Some(Value::String(path)) => !path.is_empty() && record.values().any(has_place),
        value => value.is_some_and(is_filled),
    };
    match MEDIA.iter().find(filled) {
        Some(name) => Err(format!("column `{name}` holds what a text cannot keep")),
        None => Ok(()),
    }
}

fn is_filled(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| !item.is_null()),
        Value::Object(fields) => fields.values().any(|field| !field.is_null()),
        Value::String(text) => !text.is_empty(),
        _ => false,
    }
}

fn has_place(value: &Value) -> bool {
    match value {
        Value::String(text) => PLACES.iter().any(|place| text.contains(place)),
        Value::Array(items) => items.iter().any(has_place),
        Value::Object(fields) => fields.values().any(has_place),
        _ => false,
    }
}

/// Take the nulls out of tools and calls that were read from columns: there a struct has the fields of all rows, and null
/// where a row has none.
pub fn unpad(record: &mut Record) {
    for (name, value) in record.iter_mut() {
        unpad_below(name, value);
    }
}

fn unpad_below(name: &str, value: &mut Value) {
    if [TOOLS, TOOL_CALLS, "function_call"].contains(&name) {
        return drop_nulls(value);
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| unpad_below("", item)),
        Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| unpad_below(name, value)),
        _ => {}
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        _ => {}
    }
}

/// A conversation of these messages, with the record's tools, and its system prompt where they begin with none.
pub fn chat(record: &mut Reading, mut messages: Vec<Message>) -> Result<Content, String> {
    if messages.first().is_none_or(|turn| turn.role != "system") {
        messages.splice(0..0, record::system_turn(record::optional_text(record, "system")?));
    }
    Ok(Content::Chat { messages, tools: tools(record)? })
}

/// Take a list of messages. A field of theirs that has no place in a data set becomes a column, `COLUMN[].FIELD`, with a
/// value a turn, so that it is accounted for like any other.
///
/// # Errors
/// What is missing, of another type, or cannot be kept.
pub fn messages(record: &mut Reading, column: &str) -> Result<Vec<Message>, String> {
    let Some(value) = record.shift_remove(column) else { return Err(missing(record, column)) };
    let list = list(value).map_err(|value| wrong(column, &value, "a list of messages"))?;
    let mut messages: Vec<Message> = Vec::with_capacity(list.len());
    let mut rests: Vec<Map<String, Value>> = Vec::with_capacity(list.len());
    for (i, turn) in list.into_iter().enumerate() {
        let fault = |e: String| format!("column `{column}`, turn {i}: {e}");
        let role = turn.get("role").or_else(|| turn.get("from")).and_then(Value::as_str);
        let is_call = role.is_some_and(|role| CALLS.contains(&role));
        let (mut message, rest) = message(turn, record).map_err(fault)?;
        if let Some(name) = MEDIA.iter().find(|name| rest.get(**name).is_some_and(is_filled)) {
            return Err(fault(format!("`{name}` holds what a text cannot keep")));
        }
        match messages.last_mut() {
            // Calls made at once stand in turns of their own, one after another; they are one answer.
            Some(before) if is_call && message.role == "assistant" && before.role == "assistant" => {
                join_calls(before, &mut message);
                rests.last_mut().into_iter().for_each(|last| last.extend(rest.clone()));
            }
            _ => {
                messages.push(message);
                rests.push(rest);
            }
        }
    }
    for (i, rest) in rests.into_iter().enumerate() {
        for (name, value) in rest {
            let turns = || Value::Array(vec![Value::Null; messages.len()]);
            if let Some(place) = record.entry(format!("{column}[].{name}")).or_insert_with(turns).get_mut(i) {
                *place = value;
            }
        }
    }
    Ok(messages)
}

/// Add the calls of a turn to the answer before it.
fn join_calls(before: &mut Message, turn: &mut Message) {
    let calls = turn.fields.as_mut().and_then(|fields| fields.shift_remove(TOOL_CALLS));
    let Some(Value::Array(calls)) = calls else { return };
    let all = before.fields.get_or_insert_default().entry(TOOL_CALLS).or_insert_with(|| Value::Array(Vec::new()));
    if let Value::Array(all) = all {
        all.extend(calls);
    }
}

/// Take one side of a row: a text of `role`, a text that holds turns, one message, or a list of messages.
///
/// # Errors
/// As [`messages`].
pub fn side(record: &mut Reading, column: &str, role: &str) -> Result<Vec<Message>, String> {
    let turns = match record.get(column) {
        Some(Value::String(text)) if is_messages(text) => return messages(record, column),
        Some(Value::String(text)) => match transcript(text, role) {
            Some(turns) => {
                note_marks(record, &turns, &MARKS);
                turns
            }
            None => vec![Message::new(role, text)],
        },
        Some(Value::Object(fields)) if !is_columnar(fields) => {
            let turn = record.shift_remove(column).unwrap_or_default();
            record.insert(column.to_owned(), json!([turn]));
            return messages(record, column).map_err(|e| e.replacen(", turn 0", "", 1));
        }
        _ => return messages(record, column),
    };
    record.shift_remove(column);
    Ok(turns)
}

/// Take earlier turns from `column`: a list of questions with their answers, or of messages.
///
/// # Errors
/// It holds anything else.
pub fn history(record: &mut Reading, column: &str) -> Result<Vec<Message>, String> {
    let Some(value) = record.get(column) else { return Ok(Vec::new()) };
    let pairs = match value {
        Value::Null => Some(Vec::new()),
        Value::String(text) if text.trim().is_empty() => Some(Vec::new()),
        Value::String(text) => json_object::value(text).as_ref().and_then(pairs),
        other => pairs(other),
    };
    match pairs {
        Some(turns) => {
            record.shift_remove(column);
            Ok(turns)
        }
        None => messages(record, column).map_err(|e| format!("{e} (or a list of questions with their answers)")),
    }
}

/// Turns of `[[question, answer], ...]`.
fn pairs(value: &Value) -> Option<Vec<Message>> {
    let turn = |role: &str, text: &Value| text.as_str().map(|text| Message::new(role, text));
    let mut turns = Vec::new();
    for pair in value.as_array()? {
        let [question, answer] = pair.as_array()?.as_slice() else { return None };
        turns.extend([turn("user", question)?, turn("assistant", answer)?]);
    }
    Some(turns)
}

/// Marks of Anthropic's transcripts, which are single texts.
const MARKS: [(&str, &str); 2] = [("\n\nHuman:", "user"), ("\n\nAssistant:", "assistant")];

/// The turns of a transcript, the side of `role`; `None` for any other text. A mark at the end of a question opens an answer
/// that is yet to come; at the end of an answer it is one that says nothing.
fn transcript(text: &str, role: &str) -> Option<Vec<Message>> {
    if !text.starts_with(MARKS[0].0) {
        return None;
    }
    let mut turns = split(text, &MARKS);
    if role == "user" && turns.last().is_some_and(|turn| turn.role == "assistant" && turn.content.is_empty()) {
        turns.pop();
    }
    Some(turns)
}

/// The turns of a text that begins with a mark: each from its mark to the next, without the white space around it.
pub fn split(text: &str, marks: &[(&str, &str)]) -> Vec<Message> {
    let (mut turns, mut rest) = (Vec::new(), text);
    while let Some((mark, role)) = marks.iter().find(|(mark, _)| rest.starts_with(mark)) {
        rest = &rest[mark.len()..];
        let end = marks.iter().filter_map(|(mark, _)| rest.find(mark)).min().unwrap_or(rest.len());
        turns.push(Message::new(*role, rest[..end].trim()));
        rest = &rest[end..];
    }
    turns
}

/// Note that the marks of these turns are roles here.
pub fn note_marks(record: &mut Reading, turns: &[Message], marks: &[(&'static str, &'static str)]) {
    for (mark, role) in marks {
        if turns.iter().any(|turn| turn.role == *role) {
            record.note(Renamed::role(mark.trim(), role));
        }
    }
}

/// A list of objects, whether it is one, JSON text of one, or an object of equally long lists, as a sequence of structs is
/// stored by `datasets`; anything else comes back.
fn list(value: Value) -> Result<Vec<Value>, Value> {
    match value {
        Value::Array(list) => Ok(list),
        Value::String(text) => match json_object::value(&text) {
            Some(parsed @ (Value::Array(_) | Value::Object(_))) => list(parsed),
            _ => Err(Value::String(text)),
        },
        Value::Object(columns) if is_columnar(&columns) => {
            let turns = columns.values().filter_map(Value::as_array).map(Vec::len).max().unwrap_or(0);
            let turn = |i: usize| {
                columns.iter().map(|(name, list)| (name.clone(), list.get(i).cloned().unwrap_or_default())).collect()
            };
            Ok((0..turns).map(turn).collect())
        }
        other => Err(other),
    }
}

/// Whether an object holds a list for each field of messages, all of one length.
fn is_columnar(fields: &Map<String, Value>) -> bool {
    let mut lengths = fields.values().filter(|value| !value.is_null()).map(|value| value.as_array().map(Vec::len));
    let first = lengths.next().flatten();
    let roles = fields.get("role").or_else(|| fields.get("from")).is_some_and(Value::is_array);
    roles && first.is_some() && lengths.all(|length| length == first)
}

/// Whether a text is a list of messages as JSON.
fn is_messages(text: &str) -> bool {
    let named = |turn: &Value| turn.get("role").or_else(|| turn.get("from")).is_some();
    text.trim_start().starts_with('[')
        && json_object::value(text)
            .is_some_and(|list| list.as_array().is_some_and(|l| !l.is_empty() && l.iter().all(named)))
}

/// Whether a value is a conversation, in any of the shapes that [`messages`] takes.
pub fn is_conversation(value: &Value) -> bool {
    match value {
        Value::Array(_) => true,
        Value::Object(fields) => is_columnar(fields),
        Value::String(text) => is_messages(text),
        _ => false,
    }
}

/// Roles of turns that are calls of tools and nothing else.
const CALLS: [&str; 2] = ["function_call", "tool_call"];

/// One message, spelled `{role, content}` or `{from, value}`, and its fields that have no place.
fn message(turn: Value, reading: &mut Reading) -> Result<(Message, Map<String, Value>), String> {
    let Value::Object(mut turn) = turn else {
        return Err(format!("{} is no message", shown(&turn)));
    };
    let null = turn.get("content").is_some_and(Value::is_null) || turn.get("value").is_some_and(Value::is_null);
    // A union of several shapes has the fields of all, and null in those of the others.
    turn.retain(|_, value| !value.is_null());
    let keys = if turn.contains_key("from") { ["from", "value"] } else { ["role", "content"] };
    if keys[0] == "from" {
        reading.note(Renamed::field("from", "role"));
        reading.note(Renamed::field("value", "content"));
    }
    let role = record::text(&mut turn, keys[0])?;
    let mut parts = match turn.shift_remove(keys[1]) {
        Some(value) => said(&role, keys[1], value)?,
        None => Parts::default(),
    };
    if let Some(value) = turn.shift_remove("function_call") {
        parts.calls.push(value);
        reading.note(Renamed::field("function_call", TOOL_CALLS));
    }
    if let Some(value) = turn.shift_remove(TOOL_CALLS) {
        match list_of_calls(value) {
            Ok(calls) => parts.calls.extend(calls),
            Err(value) => return Err(wrong(TOOL_CALLS, &value, "a list of calls")),
        }
    }
    let mut role = match canonical_role(&role) {
        Some(name) if name != role => {
            reading.note(Renamed::role(role, name));
            name.to_owned()
        }
        _ => role,
    };
    if CALLS.contains(&role.as_str()) {
        let text = parts.text.take().unwrap_or_default();
        let calls = json_object::value(&text).and_then(|value| list_of_calls(value).ok()).unwrap_or_default();
        if !calls.is_empty() && calls.iter().all(is_call) {
            parts.calls.extend(calls);
            reading.note(Renamed::role(std::mem::replace(&mut role, "assistant".into()), "assistant"));
            reading.note(Renamed::field("content", TOOL_CALLS));
        } else {
            // It stays, for the `roles` rule to see.
            parts.text = Some(text);
        }
    }
    parts.renamed.into_iter().for_each(|renamed| reading.note(renamed));
    for (name, value) in parts.rest {
        turn.insert(format!("{}[].{name}", keys[1]), value);
    }
    let mut fields = Map::new();
    if let Some(reasoning) = parts.reasoning {
        fields.insert("reasoning_content".into(), reasoning.into());
    }
    if !parts.calls.is_empty() {
        let calls: Result<Vec<Value>, String> = parts.calls.into_iter().map(|c| call(c, &mut turn, reading)).collect();
        fields.insert(TOOL_CALLS.into(), calls?.into());
    }
    for name in TURN_FIELDS.into_iter().filter(|name| *name != TOOL_CALLS) {
        let Some(value) = turn.shift_remove(name) else { continue };
        fields.insert(name.into(), value::printed(&value).into());
    }
    let silent =
        [TOOL_CALLS, "reasoning_content", "reasoning", "thinking"].iter().any(|name| fields.contains_key(*name));
    let mut message = match parts.text {
        Some(text) => Message::new(role, text),
        None if silent => Message::without_text(role),
        None if null => return Err(wrong(keys[1], &Value::Null, "text")),
        None => return Err(missing(&turn, keys[1])),
    };
    if !fields.is_empty() {
        message.fields.get_or_insert_default().extend(fields);
    }
    Ok((message, turn))
}

/// What a content holds.
#[derive(Default)]
struct Parts {
    text: Option<String>,
    reasoning: Option<String>,
    calls: Vec<Value>,
    /// What else the parts hold.
    rest: Map<String, Value>,
    /// Parts that become fields.
    renamed: Vec<Renamed>,
}

/// Types of a part that is text.
const TEXTS: [&str; 3] = ["text", "input_text", "output_text"];

/// The text of a content, which may be a list of parts. What a tool answers may be any value.
fn said(role: &str, column: &str, content: Value) -> Result<Parts, String> {
    let mut parts = Parts::default();
    let answers = canonical_role(role) == Some("tool");
    let is_part = |part: &Value| match part.get("type").and_then(Value::as_str) {
        Some(kind) => !answers || TEXTS.contains(&kind),
        None => !answers && part.is_string(),
    };
    match content {
        Value::String(text) => parts.text = Some(text),
        Value::Array(list) if list.iter().all(is_part) && !list.is_empty() => {
            list.iter().try_for_each(|part| parts.add(part))?;
        }
        other if answers => parts.text = Some(value::to_json(&other)),
        other => return Err(wrong(column, &other, "text")),
    }
    Ok(parts)
}

impl Parts {
    fn add(&mut self, part: &Value) -> Result<(), String> {
        let add = |to: &mut Option<String>, text: &str| to.get_or_insert_default().push_str(text);
        if let Value::String(text) = part {
            add(&mut self.text, text);
            return Ok(());
        }
        let kind = part["type"].as_str().unwrap_or_default();
        let names = ["text", "value", "reasoning", "thinking"];
        let said = names.iter().find_map(|name| part[*name].as_str().map(|text| (*name, text)));
        let (name, said) = said.map_or(("", None), |(name, text)| (name, Some(text)));
        let others = part.as_object().into_iter().flatten();
        let others = others.filter(|(other, value)| *other != "type" && *other != name && !value.is_null());
        self.rest.extend(others.map(|(name, value)| (name.clone(), value.clone())));
        match (kind, said) {
            (kind, Some(text)) if TEXTS.contains(&kind) => add(&mut self.text, text),
            ("reasoning" | "thinking", Some(text)) => {
                add(&mut self.reasoning, text);
                self.renamed.push(Renamed::field(format!("content[].{name}"), "reasoning_content"));
            }
            ("tool_call", Some(call)) => {
                self.calls.push(call.into());
                self.renamed.push(Renamed::field(format!("content[].{name}"), TOOL_CALLS));
            }
            _ => return Err(format!("has a part of type `{kind}`, which a text cannot keep")),
        }
        Ok(())
    }
}

/// The name that TRL and chat templates know a role by. Unknown ones stay, for the `roles` rule to see.
fn canonical_role(role: &str) -> Option<&'static str> {
    match role.to_ascii_lowercase().as_str() {
        "human" | "user" | "prompter" => Some("user"),
        "gpt" | "assistant" | "chatgpt" | "bot" | "model" | "bing" | "bard" => Some("assistant"),
        // What OpenAI calls the system's turns since its reasoning models.
        "system" | "developer" => Some("system"),
        "tool" | "function" | "observation" | "tool_response" | "ipython" => Some("tool"),
        _ => None,
    }
}

/// Calls as a list, from a list, a single one, or JSON text of either.
fn list_of_calls(value: Value) -> Result<Vec<Value>, Value> {
    match value {
        Value::Array(calls) => Ok(calls),
        Value::Object(_) => Ok(vec![value]),
        Value::String(text) if text.trim().is_empty() => Ok(Vec::new()),
        Value::String(text) => match json_object::value(&text) {
            Some(parsed @ (Value::Array(_) | Value::Object(_))) => list_of_calls(parsed),
            _ => Err(Value::String(text)),
        },
        other => Err(other),
    }
}

fn is_call(call: &Value) -> bool {
    call.get("function").unwrap_or(call).get("name").is_some_and(Value::is_string)
}

/// One call, as OpenAI spells it. What else it holds goes to the turn's `rest`.
fn call(value: Value, rest: &mut Map<String, Value>, reading: &mut Reading) -> Result<Value, String> {
    let value = if let Value::String(text) = &value { json_object::value(text).unwrap_or_default() } else { value };
    let Value::Object(mut call) = value else { return Err("has a call of a tool that is no object".into()) };
    if !is_call(&Value::Object(call.clone())) {
        return Err("has a call of a tool that names no function".into());
    }
    call.retain(|_, value| !value.is_null());
    let mut take = |name: &str| call.shift_remove(name);
    let (id, kind, function) = (take("id"), take("type"), take("function"));
    let (mut inner, mut outer) = (call, Map::new());
    if let Some(Value::Object(function)) = function {
        outer = std::mem::replace(&mut inner, function);
        inner.retain(|_, value| !value.is_null());
    } else {
        reading.note(Renamed::field("tool_calls[].name", "tool_calls[].function.name"));
    }
    let mut function = Map::new();
    function.extend(inner.shift_remove("name").map(|name| ("name".to_owned(), name)));
    let arguments = inner.shift_remove("arguments").or_else(|| {
        let parameters = inner.shift_remove("parameters")?;
        reading.note(Renamed::field("tool_calls[].parameters", "tool_calls[].function.arguments"));
        Some(parameters)
    });
    if let Some(arguments) = arguments {
        let arguments = match &arguments {
            Value::String(text) => json_object::value(text).unwrap_or(arguments),
            _ => arguments,
        };
        refuse_wide_numbers(&arguments)?;
        function.insert("arguments".into(), arguments);
    }
    for (name, value) in inner.into_iter().chain(outer) {
        rest.insert(format!("{TOOL_CALLS}[].{name}"), value);
    }
    let mut whole = Map::new();
    whole.extend(id.map(|id| ("id".to_owned(), value::printed(&id).into())));
    whole.insert("type".into(), kind.unwrap_or_else(|| "function".into()));
    whole.insert("function".into(), function.into());
    Ok(whole.into())
}

/// Templates and trainers see values as serde_json holds them.
fn refuse_wide_numbers(value: &Value) -> Result<(), String> {
    if value::holds_wide_number(value) {
        return Err("has a tool with a number that 64 bits do not hold".into());
    }
    Ok(())
}

/// Take the tools that may be called: those of the column, or of the turns that name some, each once.
///
/// # Errors
/// They are no list.
pub fn tools(record: &mut Reading) -> Result<Option<Value>, String> {
    let of_turns = record.keys().find(|name| name.ends_with("[].tools")).cloned();
    let own = record.get(TOOLS).is_some_and(|tools| !tools.is_null());
    let column = if own { TOOLS.to_owned() } else { of_turns.unwrap_or_else(|| TOOLS.to_owned()) };
    let value = record.shift_remove(&column).unwrap_or_default();
    let mut tool = |value: Value| tool(value, record);
    let lists = match value {
        Value::Array(turns) if column != TOOLS => turns,
        value => vec![value],
    };
    let mut all: Vec<Value> = Vec::new();
    for tools in lists {
        let tools = match tools {
            Value::String(text) if text.trim().is_empty() => continue,
            Value::String(text) => json_object::value(&text).unwrap_or(Value::String(text)),
            other => other,
        };
        refuse_wide_numbers(&tools)?;
        match tools {
            Value::Null => {}
            Value::Array(list) if column == TOOLS => all.extend(list.into_iter().map(&mut tool)),
            Value::Array(list) => {
                for tool in list.into_iter().map(&mut tool) {
                    if !all.contains(&tool) {
                        all.push(tool);
                    }
                }
            }
            other => return Err(wrong(&column, &other, "a list of tools")),
        }
    }
    if column != TOOLS && !all.is_empty() {
        record.note(Renamed::field(column, TOOLS));
    }
    Ok((!all.is_empty()).then_some(Value::Array(all)))
}

/// A tool as templates expect it: a function's schema stands under `function`.
fn tool(tool: Value, reading: &mut Reading) -> Value {
    if tool.get("name").is_some() && tool.get("function").is_none() {
        reading.note(Renamed::field("tools[].name", "tools[].function.name"));
        json!({ "type": "function", "function": tool })
    } else {
        tool
    }
}
