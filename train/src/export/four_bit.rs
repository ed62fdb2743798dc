//! A model as a folder in bitsandbytes' NF4, which transformers and PEFT load as it is.

use std::{collections::BTreeMap, path::Path};

use super::Exported;
use crate::{
    error::Result,
    merge::finish_folder,
    model::{files::ModelFiles, save::save_4bit},
    publish,
    session::Watch,
    tokenizer::Tokens,
};

/// Write the model of `files` to the folder `out`: linear layers in NF4 with double quantisation, all else as it is
/// stored, computed in the type of the embedding; and its tokenizer, if there is one. The weights of the folder are in
/// memory once.
///
/// # Errors
/// `out` is taken; a tensor is missing, torn or not finite; the file system refuses. `out` is as it was then.
pub fn four_bit(
    (files, tokens): (&ModelFiles, Option<&Tokens>),
    (out, force): (&Path, bool),
    watch: &dyn Watch,
) -> Result<Exported> {
    publish::vacant_folder(out, force)?;
    files.check()?;
    if tokens.is_none() {
        watch.warn("the model has no tokenizer: the folder has none");
    }
    let compute = files.stored()?;
    publish::folder(out, force, |folder| {
        save_4bit(files, folder, true, compute)?;
        finish_folder(files, tokens, folder)?;
        let written = ModelFiles::open(folder)?;
        let shapes = written.config().shapes();
        let packed = shapes.iter().filter(|(name, _)| written.has(&format!("{name}.absmax"))).count();
        let kinds = BTreeMap::from([("NF4", packed), ("whole", shapes.len() - packed)]);
        Ok(Exported { bytes: written.bytes(), kinds })
    })
}
