//! Log-probabilities of every pair's answers under the model as it was before training, computed once and kept in a
//! file that names data and model by their hashes: `preference.reference = "precomputed"`.

use std::{collections::BTreeMap, fs, path::Path};

use candle_core::{Device, Tensor};
use setaccio_base::atomic;
use setaccio_base::progress::Progress;
use setaccio_base::sha256::hex_digest;

use crate::{
    data::{Dataset, MicroBatch},
    error::{Error, Result},
    formats::safetensors::{Safetensors, to_bytes},
    model::llama::Llama,
    report::lock::RunLock,
    trainer::objective,
};

/// Folder of the files, in the run's.
const FOLDER: &str = "reference";
const TENSOR: &str = "logps";

/// Let the pairs of `data` bring their reference along: from the file, or computed now, `batch` pairs at a time.
pub fn refer(
    data: &Dataset,
    (model, lock): (&Llama, &RunLock),
    folder: &Path,
    batch: usize,
    progress: &dyn Progress,
) -> Result<()> {
    let recipe = &lock.recipe;
    let model_recipe = &recipe.model;
    let held = (model_recipe.quantization, model_recipe.double_quant, recipe.seed, &recipe.lora, model_recipe.added());
    let all = (&lock.engine, &lock.compute, &lock.base, &lock.start, held, data.sha256());
    let key = hex_digest(serde_json::to_string(&all).map_err(|e| Error::Other(e.to_string()))?.as_bytes());
    let folder = folder.join(FOLDER);
    let path = folder.join(format!("{}.safetensors", &key[..16]));
    if let Some(known) = read(&path, data.len()) {
        data.refer_to(known);
        return Ok(());
    }
    progress.stage("reference", data.len() as u64);
    let mut known = Vec::with_capacity(data.len());
    let rows: Vec<u32> = (0_u32..).take(data.len()).collect();
    for rows in rows.chunks(batch) {
        if progress.cancelled() {
            return Err(Error::Interrupted);
        }
        if let MicroBatch::Pairs(pairs) = data.micro(rows.iter().copied()) {
            known.extend(objective::logps_of_pairs(model, &pairs)?);
        }
        progress.advance(rows.len() as u64, "");
    }
    fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
    atomic::sweep(&folder)?;
    let tensor = Tensor::from_vec(known.concat(), (known.len(), 2), &Device::Cpu)?;
    atomic::write(&path, &to_bytes(&BTreeMap::from([(TENSOR.to_owned(), tensor)]))?)?;
    data.refer_to(known);
    Ok(())
}

/// What the file holds, if it is there and whole; else it is made again.
fn read(path: &Path, rows: usize) -> Option<Vec<[f64; 2]>> {
    let tensor = Safetensors::open(path).ok()?.load(TENSOR).ok()?;
    let values = tensor.to_vec2::<f64>().ok().filter(|values| values.len() == rows)?;
    let pairs: Vec<[f64; 2]> = values.into_iter().filter_map(|v| v.try_into().ok()).collect();
    (pairs.len() == rows && pairs.iter().flatten().all(|v| v.is_finite())).then_some(pairs)
}
