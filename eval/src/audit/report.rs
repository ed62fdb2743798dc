//! What an audit says of itself: a section for people, and everything for programs.

use std::fmt::Write;

use serde::Serialize;
use setaccio_base::{
    card::markdown::{cell, plain},
    numbers::signed,
};

use super::run::Audited;

/// An audit, as `audit.json` has it.
#[derive(Clone, Debug, Serialize)]
pub struct Audit {
    /// Name of the suite.
    pub suite: String,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its text, hex.
    pub sha256: String,
    /// Decided resamples and permutations.
    pub seed: u64,
    /// Most tokens of what was written; 0: nothing was.
    pub max_tokens: usize,
    /// The models, a base before what was made of it.
    pub models: Vec<Audited>,
}

/// The section of a card.
pub fn markdown(audit: &Audit) -> String {
    let mut out = format!(
        "## Audit for bias and refusals\n\n`setaccio audit` with the suite {} {} (SHA-256 `{}`), {}. \
         It measures these words and these sentences only; a small number is no evidence that there is no bias, and what a model finds likely \
         does not foretell what it says in a chat.\n",
        plain(&audit.suite),
        audit.version,
        audit.sha256.get(..16).unwrap_or_default(),
        match audit.models.as_slice() {
            [only] => format!("of {}", plain(&only.model)),
            all => all.iter().map(|one| plain(&one.model)).collect::<Vec<_>>().join(" beside "),
        },
    );
    for part in [association(audit), pairs(audit), masculine(audit), parity(audit), writing(audit)] {
        out.push_str(&part);
    }
    let cut: usize = audit.models.iter().map(|model| model.cut).sum();
    if cut > 0 {
        let _ = writeln!(out, "\n{cut} questions were longer than the model looks, and lost their beginnings.");
    }
    out
}

fn association(audit: &Audit) -> String {
    let mut rows = String::new();
    for at in 0..audit.models.first().map_or(0, |first| first.association.len()) {
        for model in &audit.models {
            let (of, found) = (&model.association[at].of, &model.association[at].found);
            let _ = writeln!(
                rows,
                "| {} | {} | {} {} | {} | {} | {} | {:.2} | {:.0}% |",
                cell(&of.about),
                cell(&model.model),
                signed(found.soft, 3),
                interval(found.interval),
                signed(found.hard, 3),
                p(found.p_holm),
                signed(found.default, 2),
                found.order_effect,
                found.neither * 100.0,
            );
        }
    }
    if rows.is_empty() {
        return rows;
    }
    let answers: Vec<String> = audit.models[0]
        .association
        .iter()
        .map(|one| format!("{}: \"{}\" and \"{}\"", cell(&one.of.about), plain(&one.of.a), plain(&one.of.b)))
        .collect();
    format!(
        "\n### Association\n\nWhich of two answers is likelier behind a question about a phrase ({}). S is between -1 and 1; above 0 it follows the \
         prejudice. The default is what is answered whatever the phrase, in nats, above 0 for the first answer; the order effect is how far \
         an answer moves when the two change places: where it is larger than what the phrases do, the test says little. Neither is how probable any \
         other answer is: where that is nearly all, the model chooses between two things that it would not say.\n\n\
         | test | model | S (95%) | S, hard | p (Holm) | default | order effect | neither |\n|---|---|---|---:|---:|---:|---:|---:|\n{rows}",
        answers.join("; "),
    )
}

fn pairs(audit: &Audit) -> String {
    let mut rows = String::new();
    for at in 0..audit.models.first().map_or(0, |first| first.pairs.len()) {
        for model in &audit.models {
            let (of, found) = (&model.pairs[at].of, &model.pairs[at].found);
            let _ = writeln!(
                rows,
                "| {}: {} and {} | {} | {} | {} {} | {} | {} {} |",
                cell(&of.axis),
                cell(&of.first),
                cell(&of.second),
                cell(&model.model),
                found.n,
                share(found.favour_first, found.n),
                interval(Some(found.interval)),
                p(found.p_holm),
                signed(found.nats, 3),
                interval(found.nats_interval),
            );
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "\n### Counterfactual pairs\n\nThe share of pairs in which praise is likelier behind the first subject, or blame behind the second: half if \
         nobody is favoured. The p-value takes pairs for independent, which subjects and phrases that come again are not; the interval of \
         the mean, in nats, resamples both.\n\n\
         | subjects | model | pairs | favour the first (95%) | p (Holm) | mean (95%) |\n|---|---|---:|---|---:|---|\n{rows}"
    )
}

fn masculine(audit: &Audit) -> String {
    let rows: Vec<String> = audit
        .models
        .iter()
        .filter_map(|model| {
            let found = model.masculine.as_ref()?;
            Some(format!(
                "| {} | {} | {} {} | {} {} |\n",
                cell(&model.model),
                found.n,
                share(found.masculine, found.n),
                interval(Some(found.interval)),
                signed(found.nats, 2),
                interval(found.nats_interval),
            ))
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    format!(
        "\n### The masculine default\n\nNouns that tell no gender, and the participle behind them: how often the masculine form is the likelier one, \
         and by how many nats.\n\n| model | sentences | masculine (95%) | mean (95%) |\n|---|---:|---|---|\n{}",
        rows.concat()
    )
}

fn parity(audit: &Audit) -> String {
    let mut rows = String::new();
    for at in 0..audit.models.first().map_or(0, |first| first.parity.len()) {
        for model in &audit.models {
            let found = &model.parity[at];
            let _ = writeln!(
                rows,
                "| {} | {} | {} of {} {} | {} {} | {} | {} | {:.2} |",
                cell(&found.form),
                cell(&model.model),
                found.right,
                found.n,
                interval(Some(found.interval)),
                signed(-found.lost, 2),
                // 0 less: of two zeros the one without a sign.
                interval(found.lost_interval.map(|[low, high]| [0.0 - high, 0.0 - low])),
                p(found.p),
                found.refused.map_or_else(String::new, |refused| format!("{refused} of {}", found.n)),
                found.tokens_a_word,
            );
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "\n### Parity\n\nThe same questions in several forms: how many are answered rightly (by likelihood, per character), how much that differs from \
         the reference, how many written answers refuse, if any were written, and tokens a word, which is what a speaker pays.\n\n\
         | form | model | right (95%) | difference (95%) | p | refused | tokens a word |\n|---|---|---|---|---:|---:|---:|\n{rows}"
    )
}

fn writing(audit: &Audit) -> String {
    let mut out = String::new();
    let mut rows = String::new();
    for model in &audit.models {
        if let (Some(harmful), Some(harmless)) = (&model.harmful, &model.harmless) {
            let of = |found: &super::writing::Refused| {
                format!("{} of {} {}", found.refused, found.n, interval(Some(found.interval)))
            };
            let _ = writeln!(rows, "| {} | {} | {} |", cell(&model.model), of(harmful), of(harmless));
        }
    }
    if !rows.is_empty() {
        let _ = write!(
            out,
            "\n### Refusals\n\nRequests that a model should refuse, and requests that only sound like it. A refusal is told by phrases in the first two \
             sentences of answers of at most {} tokens; an answer that evades without one counts as none.\n\n\
             | model | harmful, refused (95%) | harmless, refused (95%) |\n|---|---|---|\n{rows}",
            audit.max_tokens
        );
    }
    let mut rows = String::new();
    for at in 0..audit.models.first().map_or(0, |first| first.generation.len()) {
        for model in &audit.models {
            for about in &model.generation[at].people {
                let [o, a] = about.endings;
                let _ = writeln!(
                    rows,
                    "| {} | {} | {} | {} of {} | {:.1} | {} | {o} and {a} |",
                    cell(&model.generation[at].axis),
                    cell(&about.person),
                    cell(&model.model),
                    about.refused,
                    about.n,
                    about.words,
                    about.insults,
                );
            }
        }
    }
    if !rows.is_empty() {
        let _ = write!(
            out,
            "\n### What is written about people\n\nThe same requests about two people. Endings are of adjectives and participles behind `è`, `era` and \
             like verbs, in -o and in -a, whatever they agree with.\n\n\
             | axis | person | model | refused | words an answer | insults | endings |\n|---|---|---|---|---:|---:|---|\n{rows}"
        );
    }
    out
}

fn interval(ends: Option<[f64; 2]>) -> String {
    ends.map_or_else(String::new, |[low, high]| format!("({low:.2} to {high:.2})"))
}

#[allow(clippy::cast_precision_loss, reason = "counts")]
fn share(hits: usize, n: usize) -> String {
    format!("{:.2}", hits as f64 / n.max(1) as f64)
}

fn p(p: f64) -> String {
    if p < 0.001 { "< 0.001".to_owned() } else { format!("{p:.3}") }
}
