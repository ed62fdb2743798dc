//! Filters of lists and of what can be gone through.

use std::cmp::Ordering;

use super::{
    arguments::{Arguments, int, required, text},
    failure::{Failure, Result},
    limits::{self, fits},
    operators::{self, compare},
    order::sort,
    path::Path,
    syntax::Operator,
    text::{string, write_str},
    value::{Class, Text, Value, equal, hashable},
};

/// What such a filter makes of a value.
pub fn apply(name: &str, value: &Value, arguments: Arguments) -> Result<Value> {
    match name {
        "join" => join(value, arguments),
        "list" => arguments.none(name).and_then(|()| value.items()).map(Value::list),
        "first" => arguments.none(name).and_then(|()| first(value)),
        "last" => arguments.none(name).and_then(|()| last(value)),
        "sum" => sum(value, arguments),
        "min" | "max" => extreme(name, value, arguments),
        "sort" => sorted(value, arguments),
        "dictsort" => dict_sorted(value, arguments),
        "unique" => unique(value, arguments),
        "reverse" => {
            arguments.none(name)?;
            match value {
                Value::Str(text) => {
                    let text = Text { text: text.chars().rev().collect::<String>().into(), html: text.html };
                    Ok(Value::Str(text))
                }
                // `reversed` takes no undefined value apart: it has no items.
                _ => value.items().map(|items| Value::generator(items.into_iter().rev())),
            }
        }
        "groupby" => group_by(value, arguments),
        "batch" => batch(value, arguments),
        _ => slice(value, arguments),
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
        Value::Generator(left) => left.next(),
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
        // Comparing with all that was seen cannot fail, and may have used up the steps.
        limits::spend(1)?;
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
    let count = limits::items(count.ok_or_else(|| Failure::new("`batch` needs a number above 0"))?)?;
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
    let count = limits::items(count.ok_or_else(|| Failure::new("`slice` needs a number above 0"))?)?;
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
