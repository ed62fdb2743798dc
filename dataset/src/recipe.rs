//! A recipe: these structs ARE its TOML schema. Paths in a recipe are relative to the recipe's folder.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::{date, row::Kind};

use crate::{
    columns::{Extras, TOOLS},
    decontamination::Decontamination,
    keys::{is_default, one_or_more},
};

pub use crate::{
    keys::{Documents, FileFormat},
    repeats::Repeats,
};

/// Where rows come from, what is done to them, and what is said of the result.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Name of the output folder and, slugged, of the data set.
    pub name: String,
    /// One line for the card's title.
    pub title: String,
    /// A paragraph for the card: what it is and what it is for.
    pub about: String,
    /// What every row is.
    pub kind: Kind,
    /// Seed of the sampling and shuffling hash.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Which alternative set of sources to use, where sources name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// The sources, in order of preference.
    pub source: Vec<Source>,
    /// The rules, in order; each table's `rule` names one, `as` names it in the ledger and the rejects, `off = true` leaves it out,
    /// the rest are its settings (`setaccio rules`). `[[screen]]` is the older name of `[[filter]]`.
    // Outputs keep the older name: a change of it would change every lock.
    #[serde(default, rename(serialize = "screen", deserialize = "filter"), alias = "screen")]
    #[schemars(with = "Vec<serde_json::Map<String, serde_json::Value>>")]
    pub filter: Vec<FilterTable>,
    /// Exact deduplication; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup: Option<Dedup>,
    /// Rows that hold items of evaluation sets are dropped; absent: they stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decontamination: Option<Decontamination>,
    /// Sampling; absent: every row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
    /// Splitting; absent: all rows train.
    #[serde(default)]
    pub split: Split,
    /// Reading.
    #[serde(default)]
    pub read: Read,
    /// Shards and columns.
    #[serde(default)]
    pub output: Output,
    /// What the card says that the ledger cannot know.
    #[serde(default)]
    pub card: Card,
}

fn default_seed() -> u64 {
    42
}

impl Recipe {
    /// What conversations have columns for, whether or not a row needs them.
    pub fn extras(&self) -> Extras {
        let tools = self.kind != Kind::Text && self.output.keep.contains_key(TOOLS);
        tools.then_some(TOOLS).into_iter().collect()
    }

    /// The kept columns, with their types. `tools` is a part of conversations.
    pub fn kept(&self) -> impl Iterator<Item = (&String, ColumnType)> {
        let content = |name: &str| self.kind != Kind::Text && name == TOOLS;
        self.output.keep.iter().filter(move |(name, _)| !content(name)).map(|(name, kind)| (name, *kind))
    }

    /// How rows that mean the same are told, if that is wanted.
    pub fn semantic(&self) -> Option<&Semantic> {
        self.dedup.as_ref()?.semantic.as_ref().filter(|semantic| !semantic.off)
    }

    /// What rows lose because others hold it, if that is wanted.
    pub fn repeats(&self) -> Option<&Repeats> {
        self.dedup.as_ref()?.repeats.as_ref().filter(|repeats| !repeats.off)
    }

    /// The kept column by which rows that are the same may contradict each other.
    pub fn label(&self) -> Option<&str> {
        let label = self.dedup.as_ref()?.label.as_str();
        self.output.keep.contains_key(label).then_some(label)
    }
}

/// One source of rows.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Value of the `source` column, and the folder looked for under `--from DIR`.
    pub name: String,
    /// How its columns are laid out (`setaccio schemas`).
    pub schema: String,
    /// Files of your own: a file, a glob or a folder, or a list of these; absolute, or relative to the recipe's folder.
    /// With it a source needs none of `repo`, `revision`, `files`, `samples` and `license`, and `--from` leaves it alone.
    #[serde(default, deserialize_with = "one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// Hub repository, `owner/name`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub repo: String,
    /// Commit, tag or branch of that repository.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// Globs of its files within the repository. Without a repository they are of the recipe's folder, as in `path`, which is
    /// the newer name for that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// The bundled sample file that stands for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub samples: String,
    /// Its licence, as the Hub spells it; `unknown` where files of your own have none yet.
    #[serde(default)]
    pub license: String,
    /// Rows its publisher states, for `plan`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Share of the mix, relative to the other sources' weights; all sources or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Used only when the recipe's `variant` is this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Reference for the card.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub citation: Option<String>,
    /// Language of its rows, ISO 639-1, until a `language` rule says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// A schema's column, and the name that it has in this source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rename: BTreeMap<String, String>,
    /// A schema's column, and a Jinja template that makes it of the columns of a row, by the names that these have in the files:
    /// `instruction = "Di che umore è chi scrive?"`, `input = "{{ text }}"`, `output = "{{ {'0': 'triste', '1': 'lieto'}[label | string] }}"`. A row
    /// without a column that a template reads is a bad row, unless the template asks (`is defined`, `default`); a template that is
    /// the same for all rows has to stand beside one that is not. What templates read is used up, unless `output.keep` or a
    /// filter names it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub template: BTreeMap<String, String>,
    /// What its files are, where neither their first bytes nor the endings of their names tell (.csv, .tsv, .txt, .md).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<FileFormat>,
    /// Of JSON files that are one object: the field that holds the rows, a list of objects or an object of columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Of CSV files: the character between two fields. Absent: the one of `,`, `;`, tab and `|` that the first lines agree on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<char>,
    /// Of CSV files: the character around fields that hold separators or line breaks, `"` if nothing is said; empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
    /// Of CSV files without a header line: the names of their columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The encoding of its text, JSON and CSV files, by its name on the web: `windows-1252`, `gbk`. Absent: UTF-8, or what a
    /// byte order mark says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Of text files: what a document is.
    #[serde(default, skip_serializing_if = "Documents::is_default")]
    pub documents: Documents,
}

impl Source {
    /// Whether its files are the recipe's own.
    pub fn local(&self) -> bool {
        self.repo.is_empty()
    }

    /// What names the files of a local source.
    pub fn own_files(&self) -> &[String] {
        if self.path.is_empty() { &self.files } else { &self.path }
    }
}

/// A `[[filter]]` table: the rule that it names, the name that outputs give it, and the settings of the rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "toml::Table", into = "toml::Table")]
pub struct FilterTable {
    /// `rule`; empty if the table names none.
    pub rule: String,
    /// `as`.
    pub alias: Option<String>,
    /// `off`: it is as if the table were not there.
    pub off: bool,
    /// All else.
    pub settings: toml::Table,
}

impl From<toml::Table> for FilterTable {
    fn from(mut settings: toml::Table) -> Self {
        // What is of another type stays among the settings, where `check` finds it.
        let mut text = |key: &str| {
            let text = settings.get(key)?.as_str()?.to_owned();
            settings.remove(key);
            Some(text)
        };
        let (rule, alias) = (text("rule").unwrap_or_default(), text("as"));
        let off = settings.get("off").and_then(toml::Value::as_bool);
        if off.is_some() {
            settings.remove("off");
        }
        Self { rule, alias, off: off.unwrap_or(false), settings }
    }
}

impl FilterTable {
    /// Check the keys that every filter has.
    ///
    /// # Errors
    /// One of them is of another type than it should be.
    pub fn check(&self) -> Result<(), String> {
        let wrong = [("rule", "the name of a rule"), ("as", "a name"), ("off", "true or false")];
        match wrong.into_iter().find_map(|(key, what)| Some((key, what, self.settings.get(key)?))) {
            Some((key, what, value)) => Err(format!("{key} = {value}: it is {what}")),
            None if self.alias.as_ref().is_some_and(|alias| alias.trim().is_empty()) => {
                Err("as is empty: give it a name, or leave it out".into())
            }
            None if self.alias.as_ref().is_some_and(|alias| TAKEN.contains(&alias.as_str())) => Err(format!(
                "as = {:?}: what drops rows without being a filter is called so, {}; choose another name",
                self.alias.as_deref().unwrap_or_default(),
                TAKEN.join(", ")
            )),
            None => Ok(()),
        }
    }
}

/// What drops rows and is no filter, as rejects and ledger call it.
const TAKEN: [&str; 10] = [
    "bad_row",
    "decontamination",
    "output",
    "validation",
    "dedup",
    "conflict",
    "near",
    "repeats",
    "semantic",
    "sample",
];

impl From<FilterTable> for toml::Table {
    fn from(FilterTable { rule, alias, off, mut settings }: FilterTable) -> Self {
        settings.extend(off.then(|| ("off".to_owned(), true.into())));
        let named = [("rule", Some(rule).filter(|r| !r.is_empty())), ("as", alias)];
        settings.extend(named.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text?.into()))));
        settings
    }
}

/// How rows are recognised as the same.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Dedup {
    /// Compare the whole row, or only what comes before the answers.
    pub on: DedupOn,
    /// Fold case (Unicode lower case).
    pub lowercase: bool,
    /// Take every run of white space for one space, and none at the ends.
    pub whitespace: bool,
    /// Leave out everything that is neither letter, digit nor white space.
    pub punctuation: bool,
    /// Sources whose copy is kept first; the others follow in the recipe's order. Of the copies of one source the one
    /// with the smallest id is kept, of equal ids the one with the most kept columns filled, then by a hash of these.
    pub prefer: Vec<String>,
    /// A kept column that judges the row: rows that are the same and differ in it contradict each other. `label` if
    /// nothing is said.
    #[serde(skip_serializing_if = "is_label")]
    pub label: String,
    /// What becomes of rows that contradict each other; `drop` if nothing is said.
    #[serde(skip_serializing_if = "is_default")]
    pub conflicts: Conflicts,
    /// Near-duplicates, rows that share most of their shingles (runs of words or characters), are dropped; absent: they stay.
    /// MinHash with locality-sensitive hashing finds candidates, and their true Jaccard similarity decides. Compared is what
    /// `dedup.on` says, without case, accents and punctuation. Rows with different labels (`dedup.label`) are not near.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub near: Option<Near>,
    /// Rows that say nearly what another one says, in whatever words, are dropped; absent: they stay. A model of sentence embeddings
    /// tells: two texts are near if the cosine of their vectors is `threshold` or more. Of the rows that are near one that stays none
    /// stays. Rows are taken in order of `dedup.prefer`, then of sources, then more words, then the smaller id; every row is held
    /// against all that stay, of whatever source. Rows with different labels (`dedup.label`) are not near.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub semantic: Option<Semantic>,
    /// Lines, paragraphs or spans of sentences that several rows hold stay in one of them and are removed from the others;
    /// absent: all stay. For rows of kind `text`. Among the rows that the rest of deduplication leaves, the one that keeps a span
    /// is of the source that `dedup.prefer` names first, then of the recipe's order, then the one that comes first in the
    /// shuffled order of the output. What is the same is what `lowercase`, `whitespace` and `punctuation` say. A row that loses
    /// text keeps its `id`, the hash of what it was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeats: Option<Repeats>,
}

/// How rows that mean the same are told, and which of them go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Semantic {
    /// The model: a folder with `model.safetensors` and `tokenizer.json`, or the file of weights beside the latter; absolute, or
    /// relative to the recipe's folder. Or the name of one on the Hub with its commit, `owner/name@commit`, which is fetched once.
    /// Lock and card name its hashes, and the licence of one of the Hub.
    pub model: String,
    /// Two texts are near if the cosine of their vectors is so large, above 0 and at most 1. What is large depends on the model, so
    /// that there is no default.
    pub threshold: f64,
    /// What has a vector: rows, messages or answers. `row` if nothing is said.
    #[serde(default)]
    pub of: SemanticUnit,
    /// Texts of fewer words are not compared: short ones are often near by chance. 0 if nothing is said.
    #[serde(default)]
    pub min_words: u32,
    /// Which texts are held against each other. `auto` if nothing is said.
    #[serde(default)]
    pub search: SemanticSearch,
    /// Where bands are searched, the probability that a pair whose cosine is `threshold` is looked at, above 0 and below 1; nearer pairs
    /// have a larger one. The number of bands follows from it. 0.95 if nothing is said.
    #[serde(default = "default_recall")]
    pub recall: f64,
    /// It is as if the table were not there: for recipes that name a model which not everybody has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub off: bool,
}

fn default_recall() -> f64 {
    0.95
}

/// Which texts are held against each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SemanticSearch {
    /// `exact` up to a million texts, `bands` beyond.
    #[default]
    Auto,
    /// Each with every one that stays, which takes time by the square of their number.
    Exact,
    /// Those that share a band, the signs of some random hyperplanes, of which side of each they lie on; the cosine of these decides.
    /// The hyperplanes follow from the recipe's seed, and how many there are from `threshold`, `recall`, the number of texts and how
    /// near some of them are to each other. The card says so.
    Bands,
}

impl Semantic {
    /// Texts up to which each is held against every other, if nothing is said.
    pub const EXACT: u64 = 1_000_000;

    /// Whether so many texts are searched by bands.
    pub fn by_bands(&self, texts: u64) -> bool {
        match self.search {
            SemanticSearch::Auto => texts > Self::EXACT,
            SemanticSearch::Exact => false,
            SemanticSearch::Bands => true,
        }
    }

    /// What it finds, for a person.
    pub fn told(&self) -> String {
        let Self { model, threshold, of, min_words, search, recall, .. } = self;
        let of = match of {
            SemanticUnit::Row => "rows that mean nearly the same as another",
            SemanticUnit::Message => "rows with a message that means nearly the same as one of another row",
            SemanticUnit::Answer => "rows with an answer that means nearly the same as one of another row",
        };
        let words = if *min_words > 1 {
            format!("; texts of fewer than {min_words} words are not compared")
        } else {
            String::new()
        };
        let bands = format!(
            "by bands of signs of random hyperplanes, which find a pair at {threshold} with probability {recall}"
        );
        let search = match search {
            SemanticSearch::Auto => format!("; more than a million texts are searched {bands}"),
            SemanticSearch::Exact => String::new(),
            SemanticSearch::Bands => format!("; searched {bands}"),
        };
        format!("{of}, of cosine {threshold} or more between embeddings by {model}{words}{search}")
    }
}

/// What has a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SemanticUnit {
    /// All that `dedup.on` compares of a row, as one text.
    #[default]
    Row,
    /// Every turn of the user and the assistant that `dedup.on` compares (of a preference the chosen answer's alone): a row goes if
    /// one of its messages is near a message of the same role in a row that stays.
    Message,
    /// Every turn of the assistant (of a preference the chosen answer's alone), likewise.
    Answer,
}

/// How near-duplicates are found and which of them go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Near {
    /// Two rows are near-duplicates if so large a share of the shingles of either is in both (Jaccard similarity), above 0
    /// and at most 1.
    pub threshold: f64,
    /// What a shingle is a run of.
    pub unit: ShingleUnit,
    /// Words or characters in a shingle. A shorter text is one shingle.
    pub ngram: u32,
    /// Compare the values of numbers too; without it every number is `0`. If nothing is said, they are compared in conversations
    /// and not in texts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<bool>,
    /// Bands of the sketch: rows that agree in all hashes of one band are compared.
    pub bands: u32,
    /// Hashes in a band. A pair of Jaccard similarity `s` is found with probability `1 - (1 - s^rows_per_band)^bands`.
    pub rows_per_band: u32,
    /// Which rows go.
    pub rule: NearRule,
    /// Folders of earlier builds, relative to the recipe's folder, or published ones, `owner/name@commit`. Their rows stay, and a
    /// near-duplicate of one goes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<String>,
}

impl Default for Near {
    /// FineWeb's sketch: 14 bands of 8 over runs of 5 words.
    fn default() -> Self {
        Self {
            threshold: 0.8,
            unit: ShingleUnit::Words,
            ngram: 5,
            numbers: None,
            bands: 14,
            rows_per_band: 8,
            rule: NearRule::Greedy,
            against: Vec::new(),
        }
    }
}

impl Near {
    /// What sketches depend on; the rest decides among them.
    #[must_use]
    pub fn sketch(&self) -> Self {
        let Self { unit, ngram, numbers, bands, rows_per_band, .. } = *self;
        Self { unit, ngram, numbers, bands, rows_per_band, ..Self::default() }
    }

    /// What it finds, for a person.
    pub fn told(&self) -> String {
        let Self { threshold, unit, ngram, bands, rows_per_band, rule, .. } = self;
        let unit = unit.name();
        match rule {
            NearRule::Greedy => format!(
                "near-duplicates, of Jaccard similarity {threshold} or more over runs of {ngram} {unit} \
                 (MinHash, {bands} bands of {rows_per_band}; a pair at {threshold} is found with probability {:.2})",
                self.found(*threshold)
            ),
            NearRule::Cluster => format!(
                "near-duplicates, as clusters of rows that share bands over runs of {ngram} {unit}, not verified \
                 (MinHash, {bands} bands of {rows_per_band})"
            ),
        }
    }

    /// The probability that a pair of this Jaccard similarity is compared.
    pub fn found(&self, similarity: f64) -> f64 {
        let exponent = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        1.0 - (1.0 - similarity.powi(exponent(self.rows_per_band))).powi(exponent(self.bands))
    }
}

/// What a shingle is a run of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ShingleUnit {
    /// Words; each character is one in scripts without spaces.
    #[default]
    Words,
    /// Characters, and one space between words.
    Characters,
}

impl ShingleUnit {
    /// As the recipe writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Words => "words",
            Self::Characters => "characters",
        }
    }
}

/// Which of near-duplicates go. Rows are taken in order: `dedup.prefer`, then of sources, then more words, then the smaller id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NearRule {
    /// A row goes if one that is kept before it has `threshold` or more in common with it.
    #[default]
    Greedy,
    /// Of rows that are linked through any number of shared bands only the first stays, whatever `threshold` says and however
    /// little it has in common with the others: for comparison with tools that do not verify candidates.
    Cluster,
}

/// Whether an answer was wanted: a kept column that unpaired preference training reads.
pub const LABEL: &str = "label";

fn is_label(name: &str) -> bool {
    name == LABEL
}

impl Default for Dedup {
    fn default() -> Self {
        Self {
            on: DedupOn::Row,
            lowercase: true,
            whitespace: true,
            punctuation: false,
            prefer: Vec::new(),
            label: LABEL.into(),
            conflicts: Conflicts::Drop,
            near: None,
            repeats: None,
            semantic: None,
        }
    }
}

/// What becomes of rows that are the same but for their label.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Conflicts {
    /// All of them are dropped.
    #[default]
    Drop,
    /// One is kept, as of rows without a label: the preferred source's, then the one with the smallest id.
    Keep,
    /// The build stops and names two of them.
    Stop,
}

/// What deduplication compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DedupOn {
    /// Everything the row says.
    Row,
    /// Only the turns before the last answer (chat) or the prompt (preference).
    Prompt,
}

/// How many rows are kept.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sample {
    /// Exactly this many, or all if there are fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// About this share, between 0 and 1; a row stays in or out as the data grow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f64>,
    /// Read only this many files of each source, chosen by a seeded hash of their names: for a sample of a set
    /// too large to fetch whole. Absent: all files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u32>,
    /// What becomes of the rows left out.
    pub left_out: LeftOut,
}

/// Where sampled-out rows go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LeftOut {
    /// To the rejects, whole, like every other row that is dropped.
    #[default]
    Reject,
    /// Nowhere, but counted: for samples of sets too large to keep twice.
    Count,
}

/// How rows are divided.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Split {
    /// Share of rows in `validation`, by content hash, so that a row never changes side.
    pub validation: f64,
}

/// How inputs are read.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Read {
    /// `stop` at a bad row, or `skip` it to the rejects.
    pub on_bad_row: OnBadRow,
    /// A longer row is a bad row, in bytes.
    pub max_row_bytes: u64,
    /// Input given to one task, in bytes.
    pub task_bytes: u64,
    /// Read at most this many rows of each source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// zstd and xz files whose window (dictionary) is larger than 2^this many bytes are refused: reading one takes as much
    /// memory. If nothing is said it is 27, 128 MiB; `zstd --long=31` needs 31.
    #[serde(skip_serializing_if = "is_usual_window")]
    pub window_log: u32,
}

/// What `zstd -d` allows, 128 MiB.
const WINDOW_LOG: u32 = 27;

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_usual_window(log: &u32) -> bool {
    *log == WINDOW_LOG
}

impl Default for Read {
    fn default() -> Self {
        Self {
            on_bad_row: OnBadRow::Stop,
            max_row_bytes: 32 << 20,
            task_bytes: 16 << 20,
            limit: None,
            window_log: WINDOW_LOG,
        }
    }
}

/// What a bad row does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnBadRow {
    /// Stops the build.
    Stop,
    /// Goes to the rejects and is counted.
    Skip,
}

impl std::fmt::Display for OnBadRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stop => "stop",
            Self::Skip => "skip",
        })
    }
}

/// What is written.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Output {
    /// Columns of the source to keep, and their type.
    pub keep: BTreeMap<String, ColumnType>,
    /// Chat template; rendered rows go to the column `rendered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Name of the rendered column.
    pub rendered: String,
    /// `bos_token` of the template.
    pub bos_token: String,
    /// `eos_token` of the template.
    pub eos_token: String,
    /// What a template takes for today, `strftime_now`, for instance `2026-01-31`. A template that asks for it needs it.
    #[serde(deserialize_with = "date::text", skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// A `tokenizer.json`; adds the column `tokens`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<String>,
    /// A shard is closed once it holds this many bytes of text.
    pub shard_bytes: u64,
    /// A row group holds about this many bytes of text.
    pub row_group_bytes: u64,
    /// zstd level of every Parquet file.
    pub zstd_level: i32,
}

impl Default for Output {
    fn default() -> Self {
        Self {
            keep: BTreeMap::new(),
            template: None,
            rendered: "text".into(),
            bos_token: "<|begin_of_text|>".into(),
            eos_token: "<|eot_id|>".into(),
            date: None,
            tokenizer: None,
            shard_bytes: 512 << 20,
            row_group_bytes: 16 << 20,
            zstd_level: 3,
        }
    }
}

/// Type of a kept column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ColumnType {
    /// UTF-8 text; other values are written as they print, lists and objects as JSON.
    String,
    /// The value as JSON text, whatever it is.
    Json,
    /// 64-bit integer.
    Int64,
    /// 64-bit float.
    Float64,
    /// Boolean.
    Bool,
}

/// What people are told.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Card {
    /// ISO 639-1 codes.
    pub language: Vec<String>,
    /// The Hub's task categories.
    pub task_categories: Vec<String>,
    /// Further tags.
    pub tags: Vec<String>,
    /// Known limits, one sentence or paragraph each.
    pub limits: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_table_is_written_as_any_table_is() {
        #[derive(Serialize, Deserialize)]
        struct Filters {
            filter: Vec<FilterTable>,
        }
        // Locks have been written so, by the order of the keys: another order would be another fingerprint.
        let text = "[[filter]]\nas = \"short\"\nmin_chars = 3\nof = \"answer\"\nrule = \"length\"\n";
        let read: Filters = toml::from_str(text).unwrap_or_else(|e| panic!("{e}"));
        let table = &read.filter[0];
        assert_eq!((table.rule.as_str(), table.alias.as_deref()), ("length", Some("short")));
        assert_eq!(table.settings.keys().collect::<Vec<_>>(), ["min_chars", "of"]);
        assert_eq!(toml::to_string(&read).ok().as_deref(), Some(text));
        assert_eq!(table.check(), Ok(()));
        for name in ["bad_row", "dedup", "semantic"] {
            let taken = FilterTable { alias: Some(name.into()), ..table.clone() };
            assert!(taken.check().is_err_and(|e| e.contains(&format!("as = {name:?}: what drops rows without"))));
        }
    }

    #[test]
    fn a_path_is_one_or_several() {
        for (path, all) in [("'a'", vec!["a"]), ("['a', 'b']", vec!["a", "b"])] {
            let source: Source = toml::from_str(&format!("name = 'x'\nschema = 'text'\npath = {path}"))
                .unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(source.own_files(), all);
            assert!(source.local());
        }
    }
}
