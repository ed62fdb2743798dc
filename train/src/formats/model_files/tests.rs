use std::cell::Cell;

use candle_core::Device;
use serde_json::{Value, json};
use setaccio_base::sha256::hex_digest;

use super::*;
use crate::{artifacts::tiny::Tiny, formats::safetensors::to_bytes};

const Q: &str = "model.layers.0.self_attn.q_proj.weight";

fn tiny() -> Tiny {
    Tiny { layers: 1, hidden: 16, intermediate: 24, heads: 2, kv_heads: 1, ..Tiny::new(48, 7) }
}

fn made() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    tiny().make(dir.path()).unwrap();
    dir
}

fn all(folder: &Path) -> BTreeMap<String, Tensor> {
    let file = Safetensors::open(&folder.join(WHOLE)).unwrap();
    file.names().map(|name| (name.to_owned(), file.load(name).unwrap())).collect()
}

fn put(folder: &Path, name: &str, tensors: &BTreeMap<String, Tensor>) {
    fs::write(folder.join(name), to_bytes(tensors).unwrap()).unwrap();
}

fn change(folder: &Path, edit: impl Fn(&mut Value)) {
    let path = folder.join(CONFIG);
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

/// Two shards and their index in place of the single file.
fn split(folder: &Path) {
    let mut first = all(folder);
    let second = first.split_off("model.layers.0.mlp");
    let mut map = serde_json::Map::new();
    for (name, shard) in [("one.safetensors", &first), ("two.safetensors", &second)] {
        put(folder, name, shard);
        map.extend(shard.keys().map(|tensor| (tensor.clone(), name.into())));
    }
    fs::write(folder.join(INDEX), json!({"metadata": {}, "weight_map": map}).to_string()).unwrap();
    fs::remove_file(folder.join(WHOLE)).unwrap();
}

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn says<T>(result: Result<T>, parts: &[&str]) {
    let error = result.err().map(|e| e.to_string()).unwrap_or_default();
    for part in parts {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn shards_hold_what_one_file_holds() {
    let (one, many) = (made(), made());
    split(many.path());
    let (one, many) = (ModelFiles::open(one.path()).unwrap(), ModelFiles::open(many.path()).unwrap());
    many.check().unwrap();
    assert_eq!(one.names(), many.names());
    assert!(many.bytes() > one.bytes(), "two headers");
    for (name, shape) in one.config().shapes() {
        assert!(flat(&one.load(&name, &shape).unwrap()) == flat(&many.load(&name, &shape).unwrap()), "{name}");
    }
    let hashes = many.hashes(&|| false).unwrap();
    let names: Vec<&str> = hashes.iter().map(|h| h.file.as_str()).collect();
    assert_eq!(names, [CONFIG, INDEX, "one.safetensors", "two.safetensors"]);
    for hash in hashes {
        let bytes = fs::read(many.path().join(&hash.file)).unwrap();
        assert_eq!((hash.bytes, hash.sha256), (bytes.len() as u64, hex_digest(&bytes)));
    }
}

#[test]
fn hashing_stops_when_it_is_told() {
    let dir = made();
    let asked = Cell::new(0);
    let cancelled = || asked.replace(asked.get() + 1) >= 3;
    assert!(matches!(ModelFiles::open(dir.path()).unwrap().hashes(&cancelled), Err(Error::Interrupted)));
}

#[test]
fn a_tied_head_is_the_embedding_and_an_untied_one_is_not() {
    let dir = made();
    let files = ModelFiles::open(dir.path()).unwrap();
    assert!(files.has(HEAD) && !files.names().contains(&HEAD.to_owned()));
    assert!(flat(&files.load(HEAD, &[48, 16]).unwrap()) == flat(&files.load(EMBEDDING, &[48, 16]).unwrap()));
    change(dir.path(), |json| json["tie_word_embeddings"] = false.into());
    let files = ModelFiles::open(dir.path()).unwrap();
    says(files.load(HEAD, &[48, 16]), &["model.safetensors: tensor `lm_head.weight`: is missing"]);
    says(files.check(), &["tensor `lm_head.weight`: is missing"]);
}

#[test]
fn a_head_beside_a_tied_embedding_is_used_if_it_differs() {
    let dir = made();
    let mut tensors = all(dir.path());
    let embedding = tensors[EMBEDDING].clone();
    for (head, own) in [
        (embedding.clone(), false),
        // Of another type it is compared by value.
        (embedding.to_dtype(DType::F64).unwrap(), false),
        (embedding.to_dtype(DType::BF16).unwrap(), true),
        ((&embedding * 1.5).unwrap(), true),
    ] {
        tensors.insert(HEAD.into(), head.clone());
        put(dir.path(), WHOLE, &tensors);
        let files = ModelFiles::open(dir.path()).unwrap();
        files.check().unwrap();
        assert_eq!((files.config().tie_word_embeddings, files.warning().is_some()), (!own, own));
        assert_eq!(files.config_json().unwrap()["tie_word_embeddings"], !own);
        let want = if own { &head } else { &embedding };
        assert!(
            flat(&files.load(HEAD, &[48, 16]).unwrap().to_dtype(DType::F32).unwrap())
                == flat(&want.to_dtype(DType::F32).unwrap())
        );
    }
    // In shards, the head and the embedding apart.
    let second = BTreeMap::from([(HEAD.to_owned(), tensors.remove(HEAD).unwrap())]);
    let mut map = serde_json::Map::new();
    for (name, shard) in [("one.safetensors", &tensors), ("two.safetensors", &second)] {
        put(dir.path(), name, shard);
        map.extend(shard.keys().map(|tensor| (tensor.clone(), name.into())));
    }
    fs::remove_file(dir.path().join(WHOLE)).unwrap();
    fs::write(dir.path().join(INDEX), json!({"weight_map": map}).to_string()).unwrap();
    assert!(!ModelFiles::open(dir.path()).unwrap().config().tie_word_embeddings);
    // What does not fit is no head of this model, and is not passed over either.
    let narrow = BTreeMap::from([(HEAD.to_owned(), Tensor::zeros((48, 8), DType::F32, &Device::Cpu).unwrap())]);
    put(dir.path(), "two.safetensors", &narrow);
    says(
        ModelFiles::open(dir.path()).unwrap().check(),
        &["two.safetensors: tensor `lm_head.weight`: has shape [48, 8]"],
    );
}

#[test]
fn the_stored_type_is_kept() {
    let dir = made();
    for dtype in [DType::F16, DType::BF16, DType::F32] {
        let mut tensors = all(dir.path());
        let half = tensors[Q].to_dtype(dtype).unwrap();
        tensors.insert(Q.into(), half.clone());
        put(dir.path(), WHOLE, &tensors);
        let found = ModelFiles::open(dir.path()).unwrap().load(Q, &[16, 16]).unwrap();
        assert_eq!(found.dtype(), dtype);
        let same = |t: &Tensor| flat(&t.to_dtype(DType::F32).unwrap());
        assert!(same(&found) == same(&half));
    }
}

#[test]
fn wrong_tensors_are_named() {
    let dir = made();
    let whole = all(dir.path());
    let files = ModelFiles::open(dir.path()).unwrap();
    says(
        files.load(Q, &[16, 8]),
        &["model.safetensors", Q, "has shape [16, 16], where the configuration says [16, 8]"],
    );
    let mut fewer = whole.clone();
    fewer.remove(Q);
    put(dir.path(), WHOLE, &fewer);
    let files = ModelFiles::open(dir.path()).unwrap();
    says(files.load(Q, &[16, 16]), &["model.safetensors: tensor `", Q, "is missing"]);
    says(files.load_any(Q), &[Q, "is missing"]);
    says(files.check(), &[Q, "is missing"]);
    let mut more = whole.clone();
    let bias = "model.layers.0.self_attn.q_proj.bias";
    more.insert(bias.into(), Tensor::zeros(16, DType::F32, &Device::Cpu).unwrap());
    put(dir.path(), WHOLE, &more);
    says(ModelFiles::open(dir.path()).unwrap().check(), &[bias, "it would change the result"]);
    let mut bytes = whole.clone();
    bytes.insert(Q.into(), Tensor::zeros((16, 16), DType::U8, &Device::Cpu).unwrap());
    put(dir.path(), WHOLE, &bytes);
    let files = ModelFiles::open(dir.path()).unwrap();
    says(files.load(Q, &[16, 16]), &[Q, "is stored as u8"]);
    assert_eq!(files.load_any(Q).unwrap().dtype(), DType::U8);
    let mut old = whole;
    let computed = "model.layers.0.self_attn.rotary_emb.inv_freq";
    old.insert(computed.into(), Tensor::zeros(4, DType::F32, &Device::Cpu).unwrap());
    put(dir.path(), WHOLE, &old);
    ModelFiles::open(dir.path()).unwrap().check().unwrap();
}

#[test]
fn a_four_bit_checkpoint_is_whole_with_its_state() {
    let dir = made();
    let mut tensors = all(dir.path());
    tensors.insert(Q.into(), Tensor::zeros((128, 1), DType::U8, &Device::Cpu).unwrap());
    tensors.insert(format!("{Q}.absmax"), Tensor::zeros(4, DType::U8, &Device::Cpu).unwrap());
    put(dir.path(), WHOLE, &tensors);
    says(ModelFiles::open(dir.path()).unwrap().check(), &[Q, "has shape [128, 1]"]);
    let four = json!({"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4"});
    change(dir.path(), |json| json["quantization_config"] = four.clone());
    let files = ModelFiles::open(dir.path()).unwrap();
    files.check().unwrap();
    assert!(files.has(&format!("{Q}.absmax")));
    assert_eq!(files.load_any(Q).unwrap().dims(), [128, 1]);
}

#[test]
fn what_is_wrong_with_shards_is_named() {
    let dir = made();
    split(dir.path());
    let index = fs::read_to_string(dir.path().join(INDEX)).unwrap();
    let write = |text: String| fs::write(dir.path().join(INDEX), text).unwrap();
    write(index.replacen("one.safetensors", "two.safetensors", 1));
    says(
        ModelFiles::open(dir.path()),
        &["two.safetensors: tensor `", "is not in this shard, though model.safetensors.index.json says so"],
    );
    write(index.replace("one.safetensors", "../one.safetensors"));
    says(ModelFiles::open(dir.path()), &["names the shard ../one.safetensors, which is not in the folder"]);
    write("[]".into());
    says(ModelFiles::open(dir.path()), &[INDEX, "not an index of shards"]);
    write(index);
    let files = ModelFiles::open(dir.path()).unwrap();
    says(
        files.load_any("model.layers.7.mlp.up_proj.weight"),
        &[INDEX, "model.layers.7.mlp.up_proj.weight", "is missing"],
    );
    let two = dir.path().join("two.safetensors");
    let bytes = fs::read(&two).unwrap();
    fs::write(&two, &bytes[..bytes.len() - 4]).unwrap();
    says(ModelFiles::open(dir.path()), &["two.safetensors: tensor `", "the file is cut short"]);
    fs::remove_file(two).unwrap();
    says(ModelFiles::open(dir.path()), &[INDEX, "names the shard two.safetensors, which is not in the folder"]);
}

#[test]
fn what_is_no_model_says_what_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    says(
        ModelFiles::open(&at("nothing")),
        &["there is no such model; a model folder has config.json and model.safetensors"],
    );
    says(ModelFiles::open(dir.path()), &["is not a model folder: a model folder has config.json"]);
    fs::write(at("adapter_config.json"), "{}").unwrap();
    says(ModelFiles::open(dir.path()), &["holds an adapter, not a model"]);
    fs::write(at("small.gguf"), "").unwrap();
    says(ModelFiles::open(dir.path()), &["to use the GGUF file in it, name", "small.gguf"]);
    says(ModelFiles::open(&at("small.gguf")), &["small.gguf: is not a GGUF file, or cut short"]);
    fs::write(at("pytorch_model.bin"), "").unwrap();
    says(ModelFiles::open(dir.path()), &["has pytorch_model.bin but no safetensors", "save_pretrained"]);
    says(ModelFiles::open(&at("pytorch_model.bin")), &["save_pretrained"]);
    fs::write(at(WHOLE), "").unwrap();
    says(ModelFiles::open(dir.path()), &["has no config.json"]);
    says(ModelFiles::open(&at(WHOLE)), &["name its folder instead"]);
    says(ModelFiles::open(&at("adapter_config.json")), &["is neither a .gguf file nor a model folder"]);
    fs::write(at(CONFIG), "{").unwrap();
    says(ModelFiles::open(dir.path()), &["config.json: not a config.json"]);
}
