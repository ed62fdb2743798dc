//! Every rule, registered once: recipes, `setaccio rules` and the reference are all derived from this list.

use serde_json::Value;
use setaccio_base::{overlay::overlay, row::Kind, suggest};

use crate::{
    context::Context,
    filter::Filter,
    rule::{Rule, RuleError},
    rules,
};

/// A rule that recipes can name.
pub struct RuleInfo {
    /// The value of `rule` in a recipe.
    pub name: &'static str,
    /// Kinds of row it can work on.
    pub kinds: &'static [Kind],
    /// JSON Schema of its table; descriptions are the doc comments of the settings.
    pub schema: fn() -> Value,
    /// Its settings with nothing said.
    pub defaults: fn() -> Result<toml::Table, RuleError>,
    check: fn(toml::Table) -> Result<(), RuleError>,
    build: fn(toml::Table, &Context) -> Result<Vec<Filter>, RuleError>,
}

const fn info<S: Rule>() -> RuleInfo {
    RuleInfo {
        name: S::NAME,
        kinds: S::KINDS,
        schema: || {
            let mut schema = schemars::schema_for!(S).to_value();
            schema.sort_all_objects();
            schema
        },
        defaults: defaults::<S>,
        check: |table| parse::<S>(table).map(drop),
        build: |table, context| parse::<S>(table)?.compile(context),
    }
}

fn defaults<S: Rule>() -> Result<toml::Table, RuleError> {
    toml::Table::try_from(S::default()).map_err(|e| RuleError::setting(e.to_string()))
}

/// A recipe's table over the defaults: what it leaves out, at any depth, stays as it is.
fn parse<S: Rule>(table: toml::Table) -> Result<S, RuleError> {
    if let Some((key, _)) = table.iter().find(|(_, value)| holds_nan(value)) {
        return Err(RuleError::setting(format!("{key}: `nan` is no number to compare with")));
    }
    let mut whole = defaults::<S>()?;
    overlay(&mut whole, table);
    whole.try_into::<S>().map_err(|e| RuleError::setting(suggest::explain(e.message(), e.message())))
}

/// Whether a value is, or somewhere holds, what no comparison is true of.
fn holds_nan(value: &toml::Value) -> bool {
    match value {
        toml::Value::Float(number) => number.is_nan(),
        toml::Value::Array(items) => items.iter().any(holds_nan),
        toml::Value::Table(table) => table.values().any(holds_nan),
        _ => false,
    }
}

/// All rules, in the order the reference lists them.
pub static RULES: &[RuleInfo] = &[
    info::<rules::answer::Answer>(),
    info::<rules::bad_words::BadWords>(),
    info::<rules::citations::Citations>(),
    info::<rules::classifier::Classifier>(),
    info::<rules::clean_mc4_it::CleanMc4It>(),
    info::<rules::column::Column>(),
    info::<rules::fineweb::FineWeb>(),
    info::<rules::fineweb2_it::FineWeb2It>(),
    info::<rules::gopher_quality::GopherQuality>(),
    info::<rules::gopher_repetition::GopherRepetition>(),
    info::<rules::language::Language>(),
    info::<rules::length::Length>(),
    info::<rules::line_end::LineEnd>(),
    info::<rules::long_tokens::LongTokens>(),
    info::<rules::min_words_per_line::MinWordsPerLine>(),
    info::<rules::personal_data::PersonalData>(),
    info::<rules::phrases::Phrases>(),
    info::<rules::preference_sanity::PreferenceSanity>(),
    info::<rules::redpajama::RedPajama>(),
    info::<rules::regex::Regex>(),
    info::<rules::repeats::Repeats>(),
    info::<rules::roles::Roles>(),
    info::<rules::sentences::Sentences>(),
    info::<rules::strip_role_tokens::StripRoleTokens>(),
];

/// The rule called `name`.
///
/// # Errors
/// Nothing is called that; the message names the nearest rule.
pub fn find(name: &str) -> Result<&'static RuleInfo, RuleError> {
    RULES.iter().find(|r| r.name == name).ok_or_else(|| {
        let names = RULES.iter().map(|r| r.name);
        RuleError::Unknown(format!(
            "unknown rule `{name}`{}; `setaccio rules` lists them",
            suggest::nearest(name, names)
        ))
    })
}

impl RuleInfo {
    /// Check the keys and types of one `[[filter]]` entry, and open none of the files that it names.
    ///
    /// # Errors
    /// Unknown keys, with the nearest known one, and values of another type.
    pub fn check(&self, table: toml::Table) -> Result<(), RuleError> {
        (self.check)(table)
    }

    /// Build the filters of one `[[filter]]` entry from its table, `rule` and `as` already taken out.
    ///
    /// # Errors
    /// As [`Rule::compile`], and unknown keys, with the nearest known one.
    pub fn compile(&self, table: toml::Table, context: &Context) -> Result<Vec<Filter>, RuleError> {
        (self.build)(table, context)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;
    use setaccio_base::row::{Content, Message, Row};

    use super::*;
    use crate::pipeline::Pipeline;

    /// What follows `# NAME` in a rule's doc comment, to the next heading.
    fn section<'a>(doc: &'a str, name: &str) -> &'a str {
        let text = doc.split_once(&format!("\n# {name}\n")).map_or("", |(_, text)| text);
        text.split_once("\n# ").map_or(text, |(text, _)| text)
    }

    /// The fenced blocks of a text: language and content.
    fn blocks(text: &str) -> Vec<(&str, &str)> {
        text.split("```").skip(1).step_by(2).filter_map(|block| block.split_once('\n')).collect()
    }

    /// A row as the examples write it: the content's columns, and others.
    fn row(json: &str) -> Row {
        let mut columns: Map<String, Value> = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"));
        let mut turns = |column: &str| -> Option<Vec<Message>> {
            columns.remove(column).map(|turns| serde_json::from_value(turns).unwrap_or_else(|e| panic!("{e}: {json}")))
        };
        let content = match (turns("messages"), turns("prompt"), turns("chosen"), turns("rejected")) {
            (Some(messages), ..) => Content::chat(messages),
            (_, Some(prompt), Some(chosen), Some(rejected)) => Content::preference(prompt, chosen, rejected),
            _ => Content::Text(columns.remove("text").and_then(|t| t.as_str().map(str::to_owned)).unwrap_or_default()),
        };
        Row { columns, ..Row::new(content) }
    }

    #[test]
    fn every_rule_says_what_it_does_and_why_and_what_each_setting_means() {
        for (i, rule) in RULES.iter().enumerate() {
            let name = rule.name;
            assert!(RULES[..i].iter().all(|r| r.name != name), "{name} twice");
            let schema = (rule.schema)();
            let doc = schema["description"].as_str().unwrap_or_default();
            assert!(doc.split_once("\n\n# Why\n").is_some_and(|(what, _)| what.ends_with('.')), "{name}: what?");
            assert!(section(doc, "Why").len() > 40, "{name}: why?");
            assert!(section(doc, "Source").contains("](https://"), "{name}: from where?");
            for (key, setting) in schema["properties"].as_object().into_iter().flatten() {
                assert!(setting["description"].is_string(), "{name}.{key} says nothing of itself");
            }
            (rule.defaults)().unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }

    #[test]
    fn every_example_works_as_its_rule_says() {
        for rule in RULES {
            let schema = (rule.schema)();
            let blocks = blocks(section(schema["description"].as_str().unwrap_or_default(), "Example"));
            let [("toml", recipe), ("json", before), (language, after)] = blocks[..] else {
                panic!("{}: its example is a recipe, a row and what becomes of it", rule.name)
            };
            let recipe: toml::Table = recipe.parse().unwrap_or_else(|e| panic!("{}: {e}", rule.name));
            let mut table = recipe["filter"][0].as_table().cloned().unwrap_or_default();
            assert_eq!(table.remove("rule").as_ref().and_then(|r| r.as_str()), Some(rule.name));
            let mut shown = row(before);
            let filters = rule.compile(table, &Context::default()).unwrap_or_else(|e| panic!("{}: {e}", rule.name));
            let pipeline = Pipeline::new(filters, shown.content.kind()).unwrap_or_else(|e| panic!("{e}"));
            let rejection = pipeline.apply(&mut shown, &mut pipeline.tallies());
            let dropped =
                rejection.map(|r| format!("dropped by {}: {}", pipeline.names().nth(r.filter).unwrap_or(""), r.detail));
            match language {
                "json" => assert_eq!((dropped, shown.content), (None, row(after).content), "{}", rule.name),
                _ => assert_eq!(dropped.as_deref(), Some(after.trim_end()), "{}", rule.name),
            }
            assert_ne!(before, after, "{}: its example shows nothing", rule.name);
        }
    }

    #[test]
    fn what_a_recipe_leaves_out_keeps_its_default() {
        let table: toml::Table = "[length]\nmin_chars = 300\n[bad_words]\nwords = ['x']".parse().unwrap_or_default();
        let spec = parse::<rules::clean_mc4_it::CleanMc4It>(table).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((spec.length.min_chars, spec.length.max_chars), (Some(300), Some(50_000)));
        assert!(spec.policy.phrases.iter().any(|p| p == "privacy policy"));
    }

    #[test]
    fn unknown_names_and_keys_point_at_the_nearest() {
        let unknown = find("colum").err().map(|e| e.to_string()).unwrap_or_default();
        assert!(unknown.contains("did you mean `column`?"), "{unknown}");
        let table: toml::Table = "colunm = 'x'".parse().unwrap_or_default();
        let key = find("column").and_then(|r| r.compile(table, &Context::default())).err().map(|e| e.to_string());
        assert!(key.as_deref().unwrap_or_default().contains("did you mean `column`?"), "{key:?}");
    }
}
