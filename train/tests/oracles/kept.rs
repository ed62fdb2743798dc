//! Answers that a template cuts, kept by `data.unsaid = "keep"`, beside what TRL's training variant of the same template makes
//! of them (its package holds both; `tools/fetch-assets.sh` brings it).

use setaccio_base::{bundle::Place, row::Row};
use setaccio_templates::{End, Renderer};
use setaccio_train::{
    data::{mask::Masker, outcome::RowOutcome},
    recipe::{Data, Unsaid},
    tokenizer::{Tokens, pieces::Pieces},
};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::formula::asset;

const TURNS: [(&str, &str); 4] = [
    ("user", "U1"),
    ("assistant", "<think>\nSommo.\n</think>\n\nFa 4."),
    ("user", "U2"),
    ("assistant", "<think>\nEcco.\n</think>\n\nFa 5."),
];

/// Every byte, and what the templates end turns with.
fn tokens() -> Tokens {
    let mut letters: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    letters.sort_unstable();
    let vocab: serde_json::Map<String, serde_json::Value> =
        (0..).zip(letters).map(|(id, c): (u32, _)| (c.to_string(), id.into())).collect();
    let special = ["<s>", "<|im_end|>", "<｜end▁of▁sentence｜>"];
    let added: Vec<serde_json::Value> = (256..)
        .zip(special)
        .map(|(id, content): (u32, _)| {
            serde_json::json!({"id": id, "content": content, "special": true, "normalized": false,
                "single_word": false, "lstrip": false, "rstrip": false})
        })
        .collect();
    let json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "added_tokens": added,
        "pre_tokenizer": serde_json::to_value(Pieces::Llama3.build().unwrap()).unwrap(), "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "vocab": vocab, "merges": []},
    });
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    write("tokenizer.json", json.to_string());
    write("tokenizer_config.json", r#"{"bos_token": "<s>", "eos_token": "<｜end▁of▁sentence｜>"}"#.into());
    Tokens::open(dir.path()).unwrap()
}

#[test]
#[ignore = "needs the real models: SETACCIO_ASSETS, which tools/fetch-assets.sh fills"]
fn reasoning_stays_as_in_trls_training_templates() {
    let tokens = tokens();
    for name in ["qwen3", "qwen3_5_think", "qwen3_5_nothink", "qwen3_6", "deepseek_r1_distill"] {
        let [stock, training] =
            ["", "_training"].map(|kind| asset(&format!("templates/trl-1.16.0/{name}{kind}.jinja")));
        let source = std::fs::read_to_string(training).unwrap();
        let theirs = Renderer::new(Some(&source), None, "<s>", "<｜end▁of▁sentence｜>").unwrap();
        for turns in [&TURNS[..2], &TURNS[..]] {
            let content = Row::chat(turns).content;
            let messages: Vec<_> = content.messages().cloned().collect();
            let want = theirs.chat(&messages, None, End::Whole).unwrap();
            let mut data: Data = toml::from_str("train = ['x']").unwrap();
            data.template = stock.display().to_string();
            data.unsaid = Unsaid::Keep;
            let masker = Masker::new(&data, &Place::disk("recipe.toml"), &tokens, 259).unwrap();
            let RowOutcome::Tokens { tokens: example, said, .. } = masker.row(&content).unwrap() else {
                panic!("{name}: left out")
            };
            assert_eq!(said.lost, 0, "{name}");
            assert_eq!(tokens.decode_with_special(&example.ids).unwrap(), want.text, "{name}");
            // Theirs has the line end after a turn, and of some templates its header; ours has neither, nor what the opening
            // of an answer writes.
            let runs = example.trained.chunk_by(|a, b| a == b);
            let mut start = 0;
            let mut learned = Vec::new();
            for run in runs {
                if run[0] {
                    learned.push(tokens.decode_with_special(&example.ids[start..start + run.len()]).unwrap());
                }
                start += run.len();
            }
            assert_eq!(learned.len(), want.generated.len(), "{name}: {learned:?}");
            for (ours, range) in learned.iter().zip(&want.generated) {
                let theirs = want.text[range.clone()].trim_end();
                let given =
                    theirs.strip_suffix(ours.as_str()).unwrap_or_else(|| panic!("{name}: {ours:?} of {theirs:?}"));
                assert!(["", "<think>\n", "<｜Assistant｜><think>\n"].contains(&given), "{name}: {given:?}");
            }
        }
    }
}
