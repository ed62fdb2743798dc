//! The files of a model: a folder as `save_pretrained` of model2vec and sentence-transformers leaves it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};
#[cfg(feature = "onnx")]
use setaccio_base::sha256::digest_reader;
use setaccio_base::{Error, Result, filter_report::FileUse, sha256::hex_digest};

/// The folder of a model of one module, below that of the whole.
const NESTED: &str = "0_StaticEmbedding";

/// What a model's folder holds.
pub struct Folder {
    /// Of messages.
    pub path: PathBuf,
    /// The weights.
    pub weights: PathBuf,
    /// The bytes of tokenizer.json, and its path.
    pub tokenizer: (PathBuf, Vec<u8>),
    /// What config.json says; nothing if there is none.
    pub config: Map<String, Value>,
    /// What was read so far, with its hash.
    pub files: Vec<FileUse>,
    /// What the lock calls the files.
    key: String,
}

impl Folder {
    /// Look at what `path` names, a folder or a file of weights, which `key` of a recipe names.
    ///
    /// # Errors
    /// Weights or tokenizer are not there.
    pub fn open(path: &Path, key: &str) -> Result<Self> {
        let missing = |what: &str| {
            Error::damaged(
                path,
                format!(
                    "{what}: {key} names a folder with model.safetensors and tokenizer.json, as save_pretrained of \
                     model2vec or sentence-transformers leaves it"
                ),
            )
        };
        if !path.exists() {
            return Err(missing("is not there"));
        }
        let folder = of(path);
        let nested = folder.join(NESTED);
        let folders = [folder, nested.as_path()];
        let weights = if path.is_dir() {
            let tensors = folders.iter().find_map(|folder| only(folder, "model.safetensors", ".safetensors"));
            let onnx = || [folder, &folder.join("onnx")].iter().find_map(|folder| only(folder, "model.onnx", ".onnx"));
            tensors.or_else(onnx)
        } else {
            Some(path.to_owned())
        };
        let weights = weights.ok_or_else(|| missing("has neither model.safetensors nor model.onnx"))?;
        let tokenizer = folders.iter().find_map(|folder| only(folder, "tokenizer.json", "tokenizer.json"));
        let tokenizer = tokenizer.ok_or_else(|| missing("has no tokenizer.json"))?;
        let mut found = Self {
            path: path.to_owned(),
            weights,
            tokenizer: (tokenizer.clone(), Vec::new()),
            config: Map::new(),
            files: Vec::new(),
            key: key.to_owned(),
        };
        found.tokenizer.1 = found.read(&tokenizer)?;
        found.config = found.json("config.json")?.unwrap_or_default();
        Ok(found)
    }

    /// What a file says that is an object of JSON, by its path below the folder; `None` if it is not there.
    pub fn json(&mut self, name: &str) -> Result<Option<Map<String, Value>>> {
        match self.value(name)? {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(Error::damaged(self.beside(name), "is no object of JSON")),
        }
    }

    /// What a file of JSON says, by its path below the folder; `None` if it is not there.
    pub fn value(&mut self, name: &str) -> Result<Option<Value>> {
        let path = self.beside(name);
        if !path.is_file() {
            return Ok(None);
        }
        let bytes = self.read(&path)?;
        serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::damaged(&path, format!("is not JSON: {e}")))
    }

    fn beside(&self, name: &str) -> PathBuf {
        of(&self.path).join(name)
    }

    /// Read a file, and remember its hash.
    pub fn read(&mut self, path: &Path) -> Result<Vec<u8>> {
        let bytes = fs::read(path).map_err(Error::io("read", path))?;
        self.files.push(FileUse { key: self.key.clone(), name: name(path), sha256: hex_digest(&bytes) });
        Ok(bytes)
    }

    /// Remember the hash of a file that another program reads; says its length.
    #[cfg(feature = "onnx")]
    pub fn hash(&mut self, path: &Path, key: &str) -> Result<u64> {
        let file = fs::File::open(path).map_err(Error::io("open", path))?;
        let (bytes, sha256) = digest_reader(file, &|| false).map_err(Error::io("read", path))?;
        self.files.push(FileUse { key: key.to_owned(), name: name(path), sha256 });
        Ok(bytes)
    }

    /// Remember the hashes of weights in ONNX, which may have their numbers in a file beside; says how long these are.
    #[cfg(feature = "onnx")]
    pub fn hash_weights(&mut self) -> Result<u64> {
        let (weights, key) = (self.weights.clone(), self.key.clone());
        let mut bytes = self.hash(&weights, &key)?;
        for end in ["_data", ".data"] {
            let mut beside = weights.clone().into_os_string();
            beside.push(end);
            if Path::new(&beside).is_file() {
                bytes += self.hash(Path::new(&beside), &key)?;
            }
        }
        Ok(bytes)
    }

    /// A setting of config.json that is a whole number.
    pub fn number(&self, key: &str) -> Option<usize> {
        self.config.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok())
    }

    /// A setting of config.json that is text.
    pub fn text(&self, key: &str) -> &str {
        self.config.get(key).and_then(Value::as_str).unwrap_or_default()
    }
}

/// The folder of a model that a path names, which may be of its weights; ONNX has a folder of its own there.
fn of(path: &Path) -> &Path {
    if path.is_dir() {
        return path;
    }
    let folder = path.parent().unwrap_or(Path::new(""));
    let nested = folder.ends_with("onnx") && !folder.join("tokenizer.json").is_file();
    if nested { folder.parent().unwrap_or(Path::new("")) } else { folder }
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The file of a folder with this name, or else the only one whose name ends so.
fn only(folder: &Path, name: &str, end: &str) -> Option<PathBuf> {
    let named = folder.join(name);
    if named.is_file() {
        return Some(named);
    }
    let files = fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files = files.filter(|path| path.is_file() && path.to_string_lossy().ends_with(end));
    let first = files.next()?;
    files.next().is_none().then_some(first)
}
