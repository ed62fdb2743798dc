//! The filters of jinja2, with `tojson` as transformers has it.
//! Source: <https://jinja.palletsprojects.com/en/stable/templates/#list-of-builtin-filters>

use std::cmp::Ordering;

use super::{
    arguments::{Arguments, int, int_or_none, required, text},
    attributes,
    failure::{Failure, Result},
    json::{Ascii, Keys, Style, dumps},
    lexer::space,
    operators::{self, compare, escape},
    order::sort,
    percent,
    size::fits,
    str_methods,
    syntax::Operator,
    tests,
    text::{string, write_str},
    value::{Class, Dict, Html, Text, Value, equal, hashable, whole},
};

/// What a filter makes of a value.
pub fn apply(name: &str, value: &Value, arguments: Arguments) -> Result<Value> {
    match name {
        "trim" => {
            let [chars] = arguments.bind(name, ["chars"])?;
            str_methods::trim(&soft(value)?, chars.as_ref())
        }
        "tojson" => to_json(value, arguments),
        "length" | "count" => {
            arguments.none(name)?;
            value.length().map(Value::from).ok_or_else(|| Failure::new(format!("a {:?} has no length", Class(value))))
        }
        "string" => arguments.none(name).and_then(|()| soft(value)).map(Value::Str),
        "default" | "d" => {
            let [default, boolean] = arguments.bind(name, ["default_value", "boolean"])?;
            let missing = value.is_undefined() || (boolean.is_some_and(|b| b.truth()) && !value.truth());
            Ok(if missing { default.unwrap_or_else(|| Value::from("")) } else { value.clone() })
        }
        "safe" => arguments.none(name).and_then(|()| string(value)).map(Value::markup),
        "escape" | "e" => arguments.none(name).and_then(|()| soft(value)).map(|text| Value::markup(escape(&text))),
        "forceescape" => {
            arguments.none(name)?;
            Ok(Value::markup(escape(&Text { text: string(value)?.into(), html: Html::Plain })))
        }
        "upper" | "lower" => {
            arguments.none(name)?;
            str_methods::call(&soft(value)?, name, Arguments::default())
        }
        "capitalize" => {
            arguments.none(name).and_then(|()| soft(value)).map(|text| made(&text, str_methods::capitalize(&text)))
        }
        "title" => arguments.none(name).and_then(|()| soft(value)).map(|text| made(&text, title(&text))),
        "items" => items(value, arguments),
        "join" => join(value, arguments),
        "list" => arguments.none(name).and_then(|()| value.items()).map(Value::list),
        "first" => arguments.none(name).and_then(|()| first(value)),
        "last" => arguments.none(name).and_then(|()| last(value)),
        "replace" => {
            let [old, new, count] = arguments.bind(name, ["old", "new", "count"])?;
            let (old, new) = (string(&required(old, name)?)?, string(&required(new, name)?)?);
            str_methods::replace(&string(value)?, &old, &new, int_or_none(count.as_ref(), name)?)
        }
        "indent" => indent(value, arguments),
        "map" => map(value, arguments),
        "select" | "reject" | "selectattr" | "rejectattr" => select(name, value, arguments),
        "int" => to_int(value, arguments),
        "float" => {
            let [default] = arguments.bind(name, ["default"])?;
            Ok(to_float(value)?.map(Value::Float).unwrap_or(default.unwrap_or(Value::Float(0.0))))
        }
        "abs" => {
            arguments.none(name)?;
            match operators::positive(value)? {
                Value::Float(f) => Ok(Value::Float(f.abs())),
                Value::Int(i) if i < 0 => operators::negative(&Value::Int(i)),
                other => Ok(other),
            }
        }
        "round" => round(value, arguments),
        "sum" => sum(value, arguments),
        "min" | "max" => extreme(name, value, arguments),
        "sort" => sorted(value, arguments),
        "dictsort" => dict_sorted(value, arguments),
        "unique" => unique(value, arguments),
        "reverse" => {
            arguments.none(name)?;
            match value {
                Value::Str(text) => Ok(made(text, text.chars().rev().collect())),
                // `reversed` takes no undefined value apart: it has no items.
                _ => value.items().map(|items| Value::generator(items.into_iter().rev())),
            }
        }
        "groupby" => group_by(value, arguments),
        "batch" => batch(value, arguments),
        "slice" => slice(value, arguments),
        "attr" => {
            let [attribute] = arguments.bind(name, ["name"])?;
            let attribute = required(attribute, name)?;
            let attribute = text(&attribute, name)?;
            // Only what is an attribute in Python: a key of a dict is none.
            let keyed = matches!(value, Value::Dict(dict) if dict.named(attribute).is_some());
            let found = attributes::attribute(value, attribute)?;
            Ok(if keyed && !matches!(found, Value::Method(..)) {
                Value::undefined("a dict has no such attribute")
            } else {
                found
            })
        }
        "format" => {
            let format = soft(value)?;
            if !arguments.positional.is_empty() && !arguments.named.is_empty() {
                return Err(Failure::new("`format` takes arguments with names or without, not both"));
            }
            let values = if arguments.named.is_empty() {
                Value::tuple(arguments.positional)
            } else {
                let mut named = Dict::default();
                for (name, value) in arguments.named {
                    named.set(&name, value);
                }
                Value::dict(named)
            };
            percent::format(&format, &values).map(Value::from)
        }
        "center" => {
            let [width] = arguments.bind(name, ["width"])?;
            let width = int(width.as_ref(), name)?.unwrap_or(80);
            let width = fits(usize::try_from(width.max(0)).unwrap_or(usize::MAX))?;
            str_methods::justify(&soft(value)?, name, width, " ")
        }
        "wordcount" => {
            arguments.none(name)?;
            let words = |c: char| c != '_' && !c.is_alphanumeric();
            Ok(Value::from(soft(value)?.split(words).filter(|w| !w.is_empty()).count()))
        }
        "truncate" => truncate(value, arguments),
        "urlencode" => url_encode(value, arguments),
        "filesizeformat" | "pprint" | "random" | "striptags" | "urlize" | "wordwrap" | "xmlattr" => {
            Err(Failure::new(format!("the filter `{name}` is not supported")))
        }
        _ => Err(Failure::new(format!("no filter is called `{name}`"))),
    }
}

/// A value as a string; a string stays what it is.
fn soft(value: &Value) -> Result<Text> {
    match value {
        Value::Str(text) => Ok(text.clone()),
        _ => Ok(Text { text: string(value)?.into(), html: Html::Plain }),
    }
}

/// A string made of another.
fn made(of: &Text, text: String) -> Value {
    Value::Str(Text { text: text.into(), html: of.html })
}

/// Each word begins with a capital, and words begin behind white space, hyphens and opening brackets.
fn title(text: &str) -> String {
    let begins = |c: char| space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let gap = rest.find(|c| !begins(c)).unwrap_or(rest.len());
        out.push_str(&rest[..gap]);
        rest = &rest[gap..];
        let end = rest.find(begins).unwrap_or(rest.len());
        let mut word = rest[..end].chars();
        if let Some(first) = word.next() {
            out.extend(first.to_uppercase());
            out.push_str(&word.as_str().to_lowercase());
        }
        rest = &rest[end..];
    }
    out
}

fn to_json(value: &Value, arguments: Arguments) -> Result<Value> {
    let [ascii, indent, separators, sort_keys] =
        arguments.bind("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])?;
    let truth = |value: Option<Value>| value.is_some_and(|v| v.truth());
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Str(text)) => Some(text.to_string()),
        Some(width) => {
            let width = int(Some(&width), "tojson")?.unwrap_or(0).max(0);
            Some(" ".repeat(fits(usize::try_from(width).unwrap_or(usize::MAX))?))
        }
    };
    let (item_separator, key_separator) = match separators {
        None | Some(Value::None) => (if indent.is_some() { "," } else { ", " }.into(), ": ".into()),
        Some(pair) => {
            let pair = pair.items()?;
            let [item, key] = &pair[..] else { return Err(Failure::new("`tojson` takes two separators")) };
            (text(item, "tojson")?.to_owned(), text(key, "tojson")?.to_owned())
        }
    };
    let style = Style {
        ascii: if truth(ascii) { Ascii::Only } else { Ascii::Any },
        indent,
        item_separator,
        key_separator,
        keys: if truth(sort_keys) { Keys::Sorted } else { Keys::AsTheyCame },
    };
    dumps(value, &style).map(Value::from)
}

fn items(value: &Value, arguments: Arguments) -> Result<Value> {
    arguments.none("items")?;
    match value {
        Value::Undefined(_) => Ok(Value::generator([])),
        Value::Dict(dict) => {
            Ok(Value::generator(dict.entries().iter().map(|(k, v)| Value::tuple(vec![k.clone(), v.clone()]))))
        }
        // jinja2 says so where the pairs are asked for, which is nearly always.
        _ => Err(Failure::new(format!("only a mapping has items, not {:?}", Class(value)))),
    }
}

fn join(value: &Value, arguments: Arguments) -> Result<Value> {
    let [separator, attribute] = arguments.bind("join", ["d", "attribute"])?;
    let separator = separator.map_or(Ok(String::new()), |d| string(&d))?;
    let path = Path::new(attribute.as_ref());
    let mut out = String::new();
    for (i, item) in value.items()?.iter().enumerate() {
        out.push_str(if i > 0 { &separator } else { "" });
        write_str(&path.of(item)?, &mut out)?;
        fits(out.len())?;
    }
    Ok(Value::from(out))
}

fn first(value: &Value) -> Result<Value> {
    let found = match value {
        Value::Generator(left) => left.borrow_mut().pop_front(),
        _ => value.items()?.into_iter().next(),
    };
    Ok(found.unwrap_or_else(|| Value::undefined("no first item: there is none")))
}

fn last(value: &Value) -> Result<Value> {
    if matches!(value, Value::Generator(_)) {
        return Err(Failure::new("a generator cannot be gone through from its end"));
    }
    Ok(value.items()?.pop().unwrap_or_else(|| Value::undefined("no last item: there is none")))
}

fn indent(value: &Value, arguments: Arguments) -> Result<Value> {
    let [width, first, blank] = arguments.bind("indent", ["width", "first", "blank"])?;
    let Value::Str(text) = value else {
        return Err(value
            .missing()
            .unwrap_or_else(|| Failure::new(format!("`indent` wants a string, not {:?}", Class(value)))));
    };
    let indentation = match width {
        Some(Value::Str(text)) => text.to_string(),
        width => {
            let width = int(width.as_ref(), "indent")?.unwrap_or(4).max(0);
            " ".repeat(fits(usize::try_from(width).unwrap_or(usize::MAX))?)
        }
    };
    let truth = |value: Option<Value>| value.is_some_and(|v| v.truth());
    let (first, blank) = (truth(first), truth(blank));
    let ended = format!("{}\n", &**text);
    let lines = str_methods::lines(&ended);
    fits(ended.len().saturating_add(lines.len().saturating_mul(indentation.len())))?;
    let mut out = String::new();
    for (i, (line, _)) in lines.iter().enumerate() {
        out.push_str(if i > 0 { "\n" } else { "" });
        if if i == 0 { first } else { blank || !line.is_empty() } {
            out.push_str(&indentation);
        }
        out.push_str(line);
    }
    Ok(made(text, out))
}

/// `attribute` of a filter: names and indices with dots between.
struct Path(Vec<Value>);

impl Path {
    fn new(attribute: Option<&Value>) -> Self {
        match attribute {
            None | Some(Value::None) => Self(Vec::new()),
            Some(Value::Str(text)) => Self(text.split('.').map(Self::part).collect()),
            Some(index) => Self(vec![index.clone()]),
        }
    }

    fn part(part: &str) -> Value {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        part.parse().ok().filter(|_| digits).map_or_else(|| Value::from(part), Value::Int)
    }

    fn of(&self, item: &Value) -> Result<Value> {
        let mut value = item.clone();
        for part in &self.0 {
            value = attributes::item(&value, part)?;
        }
        Ok(value)
    }
}

fn map(value: &Value, mut arguments: Arguments) -> Result<Value> {
    if !value.truth() {
        return Ok(Value::generator([]));
    }
    let named_attribute = arguments.named.iter().any(|(name, _)| **name == *"attribute");
    if arguments.positional.is_empty() && named_attribute {
        let [attribute, default] = arguments.bind("map", ["attribute", "default"])?;
        let path = Path::new(attribute.as_ref());
        let default = default.filter(|d| !matches!(d, Value::None));
        let mapped = value.items()?.into_iter().map(|item| {
            let mut found = item;
            for part in &path.0 {
                found = attributes::item(&found, part)?;
                if let (true, Some(default)) = (found.is_undefined(), &default) {
                    found = default.clone();
                }
            }
            Ok(found)
        });
        return Ok(Value::generator(mapped.collect::<Result<Vec<_>>>()?));
    }
    if arguments.positional.is_empty() {
        return Err(Failure::new("`map` needs a filter"));
    }
    let name = arguments.positional.remove(0);
    let name = text(&name, "map")?;
    let mapped = value.items()?.into_iter().map(|item| {
        let arguments = Arguments { positional: arguments.positional.clone(), named: arguments.named.clone() };
        apply(name, &item, arguments)
    });
    Ok(Value::generator(mapped.collect::<Result<Vec<_>>>()?))
}

fn select(filter: &str, value: &Value, mut arguments: Arguments) -> Result<Value> {
    if !value.truth() {
        return Ok(Value::generator([]));
    }
    let (by_attribute, wanted) = (filter.ends_with("attr"), filter.starts_with("select"));
    let path = if by_attribute {
        if arguments.positional.is_empty() {
            return Err(Failure::new(format!("`{filter}` needs the name of an attribute")));
        }
        Path::new(Some(&arguments.positional.remove(0)))
    } else {
        Path::new(None)
    };
    let test = if arguments.positional.is_empty() { None } else { Some(arguments.positional.remove(0)) };
    let test = test.as_ref().map(|t| text(t, filter)).transpose()?;
    let mut kept = Vec::new();
    for item in value.items()? {
        let looked_at = path.of(&item)?;
        let holds = match test {
            None => looked_at.truth(),
            Some(test) => {
                let arguments = Arguments { positional: arguments.positional.clone(), named: arguments.named.clone() };
                tests::holds(test, &looked_at, arguments)?
            }
        };
        if holds == wanted {
            kept.push(item);
        }
    }
    Ok(Value::generator(kept))
}

/// A string as Python's `int` reads it.
fn parse_int(text: &str, base: u32) -> Option<i128> {
    let text = text.trim_matches(space);
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefix = match base {
        16 => "0x",
        8 => "0o",
        2 => "0b",
        _ => "",
    };
    let bare = lower.strip_prefix(prefix).unwrap_or(&lower);
    let misplaced = bare.starts_with('_') || bare.ends_with('_') || bare.contains("__") || bare.starts_with(['+', '-']);
    if misplaced {
        return None;
    }
    i128::from_str_radix(&bare.replace('_', ""), base).ok()?.checked_mul(sign)
}

/// A string as Python's `float` reads it.
fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(space).to_ascii_lowercase();
    let bare = text.trim_start_matches(['+', '-']);
    let named = ["inf", "infinity", "nan"].contains(&bare);
    let numeric = bare.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !(named || numeric) || text.len() > bare.len() + 1 {
        return None;
    }
    text.replace('_', "").parse().ok()
}

fn to_float(value: &Value) -> Result<Option<f64>> {
    if let Some(failure) = value.missing() {
        return Err(failure);
    }
    Ok(match value {
        Value::Str(text) => parse_float(text),
        _ => value.as_float(),
    })
}

fn to_int(value: &Value, arguments: Arguments) -> Result<Value> {
    let [default, base] = arguments.bind("int", ["default", "base"])?;
    let base = int(base.as_ref(), "int")?.and_then(|b| u32::try_from(b).ok()).unwrap_or(10);
    let read = match value {
        Value::Str(text) if (2..=36).contains(&base) => parse_int(text, base),
        Value::Float(f) if !f.is_finite() => return Err(Failure::new("`int` of a number that has no end")),
        _ => value.as_int(),
    };
    let read = match read {
        Some(read) => Some(read),
        None => to_float(value)?.and_then(|f| whole(f.trunc())),
    };
    Ok(read.map(Value::Int).unwrap_or(default.unwrap_or(Value::Int(0))))
}

fn round(value: &Value, arguments: Arguments) -> Result<Value> {
    let [precision, method] = arguments.bind("round", ["precision", "method"])?;
    let precision = int(precision.as_ref(), "round")?.unwrap_or(0);
    let method = method.unwrap_or_else(|| Value::from("common"));
    let method = text(&method, "round")?;
    let float_value = value.as_float().ok_or_else(|| {
        value.missing().unwrap_or_else(|| Failure::new(format!("`round` wants a number, not {:?}", Class(value))))
    })?;
    let places = i32::try_from(precision).unwrap_or(i32::MAX).clamp(-400, 400);
    match method {
        "common" => match (value.as_int(), places) {
            (Some(i), 0..) => Ok(Value::Int(i)),
            (Some(i), places) => Ok(Value::Int(round_int(i, places.unsigned_abs()))),
            (None, places) => Ok(Value::Float(round_float(float_value, places))),
        },
        "ceil" | "floor" => {
            let scale = 10_f64.powi(places);
            let scaled = float_value * scale;
            let stepped = if method == "ceil" { scaled.ceil() } else { scaled.floor() };
            Ok(Value::Float(stepped / scale))
        }
        _ => Err(Failure::new("`round` knows common, ceil and floor")),
    }
}

/// To a multiple of a power of ten, and to the even one of two that are as near.
fn round_int(i: i128, zeros: u32) -> i128 {
    let Some(unit) = 10_i128.checked_pow(zeros) else { return 0 };
    let (below, rest) = (i.div_euclid(unit), i.rem_euclid(unit));
    let up = match (rest * 2).cmp(&unit) {
        Ordering::Less => false,
        Ordering::Equal => below % 2 != 0,
        Ordering::Greater => true,
    };
    (below + i128::from(up)) * unit
}

/// As Python: to the decimal number that is nearest to the float itself, and of two that are as near to the even one.
fn round_float(f: f64, places: i32) -> f64 {
    if !f.is_finite() {
        return f;
    }
    match usize::try_from(places) {
        // The standard library writes digits exactly, with halves to even.
        Ok(places) => format!("{f:.places$}").parse().unwrap_or(f),
        Err(_) => {
            let scale = 10_f64.powi(-places);
            (f / scale).round_ties_even() * scale
        }
    }
}

fn sum(value: &Value, arguments: Arguments) -> Result<Value> {
    let [attribute, start] = arguments.bind("sum", ["attribute", "start"])?;
    let path = Path::new(attribute.as_ref());
    let start = start.unwrap_or(Value::Int(0));
    if matches!(start, Value::Str(_)) {
        return Err(Failure::new("`sum` adds up no strings"));
    }
    value.items()?.iter().try_fold(start, |sum, item| operators::binary(Operator::Add, &sum, &path.of(item)?))
}

/// What values are ordered by: without case unless `case_sensitive`.
fn key(value: Value, case_sensitive: Option<&Value>) -> Value {
    match value {
        Value::Str(text) if !case_sensitive.is_some_and(Value::truth) => Value::from(text.to_lowercase()),
        other => other,
    }
}

fn extreme(name: &str, value: &Value, arguments: Arguments) -> Result<Value> {
    let [case, attribute] = arguments.bind(name, ["case_sensitive", "attribute"])?;
    let path = Path::new(attribute.as_ref());
    let wanted = if name == "min" { Ordering::Less } else { Ordering::Greater };
    let mut best: Option<(Value, Value)> = None;
    for item in value.items()? {
        let key = key(path.of(&item)?, case.as_ref());
        let better = match &best {
            Some((_, best)) => compare(&key, best)? == Some(wanted),
            None => true,
        };
        if better {
            best = Some((item, key));
        }
    }
    Ok(best.map_or_else(|| Value::undefined("no item: there is none"), |(item, _)| item))
}

/// `(key, item)` in the order of keys; turned round where `reverse` is true, equal ones as they came.
fn by_key(mut keyed: Vec<(Value, Value)>, reverse: Option<&Value>) -> Result<Vec<(Value, Value)>> {
    let reversed = reverse.is_some_and(Value::truth);
    if reversed {
        keyed.reverse();
    }
    let mut keyed = sort(keyed, &|a, b| compare(&a.0, &b.0))?;
    if reversed {
        keyed.reverse();
    }
    Ok(keyed)
}

fn sorted(value: &Value, arguments: Arguments) -> Result<Value> {
    let [reverse, case, attribute] = arguments.bind("sort", ["reverse", "case_sensitive", "attribute"])?;
    let paths: Vec<Path> = match &attribute {
        Some(Value::Str(text)) => text.split(',').map(|part| Path::new(Some(&Value::from(part)))).collect(),
        other => vec![Path::new(other.as_ref())],
    };
    let keyed = value.items()?.into_iter().map(|item| {
        let keys = paths.iter().map(|path| path.of(&item).map(|v| key(v, case.as_ref())));
        Ok((Value::list(keys.collect::<Result<_>>()?), item))
    });
    let keyed = by_key(keyed.collect::<Result<_>>()?, reverse.as_ref())?;
    Ok(Value::list(keyed.into_iter().map(|(_, item)| item).collect()))
}

fn dict_sorted(value: &Value, arguments: Arguments) -> Result<Value> {
    let [case, by, reverse] = arguments.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
    let Value::Dict(dict) = value else {
        return Err(value
            .missing()
            .unwrap_or_else(|| Failure::new(format!("`dictsort` wants a dict, not {:?}", Class(value)))));
    };
    let by = by.unwrap_or_else(|| Value::from("key"));
    let by = text(&by, "dictsort")?;
    if !["key", "value"].contains(&by) {
        return Err(Failure::new("`dictsort` sorts by key or by value"));
    }
    let keyed = dict.entries().iter().map(|(k, v)| {
        let sorted_by = if by == "key" { k } else { v };
        (key(sorted_by.clone(), case.as_ref()), Value::tuple(vec![k.clone(), v.clone()]))
    });
    let keyed = by_key(keyed.collect(), reverse.as_ref())?;
    Ok(Value::list(keyed.into_iter().map(|(_, item)| item).collect()))
}

fn unique(value: &Value, arguments: Arguments) -> Result<Value> {
    let [case, attribute] = arguments.bind("unique", ["case_sensitive", "attribute"])?;
    let path = Path::new(attribute.as_ref());
    let (mut seen, mut kept) = (Vec::new(), Vec::new());
    for item in value.items()? {
        let key = key(path.of(&item)?, case.as_ref());
        hashable(&key)?;
        if !seen.iter().any(|s| equal(s, &key)) {
            seen.push(key);
            kept.push(item);
        }
    }
    Ok(Value::generator(kept))
}

fn group_by(value: &Value, arguments: Arguments) -> Result<Value> {
    let [attribute, default, case] = arguments.bind("groupby", ["attribute", "default", "case_sensitive"])?;
    let path = Path::new(Some(&required(attribute, "groupby")?));
    let found = |item: &Value| -> Result<Value> {
        let found = path.of(item)?;
        Ok(match &default {
            Some(default) if found.is_undefined() => default.clone(),
            _ => found,
        })
    };
    let keyed = value.items()?.into_iter().map(|item| Ok((key(found(&item)?, case.as_ref()), item)));
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for (key, item) in by_key(keyed.collect::<Result<_>>()?, None)? {
        match groups.last_mut() {
            Some((last, items)) if equal(last, &key) => items.push(item),
            _ => groups.push((key, vec![item])),
        }
    }
    let groups = groups.into_iter().map(|(_, items)| {
        let group = vec![found(&items[0])?, Value::list(items)];
        Ok(Value::named_tuple(group, &["grouper", "list"]))
    });
    Ok(Value::list(groups.collect::<Result<_>>()?))
}

fn batch(value: &Value, arguments: Arguments) -> Result<Value> {
    let [count, fill] = arguments.bind("batch", ["linecount", "fill_with"])?;
    let count = int(count.as_ref(), "batch")?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let count = fits(count.ok_or_else(|| Failure::new("`batch` needs a number above 0"))?)?;
    let batches = value.items()?;
    let batches = batches.chunks(count).map(|items| {
        let mut items = items.to_vec();
        if let Some(fill) = fill.as_ref().filter(|f| !matches!(f, Value::None)) {
            items.resize(count, fill.clone());
        }
        Value::list(items)
    });
    Ok(Value::generator(batches.collect::<Vec<_>>()))
}

fn slice(value: &Value, arguments: Arguments) -> Result<Value> {
    let [count, fill] = arguments.bind("slice", ["slices", "fill_with"])?;
    let count = int(count.as_ref(), "slice")?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let count = fits(count.ok_or_else(|| Failure::new("`slice` needs a number above 0"))?)?;
    let items = value.items()?;
    let (each, longer) = (items.len() / count, items.len() % count);
    let mut rest = items.into_iter();
    let slices = (0..count).map(|i| {
        let mut part: Vec<Value> = rest.by_ref().take(each + usize::from(i < longer)).collect();
        if i >= longer {
            part.extend(fill.clone().filter(|f| !matches!(f, Value::None)));
        }
        Value::list(part)
    });
    Ok(Value::generator(slices.collect::<Vec<_>>()))
}

fn truncate(value: &Value, arguments: Arguments) -> Result<Value> {
    let [length, kill, end, leeway] = arguments.bind("truncate", ["length", "killwords", "end", "leeway"])?;
    let Value::Str(whole) = value else {
        return Err(Failure::new(format!("`truncate` wants a string, not {:?}", Class(value))));
    };
    let end = end.unwrap_or_else(|| Value::from("..."));
    let end = text(&end, "truncate")?;
    let (length, leeway) = (int(length.as_ref(), "truncate")?, int_or_none(leeway.as_ref(), "truncate")?);
    let size = |n: i128| usize::try_from(n).map_err(|_| Failure::new("`truncate` wants no negative number"));
    let (length, leeway) = (size(length.unwrap_or(255))?, size(leeway.unwrap_or(5))?);
    let Some(kept) = length.checked_sub(end.chars().count()) else {
        return Err(Failure::new("`truncate`: the end is longer than the length"));
    };
    if whole.chars().count() <= length.saturating_add(leeway) {
        return Ok(value.clone());
    }
    let cut: String = whole.chars().take(kept).collect();
    let cut =
        if kill.is_some_and(|k| k.truth()) { &*cut } else { cut.rsplit_once(' ').map_or(&*cut, |(before, _)| before) };
    Ok(made(whole, format!("{cut}{end}")))
}

fn url_encode(value: &Value, arguments: Arguments) -> Result<Value> {
    arguments.none("urlencode")?;
    let quote = |value: &Value, query: bool| -> Result<String> {
        let mut out = String::new();
        for byte in string(value)?.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push(char::from(byte)),
                b'/' if !query => out.push('/'),
                b' ' if query => out.push('+'),
                _ => out.push_str(&format!("%{byte:02X}")),
            }
        }
        Ok(out)
    };
    if matches!(value, Value::Str(_)) || !value.iterable() {
        return quote(value, false).map(Value::from);
    }
    let pairs = match value {
        Value::Dict(_) => items(value, Arguments::default())?.items()?,
        _ => value.items()?,
    };
    let parts = pairs.iter().map(|pair| {
        let items = pair.items()?;
        let [key, value] = &items[..] else { return Err(Failure::new("`urlencode` needs pairs")) };
        Ok(format!("{}={}", quote(key, true)?, quote(value, true)?))
    });
    Ok(Value::from(parts.collect::<Result<Vec<_>>>()?.join("&")))
}
