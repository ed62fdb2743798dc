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

fn map(made: Exported) -> HashMap<String, Value> {
    made.keys.into_iter().collect()
}

/// What is wrong with it, or with what it becomes.
fn error(tokens: &Tokens, size: usize) -> String {
    let made = metadata(tokens, size).and_then(|made| made.check(tokens, &made.named()));
    made.map_or_else(|e| e.to_string(), |texts| if texts < 100 { format!("{texts} texts") } else { String::new() })
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
    // A token that no merge makes would only be found whole: there is a name for that.
    let odd = changed(|json| {
        let vocab = json["model"]["vocab"].as_object_mut().unwrap();
        vocab.insert("zzzz".into(), 300.into());
    });
    assert_eq!(map(metadata(&odd, 301).unwrap())["tokenizer.ggml.pre"].to_string().unwrap(), "dbrx");
    // And none for Qwen's way of cutting.
    let qwen = changed(|json| {
        json["model"]["vocab"].as_object_mut().unwrap().insert("zzzz".into(), 300.into());
        json["model"]["ignore_merges"] = true.into();
        let pattern = &mut json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"];
        *pattern = pattern.as_str().unwrap().replace("{1,3}", "").into();
    });
    let said = error(&qwen, 301);
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
        (
            &|json| json["pre_tokenizer"] = json!({"type": "Whitespace"}),
            "has no name here (dbrx, gpt-2, gpt-4o, llama-bpe, qwen2",
        ),
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

#[test]
fn what_gguf_cannot_say_of_a_token_is_refused() {
    let with = |key: &'static str, normalizer: Json| {
        changed(move |json| {
            json["added_tokens"][3][key] = true.into();
            json["normalizer"] = normalizer.clone();
        })
    };
    for (key, does) in
        [("rstrip", "white space after"), ("lstrip", "white space before"), ("single_word", "within a word")]
    {
        let said = error(&with(key, Json::Null), 300);
        assert!(said.contains("`<|eot_id|>`") && said.contains(key) && said.contains(does), "{said}");
    }
    // Normalized, it is another text only if the normalizer makes one of it.
    assert_eq!(error(&with("normalized", Json::Null), 300), "");
}

/// A SentencePiece vocabulary in a GGUF file: the runs of up to sixteen spaces share a score below all others, as those of
/// Llama 2 do.
fn llama2() -> HashMap<String, Value> {
    let mut pieces: Vec<(String, f32, i64)> = Vec::new();
    for (text, kind) in [("<unk>", kind::UNKNOWN), ("<s>", kind::CONTROL), ("</s>", kind::CONTROL)] {
        pieces.push((text.to_owned(), 0.0, kind));
    }
    pieces.extend((0..256).map(|byte| (format!("<0x{byte:02X}>"), 0.0, kind::BYTE)));
    let words = ["un", "no", "▁un", "▁uno", "du", "ue", "▁d", "▁du", "▁due", "an", "na", "▁an", "nn", "on", "in", "▁i"];
    pieces.extend((0_u8..).zip(words).map(|(i, piece)| (piece.to_owned(), -f32::from(i), kind::NORMAL)));
    pieces.extend((2..=16).map(|n| (SPACE.repeat(n), -1e9, kind::NORMAL)));
    pieces.extend("▁unodeaieiNlmczvsrtp".chars().map(|c| (c.to_string(), -1e9, kind::NORMAL)));
    let list = |f: &dyn Fn(&(String, f32, i64)) -> Value| Value::Array(pieces.iter().map(f).collect());
    let kinds = list(&|piece| Value::I32(i32::try_from(piece.2).unwrap()));
    [
        ("model", Value::String("llama".into())),
        ("tokens", list(&|piece| Value::String(piece.0.clone()))),
        ("scores", list(&|piece| Value::F32(piece.1))),
        ("token_type", kinds),
        ("bos_token_id", Value::U32(1)),
        ("eos_token_id", Value::U32(2)),
        ("unknown_token_id", Value::U32(0)),
    ]
    .map(|(key, value)| (format!("tokenizer.ggml.{key}"), value))
    .into_iter()
    .collect()
}

fn reopened(json: &Json) -> Tokens {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tokenizer.json"), json.to_string()).unwrap();
    fs::write(dir.path().join("tokenizer_config.json"), r#"{"bos_token": "<s>", "eos_token": "</s>"}"#).unwrap();
    Tokens::open(dir.path()).unwrap()
}

#[test]
fn pieces_that_share_a_score_come_back_with_it() {
    let tokens = from_metadata(&llama2(), Path::new("m.gguf")).unwrap();
    let json: Json = serde_json::from_str(tokens.json()).unwrap();
    // Of merges that share a score and the length of the left side, transformers has those with the longer right side first.
    let mut theirs = json.clone();
    let merges = theirs["model"]["merges"].as_array_mut().unwrap();
    let of_spaces =
        |merge: &Json| merge.as_array().unwrap().iter().all(|side| side.as_str().unwrap().chars().all(|c| c == '▁'));
    let from = merges.iter().position(of_spaces).unwrap();
    let long = |merge: &Json, side: usize| merge[side].as_str().unwrap().chars().count();
    merges[from..].sort_by_key(|merge| (usize::MAX - long(merge, 0), usize::MAX - long(merge, 1)));
    assert_eq!(merges.len() - from, 15 * 16 / 2, "all ways to make a run of two");
    assert_ne!(theirs, json);
    for json in [&json, &theirs] {
        let tokens = reopened(json);
        let made = metadata(&tokens, tokens.vocab).unwrap();
        let keys: HashMap<String, Value> = made.keys.iter().cloned().collect();
        assert!(made.check(&tokens, &keys).unwrap() >= 100);
        let score = |piece: &str| {
            let id = tokens.tokenizer.token_to_id(piece).unwrap() as usize;
            keys["tokenizer.ggml.scores"].to_vec().unwrap()[id].to_f32().unwrap()
        };
        let runs: Vec<f32> = (2..=16).map(|n| score(&SPACE.repeat(n))).collect();
        // The merge of two spaces comes last in transformers' order, so its place may be its own.
        assert!(runs[1..].iter().all(|s| (s - runs[1]).abs() < 0.5) && runs[0] <= runs[1], "{runs:?}");
        assert!(runs[1] < score("▁an"), "{runs:?}");
        let again = from_metadata(&keys, Path::new("m.gguf")).unwrap();
        for text in ["uno   due", "                    due", "  un   anno  "] {
            assert_eq!(again.encode(text).unwrap().ids, tokens.encode(text).unwrap().ids, "{text:?}");
        }
    }
    // Scores that say another order are found.
    let made = metadata(&tokens, tokens.vocab).unwrap();
    let mut keys: HashMap<String, Value> = made.keys.iter().cloned().collect();
    let Some(Value::Array(scores)) = keys.get_mut("tokenizer.ggml.scores") else { panic!("no scores") };
    let (un, no) = (tokens.tokenizer.token_to_id("un").unwrap() as usize, tokens.tokenizer.token_to_id("no").unwrap());
    scores.swap(un, no as usize);
    let said = made.check(&tokens, &keys).unwrap_err().to_string();
    assert!(said.contains("llama.cpp would cut it into"), "{said}");
}

#[test]
fn a_space_before_the_first_word_alone_is_told() {
    let tokens = from_metadata(&llama2(), Path::new("m.gguf")).unwrap();
    let mut json: Json = serde_json::from_str(tokens.json()).unwrap();
    json["normalizer"] = Json::Null;
    json["pre_tokenizer"] = json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false});
    let chat = "{{ bos_token }}{% for m in messages %}un{{ m.content }}{{ eos_token }}{% endfor %}";
    for (template, alike, prefix) in [(Some(chat), Alike::BehindAToken, false), (None, Alike::WithoutTokens, true)] {
        // Nor does it put one before a space.
        let mut tokens = reopened(&json);
        tokens.chat_template = template.map(str::to_owned);
        let made = metadata(&tokens, tokens.vocab).unwrap();
        let keys: HashMap<String, Value> = made.keys.iter().cloned().collect();
        assert_eq!((made.alike, keys["tokenizer.ggml.add_space_prefix"].to_bool().unwrap()), (alike, prefix));
        assert!(made.check(&tokens, &keys).unwrap() >= 100 && made.warning().is_some());
        // Of all texts it would not be true.
        let all = Exported { alike: Alike::All, ..made };
        assert!(all.check(&tokens, &keys).is_err());
    }
    for (scheme, alike) in [("always", Alike::NoSpaceFirst), ("never", Alike::All)] {
        json["pre_tokenizer"]["prepend_scheme"] = scheme.into();
        let tokens = reopened(&json);
        assert_eq!(error(&tokens, tokens.vocab), "", "{scheme}");
        assert_eq!(metadata(&tokens, tokens.vocab).unwrap().alike, alike, "{scheme}");
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

/// Phi-3's special tokens swallow the white space behind them, which llama.cpp knows by the name of the model alone.
#[test]
fn tokens_that_swallow_are_known_by_the_name_phi_3() {
    type Change<'a> = &'a dyn Fn(&mut Vec<Json>);
    let mut keys = llama2();
    for (list, value) in [("scores", Value::F32(0.0)), ("token_type", Value::I32(3))] {
        let Some(Value::Array(list)) = keys.get_mut(&format!("tokenizer.ggml.{list}")) else { panic!("no {list}") };
        list.extend([value.clone(), value.clone(), value]);
    }
    let Some(Value::Array(texts)) = keys.get_mut("tokenizer.ggml.tokens") else { panic!("no tokens") };
    texts.extend(["<|endoftext|>", "<|user|>", "<|end|>"].map(|text| Value::String(text.into())));
    keys.insert("general.name".into(), Value::String("My phi3".into()));
    let tokens = from_metadata(&keys, Path::new("m.gguf")).unwrap();
    let text = "<s><|user|>\n uno <|end|> \t<|endoftext|> due</s> un";
    let plain = "<s><|user|>uno <|end|><|endoftext|> due</s>un";
    let ids = |tokens: &Tokens, text: &str| tokens.encode(text).unwrap().ids;
    assert_eq!(ids(&tokens, text), ids(&tokens, plain));
    let made = metadata(&tokens, tokens.vocab).unwrap();
    assert!(made.by_name && made.check(&tokens, &made.named()).unwrap() >= 100);
    let read = from_metadata(&made.named(), Path::new("m.gguf")).unwrap();
    assert_eq!(ids(&read, text), ids(&tokens, text));
    // Under another name llama.cpp reads other tokens, and so does what is read from such a file.
    let unnamed: HashMap<String, Value> = made.keys.iter().cloned().collect();
    assert!(made.check(&tokens, &unnamed).is_err());
    assert_ne!(ids(&from_metadata(&unnamed, Path::new("m.gguf")).unwrap(), text), ids(&tokens, text));
    // One that does otherwise, or one that llama.cpp takes for granted and is not there: no name stands for it.
    let cases: [Change; 3] = [
        &|list| list.iter_mut().filter(|t| t["content"] == "<|user|>").for_each(|t| t["rstrip"] = false.into()),
        &|list| list.iter_mut().filter(|t| t["content"] == "<s>").for_each(|t| t["rstrip"] = true.into()),
        &|list| list.retain(|t| t["content"] != "<|endoftext|>"),
    ];
    for change in cases {
        let mut json: Json = serde_json::from_str(tokens.json()).unwrap();
        change(json["added_tokens"].as_array_mut().unwrap());
        let odd = reopened(&json);
        let said = metadata(&odd, tokens.vocab).map_or_else(|e| e.to_string(), |_| String::new());
        assert!(said.contains("`rstrip`") && said.contains("which GGUF cannot say"), "{said}");
    }
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
    assert!(error(&odd, 10).contains("llama.cpp would cut it into"), "{}", error(&odd, 10));
    // One score for all of them would have their merges sorted.
    let tied = places(&[("l", "a"), ("a", "l"), ("▁", "la"), ("l", "a")]).unwrap().1;
    assert_eq!(tied, ["al", "la", "▁la"]);
    assert_eq!(places(&[("l", "a"), ("al", "a"), ("l", "a")]).unwrap_err(), "ala");
}
