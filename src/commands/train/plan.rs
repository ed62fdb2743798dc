//! What a run would take, for a person.

use setaccio_train::{
    memory::GIB,
    recipe::{Method, Optimizer, Recompute},
    session::RunPlan,
};

use crate::style::{FAINT, HEAD, NAME, count, counted};

/// A size in the unit that suits it.
#[allow(clippy::cast_precision_loss, reason = "shown to three digits")]
pub fn gib(bytes: usize) -> String {
    let size = bytes as f64 / GIB;
    if size < 0.1 { format!("{:.1} MiB", size * 1024.0) } else { format!("{size:.2} GiB") }
}

/// One line before a run starts.
pub fn headline(prepared: &RunPlan) {
    let recipe = &prepared.recipe_file.recipe;
    say!(
        "{NAME}{}{NAME:#}: {} rows, {} steps of {} x {} sequences, {} trained parameters, about {} of memory",
        recipe.name,
        count(prepared.train.len() as u64),
        count(prepared.total),
        recipe.train.batch,
        recipe.train.accumulation,
        count(prepared.memory.trainable as u64),
        gib(predicted(prepared)),
    );
}

/// What to do about a run that would take more than it may, if it would.
pub fn beyond(prepared: &RunPlan) -> Option<String> {
    let (predicted, budget) = (predicted(prepared), prepared.budget);
    let recipe = &prepared.recipe_file.recipe;
    let hint = match recipe.train.recompute {
        Recompute::None => "set train.recompute = \"auto\", or lower train.batch",
        _ if recipe.method == Method::Full && recipe.train.optimizer == Optimizer::Adamw => {
            "set train.optimizer = \"adamw_8bit\", lower train.batch, or train an adapter (method = \"lora\")"
        }
        _ if recipe.method == Method::Full => {
            "lower train.batch or data.max_length, or train an adapter (method = \"lora\")"
        }
        _ => "lower train.batch or data.max_length, or quantise the base (model.quantization = \"nf4\")",
    };
    (predicted > budget)
        .then(|| format!("a peak of {} is more than the {} that the run may take: {hint}", gib(predicted), gib(budget)))
}

/// Peak of the run, with what the program holds before it starts.
fn predicted(prepared: &RunPlan) -> usize {
    let (tokens, targets) = prepared.largest;
    prepared.memory.parts(tokens, targets, prepared.recompute).total() + prepared.base_memory
}

pub fn print(prepared: &RunPlan) {
    let (recipe, config) = (&prepared.recipe_file.recipe, prepared.files.config());
    let counts = prepared.train.counts();
    let (tokens, targets) = prepared.largest;
    let line = |name: &str, value: String| say!("  {name:<27} {value}");
    say!("{HEAD}{}{HEAD:#}  {FAINT}{}{FAINT:#}", recipe.name, prepared.recipe_file.file);

    say!("\n{HEAD}model{HEAD:#}  {NAME}{}{NAME:#}", prepared.base().display());
    line("layers x width", format!("{} x {}", config.layers, config.hidden_size));
    match recipe.method {
        Method::Lora => line(
            "adapter",
            format!("rank {}, alpha {}, on {}", recipe.lora.r, recipe.lora.alpha, recipe.lora.targets.join(" ")),
        ),
        Method::Full => line("trained", "every weight".to_owned()),
    }
    line("trained parameters", count(prepared.memory.trainable as u64));

    say!("\n{HEAD}data{HEAD:#}");
    line("rows", format!("{} of {}", count(prepared.train.len() as u64), count(counts.rows)));
    line("cut to max_length", count(counts.truncated));
    line("left out as too long", count(counts.dropped + counts.unanswered));
    for (name, rows) in [
        ("left out by the template", counts.unsaid),
        ("left out as empty answers", counts.empty),
        ("left out as equal answers", counts.equal),
        ("offer tools not shown", counts.tools_unseen),
    ] {
        if rows > 0 {
            line(name, count(rows));
        }
    }
    if counts.partly_said > 0 {
        let lost = counted(counts.lost, "character");
        line("answers partly in the text", format!("{}: {lost} of them are not learned", count(counts.partly_said)));
    }
    line("tokens, learned", format!("{}, {}", count(counts.tokens), count(counts.trained)));
    line(
        "sequences",
        format!("{}, {:.1}% full", count(prepared.order.sequences() as u64), 100.0 * prepared.order.fill()),
    );
    line("rows held back", count(prepared.eval.as_ref().map_or(0, |d| d.len() as u64)));

    say!("\n{HEAD}steps{HEAD:#}");
    line("steps", format!("{} ({:.2} passes)", count(prepared.total), prepared.epoch(prepared.total)));
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    let all = (prepared.epoch(prepared.total) * counts.tokens as f64) as u64;
    line("tokens of the whole run", format!("about {}", count(all)));
    line("largest micro-batch", format!("{} tokens", count(tokens as u64)));

    let parts = prepared.memory.parts(tokens, targets, prepared.recompute);
    say!("\n{HEAD}memory{HEAD:#}");
    line("frozen weights", gib(parts.weights));
    let trained = match recipe.method {
        Method::Lora => "adapter and optimiser",
        Method::Full => "all weights and optimiser",
    };
    line(trained, gib(parts.trained));
    let again = match prepared.recompute {
        0 => "no layer computed again".to_owned(),
        n => format!("{n} of {} layers computed again", config.layers),
    };
    line("kept for backward", format!("{}  {FAINT}{again}{FAINT:#}", gib(parts.kept)));
    line("work on a layer or the head", gib(parts.work));
    line("program and data", gib(prepared.base_memory));
    line("predicted peak", format!("{HEAD}{}{HEAD:#} of {}", gib(predicted(prepared)), gib(prepared.budget)));
    for (how, recompute) in [("nothing computed again", 0), ("every layer computed again", config.layers)] {
        let budget = prepared.budget.saturating_sub(prepared.base_memory);
        let most = prepared.memory.largest_batch(recipe.data.max_length, budget, recompute);
        line(
            "largest train.batch",
            format!("{} sequences of {}, {how}", count(most as u64), count(recipe.data.max_length as u64)),
        );
    }
    if let Some(beyond) = beyond(prepared) {
        say!("\n{beyond}");
    }
}
