//! A file of settings as plain keys and values, which can be hashed and compared: `train.learning_rate`, `source[web].license`.

use std::collections::BTreeMap;

use toml::Value;

/// Keys and values.
pub type Flat = BTreeMap<String, String>;

/// Everything in `value` but for what `free` says: it is asked with keys without the labels of the tables that they pass through.
/// What is in a table `recipe` is as if it stood outside.
pub fn flat(value: &Value, free: &dyn Fn(&str) -> bool) -> Flat {
    let mut found = Flat::new();
    flatten("", "", value, free, &mut found);
    found
}

/// `kind` is `key` without the labels.
fn flatten(key: &str, kind: &str, value: &Value, free: &dyn Fn(&str) -> bool, found: &mut Flat) {
    if free(kind) {
        return;
    }
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                if kind.is_empty() && name == "recipe" {
                    flatten("", "", value, free, found);
                } else {
                    let under =
                        |parent: &str| if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
                    flatten(&under(key), &under(kind), value, free, found);
                }
            }
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            let labels: Vec<String> = items.iter().enumerate().map(|(i, item)| label(i, item)).collect();
            // The order counts, too: it decides the order of the rows.
            found.insert(format!("{key}[]"), labels.join(", "));
            for (i, item) in items.iter().enumerate() {
                // Two folders may hold builds of the same name.
                let twice = labels[..i].iter().filter(|l| **l == labels[i]).count();
                let nth = if twice > 0 { format!(" {}", twice + 1) } else { String::new() };
                flatten(&format!("{key}[{}{nth}]", labels[i]), &format!("{kind}[]"), item, free, found);
            }
        }
        value => {
            found.insert(key.to_owned(), scalar(value));
        }
    }
}

fn label(i: usize, item: &Value) -> String {
    let name = ["name", "file", "as", "rule"].iter().find_map(|k| item.get(k)?.as_str());
    name.map_or_else(|| i.to_string(), str::to_owned)
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // Debug has an exponent for small numbers, and every digit that counts.
        Value::Float(number) => format!("{number:?}"),
        Value::Array(items) => format!("[{}]", items.iter().map(scalar).collect::<Vec<_>>().join(", ")),
        value => value.to_string(),
    }
}

/// Keys whose values differ, with both, for people.
pub fn differing(before: &Flat, after: &Flat) -> Vec<(String, [String; 2])> {
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    let shown = |flat: &Flat, key: &str| flat.get(key).map_or_else(|| "none".to_owned(), |value| short(value));
    let differ = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    differ.map(|key| (key.clone(), [shown(before, key), shown(after, key)])).collect()
}

/// A hash by its first digits, nothing as `none`; everything else as it is.
pub fn short(value: &str) -> String {
    match value {
        "" => "none".to_owned(),
        hash if hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => hash[..12].to_owned(),
        value => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_a_list_are_known_by_their_names() {
        let value: Value = "seed = 1\n[[filter]]\nrule = 'length'\nmin = 3\n[[filter]]\nrule = 'length'\nas = 'long'\n\
                            [[filter]]\nrule = 'length'\n[recipe.split]\nvalidation = 0.1\n"
            .parse::<toml::Table>()
            .unwrap_or_else(|e| panic!("{e}"))
            .into();
        let found = flat(&value, &|kind| kind == "seed");
        let expected = [
            ("filter[]", "length, long, length"),
            ("filter[length 2].rule", "length"),
            ("filter[length].min", "3"),
            ("filter[length].rule", "length"),
            ("filter[long].as", "long"),
            ("filter[long].rule", "length"),
            ("split.validation", "0.1"),
        ];
        assert_eq!(found, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        let mut after = found.clone();
        after.remove("filter[length].min");
        after.insert("split.validation".into(), "ab".repeat(32));
        let differ = differing(&found, &after);
        let told: Vec<String> = differ.iter().map(|(key, [a, b])| format!("{key}: {a} -> {b}")).collect();
        assert_eq!(told, ["filter[length].min: 3 -> none", "split.validation: 0.1 -> abababababab"]);
    }
}
