//! An evaluation: tasks are read, each model answers their questions, and what came of it is written, a folder a task.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use setaccio_base::{
    atomic,
    hidden::{self, HIDDEN},
    lock_file::Mode,
    progress::Progress,
    run_lock::FileHash,
    sha256::hex_digest,
};
use setaccio_curate::source::origin::Origin;
use setaccio_templates::Clock;
use setaccio_train::{
    device,
    kernels::gemm::Products,
    models::{self, Opened, Served},
    recipe,
    tokenizer::Tokens,
};

use crate::{
    bertscore::{self, BertScore},
    error::{Error, Result},
    journal::Journal,
    metrics::{self, Answered, Measure},
    questions::{self, Asked, Prompt, Question},
    recipe::{Metric, TaskFile},
    results::{self, Differing, ModelResults, Number, Results},
    rows::{self, DataRows},
    scorer::{self, Ask, Room, Scorer},
    statistics::{difference, estimate},
};

/// Questions that are made tokens of at a time.
const AT_A_TIME: usize = 256;

/// What an evaluation is asked to do, beside its tasks and models.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Examples before each question; absent: as each task says.
    pub shots: Option<usize>,
    /// Only so many of the first rows; absent: all.
    pub limit: Option<usize>,
    /// Whether chat templates are used; absent: as each task says.
    pub chat: Option<bool>,
    /// Most new tokens of a written answer; absent: as each task says.
    pub max_tokens: Option<usize>,
    /// What chat templates take for today, as `2026-01-31`.
    pub date: Clock,
    /// Decides the resamples of intervals.
    pub seed: u64,
    /// What the models may use.
    pub room: Room,
    /// What computes.
    pub device: recipe::Device,
    /// The model that BERTScore asks; absent: tasks that have it go without.
    pub bertscore: Option<bertscore::Settings>,
}

/// A model, with adapters that are models of their own.
#[derive(Clone, Debug)]
pub struct Subject {
    /// What it is called; absent: as its folder is.
    pub name: Option<String>,
    /// A folder, a GGUF file or a run.
    pub path: PathBuf,
    /// Folders of adapters, or runs.
    pub adapters: Vec<PathBuf>,
}

/// Where an evaluation lies.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The folder that gets a folder a task.
    pub out: &'a Path,
    /// The folder in which answers are remembered, for this and for others.
    pub home: &'a Path,
}

/// A task with what is asked.
pub struct Prepared {
    file: TaskFile,
    shots: usize,
    chat: bool,
    rows: DataRows,
    /// The rows that examples are taken from, where these are others than those that are asked about.
    examples: Option<DataRows>,
    /// The rows that examples are taken from else: all of the task's.
    all: DataRows,
    /// Rows that there are.
    of: usize,
    /// Questions as texts, and as turns where some model is given turns.
    questions: [Option<Vec<Question>>; 2],
}

impl Prepared {
    /// Read the data of a task, and make its questions.
    ///
    /// # Errors
    /// Rows cannot be read, or a template fails.
    pub fn new(mut file: TaskFile, origin: &Origin, settings: &Settings, progress: &dyn Progress) -> Result<Self> {
        if let (Some(generate), Some(most)) = (&mut file.task.generate, settings.max_tokens) {
            generate.max_tokens = most;
        }
        let task = &file.task;
        let shots = match (&task.shots, settings.shots) {
            (None, asked) => {
                if asked.is_some_and(|asked| asked > 0) {
                    progress.warn(&format!("{} has no [shots]: it is asked without examples", task.name));
                }
                0
            }
            (Some(table), asked) => asked.unwrap_or(table.count),
        };
        if task.metrics == [Metric::Bertscore] && settings.bertscore.is_none() {
            return Err(Error::task(&file.place.name(), "has BERTScore alone: name its model with --bertscore"));
        }
        let (mut rows, examples) = rows::read(&file, (origin, shots > 0), progress)?;
        let of = rows.rows.len();
        let own = examples.is_none() && shots > 0;
        let all = if own { rows.clone() } else { DataRows::default() };
        rows.rows.truncate(settings.limit.unwrap_or(usize::MAX));
        let chat = settings.chat.unwrap_or(task.chat) && task.perplexity.is_none();
        let mut prepared = Self { file, shots, chat, rows, examples, all, of, questions: [None, None] };
        if !chat {
            prepared.ask(false)?;
        }
        Ok(prepared)
    }

    /// The task.
    pub fn name(&self) -> &str {
        &self.file.task.name
    }

    /// Its questions, for a model that is given turns or texts.
    fn ask(&mut self, chat: bool) -> Result<&[Question]> {
        let place = usize::from(chat);
        if self.questions[place].is_none() {
            let pool = self.examples.as_ref().map_or((&self.all, true), |examples| (examples, false));
            let questions = questions::make(&self.file, (&self.rows, pool), (self.shots, chat))?;
            let asked: Vec<&Asked> = questions.iter().map(|question| &question.asked).collect();
            metrics::check(&self.file.task, &asked).map_err(|e| Error::task(&self.file.place.name(), e))?;
            self.questions[place] = Some(questions);
        }
        Ok(self.questions[place].as_deref().unwrap_or_default())
    }

    fn asked(&self, chat: bool) -> &[Question] {
        self.questions[usize::from(chat)].as_deref().unwrap_or_default()
    }
}

/// A model and what it answered.
struct Answering {
    model: String,
    parent: Option<String>,
    files: Vec<FileHash>,
    tokens: Arc<Tokens>,
    chat: bool,
    /// Of which questions the beginning did not fit.
    cut: Vec<bool>,
    answers: Vec<Answered>,
}

/// Evaluate these models by these tasks. Gives the numbers of each task.
///
/// # Errors
/// A model cannot be loaded or computes no numbers, or it was stopped: what was answered until then is kept.
pub fn evaluate(
    mut tasks: Vec<Prepared>,
    subjects: &[Subject],
    (places, settings): (Places, &Settings),
    progress: &dyn Progress,
) -> Result<Vec<Results>> {
    fs::create_dir_all(places.home).map_err(setaccio_base::Error::io("create", places.home))?;
    let _held = hidden::lock(places.home, "eval", Mode::Exclusive)?;
    let answers = places.home.join(HIDDEN).join("answers");
    let mut all: Vec<Vec<Answering>> = tasks.iter().map(|_| Vec::new()).collect();
    let mut names: Vec<String> = Vec::new();
    let (device, dtype) = device::pick(settings.device)?;
    let compute = device::name(&device, dtype, Products::default());
    for subject in subjects {
        let mut opened = models::open(&subject.path, &subject.adapters, true)?;
        if let Some(most) = settings.room.positions.filter(|most| *most > opened.positions) {
            let has = opened.positions;
            progress.warn(&format!(
                "{} has {has} positions, and looks at no more, though {most} may be",
                subject.path.display()
            ));
        }
        rename(&mut opened.served, subject.name.as_deref());
        for served in &opened.served {
            if names.contains(&served.id) {
                let id = &served.id;
                return Err(Error::Other(format!("two models would be called `{id}`: rename one of their folders")));
            }
            names.push(served.id.clone());
        }
        progress.detail(&format!("reading {} to know it again", subject.path.display()));
        let files = opened.hashes(&|| progress.cancelled())?;
        let mut asking = Asking {
            scorer: None,
            positions: settings.room.positions.map_or(opened.positions, |most| most.min(opened.positions)),
            served: opened.served.clone(),
            opened: Some(opened),
            files,
            settings,
            compute: &compute,
            answers: &answers,
        };
        for (task, answered) in tasks.iter_mut().zip(&mut all) {
            for model in 0..asking.served.len() {
                answered.push(asking.task(task, model, progress)?);
            }
        }
    }
    let bert = settings.bertscore.as_ref().map(BertScore::open).transpose()?;
    let mut done = Vec::new();
    for (task, answered) in tasks.iter().zip(&all) {
        done.push(score(task, answered, bert.as_ref(), (&places, settings, &compute), progress)?);
    }
    Ok(done)
}

/// A subject by a name of its own.
fn rename(served: &mut [Served], name: Option<&str>) {
    let Some(name) = name else { return };
    let before = served[0].id.clone();
    for served in served {
        if served.id == before {
            name.clone_into(&mut served.id);
        }
        if let Some(parent) = &mut served.parent {
            name.clone_into(parent);
        }
    }
}

/// A subject that is asked. Its weights are read when there is something to answer.
struct Asking<'a> {
    opened: Option<Opened>,
    scorer: Option<Scorer>,
    served: Vec<Served>,
    positions: usize,
    files: Vec<Vec<FileHash>>,
    settings: &'a Settings,
    compute: &'a str,
    answers: &'a Path,
}

impl Asking<'_> {
    fn scorer(&mut self, progress: &dyn Progress) -> Result<&mut Scorer> {
        if let Some(opened) = self.opened.take() {
            let loaded = opened.load(self.settings.device, progress)?;
            self.scorer = Some(Scorer::new(loaded, self.settings.room)?);
        }
        self.scorer.as_mut().ok_or_else(|| Error::Other("the model is not there any more".into()))
    }

    /// What a model answers to a task.
    fn task(&mut self, task: &mut Prepared, model: usize, progress: &dyn Progress) -> Result<Answering> {
        let chat = task.chat && self.served[model].tokens.chat_template.is_some();
        if task.chat && !chat {
            progress.warn(&format!(
                "{}: {} has no chat template, and is given plain texts",
                task.name(),
                self.served[model].id
            ));
        }
        task.ask(chat)?;
        let key = self.key(task, model, chat)?;
        let mut journal = Journal::open(self.answers, &key)?;
        let questions = task.asked(chat);
        let open: Vec<usize> = (0..questions.len()).filter(|i| journal.get(*i).is_none()).collect();
        let kept = questions.len() - open.len();
        if kept > 0 && !open.is_empty() {
            progress.note(&format!("{} of {}: {kept} answers are there", task.name(), self.served[model].id));
        }
        let clock = Some(self.settings.date);
        if !open.is_empty() {
            progress.stage("answer", open.len() as u64);
            for some in open.chunks(AT_A_TIME) {
                let scorer = self.scorer(progress)?;
                let mut groups = Vec::with_capacity(some.len());
                for number in some {
                    let question = &questions[*number];
                    let asks = asks(scorer, model, (question, task), clock.as_ref());
                    let asks = asks.map_err(|message| Error::Row {
                        file: task.rows.files[question.file].file.clone(),
                        row: question.row,
                        message,
                    })?;
                    groups.push(asks);
                }
                let cancelled = || progress.cancelled();
                let asked = scorer.ask(model, groups, &cancelled, &mut |group, replies| {
                    progress.advance(1, "");
                    journal.add(some[group], replies)
                });
                asked.map_err(|error| match error {
                    Error::Group { number, message } => {
                        let Question { file, row, .. } = questions[some[number]];
                        Error::Row { file: task.rows.files[file].file.clone(), row, message }
                    }
                    other => other,
                })?;
            }
        }
        let mut answers = Vec::with_capacity(questions.len());
        for (number, question) in questions.iter().enumerate() {
            let replies = journal.get(number).ok_or_else(|| Error::Other("an answer is missing".into()))?;
            answers.push(Answered::of(&question.asked, replies)?);
        }
        let cut = self.cut(task, model, chat, clock.as_ref())?;
        let (served, count) = (&self.served[model], cut.iter().filter(|cut| **cut).count());
        if count > 0 {
            progress.warn(&format!(
                "{} of {}: the beginning of {count} prompts did not fit into {} positions and was left out",
                task.name(),
                served.id,
                self.positions
            ));
        }
        let (files, parent, tokens) = (self.files[model].clone(), served.parent.clone(), served.tokens.clone());
        Ok(Answering { model: served.id.clone(), parent, files, tokens, chat, cut, answers })
    }

    /// Which questions do not fit; known without the model's weights.
    fn cut(&self, task: &Prepared, model: usize, chat: bool, clock: Option<&Clock>) -> Result<Vec<bool>> {
        let tokens = &self.served[model].tokens;
        let most = match &task.file.task.generate {
            Some(generate) => self.positions.saturating_sub(generate.max_tokens),
            None => self.positions,
        };
        let is_cut = |question: &Question| -> Result<bool> {
            let of_row =
                |message| Error::Row { file: task.rows.files[question.file].file.clone(), row: question.row, message };
            let is_longer = |prompt: &Prompt, behind: &str| -> Result<bool> {
                // A token has a byte at the least.
                if shown_len(prompt) + behind.len() < most && !chat {
                    return Ok(false);
                }
                let text = text_of(tokens, prompt, clock).map_err(of_row)?;
                let ids = tokens.encode(&format!("{text}{behind}")).map_err(of_row)?.ids;
                Ok(ids.len() + usize::from(tokens.adds_bos) > most + usize::from(!behind.is_empty()))
            };
            match &question.asked {
                Asked::Choice { contexts, continuations, .. } => {
                    let mut pairs = contexts.iter().zip(continuations);
                    pairs.try_fold(false, |cut, (prompt, behind)| Ok(cut || is_longer(prompt, behind)?))
                }
                Asked::Generate { prompt, .. } => is_longer(prompt, ""),
                // Long texts are read in windows.
                Asked::Perplexity { .. } => Ok(false),
            }
        };
        task.asked(chat).iter().map(is_cut).collect()
    }

    /// What decides the answers of a model to a task.
    fn key(&self, task: &Prepared, model: usize, chat: bool) -> Result<String> {
        let served = &self.served[model];
        let hashes = |files: &[FileHash]| {
            files.iter().map(|file| format!("{} {}\n", file.file, file.sha256)).collect::<Vec<_>>().concat()
        };
        let data = task.rows.files.iter().chain(task.examples.iter().flat_map(|rows| &rows.files));
        let data = data.map(|file| format!("{} {}\n", file.file, file.sha256)).collect::<Vec<_>>().concat();
        let template = served.tokens.chat_template.as_deref().filter(|_| chat);
        let template = template.map(|text| format!("{} {}", hex_digest(text.as_bytes()), self.settings.date));
        Ok([
            env!("CARGO_PKG_VERSION"),
            &task.file.sha256()?,
            &data,
            &task.shots.to_string(),
            template.as_deref().unwrap_or_default(),
            &hashes(&self.files[model]),
            &served.tokens.sha256,
            self.compute,
            &self.positions.to_string(),
        ]
        .join("\n\n"))
    }
}

fn shown_len(prompt: &Prompt) -> usize {
    match prompt {
        Prompt::Text(text) => text.len(),
        Prompt::Chat(turns) => turns.iter().map(|(_, text)| text.len()).sum(),
    }
}

/// A prompt as a model is given it.
fn text_of(tokens: &Tokens, prompt: &Prompt, clock: Option<&Clock>) -> std::result::Result<String, String> {
    match prompt {
        Prompt::Text(text) => Ok(text.clone()),
        Prompt::Chat(turns) => scorer::chat(tokens, &Prompt::messages(turns), clock.copied()),
    }
}

/// What a model is asked for a question.
fn asks(
    scorer: &Scorer,
    model: usize,
    (question, task): (&Question, &Prepared),
    clock: Option<&Clock>,
) -> std::result::Result<Vec<Ask>, String> {
    let tokens = &scorer.models()[model].tokens;
    let text = |prompt: &Prompt| text_of(tokens, prompt, clock);
    match &question.asked {
        Asked::Choice { contexts, continuations, .. } => {
            let pairs = contexts.iter().zip(continuations);
            pairs.map(|(context, answer)| Ok(Ask::Score(scorer.pair(model, &text(context)?, answer)?))).collect()
        }
        Asked::Generate { prompt, .. } => {
            let generate = task.file.task.generate.as_ref().ok_or("is not to be written on")?;
            let open = scorer.open(model, &text(prompt)?, generate.max_tokens, &generate.stop)?;
            Ok(vec![Ask::Write(open)])
        }
        Asked::Perplexity { text } => Ok(scorer.windows(model, text)?.into_iter().map(Ask::Score).collect()),
    }
}

/// A model of other files, called as one of these, whose results lie in the folder.
fn gives_way(results: &Results, folder: &Path) -> Option<String> {
    let other = |old: &ModelResults| results.models.iter().any(|new| new.model == old.model && new.files != old.files);
    Results::read(folder).ok()?.models.into_iter().find(other).map(|old| old.model)
}

/// Put numbers to what models answered to a task, and write them.
fn score(
    task: &Prepared,
    answered: &[Answering],
    bert: Option<&BertScore>,
    (places, settings, compute): (&Places, &Settings, &str),
    progress: &dyn Progress,
) -> Result<Results> {
    let of_task = |message: String| Error::task(&task.file.place.name(), message);
    let name = task.name();
    let wants = task.file.task.metrics.contains(&Metric::Bertscore);
    if wants && bert.is_none() {
        progress.warn(&format!("{name}: BERTScore is left out; --bertscore names the model that it asks"));
    }
    let mut measured: Vec<Vec<Measure>> = Vec::new();
    for Answering { answers, chat, .. } in answered {
        let asked: Vec<&Asked> = task.asked(*chat).iter().map(|question| &question.asked).collect();
        let mut measures = metrics::measures(&task.file.task, &asked, answers).map_err(of_task)?;
        if let (Some(bert), true) = (bert, wants) {
            let pairs: Vec<(&str, &str)> = metrics::texts(&asked, answers).collect();
            measures.extend(bert.measures(&pairs, progress)?);
        }
        measured.push(measures);
    }
    let no_right = |question: &&Question| matches!(&question.asked, Asked::Choice { right: None, truths, .. } if truths.is_empty());
    let first = answered.first().map_or(&[][..], |first| task.asked(first.chat));
    let unanswerable = first.iter().filter(no_right).count();
    if let Some(question) = first.iter().find(no_right) {
        let file = &task.rows.files[question.file].file;
        let row = question.row;
        progress.warn(&format!(
            "{name}: the right answer of {unanswerable} rows is none of their choices, the first in {file}, row {row}: they count as wrong"
        ));
    }
    let (format, engine) = Results::engine();
    let mut results = Results {
        format,
        engine,
        task: name.to_owned(),
        title: task.file.task.title.clone(),
        task_sha256: task.file.sha256()?,
        shots: task.shots,
        rows: task.rows.rows.len(),
        of: task.of,
        unanswerable,
        date: if answered.iter().any(|model| model.chat) { settings.date.to_string() } else { String::new() },
        seed: settings.seed,
        data: task.rows.files.clone(),
        examples: task
            .examples
            .iter()
            .filter(|rows| task.shots > 0 && rows.files != task.rows.files)
            .flat_map(|rows| rows.files.clone())
            .collect(),
        bertscore: bert.filter(|_| wants).map(BertScore::used),
        models: Vec::new(),
        differences: Vec::new(),
    };
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (model, measures) in answered.iter().zip(&measured) {
        let questions = task.asked(model.chat);
        let bytes = results::parquet((questions, &task.rows.files), (&model.answers, &model.cut), measures)?;
        let file = format!("{}.parquet", model.model);
        let answers = FileHash { file: file.clone(), bytes: bytes.len() as u64, sha256: hex_digest(&bytes) };
        files.insert(file, bytes);
        let number = |measure: &Measure| Number::of(measure, estimate(&measure.items, settings.seed));
        let template = model.tokens.chat_template.as_ref().filter(|_| model.chat);
        results.models.push(ModelResults {
            model: model.model.clone(),
            parent: model.parent.clone(),
            compute: compute.to_owned(),
            chat: model.chat,
            cut: model.cut.iter().filter(|cut| **cut).count(),
            files: model.files.clone(),
            tokenizer_sha256: model.tokens.sha256.clone(),
            template_sha256: template.map(|text| hex_digest(text.as_bytes())),
            metrics: measures.iter().map(number).collect(),
            answers,
        });
    }
    if let (Some((first, others)), Some((base, rest))) = (measured.split_first(), answered.split_first()) {
        for (model, measures) in rest.iter().zip(others) {
            for (a, b) in first.iter().zip(measures) {
                let difference = difference(&a.items, &b.items, settings.seed);
                results.differences.push(Differing::of((&base.model, &model.model), &a.name, difference));
            }
        }
    }
    files.insert(results::NAME.to_owned(), results.json()?.into_bytes());
    let folder = places.out.join(name);
    if let Some(id) = gives_way(&results, &folder) {
        progress
            .note(&format!("{name}: {} had results of another model called `{id}`, which give way", folder.display()));
    }
    atomic::create_parent(&folder)?;
    atomic::folder(
        &folder,
        || Ok::<_, Error>(()),
        |aside| {
            fs::create_dir_all(aside).map_err(setaccio_base::Error::io("create", aside))?;
            for (file, bytes) in &files {
                atomic::write(&aside.join(file), bytes)?;
            }
            Ok(())
        },
    )?;
    Ok(results)
}
