//! The keys of a TOML table, out of the JSON Schema of the struct that reads it.

use serde_json::{Map, Value};

/// A table of a recipe, or the settings of a rule.
pub struct Table {
    /// Its head in a recipe, `[dedup]` or `[[source]]`; empty for the keys above all tables.
    pub head: String,
    /// What it is for.
    pub about: String,
    /// Its keys.
    pub keys: Vec<Key>,
}

/// One key.
pub struct Key {
    /// Its name.
    pub name: String,
    /// What it takes.
    pub kind: String,
    /// Its value where a recipe says nothing, as TOML: `None` for none.
    pub default: Option<String>,
    /// Whether it has to be given.
    pub required: bool,
    /// What it means.
    pub about: String,
    /// The values that it may have, and what each means, where they can be listed.
    pub values: Vec<(String, String)>,
}

/// The keys of `schema`, then those of every table in it, depth first.
pub fn tables(schema: &Value) -> Vec<Table> {
    let mut tables = Vec::new();
    add(schema, schema, "", &mut tables);
    tables
}

fn add(root: &Value, schema: &Value, path: &str, tables: &mut Vec<Table>) {
    let schema = resolve(root, schema);
    let required: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let at = tables.len();
    let mut keys = Vec::new();
    for (name, property) in properties(schema) {
        let inner = resolve(root, property);
        let element = resolve(root, &inner["items"]);
        let below = |open: &str, close: &str| format!("{open}{path}{name}{close}");
        if !properties(inner).is_empty() {
            let head = tables.len();
            add(root, inner, &below("", "."), tables);
            described(&mut tables[head], below("[", "]"), property);
        } else if !properties(element).is_empty() && is_spelled_out(element) {
            let head = tables.len();
            add(root, element, &below("", "."), tables);
            described(&mut tables[head], below("[[", "]]"), property);
        } else if element["type"] == "object" && properties(element).is_empty() {
            tables.push(Table { head: below("[[", "]]"), about: about(property), keys: Vec::new() });
        } else {
            keys.push(key(root, name, property, required.contains(&name.as_str())));
        }
    }
    // A table's own keys come before the tables in it, as TOML has them.
    tables.insert(at, Table { head: String::new(), about: about(schema), keys });
}

/// Whether the elements of a list are tables that a recipe gives a head of their own: such have many keys.
fn is_spelled_out(element: &Value) -> bool {
    properties(element).len() > 2
}

/// What the key says of a table counts for more than what the table says of itself.
fn described(table: &mut Table, head: String, property: &Value) {
    table.head = head;
    let said = about(property);
    if !said.is_empty() {
        table.about = said;
    }
}

fn properties(schema: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    schema["properties"].as_object().unwrap_or(&NONE)
}

/// What a schema stands for: the definition that it names, the one that is not null of two.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix("#/$defs/")) {
        return resolve(root, &root["$defs"][name]);
    }
    let some = schema["anyOf"].as_array().and_then(|any| any.iter().find(|s| s["type"] != "null"));
    some.map_or(schema, |some| resolve(root, some))
}

/// One property.
fn key(root: &Value, name: &str, property: &Value, required: bool) -> Key {
    let default = Some(&property["default"]).filter(|d| !d.is_null());
    Key {
        name: name.to_owned(),
        kind: kind(root, property),
        default: default.and_then(|d| toml::Value::try_from(d).ok()).map(|d| d.to_string()),
        required,
        about: about(property),
        values: values(resolve(root, property)),
    }
}

/// What a value is, in words.
fn kind(root: &Value, schema: &Value) -> String {
    let schema = resolve(root, schema);
    let values = values(schema);
    if !values.is_empty() {
        let quoted: Vec<String> = values.iter().map(|(value, _)| format!("`{value}`")).collect();
        return format!("one of {}", quoted.join(", "));
    }
    let type_ = match &schema["type"] {
        Value::Array(types) => types.iter().filter_map(Value::as_str).find(|t| *t != "null").unwrap_or_default(),
        other => other.as_str().unwrap_or_default(),
    };
    match type_ {
        "string" => "text".into(),
        "boolean" => "true or false".into(),
        "integer" => "whole number".into(),
        "number" => "number".into(),
        "array" => {
            let count = schema["minItems"].as_u64().filter(|n| schema["maxItems"].as_u64() == Some(*n));
            let count = count.map_or_else(String::new, |n| format!("{n} "));
            format!("list of {count}{}", plural(&kind(root, &schema["items"])))
        }
        "object" if !properties(schema).is_empty() => {
            let names: Vec<&str> = properties(schema).keys().map(String::as_str).collect();
            format!("{{ {} }}", names.join(", "))
        }
        "object" if schema["additionalProperties"].is_object() => {
            format!("table of {}", plural(&kind(root, &schema["additionalProperties"])))
        }
        _ => "table".into(),
    }
}

fn plural(kind: &str) -> String {
    match kind {
        "text" | "number" | "whole number" | "table" => format!("{kind}s"),
        _ => kind.to_owned(),
    }
}

/// The values of an enumeration: those with a description stand in `oneOf`, those without in `enum`.
fn values(schema: &Value) -> Vec<(String, String)> {
    let mut values = Vec::new();
    for value in schema["enum"].as_array().into_iter().flatten() {
        values.push((value.as_str().unwrap_or_default().to_owned(), String::new()));
    }
    for variant in schema["oneOf"].as_array().into_iter().flatten() {
        match variant["const"].as_str() {
            Some(value) => values.push((value.to_owned(), about(variant))),
            None => values.extend(self::values(variant)),
        }
    }
    values
}

/// A schema's description, on one line.
fn about(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}
