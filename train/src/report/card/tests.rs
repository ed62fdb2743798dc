//! Cards; `SETACCIO_CARDS=DIR` writes them there for `huggingface_hub` to read.

use super::*;
use crate::{
    recipe::AdapterType,
    report::{front::license, lock::tests::lock},
};

fn line(step: u64, values: &[(&str, f64)]) -> Line {
    Line { step, values: values.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect(), samples: Vec::new() }
}

fn lines() -> Vec<Line> {
    vec![
        line(0, &[("eval_loss", 2.5), ("eval_mean_token_accuracy", 0.4)]),
        line(10, &[("loss", 2.25), ("num_tokens", 10_240.0), ("tokens_per_second", 1234.5), ("peak_memory_gib", 1.5)]),
        line(20, &[("loss", 1.75), ("num_tokens", 20_480.0), ("tokens_per_second", 1334.5)]),
        line(20, &[("eval_loss", 1.5), ("eval_mean_token_accuracy", 0.625)]),
        line(30, &[("eval_loss", 1.625)]),
    ]
}

fn card(name: &str, lock: &RunLock, lines: &[Line], run: &str) -> String {
    let facts = Facts {
        lock,
        lines,
        run: Path::new(run),
        trainable: 4_884_480,
        parameters: [134_515_008; 2],
        steps: 30,
        planned: 30,
        early: false,
        best: None,
        epochs: 1.0 / 3.0,
        rows: [1190, 3, 10],
        tokens: [10_240, 4096],
        told: &[],
        grown: None,
    };
    let text = markdown(&facts);
    if let Ok(folder) = std::env::var("SETACCIO_CARDS") {
        std::fs::write(format!("{folder}/{name}.md"), &text).unwrap_or_else(|e| panic!("{e}"));
    }
    text
}

fn llama() -> RunLock {
    let mut lock = lock();
    lock.recipe.title = "ANITA: perch\u{e9} no? \"yes\" | <b>#1</b>".into();
    lock.recipe.model.repo = "meta-llama/Meta-Llama-3-8B-Instruct".into();
    lock.recipe.model.revision = "main".into();
    lock.recipe.model.path = "models/Meta Llama".into();
    lock.recipe.model.license = "llama3".into();
    lock.recipe.model.quantization = Quantization::Nf4;
    lock.recipe.lora.dtype = AdapterType::Bf16;
    lock.data[1].languages = vec!["it".into(), "no".into()];
    lock.made = vec![lock.base[0].clone()];
    lock
}

#[test]
fn the_card_says_what_the_run_was() {
    let text = card("llama", &llama(), &lines(), "runs/anita");
    for part in [
        "base_model: meta-llama/Meta-Llama-3-8B-Instruct\nbase_model_relation: adapter\nlicense: other\nlicense_name: ",
        "language:\n- it\n- \"no\"\ndatasets:\n- owner/a\n- owner/b\ntags:\n- setaccio\n- lora\n- qlora\n---\n",
        "# ANITA: perch\u{e9} no? \"yes\" | \\<b\\>#1\\</b\\>\n",
        "30 steps, training loss from 2.2500 to 1.7500, evaluation loss from 2.5000 to 1.6250",
        "1,190 rows with 10,240 tokens, of which 4,096 are learned: the assistant's turns",
        "3 rows were cut to 1,024 tokens, 10 were left out as too long. The run saw 20,480 tokens.",
        "| length | 30 steps, 0.33 passes over the rows |",
        "| rank, alpha | 16, 16 |",
        "setaccio generate --model 'models/Meta Llama' --adapter runs/anita/adapter --prompt",
        "AutoModelForCausalLM.from_pretrained(base, revision=\"main\",\n    quantization_config=",
        "[Title of a](<../../data/out/a/README.md>) | 1,200 train, 30 validation | cc-by-4.0 |",
        "| trained parameters | 4,884,480 beside 134,515,008 of the base (3.631%) |",
        "| learning rate | 2e-5, linear |",
        "| adapted layers | q_proj, k_proj,",
        "| 20 | 1.7500 | 1.5000 | 4.4817 | 62.5% |",
        "The least evaluation loss is 1.5000, after step 20.",
        "](loss.svg)",
        "- base model: llama3\n",
        "```\nsetaccio train pipelines/train/tiny.toml\n```",
        "candle 0.11",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
    for clock in ["1234", "1334", "second", "GiB"] {
        assert!(!text.contains(clock), "{clock} is by the clock");
    }
}

#[test]
fn what_is_not_known_is_said_and_not_invented() {
    let lock = lock();
    let text = card("tiny", &lock, &[line(1, &[("loss", 5.0)])], "runs/tiny");
    assert!(text.contains("\nlicense: unknown\n") && text.contains("**not stated in the recipe**"), "{text}");
    assert!(!text.contains("base_model") && text.contains("the tiny Llama in `base/`"), "{text}");
    assert!(
        text.contains("--model runs/tiny/base --adapter runs/tiny/adapter") && text.contains("base = \"base\""),
        "{text}"
    );
    assert!(text.contains("1 step, training loss from 5.0000 to 5.0000; not evaluated"), "{text}");
    let empty = card("empty", &lock, &[], "runs/tiny");
    assert!(empty.contains("0 steps; not evaluated"), "{empty}");
}

#[test]
fn no_path_of_the_machine_is_told() {
    let mut lock = lock();
    lock.recipe.model.path = "/home/me/Smol.gguf".into();
    lock.data[0].folder = "/home/me/data".into();
    lock.data[1].folder = "../data".into();
    let text = card("gguf", &lock, &lines(), "/home/me/run");
    assert!(!text.contains("/home") && !text.contains("](<"), "{text}");
    assert!(text.contains("--model MODEL --adapter RUN/adapter"), "{text}");
    assert!(text.contains("gguf_file=\"Smol.gguf\""), "{text}");
}

#[test]
fn licences_are_weighed() {
    let of = |base: &str, data: [&str; 2]| license(base, data.into_iter()).0;
    assert_eq!(of("apache-2.0", ["cc-by-4.0", "cc-by-nc-4.0"]), "cc-by-nc-4.0");
    assert_eq!(of("llama3", ["llama3", "llama3"]), "llama3");
    assert_eq!(of("llama3", ["mit", "mit"]), "other");
    assert_eq!(of("mit", ["other", "mit"]), "other");
    assert_eq!(of("", ["mit", "mit"]), "unknown");
    assert_eq!(of("mit", ["", "mit"]), "unknown");
}

#[test]
fn a_long_run_has_a_short_table() {
    let many: Vec<Line> = (1..=500).map(|i| line(i, &[("eval_loss", 1.0)])).collect();
    let text = results::section(&many);
    assert_eq!(text.matches("| 1.0000 |").count(), ROWS_AND_NO_MORE);
    assert!(text.contains("\n| 25 |") && text.contains("\n| 500 |"));
}

const ROWS_AND_NO_MORE: usize = 20;

#[test]
fn the_nastiest_names_add_nothing_to_a_card() {
    const NASTY: &str =
        "# H1 | a | **b** _i_ `c` <img src=x> ![i](http://x.example/i.png) [l](javascript:x) &lt; \n---\n\u{202e}";
    let named = |text: &str| {
        let mut lock = llama();
        let owned = || text.to_owned();
        lock.recipe.title = owned();
        (lock.recipe.model.repo, lock.recipe.model.revision) = (owned(), owned());
        (lock.recipe.model.path, lock.recipe.model.license) = (owned(), owned());
        lock.command = format!("setaccio train '{text}'");
        lock.data[0].title = owned();
        (lock.data[0].name, lock.data[0].license, lock.data[0].repos) = (owned(), owned(), vec![owned()]);
        lock.made[0].file = owned();
        card("nasty", &lock, &lines(), text)
    };
    let (tame, nasty) = (named("tame text"), named(NASTY));
    // Commands and code show a text as it is, between their fences.
    let outside = |card: &str| {
        let mut fenced = false;
        let keep = |line: &&str| {
            let fence = line.starts_with("```");
            fenced ^= fence;
            !fence && !fenced
        };
        let kinds = card.lines().filter(keep).map(|line| line.chars().next().filter(|c| "#|->!".contains(*c)));
        kinds.collect::<Vec<_>>()
    };
    assert_eq!(outside(&tame), outside(&nasty), "{nasty}");
    for line in nasty.lines() {
        let html = line.replace("\\<img", "").contains("<img");
        assert!(!html || line.contains('`') || line.contains('"') || line.contains("setaccio"), "{line}");
        assert!(!line.contains('\u{202e}'), "{line}");
    }
}
