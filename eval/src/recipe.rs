//! A task: its data, what is asked of each row, and what answers are scored by.

use std::path::Path;

use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use setaccio_base::{
    bundle::{self, Place},
    hub_name,
    sha256::hex_digest,
    suggest,
};
use setaccio_dataset::recipe::{FileFormat, Source};
use setaccio_templates::ColumnTemplate;

use crate::error::{Error, Result};

/// Folder of the repository that tasks lie in.
pub const HOME: &str = "pipelines/eval";

/// A whole task.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Names it, and its folder of results.
    pub name: String,
    /// A line for people.
    pub title: String,
    /// Where its questions come from, and how they differ from others of the name.
    #[serde(default)]
    pub about: String,
    /// The rows that are asked about.
    pub data: Data,
    /// Columns that are made of others, or changed, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub column: Vec<Column>,
    /// A template of what stands before everything else.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Examples before each question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shots: Option<Shots>,
    /// Whether the model's chat template is used, where it has one.
    #[serde(default)]
    pub chat: bool,
    /// Answers to choose from by their likelihood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub choice: Option<Choice>,
    /// Answers that are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate: Option<Generate>,
    /// Texts whose likelihood is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perplexity: Option<Perplexity>,
    /// What answers are scored by; the first is the one that is shown where there is room for one.
    pub metrics: Vec<Metric>,
}

/// Rows, and where they come from.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Data {
    /// Files of your own: a file, a glob or a folder, or a list of these; absolute, or relative to the task's folder.
    #[serde(deserialize_with = "setaccio_dataset::keys::one_or_more", skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// Repository of the Hub, `owner/name`, or `owner/name@commit`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub repo: String,
    /// Commit, tag or branch of that repository.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub revision: String,
    /// Globs of its files within the repository.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// The bundled sample file that stands for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub samples: String,
    /// Its licence, as the Hub spells it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub license: String,
    /// Only so many of the first rows; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<usize>,
    /// What its files are, where neither their first bytes nor the endings of their names tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<FileFormat>,
    /// Of JSON files that are one object: the field that holds the rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Of CSV files: the character between two fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<char>,
    /// Of CSV files without a header line: the names of their columns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// The encoding of its text, JSON and CSV files, by its name on the web.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
}

/// A column that is made of others, or changed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The template that makes it; absent: it is there, and is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The template that makes it of JSON, for instance a list of answers: `{{ [option_a, option_b] | tojson }}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<String>,
    /// Changes of its text, or of each text of a list, in order: `{ strip = true }`, `{ find = "a", put = "b" }`,
    /// `{ regex = "a+", put = "b" }`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit>,
}

/// A change of a text.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum Edit {
    /// White space at both ends goes.
    Strip {
        /// Yes.
        strip: bool,
    },
    /// A text gives way to another wherever it stands.
    Replace {
        /// The one.
        find: String,
        /// The other.
        put: String,
    },
    /// What a regular expression matches gives way to a text.
    Regex {
        /// The expression.
        regex: String,
        /// The text.
        put: String,
    },
}

/// Examples before each question.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shots {
    /// How many, unless `--shots` says otherwise.
    #[serde(default)]
    pub count: usize,
    /// Which.
    #[serde(default)]
    pub pick: Pick,
    /// The rows that they are taken from; absent: those that are asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Data>,
    /// Only rows that have what the question's row has in this column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub like: Option<String>,
    /// Whether one more is drawn, and the row that is asked about left out if it is among them: what lm-evaluation-harness does where
    /// a task names a split for neither.
    #[serde(default)]
    pub without_own: bool,
}

/// Which rows are examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Pick {
    /// Drawn for each question anew, as lm-evaluation-harness draws them: Python's `Random(1234).sample`.
    #[default]
    Sample,
    /// The first ones, the same for all.
    First,
}

/// Answers to choose from: the one that is likeliest behind the prompt is the model's.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The template of what is asked; of tasks that fill a gap none: see `prompts`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// The template of a list of texts, one for each answer, that all go on with `continuation`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompts: String,
    /// Of `prompts`: the template of what comes after each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub continuation: String,
    /// The answers: a list, or the template of one as JSON.
    #[serde(default)]
    pub choices: Choices,
    /// The template of the right one: its number from 0, or its text. Digits are a number, whatever the texts are; `{{ list.index(answer) }}`
    /// makes one of a text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub answer: String,
    /// The template of a list as JSON that says of each answer whether it is true: 1 or 0.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub truths: String,
    /// Of tasks of two answers: words that name groups of people, of which `bias_auc` tells whether they mislead the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Groups>,
}

/// Words that name groups of people.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Groups {
    /// The template of the text that they are looked for in, as whole words, in capital or small letters.
    pub text: String,
    /// The words.
    pub terms: Vec<String>,
}

/// Answers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Choices {
    /// The same for all rows.
    Fixed(Vec<String>),
    /// A template of a list as JSON.
    Template(String),
}

impl Default for Choices {
    fn default() -> Self {
        Self::Fixed(Vec::new())
    }
}

/// Answers that are written, the most probable token after the other.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Generate {
    /// The template of what is asked.
    pub prompt: String,
    /// The template of what should be answered.
    pub target: String,
    /// Texts that end an answer, and are none of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// Most new tokens.
    #[serde(default = "max_tokens")]
    pub max_tokens: usize,
    /// What is taken out of an answer before it is compared; absent: all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extract: Vec<Extract>,
    /// Regular expressions of what is left out of answer and target before they are compared, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<String>,
    /// Whether capital and small letters are the same.
    #[serde(default)]
    pub ignore_case: bool,
    /// Whether ASCII punctuation is left out.
    #[serde(default)]
    pub ignore_punctuation: bool,
}

fn max_tokens() -> usize {
    256
}

/// What is taken out of an answer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Extract {
    /// Names the metric: `exact_match,NAME`.
    pub name: String,
    /// A regular expression; of its groups the first that is not empty is taken, without groups all.
    pub regex: String,
    /// Which of its matches: 0 is the first, -1 the last.
    #[serde(default)]
    pub pick: i32,
}

/// Texts whose likelihood is asked for, window after window.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Perplexity {
    /// The template of the text.
    pub text: String,
}

/// What answers are scored by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The likeliest answer is the right one.
    Acc,
    /// The same with log-likelihoods divided by the characters of each answer.
    AccNorm,
    /// The same with log-likelihoods divided by the bytes of each answer.
    AccBytes,
    /// The share of probability that the true answers have.
    Mc2,
    /// F1 of the second answer, as lm-evaluation-harness' `f1`.
    F1,
    /// The mean of the F1 of every answer.
    F1Macro,
    /// The mean of the F1 of positive and negative, each for and against, of the answers positive, negative, neutral, mixed: SENTIPOLC's.
    SentimentF1,
    /// The area under the ROC curve of the second answer: how often a row where it is right has it likelier than one where it is not.
    Auc,
    /// The same within the rows that have a term of `[choice.groups]`, of its negative rows against the positive ones without it (BPSN), and of
    /// its positive rows against the negative ones without it (BNSP): means over the terms.
    BiasAuc,
    /// What is extracted of the answer is the target.
    ExactMatch,
    /// ROUGE-1, ROUGE-2 and ROUGE-L, with rouge_score's tokens and with Unicode's words.
    Rouge,
    /// BERTScore, by the model that `--bertscore` names.
    Bertscore,
    /// exp of the negative log-likelihood a word.
    WordPerplexity,
    /// exp of the negative log-likelihood a byte.
    BytePerplexity,
    /// The negative log-likelihood a byte, in bits.
    BitsPerByte,
}

impl Metric {
    /// As recipes and results call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acc => "acc",
            Self::AccNorm => "acc_norm",
            Self::AccBytes => "acc_bytes",
            Self::Mc2 => "mc2",
            Self::F1 => "f1",
            Self::F1Macro => "f1_macro",
            Self::SentimentF1 => "sentiment_f1",
            Self::Auc => "auc",
            Self::BiasAuc => "bias_auc",
            Self::ExactMatch => "exact_match",
            Self::Rouge => "rouge",
            Self::Bertscore => "bertscore",
            Self::WordPerplexity => "word_perplexity",
            Self::BytePerplexity => "byte_perplexity",
            Self::BitsPerByte => "bits_per_byte",
        }
    }

    fn of_choices(self) -> bool {
        use Metric::{Acc, AccBytes, AccNorm, Auc, BiasAuc, F1, F1Macro, Mc2, SentimentF1};
        matches!(self, Acc | AccNorm | AccBytes | Mc2 | F1 | F1Macro | SentimentF1 | Auc | BiasAuc)
    }

    fn of_texts(self) -> bool {
        matches!(self, Self::ExactMatch | Self::Rouge | Self::Bertscore)
    }
}

/// A task and where it came from.
#[derive(Clone, Debug)]
pub struct TaskFile {
    /// As it is written, with what was changed.
    pub task: Task,
    /// Where it is.
    pub place: Place,
}

/// Names of the tasks that the program carries.
pub fn carried() -> impl Iterator<Item = &'static str> {
    bundle::recipes(HOME)
}

impl TaskFile {
    /// Read the task in `path`, a file or the name of one that the program carries, and check it.
    ///
    /// # Errors
    /// It is missing, not TOML, says something unknown, or contradicts itself.
    pub fn open(path: &Path) -> Result<Self> {
        let said = |e: String| e.replace("there is no recipe", "there is no task");
        let place = Place::recipe(path, HOME).map_err(|e| Error::Other(said(e)))?;
        let file = place.name();
        let text = place.text().map_err(|e| Error::task(&file, format!("cannot be read: {e}")))?;
        let task: Task =
            toml::from_str(&text).map_err(|e| Error::task(&file, suggest::explain(&e.to_string(), e.message())))?;
        task.check().map_err(|e| Error::task(&file, e))?;
        Ok(Self { task, place })
    }

    /// SHA-256 of what the task says, whatever its layout, hex.
    pub fn sha256(&self) -> Result<String> {
        let text = toml::to_string(&self.task).map_err(|e| Error::task(&self.place.name(), e.to_string()))?;
        Ok(hex_digest(text.as_bytes()))
    }
}

impl Data {
    /// As a source of rows called `name`.
    pub fn source(&self, name: &str) -> Source {
        let (repo, revision) = match hub_name::parse(&self.repo) {
            Some((repo, revision)) => (repo.to_owned(), revision.to_owned()),
            None => (self.repo.clone(), self.revision.clone()),
        };
        Source {
            name: name.to_owned(),
            path: self.path.clone(),
            repo,
            revision,
            files: self.files.clone(),
            samples: self.samples.clone(),
            license: self.license.clone(),
            format: self.format,
            field: self.field.clone(),
            separator: self.separator,
            columns: self.columns.clone(),
            encoding: self.encoding.clone(),
            ..Source::default()
        }
    }

    fn check(&self, table: &str) -> std::result::Result<(), String> {
        match (self.path.is_empty(), self.repo.is_empty()) {
            (true, true) => Err(format!("{table} names neither `path` nor `repo`")),
            (false, false) => Err(format!("{table} names both `path` and `repo`: files are of one or the other")),
            (true, false) if self.files.is_empty() => Err(format!("{table} names no `files` of {}", self.repo)),
            (true, false) if self.revision.is_empty() == hub_name::parse(&self.repo).is_none() => Err(format!(
                "{table} names a commit once: as `revision`, or in repo = \"{}@COMMIT\"",
                self.repo.split('@').next().unwrap_or_default()
            )),
            _ if self.rows == Some(0) => Err(format!("{table}.rows is 0")),
            _ => Ok(()),
        }
    }
}

impl Task {
    fn check(&self) -> std::result::Result<(), String> {
        let plain =
            |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if !plain(&self.name) {
            return Err("`name` names a folder of results: letters, digits, - and _".into());
        }
        self.data.check("[data]")?;
        if let Some(data) = self.shots.as_ref().and_then(|shots| shots.data.as_ref()) {
            data.check("[shots.data]")?;
        }
        let kinds = [self.choice.is_some(), self.generate.is_some(), self.perplexity.is_some()];
        if kinds.into_iter().filter(|there| *there).count() != 1 {
            return Err("a task has one of [choice], [generate] and [perplexity]".into());
        }
        if self.perplexity.is_some() && (self.shots.is_some() || !self.description.is_empty() || self.chat) {
            return Err("[perplexity] is of a text as it is: without `description`, `chat` and [shots]".into());
        }
        self.check_metrics()?;
        for column in &self.column {
            if column.text.is_some() && column.json.is_some() {
                return Err(format!("column `{}` is made by `text` or by `json`, not by both", column.name));
            }
            if column.text.is_none() && column.json.is_none() && column.edits.is_empty() {
                return Err(format!(
                    "column `{}` is neither made nor changed: give `text`, `json` or `edits`",
                    column.name
                ));
            }
            for edit in &column.edits {
                if let Edit::Regex { regex, .. } = edit {
                    expression(regex).map_err(|e| format!("column `{}`: {e}", column.name))?;
                }
            }
        }
        if let Some(choice) = &self.choice {
            choice.check()?;
        }
        if let Some(generate) = &self.generate {
            generate.check()?;
        }
        for (what, source) in self.templates() {
            ColumnTemplate::new(source).map_err(|e| format!("{what}: {e}"))?;
        }
        Ok(())
    }

    fn check_metrics(&self) -> std::result::Result<(), String> {
        let fits = |metric: &Metric| match (&self.choice, &self.generate) {
            (Some(_), _) => metric.of_choices(),
            (_, Some(_)) => metric.of_texts(),
            _ => !metric.of_choices() && !metric.of_texts(),
        };
        if self.metrics.is_empty() {
            return Err("`metrics` names none".into());
        }
        if let Some(metric) = self.metrics.iter().find(|metric| !fits(metric)) {
            return Err(format!("`{}` is no metric of this kind of task", metric.name()));
        }
        let Some(choice) = &self.choice else { return Ok(()) };
        let needs_truths = |metric: &Metric| *metric == Metric::Mc2;
        if self.metrics.iter().any(needs_truths) && choice.truths.is_empty() {
            return Err("`mc2` needs choice.truths".into());
        }
        if self.metrics.iter().any(|metric| !needs_truths(metric)) && choice.answer.is_empty() {
            return Err("choice.answer says which answer is right".into());
        }
        if self.metrics.contains(&Metric::SentimentF1)
            && !matches!(&choice.choices, Choices::Fixed(four) if four.len() == 4)
        {
            return Err("`sentiment_f1` is of four choices: positive, negative, neutral, mixed".into());
        }
        let two = matches!(&choice.choices, Choices::Fixed(two) if two.len() == 2);
        let ranks = |metric: &&Metric| matches!(metric, Metric::Auc | Metric::BiasAuc);
        if let Some(metric) = self.metrics.iter().find(ranks).filter(|_| !two) {
            return Err(format!("`{}` is of two choices, the same for all rows", metric.name()));
        }
        match (&choice.groups, self.metrics.contains(&Metric::BiasAuc)) {
            (None, true) => Err("`bias_auc` needs [choice.groups]".into()),
            (Some(_), false) => Err("[choice.groups] is for the metric `bias_auc`, which is not asked for".into()),
            (Some(groups), true) if groups.terms.iter().all(|term| term.trim().is_empty()) => {
                Err("choice.groups.terms names none".into())
            }
            _ => Ok(()),
        }
    }

    /// What is a template, by its name.
    fn templates(&self) -> Vec<(String, &str)> {
        let mut all: Vec<(String, &str)> = vec![("description".into(), &self.description)];
        for column in &self.column {
            all.extend(
                column.text.iter().chain(&column.json).map(|text| (format!("column `{}`", column.name), text.as_str())),
            );
        }
        if let Some(choice) = &self.choice {
            let names = ["prompt", "prompts", "continuation", "answer", "truths"];
            let texts = [&choice.prompt, &choice.prompts, &choice.continuation, &choice.answer, &choice.truths];
            all.extend(names.into_iter().zip(texts).map(|(name, text)| (format!("choice.{name}"), text.as_str())));
            if let Choices::Template(text) = &choice.choices {
                all.push(("choice.choices".into(), text));
            }
            all.extend(choice.groups.iter().map(|groups| ("choice.groups.text".into(), groups.text.as_str())));
        }
        if let Some(generate) = &self.generate {
            all.push(("generate.prompt".into(), &generate.prompt));
            all.push(("generate.target".into(), &generate.target));
        }
        all.extend(self.perplexity.iter().map(|p| ("perplexity.text".into(), p.text.as_str())));
        all
    }
}

impl Choice {
    fn check(&self) -> std::result::Result<(), String> {
        let fixed = if let Choices::Fixed(list) = &self.choices { Some(list.len()) } else { None };
        match (self.prompt.is_empty(), self.prompts.is_empty()) {
            (false, true) if fixed == Some(0) => Err("choice.choices names no answers".into()),
            (false, true) if fixed == Some(1) => {
                Err("choice.choices names one answer, and choosing takes two at least".into())
            }
            (true, false) if fixed != Some(0) => {
                Err("choice.prompts are the answers in their places: there are no `choices` beside them".into())
            }
            (true, false) if self.continuation.is_empty() => {
                Err("choice.prompts all go on with choice.continuation, which is not there".into())
            }
            (true, false) | (false, true) => Ok(()),
            _ => Err("[choice] has either `prompt` with `choices`, or `prompts` with `continuation`".into()),
        }
    }
}

impl Generate {
    fn check(&self) -> std::result::Result<(), String> {
        if self.max_tokens == 0 {
            return Err("generate.max_tokens is 0".into());
        }
        for (i, extract) in self.extract.iter().enumerate() {
            expression(&extract.regex).map_err(|e| format!("extract `{}`: {e}", extract.name))?;
            if self.extract[..i].iter().any(|other| other.name == extract.name) {
                return Err(format!("two [[generate.extract]] are called `{}`", extract.name));
            }
        }
        self.ignore
            .iter()
            .try_for_each(|regex| expression(regex).map(|_| ()).map_err(|e| format!("generate.ignore: {e}")))
    }
}

/// A regular expression.
pub fn expression(text: &str) -> std::result::Result<Regex, String> {
    Regex::new(text)
        .map_err(|e| format!("`{text}` is no regular expression: {}", e.to_string().lines().last().unwrap_or_default()))
}
