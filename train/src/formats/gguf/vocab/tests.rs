use std::{collections::HashMap, fs, path::Path};

use serde_json::json;

use super::*;
use crate::{formats::gguf::tokenizer::from_metadata, tokenizer::tiny};

/// A tiny tokenizer with a changed tokenizer.json.
fn changed(change: impl Fn(&mut Json)) -> Tokens {
    let dir = tempfile::tempdir().unwrap();
    tiny::train(["uno due tre, uno due tre"].into_iter(), 300).unwrap().save(dir.path()).unwrap();
    let path = dir.path().join("tokenizer.json");
    let mut json: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    fs::write(&path, json.to_string()).unwrap();
    Tokens::open(dir.path()).unwrap()
}

fn map(pairs: Vec<(String, Value)>) -> HashMap<String, Value> {
    pairs.into_iter().collect()
}

fn error(tokens: &Tokens, size: usize) -> String {
    metadata(tokens, size).map_or_else(|e| e.to_string(), |_| String::new())
}

#[test]
fn tokens_without_a_text_are_filled_up() {
    let tokens = changed(|_| {});
    let keys = map(metadata(&tokens, tokens.vocab + 2).unwrap());
    let list = |key: &str| keys[&format!("tokenizer.ggml.{key}")].to_vec().unwrap().clone();
    assert_eq!((list("tokens").len(), list("token_type").len()), (tokens.vocab + 2, tokens.vocab + 2));
    let last = (list("tokens").pop().unwrap(), list("token_type").pop().unwrap());
    assert_eq!(
        (last.0.to_string().unwrap().as_str(), last.1.to_i64().ok()),
        (format!("[PAD{}]", tokens.vocab + 1).as_str(), None)
    );
    assert_eq!(format!("{:?}", last.1), "I32(5)");
    // Special tokens are control tokens.
    assert!(list("token_type")[..5].iter().all(|kind| format!("{kind:?}") == "I32(3)"));
    let said = error(&tokens, tokens.vocab - 1);
    let last = tokens.vocab - 1;
    assert!(said.contains(&format!("as token {last}, and the model has {last}")), "{said}");
}

#[test]
fn the_flag_of_whole_pieces_must_not_matter() {
    // Ours says false where Llama 3 says true; its merges lead to every token, so it is the same.
    let tokens = changed(|_| {});
    assert_eq!(map(metadata(&tokens, 300).unwrap())["tokenizer.ggml.pre"].to_string().unwrap(), "llama-bpe");
    // A token that no merge makes would only be found whole.
    let odd = changed(|json| {
        let vocab = json["model"]["vocab"].as_object_mut().unwrap();
        vocab.insert("zzzz".into(), 300.into());
    });
    let said = error(&odd, 301);
    assert!(said.contains("`zzzz` comes out otherwise") && said.contains("ignore_merges"), "{said}");
    let whole = changed(|json| {
        json["model"]["vocab"].as_object_mut().unwrap().insert("zzzz".into(), 300.into());
        json["model"]["ignore_merges"] = true.into();
    });
    assert_eq!(error(&whole, 301), "");
}

#[test]
fn ways_of_cutting_without_a_name_are_refused() {
    type Change<'a> = &'a dyn Fn(&mut Json);
    let cases: [(Change, &str); 4] = [
        (&|json| json["pre_tokenizer"] = json!({"type": "Whitespace"}), "has no name here (gpt-2, llama-bpe, qwen2"),
        (&|json| json["normalizer"] = json!({"type": "Lowercase"}), "changes texts first"),
        (
            &|json| json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "\\w+".into(),
            "in llama.cpp the model would read other tokens",
        ),
        (
            &|json| {
                json["model"] = json!({"type": "WordLevel", "vocab": {"a": 0, "<|eot_id|>": 3}, "unk_token": "a"});
            },
            "of the kind WordLevel",
        ),
    ];
    for (change, says) in cases {
        let said = error(&changed(change), 300);
        assert!(said.contains(says), "{says}: {said}");
    }
}

/// A SentencePiece BPE as transformers converts it: `▁la` before `al`.
fn sentencepiece(merges: &[[&str; 2]]) -> Tokens {
    let dir = tempfile::tempdir().unwrap();
    let texts = ["<unk>", "<s>", "</s>", "<0x21>", "▁la", "al", "la", "▁", "a", "l"];
    let vocab: serde_json::Map<String, Json> =
        (0..).zip(texts).map(|(id, t): (u32, _)| (t.into(), id.into())).collect();
    let added: Vec<Json> = (0..3_usize)
        .map(|id| {
            json!({
                "id": id, "content": texts[id], "special": true, "normalized": false, "single_word": false,
                "lstrip": false, "rstrip": false,
            })
        })
        .collect();
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true,
            "vocab": vocab, "merges": merges},
    });
    fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
    fs::write(dir.path().join("tokenizer_config.json"), r#"{"bos_token": "<s>", "eos_token": "</s>"}"#).unwrap();
    Tokens::open(dir.path()).unwrap()
}

#[test]
fn sentencepiece_comes_back_from_its_scores() {
    let tokens = sentencepiece(&[["l", "a"], ["▁", "la"], ["a", "l"]]);
    let keys = map(metadata(&tokens, 10).unwrap());
    assert_eq!(keys["tokenizer.ggml.model"].to_string().unwrap(), "llama");
    assert!(keys["tokenizer.ggml.add_space_prefix"].to_bool().unwrap());
    let kinds: Vec<String> =
        keys["tokenizer.ggml.token_type"].to_vec().unwrap().iter().map(|v| format!("{v:?}")).collect();
    assert_eq!(kinds[..5], ["I32(2)", "I32(3)", "I32(3)", "I32(6)", "I32(1)"]);
    let read = from_metadata(&keys, Path::new("m.gguf")).unwrap();
    for text in ["la la", "ala", "al", "!", "la</s>al"] {
        assert_eq!(read.encode(text).unwrap().ids, tokens.encode(text).unwrap().ids, "{text}");
    }
    // The same piece at two places of the order.
    let odd = sentencepiece(&[["l", "a"], ["a", "l"], ["▁", "la"], ["l", "a"]]);
    assert!(error(&odd, 10).contains("which no scores can say"), "{}", error(&odd, 10));
}
