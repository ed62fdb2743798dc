//! How to load what was trained: with this program, and with PEFT or transformers.

use std::{fmt::Write, path::Path};

use setaccio_base::{
    card::markdown::{block, repository},
    shell,
};

use super::{Facts, file_name, here};
use crate::recipe::{Method, Quantization};

/// The section.
pub fn section(facts: &Facts) -> String {
    match facts.lock.recipe.method {
        Method::Lora => adapter(facts),
        Method::Full => whole(facts),
    }
}

fn adapter(facts: &Facts) -> String {
    let recipe = &facts.lock.recipe;
    let model = &recipe.model;
    let path = |p: &Path, none: &str| here(p).map_or_else(|| none.to_owned(), |p| p.join("/"));
    let folder = path(facts.run, "RUN");
    let tiny = model.is_tiny() && model.repo.is_empty();
    let command = format!(
        "setaccio generate --model {} --adapter {} --prompt \"...\"",
        shell::word(&if tiny { format!("{folder}/base") } else { path(Path::new(&model.path), "MODEL") }),
        shell::word(&format!("{folder}/adapter")),
    );
    let mut out = format!("## How to load it\n\n{}", block("", &command));
    let gguf = model.path.to_ascii_lowercase().ends_with(".gguf");
    let (from, more) = match repository(&model.repo) {
        Some(repo) if model.revision.is_empty() => (repo.to_owned(), String::new()),
        Some(repo) => (repo.to_owned(), format!(", revision={}", python(&model.revision))),
        None if tiny => ("base".to_owned(), String::new()),
        None if gguf => (".".into(), format!(", gguf_file={}", python(file_name(&model.path)))),
        None => (path(Path::new(&model.path), file_name(&model.path)), String::new()),
    };
    let (import, quantized) = if model.quantization == Quantization::Nf4 {
        let double = if model.double_quant { "True" } else { "False" };
        (
            "import torch\n",
            format!(
                ",\n    quantization_config=BitsAndBytesConfig(\n        load_in_4bit=True, bnb_4bit_quant_type=\"nf4\", \
                 bnb_4bit_use_double_quant={double}, bnb_4bit_compute_dtype=torch.bfloat16\n    ),\n"
            ),
        )
    } else {
        ("", String::new())
    };
    let grown = facts.grown.map_or_else(String::new, |rows| format!("model.resize_token_embeddings({rows})\n"));
    let config = if quantized.is_empty() { "" } else { ", BitsAndBytesConfig" };
    let code = format!(
        "{import}from peft import PeftModel\n\
         from transformers import AutoModelForCausalLM, AutoTokenizer{config}\n\n\
         base = {}\ntokenizer = AutoTokenizer.from_pretrained(\"adapter\")\n\
         model = AutoModelForCausalLM.from_pretrained(base{more}{quantized})\n{grown}\
         model = PeftModel.from_pretrained(model, \"adapter\")",
        python(&from),
    );
    let _ = write!(out, "\nWith PEFT, from the folder of this card:\n\n{}", block("python", &code));
    out
}

/// A model of its own needs no base.
fn whole(facts: &Facts) -> String {
    let folder = here(facts.run).map_or_else(|| "RUN".to_owned(), |p| p.join("/"));
    let command = format!("setaccio generate --model {} --prompt \"...\"", shell::word(&format!("{folder}/model")));
    format!(
        "## How to load it\n\n{}\nWith transformers, from the folder of this card:\n\n```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
         tokenizer = AutoTokenizer.from_pretrained(\"model\")\nmodel = AutoModelForCausalLM.from_pretrained(\"model\")\n\
         ```\n",
        block("", &command),
    )
}

/// A Python string; JSON's escapes are Python's, too.
fn python(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
