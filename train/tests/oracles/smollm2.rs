//! A real model, SmolLM2-135M-Instruct from its GGUF file, beside transformers, TRL and PEFT:
//! tests/oracles/train/smollm2.py.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use candle_core::DType;
use serde_json::Value;
use setaccio_base::sha256::hex_digest;
use setaccio_train::{
    data::{Batch, Example, MicroBatch},
    formats::model_files::ModelFiles,
    model::{
        context::Mode,
        llama::Llama,
        load::{self, LoadOptions},
    },
    recipe::Lora,
    tokenizer::Tokens,
};

use crate::{
    formula::{self, FRESH, attach, batch, close, elements, numbers, oracle},
    sft,
};

/// The GGUF file that the oracle was made with.
pub fn asset(oracle: &Value) -> PathBuf {
    let path = formula::asset("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
    let hash = hex_digest(&std::fs::read(&path).unwrap());
    assert_eq!(hash, oracle["gguf"].as_str().unwrap(), "{} is another file than the oracle's", path.display());
    path
}

fn open(path: &Path, dtype: DType) -> Llama {
    let files = ModelFiles::open(path).unwrap();
    load::model(files.config(), &files, &LoadOptions { dtype, ..LoadOptions::default() }, &|_| true).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

/// Little-endian u16 in base64 (RFC 4648).
fn unpack(value: &Value) -> Vec<u32> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Vec<u32> = value.as_str().unwrap().bytes().filter_map(digit).map(u32::from).collect();
    let group = |g: &[u32]| {
        let bits = g.iter().enumerate().fold(0, |bits, (i, d)| bits | d << (18 - 6 * i));
        bits.to_be_bytes()[1..g.len()].to_vec()
    };
    let bytes: Vec<u8> = digits.chunks(4).flat_map(group).collect();
    bytes.as_chunks().0.iter().map(|pair| u32::from(u16::from_le_bytes(*pair))).collect()
}

fn rows(packed: &Value) -> Vec<Example> {
    let [lengths, prompts, ids] = ["lengths", "prompts", "ids"].map(|key| unpack(&packed[key]));
    assert_eq!(
        (lengths.len(), prompts.len(), ids.len() as u64),
        (100, 100, lengths.iter().map(|n| u64::from(*n)).sum())
    );
    let mut rest = &ids[..];
    let row = |(length, prompt): (&u32, &u32)| {
        let (ids, after) = rest.split_at(*length as usize);
        rest = after;
        Example { ids: ids.to_vec(), trained: (0..*length).map(|i| i >= *prompt).collect() }
    };
    lengths.iter().zip(&prompts).map(row).collect()
}

#[test]
fn base64_is_that_of_the_rfc() {
    for (text, want) in
        [("", vec![]), ("AQD/fw==", vec![1, 0x7fff]), ("AgADAAQA", vec![2, 3, 4]), ("+/8=", vec![0xfffb])]
    {
        assert_eq!(unpack(&text.into()), want, "{text}");
    }
}

#[test]
#[ignore = "needs the real models: SETACCIO_ASSETS, which tools/fetch-assets.sh fills"]
fn tokens_and_logits_equal_transformers() {
    let oracle = oracle("smollm2.json");
    let path = asset(&oracle);
    let (tokens, prompts) = (Tokens::open(&path).unwrap(), oracle["prompts"].as_array().unwrap());
    for prompt in prompts {
        let text = prompt["text"].as_str().unwrap();
        assert_eq!(tokens.encode(text).unwrap().ids, ids(&prompt["ids"]), "{text:?}");
    }
    for dtype in [DType::F32, DType::F64] {
        let (model, mut rows) = (open(&path, dtype), Vec::new());
        for prompt in prompts {
            rows.extend(residuals(&model, prompt, &ids(&oracle["vocabulary"])));
        }
        let worst = rows.iter().copied().fold(0.0, f64::max);
        println!("{dtype:?}: {} rows of logits, largest residual {worst:e}", rows.len());
        assert_eq!(rows.len(), 49);
        assert!(worst < 1e-4, "{dtype:?}: {rows:?}");
    }
}

/// The largest difference of each token's sampled logits. The most probable id and logsumexp are compared here.
fn residuals(model: &Llama, prompt: &Value, vocabulary: &[u32]) -> Vec<f64> {
    let (text, ids) = (&prompt["text"], [&prompt["ids"], &prompt["argmax"]].map(ids));
    let [ids, argmax] = ids;
    let hidden = model.hidden_states(&batch(std::slice::from_ref(&ids), 1), Mode::Eval).unwrap();
    let logits = elements(&model.head.logits(&hidden).unwrap());
    let sums = numbers(&prompt["logsumexp"]);
    let row = |(t, row): (usize, &[f64])| {
        let top = (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
        assert_eq!(top, argmax[t] as usize, "{text}, token {t}: most probable");
        let sum = row.iter().map(|x| (x - row[top]).exp()).sum::<f64>().ln() + row[top];
        close(&format!("{text}, token {t}: logsumexp"), sum, sums[t], 0.0, 1e-4);
        let want = numbers(&prompt["logits"][t]);
        assert_eq!((want.len(), vocabulary.len()), (64, 64));
        vocabulary.iter().zip(want).map(|(id, want)| (row[*id as usize] - want).abs()).fold(0.0, f64::max)
    };
    logits.chunks(logits.len() / ids.len()).enumerate().map(row).collect()
}

#[test]
#[ignore = "needs the real models: SETACCIO_ASSETS, which tools/fetch-assets.sh fills"]
fn fifty_steps_equal_trl() {
    let oracle = oracle("smollm2.json");
    let path = asset(&oracle);
    let (want, rows) = (&oracle["sft"], rows(&oracle["sft"]["rows"]));
    let mut model = open(&path, DType::F32);
    attach(&mut model, &Lora { r: 8, alpha: 16.0, ..Lora::default() }, FRESH);
    let pair = |k: u64| {
        let mut made = Batch::default();
        (2 * k..2 * k + 2).for_each(|r| made.push(&rows[usize::try_from(r).unwrap()], u32::try_from(r).unwrap()));
        vec![MicroBatch::Texts(made)]
    };
    let start = Instant::now();
    let trainer = sft::compare("smollm2", want, model, 50, &pair);
    println!("smollm2: 50 steps in {:.0?}", start.elapsed());
    for (kind, want) in want["adapter"].as_object().unwrap() {
        let params: Vec<Vec<f64>> =
            trainer.params.iter().filter(|p| p.name.ends_with(kind)).map(|p| elements(&p.value)).collect();
        assert_eq!(params.len(), 30, "{kind}");
        let (all, want): (Vec<f64>, _) = (params.concat(), numbers(want));
        close(&format!("squares of {kind}"), all.iter().map(|x| x * x).sum(), want[0], 1e-3, 0.0);
        close(&format!("sum of {kind}"), all.iter().sum(), want[1], 0.0, 2e-3 * (all.len() as f64).sqrt());
    }
    assert!(trainer.params.iter().all(|p| p.value.dtype() == DType::F32));
}
