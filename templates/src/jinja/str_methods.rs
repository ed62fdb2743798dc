//! Methods of Python's strings.
//! Source: <https://docs.python.org/3/library/stdtypes.html#string-methods>

use std::sync::Arc;

use super::{
    arguments::{Arguments, int, int_or_none, required, text},
    failure::{Failure, Result},
    format,
    lexer::space,
    limits::{self, fits, spend},
    slices::limits,
    text::printable,
    value::{Class, Dict, Html, Text, Value},
};

/// Call a method of a string.
pub fn call(of: &Text, name: &str, arguments: Arguments) -> Result<Value> {
    let result = plain(of, name, arguments)?;
    // What is made of HTML is HTML.
    Ok(if of.html == Html::Markup { marked(result) } else { result })
}

fn marked(value: Value) -> Value {
    match value {
        Value::Str(text) => Value::markup(text.text),
        Value::List(items) => Value::list(items.iter().cloned().map(marked).collect()),
        Value::Tuple(items) => Value::tuple(items.iter().cloned().map(marked).collect()),
        other => other,
    }
}

fn plain(of: &Text, name: &str, arguments: Arguments) -> Result<Value> {
    let s: &str = of;
    let no = |arguments: Arguments| arguments.none(name);
    let at_ends = ["strip", "lstrip", "rstrip", "startswith", "endswith", "removeprefix", "removesuffix"];
    if !at_ends.contains(&name) {
        limits::spell(s)?;
    }
    let all = |test: fn(char) -> bool| Value::Bool(!s.is_empty() && s.chars().all(test));
    Ok(match name {
        "lower" => no(arguments).map(|()| Value::from(s.to_lowercase()))?,
        "upper" => no(arguments).map(|()| Value::from(s.to_uppercase()))?,
        "casefold" => no(arguments).map(|()| Value::from(s.to_lowercase().replace('ß', "ss").replace('ς', "σ")))?,
        "capitalize" => no(arguments).map(|()| Value::from(capitalize(s)))?,
        "title" => no(arguments).map(|()| Value::from(title(s)))?,
        "swapcase" => no(arguments).map(|()| Value::from(swapcase(s)))?,
        "isalnum" => no(arguments).map(|()| all(char::is_alphanumeric))?,
        "isalpha" => no(arguments).map(|()| all(char::is_alphabetic))?,
        "isascii" => no(arguments).map(|()| Value::Bool(s.is_ascii()))?,
        "isdecimal" | "isdigit" | "isnumeric" => no(arguments).map(|()| all(char::is_numeric))?,
        "isidentifier" => no(arguments).map(|()| Value::Bool(identifier(s)))?,
        "isprintable" => no(arguments).map(|()| Value::Bool(s.chars().all(printable)))?,
        "isspace" => no(arguments).map(|()| all(space))?,
        "islower" => no(arguments).map(|()| Value::Bool(is_lower(s)))?,
        "isupper" => no(arguments).map(|()| Value::Bool(is_upper(s)))?,
        "istitle" => no(arguments).map(|()| Value::Bool(s.chars().any(cased) && title(s) == s))?,
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = arguments.bind(name, [""])?;
            strip(of, name, chars.as_ref())?
        }
        "split" | "rsplit" => split(s, name, arguments)?,
        "splitlines" => {
            let [keepends] = arguments.bind(name, ["keepends"])?;
            let keeps = keepends.is_some_and(|k| k.truth());
            Value::list(
                lines(s)?.into_iter().map(|(line, whole)| Value::from(if keeps { whole } else { line })).collect(),
            )
        }
        "startswith" | "endswith" => affix(s, name, arguments)?,
        "removeprefix" | "removesuffix" => {
            let [affix] = arguments.bind(name, [""])?;
            let affix = required(affix, name)?;
            let affix = text(&affix, name)?;
            let rest = if name == "removeprefix" { s.strip_prefix(affix) } else { s.strip_suffix(affix) };
            Value::from(rest.unwrap_or(s))
        }
        "replace" => {
            let [old, new, count] = arguments.bind(name, ["", "", "count"])?;
            let (old, new) = (required(old, name)?, required(new, name)?);
            replace(s, text(&old, name)?, text(&new, name)?, int(count.as_ref(), name)?)?
        }
        "find" | "rfind" | "index" | "rindex" | "count" => find(s, name, arguments)?,
        "partition" | "rpartition" => partition(s, name, arguments)?,
        "join" => {
            let [items] = arguments.bind(name, [""])?;
            join(s, &required(items, name)?)?
        }
        "center" | "ljust" | "rjust" => {
            let [width, fill] = arguments.bind(name, ["", ""])?;
            let fill = fill.as_ref().map_or(Ok(" "), |f| text(f, name))?;
            justify(s, name, width_of(width.as_ref(), name)?, fill)?
        }
        "zfill" => {
            let [width] = arguments.bind(name, [""])?;
            zfill(s, width_of(width.as_ref(), name)?)?
        }
        "expandtabs" => {
            let [size] = arguments.bind(name, ["tabsize"])?;
            expand_tabs(s, int(size.as_ref(), name)?.unwrap_or(8))?
        }
        "format" => {
            let mut named = Dict::default();
            for (name, value) in arguments.named {
                named.set(&name, value);
            }
            Value::from(format::format(s, &arguments.positional, &named)?)
        }
        "format_map" => {
            let [map] = arguments.bind(name, [""])?;
            let Some(Value::Dict(dict)) = map else { return Err(Failure::new("`format_map` wants a dict")) };
            Value::from(format::format(s, &[], &dict)?)
        }
        _ => return Err(Failure::new(format!("the method `{name}` of strings is not supported"))),
    })
}

fn width_of(width: Option<&Value>, name: &str) -> Result<usize> {
    let width = int(width, name)?.ok_or_else(|| Failure::new(format!("`{name}` needs a width")))?;
    fits(usize::try_from(width.max(0)).unwrap_or(usize::MAX))
}

/// Strip white space, or the characters that are given, at the ends that the name says.
fn strip(of: &Text, name: &str, chars: Option<&Value>) -> Result<Value> {
    let chars = match chars {
        None | Some(Value::None) => None,
        Some(chars) => Some(text(chars, name)?),
    };
    let drop = |c: char| chars.map_or_else(|| space(c), |chars| chars.contains(c));
    let whole: &str = of;
    spend((whole.len() / 64).saturating_mul(chars.map_or(1, str::len)))?;
    let rest = match name {
        "lstrip" => whole.trim_start_matches(drop),
        "rstrip" => whole.trim_end_matches(drop),
        _ => whole.trim_matches(drop),
    };
    // Most texts have nothing to strip, and are long.
    let text: Arc<str> = if rest.len() == whole.len() { of.text.clone() } else { rest.into() };
    Ok(Value::Str(Text { text, html: of.html }))
}

/// A string without white space at its ends, or without the characters that are given.
pub fn trim(of: &Text, chars: Option<&Value>) -> Result<Value> {
    strip(of, "strip", chars)
}

fn split(s: &str, name: &str, arguments: Arguments) -> Result<Value> {
    let [separator, most] = arguments.bind(name, ["sep", "maxsplit"])?;
    let most = int(most.as_ref(), name)?.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
    // One more than may be, so that there are too many.
    let most = most.min(limits::MOST);
    let limit = most.saturating_add(1);
    let parts: Vec<&str> = match separator {
        None | Some(Value::None) => words(s, most, name == "rsplit"),
        Some(separator) => {
            let separator = text(&separator, name)?;
            if separator.is_empty() {
                return Err(Failure::new(format!("`{name}` got an empty separator")));
            }
            if name == "rsplit" {
                let mut parts: Vec<&str> = s.rsplitn(limit, separator).collect();
                parts.reverse();
                parts
            } else {
                s.splitn(limit, separator).collect()
            }
        }
    };
    limits::items(parts.len())?;
    Ok(Value::list(parts.into_iter().map(Value::from).collect()))
}

/// Words between white space; after so many splits, what is left as it is, without white space at the end cut.
#[allow(clippy::fn_params_excessive_bools, reason = "one bool")]
fn words(s: &str, most: usize, from_end: bool) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = if from_end { s.trim_end_matches(space) } else { s.trim_start_matches(space) };
    while !rest.is_empty() && parts.len() < most {
        let cut = if from_end { rest.rfind(space) } else { rest.find(space) };
        let Some(cut) = cut else { break };
        if from_end {
            let width = rest[cut..].chars().next().map_or(1, char::len_utf8);
            parts.push(&rest[cut + width..]);
            rest = rest[..cut].trim_end_matches(space);
        } else {
            parts.push(&rest[..cut]);
            rest = rest[cut..].trim_start_matches(space);
        }
    }
    let last = if from_end { rest.trim_start_matches(space) } else { rest };
    if !rest.is_empty() {
        // Only where no split was left does white space at the far end stay.
        let kept = if parts.len() < most { last.trim_matches(space) } else { rest };
        if !kept.is_empty() {
            parts.push(kept);
        }
    }
    if from_end {
        parts.reverse();
    }
    parts
}

/// Lines without and with their ends.
pub fn lines(s: &str) -> Result<Vec<(&str, &str)>> {
    let ends =
        |c: char| matches!(c, '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut found = Vec::new();
    let mut rest = s;
    while let Some(at) = rest.find(ends) {
        let width =
            if rest[at..].starts_with("\r\n") { 2 } else { rest[at..].chars().next().map_or(1, char::len_utf8) };
        limits::another(found.len())?;
        found.push((&rest[..at], &rest[..at + width]));
        rest = &rest[at + width..];
    }
    if !rest.is_empty() {
        found.push((rest, rest));
    }
    Ok(found)
}

/// The part of `s` between two bounds that count characters, and how many characters stand before it; `None` where the
/// first bound is behind the end or the second.
fn part(s: &str, start: Option<i128>, stop: Option<i128>) -> Option<(&str, usize)> {
    let length = s.chars().count();
    if start.is_some_and(|start| start > i128::try_from(length).unwrap_or(i128::MAX)) {
        return None;
    }
    let (from, to) = limits(length, start, stop);
    if from > to {
        return None;
    }
    let byte = |index: usize| s.char_indices().nth(index).map_or(s.len(), |(at, _)| at);
    Some((&s[byte(from)..byte(to)], from))
}

fn affix(s: &str, name: &str, arguments: Arguments) -> Result<Value> {
    let [affix, start, stop] = arguments.bind(name, ["", "", ""])?;
    let affix = required(affix, name)?;
    let (start, stop) = (int_or_none(start.as_ref(), name)?, int_or_none(stop.as_ref(), name)?);
    let part = if start.is_none() && stop.is_none() { Some((s, 0)) } else { part(s, start, stop) };
    let is = |affix: &Value| -> Result<bool> {
        let affix = text(affix, name)?;
        Ok(part.is_some_and(|(p, _)| if name == "startswith" { p.starts_with(affix) } else { p.ends_with(affix) }))
    };
    match &affix {
        Value::Tuple(affixes) => {
            for affix in affixes.iter() {
                if is(affix)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        affix => is(affix).map(Value::Bool),
    }
}

/// `s` with `old` replaced, so many times at most.
pub fn replace(s: &str, old: &str, new: &str, count: Option<i128>) -> Result<Value> {
    let count = count.and_then(|n| usize::try_from(n).ok());
    let places = if old.is_empty() { s.len() + 1 } else { s.matches(old).take(count.unwrap_or(usize::MAX)).count() };
    limits::spell(s)?;
    spend(places)?;
    fits(s.len().saturating_add(places.saturating_mul(new.len())))?;
    Ok(Value::from(match count {
        Some(count) => s.replacen(old, new, count),
        None => s.replace(old, new),
    }))
}

fn find(s: &str, name: &str, arguments: Arguments) -> Result<Value> {
    let [wanted, start, stop] = arguments.bind(name, ["", "", ""])?;
    let wanted = required(wanted, name)?;
    let wanted = text(&wanted, name)?;
    let part = part(s, int_or_none(start.as_ref(), name)?, int_or_none(stop.as_ref(), name)?);
    if name == "count" {
        let count = part.map_or(0, |(p, _)| p.matches(wanted).count());
        return Ok(Value::from(count));
    }
    let found = part.and_then(|(part, before)| {
        let at = if name.starts_with('r') { part.rfind(wanted) } else { part.find(wanted) };
        at.map(|at| before + part[..at].chars().count())
    });
    match found {
        Some(at) => Ok(Value::from(at)),
        None if name.ends_with("find") => Ok(Value::Int(-1)),
        None => Err(Failure::new(format!("`{name}` did not find its substring"))),
    }
}

fn partition(s: &str, name: &str, arguments: Arguments) -> Result<Value> {
    let [separator] = arguments.bind(name, [""])?;
    let separator = required(separator, name)?;
    let separator = text(&separator, name)?;
    if separator.is_empty() {
        return Err(Failure::new(format!("`{name}` got an empty separator")));
    }
    let parts = match (name, s.split_once(separator), s.rsplit_once(separator)) {
        ("partition", Some((before, after)), _) | ("rpartition", _, Some((before, after))) => {
            [before, separator, after]
        }
        ("partition", ..) => [s, "", ""],
        _ => ["", "", s],
    };
    Ok(Value::tuple(parts.map(Value::from).to_vec()))
}

fn join(separator: &str, items: &Value) -> Result<Value> {
    let items = items.items()?;
    let mut out = String::new();
    for (i, item) in items.iter().enumerate() {
        let Value::Str(item) = item else {
            return Err(Failure::new(format!("`join` needs strings, and item {i} is {:?}", Class(item))));
        };
        fits(out.len() + separator.len() + item.len())?;
        out.push_str(if i > 0 { separator } else { "" });
        out.push_str(item);
    }
    Ok(Value::from(out))
}

/// `s` with `fill` around it, to a width.
pub fn justify(s: &str, name: &str, width: usize, fill: &str) -> Result<Value> {
    if fill.chars().count() != 1 {
        return Err(Failure::new(format!("`{name}` fills with one character")));
    }
    let missing = width.saturating_sub(s.chars().count());
    let left = match name {
        "ljust" => 0,
        "rjust" => missing,
        // Python's own way to share an odd number.
        _ => missing / 2 + (missing & width & 1),
    };
    Ok(Value::from(format!("{}{s}{}", fill.repeat(left), fill.repeat(missing - left))))
}

fn zfill(s: &str, width: usize) -> Result<Value> {
    let missing = fits(width)?.saturating_sub(s.chars().count());
    let (sign, digits) = s.split_at(usize::from(s.starts_with(['+', '-'])));
    Ok(Value::from(format!("{sign}{}{digits}", "0".repeat(missing))))
}

fn expand_tabs(s: &str, size: i128) -> Result<Value> {
    let size = fits(usize::try_from(size.max(0)).unwrap_or(usize::MAX))?;
    let (mut out, mut column) = (String::new(), 0);
    for c in s.chars() {
        if c == '\t' {
            let missing = if size == 0 { 0 } else { size - column % size };
            fits(out.len() + missing)?;
            out.push_str(&" ".repeat(missing));
            column += missing;
        } else {
            out.push(c);
            column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
        }
    }
    Ok(Value::from(out))
}

/// One character as the first of a title.
fn title_case(c: char) -> String {
    match c {
        'Ǆ' | 'ǅ' | 'ǆ' => return "ǅ".into(),
        'Ǉ' | 'ǈ' | 'ǉ' => return "ǈ".into(),
        'Ǌ' | 'ǋ' | 'ǌ' => return "ǋ".into(),
        'Ǳ' | 'ǲ' | 'ǳ' => return "ǲ".into(),
        _ => {}
    }
    let mut upper = c.to_uppercase();
    let first = upper.next().into_iter();
    first.chain(upper.flat_map(char::to_lowercase)).collect()
}

/// The first character as that of a title, the others small.
pub fn capitalize(s: &str) -> String {
    let lower = s.to_lowercase();
    match s.chars().next() {
        // A small form may have another length than the character it came from.
        Some(first) => title_case(first) + &lower[first.to_lowercase().map(char::len_utf8).sum::<usize>()..],
        None => String::new(),
    }
}

fn cased(c: char) -> bool {
    c.is_uppercase() || c.is_lowercase() || matches!(c, 'ǅ' | 'ǈ' | 'ǋ' | 'ǲ')
}

fn title(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    let mut inside = false;
    for c in s.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.push_str(&title_case(c));
        }
        inside = cased(c);
    }
    out
}

fn swapcase(s: &str) -> String {
    let swap =
        |c: char| -> String { if c.is_uppercase() { c.to_lowercase().collect() } else { c.to_uppercase().collect() } };
    s.chars().map(swap).collect()
}

/// Whether there are letters with case, and all are small.
pub fn is_lower(s: &str) -> bool {
    s.chars().any(char::is_lowercase) && !s.chars().any(|c| cased(c) && !c.is_lowercase())
}

/// Whether there are letters with case, and all are capital.
pub fn is_upper(s: &str) -> bool {
    s.chars().any(char::is_uppercase) && !s.chars().any(|c| cased(c) && !c.is_uppercase())
}

fn identifier(s: &str) -> bool {
    let mut chars = s.chars();
    chars.next().is_some_and(|c| c == '_' || c.is_alphabetic()) && chars.all(|c| c == '_' || c.is_alphanumeric())
}
