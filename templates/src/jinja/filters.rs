//! The filters of jinja2, with `tojson` as transformers has it.
//! Source: <https://jinja.palletsprojects.com/en/stable/templates/#list-of-builtin-filters>

use super::{
    arguments::{Arguments, int, required, text},
    attributes,
    failure::{Failure, Result},
    json::{Ascii, Keys, Style, dumps},
    limits::{deeper, fits},
    list_filters, number_filters,
    path::Path,
    tests, text_filters,
    value::{Class, Value},
};

/// What a filter makes of a value.
pub fn apply(name: &str, value: &Value, arguments: Arguments) -> Result<Value> {
    match name {
        "tojson" => to_json(value, arguments),
        "length" | "count" => {
            arguments.none(name)?;
            value.length().map(Value::from).ok_or_else(|| Failure::new(format!("a {:?} has no length", Class(value))))
        }
        "default" | "d" => {
            let [default, boolean] = arguments.bind(name, ["default_value", "boolean"])?;
            let missing = value.is_undefined() || (boolean.is_some_and(|b| b.truth()) && !value.truth());
            Ok(if missing { default.unwrap_or_else(|| Value::from("")) } else { value.clone() })
        }
        "items" => items(value, arguments),
        "map" => map(value, arguments),
        "select" | "reject" | "selectattr" | "rejectattr" => select(name, value, arguments),
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
        "trim" | "string" | "safe" | "escape" | "e" | "forceescape" | "upper" | "lower" | "capitalize" | "title"
        | "replace" | "indent" | "format" | "center" | "wordcount" | "truncate" | "urlencode" => {
            text_filters::apply(name, value, arguments)
        }
        "int" | "float" | "abs" | "round" => number_filters::apply(name, value, arguments),
        "join" | "list" | "first" | "last" | "sum" | "min" | "max" | "sort" | "dictsort" | "unique" | "reverse"
        | "groupby" | "batch" | "slice" => list_filters::apply(name, value, arguments),
        "filesizeformat" | "pprint" | "random" | "striptags" | "urlize" | "wordwrap" | "xmlattr" => {
            Err(Failure::new(format!("the filter `{name}` is not supported")))
        }
        _ => Err(Failure::new(format!("no filter is called `{name}`"))),
    }
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
        deeper(|| apply(name, &item, arguments))
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
