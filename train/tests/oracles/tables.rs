//! Adapters upon embedding and head, and modules that are saved whole: tests/oracles/train/tables.py.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde_json::Value;
use setaccio_train::{
    formats::{
        peft::{self, AdapterFile, Beside},
        safetensors::Safetensors,
    },
    kernels,
    model::{
        config::Config,
        context::Pass,
        grown::Grown,
        llama::{Llama, Training},
        load::{self, LoadOptions, Source, Trainable},
    },
    random::{key, uniform_vec},
    recipe::{EMBEDDING, HEAD, Lora, TABLES},
    tokenizer::{Tokens, tiny},
    trainer::Trainer,
};

use crate::{
    families::{ANGLES, compare, config},
    folders::{self, adapter_config, merge_into, open, same_bytes},
    formula::{
        FRESH, Formula, TRAINED, batch, close, documents, elements, model_folder, numbers, oracle, oracle_out, recipe,
        train_sum,
    },
    logits::logits,
    peft::{base, oracles},
    sft,
};

const ADAPTER: u64 = 2;

/// Every case: its name, which, and what the oracle says.
fn cases() -> Vec<(String, String, Value)> {
    let all = oracle("tables.json")["cases"].as_object().unwrap().clone();
    let of = |(name, cases): (String, Value)| {
        let cases = cases.as_object().unwrap().clone();
        cases.into_iter().map(move |(which, case)| (name.clone(), which, case))
    };
    all.into_iter().flat_map(of).collect()
}

/// What a case asks a recipe for, as a run says it once it knows the model.
fn asked(which: &str, config: &Config, of: Lora) -> Lora {
    let mut lora = Lora { targets: config.targets(), ..of };
    match which {
        "targets" | "grown_targets" => lora.targets.extend(TABLES.map(String::from)),
        "grown_stay" => {}
        "grown" => lora.modules_to_save = TABLES.map(String::from).to_vec(),
        _ => lora.modules_to_save = TABLES.into_iter().chain(["norm"]).map(String::from).collect(),
    }
    if config.tie_word_embeddings {
        lora.tie();
    }
    lora
}

/// A model with an adapter by formula; what is saved whole is `moved` times the base's.
fn model((config, source): (&Config, &dyn Source), lora: &Lora, (dtype, b, moved): (DType, f32, f64)) -> Llama {
    let options = LoadOptions { dtype, trainable: Trainable::Adapter(lora.clone(), 0), ..LoadOptions::default() };
    let model = load::model(config, source, &options, &|_| true).unwrap();
    for param in model.params() {
        let value = if param.name.contains(".lora_") {
            let (n, dims) = (param.value.elem_count(), param.value.dims());
            #[allow(clippy::cast_possible_truncation, reason = "rounded once, as the oracle does")]
            let scale = if param.name.ends_with("lora_A") { (1.0 / (dims[1] as f64).sqrt()) as f32 } else { b };
            Tensor::from_vec(uniform_vec(key(ADAPTER, &param.name), n, scale), dims, &Device::Cpu).unwrap()
        } else {
            (&param.value * moved).unwrap()
        };
        param.put(&value).unwrap();
    }
    model
}

#[test]
fn gradients_equal_autograd() {
    for (name, which, want) in cases() {
        let config = config(&want);
        let model = model((&config, &Formula), &asked(&which, &config, recipe()), (DType::F64, TRAINED, 1.25));
        compare(&format!("{name} {which}"), &model, &want["loss"], &want["gradients"], ANGLES);
    }
}

#[test]
fn first_losses_equal_trl() {
    let mut seen = 0;
    for (name, which, want) in cases() {
        // TRL reads the head's weight past an adapter, and refuses one; PEFT steps one storage as two parameters.
        if want["sft"].is_null() {
            continue;
        }
        let config = config(&want);
        let mut lora = asked(&which, &config, Lora { r: 8, alpha: 16.0, ..Lora::default() });
        lora.targets.retain(|target| target != TABLES[1]);
        let mut trainer =
            Trainer::new(model((&config, &Formula), &lora, (DType::F32, FRESH, 1.0)), &sft::recipe(), 50, 0).unwrap();
        let [losses, norms] = ["loss", "grad_norm"].map(|field| numbers(&want["sft"][field]));
        assert_eq!(losses.len(), 5);
        for (step, (loss, norm)) in (0..).zip(losses.iter().zip(&norms)) {
            let taken = trainer.step(&sft::batches(step, 1, 8), &|| false).unwrap();
            close(&format!("{name} {which}, step {step}"), taken.loss(), *loss, 2e-6, 0.0);
            close(&format!("{name} {which}, step {step}: norm"), taken.grad_norm, *norm, 1e-4, 0.0);
        }
        seen += 1;
    }
    assert!(seen > 6);
}

/// Dropout before the head's adapter has another mask in each pass, the same forward and backward.
#[test]
fn gradients_equal_finite_differences_with_dropout() {
    for (name, which, want) in cases() {
        if which != "targets" {
            continue;
        }
        let config = config(&want);
        let lora = asked(&which, &config, Lora { dropout: 0.3, ..recipe() });
        let model = model((&config, &Formula), &lora, (DType::F64, TRAINED, 1.0));
        let batch = batch(&documents(), 3);
        let pass = Pass { seed: 42, step: 3, micro: 0 };
        let training = Training { pass, recompute: 1, neftune_alpha: 0.0 };
        let loss = || train_sum(&model, &batch, &training, 0.1).nll * 0.1;
        loss();
        let tables: Vec<_> = model.params().into_iter().filter(|p| !p.name.contains(".layers.")).collect();
        assert_eq!(tables.len(), if config.tie_word_embeddings { 2 } else { 4 });
        let gradients: Vec<Vec<f64>> = tables.iter().map(|p| elements(&p.grad)).collect();
        for (param, gradient) in tables.iter().zip(gradients) {
            // Rows of tokens that are not there have no gradient through an embedding.
            let strongest = |a: &usize, b: &usize| gradient[*a].abs().total_cmp(&gradient[*b].abs());
            let at = (0..gradient.len()).max_by(strongest).unwrap();
            let (step, mut change) = (1e-5, vec![0.0_f64; gradient.len()]);
            change[at] = step;
            let change = Tensor::from_vec(change, param.value.shape(), &Device::Cpu).unwrap();
            kernels::add_(&param.value, &change, 1.0).unwrap();
            let above = loss();
            kernels::add_(&param.value, &change, -2.0).unwrap();
            let below = loss();
            kernels::add_(&param.value, &change, 1.0).unwrap();
            close(&format!("{name}: {}", param.name), gradient[at], (above - below) / (2.0 * step), 1e-6, 1e-9);
        }
    }
}

/// Rows of a vocabulary that has grown.
const GROWN: usize = 99;

/// Cases of models whose vocabulary has grown, likewise.
fn grown() -> Vec<(String, String, Value)> {
    let all = oracle("tables.json")["grown"].as_object().unwrap().clone();
    let ways = ["grown", "grown_targets", "grown_stay"];
    let of = |(name, case): (String, Value)| ways.map(|which| (name.clone(), which.to_owned(), case.clone()));
    all.into_iter().flat_map(of).collect()
}

/// The model of a case, its adapter and both as one, in folders of `out`.
fn files(which: &str, json: &Value, out: &Path) {
    folders::write(json, out, |files, _| {
        let lora = asked(which, files.config(), recipe());
        let is_grown = which.starts_with("grown");
        let vocab = if is_grown { GROWN } else { files.config().vocab_size };
        let wide = Config { vocab_size: vocab, ..files.config().clone() };
        let source = Grown { source: &Formula, config: files.config(), vocab };
        let model = model((&wide, &source), &lora, (DType::F32, TRAINED, 1.25));
        let beside = Beside {
            modules_to_save: lora.modules_to_save.clone(),
            tied: files.config().tie_word_embeddings,
            dora: lora.use_dora,
        };
        AdapterFile::of(adapter_config(lora.targets, beside), &model, is_grown).unwrap()
    });
}

#[test]
#[ignore = "writes the folders that tables.py reads"]
fn write_for_peft() {
    for (name, which, case) in cases().into_iter().chain(grown()) {
        files(&which, &case["config"], &oracle_out().join(format!("{name}-{which}")));
    }
    let (base, grown) = tokens();
    base.save(&oracle_out().join("tokens/base")).unwrap();
    grown.save(&oracle_out().join("tokens/grown")).unwrap();
}

/// A tokenizer, and the same with tokens added.
fn tokens() -> (Tokens, Tokens) {
    let base = tiny::train(["Nel mezzo del cammin di nostra vita", "terzina"].into_iter(), 300).unwrap();
    let grown = base.with_added(&[("terzina", false), ("<|verso|>", true)]).unwrap();
    (base, grown)
}

#[test]
fn added_tokens_are_those_of_transformers() {
    let want = oracle("tables.json")["tokens"].clone();
    let (_, grown) = tokens();
    let ids = grown.encode(want["text"].as_str().unwrap()).unwrap().ids;
    assert_eq!(serde_json::to_value(&ids).unwrap(), want["ids"]);
    assert_eq!(grown.decode(&ids).unwrap(), want["shown"].as_str().unwrap());
}

/// Where transformers draws around the mean, ours takes it.
#[test]
fn new_rows_are_those_of_transformers_without_the_draw() {
    for (name, case) in oracle("tables.json")["grown"].as_object().unwrap() {
        let config = config(case);
        let source = Grown { source: &Formula, config: &config, vocab: GROWN };
        for (tensor, theirs) in [("model.embed_tokens.weight", "embedding"), ("lm_head.weight", "head")] {
            if theirs == "head" && config.tie_word_embeddings {
                continue;
            }
            let table = source.tensor(tensor, &[GROWN, config.hidden_size]).unwrap();
            let (old, new) = (elements(&table.narrow(0, 0, 96).unwrap()), elements(&table.narrow(0, 96, 3).unwrap()));
            assert_eq!(old, elements(&Formula.tensor(tensor, &[96, config.hidden_size]).unwrap()));
            for (i, want) in numbers(&case[theirs]).iter().enumerate() {
                let mean = (0..96).map(|row| old[row * 64 + i]).sum::<f64>() / 96.0;
                for row in 0..3 {
                    close(&format!("{name} {theirs} {i}"), new[row * 64 + i], mean, 1e-6, 1e-8);
                }
                // Deviations are some 1e-5 here.
                close(&format!("{name} {theirs} {i}"), mean, *want, 0.0, 1e-4);
            }
        }
    }
}

/// What a folder's files say beside what PEFT says of them; gives the farthest logit by the largest.
fn says(what: &str, folder: &Path, theirs: &[f64]) -> f64 {
    let (base, mut adapted) = open(&folder.join("model"));
    let read = peft::load(&folder.join("adapter")).unwrap();
    read.fits(base.config(), folder).unwrap();
    read.attach(&mut adapted).unwrap();
    let (merged_files, merged) = open(&folder.join("merged"));
    assert_eq!(merged_files.config().tie_word_embeddings, read.applied(base.config()).tie_word_embeddings, "{what}");
    let size = theirs.iter().fold(1.0_f64, |top, x| top.max(x.abs()));
    let mut worst = 0.0_f64;
    let mut ids = documents()[0].clone();
    if theirs.len() == GROWN {
        ids.extend([96, 98]);
    }
    for (which, model) in [("with the adapter", adapted), ("merged", merged)] {
        let got = logits(&model, &ids);
        for (got, want) in got[got.len() - theirs.len()..].iter().zip(theirs) {
            close(&format!("{what} {which}"), *got, *want, 0.0, 2e-5 * size);
            worst = worst.max((got - want).abs() / size);
        }
    }
    worst
}

#[test]
fn files_and_merged_models_say_what_peft_says() {
    let ours = oracle("tables.json")["ours"].clone();
    for (name, which, case) in cases().into_iter().chain(grown()) {
        let want = &ours[format!("{name}-{which}")];
        let dir = tempfile::tempdir().unwrap();
        files(&which, &case["config"], dir.path());
        same_bytes(&want["sha256"], dir.path(), &format!("{name} {which}"));
        let theirs = numbers(&want["adapted"]);
        let own = if case["logits"].is_null() { theirs.clone() } else { numbers(&case["logits"]) };
        for (got, want) in own.iter().zip(&theirs) {
            close(&format!("{name} {which}: PEFT's own"), *got, *want, 1e-5, 1e-5);
        }
        let worst = says(&format!("{name} {which}"), dir.path(), &theirs);
        let apart = want["merged"].as_f64().unwrap();
        println!(
            "{name} {which}: at most {worst:.1e} of the largest logit from PEFT's, in transformers {apart:.1e} apart"
        );
    }
}

/// A run that goes on with an adapter has its values, and nothing of it is passed over.
#[test]
fn what_is_written_is_gone_on_with() {
    for (name, which, case) in cases() {
        let dir = tempfile::tempdir().unwrap();
        files(&which, &case["config"], dir.path());
        let config = config(&case);
        let lora = asked(&which, &config, recipe());
        let file = peft::load(&dir.path().join("adapter")).unwrap();
        let [trained, mut fresh] =
            [(TRAINED, 1.25), (FRESH, 1.0)].map(|(b, moved)| model((&config, &Formula), &lora, (DType::F32, b, moved)));
        file.copy_into(&mut fresh, dir.path()).unwrap();
        for (a, b) in fresh.params().iter().zip(trained.params()) {
            assert_eq!(elements(&a.value), elements(&b.value), "{name} {which}: {}", a.name);
        }
        let less = Lora {
            targets: lora.targets.iter().filter(|t| !TABLES.contains(&t.as_str())).cloned().collect(),
            modules_to_save: lora.modules_to_save.iter().filter(|m| !TABLES.contains(&m.as_str())).cloned().collect(),
            ..lora
        };
        let mut other = model((&config, &Formula), &less, (DType::F32, FRESH, 1.0));
        let error = file.copy_into(&mut other, dir.path()).unwrap_err().to_string();
        let said = match which.as_str() {
            "targets" => "has weights, and neither `lora.targets` nor `lora.modules_to_save` names it",
            _ => "is another weight than the base's, and the recipe does not train it",
        };
        assert!(error.contains(said), "{error}");
    }
}

/// Adapters that PEFT saved: upon both tables, with what it saves of their weights beside; whole ones; with a head that is the
/// embedding, which stays it or does not.
#[test]
fn what_peft_saved_says_what_peft_says() {
    let peft = oracle("tables.json")["peft"].as_object().unwrap().clone();
    assert_eq!(peft.len(), 7);
    for (name, want) in peft {
        let tied = name.contains("tied");
        let config = Config { tie_word_embeddings: tied, ..base() };
        let folder = oracles().join("tables_peft").join(&name);
        let file = peft::load(&folder).unwrap();
        file.fits(&config, &folder).unwrap();
        let dir = tempfile::tempdir().unwrap();
        model_folder(&config.to_json().unwrap(), &dir.path().join("model"));
        let (base, mut adapted) = open(&dir.path().join("model"));
        file.attach(&mut adapted).unwrap();
        let merged = dir.path().join("merged");
        merge_into(&base, &folder, &merged);
        let (merged_files, merged) = open(&merged);
        assert_eq!(merged_files.config().tie_word_embeddings, name.starts_with("tied"), "{name}");
        for (which, model) in [("with the adapter", &adapted), ("merged", &merged)] {
            let got = logits(model, &[1, 17, 5, 63, 30]);
            for (got, want) in got.iter().zip(numbers(&want)) {
                close(&format!("{name} {which}"), *got, want, 0.0, 2e-5);
            }
        }
        // What is written of it has the same tensors, bit by bit.
        let again = dir.path().join("again");
        peft::save(&again, &file).unwrap();
        let read = |folder: &Path| Safetensors::open(&folder.join(peft::WEIGHTS)).unwrap();
        let (theirs, ours) = (read(&folder), read(&again));
        assert!(theirs.names().eq(ours.names()), "{name}");
        for tensor in theirs.names() {
            let (a, b) = (theirs.load(tensor).unwrap(), ours.load(tensor).unwrap());
            assert!(a.dims() == b.dims() && elements(&a) == elements(&b), "{name}: {tensor}");
        }
        assert_eq!(peft::load(&again).unwrap().config, file.config, "{name}");
    }
}

#[test]
fn contradictions_are_named() {
    let config = Config { tie_word_embeddings: true, ..base() };
    let folder = oracles().join("tables_peft/tied_whole");
    let fault = |change: &dyn Fn(&mut AdapterFile)| {
        let mut file = peft::load(&folder).unwrap();
        change(&mut file);
        file.fits(&config, Path::new("here")).unwrap_err().to_string()
    };
    let moved = fault(&|file| {
        let head = file.saved.get_mut(HEAD).unwrap();
        *head = (&*head + 1.0).unwrap();
    });
    assert!(
        moved.contains("`lm_head`: is not the embedding's, and `ensure_weight_tying` says that both are one"),
        "{moved}"
    );
    let lost = fault(&|file| file.saved.clear());
    assert!(lost.contains("`modules_to_save` names it, but the adapter has no weights for it"), "{lost}");
    let other = fault(&|file| {
        let rows = file.saved[EMBEDDING].narrow(0, 0, 60).unwrap();
        file.saved.insert(EMBEDDING.into(), rows);
    });
    assert!(other.contains("the embedding has 60 rows, the base 64"), "{other}");
}
