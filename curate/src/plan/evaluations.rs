//! The evaluation sets that rows are held against, read and put into an index before any row is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use setaccio_base::{
    bundle,
    names::Names,
    progress::Progress,
    row::{Content, Kind, Message},
    sha256::hex,
};
use setaccio_dataset::{
    decontamination::{AgainstRows, Decontamination, EvaluationSet, Missing},
    lock::Input,
    recipe::{Recipe, Source},
};

use super::{Earlier, identity::Identity, inputs};
use crate::{
    contamination::{Builder, Index},
    error::{Error, Result, SourceError},
    key,
    recipe::{
        RecipeFile,
        evaluations::{self, EVALUATION, known},
        paths::cut,
    },
    source::{
        self, Evaluation, Item, Mapping, Projection,
        origin::{self, Origin, SourceFile},
    },
};

/// What rows are held against.
pub struct Evaluations {
    /// Its items; none while their files are only listed.
    pub index: Option<Index>,
    /// The files that they were read from.
    pub inputs: Vec<Input>,
    /// Names of sets that are not here and without which the build goes on.
    pub missing: Vec<String>,
    /// The earlier builds among them.
    pub earlier: Vec<Earlier>,
}

/// The sets of a recipe, if it names any.
///
/// # Errors
/// A set is not there, cannot be read, or has none of the fields that are named.
pub fn load(loaded: &RecipeFile, origin: &Origin, progress: &dyn Progress) -> Result<Option<Evaluations>> {
    let Some(settings) = &loaded.recipe.decontamination else { return Ok(None) };
    let numbers = keeps_numbers(&loaded.recipe, settings);
    let sets = evaluations::sets(&loaded.recipe);
    if sets.is_empty() && settings.against.is_empty() {
        return Ok(None);
    }
    // Neither a sample nor a limit of the rows is one of the sets.
    let mut whole = loaded.clone();
    whole.recipe.sample = None;
    whole.recipe.read.limit = None;
    let mut reading = Reading { loaded: &whole, settings, origin, progress, builder: Builder::new(settings, numbers) };
    let mut found = Evaluations { index: None, inputs: Vec::new(), missing: Vec::new(), earlier: Vec::new() };
    let mut listed = false;
    progress.stage("evaluations", (sets.len() + settings.against.len()) as u64);
    for set in &sets {
        let source = evaluations::source(set);
        let locked = loaded.rebuilt.as_ref().map(|rebuilt| &rebuilt.lock.evaluation);
        if locked.is_some_and(|locked| locked.iter().all(|input| input.source != source.name)) {
            // That build went on without it.
            found.missing.push(set.name.clone());
            continue;
        }
        let told = |error| of_set(&set.name, error);
        match reading.files(set, &source).map_err(told)? {
            Files::Listed => listed = true,
            Files::Missing => found.missing.push(set.name.clone()),
            Files::Here(files) => reading.set(set, &source, files, &mut found.inputs).map_err(told)?,
        }
        progress.advance(1, "");
    }
    for name in &settings.against {
        found.earlier.push(reading.against(name, &mut found.inputs)?);
        progress.advance(1, "");
    }
    if !found.missing.is_empty() {
        let names: Names = found.missing.iter().collect();
        let place = match origin {
            Origin::Hub(_) => "the Hub does not have them".to_owned(),
            _ => format!("{origin} does not have them, as {EVALUATION}NAME or OWNER/NAME"),
        };
        progress.warn(&format!("rows are not held against {names}: {place}, and decontamination.missing is \"skip\""));
    }
    found.index = (!listed).then(|| reading.builder.finish());
    Ok(Some(found))
}

/// An error in a file of a set. Sets are read as sources are, and their table has the same keys and another name.
fn of_set(name: &str, error: Error) -> Error {
    let told = |message: String| {
        message
            .replace(&format!("source `{EVALUATION}{name}`"), &format!("evaluation set `{name}`"))
            .replace("[[source]]", "[[decontamination.set]]")
    };
    match error {
        Error::Source(SourceError { file, at, message }) => SourceError { file, at, message: told(message) }.into(),
        Error::Recipe { file, message } => Error::Recipe { file, message: told(message) },
        other => other,
    }
}

/// Whether numbers keep their values.
pub fn keeps_numbers(recipe: &Recipe, settings: &Decontamination) -> bool {
    settings.numbers.unwrap_or(recipe.kind != Kind::Text)
}

/// Whether a set is to be read from the Hub.
pub fn any_of_the_hub(recipe: &Recipe) -> bool {
    evaluations::sets(recipe).iter().any(|set| !set.repo.is_empty())
}

/// What there is of a set.
enum Files {
    /// Its files.
    Here(Vec<SourceFile>),
    /// The Hub has it, and nothing of it was fetched.
    Listed,
    /// Nothing, and the build goes on.
    Missing,
}

struct Reading<'a> {
    loaded: &'a RecipeFile,
    settings: &'a Decontamination,
    origin: &'a Origin,
    progress: &'a dyn Progress,
    builder: Builder,
}

impl Reading<'_> {
    /// The files of a set.
    fn files(&self, set: &EvaluationSet, source: &Source) -> Result<Files> {
        let name = &set.name;
        let from_samples = !source.local() && matches!(self.origin, Origin::Samples | Origin::Files);
        if from_samples && self.loaded.recipe.source.iter().any(Source::local) {
            // Samples are no evaluation, and these rows are real ones.
            return self.missing(format!(
                "evaluation set `{name}` is on the Hub, and the recipe has files of your own, which samples say nothing of: \
                 give --from hub, or --from DIR with its files in DIR/{EVALUATION}{name}/"
            ));
        }
        if from_samples && let Some(known) = known(name).filter(|_| self.settings.sets.contains(name)) {
            let path = known.sample();
            let place = bundle::get(&path).ok_or_else(|| {
                Error::recipe(&self.loaded.file, format!("evaluation set `{name}`: no sample {path}"))
            })?;
            return Ok(Files::Here(vec![SourceFile {
                place,
                name: format!("samples/{EVALUATION}{name}.jsonl"),
                sha256: None,
            }]));
        }
        if let (Origin::Dir(dir), false) = (self.origin, source.local()) {
            let folders = [dir.join(&set.repo), dir.join(&source.name)];
            if folders.iter().all(|folder| !origin::is_folder(folder)) {
                let [repo, own] = folders.map(|folder| folder.display().to_string());
                return self.missing(format!(
                    "evaluation set `{name}`: neither {repo} nor {own} is a folder: fetch its files there, take the set out of \
                     [decontamination], or say with decontamination.missing = \"skip\" to go on without it"
                ));
            }
        }
        if let Origin::Hub(fetched) = self.origin
            && !source.local()
            && !fetched.contains_key(&source.name)
        {
            return self.missing(format!("evaluation set `{name}`: {} has no files of it", set.repo));
        }
        let found = origin::files(self.loaded, source, self.origin, &|| self.progress.cancelled())?;
        let only_listed = found.files.is_empty() && matches!(self.origin, Origin::Hub(_));
        Ok(if only_listed { Files::Listed } else { Files::Here(found.files) })
    }

    fn missing(&self, message: String) -> Result<Files> {
        match self.settings.missing {
            Missing::Skip => Ok(Files::Missing),
            Missing::Stop => Err(Error::recipe(&self.loaded.file, message)),
        }
    }

    /// Add the items of a set.
    fn set(
        &mut self,
        set: &EvaluationSet,
        source: &Source,
        files: Vec<SourceFile>,
        inputs: &mut Vec<Input>,
    ) -> Result<()> {
        let limits = inputs::limits(&self.loaded.recipe);
        let fields = Fields::new(&set.fields);
        let extra: Vec<String> = fields.columns().chain(set.id.clone()).collect();
        let (mapping, types) = (Mapping::default(), BTreeMap::new());
        let projection = Projection { schema: &Evaluation, mapping: &mapping, extra: &extra, types: &types };
        let (mut filled, mut below, mut columns, mut items) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new(), 0_u64);
        self.builder.set(&set.name);
        let several = files.len() > 1;
        for SourceFile { place, name, sha256 } in files {
            if let Some(rebuilt) = &self.loaded.rebuilt
                && rebuilt.lock.evaluation.iter().all(|input| input.file != name)
            {
                continue;
            }
            let identity = Identity::of(place.path()).ok();
            let cancelled = || self.progress.cancelled();
            let (before, mut here) = (items, BTreeSet::new());
            let input = source::inspect(&place, &name, source, &limits, &cancelled);
            if cancelled() {
                return Err(Error::Interrupted);
            }
            let input = input?;
            if sha256.is_some_and(|sha256| sha256 != input.inspection.sha256) {
                let message = "is not what the Hub states (another SHA-256): remove it, and run the same command again";
                return Err(Error::damaged(place.path(), message));
            }
            for slice in &input.inspection.slices {
                for item in input.open(slice, &projection, &limits)? {
                    if cancelled() {
                        return Err(Error::Interrupted);
                    }
                    let (at, row) = match item? {
                        Item::Row { at, row } => (at, row),
                        Item::Bad { at, reason, .. } => return Err(SourceError::at(&name, at, reason).into()),
                    };
                    let texts = fields.texts(&row.columns, &mut filled, &mut below);
                    here.extend(row.columns.keys().cloned());
                    let id = set.id.as_ref().and_then(|id| row.columns.get(id)).and_then(plain);
                    let file = name.rsplit('/').next().unwrap_or(&name);
                    let id = id.unwrap_or_else(|| format!("{file}:{}", at.row));
                    self.builder.item(&id, texts.iter().map(String::as_str));
                    items += 1;
                    if self.builder.is_full() {
                        return Err(SourceError::at(&name, at, "the evaluation sets hold too much: name fewer").into());
                    }
                }
            }
            inputs::check_unchanged(&input, identity)?;
            // One file among others that is laid out in another way would go by in silence.
            let missing = |column: &&String| {
                let below = format!("{column}.");
                !here.iter().any(|there| there == *column || there.starts_with(&below))
            };
            if let (Some(column), true) = (extra.iter().find(missing), several && items > before) {
                let there: Names = here.iter().collect();
                let message =
                    format!("evaluation set `{}`: {name} has no column `{column}`; there are {there}", set.name);
                return Err(Error::recipe(&self.loaded.file, message));
            }
            columns.append(&mut here);
            inputs.push(Input {
                source: source.name.clone(),
                file: name,
                repo: source.repo.clone(),
                revision: source.revision.clone(),
                commit: self.origin.commit(&source.name).map(str::to_owned),
                bytes: input.bytes,
                etag: input.etag(),
                sha256: input.inspection.sha256,
            });
        }
        let again = self.loaded.rebuilt.is_some();
        if items == 0 && !again {
            let message = format!(
                "evaluation set `{}` holds no items: fetch its files again, or take it out of the recipe",
                set.name
            );
            return Err(Error::recipe(&self.loaded.file, message));
        }
        let wanted = fields.paths().chain(set.id.as_deref().filter(|id| !columns.contains(*id)));
        let wanted: Vec<&str> = wanted.filter(|path| !filled.contains(*path)).collect();
        if let (Some(field), false) = (wanted.first(), again && items == 0) {
            return Err(self.no_field(set, field, items, (&columns, &below)));
        }
        if items > 0 && self.builder.all_short() {
            let message = format!(
                "evaluation set `{}`: each of its {items} items has fewer words than decontamination.min_words, so nothing would be looked for: name other `fields`, or lower it",
                set.name
            );
            return Err(Error::recipe(&self.loaded.file, message));
        }
        Ok(())
    }

    /// None of a set's items has a text in a field: of an object its own fields are told, else the columns.
    fn no_field(
        &self,
        set: &EvaluationSet,
        field: &str,
        items: u64,
        (columns, below): (&BTreeSet<String>, &BTreeSet<String>),
    ) -> Error {
        let within: Vec<&String> = below.iter().filter(|path| path.starts_with(&format!("{field}."))).collect();
        let (what, there): (_, Names) = if within.is_empty() {
            ("a field", columns.iter().collect())
        } else {
            ("a text in the field", within.into_iter().collect())
        };
        let message =
            format!("evaluation set `{}`: none of its {items} items has {what} `{field}`; there are {there}", set.name);
        Error::recipe(&self.loaded.file, message)
    }

    /// Add the rows of an earlier build.
    fn against(&mut self, name: &str, inputs: &mut Vec<Input>) -> Result<Earlier> {
        const KEY: &str = "decontamination.against";
        let folder = self.loaded.folder_of(KEY, name)?;
        let mut shown = name.to_owned();
        cut(&mut shown);
        let earlier = Earlier::open(shown, &folder, None, KEY)?;
        let split = match self.settings.against_rows {
            AgainstRows::Validation => "validation",
            AgainstRows::All => "",
        };
        let files: Vec<_> = earlier
            .files()
            .filter(|(_, entry)| entry.path.rsplit('/').next().is_some_and(|f| f.starts_with(split)))
            .collect();
        if files.is_empty() {
            let message = "has no rows that validate: say with decontamination.against_rows = \"all\" that all of its rows \
                           count, or take it out of decontamination.against";
            return Err(Error::damaged(folder, message));
        }
        self.builder.set(&earlier.name);
        let builder = &mut self.builder;
        for (path, entry) in files {
            earlier.each_row(path, self.progress, |content| {
                if builder.is_full() {
                    return Err(Error::damaged(
                        path,
                        "holds too much to be held in memory: see decontamination.against_rows",
                    ));
                }
                builder.item(&hex(&key::id(content)), texts(content).iter().map(String::as_str));
                Ok(())
            })?;
            inputs.push(Input {
                source: format!("{EVALUATION}{}", earlier.name),
                file: entry.path.clone(),
                repo: String::new(),
                revision: String::new(),
                commit: None,
                bytes: entry.bytes,
                sha256: entry.sha256.clone(),
                etag: None,
            });
        }
        Ok(earlier)
    }
}

/// What a row says as an item: the whole of it, and of a conversation also what is asked. A system prompt is shared by many rows
/// and tells nothing of one.
pub fn texts(content: &Content) -> Vec<String> {
    let joined = |turns: &mut dyn Iterator<Item = &Message>| {
        turns.map(|turn| turn.content.as_str()).collect::<Vec<_>>().join("\n")
    };
    match content {
        Content::Text(text) => vec![text.clone()],
        conversation => vec![
            joined(&mut conversation.messages().filter(|turn| turn.role == "user")),
            joined(&mut conversation.messages().filter(|turn| turn.role != "system")),
        ],
    }
}

/// The texts of an item: each is the paths of its fields.
struct Fields(Vec<Vec<String>>);

impl Fields {
    fn new(fields: &[String]) -> Self {
        let paths = |text: &String| text.split('+').map(|path| path.trim().to_owned()).collect();
        Self(fields.iter().map(paths).collect())
    }

    fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flatten().map(String::as_str)
    }

    /// The columns that hold the fields.
    fn columns(&self) -> impl Iterator<Item = String> {
        self.paths().map(|path| path.split('.').next().unwrap_or(path).to_owned())
    }

    /// The texts of a row; `filled` gets the paths that say anything, `below` the fields of those that are objects.
    fn texts(
        &self,
        columns: &serde_json::Map<String, Value>,
        filled: &mut BTreeSet<String>,
        below: &mut BTreeSet<String>,
    ) -> Vec<String> {
        let text = |paths: &Vec<String>| {
            let mut said = Vec::new();
            for path in paths {
                let before = said.len();
                if let Some(value) = columns.get(path) {
                    collect(value, &[], &mut said);
                    let first = value.as_array().and_then(|list| list.first()).unwrap_or(value);
                    let names = first.as_object().into_iter().flat_map(|fields| fields.keys());
                    below.extend(names.map(|name| format!("{path}.{name}")));
                } else {
                    let parts: Vec<&str> = path.split('.').collect();
                    columns.get(parts[0]).into_iter().for_each(|value| collect(value, &parts[1..], &mut said));
                }
                if said.len() > before && !filled.contains(path) {
                    filled.insert(path.clone());
                }
            }
            said.join("\n")
        };
        self.0.iter().map(text).collect()
    }
}

/// The texts of a value below a path; of a list, those of every element.
fn collect(value: &Value, path: &[&str], said: &mut Vec<String>) {
    match (value, path) {
        (Value::Array(elements), _) => elements.iter().for_each(|element| collect(element, path, said)),
        (Value::Object(fields), [first, rest @ ..]) => {
            fields.get(*first).into_iter().for_each(|value| collect(value, rest, said));
        }
        (value, []) => said.extend(plain(value)),
        _ => {}
    }
}

/// A text or a number as it prints.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use setaccio_base::row::Row;

    use super::*;

    #[test]
    fn fields_are_joined_and_followed_into_lists_and_objects() {
        let row = serde_json::json!({
            "q": "Dove?", "choices": {"text": ["Qui", "Là"], "label": ["A", "B"]},
            "turns": [{"said": "uno"}, {"said": "due"}], "n": 4, "a.b": "punto", "none": null,
        });
        let Value::Object(columns) = row else { panic!("an object") };
        for (fields, texts, missing) in [
            (vec!["q", "q + choices.text"], vec!["Dove?", "Dove?\nQui\nLà"], 0),
            (vec!["turns.said+n"], vec!["uno\ndue\n4"], 0),
            (vec!["a.b"], vec!["punto"], 0),
            (vec!["none", "other", "q.text"], vec!["", "", ""], 3),
        ] {
            let fields = Fields::new(&fields.into_iter().map(str::to_owned).collect::<Vec<_>>());
            let (mut filled, mut below) = (BTreeSet::new(), BTreeSet::new());
            assert_eq!(fields.texts(&columns, &mut filled, &mut below), texts);
            assert!(below.is_empty());
            assert_eq!(fields.paths().filter(|path| !filled.contains(*path)).count(), missing);
        }
    }

    #[test]
    fn an_object_tells_its_fields() {
        let row = serde_json::json!({"q": {"stem": "Dove?", "choices": ["Qui"]}, "list": [{"said": "uno"}]});
        let Value::Object(columns) = row else { panic!("an object") };
        let (mut filled, mut below) = (BTreeSet::new(), BTreeSet::new());
        let fields = Fields::new(&["q".to_owned(), "list".to_owned()]);
        assert_eq!(fields.texts(&columns, &mut filled, &mut below), ["", ""]);
        assert!(filled.is_empty());
        assert_eq!(below.into_iter().collect::<Vec<_>>(), ["list.said", "q.choices", "q.stem"]);
    }

    #[test]
    fn a_system_prompt_is_no_part_of_an_item() {
        let chat = Row::chat(&[("system", "Rispondi"), ("user", "Dove?"), ("assistant", "Qui")]);
        assert_eq!(texts(&chat.content), ["Dove?", "Dove?\nQui"]);
        assert_eq!(texts(&Row::text("Uno").content), ["Uno"]);
    }
}
