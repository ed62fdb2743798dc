//! Texts that a recipe makes of a row's columns: Jinja as of chat templates, in which a variable is a column. Columns whose names
//! are no names of variables are `row['NAME']`.

use serde_json::{Map, Value as Json};

use crate::{
    Error, Result,
    jinja::{Template, from_json},
};

/// A template over the columns of a row.
#[derive(Debug)]
pub struct ColumnTemplate {
    template: Template,
    columns: Vec<Column>,
}

/// A column that a template reads.
#[derive(Debug)]
struct Column {
    name: String,
    /// Whether the template asks if it is there.
    asked: bool,
    /// Whether it is read as a variable.
    variable: bool,
    /// Whether it is read as `row['NAME']`.
    key: bool,
}

/// The row as a variable.
const ROW: &str = "row";

/// Names that a template finds without a column.
const FUNCTIONS: [&str; 8] =
    ["range", "dict", "lipsum", "cycler", "joiner", "namespace", "raise_exception", "strftime_now"];

impl ColumnTemplate {
    /// From its source.
    ///
    /// # Errors
    /// It is no template.
    pub fn new(source: &str) -> Result<Self> {
        let template = Template::new(source).map_err(|e| Error(e.to_string()))?;
        if template.generates() || template.reads("strftime_now") {
            return Err(Error("`generation` and `strftime_now` are for chat templates".into()));
        }
        let mut columns: Vec<Column> = Vec::new();
        for free in template.free().filter(|free| !FUNCTIONS.contains(&free.name)) {
            let (name, key) = match free.key {
                Some(key) if free.name == ROW => (key, true),
                None if free.name == ROW => {
                    return Err(Error("`row` is read by the name of a column, as `row['full text']`".into()));
                }
                _ => (free.name, false),
            };
            let known = columns.iter().position(|column| column.name == name).unwrap_or_else(|| {
                columns.push(Column { name: name.to_owned(), asked: false, variable: false, key: false });
                columns.len() - 1
            });
            let column = &mut columns[known];
            // A key within a column is no question about the column.
            column.asked |= free.asked && (key || free.key.is_none());
            column.variable |= !key;
            column.key |= key;
        }
        Ok(Self { template, columns })
    }

    /// The columns that it reads.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// Those of them that every row has to have.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter(|column| !column.asked).map(|column| column.name.as_str())
    }

    /// Those of them that a row may be without.
    pub fn optional(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter(|column| column.asked).map(|column| column.name.as_str())
    }

    /// The text of a row. A column that is null counts as absent.
    ///
    /// # Errors
    /// A column is absent, and the template does not ask whether it is there; or the template fails.
    pub fn render(&self, row: &Map<String, Json>) -> std::result::Result<String, String> {
        let mut variables = Vec::with_capacity(self.columns.len() + 1);
        let mut keys = Map::new();
        for Column { name, asked, variable, key } in &self.columns {
            match row.get(name).filter(|value| !value.is_null()) {
                Some(value) => {
                    if *variable {
                        variables.push((name.as_str(), from_json(value)));
                    }
                    if *key {
                        keys.insert(name.clone(), value.clone());
                    }
                }
                None if *asked => {}
                None => {
                    let shown = if *variable { name.clone() } else { format!("row['{name}']") };
                    return Err(format!(
                        "reads the column `{name}`, which the row has not; where rows may be without it, `{shown} | \
                         default('')` or `{{% if {shown} is defined %}}`"
                    ));
                }
            }
        }
        if self.columns.iter().any(|column| column.key) {
            variables.push((ROW, from_json(&Json::Object(keys))));
        }
        self.template.render_strictly(variables).map_err(|e| format!("fails: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn render(source: &str, row: Json) -> std::result::Result<String, String> {
        let Json::Object(row) = row else { panic!("a row") };
        ColumnTemplate::new(source).map_err(|e| e.to_string())?.render(&row)
    }

    #[test]
    fn columns_are_variables() {
        // What jinja2 gives for these.
        for (source, row, text) in [
            ("{{ a }}: {{ b }}", json!({"a": "x", "b": 2}), "x: 2"),
            ("{{ ['no', 'sì'][hs] }}", json!({"hs": 1}), "sì"),
            ("{{ {'SI': 'vero', 'NO': 'falso'}[e] }}", json!({"e": "NO"}), "falso"),
            ("{{ 'sì' if a == b else 'no' }}", json!({"a": "1", "b": 1}), "no"),
            ("{% for x in xs %}{{ x.w }} {% endfor %}", json!({"xs": [{"w": "u"}, {"w": "v"}]}), "u v "),
            ("{{ a }}{{ b | default('') }}", json!({"a": "x", "b": null}), "x"),
            ("{{ a }}{% if b is defined %} ({{ b }}){% endif %}", json!({"a": "x"}), "x"),
            ("{% set t = text | trim %}{{ t }}.", json!({"text": " x "}), "x."),
            (
                "{{ row['full text'] }} {{ row['loop'] }} {{ row['a'] }}",
                json!({"full text": "x", "loop": 1, "a": [2]}),
                "x 1 [2]",
            ),
            ("{{ a['k'] }}{{ row['b c'] | default('-') }}", json!({"a": {"k": "v"}}), "v-"),
        ] {
            assert_eq!(render(source, row), Ok(text.to_owned()), "{source}");
        }
        let template = ColumnTemplate::new("{% for x in xs %}{{ x.w ~ y }}{% endfor %} è y").map_err(|e| e.to_string());
        assert_eq!(
            template.map(|t| t.columns().map(str::to_owned).collect::<Vec<_>>()),
            Ok(vec!["xs".into(), "y".into()])
        );
    }

    #[test]
    fn what_is_absent_is_an_error_unless_it_is_asked_for() {
        for row in [json!({"a": null}), json!({"b": 1})] {
            assert!(render("{{ 'sì' if a == 1 else 'no' }}", row).is_err_and(|e| e.contains("the column `a`")));
        }
        for source in [
            "{{ {'x': 1}[a] }}",
            "{{ 'è ' ~ {'x': 1}[a] }}",
            "{{ {'x': 1}[a] | string }}",
            "{{ 'sì' if {'x': 1}[a] == 1 else 'no' }}",
            "{{ 'sì' if {'x': 1}[a] else 'no' }}",
            "{% for x in {'x': [1]}[a] %}{{ x }}{% endfor %}.",
        ] {
            assert!(render(source, json!({"a": "y"})).is_err_and(|e| e.starts_with("fails: ")), "{source}");
        }
        assert_eq!(render("{{ {'x': 1}[a] | default('?') }}", json!({"a": "y"})), Ok("?".into()));
        // A label of -1 says that there is none; the last is meant only where the template says so.
        assert!(render("{{ ['no', 'sì'][a] }}", json!({"a": -1})).is_err_and(|e| e.contains("index -1")));
        assert_eq!(render("{{ a[-1] }}", json!({"a": [1, 2]})), Ok("2".into()));
        for source in ["{{ row }}", "{{ row | length }}", "{% for x in row %}{{ x }}{% endfor %}", "{{ row[a] }}"] {
            assert!(ColumnTemplate::new(source).is_err_and(|e| e.to_string().contains("row['full text']")), "{source}");
        }
        assert_eq!(render("sempre uguale", json!({})), Ok("sempre uguale".to_owned()));
        assert!(render("{{ a", json!({})).is_err());
        assert!(render("{% generation %}{{ a }}{% endgeneration %}", json!({})).is_err());
    }
}
