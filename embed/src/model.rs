//! A model of sentence embeddings, whichever it is.

use std::{borrow::Cow, path::Path};

use setaccio_base::{Error, Result, filter_report::FileUse, unwound::unwound};
use tokenizers::{Tokenizer, TruncationParams};

#[cfg(feature = "onnx")]
use crate::onnx::Onnx;
use crate::{
    bert::{self, Bert},
    folder::Folder,
    math::normalise,
    modules::Modules,
    product::{Panels, multiply},
    sentence_encoder::{self, SentenceEncoder},
    static_table::StaticTable,
    tensors::Tensors,
    words::Words,
};

/// A model, with its tokenizer.
pub struct Embedder {
    tokenizer: Tokenizer,
    backend: Backend,
    files: Vec<FileUse>,
    /// As its folder is called, for messages.
    name: String,
}

enum Backend {
    Static(Box<StaticTable>),
    Sentence(Box<SentenceEncoder>),
    Bert(Box<Bert>),
    #[cfg(feature = "onnx")]
    Onnx(Box<Onnx>),
}

/// What became of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Embedded {
    /// It has a vector, of all of it or, if it is longer than the model reads, of its beginning.
    Vector {
        /// Whether it is longer.
        truncated: bool,
    },
    /// It holds nothing that the model knows: no vector.
    Nothing,
}

/// The hidden states of a text's tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct States {
    /// The tokens, those that begin and end a text among them.
    pub tokens: Vec<u32>,
    /// Values of a token's state.
    pub width: usize,
    /// The states, one after another.
    pub values: Vec<f32>,
}

impl Embedder {
    /// Read the model in the folder `path`, or of the file of weights there, which `key` of a recipe names.
    ///
    /// # Errors
    /// Files are missing or damaged, or it is of a kind that is not known.
    pub fn open(path: &Path, key: &str) -> Result<Self> {
        let mut folder = Folder::open(path, key)?;
        let (tokenizer_path, bytes) = std::mem::take(&mut folder.tokenizer);
        // The crate that builds it takes much of a file as it is.
        let tokenizer = unwound(|| Tokenizer::from_bytes(&bytes).map_err(|e| e.to_string()), |said| said);
        let wrong = |e: String| Error::damaged(&tokenizer_path, format!("not a tokenizer.json: {e}; see {key}"));
        let mut tokenizer = tokenizer.map_err(&wrong)?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| wrong(e.to_string()))?;
        let words = Words::new(&tokenizer, &bytes);
        drop(bytes);
        if folder.weights.extension().is_some_and(|end| end == "onnx") {
            return Self::of_onnx(folder, tokenizer, wrong);
        }
        let tensors = Tensors::read(&mut folder)?;
        let backend = if tensors.has(StaticTable::MODEL2VEC) || tensors.has(StaticTable::OTHERS) {
            Backend::Static(Box::new(StaticTable::new(tensors, &folder, &words)?))
        } else if folder.text("model_type") == sentence_encoder::KIND {
            Backend::Sentence(Box::new(SentenceEncoder::new(tensors, &folder, words.tokens)?))
        } else if bert::is_known(&folder) {
            let bert = Bert::new(tensors, &mut folder, words.tokens)?;
            let window = TruncationParams { max_length: bert.most, ..TruncationParams::default() };
            tokenizer.with_truncation(Some(window)).map_err(|e| wrong(e.to_string()))?;
            Backend::Bert(Box::new(bert))
        } else {
            let kind = folder.text("model_type");
            let kind = if kind.is_empty() { "says nothing of its kind".into() } else { format!("is of kind `{kind}`") };
            return Err(Error::damaged(
                path,
                format!(
                    "{kind}, and {key} takes static embeddings, as model2vec, sentence-transformers and WordLlama write them, BERT, RoBERTa, XLM-R and DistilBERT of \
                     sentence-transformers, and the Universal \
                     Sentence Encoder that tools/convert_use.py makes"
                ),
            ));
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        folder.files.sort();
        Ok(Self { tokenizer, backend, files: folder.files, name })
    }

    /// A model in ONNX.
    #[cfg(feature = "onnx")]
    fn of_onnx(mut folder: Folder, mut tokenizer: Tokenizer, wrong: impl Fn(String) -> Error) -> Result<Self> {
        let onnx = Onnx::new(&mut folder)?;
        if let Some(max_length) = onnx.modules.most {
            let window = TruncationParams { max_length, ..TruncationParams::default() };
            tokenizer.with_truncation(Some(window)).map_err(|e| wrong(e.to_string()))?;
        }
        let name = folder.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        folder.files.sort();
        Ok(Self { tokenizer, backend: Backend::Onnx(Box::new(onnx)), files: folder.files, name })
    }

    #[cfg(not(feature = "onnx"))]
    #[allow(clippy::needless_pass_by_value, reason = "as with ONNX")]
    fn of_onnx(folder: Folder, _: Tokenizer, _: impl Fn(String) -> Error) -> Result<Self> {
        Err(Error::damaged(
            &folder.weights,
            "is in ONNX, and this build was made without it: install one with `--features onnx`, or name a folder with \
             model.safetensors",
        ))
    }

    /// The same under another name, for messages.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// Its files, with their hashes.
    pub fn files(&self) -> &[FileUse] {
        &self.files
    }

    /// Values of a vector.
    pub fn dimensions(&self) -> usize {
        match &self.backend {
            Backend::Static(table) => table.dimensions(),
            Backend::Sentence(encoder) => encoder.dimensions(),
            Backend::Bert(bert) => bert.modules.dimensions,
            #[cfg(feature = "onnx")]
            Backend::Onnx(onnx) => onnx.modules.dimensions,
        }
    }

    /// Bytes that it takes in memory, but for its tokenizer.
    pub fn bytes(&self) -> u64 {
        match &self.backend {
            Backend::Static(table) => table.bytes(),
            Backend::Sentence(encoder) => encoder.bytes(),
            Backend::Bert(bert) => bert.bytes(),
            #[cfg(feature = "onnx")]
            Backend::Onnx(onnx) => onnx.bytes(),
        }
    }

    /// Tokens that it reads of a text at most, if it does not read all.
    pub fn most_tokens(&self) -> Option<usize> {
        match &self.backend {
            Backend::Static(table) => table.most().map(|(tokens, _)| tokens),
            Backend::Sentence(encoder) => Some(encoder.most()),
            Backend::Bert(bert) => Some(bert.most),
            #[cfg(feature = "onnx")]
            Backend::Onnx(onnx) => onnx.modules.most,
        }
    }

    /// What it is, for a person.
    pub fn told(&self) -> String {
        let kind = match &self.backend {
            Backend::Static(_) => "static embeddings",
            Backend::Sentence(_) => "a Universal Sentence Encoder",
            Backend::Bert(_) => "a transformer",
            #[cfg(feature = "onnx")]
            Backend::Onnx(onnx) => &format!("a model in ONNX, run by {},", onnx.library),
        };
        format!("`{}`, {kind} of {} dimensions", self.name, self.dimensions())
    }

    /// The vector of a text, of length 1, behind what `out` holds; nothing is added for a text without one.
    ///
    /// # Errors
    /// The tokenizer fails on it.
    pub fn embed(&self, text: &str, out: &mut Vec<f32>) -> Result<Embedded> {
        if text.trim().is_empty() {
            return Ok(Embedded::Nothing);
        }
        let (dimensions, start) = (self.dimensions(), out.len());
        out.resize(start + dimensions, 0.0);
        let (found, truncated) = match &self.backend {
            Backend::Static(table) => {
                let cut = table.most().and_then(|(_, most)| text.char_indices().nth(most));
                let mut truncated = cut.is_some();
                let mut tokens = self.tokens(cut.map_or(text, |(at, _)| &text[..at]))?;
                if let Some((most, _)) = table.most().filter(|(most, _)| tokens.len() > *most) {
                    truncated = true;
                    tokens.truncate(most);
                }
                (table.embed(&tokens, &mut out[start..]), truncated)
            }
            Backend::Sentence(encoder) => {
                let mut tokens = self.tokens(text)?;
                let truncated = tokens.len() > encoder.most();
                tokens.truncate(encoder.most());
                if !tokens.is_empty() {
                    encoder.embed(&tokens, &mut out[start..]);
                }
                (!tokens.is_empty(), truncated)
            }
            Backend::Bert(bert) => {
                let (tokens, truncated) = self.within(&bert.modules, text)?;
                if !tokens.is_empty() {
                    bert.embed(&tokens, &mut out[start..]);
                }
                (!tokens.is_empty(), truncated)
            }
            #[cfg(feature = "onnx")]
            Backend::Onnx(onnx) => {
                let (tokens, truncated) = self.within(&onnx.modules, text)?;
                if !tokens.is_empty() {
                    onnx.embed(&tokens, &mut out[start..])?;
                }
                (!tokens.is_empty(), truncated)
            }
        };
        if found && normalise(&mut out[start..]) {
            return Ok(Embedded::Vector { truncated });
        }
        out.truncate(start);
        Ok(Embedded::Nothing)
    }

    /// Layers of an encoder of BERT's build; `None` of any other model.
    pub fn layers(&self) -> Option<usize> {
        match &self.backend {
            Backend::Bert(bert) => Some(bert.layers()),
            _ => None,
        }
    }

    /// Tokens that the tokenizer knows.
    pub fn vocabulary(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// The hidden states of a text's tokens behind so many layers of an encoder of BERT's build.
    ///
    /// # Errors
    /// It is another model, or has fewer layers; or the tokenizer fails on the text.
    pub fn states(&self, text: &str, layers: usize) -> Result<States> {
        let wrong = |why: String| Error::damaged(&self.name, why);
        let Backend::Bert(bert) = &self.backend else { return Err(wrong("is no encoder of BERT's build".into())) };
        if layers > bert.layers() {
            return Err(wrong(format!("has {} layers, and not {layers}", bert.layers())));
        }
        let (tokens, _) = self.encoded(text, true)?;
        let values = if tokens.is_empty() { Vec::new() } else { bert.states(&tokens, layers) };
        Ok(States { width: values.len() / tokens.len().max(1), tokens, values })
    }

    /// Vectors, one after another, as the right side of [`Self::cosines`].
    pub fn panels(&self, vectors: &[f32]) -> Panels {
        Panels::from_columns(vectors, self.dimensions())
    }

    /// Write to `out` the cosine of each vector of `left`, which lie one after another, with each of `right`.
    ///
    /// # Panics
    /// `out` has not a value for each of these pairs.
    pub fn cosines(&self, left: &[f32], right: &Panels, out: &mut [f32]) {
        multiply(left, right, out);
    }

    /// The tokens of a text for an encoder, and whether there are more than it reads.
    fn within(&self, modules: &Modules, text: &str) -> Result<(Vec<u32>, bool)> {
        let text = if modules.lowercase { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) };
        self.encoded(&[&modules.prompt, &*text].concat(), true)
    }

    fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        self.encoded(text, false).map(|(tokens, _)| tokens)
    }

    /// The tokens of a text, with those that the model wants around it, and whether there are more than the tokenizer is to give.
    fn encoded(&self, text: &str, special: bool) -> Result<(Vec<u32>, bool)> {
        let encode = || self.tokenizer.encode_fast(text, special).map_err(|e| e.to_string());
        let failed = |e: String| Error::damaged(&self.name, format!("the tokenizer fails on a text: {e}"));
        let encoding = unwound(encode, |said| said).map_err(failed)?;
        Ok((encoding.get_ids().to_vec(), !encoding.get_overflowing().is_empty()))
    }
}
