//! Texts that a recipe makes of a row's columns: Jinja as of chat templates, in which a variable is a column.

use serde_json::{Map, Value as Json};

use crate::{
    Error, Result,
    jinja::{Template, from_json},
};

/// A template over the columns of a row.
#[derive(Debug)]
pub struct ColumnTemplate {
    template: Template,
    /// The columns that it reads, and whether it asks if each is there.
    columns: Vec<(String, bool)>,
}

/// Names that a template finds without a column.
const FUNCTIONS: [&str; 9] =
    ["range", "dict", "lipsum", "cycler", "joiner", "namespace", "raise_exception", "strftime_now", "loop"];

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
        let words = words(source);
        let mut columns: Vec<(String, bool)> = Vec::new();
        for (at, word) in words.iter().enumerate() {
            if FUNCTIONS.contains(word) || !template.reads(word) {
                continue;
            }
            let asked = asks(&words[at + 1..]);
            match columns.iter_mut().find(|(name, _)| name == word) {
                Some((_, known)) => *known |= asked,
                None => columns.push(((*word).to_owned(), asked)),
            }
        }
        Ok(Self { template, columns })
    }

    /// The columns that it reads.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// Those of them that every row has to have.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter(|(_, asked)| !asked).map(|(name, _)| name.as_str())
    }

    /// The text of a row. A column that is null counts as absent.
    ///
    /// # Errors
    /// A column is absent, and the template does not ask whether it is there; or the template fails.
    pub fn render(&self, row: &Map<String, Json>) -> std::result::Result<String, String> {
        let mut variables = Vec::with_capacity(self.columns.len());
        for (name, asked) in &self.columns {
            match row.get(name).filter(|value| !value.is_null()) {
                Some(value) => variables.push((name.as_str(), from_json(value))),
                None if *asked => {}
                None => {
                    return Err(format!(
                        "reads the column `{name}`, which the row has not; where rows may be without it, `{name} | \
                         default('')` or `{{% if {name} is defined %}}`"
                    ));
                }
            }
        }
        self.template.render_strictly(variables).map_err(|e| format!("fails: {e}"))
    }
}

/// Names, and the bars of filters, in the order of a source.
fn words(source: &str) -> Vec<&str> {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    let mut words = Vec::new();
    let mut rest = source;
    while let Some(start) = rest.find(|c| inside(c) || c == '|') {
        rest = &rest[start..];
        let length = if rest.starts_with('|') { 1 } else { rest.find(|c| !inside(c)).unwrap_or(rest.len()) };
        let (word, after) = rest.split_at(length);
        words.push(word);
        rest = after;
    }
    words
}

/// Whether what follows a name asks if it is there.
fn asks(words: &[&str]) -> bool {
    matches!(words, ["|", "default" | "d", ..] | ["is", "defined" | "undefined", ..] | ["is", "not", "defined", ..])
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
        assert!(render("{{ {'x': 1}[a] }}", json!({"a": "y"})).is_err_and(|e| e.starts_with("fails: ")));
        assert_eq!(render("sempre uguale", json!({})), Ok("sempre uguale".to_owned()));
        assert!(render("{{ a", json!({})).is_err());
        assert!(render("{% generation %}{{ a }}{% endgeneration %}", json!({})).is_err());
    }
}
