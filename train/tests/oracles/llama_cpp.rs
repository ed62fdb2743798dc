//! GGUF files of ours in a real llama.cpp: tests/oracles/llama_cpp/llama_cpp.mjs. The files are made again here and
//! must be those that llama.cpp loaded, byte for byte; then ours reads them and must write the same tokens.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
};

use candle_core::{DType, quantized::gguf_file::Value as Gguf};
use serde_json::{Value, json};
use setaccio_base::sha256::hex_digest;
use setaccio_train::{
    artifacts::{
        destination::Destination,
        export::{GgufOptions, LoraOptions, Quant, gguf, gguf_lora},
    },
    formats::{gguf::tokenizer::from_metadata, model_files::ModelFiles, peft},
    generate::generate,
    inference::sampling::Sampling,
    kernels::Span,
    model::{
        config::Config,
        context::Mode,
        load::{self, LoadOptions},
    },
    tokenizer::{Tokens, pieces::Pieces, tiny},
};

use crate::{
    families::variants,
    formula::{self, close, elements, numbers, oracle, oracle_out},
    merge,
    peft::{oracles, ours},
    smollm2,
};

fn llama_cpp(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracles/llama_cpp").join(name);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Logits nearer than this, in standard deviations of all logits, may change places when activations are rounded to eight
/// bits: each product is then off by some hundredths of its deviation.
const TIE: f64 = 0.25;

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

/// A model by formula of a variant of `formula.rs`, with a tokenizer trained on the spot; `wide` has rows that the blocks
/// of 256 of the K quants fit into.
fn variant(name: &str, folder: &Path) {
    let prompts: Vec<String> = serde_json::from_value(llama_cpp("prompts.json")).unwrap();
    let tokens = match name {
        "spm" => sentencepiece(&prompts),
        "swallow" => swallowing(&sentencepiece(&prompts)),
        "phi4-mini" => gpt4o(&tiny::train(prompts.iter(), 320).unwrap()),
        "dbrx" => merging(&tiny::train(prompts.iter(), 320).unwrap(), &prompts),
        _ => tiny::train(prompts.iter(), 320).unwrap(),
    };
    let mut config = family(name).unwrap_or_else(|| formula::config(name));
    config.vocab_size = tokens.vocab;
    if name == "wide" {
        (config.hidden_size, config.intermediate_size, config.head_dim) = (256, 512, 64);
    }
    (config.bos, config.eos) = (Some(0), tokens.eos_ids.clone());
    tokens.save(folder).unwrap();
    formula::model_folder(&config.to_json().unwrap(), folder);
}

/// A variant of families.json, without what llama.cpp does not know of its family: it has no window in Phi-3, and in Gemma the
/// same layers always have one.
fn family(name: &str) -> Option<Config> {
    let mut json = variants().get(name)?["config"].as_object().unwrap().clone();
    match name {
        "phi3" => _ = json.insert("sliding_window".into(), Value::Null),
        "gemma2" => _ = json.insert("query_pre_attn_scalar".into(), 16.into()),
        "gemma3" => {
            json.remove("layer_types");
            json.insert("num_hidden_layers".into(), 6.into());
        }
        _ => {}
    }
    Some(Config::from_json(Path::new("config.json"), &json).unwrap())
}

/// A SentencePiece tokenizer of the pairs and triples of letters of some texts, and of runs of spaces that share the least score,
/// as those of Llama 2 do.
fn sentencepiece(texts: &[String]) -> Tokens {
    let escaped: Vec<Vec<char>> =
        texts.iter().map(|t| format!(" {t}").replace(' ', "\u{2581}").chars().collect()).collect();
    let some = |n: usize| -> BTreeSet<String> {
        escaped.iter().flat_map(|t| t.windows(n)).map(|w| w.iter().collect::<String>()).collect()
    };
    let runs = |piece: &String| piece.chars().all(|c| c == '\u{2581}');
    let special = [("<unk>", 2), ("<s>", 3), ("</s>", 3)].map(|(text, kind)| (text.to_owned(), 0.0, kind));
    let bytes = (0..256).map(|byte| (format!("<0x{byte:02X}>"), 0.0, 6));
    let learned = some(2).into_iter().chain(some(3)).filter(|piece| !runs(piece));
    let learned = (0_u16..).zip(learned).map(|(i, piece)| (piece, -f32::from(i), 1));
    let spaces = (2..=16).map(|n| ("\u{2581}".repeat(n), -1e9, 1));
    let letters = some(1).into_iter().map(|letter| (letter, -2e9, 1));
    let all: Vec<(String, f32, i32)> =
        special.into_iter().chain(bytes).chain(learned).chain(spaces).chain(letters).collect();
    let keys: HashMap<String, Gguf> = [
        ("model", Gguf::String("llama".into())),
        ("tokens", Gguf::Array(all.iter().map(|(text, ..)| Gguf::String(text.clone())).collect())),
        ("scores", Gguf::Array(all.iter().map(|(_, score, _)| Gguf::F32(*score)).collect())),
        ("token_type", Gguf::Array(all.iter().map(|(.., kind)| Gguf::I32(*kind)).collect())),
        ("bos_token_id", Gguf::U32(1)),
        ("eos_token_id", Gguf::U32(2)),
        ("unknown_token_id", Gguf::U32(0)),
    ]
    .map(|(key, value)| (format!("tokenizer.ggml.{key}"), value))
    .into_iter()
    .collect();
    from_metadata(&keys, Path::new("spm.gguf")).unwrap()
}

/// A tokenizer with its tokenizer.json changed, and these tokens at the beginning and the end of a text.
fn changed(tokens: &Tokens, ends: &Value, change: impl Fn(&mut Value)) -> Tokens {
    let mut json: Value = serde_json::from_str(tokens.json()).unwrap();
    change(&mut json);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
    fs::write(dir.path().join("tokenizer_config.json"), ends.to_string()).unwrap();
    Tokens::open(dir.path()).unwrap()
}

/// The same with special tokens as Phi-3 has them: they swallow the white space behind them, all but three.
fn swallowing(tokens: &Tokens) -> Tokens {
    let first = tokens.vocab;
    changed(tokens, &json!({"bos_token": "<s>", "eos_token": "<|end|>", "add_bos_token": true}), |json| {
        let list = json["added_tokens"].as_array_mut().unwrap();
        let more = ["<|endoftext|>", "<|user|>", "<|end|>", "<|assistant|>"];
        list.extend((first..).zip(more).map(|(id, content)| {
            json!({"id": id, "content": content, "special": true, "normalized": false, "single_word": false,
                "lstrip": false, "rstrip": false})
        }));
        for token in list {
            let spared = ["<unk>", "<s>", "<|endoftext|>"].contains(&token["content"].as_str().unwrap());
            token["rstrip"] = (!spared).into();
        }
    })
}

/// The same with words of the texts as tokens that no merge makes: llama.cpp has to merge, and finds none of them.
fn merging(tokens: &Tokens, texts: &[String]) -> Tokens {
    let words = texts.iter().flat_map(|text| text.split(' ').skip(1));
    let words = words.filter(|word| word.len() > 4 && word.chars().all(|c| c.is_ascii_alphabetic()));
    let name = |token: &Option<(String, u32)>| token.as_ref().map(|(text, _)| text.clone());
    changed(tokens, &json!({"bos_token": name(&tokens.bos), "eos_token": name(&tokens.eos)}), |json| {
        let vocab = json["model"]["vocab"].as_object_mut().unwrap();
        let mut next = tokens.vocab;
        for word in words.clone().map(|word| format!("\u{120}{word}")) {
            if !vocab.contains_key(&word) {
                vocab.insert(word, next.into());
                next += 1;
            }
        }
        assert!(next > tokens.vocab + 3);
    })
}

/// The same as Phi-4-mini's tokenizer cuts texts, in the words of its tokenizer.json.
fn gpt4o(tokens: &Tokens) -> Tokens {
    let name = |token: &Option<(String, u32)>| token.as_ref().map(|(text, _)| text.clone());
    changed(tokens, &json!({"bos_token": name(&tokens.bos), "eos_token": name(&tokens.eos)}), |json| {
        json["pre_tokenizer"] = serde_json::to_value(Pieces::Gpt4o.build().unwrap()).unwrap();
        let split = &mut json["pre_tokenizer"]["pretokenizers"][0];
        (split["behavior"], split["invert"]) = ("Removed".into(), true.into());
        json["model"]["ignore_merges"] = false.into();
    })
}

/// What is asked: of tokens that swallow, white space behind each; of GPT-4o's way, what it cuts otherwise than Llama's.
fn asked(name: &str, text: &str) -> String {
    if name.starts_with("phi4-mini") {
        return format!("{text} I'LL DON'T caffèLatte CITTÀ/VIA 12345 HTMLParser Àncora//\n");
    }
    match name.strip_prefix("swallow") {
        None => text.to_owned(),
        Some(_) => format!("<|user|>\n {text}<|end|> \n<|endoftext|> {text} </s>\t<|assistant|>  {text}"),
    }
}

fn export(model: &Path, quant: Quant, out: &Path) {
    let (files, tokens) = (ModelFiles::open(model).unwrap(), Tokens::open(model).unwrap());
    gguf((&files, &tokens), Destination { path: out, force: true }, GgufOptions { quant, check: true }, &()).unwrap();
}

/// How many of ten prompts go on as llama.cpp has them when ours reads the same file. Where one does not, ours held
/// the two tokens for all but equal: llama.cpp rounds the inputs of a product too, to what the weights are in.
fn agree(file: &Path) -> usize {
    let name = file.file_name().unwrap().to_str().unwrap();
    let (want, texts) = (&llama_cpp("llama_cpp.json")[name], llama_cpp("prompts.json"));
    assert_eq!(hex_digest(&fs::read(file).unwrap()), want["sha256"].as_str().unwrap(), "{name} is another file");
    let (files, tokens) = (ModelFiles::open(file).unwrap(), Tokens::open(file).unwrap());
    let model = load::model(files.config(), &files, &LoadOptions::default(), &|_| true).unwrap();
    assert_eq!(tokens.adds_bos, want["bos"].as_bool().unwrap(), "{name}");
    let (texts, prompts) = (texts.as_array().unwrap(), want["prompts"].as_array().unwrap());
    assert_eq!((texts.len(), prompts.len()), (10, 10));
    let mut same = 0;
    for (text, prompt) in texts.iter().zip(prompts) {
        let text = &asked(name, text.as_str().unwrap());
        let found = tokens.encode(text).unwrap().ids;
        assert_eq!(found, ids(&prompt["ids"]), "{name}: {text:?}");
        let bos = tokens.bos.as_ref().filter(|_| tokens.adds_bos).map(|(_, id)| *id);
        let asked: Vec<u32> = bos.into_iter().chain(found).collect();
        let greedy = ids(&prompt["greedy"]);
        let written = generate(&model, &asked, (&[], greedy.len()), &Sampling::default(), &mut |_| true).unwrap();
        let Some(at) = (0..greedy.len()).find(|i| written.get(*i) != Some(&greedy[*i])) else {
            same += 1;
            continue;
        };
        let prefix: Vec<u32> = asked.iter().chain(&greedy[..at]).copied().collect();
        let all = Span { q: 0, q_len: prefix.len(), k: 0, k_len: prefix.len() };
        let states = model.extend(&prefix, &[all], &model.caches(prefix.len()).unwrap(), Mode::Eval).unwrap();
        let last = states.narrow(0, prefix.len() - 1, 1).unwrap();
        let logits = elements(&model.head.logits(&last).unwrap());
        let mean = logits.iter().sum::<f64>() / logits.len() as f64;
        let spread = (logits.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / logits.len() as f64).sqrt();
        let gap = (logits[written[at] as usize] - logits[greedy[at] as usize]) / spread;
        println!("{name}: {text:?}, token {at}: {} instead of {}, {gap:.3} deviations apart", written[at], greedy[at]);
        assert!((0.0..TIE).contains(&gap), "{name}: {text:?}: no tie");
    }
    println!("{name}: {same} of 10 prompts go on with the tokens of llama.cpp");
    same
}

/// Write every small model that llama.cpp is asked about, and hand each file and its type to `each`.
fn small_models(out: &Path, each: fn(&Path, Quant)) {
    for (name, quants) in [
        ("plain", &[Quant::F32, Quant::F16, Quant::Bf16, Quant::Q8_0, Quant::Q4K][..]),
        ("tied", &[Quant::F32]),
        ("llama31", &[Quant::F32]),
        ("qwen2", &[Quant::F32]),
        ("mistral", &[Quant::F32]),
        ("wide", &[Quant::F32, Quant::Q4_0, Quant::Q4K, Quant::Q6K]),
        ("spm", &[Quant::F32]),
        ("swallow", &[Quant::F32]),
        ("dbrx", &[Quant::F32]),
        ("qwen3", &[Quant::F32]),
        ("smollm3", &[Quant::F32]),
        ("granite", &[Quant::F32]),
        ("granite-bias", &[Quant::F32]),
        ("olmo2", &[Quant::F32]),
        ("phi3", &[Quant::F32]),
        ("phi4-mini", &[Quant::F32]),
        ("gemma2", &[Quant::F32]),
        ("gemma3", &[Quant::F32]),
        ("llama-bias", &[Quant::F32]),
        ("yarn", &[Quant::F32]),
        ("mixtral", &[Quant::F32, Quant::Q8_0]),
        ("qwen3-moe", &[Quant::F32]),
    ] {
        // The folder's name goes into the file.
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(name);
        variant(name, &folder);
        for quant in quants {
            let file = out.join(format!("{name}-{}.gguf", quant.name()));
            export(&folder, *quant, &file);
            each(&file, *quant);
        }
    }
}

/// The real model likewise: from its published file to a folder, to ours, to llama.cpp.
fn real_model(out: &Path, each: fn(&Path, Quant)) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("smollm2");
    merge::folder_of(&smollm2::asset(&oracle("smollm2.json")), &folder, DType::F32);
    for quant in [Quant::F32, Quant::F16, Quant::Q8_0] {
        let file = out.join(format!("smollm2-{}.gguf", quant.name()));
        export(&folder, quant, &file);
        each(&file, quant);
    }
}

fn agrees(file: &Path, quant: Quant) {
    // llama.cpp looks Gemma's GELU up in a table of 16-bit numbers.
    let table = file.file_name().unwrap().to_str().unwrap().starts_with("gemma");
    assert!(agree(file) >= if quant == Quant::F32 && !table { 10 } else { 8 }, "{}", file.display());
    fs::remove_file(file).unwrap();
}

#[test]
#[ignore = "writes the files that llama_cpp.mjs reads"]
fn write_for_llama_cpp() {
    let out = oracle_out();
    fs::create_dir_all(&out).unwrap();
    small_models(&out, |_, _| {});
    base_and_adapters(&out);
    real_model(&out, |_, _| {});
}

#[test]
fn llama_cpp_goes_on_as_ours_does() {
    small_models(tempfile::tempdir().unwrap().path(), agrees);
}

#[test]
#[ignore = "needs the real models: SETACCIO_ASSETS, which tools/fetch-assets.sh fills"]
fn smollm2_goes_on_in_llama_cpp_as_here() {
    real_model(tempfile::tempdir().unwrap().path(), agrees);
}

/// A vocabulary of 64, of which only the ids are used.
fn letters(folder: &Path) {
    let vocab: serde_json::Map<String, Value> = ('A'..='z')
        .filter(char::is_ascii_alphabetic)
        .chain('0'..='9')
        .zip(0_u32..)
        .map(|(c, id)| (c.to_string(), id.into()))
        .collect();
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "special": true, "normalized": false, "single_word": false,
            "lstrip": false, "rstrip": false})
    };
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": [special(62, "<|begin_of_text|>"), special(63, "<|eot_id|>")],
        "pre_tokenizer": serde_json::to_value(Pieces::Llama3.build().unwrap()).unwrap(),
        "post_processor": null, "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "vocab": vocab, "merges": [], "ignore_merges": true},
    });
    fs::write(folder.join("tokenizer.json"), json.to_string()).unwrap();
    fs::write(folder.join("tokenizer_config.json"), r#"{"eos_token": "<|eot_id|>"}"#).unwrap();
}

fn base_and_adapters(out: &Path) -> [PathBuf; 3] {
    let dir = tempfile::tempdir().unwrap();
    let base = merge::base(&dir.path().join("llama"));
    letters(base.path());
    let adapter = dir.path().join("adapter");
    peft::save(&adapter, &ours()).unwrap();
    let [model, lora, tables] = ["lora-base.gguf", "lora.gguf", "lora-tables.gguf"].map(|name| out.join(name));
    export(base.path(), Quant::F32, &model);
    let options = LoraOptions { quant: Quant::F32, same_base: false };
    gguf_lora((&adapter, &base), Destination { path: &lora, force: true }, options, &()).unwrap();
    let (theirs, options) = (oracles().join("tables_peft/llama_cpp"), LoraOptions { same_base: true, ..options });
    gguf_lora((&theirs, &base), Destination { path: &tables, force: true }, options, &()).unwrap();
    [model, lora, tables]
}

#[test]
fn an_adapter_in_llama_cpp_gives_pefts_logits() {
    let dir = tempfile::tempdir().unwrap();
    let [model, lora, tables] = base_and_adapters(dir.path());
    let (found, want) = (&llama_cpp("llama_cpp.json")["lora-base.gguf"], oracle("peft_files.json"));
    for (file, hash) in [(&model, "sha256"), (&lora, "lora"), (&tables, "lora_tables")] {
        assert_eq!(hex_digest(&fs::read(file).unwrap()), found[hash].as_str().unwrap(), "{}", file.display());
    }
    let of_tables = &oracle("tables.json")["peft"]["llama_cpp"];
    let wanted = [("plain", &want["logits"]["base"]), ("adapted", &want["logits"]["ours"]), ("tables", of_tables)];
    for (theirs, want) in wanted {
        let (found, want) = (numbers(&found[theirs]), numbers(want));
        assert_eq!((found.len(), want.len()), (320, 320));
        let mut worst = 0.0_f64;
        for (i, (found, want)) in found.into_iter().zip(want).enumerate() {
            close(&format!("{theirs}: logit {i}"), found, want, 0.0, 1e-3);
            worst = worst.max((found - want).abs());
        }
        println!("llama.cpp, {theirs}: largest residual beside PEFT {worst:e}");
    }
}
