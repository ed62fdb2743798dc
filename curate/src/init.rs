//! A recipe for somebody's own rows: what their files hold decides the schema, the filters and what the card says.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::{Component, Path, PathBuf},
};

use serde_json::Value;
use setaccio_base::{
    atomic,
    card::UNKNOWN_LICENSE,
    numbers::grouped,
    progress::Progress,
    row::{Content, Kind, Row},
    shell, suggest,
};
use setaccio_dataset::{
    recipe::{ColumnType, OnBadRow, Read, Source},
    shard::Position,
};
use setaccio_filters::{context::Context, pipeline::Pipeline, registry};

use crate::{
    error::{Error, Result},
    recipe::{check_language, check_license, check_name},
    source::{
        self, ColumnSpec, InputFile, Item, Limits, Mapping, Names, Projection, Reading, Record, SCHEMAS, Schema,
        own_files::{self, OwnFile},
        schema, stored_files,
    },
};

/// So many of the first rows of each file are looked at.
const LOOKED_AT: usize = 1000;

/// So many of these, taken evenly over all files, are asked for their language.
const ASKED: usize = 1000;

/// Share of the rows that must be of one language for it to be that of the recipe.
const MOSTLY: f64 = 0.9;

/// What is asked for.
pub struct Request<'a> {
    /// Name of the recipe and of its source.
    pub name: &'a str,
    /// The folder that the recipe is going to lie in.
    pub folder: &'a Path,
    /// Files, or folders of files, of rows.
    pub files: &'a [PathBuf],
    /// Their schema; guessed if it is not given.
    pub schema: Option<&'a str>,
    /// The field that holds the rows, where a file is one object; guessed if it is not given.
    pub field: Option<&'a str>,
    /// The encoding of the files; UTF-8, or what a byte order mark says, if it is not given.
    pub encoding: Option<&'a str>,
    /// A schema's column, and the name that it has in the files.
    pub rename: BTreeMap<String, String>,
    /// Title of the card.
    pub title: Option<&'a str>,
    /// Licence, as the Hub spells it.
    pub license: Option<&'a str>,
    /// Language, ISO 639-1; guessed if it is not given.
    pub language: Option<&'a str>,
    /// What a row that cannot be read does.
    pub on_bad_row: OnBadRow,
    /// Who follows it.
    pub progress: &'a dyn Progress,
}

/// A recipe that plans and builds as it is.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its text.
    pub text: String,
    /// The schema.
    pub schema: &'static str,
    /// Why this schema.
    pub why: String,
    /// The language of the rows, if most are of one.
    pub language: Option<String>,
    /// How many rows were looked at.
    pub rows: usize,
}

/// A row as it was read, under the schema's names, and where.
type SurveyRow = (String, Position, Record);

/// Rows that could not be read.
#[derive(Default)]
struct Bad {
    count: u64,
    /// The first of them, and why.
    first: Option<String>,
}

/// What the files hold.
struct Survey {
    /// The first rows of every file.
    rows: Vec<SurveyRow>,
    /// The field that holds the rows, where a file is one object.
    field: Option<String>,
    /// Whether the files are plain text.
    texts: bool,
    /// What the files are called.
    files: Names,
    /// The name and size of each.
    sizes: Vec<(String, u64)>,
    bad: Bad,
}

/// Look into the files, and write the recipe.
///
/// # Errors
/// Files that are missing or cannot be read, a row that is none, no schema that fits: each with the file and the row.
pub fn draft(request: &Request<'_>) -> Result<Draft> {
    check_name(request.name).map_err(Error::Argument)?;
    check_told(request).map_err(Error::Argument)?;
    let paths = paths(request)?;
    let survey = look(request, &paths)?;
    if survey.rows.is_empty() {
        return Err(Error::Argument(nothing(&survey)));
    }
    let Survey { rows, field, texts, sizes, .. } = survey;
    let (schema, why) = fitting(request, &rows, &sizes)?;
    let language = request.language.map(str::to_owned).or_else(|| language(schema, &rows));
    let mut keys = String::new();
    if let Some(encoding) = request.encoding {
        let encoding = toml::Value::from(encoding);
        let _ = writeln!(
            keys,
            "# What the files' text is in, where a byte order mark does not say.\nencoding = {encoding}"
        );
    }
    if let Some(field) = field {
        let field = toml::Value::from(field);
        let _ = writeln!(keys, "# Each file is one object, which holds the rows in this field.\nfield = {field}");
    }
    if texts {
        keys.push_str("# Each file is a document; `line` makes one of each line.\ndocuments = \"file\"\n");
    }
    let text = write(request, schema, &why, (&paths, &keys), language.as_deref());
    Ok(Draft { text, schema: schema.name(), why, language, rows: rows.len() })
}

/// Check what the card is going to say.
fn check_told(request: &Request<'_>) -> std::result::Result<(), String> {
    if let Some(license) = request.license {
        check_license(license)
            .map_err(|e| format!("--license {e}; without --license the recipe says `{UNKNOWN_LICENSE}`"))?;
    }
    if let Some(language) = request.language {
        check_language(language).map_err(|e| format!("--language {e}; without --language the rows are asked"))?;
    }
    Ok(())
}

/// What the recipe calls each file or folder: an absolute path stays one, others are relative to the recipe's folder. What is
/// given twice, by one name or by two, is there once.
pub fn paths(request: &Request<'_>) -> Result<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut paths = Vec::new();
    for file in request.files {
        if let Some(address) = stored_files::address(file) {
            if seen.insert(file.clone()) {
                paths.push(address.to_owned());
            }
            continue;
        }
        if seen.insert(file.canonicalize().map_err(Error::io("find", file))?) {
            paths.push(if file.is_absolute() { file.display().to_string() } else { relative(file, request.folder)? });
        }
    }
    Ok(paths)
}

/// A file's path relative to the recipe's folder.
fn relative(file: &Path, folder: &Path) -> Result<String> {
    let find = |path: &Path| path.canonicalize().map_err(Error::io("find", path));
    // A link keeps its own name: what is behind it may be called otherwise tomorrow.
    let to = match file.file_name() {
        Some(name) => find(atomic::parent(file))?.join(name),
        None => find(file)?,
    };
    let from = find(folder)?;
    let shared = to.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    let parts: Vec<_> =
        up.chain(to.components().skip(shared)).map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    Ok(if parts.is_empty() { ".".into() } else { parts.join("/") })
}

/// The first rows of every file, under the schema's names.
fn look(request: &Request<'_>, paths: &[String]) -> Result<Survey> {
    let read = Read::default();
    let limits = Limits {
        slice_bytes: read.task_bytes,
        max_row_bytes: read.max_row_bytes,
        count_compressed: false,
        window_log: read.window_log,
    };
    let files = own_files::find(request.folder, paths, &|| request.progress.cancelled())?.files;
    if request.progress.cancelled() {
        return Err(Error::Interrupted);
    }
    request.progress.stage("look", files.len() as u64);
    let (mut rows, mut texts, mut bad) = (Vec::new(), false, Bad::default());
    let [encoding, field] = [request.encoding, request.field].map(|told| told.map(str::to_owned));
    let mut of = Source { encoding, field, ..Source::default() };
    let names = files.iter().map(|file| &file.name).collect();
    let mut sizes: Vec<(String, u64)> = Vec::new();
    for OwnFile { place, name } in files {
        let inspect = |of: &Source| {
            let cancelled = || request.progress.cancelled();
            let file = source::inspect(&place, &name, of, &limits, &cancelled)?;
            if cancelled() { Err(Error::Interrupted) } else { Ok(file) }
        };
        let mut file = inspect(&of)?;
        let mut found = first(request, &file, &limits, &mut bad)?;
        // One object that is no row may hold them.
        let table = match (found.as_slice(), file.reader.hint()) {
            ([(_, _, record)], Some(hint)) if !is_row(request, record) => {
                let mut tables = hint.tables();
                let (Some(only), 0) = (tables.next(), tables.len()) else {
                    return Err(Error::Argument(several(&name, hint.tables())));
                };
                Some(only.to_owned())
            }
            _ => None,
        };
        if table.is_some() {
            of.field = table;
            file = inspect(&of)?;
            found = first(request, &file, &limits, &mut bad)?;
        }
        texts |= file.reader.plain_text();
        sizes.push((file.name.clone(), file.bytes));
        rows.extend(found);
        request.progress.advance(1, "");
    }
    for (column, here) in &request.rename {
        if rows.iter().all(|(_, _, record)| !record.contains_key(here)) {
            let there: BTreeSet<&str> =
                rows.iter().flat_map(|(_, _, record)| record.keys()).map(String::as_str).collect();
            let near = suggest::nearest(here, there.iter().copied());
            let there = quoted_list(there);
            return Err(Error::Argument(format!(
                "--rename {column}={here}: no row has a column `{here}`{near}; there are {there}"
            )));
        }
    }
    for (_, _, record) in &mut rows {
        schema::rename(record, &request.rename);
    }
    Ok(Survey { rows, field: of.field, texts, files: names, sizes, bad })
}

/// What is said of a file that is one object with several fields in which the rows may be.
fn several<'a>(file: &str, fields: impl Iterator<Item = &'a str>) -> String {
    let fields: Vec<&str> = fields.collect();
    let names: Names = fields.iter().collect();
    let example = shell::word(fields.first().copied().unwrap_or_default());
    format!(
        "{file} is one object that holds several lists of objects: {names}. Say which one holds the rows, for instance \
         `--field {example}`; a recipe that reads them all has a [[source]] for each, with `field`"
    )
}

/// What is said where there is no row to look at.
fn nothing(survey: &Survey) -> String {
    let Survey { files, bad, .. } = survey;
    match (&bad.first, files.count()) {
        (None, 1) => format!("{files} holds no rows: put some into it first"),
        (None, _) => format!("none of these files holds a row, put some into one first: {files}"),
        (Some(first), _) => {
            let of = grouped(bad.count);
            format!("there is no row to look at: none of {of} can be read ({files}); the first is {first}")
        }
    }
}

/// Whether any schema reads a record.
fn is_row(request: &Request<'_>, record: &Record) -> bool {
    let mut record = record.clone();
    schema::rename(&mut record, &request.rename);
    SCHEMAS.iter().any(|schema| schema.content(&mut record.clone().into()).is_ok())
}

/// Names in backquotes, the first of them if there are many.
fn quoted_list<'a>(names: impl IntoIterator<Item = &'a str>) -> Names {
    Names::of_columns(names).written(|name| format!("`{name}`"))
}

fn first(request: &Request<'_>, file: &InputFile, limits: &Limits, bad: &mut Bad) -> Result<Vec<SurveyRow>> {
    let mut rows = Vec::new();
    let (mapping, extra) = (Mapping::default(), request.rename.values().cloned().collect::<Vec<_>>());
    // Rows are renamed after they are read.
    let flags = request.rename.iter().filter(|(column, _)| Whole.flags().contains(&column.as_str()));
    let types = flags.map(|(_, here)| (here.clone(), ColumnType::Bool)).collect();
    let projection = Projection { schema: &Whole, mapping: &mapping, extra: &extra, types: &types };
    for slice in &file.inspection.slices {
        for item in file.open(slice, &projection, limits)? {
            match item? {
                Item::Row { at, row } => {
                    let Content::Text(text) = row.content else { continue };
                    let Ok(Value::Object(record)) = serde_json::from_str(&text) else { continue };
                    rows.push((file.name.clone(), at, record));
                }
                Item::Bad { at, reason, .. } => {
                    bad.count += 1;
                    bad.first.get_or_insert_with(|| format!("{}, {at}: {reason}", file.name));
                    self::bad(request, &file.name, at, reason)?;
                }
            }
            if rows.len() == LOOKED_AT {
                return Ok(rows);
            }
        }
    }
    Ok(rows)
}

/// Stop at a bad row, if the recipe is going to.
fn bad(request: &Request<'_>, file: &str, at: Position, reason: String) -> Result<()> {
    match request.on_bad_row {
        OnBadRow::Skip => Ok(()),
        OnBadRow::Stop => Err(Error::BadRow { file: file.to_owned(), at: at.to_string(), rule: "bad_row", reason }),
    }
}

/// Not a schema of anybody's: the record as it is, with every column that a schema may ask for.
struct Whole;

impl Schema for Whole {
    fn name(&self) -> &'static str {
        "whole"
    }
    fn kind(&self) -> Kind {
        Kind::Text
    }
    fn about(&self) -> &'static str {
        "the record as it is"
    }
    fn flags(&self) -> &'static [&'static str] {
        static FLAGS: std::sync::LazyLock<Vec<&'static str>> =
            std::sync::LazyLock::new(|| SCHEMAS.iter().flat_map(|schema| schema.flags()).copied().collect());
        &FLAGS
    }
    fn example(&self) -> &'static str {
        ""
    }
    fn columns(&self) -> &'static [ColumnSpec] {
        static COLUMNS: std::sync::LazyLock<Vec<ColumnSpec>> = std::sync::LazyLock::new(|| {
            let all = SCHEMAS.iter().flat_map(|schema| schema.columns());
            all.map(|column| ColumnSpec { required: false, ..*column }).collect()
        });
        &COLUMNS
    }
    fn content(&self, record: &mut Reading) -> std::result::Result<Content, String> {
        Ok(Content::Text(Value::Object(std::mem::take(&mut record.columns)).to_string()))
    }
}

/// The schema that was asked for, or the one that fits: it reads all rows, and takes the most of their columns.
fn fitting(
    request: &Request<'_>,
    rows: &[SurveyRow],
    sizes: &[(String, u64)],
) -> Result<(&'static dyn Schema, String)> {
    let sizes: Vec<(&str, u64)> = sizes.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    let reads = |schema: &dyn Schema, record: &Record| schema.content(&mut record.clone().into()).map(drop);
    // The columns of the first row that the schema reads.
    let known = |schema: &dyn Schema| -> Vec<&'static str> {
        let first = rows.iter().find(|(_, _, record)| reads(schema, record).is_ok());
        let has = |name: &&str| first.is_some_and(|(_, _, record)| record.contains_key(*name));
        schema.columns().iter().map(|c| c.name).filter(has).collect()
    };
    let schema = if let Some(name) = request.schema {
        source::find_schema(name).map_err(Error::Argument)?
    } else {
        let fits = |schema: &&dyn Schema| {
            let read = rows.iter().filter(|(_, _, record)| reads(*schema, record).is_ok()).count();
            let known = known(*schema);
            let required = schema.columns().iter().filter(|c| c.required && known.contains(&c.name)).count();
            (read, known.len(), required)
        };
        // Of equals the first: `max_by_key` would take the last.
        let best = SCHEMAS.iter().rev().max_by_key(|schema| fits(schema)).copied();
        let best = best.filter(|schema| fits(schema).0 * 2 > rows.len());
        if let Some(message) = mixed(rows, best) {
            return Err(Error::Argument(message));
        }
        best.ok_or_else(|| Error::Argument(no_schema(rows)))?
    };
    let columns = schema.columns().iter().map(|column| column.name);
    if let Some(unknown) = request.rename.keys().find(|name| columns.clone().all(|column| column != *name)) {
        let near = suggest::nearest(unknown, columns.clone());
        let columns: Vec<&str> = columns.collect();
        let message = format!("--rename {unknown}: the schema {} takes {}{near}", schema.name(), columns.join(", "));
        return Err(Error::Argument(message));
    }
    for (file, at, record) in rows {
        if let Err(reason) = reads(schema, record) {
            let stray = source::stray(&sizes, file).filter(|_| at.row == 0).unwrap_or_default();
            let reason = format!("{reason} (schema {}){stray}", schema.name());
            bad(request, file, *at, reason)?;
        }
    }
    let columns: Vec<String> = known(schema).into_iter().map(|name| format!("`{name}`")).collect();
    let why = if request.schema.is_some() {
        "as you said".to_owned()
    } else {
        let read = rows.iter().filter(|(_, _, record)| reads(schema, record).is_ok()).count();
        let [read, all] = [read, rows.len()].map(|n| grouped(n as u64));
        let share =
            if read == all { format!("the first {all} rows") } else { format!("{read} of the first {all} rows") };
        format!("{share} have its columns {}", columns.join(", "))
    };
    Ok((schema, why))
}

/// What is said of rows that no one schema reads.
fn no_schema(rows: &[SurveyRow]) -> String {
    let record = &rows[0].2;
    let columns_of = |record: &Record| quoted_list(record.keys().map(String::as_str).collect::<BTreeSet<_>>());
    let known = |schema: &&dyn Schema| {
        let required = schema.columns().iter().filter(|c| c.required);
        let (have, lack): (Vec<&ColumnSpec>, Vec<&ColumnSpec>) = required.partition(|c| record.contains_key(c.name));
        (have.len(), std::cmp::Reverse(lack.len()))
    };
    let nearest = SCHEMAS.iter().rev().copied().max_by_key(known).filter(|schema| known(schema).0 > 0);
    // The first row may be one that it reads.
    let unread =
        |schema: &dyn Schema| rows.iter().find(|(_, _, record)| schema.content(&mut record.clone().into()).is_err());
    let (file, at, record) = nearest.and_then(unread).unwrap_or(&rows[0]);
    let columns = columns_of(record);
    // What it says of the other columns is said here already.
    let reason = nearest.and_then(|schema| Some((schema.name(), schema.content(&mut record.clone().into()).err()?)));
    let first = |reason: String| reason.split(';').next().unwrap_or_default().to_owned();
    let reason =
        reason.map_or_else(String::new, |(name, reason)| format!(" The nearest is {name}: {}.", first(reason)));
    if record.is_empty() {
        return format!(
            "{file}, {at}: the row is an empty object, {{}}, and a schema reads columns: give rows that have some"
        );
    }
    format!(
        "{file}, {at}: no schema reads a row with the columns {columns}; `setaccio schemas` lists what each takes.{reason} Say \
         which columns hold what, for instance\n  \
         --schema alpaca --rename instruction=QUESTION --rename output=ANSWER\n  \
         --schema preference --rename prompt=QUESTION --rename chosen=BETTER --rename rejected=WORSE\n  \
         --schema text --rename text=COLUMN"
    )
}

/// What is said of files in more than one layout, if they are: of each file of which one schema reads every row that was
/// looked at, that schema. `best` counts before others.
fn mixed(rows: &[SurveyRow], best: Option<&'static dyn Schema>) -> Option<String> {
    let mut layouts: Vec<(&str, &'static dyn Schema)> = Vec::new();
    for rows in rows.chunk_by(|a, b| a.0 == b.0) {
        let reads =
            |schema: &&'static dyn Schema| rows.iter().all(|(_, _, r)| schema.content(&mut r.clone().into()).is_ok());
        layouts.extend(best.into_iter().chain(SCHEMAS.iter().copied()).find(reads).map(|s| (rows[0].0.as_str(), s)));
    }
    let (_, first) = *layouts.first()?;
    if layouts.iter().all(|(_, schema)| schema.name() == first.name()) {
        return None;
    }
    let told: Vec<String> = layouts.iter().map(|(file, schema)| format!("\n  {file}: {}", schema.name())).collect();
    let advice = if layouts.iter().all(|(_, schema)| schema.kind() == first.kind()) {
        "a recipe reads each layout as a [[source]] of its own: write a recipe with `setaccio init` for each, and put their \
         [[source]] tables into one"
    } else {
        "rows of different kinds are no one data set: write a recipe with `setaccio init` for each"
    };
    Some(format!("the files are in more than one layout:{}\n  {advice}", told.concat()))
}

/// The language that most rows are in, as the rule `language` tells it.
fn language(schema: &dyn Schema, rows: &[SurveyRow]) -> Option<String> {
    let rule = registry::find("language").ok()?;
    let candidates = (rule.defaults)().ok()?.get("candidates")?.clone();
    let settings = toml::Table::from_iter([("keep".to_owned(), candidates), ("per".to_owned(), "row".into())]);
    let pipeline = Pipeline::new(rule.compile(settings, &Context::default()).ok()?, schema.kind()).ok()?;
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for (_, _, record) in rows.iter().step_by(rows.len().div_ceil(ASKED).max(1)) {
        let Ok(content) = schema.content(&mut record.clone().into()) else { continue };
        let mut row = Row::new(content);
        pipeline.apply(&mut row, &mut pipeline.tallies());
        if let Some(language) = row.language {
            *told.entry(language).or_default() += 1;
        }
    }
    let all: usize = told.values().sum();
    let (language, most) = told.into_iter().max_by_key(|(_, n)| *n)?;
    #[allow(clippy::cast_precision_loss, reason = "at most a thousand")]
    let share = most as f64 / all as f64;
    (share >= MOSTLY).then_some(language)
}

/// The recipe's text.
fn write(
    request: &Request<'_>,
    schema: &dyn Schema,
    why: &str,
    (paths, keys): (&[String], &str),
    language: Option<&str>,
) -> String {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let list = |items: &[String]| toml::Value::from(items.to_vec()).to_string();
    let name = request.name;
    let kind = schema.kind();
    let rows = match kind {
        Kind::Chat => "Conversations",
        Kind::Preference => "Pairs of a better and a worse answer",
        Kind::Text => "Documents",
    };
    let mut out = format!(
        "# {rows}, written by `setaccio init`: all of it may be changed.\n#\n\
         #   setaccio plan {name}.toml       what a build reads and does\n\
         #   setaccio preview {name}.toml    rows that it keeps and drops, with the reasons\n\
         #   setaccio build {name}.toml      the data set, in data/out/{name}\n#\n\
         # `setaccio rules` lists every filter, `setaccio rules NAME` the settings of one.\n\
         name = {}\ntitle = {}\nabout = {}\nkind = {}\nseed = 42\n\n\
         [[source]]\nname = {}\n# {}: {why}.\nschema = {}\n\
         # Relative to this file's folder, or absolute; a folder is read whole, and `rows/*.jsonl` names many files.\npath = {}\n{keys}",
        quoted(name),
        quoted(request.title.unwrap_or(name)),
        quoted(&format!("{rows} of our own.")),
        quoted(kind.name()),
        quoted(name),
        schema.about(),
        quoted(schema.name()),
        match paths {
            [path] => quoted(path),
            paths => list(paths),
        },
    );
    if request.license.is_none() {
        out.push_str(
            "# What may be done with the rows, as the Hub spells it: cc-by-4.0, apache-2.0, ... `setaccio plan` reminds you \
             of it\n# until it is known.\n",
        );
    }
    let _ = writeln!(out, "license = {}", quoted(request.license.unwrap_or(UNKNOWN_LICENSE)));
    if let Some(language) = language {
        let _ = writeln!(out, "# What most rows are in, ISO 639-1.\nlanguage = {}", quoted(language));
    }
    if !request.rename.is_empty() {
        let pairs: Vec<String> = request.rename.iter().map(|(a, b)| format!("{} = {}", quoted(a), quoted(b))).collect();
        let _ =
            writeln!(out, "# The schema's column, and what it is called here.\nrename = {{ {} }}", pairs.join(", "));
    }
    out.push_str(match kind {
        Kind::Chat => CHAT,
        Kind::Preference => PREFERENCE,
        Kind::Text => TEXT,
    });
    let keep = quoted(language.unwrap_or("en"));
    let _ = write!(
        out,
        "\n# Drops rows in other languages.\n# [[filter]]\n# rule = \"language\"\n# keep = [{keep}]\n# per = \"row\"\n\
         \n# Drops rows with words of a list: your own, or lists by name and SHA-256 (`setaccio lists`).\n# [[filter]]\n\
         # rule = \"bad_words\"\n# words = [\"...\"]\n\
         \n# Keeps one of rows that are the same but for case and white space. Without this table all stay.\n[dedup]\n\
         \n# So many rows at most, chosen by a hash of the content and the seed.\n# [sample]\n# rows = 10000\n\
         \n# This share of the rows is held out in the split `validation`.\n[split]\nvalidation = 0.02\n"
    );
    if schema.name() == "kto" {
        out.push_str(
            "\n# KTO learns from the label, which is kept whether or not it is named.\n[output]\nkeep = { label = \"bool\" }\n",
        );
    } else if kind == Kind::Chat {
        out.push_str(
            "\n# Adds a column with each conversation as text, in a chat template: a file beside this one, or one that the\n\
             # program carries. Training does not need it.\n# [output]\n# template = \"templates/chatml.jinja\"\n",
        );
    }
    if request.on_bad_row == OnBadRow::Skip {
        out.push_str("\n# Rows that cannot be read go to the rejects instead of stopping the build.\n[read]\non_bad_row = \"skip\"\n");
    }
    let languages: Vec<String> = language.iter().map(|l| (*l).to_owned()).collect();
    let _ = write!(
        out,
        "\n# What the card says that the rows do not: languages, tags for the Hub, known limits in a sentence each.\n[card]\n\
         language = {}\ntask_categories = [\"text-generation\"]\ntags = []\nlimits = []\n",
        list(&languages),
    );
    out
}

const CHAT: &str = r#"
# The filters, in order.

# Cuts out tokens such as `<<human>>:` that got into the texts.
[[filter]]
rule = "strip_role_tokens"

# Drops answers that are empty, a stand-in (n/a, none, ...) or the question again.
[[filter]]
rule = "answer"

# Drops conversations that no chat template takes: turns out of order, no answer at the end.
[[filter]]
rule = "roles"

# Drops answers of more than so many characters.
[[filter]]
rule = "length"
of = "answer"
max_chars = 16000
"#;

const PREFERENCE: &str = r#"
# The filters, in order.

# Drops pairs that teach nothing: equal or empty sides, no question, scores the wrong way round.
[[filter]]
rule = "preference_sanity"

# Drops answers of more than so many characters.
[[filter]]
rule = "length"
of = "answer"
max_chars = 16000
"#;

const TEXT: &str = r#"
# The filters, in order.

# Drops empty documents; web pages want a few hundred characters.
[[filter]]
rule = "length"
min_chars = 1

# Drops documents of few sentences: menus, lists, captions.
# [[filter]]
# rule = "sentences"
# min = 3
"#;
