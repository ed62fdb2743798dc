//! Tables over tables: what a recipe says over its defaults, one recipe over its base, `--set key=value` over both.
//!
//! A key of `--set` is a path such as `sample.rows`; entries of a list of tables (`[[source]]`, `[[filter]]`) are named by
//! their `name`, `as` or `rule` (`filter.language.threshold`, `source.fauno.weight`) or by 1-based number.

use toml::{Table, Value};

/// Lay `over` on `under`, table by table: what `over` leaves out, at any depth, stays as it is.
pub fn overlay(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(under)), Value::Table(over)) => overlay(under, over),
            (_, value) => drop(under.insert(key, value)),
        }
    }
}

/// Apply one `key=value` to a recipe's table. The value is read as TOML, or else as a string.
///
/// # Errors
/// No `=`, or a path through something that is not a table or names no entry of a list.
pub fn apply_set(table: &mut Table, set: &str) -> Result<(), String> {
    let Some((path, value)) = set.split_once('=') else {
        return Err(format!("--set {set}: write key=value, for instance --set sample.rows=1000"));
    };
    let keys: Vec<&str> = path.trim().split('.').collect();
    assign(table, &keys, parse(value.trim())).map_err(|e| format!("--set {path}: {e}"))
}

fn assign(table: &mut Table, keys: &[&str], value: Value) -> Result<(), String> {
    let [key, rest @ ..] = keys else { return Err("the key is empty".into()) };
    if rest.is_empty() {
        table.insert((*key).to_owned(), value);
        return Ok(());
    }
    if matches!(*key, "filter" | "screen" | "source") && !table.contains_key(*key) {
        return Err(format!("the recipe has no [[{key}]]"));
    }
    match table.entry(*key).or_insert_with(|| Value::Table(Table::new())) {
        Value::Table(inner) => assign(inner, rest, value),
        Value::Array(list) => match rest {
            [name, inner @ ..] if !inner.is_empty() => assign(entry(list, name)?, inner, value),
            _ => Err("name one entry of the list, then its key".into()),
        },
        _ => Err(format!("`{key}` is a value, it has no keys")),
    }
}

fn entry<'a>(list: &'a mut [Value], name: &str) -> Result<&'a mut Table, String> {
    let names: Vec<String> = list.iter().map(entry_name).collect();
    let found = if let Ok(number) = name.parse::<usize>() {
        number.checked_sub(1).filter(|i| *i < list.len())
    } else {
        let is_called = |entry: &Value| NAMES.iter().any(|key| entry.get(key).and_then(Value::as_str) == Some(name));
        let called: Vec<usize> = (0..list.len()).filter(|i| is_called(&list[*i])).collect();
        // The second of one rule goes by its number, unless one of them has a name of its own.
        if called.len() > 1 && called.iter().any(|i| list[*i].get("as").is_some()) {
            let several = called.iter().map(|i| (i + 1).to_string()).collect::<Vec<_>>().join(" and ");
            return Err(format!(
                "`{name}` names entries {several} of the list, of which one is called so by `as`: write a number"
            ));
        }
        called.first().copied()
    };
    match found.map(|i| &mut list[i]) {
        Some(Value::Table(entry)) => Ok(entry),
        _ => Err(format!("there is no `{name}`; there are {}", names.join(", "))),
    }
}

fn parse(value: &str) -> Value {
    format!("v = {value}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| Value::String(value.to_owned()))
}

/// What an entry goes by, the first of them before the others.
const NAMES: [&str; 3] = ["as", "name", "rule"];

fn entry_name(entry: &Value) -> String {
    NAMES.iter().find_map(|k| entry.get(k)?.as_str()).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_laid_over_key_by_key() {
        let mut under: Table = "a = 1\n[t]\nb = 2\nc = [1]\n".parse().unwrap_or_default();
        overlay(&mut under, "[t]\nc = [2, 3]\n".parse().unwrap_or_default());
        assert_eq!(under, "a = 1\n[t]\nb = 2\nc = [2, 3]\n".parse::<Table>().unwrap_or_default());
    }

    fn set(recipe: &str, set: &str) -> Result<Table, String> {
        let mut table: Table = recipe.parse().unwrap_or_default();
        apply_set(&mut table, set).map(|()| table)
    }

    const RECIPE: &str = "seed = 1\n[[filter]]\nrule = 'language'\nthreshold = 0.5\n[[filter]]\nrule = 'length'\n";

    #[test]
    fn reaches_values_tables_and_named_entries() {
        assert_eq!(set(RECIPE, "seed=7").map(|t| t["seed"].clone()), Ok(Value::Integer(7)));
        assert_eq!(set(RECIPE, "sample.rows=9").map(|t| t["sample"]["rows"].clone()), Ok(Value::Integer(9)));
        assert_eq!(set(RECIPE, "name=sft mix").map(|t| t["name"].clone()), Ok(Value::String("sft mix".into())));
        let threshold = |s| set(RECIPE, s).map(|t| t["filter"][0]["threshold"].clone());
        assert_eq!(threshold("filter.language.threshold=0.8"), Ok(Value::Float(0.8)));
        assert_eq!(threshold("filter.1.threshold=0.9"), Ok(Value::Float(0.9)));
        let lists = set(RECIPE, r#"filter.length.words=["a", "b"]"#).map(|t| t["filter"][1]["words"].clone());
        assert_eq!(lists, Ok(Value::Array(vec!["a".into(), "b".into()])));
    }

    #[test]
    fn a_path_to_nowhere_is_refused() {
        let error = set(RECIPE, "filter.lenght.max=1").err().unwrap_or_default();
        assert!(error.contains("there is no `lenght`; there are language, length"), "{error}");
        assert!(set("seed = 1", "filter.language.threshold=1").is_err_and(|e| e.contains("no [[filter]]")));
        assert!(set(RECIPE, "seed").is_err_and(|e| e.contains("write key=value")));
        assert!(set(RECIPE, "seed.x=1").is_err_and(|e| e.contains("is a value")));
        // A rule may go by its own name although it has another, but not where that names two.
        let aliases = "[[filter]]\nrule = 'length'\nas = 'short'\n[[filter]]\nrule = 'language'\nas = 'length'\n";
        let error = set(aliases, "filter.length.max=1").err().unwrap_or_default();
        assert!(error.contains("`length` names entries 1 and 2"), "{error}");
        let short = |key: &str| set(aliases, key).map(|t| t["filter"][0]["max"].clone());
        assert_eq!(short("filter.short.max=1"), Ok(Value::Integer(1)));
        assert_eq!(short("filter.1.max=1"), Ok(Value::Integer(1)));
        let borrowed = "[[filter]]\nrule = 'length'\n[[filter]]\nrule = 'language'\nas = 'length'\n";
        assert!(set(borrowed, "filter.length.max=1").is_err_and(|e| e.contains("`length` names entries 1 and 2")));
        let twice = "[[filter]]\nrule = 'length'\n[[filter]]\nrule = 'length'\n";
        assert_eq!(set(twice, "filter.length.max=1").map(|t| t["filter"][0]["max"].clone()), Ok(Value::Integer(1)));
        assert!(set(RECIPE, "filter.language=1").is_err_and(|e| e.contains("name one entry")));
    }
}
