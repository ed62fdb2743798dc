//! Putting a checkpoint together: every file flushed to the disk, the manifest last.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use candle_core::{Device, Tensor};
use safetensors::{
    View,
    tensor::{Metadata, TensorInfo},
};
use serde::{Deserialize, Serialize};
use setaccio_base::{
    atomic::sync_dir,
    sha256::{HashingStream, hex_digest},
};

use super::state::State;
use crate::{
    error::{Error, Result},
    report::lock::{self, FileHash, RunLock},
};

pub const TENSORS: &str = "tensors.safetensors";
pub const STATE: &str = "state.toml";
pub const MANIFEST: &str = "manifest.toml";

/// Called after each operation on the file system with its name; an error stops the rest.
pub type After<'a> = &'a mut dyn FnMut(&str) -> Result<()>;

/// What goes into a checkpoint.
pub struct Content<'a> {
    pub tensors: &'a [(String, Tensor)],
    pub state: &'a State,
    pub lock: &'a RunLock,
}

/// What makes a checkpoint whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// Steps done.
    pub step: u64,
    /// Of the evaluation after this step, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eval_loss: Option<f64>,
    /// SHA-256 of this manifest with nothing here.
    pub digest: String,
    /// Every other file.
    pub files: Vec<FileHash>,
}

pub const FORMAT: u32 = 2;

impl Manifest {
    /// The manifest as text, and the SHA-256 of it without its own.
    pub fn digest(&self) -> Result<String> {
        Ok(hex_digest(text(MANIFEST, &Self { digest: String::new(), ..self.clone() })?.as_bytes()))
    }
}

/// Write the folder `temp`, which must not be there, and make it durable.
pub fn write(temp: &Path, content: &Content, after: After) -> Result<()> {
    fs::create_dir(temp).map_err(Error::io("create", temp))?;
    after("create the folder")?;
    let state = text(STATE, content.state)?;
    let lock = content.lock.to_toml()?;
    let files = vec![
        file(temp, TENSORS, after, |path, out| tensors(path, content.tensors, out))?,
        file(temp, STATE, after, plain(&state))?,
        file(temp, lock::NAME, after, plain(&lock))?,
    ];
    let bare = Manifest {
        format: FORMAT,
        step: content.state.step,
        // What was evaluated some steps before is another model.
        eval_loss: content.state.eval.filter(|e| e.step == content.state.step).map(|e| e.loss),
        digest: String::new(),
        files,
    };
    let manifest = text(MANIFEST, &Manifest { digest: bare.digest()?, ..bare })?;
    file(temp, MANIFEST, after, plain(&manifest))?;
    sync_dir(temp)?;
    after("flush the new folder")
}

fn text(name: &str, value: &impl Serialize) -> Result<String> {
    toml::to_string(value).map_err(|e| Error::Other(format!("{name}: {e}")))
}

fn plain(text: &str) -> impl FnOnce(&Path, &mut dyn Write) -> Result<()> {
    |path, out| out.write_all(text.as_bytes()).map_err(Error::io("write", path))
}

/// Create, fill and flush a file. Its hash is of what was meant to be written, not of what can be read back.
fn file(
    folder: &Path,
    name: &str,
    after: After,
    fill: impl FnOnce(&Path, &mut dyn Write) -> Result<()>,
) -> Result<FileHash> {
    let path = folder.join(name);
    let created = File::create_new(&path).map_err(Error::io("create", &path))?;
    after("create a file")?;
    let mut out = HashingStream::new(BufWriter::with_capacity(1 << 20, created));
    fill(&path, &mut out)?;
    out.flush().map_err(Error::io("write", &path))?;
    after("write a file")?;
    let (inner, sha256, bytes) = out.finish();
    inner.get_ref().sync_all().map_err(Error::io("flush", &path))?;
    after("flush a file")?;
    Ok(FileHash { file: name.to_owned(), bytes, sha256 })
}

/// A safetensors file, one tensor at a time: the crate's own writer hashes nothing.
fn tensors(path: &Path, tensors: &[(String, Tensor)], out: &mut dyn Write) -> Result<()> {
    let wrong = |name: &str, message: &str| Error::tensor(path, name, message);
    let mut seen = BTreeSet::new();
    if let Some((name, _)) = tensors.iter().find(|(name, _)| !seen.insert(name)) {
        return Err(wrong(name, "is given twice"));
    }
    // Widest types first, so that every tensor is aligned for its type.
    let mut order: Vec<&(String, Tensor)> = tensors.iter().collect();
    order.sort_by(|a, b| b.1.dtype().size_in_bytes().cmp(&a.1.dtype().size_in_bytes()).then(a.0.cmp(&b.0)));
    let mut at = 0;
    let infos = order.iter().map(|(name, tensor)| {
        let end = at + tensor.elem_count() * tensor.dtype().size_in_bytes();
        let info = TensorInfo { dtype: View::dtype(&tensor), shape: tensor.dims().to_vec(), data_offsets: (at, end) };
        at = end;
        (name.clone(), info)
    });
    let metadata = Metadata::new(None, infos.collect()).map_err(|e| Error::Other(format!("{TENSORS}: {e}")))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|e| Error::Other(format!("{TENSORS}: {e}")))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut put = |bytes: &[u8]| out.write_all(bytes).map_err(Error::io("write", path));
    put(&(header.len() as u64).to_le_bytes())?;
    put(&header)?;
    for (_, tensor) in order {
        put(&View::data(&tensor.to_device(&Device::Cpu)?))?;
    }
    Ok(())
}
