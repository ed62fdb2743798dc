//! Reading a recipe: overrides, variants, and what can be told to be wrong before anything else is looked at.

pub mod evaluations;
pub mod paths;
pub mod pins;
pub mod rebuild;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use setaccio_base::{
    bundle::Place, card::UNKNOWN_LICENSE, hub_name, overlay::apply_set, row::Kind, search::leads_out, shell, suggest,
};
use setaccio_dataset::{
    columns::TOOLS,
    recipe::{ColumnType, LABEL, Near, Recipe, Repeats, Semantic, SemanticUnit, Source},
};

use self::rebuild::Rebuilt;
use crate::error::{Error, Result};

/// A recipe and where it was read.
#[derive(Clone, Debug)]
pub struct RecipeFile {
    /// The recipe with overrides applied and sources of other variants left out.
    pub recipe: Recipe,
    /// File name, for messages.
    pub file: String,
    /// Where it is, and so what its paths are relative to.
    pub place: Place,
    /// Arguments that changed the recipe, as a shell reads them.
    pub changes: Vec<String>,
    /// The build that is to come out again, if the recipe was read from its lock.
    pub rebuilt: Option<Rebuilt>,
    /// What the Hub has under the names that stand for folders, once it is here.
    pub hub: BTreeMap<String, FromHub>,
}

/// A repository of the Hub, in the cache.
#[derive(Clone, Debug)]
pub struct FromHub {
    /// Its files.
    pub folder: PathBuf,
    /// The licence that its card states; empty if it states none.
    pub license: String,
}

/// What a name of the Hub stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A model.
    Model,
    /// A data set that was built before.
    DataSet,
}

/// The names of the Hub in a recipe that stand for folders, each with the key that names it.
pub fn of_the_hub(recipe: &Recipe) -> Vec<(&'static str, &str, Wanted)> {
    let semantic = recipe.semantic().map(|semantic| ("dedup.semantic.model", semantic.model.as_str(), Wanted::Model));
    let near = recipe.dedup.iter().filter_map(|dedup| dedup.near.as_ref()).flat_map(|near| &near.against);
    let near = near.map(|name| ("dedup.near.against", name.as_str(), Wanted::DataSet));
    let held = recipe.decontamination.iter().flat_map(|settings| &settings.against);
    let held = held.map(|name| ("decontamination.against", name.as_str(), Wanted::DataSet));
    semantic.into_iter().chain(near).chain(held).filter(|(_, name, _)| hub_name::parse(name).is_some()).collect()
}

impl RecipeFile {
    /// The folder or file that `key` names: a path, or a name of the Hub whose files are here.
    ///
    /// # Errors
    /// They are not.
    pub fn folder_of(&self, key: &str, name: &str) -> Result<PathBuf> {
        match (self.hub.get(name), hub_name::parse(name)) {
            (Some(found), _) => Ok(found.folder.clone()),
            (None, Some(_)) => {
                let message = format!("{key} = {name:?} is a name of the Hub, and its files are not here");
                Err(Error::recipe(&self.file, message))
            }
            (None, None) => Ok(self.place.beside(paths::expanded(name)).path().to_owned()),
        }
    }

    /// The file that the recipe's `key` names: beside it, or carried. It lies in the recipe's folder (of a recipe in a
    /// folder `pipelines` or one below, in the one above), so that a recipe of somebody else reads nothing else of a machine; whoever
    /// gives a command may name any.
    ///
    /// # Errors
    /// It lies elsewhere.
    pub fn inside(&self, key: &str, name: &str) -> Result<Place> {
        let place = self.place.beside(name);
        let (Place::Disk { path, .. }, Some(folder)) = (&place, self.place.folder()) else { return Ok(place) };
        let given = format!("{key}=");
        if self.rebuilt.is_some() || self.changes.iter().any(|change| change.contains(&given)) {
            return Ok(place);
        }
        // Of what is not there nothing is read, and whoever looks for it says so.
        let (Ok(path), Ok(folder)) = (path.canonicalize(), folder.canonicalize()) else { return Ok(place) };
        let pipelines = folder.ancestors().find(|above| above.ends_with(HOME));
        let home = pipelines.and_then(Path::parent).unwrap_or(&folder);
        if !path.starts_with(home) {
            let way = match key.strip_prefix("output.") {
                Some(_) => format!("name it in the command, --set {}", shell::quote(&format!("{key}={name:?}"))),
                None => "give --from DIR".to_owned(),
            };
            let message = format!(
                "{key} = {name:?} lies outside of {}, and a recipe reads nothing there: copy the file beside it, or {way}",
                home.display()
            );
            return Err(Error::recipe(&self.file, message));
        }
        Ok(place)
    }
}

/// Folder of the repository that these recipes lie in.
pub const HOME: &str = "pipelines";

/// The schema of answers with thumbs.
const KTO: &str = "kto";

/// Read a recipe, a file or the name of one that the program carries, and apply `key=value` overrides.
///
/// # Errors
/// No such file, TOML that does not parse, an unknown key (with the nearest known one), an override
/// of nothing, settings that contradict each other.
pub fn load(path: &Path, sets: &[String]) -> Result<RecipeFile> {
    let place = Place::recipe(path, HOME).map_err(Error::Argument)?;
    let (file, text) = (place.name(), place.text().map_err(Error::io("read the recipe", path))?);
    let mut table: toml::Table = text.parse().map_err(|e: toml::de::Error| Error::recipe(&file, e.to_string()))?;
    if rebuild::is_lock(&table) {
        return rebuild::load(place, &text, sets);
    }
    if table.contains_key("filter") && table.contains_key("screen") {
        let message = "there is both [[filter]] and its older name, [[screen]]: call every table [[filter]]";
        return Err(Error::recipe(&file, message));
    }
    for set in sets {
        let set = renamed(&table, set);
        apply_set(&mut table, &set).map_err(|m| Error::recipe(&file, m))?;
    }
    // Only a recipe read as it stands has line numbers to show.
    let parsed = if sets.is_empty() { toml::from_str::<Recipe>(&text) } else { table.try_into() };
    let mut recipe = parsed.map_err(|e| Error::recipe(&file, suggest::explain(&e.to_string(), e.message())))?;
    let variant = recipe.variant.clone();
    if let Some(variant) = &variant {
        let known = recipe.source.iter().filter_map(|s| s.variant.as_deref());
        if known.clone().all(|v| v != variant) {
            let message = format!("no source is of the variant `{variant}`{}", suggest::nearest(variant, known));
            return Err(Error::recipe(&file, message));
        }
    }
    recipe.source.retain(|s| s.variant.is_none() || s.variant == variant);
    for source in recipe.source.iter_mut().filter(|s| s.local() && s.license.is_empty()) {
        source.license = UNKNOWN_LICENSE.into();
    }
    // Without it a row says nothing to who learns from thumbs.
    if recipe.source.iter().any(|source| source.schema == KTO) {
        recipe.output.keep.entry(LABEL.to_owned()).or_insert(ColumnType::Bool);
    }
    check(&recipe).map_err(|m| Error::recipe(&file, m))?;
    let changes = sets.iter().map(|set| format!("--set {}", shell::quote(set))).collect();
    Ok(RecipeFile { recipe, file, place, changes, rebuilt: None, hub: BTreeMap::new() })
}

/// Check that `name` can be that of a folder.
pub fn check_name(name: &str) -> std::result::Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Err(format!("name = {name:?}: use letters, digits, `-`, `_` and `.`, which may not come first"));
    }
    Ok(())
}

/// Check that `license` is spelled as the Hub spells licences.
pub fn check_license(license: &str) -> std::result::Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.+".contains(c);
    if !license.is_empty() && license.chars().all(plain) {
        return Ok(());
    }
    Err(format!("{license:?} is no licence as the Hub spells them: cc-by-4.0, apache-2.0, mit, other, ..."))
}

/// Check that `language` is a code rather than a name.
pub fn check_language(language: &str) -> std::result::Result<(), String> {
    if matches!(language.len(), 2..=3) && language.chars().all(|c| c.is_ascii_lowercase()) {
        return Ok(());
    }
    let guess: String = language.chars().filter(char::is_ascii_alphabetic).take(2).collect();
    let near = if guess.len() == 2 && language.len() > 3 {
        format!(" (perhaps `{}`?)", guess.to_lowercase())
    } else {
        String::new()
    };
    Err(format!("{language:?} is no code of ISO 639-1, which has two letters: `it`, `en`{near}"))
}

/// An override by the name, of `filter` and `screen`, that the recipe uses.
fn renamed(table: &toml::Table, set: &str) -> String {
    let set = set.trim_start();
    for (other, used) in [("filter", "screen"), ("screen", "filter")] {
        if table.contains_key(used)
            && let Some(rest) = set.strip_prefix(other)
            && rest.starts_with(['.', '=', ' '])
        {
            return format!("{used}{rest}");
        }
    }
    set.to_owned()
}

/// Check that a source's keys agree on where its files are.
fn check_files(source: &Source) -> std::result::Result<(), String> {
    let Source { path, repo, revision, files, samples, license, .. } = source;
    if repo.is_empty() != revision.is_empty() {
        return Err("`repo` and `revision` go together; files of your own are named by `path` alone".into());
    }
    if !path.is_empty() {
        return match [("repo", repo.is_empty()), ("files", files.is_empty()), ("samples", samples.is_empty())] {
            [(_, true), (_, true), (_, true)] if path.iter().any(String::is_empty) => {
                Err("an empty `path` names no file".into())
            }
            [(_, true), (_, true), (_, true)] => Ok(()),
            [(key, false), ..] | [_, (key, false), _] | [.., (key, _)] => Err(format!(
                "`path` names files of your own, and `{key}` is for those of a repository: keep one of them"
            )),
        };
    }
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    if !repo.is_empty() && (repo.split('/').count() > 2 || !repo.split('/').all(plain)) {
        return Err(format!("repo = {repo:?} is no repository of the Hub, which is written OWNER/NAME"));
    }
    if let Some(file) = files.iter().find(|file| leads_out(file)) {
        let folder = if source.local() { "the recipe's folder" } else { "the repository" };
        let advice = if source.local() { "; `path` takes such" } else { "" };
        return Err(format!("files = {file:?} leads out of {folder}{advice}"));
    }
    if files.is_empty() {
        let message = if source.local() {
            "nothing says where its rows are: write `path` for files of your own, or `repo`, `revision` and `files`"
        } else {
            "`files` is missing: it says which files of the repository to read, for instance [\"**/*.parquet\"]"
        };
        return Err(message.into());
    }
    if license.is_empty() {
        return Err("`license` is missing: what may be done with its rows, as the Hub spells it".into());
    }
    if source.local() && !samples.is_empty() {
        return Err("`samples` stand for a `repo`, and it has none".into());
    }
    Ok(())
}

fn check(recipe: &Recipe) -> std::result::Result<(), String> {
    check_name(&recipe.name)?;
    if recipe.source.is_empty() {
        return Err("there is no [[source]] to read; sources of another `variant` are left out".into());
    }
    for (i, source) in recipe.source.iter().enumerate() {
        check_name(&source.name).map_err(|e| format!("source {e}"))?;
        if recipe.source[..i].iter().any(|s| s.name == source.name) {
            return Err(format!("two sources are called `{}`", source.name));
        }
        check_files(source).map_err(|e| format!("source `{}`: {e}", source.name))?;
        if let Some(language) = &source.language {
            check_language(language).map_err(|e| format!("source `{}`: language = {e}", source.name))?;
        }
        if let Some(message) = table_keys(source) {
            return Err(format!("source `{}`: {message}", source.name));
        }
        if source.weight.is_some_and(|w| !(w.is_finite() && w > 0.0)) {
            return Err(format!("source `{}`: weight must be above 0", source.name));
        }
        if source.weight.is_some() != recipe.source[0].weight.is_some() {
            return Err("give every source a weight, or none".into());
        }
    }
    for preferred in recipe.dedup.iter().flat_map(|d| &d.prefer) {
        if recipe.source.iter().all(|s| s.name != *preferred) {
            let near = suggest::nearest(preferred, recipe.source.iter().map(|s| s.name.as_str()));
            return Err(format!("dedup.prefer names `{preferred}`, which is no source{near}"));
        }
    }
    if let Some(near) = recipe.dedup.as_ref().and_then(|d| d.near.as_ref()) {
        check_near(near)?;
    }
    // What is off is to be right on the day that it is switched on.
    if let Some(repeats) = recipe.dedup.as_ref().and_then(|d| d.repeats.as_ref()) {
        check_repeats(repeats, recipe.kind)?;
    }
    if let Some(semantic) = recipe.dedup.as_ref().and_then(|d| d.semantic.as_ref()) {
        check_semantic(semantic, recipe.kind)?;
    }
    if let Some(settings) = &recipe.decontamination {
        evaluations::check(settings)?;
        if settings.validation && recipe.split.validation <= 0.0 {
            return Err(
                "decontamination.validation holds rows against those that validate, and split.validation makes none"
                    .into(),
            );
        }
        for set in &settings.set {
            check_name(&set.name).map_err(|e| format!("evaluation set: {e}"))?;
            // What may be done with its items is nobody's question: none of them is published.
            let source = Source { license: UNKNOWN_LICENSE.into(), ..evaluations::source(set) };
            let wrong = check_files(&source).err().or_else(|| table_keys(&source));
            wrong.map_or(Ok(()), |e| Err(format!("evaluation set `{}`: {e}", set.name)))?;
        }
    }
    if let Some(sample) = &recipe.sample {
        if sample.rows == Some(0) || sample.fraction.is_some_and(|f| !(f > 0.0 && f <= 1.0)) {
            return Err("sample: `rows` must be above 0, `fraction` above 0 and at most 1".into());
        }
        if sample.files == Some(0) {
            return Err("sample.files must be above 0".into());
        }
        if sample.rows.is_some() && sample.fraction.is_some() {
            return Err("sample: give `rows` or `fraction`, not both".into());
        }
    }
    if !(0.0..1.0).contains(&recipe.split.validation) {
        return Err("split.validation must be at least 0 and below 1".into());
    }
    if recipe.read.limit == Some(0) {
        return Err("read.limit must be above 0".into());
    }
    if recipe.read.max_row_bytes == 0 || recipe.read.task_bytes == 0 || recipe.output.row_group_bytes == 0 {
        return Err("read.max_row_bytes, read.task_bytes and output.row_group_bytes must be above 0".into());
    }
    if !(10..=31).contains(&recipe.read.window_log) {
        return Err("read.window_log must be between 10 and 31".into());
    }
    if !(1..=22).contains(&recipe.output.zstd_level) {
        return Err("output.zstd_level must be between 1 and 22".into());
    }
    check_columns(recipe)?;
    let rendered = recipe.output.template.as_ref().map(|_| &recipe.output.rendered);
    // Rows of conversations have it, as JSON text, where they name any.
    let tools = recipe.output.keep.get(TOOLS).filter(|_| recipe.kind != Kind::Text);
    if tools.is_some_and(|kind| !matches!(kind, ColumnType::String | ColumnType::Json)) {
        return Err("output.keep.tools is \"string\" or \"json\": the tools of a conversation are a list".into());
    }
    if rendered.is_some_and(|r| r == TOOLS || recipe.output.keep.contains_key(r)) {
        return Err("output.rendered and output.keep name the same column".into());
    }
    if recipe.output.template.is_some() && recipe.kind == Kind::Preference {
        return Err("output.template renders chats and texts; a preference row has two answers".into());
    }
    Ok(())
}

/// Check that no column of the output takes the place of one that every row has.
pub(crate) fn check_columns(recipe: &Recipe) -> std::result::Result<(), String> {
    let taken = ["id", "source", "language", "messages", "prompt", "chosen", "rejected", "tokens"];
    let rendered = recipe.output.template.as_ref().map(|_| &recipe.output.rendered);
    for column in recipe.output.keep.keys().chain(rendered) {
        if taken.contains(&column.as_str()) || (recipe.kind == Kind::Text && column == "text") {
            return Err(format!("output column `{column}` would hide one that every row has; choose another name"));
        }
    }
    Ok(())
}

/// Hashes of a sketch at most: more take time and find nothing more.
const MOST_HASHES: u32 = 1024;

fn check_near(near: &Near) -> std::result::Result<(), String> {
    if !(near.threshold > 0.0 && near.threshold <= 1.0) {
        return Err("dedup.near.threshold must be above 0 and at most 1".into());
    }
    if !(1..=64).contains(&near.ngram) {
        return Err("dedup.near.ngram must be between 1 and 64".into());
    }
    let hashes = near.bands.saturating_mul(near.rows_per_band);
    if hashes == 0 || hashes > MOST_HASHES {
        return Err(format!("dedup.near: bands times rows_per_band must be between 1 and {MOST_HASHES}"));
    }
    if let Some(twice) = near.against.iter().enumerate().find(|(i, name)| near.against[..*i].contains(name)) {
        return Err(format!("dedup.near.against names `{}` twice", twice.1));
    }
    Ok(())
}

fn check_repeats(repeats: &Repeats, kind: Kind) -> std::result::Result<(), String> {
    if kind != Kind::Text {
        return Err(format!(
            "dedup.repeats takes lines and sentences out of texts, and rows of kind {} are conversations, in which an answer \
             would no longer be what was said: take it out, and drop rows that are alike with [dedup.near]",
            kind.name()
        ));
    }
    if repeats.span.is_some_and(|span| !(1..=64).contains(&span)) {
        return Err("dedup.repeats.span must be between 1 and 64".into());
    }
    if repeats.min_copies < 2 {
        return Err("dedup.repeats.min_copies must be at least 2: one of the copies stays".into());
    }
    Ok(())
}

fn check_semantic(semantic: &Semantic, kind: Kind) -> std::result::Result<(), String> {
    if semantic.model.is_empty() {
        return Err("dedup.semantic.model names no folder".into());
    }
    if !(semantic.threshold > 0.0 && semantic.threshold <= 1.0) {
        return Err("dedup.semantic.threshold must be above 0 and at most 1".into());
    }
    if !(semantic.recall > 0.0 && semantic.recall < 1.0) {
        return Err("dedup.semantic.recall must be above 0 and below 1; `search = \"exact\"` finds all".into());
    }
    if kind == Kind::Text && semantic.of != SemanticUnit::Row {
        return Err("dedup.semantic.of is \"row\" where rows are texts: they have no messages".into());
    }
    Ok(())
}

/// What is wrong with the keys that say how a table is written.
fn table_keys(source: &Source) -> Option<String> {
    if let Some(separator) = source.separator.filter(|c| !c.is_ascii() || matches!(c, '\r' | '\n')) {
        return Some(format!("separator = {separator:?}: it is one ASCII character, and ends no line"));
    }
    if let Some(quote) = source.quote.as_ref().filter(|quote| quote.len() > 1 || !quote.is_ascii()) {
        return Some(format!("quote = {quote:?}: it is one ASCII character, or nothing"));
    }
    let twice = source.columns.iter().enumerate().find(|(i, name)| source.columns[..*i].contains(name));
    twice.map(|(_, name)| format!("columns names `{name}` twice"))
}
