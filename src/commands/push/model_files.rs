//! Which files of a model's or adapter's folder are pushed, and whether they are what they say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::Path,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use setaccio_base::{gguf_header, run_lock, safetensors_header};
use setaccio_hub::upload::{Content, LocalFile};

/// Weights of a model in one file, what says which of several holds a tensor, and weights of an adapter.
const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const ADAPTER: &str = "adapter_model.safetensors";

/// What transformers, PEFT and llama.cpp look for beside weights.
const KNOWN: [&str; 22] = [
    "adapter_config.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "config_sentence_transformers.json",
    "generation_config.json",
    "merge.lock.toml",
    "merges.txt",
    "metrics.jsonl",
    INDEX,
    "preprocessor_config.json",
    "processor_config.json",
    "quantize_config.json",
    run_lock::NAME,
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
];
/// What people are to read: cards, pictures in them, terms of use.
const TO_READ: [&str; 2] = [".md", ".svg"];
const TERMS: [&str; 3] = ["LICENSE", "NOTICE", "USE_POLICY"];

/// What a folder has for its repository.
#[derive(Default)]
pub struct ModelFiles {
    /// What goes there.
    pub files: Vec<LocalFile>,
    /// What does not, by name.
    pub left_out: Vec<String>,
}

/// The files of `folder` that belong into a repository, `prefix` before their names there. Each is whole as far as it says
/// of itself.
///
/// # Errors
/// A file of weights or a text is damaged, or does not belong to the others.
pub fn of(folder: &Path, prefix: &str) -> Result<ModelFiles> {
    let mut found = ModelFiles::default();
    let (folders, names): (Vec<String>, Vec<String>) =
        listed(folder)?.into_iter().partition(|name| name.ends_with('/'));
    let shards = shards(folder, &names)?;
    for name in names {
        let gguf = Path::new(&name).extension().is_some_and(|end| end == "gguf");
        let weights = gguf || [WHOLE, ADAPTER].contains(&&*name) || shards.contains(&name);
        let text = KNOWN.contains(&&*name)
            || TO_READ.iter().any(|end| name.ends_with(end))
            || TERMS.iter().any(|start| name.starts_with(start));
        if weights || text {
            let path = folder.join(&name);
            // A link to nothing is told of later, with its name; shards were looked at with their index.
            if path.exists() && !shards.contains(&name) {
                whole(&path)?;
            }
            found.files.push(LocalFile { path: format!("{prefix}{name}"), content: Content::File(path) });
        } else {
            found.left_out.push(format!("{prefix}{name}"));
        }
    }
    found.left_out.extend(folders.into_iter().map(|name| format!("{prefix}{name}")));
    found.left_out.sort();
    Ok(found)
}

/// The names of what is in a folder, sorted, a folder's with a `/` at its end. What is hidden is nobody's business.
pub fn listed(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(if path.is_dir() { name + "/" } else { name });
        }
    }
    names.sort();
    Ok(names)
}

/// Check that a file is what its name says, as far as it says of itself.
///
/// # Errors
/// It is not.
pub fn whole(path: &Path) -> Result<()> {
    ordinary(path)?;
    let end = path.extension().unwrap_or_default().to_string_lossy();
    let open = || File::open(path).with_context(|| format!("cannot open {}", path.display()));
    let read = || fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let json = |text: &[u8], at: &str| {
        serde_json::from_slice::<serde::de::IgnoredAny>(text)
            .with_context(|| format!("{}{at}: is no JSON, and nothing was pushed", path.display()))
    };
    match &*end {
        "safetensors" => safetensors_header::read(&open()?, path).map(drop).context(NOTHING)?,
        "gguf" => gguf_header::check(&open()?, path).context(NOTHING)?,
        "json" => json(&read()?, "").map(drop)?,
        "jsonl" => {
            for (line, text) in (1..).zip(read()?.split(|byte| *byte == b'\n')).filter(|(_, text)| !text.is_empty()) {
                json(text, &format!(", line {line}"))?;
            }
        }
        _ => {}
    }
    Ok(())
}

const NOTHING: &str = "nothing was pushed";

/// Check that what is going to be read is a file: a pipe would be waited on for ever.
pub fn ordinary(path: &Path) -> Result<()> {
    let kind = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
    ensure!(kind.is_file(), "{}: is no ordinary file, and nothing was pushed", path.display());
    Ok(())
}

/// The files that the index of `folder` names. Each is whole, and has the tensors that it should have.
fn shards(folder: &Path, names: &[String]) -> Result<BTreeSet<String>> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let path = folder.join(INDEX);
    let shown = path.display();
    let mut numbered = names.iter().filter(|name| name.starts_with("model-") && name.ends_with(".safetensors"));
    if !names.iter().any(|name| name == INDEX) {
        let Some(shard) = numbered.next() else { return Ok(BTreeSet::new()) };
        bail!("{shown} is not there, and nothing says what {shard} holds; nothing was pushed");
    }
    ordinary(&path)?;
    let text = fs::read(&path).with_context(|| format!("cannot read {shown}"))?;
    let Index { weight_map } =
        serde_json::from_slice(&text).with_context(|| format!("{shown}: is no index of shards; nothing was pushed"))?;
    let mut shards: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (tensor, shard) in &weight_map {
        shards.entry(shard).or_default().insert(tensor);
    }
    if let Some(shard) = numbered.find(|name| !shards.contains_key(name.as_str())) {
        bail!("{shown} does not name {shard}; remove what is not of this model; nothing was pushed");
    }
    for (shard, tensors) in &shards {
        ensure!(
            names.iter().any(|name| name == shard),
            "{shown} names {shard}, which is not there; fetch or merge the model again; nothing was pushed"
        );
        let path = folder.join(shard);
        ordinary(&path)?;
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let header = safetensors_header::read(&file, &path).context(NOTHING)?;
        let there: BTreeSet<&str> = header.tensors.keys().map(String::as_str).collect();
        if let Some(tensor) = tensors.symmetric_difference(&there).next() {
            let who = if there.contains(tensor) { "has it, and" } else { "does not have it, though" };
            let says = if there.contains(tensor) { "does not say so" } else { "says so" };
            bail!("{}: tensor `{tensor}`: this file {who} {INDEX} {says}; nothing was pushed", path.display());
        }
    }
    Ok(shards.into_keys().map(str::to_owned).collect())
}
