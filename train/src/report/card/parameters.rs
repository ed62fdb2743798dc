//! How it was trained, row by row.

use std::fmt::Write;

use setaccio_base::{
    card::markdown::cell,
    numbers::{counted, grouped},
};

use super::{Facts, word};
use crate::{
    recipe::{Method, PreferenceLoss, Quantization, Recipe, Reference, Schedule, Task},
    report::lock::RunLock,
};

/// The section.
pub fn section(facts: &Facts) -> String {
    let RunLock { recipe, compute, instructions, legs, .. } = facts.lock;
    let Recipe { data, train, .. } = recipe;
    let mut rows: Vec<(&str, String)> = Vec::new();
    let mut row = |what, value: String| rows.push((what, value));
    let [all, awake] = facts.parameters;
    #[allow(clippy::cast_precision_loss, reason = "shown to three digits")]
    let share = facts.trainable as f64 / all.max(1) as f64 * 100.0;
    let trained = match recipe.method {
        Method::Lora => {
            format!("{} beside {} of the base ({share:.3}%)", grouped(facts.trainable), grouped(all))
        }
        Method::Full => format!("{}, all there are", grouped(facts.trainable)),
    };
    row("trained parameters", trained);
    if awake < all {
        row("experts", format!("a token goes through {} parameters of the base", grouped(awake)));
    }
    match recipe.method {
        Method::Lora => adapter(recipe, &mut row),
        Method::Full => row("kept and computed", "every weight in f32 between steps, moments beside it".into()),
    }
    match recipe.task {
        Task::Sft => row("trained on", word(&data.train_on)),
        Task::Text => row("trained on", "documents, every token".into()),
        Task::Preference => preference(recipe, &mut row),
    }
    row("longest row", format!("{} tokens; longer: {}", data.max_length, word(&data.overlong)));
    row("packing", word(&data.packing));
    let batches = if train.accumulation > 1 { format!("{} batches of ", train.accumulation) } else { String::new() };
    row("a step", batches + &counted(train.batch as u64, "sequence"));
    row("length", format!("{}, {:.2} passes over the rows", counted(facts.steps, "step"), facts.epochs));
    let warmup = match (train.warmup_steps, train.warmup_ratio) {
        (0, ratio) if ratio > 0.0 => format!(", warmup over {ratio} of the steps"),
        (0, _) => String::new(),
        (steps, _) => format!(", {} steps of warmup", grouped(steps)),
    };
    let legs: Vec<String> = legs
        .iter()
        .filter(|_| train.schedule != Schedule::Constant || train.warmup_ratio > 0.0)
        .map(|leg| format!("; until step {} that of a run of {}", grouped(leg.until), counted(leg.steps, "step")))
        .collect();
    row("learning rate", format!("{:?}, {}{warmup}{}", train.learning_rate, word(&train.schedule), legs.concat()));
    let [b1, b2] = train.betas;
    row(
        "optimiser",
        format!(
            "{}, betas {b1} and {b2}, eps {:?}, weight decay {}{}",
            word(&train.optimizer),
            train.eps,
            train.weight_decay,
            if recipe.method == Method::Full && train.weight_decay > 0.0 { " (norms and biases spared)" } else { "" }
        ),
    );
    row(
        "gradient clipped to",
        if train.max_grad_norm > 0.0 { train.max_grad_norm.to_string() } else { "nothing".into() },
    );
    if (train.lora_plus_ratio - 1.0).abs() > 0.0 {
        row("LoRA+ ratio", train.lora_plus_ratio.to_string());
    }
    if train.neftune_alpha > 0.0 {
        row("NEFTune alpha", train.neftune_alpha.to_string());
    }
    row("seed", recipe.seed.to_string());
    row("computed in", compute.clone());
    if !instructions.is_empty() {
        row("instructions", instructions.join("; then "));
    }
    let mut out = String::from("## Parameters\n\n| | |\n|---|---|\n");
    for (what, value) in rows {
        let _ = writeln!(out, "| {what} | {} |", cell(&value));
    }
    out
}

fn adapter(recipe: &Recipe, row: &mut impl FnMut(&'static str, String)) {
    let Recipe { model, lora, .. } = recipe;
    row(
        "base weights",
        match model.quantization {
            Quantization::Nf4 if model.double_quant => "NF4, scales quantised too".into(),
            Quantization::Nf4 => "NF4".into(),
            Quantization::None => "as stored".into(),
        },
    );
    let rank_stable = if lora.rslora { ", rank-stabilised" } else { "" };
    let dora = if lora.use_dora { ", lengths of rows trained too (DoRA)" } else { "" };
    row("rank, alpha", format!("{}, {}{rank_stable}{dora}", lora.r, lora.alpha));
    let added: Vec<String> = model.added().iter().map(|(token, _)| format!("`{token}`")).collect();
    if !added.is_empty() {
        let stay = if model.added_stay { ", whose rows stay what they began as" } else { "" };
        row("tokens added", format!("{}{stay}", added.join(" ")));
    }
    row("dropout", lora.dropout.to_string());
    row("adapted layers", lora.targets.join(", "));
    if lora.saves_any() {
        row("trained whole beside it", lora.modules_to_save.join(", "));
    }
    row("adapter starts as", word(&lora.init));
    row("adapter kept in", word(&lora.dtype));
}

fn preference(recipe: &Recipe, row: &mut impl FnMut(&'static str, String)) {
    let preference = recipe.preference();
    let loss = preference.loss;
    let terms: Vec<String> = preference.terms().iter().map(|t| format!("{} x {}", t.weight, word(&t.kind))).collect();
    let kinds = if preference.terms.is_empty() { String::new() } else { format!(": {}", terms.join(" + ")) };
    row("loss", format!("{}{kinds}", loss.name().to_uppercase()));
    row("beta", preference.beta().to_string());
    if preference.label_smoothing > 0.0 {
        row("label smoothing", preference.label_smoothing.to_string());
    }
    match loss {
        PreferenceLoss::Simpo => row("gamma, CPO alpha", format!("{}, {}", preference.gamma(), preference.cpo_alpha())),
        PreferenceLoss::Cpo => row("CPO alpha", preference.cpo_alpha().to_string()),
        PreferenceLoss::Kto => {
            let [good, bad] = preference.kto_weights();
            row("weights of desirable and undesirable answers", format!("{good}, {bad}"));
        }
        PreferenceLoss::Dpo | PreferenceLoss::Orpo => {}
    }
    if loss.needs_reference() {
        let start = match (recipe.method, recipe.lora.adapter.as_str()) {
            (Method::Full, _) => "the model before training",
            (Method::Lora, "") => "the base with adapter off",
            (Method::Lora, _) => "the base with the adapter that it went on with",
        };
        let when = if preference.reference == Reference::Precomputed { ", computed once" } else { "" };
        row("reference", format!("{start}{when}"));
    }
    let longest = match preference.max_prompt_length {
        0 => "whole".into(),
        n => format!("last {} tokens", grouped(n as u64)),
    };
    row("questions", longest);
}
