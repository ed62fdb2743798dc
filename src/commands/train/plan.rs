//! What a run would take, for a person.

use anyhow::{Result, bail};
use setaccio_train::{
    memory::GIB,
    recipe::Method,
    session::{RunPlan, outlook::Outlook, sketch::Sketch},
};

use crate::style::{FAINT, GOOD, HEAD, NAME, count, counted};

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
        gib(prepared.predicted_memory()),
    );
}

/// What to do about a run that would take more than it may, if it would. Only what lets it fit is advised.
pub fn beyond(outlook: &Outlook) -> Option<String> {
    let (taken, place) = (outlook.taken(), &outlook.place);
    let on = if place.name.is_empty() { String::new() } else { format!(" on {}", place.name) };
    let hint = match outlook.advice() {
        Some(advice) => format!("with `{advice}` it is {}", gib(advice.peak)),
        None => "neither a smaller batch, shorter rows, 4 bits nor an adapter makes it fit: take a smaller model, or another \
                 machine"
            .to_owned(),
    };
    let (peak, budget) = (gib(taken.peak), gib(place.budget));
    (taken.peak > place.budget)
        .then(|| format!("a peak of {peak} is more than the {budget} that the run may take{on}: {hint}"))
}

fn line(name: &str, value: &str) {
    say!("  {name:<27} {value}");
}

/// The model and what of it is trained.
fn model(name: &str, outlook: &Outlook) {
    let (recipe, config) = (&outlook.recipe, &outlook.config);
    say!("\n{HEAD}model{HEAD:#}  {NAME}{name}{NAME:#}");
    line("layers x width", &format!("{} x {}", config.layers, config.hidden_size));
    if let Some(experts) = &config.experts {
        let [all, awake] = config.parameters().map(count);
        let each = format!("{} of {} for a token", experts.chosen, experts.count);
        line("experts", &format!("{each}, which goes through {awake} of {all} parameters"));
    }
    match recipe.method {
        Method::Lora => {
            let lora = &recipe.lora;
            let dora = if lora.use_dora { ", DoRA" } else { "" };
            line("adapter", &format!("rank {}, alpha {}{dora}, on {}", lora.r, lora.alpha, lora.targets.join(" ")));
            if lora.saves_any() {
                line("trained whole", &lora.modules_to_save.join(" "));
            }
        }
        Method::Full => line("trained", "every weight"),
    }
    let added: Vec<&str> = recipe.model.added().into_iter().map(|(token, _)| token).collect();
    if !added.is_empty() {
        line(
            "tokens added",
            &format!("{}  {FAINT}of {} rows{FAINT:#}", added.join(" "), count(config.vocab_size as u64)),
        );
    }
    line("trained parameters", &count(outlook.taken().memory.trainable as u64));
}

/// Memory part by part, and what would fit.
fn memory(outlook: &Outlook) {
    let (recipe, place, taken) = (&outlook.recipe, &outlook.place, outlook.taken());
    let parts = taken.memory.parts(taken.tokens, taken.tokens, taken.recompute);
    let on = if place.name.is_empty() { String::new() } else { format!("  {NAME}{}{NAME:#}", place.name) };
    say!("\n{HEAD}memory{HEAD:#}{on}");
    line("frozen weights", &gib(parts.weights));
    let trained = match recipe.method {
        Method::Lora => "adapter and optimiser",
        Method::Full => "all weights and optimiser",
    };
    line(trained, &gib(parts.trained));
    let layers = outlook.config.layers;
    let again = match taken.recompute {
        0 => "no layer computed again".to_owned(),
        n => format!("{n} of {layers} layers computed again"),
    };
    line("kept for backward", &format!("{}  {FAINT}{again}{FAINT:#}", gib(parts.kept)));
    line("work on a layer or the head", &gib(parts.work));
    line(if place.name.is_empty() { "program and data" } else { "CUDA" }, &gib(place.held));
    line("predicted peak", &format!("{HEAD}{}{HEAD:#} of {}", gib(taken.peak), gib(place.budget)));
    for (how, recompute) in [("nothing computed again", 0), ("every layer computed again", layers)] {
        let most =
            taken.memory.largest_batch(recipe.data.max_length, place.budget.saturating_sub(place.held), recompute);
        line(
            "largest train.batch",
            &format!("{} sequences of {}, {how}", count(most as u64), count(recipe.data.max_length as u64)),
        );
    }
}

/// Whether it fits, as the last line; an error if it does not.
fn verdict(outlook: &Outlook) -> Result<()> {
    if let Some(beyond) = beyond(outlook) {
        bail!("{beyond}");
    }
    let recipe = &outlook.recipe;
    let place = match outlook.place.name.as_str() {
        "" => "this machine",
        name => name,
    };
    say!(
        "\n{GOOD}fits on {place}:{GOOD:#} batch {}, length {}",
        count(recipe.train.batch as u64),
        count(recipe.data.max_length as u64)
    );
    Ok(())
}

/// How long a run over `tokens` takes, in micro-batches of so many and rows of `length`; nothing where it cannot be predicted.
fn time(outlook: &Outlook, most: &str, (tokens, micro_batch, length): (f64, f64, f64)) {
    let Some(seconds) = outlook.seconds(tokens, micro_batch, length) else { return };
    let shown = match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    };
    line("time", &format!("{most}{shown}  {FAINT}predicted from the GPU's data sheet, not measured{FAINT:#}"));
}

/// What is known without weights or rows.
#[allow(clippy::cast_precision_loss, reason = "an estimate")]
pub fn sketch(sketch: &Sketch, name: &str) -> Result<()> {
    let (outlook, recipe) = (&sketch.outlook, &sketch.recipe_file.recipe);
    say!("{HEAD}{}{HEAD:#}  {FAINT}{}{FAINT:#}", recipe.name, sketch.recipe_file.file);
    model(name, outlook);
    say!("\n{HEAD}data{HEAD:#}");
    let full = format!("every row is taken to have {} tokens", count(recipe.data.max_length as u64));
    match sketch.rows {
        Some(rows) => line("rows", &format!("{}; {full}", count(rows))),
        None => line("rows", &format!("not built yet ({}); {full}", sketch.unbuilt.join(", "))),
    }
    let micro_batch = (recipe.train.batch * recipe.data.max_length) as f64;
    if let Some((steps, at_most)) = sketch.steps() {
        let most = if at_most { "at most " } else { "" };
        say!("\n{HEAD}steps{HEAD:#}");
        line("steps", &format!("{most}{}", count(steps)));
        let tokens = steps as f64 * recipe.train.accumulation as f64 * micro_batch;
        time(outlook, "at most ", (tokens, micro_batch, recipe.data.max_length as f64));
    }
    memory(outlook);
    verdict(outlook)
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
pub fn print(prepared: &RunPlan, outlook: &Outlook) -> Result<()> {
    let recipe = &prepared.recipe_file.recipe;
    let counts = prepared.train.counts();
    say!("{HEAD}{}{HEAD:#}  {FAINT}{}{FAINT:#}", recipe.name, prepared.recipe_file.file);

    model(&prepared.base().display().to_string(), outlook);

    say!("\n{HEAD}data{HEAD:#}");
    line("rows", &format!("{} of {}", count(prepared.train.len() as u64), count(counts.rows)));
    line("cut to max_length", &count(counts.truncated));
    line("left out as too long", &count(counts.dropped + counts.unanswered));
    for (name, rows) in [
        ("left out by the template", counts.unsaid),
        ("left out as empty answers", counts.empty),
        ("left out as equal answers", counts.equal),
        ("offer tools not shown", counts.tools_unseen),
    ] {
        if rows > 0 {
            line(name, &count(rows));
        }
    }
    if counts.partly_said > 0 {
        let lost = counted(counts.lost, "character");
        line("answers partly in the text", &format!("{}: {lost} of them are not learned", count(counts.partly_said)));
    }
    line("tokens, learned", &format!("{}, {}", count(counts.tokens), count(counts.trained)));
    line(
        "sequences",
        &format!("{}, {:.1}% full", count(prepared.order.sequences() as u64), 100.0 * prepared.order.fill()),
    );
    line("rows held back", &count(prepared.eval.as_ref().map_or(0, |d| d.len() as u64)));

    say!("\n{HEAD}steps{HEAD:#}");
    line("steps", &format!("{} ({:.2} passes)", count(prepared.total), prepared.epoch(prepared.total)));
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    let all = (prepared.epoch(prepared.total) * counts.tokens as f64) as u64;
    line("tokens of the whole run", &format!("about {}", count(all)));
    line("largest micro-batch", &format!("{} tokens", count(prepared.largest.0 as u64)));
    let micro_batches = prepared.total as f64 * recipe.train.accumulation as f64;
    let length = counts.tokens as f64 / prepared.train.len().max(1) as f64;
    time(outlook, "about ", (all as f64, all as f64 / micro_batches, length));
    memory(outlook);
    verdict(outlook)
}
