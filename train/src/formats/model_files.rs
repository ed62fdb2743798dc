//! A model on disk, be it a Hugging Face folder or a GGUF file: its configuration and its tensors by Hugging
//! Face's names, read one at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use candle_core::{DType, Tensor};
use serde::Deserialize;
use serde_json::{Map, Value};
use setaccio_base::{progress::Progress, run_lock::FileHash};

use super::{
    bitsandbytes,
    gguf::{Gguf, ROPE_FACTORS, ROPE_FREQS},
    safetensors::Safetensors,
};
use crate::{
    error::{Error, Result},
    model::{
        config::{Config, is_expert},
        load::Source,
    },
    nf4::Nf4,
};

/// Name of the file of a model's configuration.
pub const CONFIG: &str = "config.json";
pub(crate) const WHOLE: &str = "model.safetensors";
pub(crate) const INDEX: &str = "model.safetensors.index.json";
const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";
const NEEDS: &str = "a model folder has config.json and model.safetensors, or model.safetensors.index.json with the \
                     shards that it names";

/// An open model: headers are read, values are not.
#[derive(Debug)]
pub struct ModelFiles {
    path: PathBuf,
    config: Config,
    /// The configuration ties the head to the embedding, and the files hold another head.
    own_head: bool,
    storage: Storage,
    /// Of every file, once they are asked for.
    hashes: OnceLock<Vec<FileHash>>,
}

#[derive(Debug)]
enum Storage {
    Folder {
        /// Files that are not weights, below the folder.
        others: Vec<String>,
        shards: Vec<Safetensors>,
        /// Which shard holds a tensor.
        index: BTreeMap<String, usize>,
    },
    Gguf(Box<Gguf>),
}

impl ModelFiles {
    /// Open a model folder or a .gguf file. Reads configuration and headers, and values only where a tied head is stored
    /// beside its embedding: if it differs, the head is a tensor of its own, as it is to transformers 5, and
    /// `tie_word_embeddings` is false.
    ///
    /// # Errors
    /// It is not a model, is torn, or is of a kind that is not supported; the message says which file and what to do.
    pub fn open(path: &Path) -> Result<Self> {
        let is = |ending: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ending));
        if path.is_dir() {
            return Self::open_folder(path);
        }
        if !path.exists() {
            return Err(Error::model(path, format!("there is no such model; {NEEDS}; or it is a .gguf file")));
        }
        if is("safetensors") {
            return Err(Error::model(path, format!("name its folder instead: {NEEDS}")));
        }
        if pickled(path) {
            return Err(Error::model(path, CONVERT));
        }
        if !is("gguf") {
            return Err(Error::model(path, format!("is neither a .gguf file nor a model folder; {NEEDS}")));
        }
        Self::open_gguf(path)
    }

    /// Open a GGUF file, whatever it is called.
    pub(crate) fn open_gguf(path: &Path) -> Result<Self> {
        let gguf = Gguf::open(path)?;
        let config = gguf.config()?;
        Ok(Self {
            path: path.to_owned(),
            config,
            own_head: false,
            storage: Storage::Gguf(Box::new(gguf)),
            hashes: OnceLock::new(),
        })
    }

    fn open_folder(path: &Path) -> Result<Self> {
        let there = |name: &str| path.join(name).is_file();
        if !there(WHOLE) && !there(INDEX) {
            let mut listed = Vec::new();
            for entry in fs::read_dir(path).map_err(Error::io("list", path))? {
                listed.push(entry.map_err(Error::io("list", path))?.path());
            }
            listed.sort();
            let why = if let Some(file) = listed.iter().find(|f| pickled(f)) {
                format!("has {} but no safetensors; {CONVERT}", name_of(file))
            } else if let Some(file) = listed.iter().find(|f| f.extension().is_some_and(|e| e == "gguf")) {
                format!("is not a model folder; to use the GGUF file in it, name {}", file.display())
            } else if there("adapter_config.json") {
                format!("holds an adapter, not a model: name its base model; {NEEDS}")
            } else {
                format!("is not a model folder: {NEEDS}")
            };
            return Err(Error::model(path, why));
        }
        if !there(CONFIG) {
            return Err(Error::model(path, format!("has no config.json; {NEEDS}")));
        }
        let place = || fs::metadata(path).map(|m| (m.dev(), m.ino())).map_err(Error::io("read", path));
        let before = place()?;
        let config = Config::read(&path.join(CONFIG))?;
        let mut others = vec![CONFIG.to_owned()];
        // As transformers does: the single file wins.
        let (shards, index) = if there(WHOLE) {
            let shard = Safetensors::open(&path.join(WHOLE))?;
            let index = shard.names().map(|name| (name.to_owned(), 0)).collect();
            (vec![shard], index)
        } else {
            others.push(INDEX.to_owned());
            sharded(path)?
        };
        // Whatever is open stays what it was; a configuration of one model and weights of another must not meet.
        if place()? != before {
            return Err(Error::model(path, "was replaced while it was read; run the same command again"));
        }
        let own_head = config.tie_word_embeddings
            && match (index.get(HEAD), index.get(EMBEDDING)) {
                (Some(head), Some(embedding)) => {
                    !shards[*head].holds_the_same(HEAD, (&shards[*embedding], EMBEDDING))?
                }
                _ => false,
            };
        let mut config = Config { tie_word_embeddings: config.tie_word_embeddings && !own_head, ..config };
        if let Some(quantization) = &mut config.quantization {
            quantization.whole_experts = index.keys().any(|name| is_expert(name))
                && !index.keys().any(|name| is_expert(name) && name.ends_with(".absmax"));
        }
        Ok(Self {
            path: path.to_owned(),
            config,
            own_head,
            storage: Storage::Folder { others, shards, index },
            hashes: OnceLock::new(),
        })
    }

    /// The folder or file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sizes and switches.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What a person should know of the files before they are used.
    pub fn warning(&self) -> Option<String> {
        self.own_head.then(|| {
            format!(
                "{}: `tie_word_embeddings` is true, but the files hold a `{HEAD}` that differs from the embedding: it is \
                 used, and what is written here says `false`",
                self.path.join(CONFIG).display()
            )
        })
    }

    /// Tell it to whoever follows the work.
    pub fn warn(&self, progress: &dyn Progress) {
        if let Some(warning) = self.warning() {
            progress.warn(&warning);
        }
    }

    /// The GGUF file, if it is one, for its tokenizer and template.
    pub fn gguf(&self) -> Option<&Gguf> {
        match &self.storage {
            Storage::Gguf(gguf) => Some(gguf),
            Storage::Folder { .. } => None,
        }
    }

    /// Names of all tensors, sorted: Hugging Face's, and whatever else the files hold.
    pub fn names(&self) -> Vec<String> {
        match &self.storage {
            Storage::Folder { index, .. } => index.keys().cloned().collect(),
            Storage::Gguf(gguf) => gguf.names().map(str::to_owned).collect(),
        }
    }

    /// Whether [`ModelFiles::load_any`] would find it; a tied head is there.
    pub fn has(&self, name: &str) -> bool {
        let name = self.resolve(name);
        match &self.storage {
            Storage::Folder { index, .. } => index.contains_key(name),
            Storage::Gguf(gguf) => gguf.info(name).is_some(),
        }
    }

    /// A weight on the CPU, in f32, f16 or bf16 as it is stored; from GGUF in f32, rows in Hugging Face's order.
    /// A tied `lm_head.weight` is the embedding.
    ///
    /// # Errors
    /// It is missing, of another shape or type, or reading fails; the message names file and tensor.
    pub fn load(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.expect(name, shape)?;
        let tensor = self.load_any(name)?;
        match tensor.dtype() {
            DType::F32 | DType::F16 | DType::BF16 => Ok(tensor),
            other => {
                let why = format!("is stored as {}, where a weight in f32, f16 or bf16 is expected", other.as_str());
                Err(Error::tensor(self.file_of(name), name, why))
            }
        }
    }

    /// A tensor on the CPU as it is stored, whatever its type and shape: bitsandbytes keeps bytes beside its
    /// weights, under names such as `model.layers.0.self_attn.q_proj.weight.absmax`.
    ///
    /// # Errors
    /// It is missing, of a type that candle lacks, or reading fails.
    pub fn load_any(&self, name: &str) -> Result<Tensor> {
        let name = self.resolve(name);
        match &self.storage {
            Storage::Folder { shards, index, .. } => match index.get(name) {
                Some(shard) => shards[*shard].load(name),
                None => Err(self.missing(name)),
            },
            Storage::Gguf(gguf) if gguf.info(name).is_some() => gguf.load(name, &self.config),
            Storage::Gguf(_) => Err(self.missing(name)),
        }
    }

    /// The type that [`ModelFiles::load_any`] would give.
    pub fn dtype(&self, name: &str) -> Result<DType> {
        let name = self.resolve(name);
        match &self.storage {
            // Whatever it is packed in, it is unpacked to this.
            Storage::Gguf(gguf) if gguf.info(name).is_some() => Ok(DType::F32),
            Storage::Gguf(_) => Err(self.missing(name)),
            Storage::Folder { shards, index, .. } => {
                let info = index.get(name).and_then(|shard| shards[*shard].info(name));
                let (dtype, _) = info.ok_or_else(|| self.missing(name))?;
                DType::try_from(dtype).map_err(|e| Error::tensor(self.file_of(name), name, e.to_string()))
            }
        }
    }

    /// The type that the embedding is stored in, which stands for the whole model's.
    pub fn stored(&self) -> Result<DType> {
        self.dtype(EMBEDDING)
    }

    /// Check by the headers alone that every tensor of the configuration is there in its shape, and that there is
    /// none beside which would be passed over: a bias, a norm, a fourth projection.
    ///
    /// # Errors
    /// Names the tensor and the file.
    pub fn check(&self) -> Result<()> {
        let shapes = self.config.shapes();
        for (name, shape) in &shapes {
            // Of a 4-bit weight the shape is in its quantisation state.
            if !(self.config.quantization.is_some() && self.has(&format!("{name}.absmax"))) {
                self.expect(name, shape)?;
            }
        }
        let known: BTreeSet<&str> = shapes.iter().map(|(name, _)| name.as_str()).collect();
        for name in self.names() {
            let four_bit = self.config.quantization.is_some()
                && name.rsplit_once(".weight.").is_some_and(|(module, _)| known.contains(&*format!("{module}.weight")));
            // Computed from the configuration, and in old files stored too.
            let computed =
                name.ends_with("rotary_emb.inv_freq") || name == ROPE_FREQS || ROPE_FACTORS.contains(&name.as_str());
            // A head that is tied is stored as what it is tied to; any other is known.
            if !known.contains(name.as_str()) && !four_bit && !computed && name != HEAD {
                let why = "is not part of the model that the configuration describes, and it would change the result";
                return Err(Error::tensor(self.file_of(&name), &name, why));
            }
        }
        Ok(())
    }

    /// Length and SHA-256 of every file, configuration first. `cancelled` is asked all along.
    pub fn hashes(&self, cancelled: &dyn Fn() -> bool) -> Result<Vec<FileHash>> {
        let paths: Vec<PathBuf> = match &self.storage {
            Storage::Folder { others, shards, .. } => {
                let others = others.iter().map(|name| self.path.join(name));
                others.chain(shards.iter().map(|s| s.path().to_owned())).collect()
            }
            Storage::Gguf(gguf) => vec![gguf.path().to_owned()],
        };
        if let Some(known) = self.hashes.get() {
            return Ok(known.clone());
        }
        let of = |path: &PathBuf| Ok(FileHash::of(path, &name_of(path), cancelled)?);
        let found = paths.iter().map(of).collect::<Result<Vec<_>>>()?;
        Ok(self.hashes.get_or_init(|| found).clone())
    }

    /// The config.json of its folder as it is, for what is not known here may matter to others, but for a head that is not
    /// tied; of a GGUF file one made from its metadata.
    pub fn config_json(&self) -> Result<Value> {
        if self.gguf().is_some() {
            return self.config.to_json();
        }
        let path = self.path.join(CONFIG);
        let text = fs::read(&path).map_err(Error::io("read", &path))?;
        let mut map: Map<String, Value> =
            serde_json::from_slice(&text).map_err(|e| Error::model(&path, format!("not a config.json: {e}")))?;
        if self.own_head {
            map.insert("tie_word_embeddings".into(), false.into());
        }
        Ok(Value::Object(map))
    }

    /// Length of all weight files together.
    pub fn bytes(&self) -> u64 {
        match &self.storage {
            Storage::Folder { shards, .. } => shards.iter().map(Safetensors::bytes).sum(),
            Storage::Gguf(gguf) => gguf.bytes(),
        }
    }

    fn resolve<'a>(&self, name: &'a str) -> &'a str {
        if name == HEAD && self.config.tie_word_embeddings { EMBEDDING } else { name }
    }

    /// The file that holds a tensor, or the one that should say where it is.
    fn file_of(&self, name: &str) -> PathBuf {
        match &self.storage {
            Storage::Gguf(gguf) => gguf.path().to_owned(),
            Storage::Folder { others, shards, index } => match (index.get(self.resolve(name)), &shards[..]) {
                (Some(shard), _) => shards[*shard].path().to_owned(),
                (None, [only]) if others.len() == 1 => only.path().to_owned(),
                _ => self.path.join(INDEX),
            },
        }
    }

    fn missing(&self, name: &str) -> Error {
        Error::tensor(
            self.file_of(name),
            name,
            "is missing; config.json and weights do not belong together, or the download is not complete",
        )
    }

    /// Check a tensor's shape by its header.
    fn expect(&self, name: &str, shape: &[usize]) -> Result<()> {
        let stored = self.resolve(name);
        let found = match &self.storage {
            Storage::Folder { shards, index, .. } => {
                index.get(stored).and_then(|shard| shards[*shard].info(stored)).map(|(_, shape)| shape)
            }
            Storage::Gguf(gguf) => gguf.info(stored).map(|(_, shape)| shape),
        };
        match found.ok_or_else(|| self.missing(stored))? {
            found if found == shape => Ok(()),
            found => {
                let why = format!("has shape {found:?}, where the configuration says {shape:?}");
                Err(Error::tensor(self.file_of(name), stored, why))
            }
        }
    }
}

impl Source for ModelFiles {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        self.load(name, shape)
    }

    fn packed(&self, name: &str, shape: (usize, usize)) -> Result<Option<Nf4>> {
        if !bitsandbytes::is_quantized(name, |n| self.has(n)) {
            return Ok(None);
        }
        let get = |n: &str| self.has(n).then(|| self.load_any(n)).transpose();
        let packed = bitsandbytes::read(self.path(), name, get)?;
        if packed.shape() != shape {
            let message = format!("is {:?} and the configuration asks for {shape:?}", packed.shape());
            return Err(Error::tensor(self.path(), name, message));
        }
        Ok(Some(packed))
    }
}

/// The shards that an index names, and which holds what.
fn sharded(folder: &Path) -> Result<(Vec<Safetensors>, BTreeMap<String, usize>)> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let path = folder.join(INDEX);
    let text = fs::read(&path).map_err(Error::io("read", &path))?;
    let Index { weight_map } =
        serde_json::from_slice(&text).map_err(|e| Error::model(&path, format!("not an index of shards: {e}")))?;
    let names: BTreeSet<&String> = weight_map.values().collect();
    let mut shards = Vec::new();
    for name in &names {
        let shard = folder.join(name);
        if name.contains(['/', '\\']) || !shard.is_file() {
            return Err(Error::model(
                &path,
                format!("names the shard {name}, which is not in the folder; fetch it too"),
            ));
        }
        shards.push(Safetensors::open(&shard)?);
    }
    let mut index = BTreeMap::new();
    for (tensor, file) in &weight_map {
        let number = names.iter().position(|n| *n == file).unwrap_or_default();
        if shards[number].info(tensor).is_none() {
            let why = format!("is not in this shard, though {INDEX} says so; fetch both again");
            return Err(Error::tensor(folder.join(file), tensor, why));
        }
        index.insert(tensor.clone(), number);
    }
    Ok((shards, index))
}

const CONVERT: &str = "PyTorch's pickled checkpoints are not read, as they can run code: load the model in Python with \
                       transformers, and save it with `save_pretrained`, which writes safetensors";

fn pickled(file: &Path) -> bool {
    file.extension().is_some_and(|e| ["bin", "pt", "pth", "ckpt"].iter().any(|known| e.eq_ignore_ascii_case(known)))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
