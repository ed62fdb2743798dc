//! What the tests share: a folder of inputs and a recipe, runs of the program, what they leave, and snapshots of what they
//! say.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use arrow_array::{Array, RecordBatch, cast::AsArray};
use parquet::{
    arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder},
    file::properties::WriterProperties,
};

/// The repository.
pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The samples of a recipe of the repository, built.
#[cfg(feature = "train")]
pub fn built(recipe: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    setaccio(&["build", &format!("pipelines/{recipe}.toml"), "--out", dir.path().to_str().unwrap()]).assert_success();
    dir
}

/// `setaccio train` of a recipe of the repository on the build in `data`, into `out`, with these changes.
#[cfg(feature = "train")]
pub fn training(recipe: &str, data: &Path, out: &Path, sets: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
    command.current_dir(ROOT).stdin(Stdio::null());
    command.args(["train", &format!("pipelines/train/{recipe}.toml"), "--out", out.to_str().unwrap()]);
    command.args(["--set", &format!("data.train=[{:?}]", data.to_str().unwrap())]);
    command.args(sets.iter().flat_map(|set| ["--set", *set]));
    command
}

/// Rules, deduplication and a split: what the tests of the engine run, in tasks of `task_bytes`.
pub fn web_rules(task_bytes: u32) -> String {
    format!(
        "[[filter]]\nrule = 'clean_mc4_it'\nbad_words = {{ words = ['accidenti'] }}\nlength = {{ min_chars = 150 }}\n\
         [dedup]\n[split]\nvalidation = 0.1\n[read]\ntask_bytes = {task_bytes}\n"
    )
}

/// A temporary folder with inputs in `data/<source>/` and a recipe.
pub struct Fixture {
    dir: tempfile::TempDir,
}

/// How one run ended.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// The run, if it went well.
    pub fn assert_success(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.said());
        self
    }

    /// All that it said.
    pub fn said(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// What it said, if it failed as a command should.
    pub fn assert_failure(self) -> String {
        let said = self.said();
        assert_eq!(self.code, Some(1), "{said}");
        said
    }
}

/// What commands say, case by case, to be compared as a whole.
#[derive(Default)]
pub struct Transcript(String);

impl Transcript {
    /// One more case.
    pub fn add(&mut self, case: impl std::fmt::Display, said: &str) {
        writeln!(self.0, "## {case}\n\n{}\n", said.trim_end()).unwrap();
    }

    /// Compare it with the snapshot of this name.
    pub fn assert_snapshot(self, name: &str) {
        assert_snapshot(name, self.0);
    }

    /// [`assert_measured_snapshot`] of it.
    #[cfg(feature = "train")]
    pub fn assert_measured_snapshot(self, name: &str) {
        assert_measured_snapshot(name, self.0);
    }
}

/// Compare a text with `snapshots/NAME.snap`, which a person has read. Places, ports, times and commits are taken out of it:
/// they differ from run to run. `just snapshots` writes the files anew, and git shows what changed.
pub fn assert_snapshot(name: &str, text: impl AsRef<str>) {
    compare(name, text.as_ref(), insta::Settings::clone_current());
}

/// [`assert_snapshot`] of a text with measured numbers, such as losses or memory: they differ from processor to processor
/// and from run to run, so that every number with a decimal point is taken out, and so are hashes.
#[cfg(feature = "train")]
pub fn assert_measured_snapshot(name: &str, text: impl AsRef<str>) {
    let mut settings = insta::Settings::clone_current();
    // How often progress is told depends on the machine.
    settings.add_filter(r"(?m)^train: \d+ of \d+  loss .* left\n", "");
    // In which unit it is said depends on how many cores there are.
    settings.add_filter(r"-?\d+\.\d+ (MiB|GiB) of memory", "[N] of memory");
    settings.add_filter(r"(?m)(^|[^\w-])-?\d+\.\d+(e-?\d+)?", "${1}[N]");
    settings.add_filter(r"(\| \d+ \| )?`[0-9a-f]{16,64}`", "[HASH]");
    settings.add_filter(r"\d{1,3}(,\d{3})+ sequences", "[N] sequences");
    // And which instructions a processor has.
    settings.add_filter(r"products of f32 by [^|]*[^| ]", "[INSTRUCTIONS]");
    // What a model writes differs as its numbers do.
    settings.add_filter(r"(?s)(After step [\d,]+:\n\n)```+\n.*?\n```+\n", "${1}[TEXT]\n");
    compare(name, text.as_ref(), settings);
}

fn compare(name: &str, text: &str, mut settings: insta::Settings) {
    let temp = std::env::temp_dir();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (pattern, instead) in [
        (r"\[TEMP\]/\.tmp\w+", "[TMP]"),
        (r"\b[0-9a-f]{40}\b", "[COMMIT]"),
        (r"http://127\.0\.0\.1:\d+", "[HUB]"),
        (r"\b\d+(\.\d+)? (ms|s|min)\b", "[TIME]"),
    ] {
        settings.add_filter(pattern, instead);
    }
    let text = text.replace(ROOT, "[ROOT]").replace(temp.to_str().unwrap(), "[TEMP]");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

impl Fixture {
    /// A fixture whose recipe has one text source, `web`, in the schema `text`, and these further settings.
    pub fn text(settings: &str) -> Self {
        Self::new("text", &[("web", "text")], settings)
    }

    /// A fixture with sources of these names and schemas.
    pub fn new(kind: &str, sources: &[(&str, &str)], settings: &str) -> Self {
        let fixture = Self { dir: tempfile::tempdir().unwrap() };
        let mut recipe = format!("name = 'lab'\ntitle = 'Lab'\nabout = 'A test.'\nkind = '{kind}'\n");
        for (name, schema) in sources {
            write!(
                recipe,
                "[[source]]\nname = '{name}'\nschema = '{schema}'\nrepo = 'lab/{name}'\nrevision = 'main'\n\
                 files = ['**/*']\nsamples = 'none'\nlicense = 'mit'\nlanguage = 'it'\n"
            )
            .unwrap();
        }
        fixture.write("recipe.toml", format!("{recipe}{settings}\n"));
        fixture
    }

    /// A path in the fixture.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Write a file of the fixture.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// `setaccio build` of the fixture's recipe into `out`, ready to run.
    pub fn command(&self, out: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
        command.arg("build").arg(self.path("recipe.toml")).arg("--out").arg(self.path(out));
        command.arg("--from").arg(self.path("data")).args(args).stdin(Stdio::null());
        command.current_dir(ROOT);
        command
    }

    /// Build into `out`.
    pub fn build(&self, out: &str, args: &[&str]) -> Run {
        self.command(out, args).output().unwrap().into()
    }

    /// The published files of `out`.
    pub fn published(&self, out: &str) -> BTreeMap<String, Vec<u8>> {
        published(&self.path(out))
    }

    /// The ids of a split of `out`, in order.
    pub fn ids(&self, out: &str, split: &str) -> Vec<String> {
        column(&self.path(out).join("data"), split, "id")
    }
}

/// A Parquet file of this batch.
pub fn parquet_of(batch: &RecordBatch, properties: Option<WriterProperties>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), properties).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes
}

/// The program in a shell that runs `script`, where it and its arguments are `"$@"`.
pub fn in_shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_setaccio")]);
    command
}

/// Run the program.
pub fn setaccio(args: &[&str]) -> Run {
    Command::new(env!("CARGO_BIN_EXE_setaccio")).args(args).current_dir(ROOT).output().unwrap().into()
}

/// Wait until it has happened, or `child` has ended.
pub fn wait_for(child: &mut Child, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(2);
    while !happened() && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it did not happen in time");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Ctrl-C.
pub fn interrupt(child: &Child) {
    signal(child, "INT");
}

/// A signal by its name, without `SIG`.
pub fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap().success());
}

/// Every file of a built folder but the hidden ones.
pub fn published(out: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(folder: &Path, prefix: &str, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if entry.path().is_dir() && !name.starts_with('.') {
                walk(&entry.path(), &format!("{prefix}{name}/"), found);
            } else if entry.path().is_file() {
                found.insert(format!("{prefix}{name}"), fs::read(entry.path()).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(out, "", &mut found);
    found
}

/// The batches of all Parquet files of a folder whose names begin with `prefix`.
pub fn batches(folder: &Path, prefix: &str) -> Vec<RecordBatch> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().flatten().map(|e| e.path()).collect();
    paths.retain(|p| p.file_name().unwrap().to_string_lossy().starts_with(prefix));
    paths.sort();
    let read = |p: &PathBuf| ParquetRecordBatchReaderBuilder::try_new(fs::File::open(p).unwrap()).unwrap().build();
    paths.iter().flat_map(|p| read(p).unwrap().map(Result::unwrap)).collect()
}

/// One string column of all Parquet files of a folder whose names begin with `prefix`; nulls are empty.
pub fn column(folder: &Path, prefix: &str, name: &str) -> Vec<String> {
    let mut values = Vec::new();
    for batch in batches(folder, prefix) {
        let strings = batch.column_by_name(name).unwrap().as_string::<i32>().clone();
        values.extend((0..strings.len()).map(|i| strings.value(i).to_owned()));
    }
    values
}

/// Numbers that look random and are the same every time.
pub struct TestRng(pub u64);

impl TestRng {
    pub fn below(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }

    pub fn below_u32(&mut self, sides: u32) -> u32 {
        u32::try_from(self.below(sides as usize)).unwrap()
    }

    /// A few Italian sentences, a paragraph or two.
    pub fn text(&mut self) -> String {
        const WHO: [&str; 8] =
            ["Il maestro", "La nonna", "Un contadino", "La maestra", "Il fornaio", "Una bambina", "Lo zio", "Il gatto"];
        const DOES: [&str; 8] =
            ["racconta", "dimentica", "ritrova", "prepara", "nasconde", "descrive", "compra", "aspetta"];
        const WHAT: [&str; 8] = [
            "una vecchia storia",
            "il pane appena fatto",
            "le chiavi di casa",
            "un libro di favole",
            "la bicicletta rossa",
            "il treno delle sette",
            "un cesto di castagne",
            "la lettera della sorella",
        ];
        let mut text = String::new();
        if self.below(9) == 0 {
            text.push_str("Accidenti! ");
        }
        for _ in 0..4 + self.below(8) {
            let (who, does, what) = (WHO[self.below(8)], DOES[self.below(8)], WHAT[self.below(8)]);
            let number = self.below(1000);
            let end = if self.below(4) == 0 { "\n" } else { " " };
            write!(text, "{who} {does} {what} per la {number}esima volta.{end}").unwrap();
        }
        text.trim_end().to_owned()
    }

    /// JSON lines of `n` texts in mC4's layout; about one in eleven says what an earlier one said.
    pub fn lines(&mut self, n: usize) -> String {
        let mut texts: Vec<String> = Vec::new();
        for i in 0..n {
            let again = i > 0 && self.below(11) == 0;
            texts.push(if again { texts[self.below(i)].clone() } else { self.text() });
        }
        let line = |text| format!("{}\n", serde_json::json!({ "text": text, "url": "https://x.example/" }));
        texts.into_iter().map(line).collect()
    }
}

/// Build two slices into `out`, then damage a part of a task that ends in `extension`, and remove it: both stop what puts the slices
/// together, and a part that is missing counts as a task that was not done.
pub fn tear_and_remove_a_part(fixture: &Fixture, extension: &str) {
    for slice in 1..=2 {
        fixture.build("out", &["--task", &format!("{slice}/2")]).assert_success();
    }
    let parts = fs::read_dir(fixture.path("out/.setaccio/work")).unwrap().map(|entry| entry.unwrap().path());
    let part = parts.filter(|path| path.extension().is_some_and(|end| end == extension)).min().unwrap();
    let mut bytes = fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&part, &bytes).unwrap();
    let said = fixture.build("out", &["--finish"]).assert_failure();
    assert!(said.contains("is not what the task wrote"), "{said}");
    fs::remove_file(&part).unwrap();
    let said = fixture.build("out", &["--finish"]).assert_failure();
    assert!(said.contains("are not done yet"), "{said}");
}
