//! The steps of a chain: each asks what is finished, and does what is not. Building the data of a stage is the caller's.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use setaccio_base::{
    atomic, hidden,
    lock_file::{LockFile, Mode},
    manifest,
    progress::Progress,
    row::Message,
    sha256::hex_digest,
};

use super::{
    card::{self, SAMPLE_TOKENS, Sample, StageReport},
    finished::Finished,
    lock::ChainLock,
    places::Places,
    schema::{Chain, ChainFile, Stage},
};
use setaccio_dataset::folder::LEDGER;
use setaccio_templates::Clock;

use crate::{
    artifacts::{
        destination::Destination,
        export::{self, ExportReport, GgufOptions, Quant},
        finished_run::FinishedRun,
        merge::{self, MergeReport, Options},
    },
    checkpoint::ownership::{self, CHAIN},
    error::{Error, Result},
    formats::model_files::ModelFiles,
    generate::{chat_ids, generate, load_model, raw_ids, tokens_left},
    inference::sampling::Sampling,
    recipe::{Device, Method, TINY, TINY_FOLDER},
    report::{
        curve,
        lock::{self, FileHash, RunLock},
        metrics,
    },
    session::{self, RunOutcome, RunPlan, StartMode},
    tokenizer::Tokens,
};

/// A step of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The rows of stage number `.0` are built.
    Data(usize),
    /// Stage number `.0` is trained.
    Train(usize),
    /// What stage number `.0` trained becomes a model.
    Merge(usize),
    /// The model before stage number `.0` is evaluated: the base, or what the stage before it left.
    Evaluate(usize),
    /// Base and last model are audited, side by side.
    Audit,
    /// The last model is exported, its matrices packed in this.
    Export(String),
    /// The card is written.
    Card,
}

/// What came of a step.
#[derive(Clone, Debug)]
pub enum StepOutcome<T> {
    /// It was finished before, and left what is there.
    UpToDate(PathBuf),
    /// It was done now.
    Done(T),
}

/// A model, and whether it was merged or only copied.
#[derive(Clone, Debug)]
pub struct StageModel {
    /// How the stage was trained.
    pub method: Method,
    /// What was written.
    pub report: MergeReport,
}

/// A chain at work in its folder.
pub struct ChainRun {
    /// Its recipe.
    pub file: ChainFile,
    /// Where its parts lie.
    pub places: Places,
    lock: ChainLock,
    /// Of the last model, once it is asked for.
    hashes: Option<Vec<FileHash>>,
    /// The folder is this process's.
    _held: LockFile,
}

impl ChainRun {
    /// Go on with the chain in `places`, or begin it there.
    ///
    /// # Errors
    /// A training recipe is wrong; `chain.lock.toml` is of another version; another process makes a chain there; the folder
    /// holds a run, or something where the chain is to put a model or a file, which it would find out after hours.
    pub fn open(file: ChainFile, places: Places) -> Result<Self> {
        for i in 0..file.chain.stage.len() {
            file.stage(i, &places).map_err(|e| Error::Other(format!("stage `{}`: {e}", file.chain.stage[i].name)))?;
        }
        if ownership::holds_a_run(&places.root) {
            let message = "holds a run of `setaccio train`, whose files a chain would mix with its own: give the chain a folder \
                           of its own with `--out`";
            return Err(Error::damaged(&places.root, message));
        }
        fs::create_dir_all(&places.root).map_err(Error::io("create", &places.root))?;
        let held = hidden::lock(&places.root, "chain", Mode::Exclusive)?;
        atomic::sweep(&places.root)?;
        let lock = ChainLock::open(&places.root)?;
        let mut chain = Self { file, places, lock, hashes: None, _held: held };
        let models = (0..chain.chain().stage.len()).map(|i| chain.model_after(i));
        let files = chain.chain().quants.iter().map(|quant| chain.places.export(&chain.chain().name, quant));
        for place in models.chain(files) {
            chain.replaces(&place)?;
        }
        for stage in &chain.chain().stage {
            ownership::check(&chain.places.run(&stage.name))?;
        }
        chain.lock.set_stages(chain.chain().stage.iter().map(|stage| stage.name.clone()).collect());
        chain.lock.write()?;
        Ok(chain)
    }

    /// All steps, in order: all rows first, so that what is wrong with them is said before anything is trained.
    pub fn steps(&self) -> Vec<Step> {
        let stages = 0..self.chain().stage.len();
        let data = stages.clone().map(Step::Data);
        let evaluates = self.chain().eval.is_some();
        let evaluate = |i: usize| evaluates.then_some(Step::Evaluate(i));
        // A base that the first stage makes is not there before.
        let early = self.chain().base.path != TINY;
        let models = stages.flat_map(move |i| {
            let first = evaluate(i).filter(|_| i == 0);
            let steps = [first.clone().filter(|_| early), Some(Step::Train(i)), Some(Step::Merge(i))];
            steps.into_iter().chain([first.filter(|_| !early), evaluate(i + 1)]).flatten()
        });
        let exports = self.chain().quants.iter().map(|quant| Step::Export(quant.clone()));
        let audit = self.chain().audit.as_ref().map(|_| Step::Audit);
        data.chain(models).chain(audit).chain(exports).chain([Step::Card]).collect()
    }

    /// A step's name, in `chain.lock.toml` and for people.
    pub fn name(&self, step: &Step) -> String {
        match step {
            Step::Data(i) => format!("{}: data", self.stage(*i).name),
            Step::Train(i) => format!("{}: training", self.stage(*i).name),
            Step::Merge(i) => format!("{}: merging", self.stage(*i).name),
            Step::Evaluate(i) => format!("{}: evaluation", self.evaluated(*i)),
            Step::Audit => "audit".into(),
            Step::Export(quant) => format!("export: {quant}"),
            Step::Card => "card".into(),
        }
    }

    /// What the training of stage `i` takes.
    pub fn plan(&self, i: usize, progress: &dyn Progress) -> Result<RunPlan> {
        RunPlan::new(self.file.stage(i, &self.places)?, &self.places.run(&self.stage(i).name), progress)
    }

    /// Train the stage of a plan: on with the run that is in its folder if it is this very run, else anew.
    ///
    /// # Errors
    /// What the chain is to export at its end cannot be, or whatever stops a run.
    pub fn train(&self, plan: &RunPlan, progress: &dyn Progress) -> Result<RunOutcome> {
        if !self.chain().quants.is_empty() {
            let tokens = plan.trained_tokens()?;
            export::can_be_gguf(&plan.config, &tokens)
                .map_err(|e| Error::Other(format!("`quants` asks for GGUF files at the end: {e}")))?;
        }
        session::run(plan, &plan.recipe_file.command(), StartMode::Again, progress)
    }

    /// Make a model of what stage `i` trained.
    pub fn merge(&mut self, i: usize, progress: &dyn Progress) -> Result<StepOutcome<StageModel>> {
        let (folder, out, step) =
            (self.places.run(&self.stage(i).name), self.model_after(i), self.name(&Step::Merge(i)));
        let lock = RunLock::read(&folder.join(lock::NAME))?;
        let dtype = &self.chain().dtype;
        let inputs = inputs_of(&["merge", dtype], lock.made.iter().chain(&lock.base));
        if self.lock.has(&step, &inputs, &out) {
            return Ok(StepOutcome::UpToDate(out));
        }
        let run = FinishedRun::open(&folder)?;
        let dtype = if dtype.is_empty() { None } else { Some(merge::dtype(dtype)?) };
        // What was trained in 4 bits is merged into the weights as they are stored: nothing is quantised twice.
        // The last model gets the card of the chain.
        let card = i + 1 < self.chain().stage.len();
        let options = Options { dtype, same_base: true, force: self.replaces(&out)?, card, ..Options::default() };
        let report = match run.method {
            Method::Lora => {
                let files = ModelFiles::open(&run.base)?;
                run.same_base(&files, &|| progress.cancelled())?;
                merge::merge(&files, &run.made, &out, &options, progress)?
            }
            Method::Full => {
                // In what its base was stored in, as after every other stage.
                let stored = ModelFiles::open(&run.base)?.stored()?;
                let options = Options { dtype: dtype.or(Some(stored)), ..options };
                merge::copy(&ModelFiles::open(&run.made)?, &out, &options, progress)?
            }
        };
        self.lock.add(&step, &inputs, &out)?;
        Ok(StepOutcome::Done(StageModel { method: run.method, report }))
    }

    /// Export the last model.
    pub fn export(&mut self, quant: &str, progress: &dyn Progress) -> Result<StepOutcome<ExportReport>> {
        let (model, out) = (self.places.result(), self.places.export(&self.chain().name, quant));
        let step = self.name(&Step::Export(quant.to_owned()));
        let (files, tokens) = (ModelFiles::open(&model)?, Tokens::open(&model)?);
        let hashes = match self.hashes.take() {
            Some(hashes) => hashes,
            None => files.hashes(&|| progress.cancelled())?,
        };
        let template = tokens.chat_template.as_deref().unwrap_or_default();
        let inputs = inputs_of(&["gguf", quant, &tokens.sha256, template], &hashes);
        self.hashes = Some(hashes);
        if self.lock.has(&step, &inputs, &out) {
            return Ok(StepOutcome::UpToDate(out));
        }
        let destination = Destination { path: &out, force: self.replaces(&out)? };
        let options = GgufOptions { quant: Quant::parse(quant)?, check: true };
        let report = export::gguf((&files, &tokens), destination, options, progress)?;
        self.lock.add(&step, &inputs, &out)?;
        Ok(StepOutcome::Done(report))
    }

    /// What the model of the evaluation before stage `i` is called.
    pub fn evaluated(&self, i: usize) -> &str {
        i.checked_sub(1).map_or("base", |before| &self.stage(before).name)
    }

    /// The models that there are before stage `i`, each with what it is called: the base, and what each stage left.
    pub fn models_before(&self, i: usize) -> Result<Vec<(String, PathBuf)>> {
        let base = PathBuf::from(self.file.stage(0, &self.places)?.recipe.model.path);
        let base =
            if self.chain().base.path == TINY { self.places.run(&self.stage(0).name).join(TINY_FOLDER) } else { base };
        let mut models = vec![(self.evaluated(0).to_owned(), base)];
        models.extend((1..=i).map(|i| (self.evaluated(i).to_owned(), self.model_after(i - 1))));
        Ok(models)
    }

    /// Whether models were evaluated already, `before` a stage or, at the end, audited, by what `what` says; and what identifies that.
    pub fn was_asked(&self, step: &Step, what: &[String], progress: &dyn Progress) -> Result<(bool, String)> {
        let before = if let Step::Evaluate(i) = step { *i } else { self.chain().stage.len() };
        let mut hashes = Vec::new();
        for (_, model) in self.models_before(before)? {
            hashes.extend(ModelFiles::open(&model)?.hashes(&|| progress.cancelled())?);
        }
        let kind = if *step == Step::Audit { "audit" } else { "evaluate" };
        let parts: Vec<&str> = [kind].into_iter().chain(what.iter().map(String::as_str)).collect();
        let inputs = inputs_of(&parts, &hashes);
        Ok((self.lock.has(&self.name(step), &inputs, &self.place_of(step)), inputs))
    }

    /// Remember that models were evaluated or audited.
    pub fn add_asked(&mut self, step: &Step, inputs: &str) -> Result<()> {
        let (name, out) = (self.name(step), self.place_of(step));
        self.lock.add(&name, inputs, &out)
    }

    /// The folder of what models answer in a step.
    pub fn place_of(&self, step: &Step) -> PathBuf {
        match step {
            Step::Evaluate(i) => self.places.evaluation(self.evaluated(*i)),
            _ => self.places.audit(),
        }
    }

    /// Write the card into the last model's folder, with the curves and the cards of the data beside it. Gives what base and
    /// result answer to the chain's prompts. `measured` are the card's sections of evaluations and audit.
    pub fn card(&mut self, measured: &[String], progress: &dyn Progress) -> Result<Vec<Sample>> {
        let stages = self.chain().stage.iter().map(|stage| self.report(stage)).collect::<Result<Vec<_>>>()?;
        let (samples, model) = (self.samples(&stages, progress)?, self.places.result());
        atomic::sweep(&model)?;
        for Stage { name, .. } in &self.chain().stage {
            copy(&self.places.run(name).join(curve::NAME), &model.join(card::curve(name)))?;
            let (from, to) = (self.places.data(name), model.join(card::data(name)));
            // The card of the data shows its waterfall.
            for file in [card::NAME, "waterfall.svg"] {
                copy(&from.join(file), &to.with_file_name(file))?;
            }
        }
        let exports = self.chain().quants.iter().map(|quant| self.places.export(&self.chain().name, quant));
        let exports = exports.filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        let exports: Vec<String> = exports.collect();
        let text = card::markdown(self.chain(), &stages, (&exports, measured), &samples);
        atomic::write(&self.card_path(), text.as_bytes())?;
        self.seal()?;
        Ok(samples)
    }

    /// Write the hashes of all that the chain leaves: of its own files, and of what says the hashes of its runs and rows.
    fn seal(&self) -> Result<()> {
        let mut names: BTreeSet<String> = self.lock.files().cloned().collect();
        names.insert(CHAIN.to_owned());
        let root = &self.places.root;
        let below = |path: PathBuf| {
            let parts = path.strip_prefix(root).unwrap_or(&path).components();
            parts.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect::<Vec<_>>().join("/")
        };
        for Stage { name, .. } in &self.chain().stage {
            let sealed = [self.places.run(name).join(manifest::NAME), self.places.data(name).join(LEDGER)];
            let data = self.places.result().join(card::data(name));
            let beside = [self.places.result().join(card::curve(name)), data.with_file_name("waterfall.svg"), data];
            names.extend(sealed.into_iter().chain(beside).filter(|path| path.is_file()).map(below));
        }
        names.insert(below(self.card_path()));
        // Weights take minutes to read. Those that no step has written anew are what they were.
        let known = if self.lock.changed() { Vec::new() } else { manifest::files(root)? };
        let large = |file: &FileHash| [".safetensors", ".gguf"].iter().any(|end| file.file.ends_with(end));
        let given: Vec<FileHash> = known.into_iter().filter(|file| large(file) && names.remove(&file.file)).collect();
        Ok(manifest::write(root, &names.into_iter().collect::<Vec<_>>(), given)?)
    }

    /// The chain's card.
    pub fn card_path(&self) -> PathBuf {
        self.places.result().join(card::NAME)
    }

    /// The answers of base and result to the chain's prompts, asked once.
    fn samples(&mut self, stages: &[StageReport], progress: &dyn Progress) -> Result<Vec<Sample>> {
        let prompts = self.chain().prompts.clone();
        if prompts.is_empty() {
            return Ok(Vec::new());
        }
        let path = self.places.samples();
        let asked: Vec<&str> = ["samples"].into_iter().chain(prompts.iter().map(String::as_str)).collect();
        let inputs = inputs_of(&asked, stages.iter().flat_map(|stage| stage.lock.base.iter().chain(&stage.lock.made)));
        if self.lock.has("samples", &inputs, &path)
            && let Some(samples) = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
        {
            return Ok(samples);
        }
        let locks: Vec<(&str, &RunLock)> = stages.iter().map(|stage| (stage.name.as_str(), &stage.lock)).collect();
        let made = Finished::new(&self.places, &locks)?;
        let before = answers(&made.base, &made.asks, (&prompts, made.day), progress)?;
        let after = answers(&made.result, &made.asks, (&prompts, made.day), progress)?;
        let answers = before.into_iter().zip(after);
        let samples =
            prompts.into_iter().zip(answers).map(|(prompt, (before, after))| Sample { prompt, before, after });
        let samples: Vec<Sample> = samples.collect();
        let text = serde_json::to_vec_pretty(&samples).map_err(|e| Error::Other(e.to_string()))?;
        atomic::write(&path, &text)?;
        self.lock.add("samples", &inputs, &path)?;
        Ok(samples)
    }

    fn chain(&self) -> &Chain {
        &self.file.chain
    }

    fn stage(&self, i: usize) -> &Stage {
        &self.file.chain.stage[i]
    }

    /// The model after stage `i`.
    fn model_after(&self, i: usize) -> PathBuf {
        let last = i + 1 == self.chain().stage.len();
        if last { self.places.result() } else { self.places.merged(&self.stage(i).name) }
    }

    /// What a finished stage says of itself.
    fn report(&self, stage: &Stage) -> Result<StageReport> {
        let folder = self.places.run(&stage.name);
        let lock = RunLock::read(&folder.join(lock::NAME))?;
        Ok(StageReport { name: stage.name.clone(), lock, lines: metrics::read(&folder)? })
    }

    /// Whether there is something at `place` that this chain made and may replace.
    fn replaces(&self, place: &Path) -> Result<bool> {
        if place.exists() && !self.lock.made(place) {
            return Err(Error::Other(format!(
                "{} is there, and this chain did not make it: move it away, or name another folder with --out",
                place.display()
            )));
        }
        Ok(place.exists())
    }
}

/// The most probable answers of the model in `path` on a day, with the tokenizer that lies in `tokens`.
fn answers(
    path: &Path,
    tokens: &Path,
    (prompts, day): (&[String], Option<Clock>),
    progress: &dyn Progress,
) -> Result<Vec<String>> {
    let (files, tokens) = (ModelFiles::open(path)?, Tokens::open(tokens)?);
    let model = load_model(&files, Device::Auto, progress)?;
    let known = (&tokens, files.config().vocab_size);
    let answer = |prompt: &String| {
        let ids = if tokens.chat_template.is_some() {
            chat_ids(known, &[Message::new("user", prompt)], day)?
        } else {
            raw_ids(known, prompt)?
        };
        let most = SAMPLE_TOKENS.min(tokens_left(files.config(), ids.len())?);
        let written =
            generate(&model, &ids, (&tokens.eos_ids, most), &Sampling::default(), &mut |_| !progress.cancelled())?;
        if progress.cancelled() {
            return Err(Error::Interrupted);
        }
        tokens.decode(&written)
    };
    prompts.iter().map(answer).collect()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).map_err(Error::io("read", from))?;
    atomic::create_parent(to)?;
    Ok(atomic::write(to, &bytes)?)
}

/// SHA-256 of what decides a step.
fn inputs_of<'a>(parts: &[&str], files: impl IntoIterator<Item = &'a FileHash>) -> String {
    let files: Vec<String> = files.into_iter().map(|f| format!("{} {}", f.file, f.sha256)).collect();
    hex_digest(format!("{}\n{}\n{}", env!("CARGO_PKG_VERSION"), parts.join("\n"), files.join("\n")).as_bytes())
}
