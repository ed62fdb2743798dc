use std::fs;

use super::*;
use crate::formats::model_files::ModelFiles;

fn small() -> Tiny {
    Tiny {
        layers: 2,
        hidden: 16,
        intermediate: 24,
        heads: 2,
        kv_heads: 1,
        bos: Some(0),
        eos: vec![1],
        ..Tiny::new(48, 7)
    }
}

#[test]
fn it_is_a_model_folder_of_the_same_bytes_each_time() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small().make(&one.path().join("model")).unwrap();
    small().make(two.path()).unwrap();
    // Over an earlier one it writes the same.
    small().make(two.path()).unwrap();
    let mut listed: Vec<_> = fs::read_dir(two.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    listed.sort();
    assert_eq!(listed, ["config.json", "model.safetensors"]);
    for name in listed {
        let other = fs::read(one.path().join("model").join(&name)).unwrap();
        assert!(fs::read(two.path().join(&name)).unwrap() == other, "{}", name.display());
    }
    let files = ModelFiles::open(two.path()).unwrap();
    files.check().unwrap();
    assert_eq!(*files.config(), small().config());
    let other = Tiny { seed: 8, ..small() };
    other.make(one.path()).unwrap();
    let values = |folder: &Path| {
        let embedding = ModelFiles::open(folder).unwrap().load("model.embed_tokens.weight", &[48, 16]).unwrap();
        embedding.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    assert_ne!(values(one.path()), values(two.path()), "the seed decides");
}

#[test]
#[allow(clippy::cast_precision_loss, reason = "counts are small")]
fn weights_start_as_in_transformers() {
    let dir = tempfile::tempdir().unwrap();
    Tiny::new(512, 42).make(dir.path()).unwrap();
    let files = ModelFiles::open(dir.path()).unwrap();
    for (name, shape) in files.config().shapes() {
        let values = files.load(&name, &shape).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let n = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let deviation = (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt();
        if name.ends_with("norm.weight") {
            assert!(values.iter().all(|v| v.to_bits() == 1_f32.to_bits()), "{name}");
        } else {
            // Four standard errors.
            assert!(mean.abs() < 4.0 * 0.02 / n.sqrt(), "{name}: {mean}");
            assert!((deviation - 0.02).abs() < 4.0 * 0.02 / (2.0 * n).sqrt(), "{name}: {deviation}");
        }
    }
}

#[test]
fn sizes_that_do_not_fit_write_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let error = Tiny { kv_heads: 0, ..small() }.make(dir.path()).unwrap_err().to_string();
    assert!(error.contains("`num_key_value_heads`"), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
