//! Ids, masks and packing beside those of transformers, SentencePiece and TRL (tests/oracles/train/tokens.py).

use std::{collections::HashMap, path::Path};

use candle_core::quantized::gguf_file::Value as Gguf;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use setaccio_base::row::{Content, Message};
use setaccio_train::{
    data::{Batch, Example, IGNORE, mask::Masker, outcome::RowOutcome, pack},
    formats::gguf::tokenizer::from_metadata,
    recipe::{Data, TrainOn},
    tokenizer::Tokens,
};

use crate::formula::asset;

const LLAMA3: &str = include_str!("../../../pipelines/templates/llama3.jinja");

fn expected<T: DeserializeOwned>(key: &str) -> T {
    let all: Value = serde_json::from_str(include_str!("../../../tests/oracles/train/tokens.json")).unwrap();
    serde_json::from_value(all[key].clone()).unwrap()
}

fn llama3() -> Tokens {
    Tokens::open(&asset("llama3")).unwrap()
}

fn smollm2() -> Tokens {
    Tokens::open(&asset("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap()
}

fn same_ids(tokens: &Tokens, key: &str) {
    let texts: Vec<String> = expected("texts");
    let ids: Vec<Vec<u32>> = expected(key);
    assert_eq!(texts.len(), 200);
    for (text, ids) in texts.iter().zip(ids) {
        assert_eq!(tokens.encode(text).unwrap().ids, ids, "{key}: {text:?}");
    }
}

fn chats() -> Vec<Content> {
    expected::<Vec<Vec<Message>>>("chats").into_iter().map(Content::chat).collect()
}

fn examples(tokens: &Tokens, template: &str, train_on: TrainOn) -> Vec<Example> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t.jinja"), template).unwrap();
    let name = if template.is_empty() { "" } else { "t.jinja" };
    let mut data: Data = toml::from_str(&format!("train = ['x']\ntemplate = '{name}'")).unwrap();
    data.train_on = train_on;
    let masker =
        Masker::new(&data, &setaccio_base::bundle::Place::disk(dir.path().join("recipe.toml")), tokens, tokens.vocab)
            .unwrap();
    let made = chats().into_iter().map(|c| match masker.row(&c).unwrap() {
        RowOutcome::Tokens { tokens, truncated: false, .. } => tokens,
        other => panic!("{other:?}"),
    });
    made.collect()
}

fn same_chats(tokens: &Tokens, template: &str, key: &str) {
    let ids: Vec<Vec<u32>> = expected(key);
    let found: Vec<Vec<u32>> = examples(tokens, template, TrainOn::Assistant).into_iter().map(|e| e.ids).collect();
    assert_eq!(found, ids, "{key}");
}

#[derive(Deserialize)]
struct Generation {
    template: String,
    rows: Vec<Masked>,
}

#[derive(Deserialize)]
struct Masked {
    ids: Vec<u32>,
    mask: String,
}

/// The masks of `{% generation %}` blocks, and those that we find when the template does not have them.
fn same_masks(tokens: &Tokens, model: &str) {
    let all: HashMap<String, Generation> = expected("generation");
    let Generation { template, rows } = &all[model];
    let bare = template.replace("{%- generation %}", "{%- if true %}").replace("{%- endgeneration %}", "{%- endif %}");
    for template in [template, &bare] {
        for (row, found) in rows.iter().zip(examples(tokens, template, TrainOn::Assistant)) {
            assert_eq!(found.ids, row.ids);
            let mask: String = found.trained.iter().map(|t| if *t { '1' } else { '0' }).collect();
            assert_eq!(mask, row.mask, "{model}");
            let stop = found.ids[found.trained.iter().rposition(|t| *t).unwrap()];
            assert!(tokens.eos_ids.contains(&stop), "the stop token is learned");
        }
    }
}

#[test]
#[ignore = "needs the real models: SETACCIO_ASSETS, which tools/fetch-assets.sh fills"]
fn the_llama3_tokenizer() {
    let tokens = llama3();
    same_ids(&tokens, "llama3");
    same_chats(&tokens, LLAMA3, "llama3_chats");
    same_masks(&tokens, "llama3");
    assert_eq!((tokens.vocab, tokens.bos.as_ref().unwrap().1), (128_256, 128_000));
    assert_eq!(tokens.eos_ids, [128_001, 128_009], "the end of a turn ends a generation, too");
}

#[test]
#[ignore = "needs the real models: SETACCIO_ASSETS, which tools/fetch-assets.sh fills"]
fn the_smollm2_tokenizer_from_gguf() {
    let tokens = smollm2();
    same_ids(&tokens, "smollm2");
    same_chats(&tokens, "", "smollm2_chats");
    same_masks(&tokens, "smollm2");
    let special = [&tokens.bos, &tokens.eos, &tokens.pad].map(|t| t.as_ref().unwrap().0.clone());
    assert_eq!(special.to_vec(), expected::<Vec<String>>("smollm2_special"));
    assert!(!tokens.adds_bos);
    // Written beside an adapter and read back, it is the same tokenizer.
    let dir = tempfile::tempdir().unwrap();
    tokens.save(dir.path()).unwrap();
    let read = Tokens::open(dir.path()).unwrap();
    assert_eq!(
        (&read.sha256, &read.eos_ids, &read.chat_template),
        (&tokens.sha256, &tokens.eos_ids, &tokens.chat_template)
    );
    same_ids(&read, "smollm2");
}

#[test]
#[ignore = "needs the real models: SETACCIO_ASSETS, which tools/fetch-assets.sh fills"]
fn the_first_llama3_template_always_opens_a_turn() {
    // That of the model's own first tokenizer_config.json: what it opens at the end is no answer.
    let tokens = llama3();
    let ours = examples(&tokens, LLAMA3, TrainOn::Assistant);
    for (found, ours) in examples(&tokens, "", TrainOn::Assistant).into_iter().zip(ours) {
        let n = ours.ids.len();
        assert_eq!((&found.ids[..n], &found.trained[..n]), (&ours.ids[..], &ours.trained[..]));
        assert!(found.ids.len() == n + 4 && !found.trained[n..].contains(&true));
    }
}

#[derive(Deserialize)]
struct Pieces {
    tokens: Vec<String>,
    scores: Vec<f32>,
    kinds: Vec<i32>,
    texts: Vec<usize>,
    ids: Vec<Vec<u32>>,
}

#[test]
fn a_sentencepiece_model_as_gguf_holds_it() {
    let Pieces { tokens, scores, kinds, texts, ids } = expected("sentencepiece");
    let all: Vec<String> = expected("texts");
    let mut data = HashMap::new();
    let mut put = |key: &str, value| data.insert(format!("tokenizer.ggml.{key}"), value);
    put("model", Gguf::String("llama".into()));
    put("tokens", Gguf::Array(tokens.into_iter().map(Gguf::String).collect()));
    put("scores", Gguf::Array(scores.into_iter().map(Gguf::F32).collect()));
    put("token_type", Gguf::Array(kinds.into_iter().map(Gguf::I32).collect()));
    put("unknown_token_id", Gguf::U32(0));
    put("bos_token_id", Gguf::U32(1));
    put("eos_token_id", Gguf::U32(2));
    let tokens = from_metadata(&data, Path::new("pieces.gguf")).unwrap();
    assert!(texts.len() > 150 && tokens.adds_bos);
    for (text, ids) in texts.iter().map(|i| &all[*i]).zip(ids) {
        assert_eq!(tokens.encode(text).unwrap().ids, ids, "{text:?}");
        assert_eq!(&tokens.decode_with_special(&ids).unwrap(), text);
    }
}

#[derive(Deserialize)]
struct Packing {
    runs: Vec<Run>,
    documents: Vec<Vec<u32>>,
    learned: Vec<Vec<u8>>,
    max: u32,
    sequences: Vec<Vec<usize>>,
    batch: HashMap<String, Vec<i64>>,
}

#[derive(Deserialize)]
struct Run {
    max: u32,
    spread: u64,
    tokens: u64,
    bins: usize,
}

#[test]
fn packing_is_as_tight_as_trl() {
    for Run { max, spread, tokens, bins } in expected::<Packing>("packing").runs {
        let length = |i: u64| 1 + (i * i * 7919 + i * 104_729) % spread * ((i * 31) % 97) / 97;
        let lengths: Vec<u32> = (0..2000).map(|i| u32::try_from(length(i)).unwrap().min(max)).collect();
        assert_eq!(lengths.iter().map(|l| u64::from(*l)).sum::<u64>(), tokens);
        let order: Vec<usize> = (0..lengths.len()).collect();
        let ours = pack::best_fit(&order, &lengths, max).len();
        println!("{ours} sequences, TRL {bins}; fill {:.4}", pack::fill(ours, tokens, max));
        assert!(ours <= bins + bins / 200, "{ours} sequences, TRL {bins}");
    }
}

#[test]
fn packed_documents_have_the_labels_and_positions_of_trl() {
    let Packing { documents, learned, max, sequences, batch, .. } = expected("packing");
    let lengths: Vec<u32> = documents.iter().map(|d| u32::try_from(d.len()).unwrap()).collect();
    let order: Vec<usize> = (0..documents.len()).collect();
    let bins = pack::best_fit(&order, &lengths, max);
    let shape: Vec<Vec<usize>> =
        bins.iter().map(|bin| bin.iter().map(|r| documents[*r as usize].len()).collect()).collect();
    assert_eq!(shape, sequences);
    let mut ours = Batch::default();
    for row in bins.into_iter().flatten() {
        let mut trained: Vec<bool> = learned[row as usize].iter().map(|t| *t == 1).collect();
        trained[0] = false;
        ours.push(&Example { ids: documents[row as usize].clone(), trained }, row);
    }
    let plain = |values: &[u32]| values.iter().map(|v| i64::from(*v)).collect::<Vec<_>>();
    assert_eq!(plain(&ours.ids), batch["input_ids"]);
    assert_eq!(plain(&ours.positions), batch["position_ids"]);
    // TRL's label of a token is the token itself; ours is of the token before it.
    let theirs: Vec<i64> = batch["labels"][1..].iter().copied().chain([-100]).collect();
    let ours: Vec<i64> = ours.labels.iter().map(|l| if *l == IGNORE { -100 } else { i64::from(*l) }).collect();
    assert_eq!(ours, theirs);
}
