//! A model in ONNX, run by ONNX Runtime, which is a library of its own: it is looked for when a recipe names such a model, and the
//! environment variable `ORT_DYLIB_PATH` says where it is. Its sums may have other last digits on another processor or by another
//! version, so that lock and card name the library's hash.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use ort::{
    environment::Environment,
    session::{Session, SessionInputValue},
    value::Tensor,
};
use setaccio_base::{Error, Result};

use crate::{folder::Folder, modules::Modules};

/// The variable that says where the library is.
pub const LIBRARY: &str = "ORT_DYLIB_PATH";

/// A model.
pub struct Onnx {
    path: PathBuf,
    /// A session a thread at most, which are made when they are needed.
    idle: Mutex<Vec<Session>>,
    /// Names of the inputs: tokens, which of them count, which of two texts they are of.
    inputs: Vec<(String, Input)>,
    output: String,
    /// Whether the output has a vector a token.
    a_token: bool,
    /// What comes before and behind it.
    pub modules: Modules,
    /// Version and build of the library.
    pub library: String,
    bytes: u64,
}

#[derive(Clone, Copy)]
enum Input {
    Tokens,
    Mask,
    Kind,
}

/// Outputs by the names that exporters give them, a vector a text before a vector a token.
const OUTPUTS: [&str; 4] = ["sentence_embedding", "last_hidden_state", "token_embeddings", "output_0"];

impl Onnx {
    /// That of a model's folder.
    ///
    /// # Errors
    /// The library is not there or too old, or the model is none that gives texts vectors.
    pub fn new(folder: &mut Folder) -> Result<Self> {
        let library = start(folder)?;
        let path = folder.weights.clone();
        let bytes = folder.hash_weights()?;
        let session = open(&path)?;
        let wrong = |why: String| Error::damaged(&path, why);
        let inputs = session.inputs().iter().map(|input| match input.name() {
            "input_ids" => Ok((input.name().to_owned(), Input::Tokens)),
            "attention_mask" => Ok((input.name().to_owned(), Input::Mask)),
            "token_type_ids" => Ok((input.name().to_owned(), Input::Kind)),
            other => {
                Err(wrong(format!("has the input `{other}`; known are input_ids, attention_mask and token_type_ids")))
            }
        });
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let names: Vec<&str> = session.outputs().iter().map(ort::value::Outlet::name).collect();
        let output = OUTPUTS.into_iter().find(|name| names.contains(name)).or(names.first().copied());
        let output = output.ok_or_else(|| wrong("has no output".into()))?.to_owned();
        // What it gives a text of one token tells the width.
        let idle = Mutex::new(vec![session]);
        let modules = Modules::of_nothing();
        let mut found = Self { path, idle, inputs, output, a_token: false, modules, library, bytes };
        let (shape, _) = found.run(&[0])?;
        found.a_token = match shape[..] {
            [1, _] => false,
            [1, 1, _] => true,
            _ => {
                let why = format!("`{}` has the shape {shape:?} for a text of one token", found.output);
                return Err(Error::damaged(&found.path, why));
            }
        };
        let width = shape.last().copied().unwrap_or(0);
        found.modules = Modules::read(folder, width)?;
        // A vector a text has been through all that follows the tokens.
        if !found.a_token {
            found.modules.dimensions = width;
        }
        Ok(found)
    }

    /// Bytes of the model's files: a session takes about as many.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Write to `out` the vector of a text of these tokens, of which there are some.
    ///
    /// # Errors
    /// The library fails on it.
    pub fn embed(&self, tokens: &[u32], out: &mut [f32]) -> Result<()> {
        let (shape, values) = self.run(tokens)?;
        let width = shape.last().copied().unwrap_or(0);
        let vector = if self.a_token { Cow::Owned(self.modules.pool(&values, width)) } else { Cow::Borrowed(&values) };
        if vector.len() != out.len() {
            let why = format!("gives {} values for a text, and {} for another", vector.len(), out.len());
            return Err(Error::damaged(&self.path, why));
        }
        out.copy_from_slice(&vector);
        Ok(())
    }

    /// What the model gives for a text alone, so that no other changes it.
    fn run(&self, tokens: &[u32]) -> Result<(Vec<usize>, Vec<f32>)> {
        let failed = |e: ort::Error| Error::damaged(&self.path, format!("ONNX Runtime fails on a text: {e}"));
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut session = match taken {
            Some(session) => session,
            None => open(&self.path)?,
        };
        let found = {
            let inputs = self.inputs.iter().map(|(name, input)| {
                let values: Vec<i64> = match input {
                    Input::Tokens => tokens.iter().map(|token| i64::from(*token)).collect(),
                    Input::Mask => vec![1; tokens.len()],
                    Input::Kind => vec![0; tokens.len()],
                };
                let tensor = Tensor::from_array(([1, tokens.len()], values))?;
                Ok((Cow::from(name.as_str()), SessionInputValue::from(tensor)))
            });
            let inputs = inputs.collect::<ort::Result<Vec<_>>>().map_err(failed)?;
            let outputs = session.run(inputs).map_err(failed)?;
            let output = outputs.get(&self.output).ok_or_else(|| Error::damaged(&self.path, "gives nothing"))?;
            let (shape, values) = output.try_extract_tensor::<f32>().map_err(failed)?;
            let shape = shape.iter().map(|n| usize::try_from(*n).unwrap_or(0)).collect();
            (shape, values.to_vec())
        };
        idle().push(session);
        Ok(found)
    }
}

/// A session of one thread: texts go to threads.
fn open(path: &Path) -> Result<Session> {
    static ENVIRONMENT: Mutex<Option<Environment>> = Mutex::new(None);
    let failed = |e: String| Error::damaged(path, format!("ONNX Runtime does not open it: {e}"));
    let mut environment = ENVIRONMENT.lock().unwrap_or_else(PoisonError::into_inner);
    if environment.is_none() {
        *environment = Some(ort::init().with_telemetry(false).build().map_err(|e| failed(e.to_string()))?);
    }
    let Some(environment) = &*environment else { return Err(failed("it has no environment".into())) };
    let builder = Session::builder(environment).map_err(|e| failed(e.to_string()))?;
    let builder = builder.with_intra_threads(1).map_err(|e| failed(e.to_string()))?;
    let mut builder = builder.with_deterministic_compute(true).map_err(|e| failed(e.to_string()))?;
    builder.commit_from_file(path).map_err(|e| failed(e.to_string()))
}

/// Load the library; says its version and build.
fn start(folder: &mut Folder) -> Result<String> {
    let how = format!(
        "{LIBRARY} is to name the library of ONNX Runtime, 1.17 or later: `pip download onnxruntime --no-deps` fetches a wheel, which is \
         a zip file with onnxruntime/capi/libonnxruntime.so.VERSION in it"
    );
    let Some(path) = std::env::var_os(LIBRARY).filter(|path| !path.is_empty()).map(PathBuf::from) else {
        return Err(Error::damaged(&folder.weights, format!("is in ONNX, and {how}")));
    };
    if !path.is_file() {
        return Err(Error::damaged(&path, format!("is no file; {how}")));
    }
    folder.hash(&path, LIBRARY)?;
    let path = std::path::absolute(&path).map_err(Error::io("find", &path))?;
    drop(ort::init_from(&path).map_err(|e| Error::damaged(&path, format!("{e}; {how}")))?);
    // The version is in the name that the library has where it is made, `libonnxruntime.so.1.32.0`.
    let whole = path.canonicalize().map_err(Error::io("find", &path))?;
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let version = name.split_once(".so.").map_or_else(String::new, |(_, version)| format!("{version} "));
    let info = ort::info();
    let build = info.split([',', ' ']).find_map(|part| part.strip_prefix("git-commit-id=")).unwrap_or("unknown");
    Ok(format!("ONNX Runtime {version}of build {build}"))
}
