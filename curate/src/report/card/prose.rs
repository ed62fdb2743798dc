//! The card's text after the front matter.

use std::fmt::Write;

use setaccio_base::{
    card::{
        UNKNOWN_LICENSE,
        markdown::{block, cell, code, code_cell, paragraphs, plain, repository},
        strictest,
    },
    numbers::{counted, grouped, percent, tenths},
    row::Kind,
};
use setaccio_dataset::{
    columns::TOOLS,
    ledger::{EvaluationCount, Ledger, RepeatCount},
    lock::{ReadFrom, RecipeLock, RepoUse},
    recipe::{LeftOut, Recipe, Source},
};

use super::waterfall::Step;

/// Inputs that the card lists; a folder of texts has thousands, and the lock names each.
const MOST_INPUTS: usize = 50;

/// Everything below the fences.
pub fn body(ledger: &Ledger, lock: &RecipeLock, steps: &[Step]) -> String {
    let sections = [
        opening(ledger, lock),
        sources(ledger, lock),
        way(ledger, lock, steps),
        lengths(ledger),
        languages(ledger),
        limits(lock),
        rebuild(ledger, lock),
        citations(&lock.recipe),
    ];
    sections.iter().filter(|s| !s.is_empty()).flat_map(|s| ["\n", s]).collect()
}

fn opening(ledger: &Ledger, lock: &RecipeLock) -> String {
    let recipe = &lock.recipe;
    let rows: Vec<String> = ledger.splits.iter().map(|s| format!("{} {}", grouped(s.rows), s.split)).collect();
    let what = match recipe.kind {
        Kind::Text => "a document (`text`)",
        Kind::Chat => "a conversation (`messages`, a list of `role` and `content`)",
        Kind::Preference => {
            "a prompt with a preferred and a dispreferred answer (`prompt`, `chosen`, `rejected`, lists of `role` and `content`)"
        }
    };
    let mut out = format!("# {}\n\n{}\n\n", plain(&recipe.title), paragraphs(&recipe.about));
    let sampled = lock.sampled();
    if sampled.len() == recipe.source.len() {
        out.push_str(
            "> **These are the sample rows that come with Setaccio, not the full data.** They show what the recipe does. \
             Build it from the sources below for data to train on.\n\n",
        );
    } else if !sampled.is_empty() {
        let _ = write!(
            out,
            "> **The rows of {} are the samples that come with Setaccio, not the full data.** Build it from the \
             repositories that the table below names for data to train on.\n\n",
            listed(&sampled)
        );
    }
    let before = if ledger.repeats.is_some() { ", before it lost repeats" } else { "" };
    let _ = writeln!(
        out,
        "{} rows. Each is {what}, with `id` (a hash of the content{before}), `source` and `language`.{}",
        rows.join(", "),
        others(ledger, lock),
    );
    if let (Some(date), Some(_)) = (&recipe.output.date, &recipe.output.template) {
        let _ = writeln!(
            out,
            "\nIn {}, the chat template takes {} for the day, if it asks for one.",
            code(&recipe.output.rendered),
            plain(date)
        );
    }
    for note in &ledger.notes {
        let _ = writeln!(out, "\n{note}");
    }
    out
}

/// A sentence on the columns and fields that not every data set has.
fn others(ledger: &Ledger, lock: &RecipeLock) -> String {
    let fields: Vec<&str> = ledger.extras.fields().collect();
    let tools = ledger.extras.tools().then_some(TOOLS);
    let columns: Vec<&str> = tools.into_iter().chain(lock.recipe.kept().map(|(name, _)| name.as_str())).collect();
    let mut out = String::new();
    let output = &lock.recipe.output;
    if output.template.is_some() {
        let _ = write!(out, " {} is the row in the chat template.", code(&output.rendered));
    }
    if output.tokenizer.is_some() {
        out.push_str(" `tokens` is how many tokens its text has.");
    }
    if !fields.is_empty() {
        let _ = write!(out, " Messages also have {}, null where one has none.", listed(&fields));
    }
    if !columns.is_empty() {
        let _ = write!(out, " Rows also have {}.", listed(&columns));
    }
    out
}

fn sources(ledger: &Ledger, lock: &RecipeLock) -> String {
    let recipe = &lock.recipe;
    let mut out = String::from(
        "## Sources\n\n| source | repository | revision | licence | rows read | rows here |\n|---|---|---|---|---:|---:|\n",
    );
    for source in &recipe.source {
        let read = flow(ledger, "read", &source.name).0;
        let here = flow(ledger, "split", &source.name).1;
        let name = &source.repo;
        let (repo, revision) = match lock.read_from(source) {
            ReadFrom::Hub(commit) => {
                let link = |name: &str| format!("[{name}](https://huggingface.co/datasets/{name})");
                (repository(name).map_or_else(|| cell(name), link), revision(source, commit))
            }
            ReadFrom::Samples => (format!("samples of Setaccio that stand for {}", code_cell(name)), String::new()),
            ReadFrom::Local if source.local() => ("local files".to_owned(), String::new()),
            ReadFrom::Local => (format!("local files that were given for {}", code_cell(name)), String::new()),
        };
        let [read, here] = [read, here].map(grouped);
        let [name, license] = [&source.name, &source.license].map(|text| cell(text));
        let _ = writeln!(out, "| {name} | {repo} | {revision} | {license} | {read} | {here} |");
    }
    let _ = writeln!(out, "\n{}", license(recipe));
    out
}

/// What may be done with the whole.
fn license(recipe: &Recipe) -> String {
    let of = |license: &str| -> Vec<&str> {
        recipe.source.iter().filter(|s| s.license == license).map(|s| s.name.as_str()).collect()
    };
    let each = "each row's own is its source's";
    match strictest(recipe.source.iter().map(|s| s.license.as_str())) {
        UNKNOWN_LICENSE => format!(
            "What may be done with the rows of {} is not known, and so neither is the licence of the whole.",
            listed(&of(UNKNOWN_LICENSE))
        ),
        "other" => {
            let own = recipe.source.iter().filter(|s| strictest([s.license.as_str()]) == "other");
            let mut own: Vec<&str> = own.map(|s| s.license.as_str()).collect();
            own.dedup();
            format!(
                "No one licence stands for the whole, which is why the front matter says `other`: {} has to be read beside \
                 the others; {each}.",
                listed(&own)
            )
        }
        license if recipe.source.len() == 1 => format!("The licence is {}.", code(license)),
        license => format!("The licence of the whole, {}, is the strictest of these; {each}.", code(license)),
    }
}

/// `a`, `b` and `c`.
fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| code(name)).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
        None => String::new(),
    }
}

/// What the recipe names, and the commit that it stood for.
fn revision(source: &Source, commit: &str) -> String {
    let commit_cell = code_cell(commit);
    if commit == source.revision { commit_cell } else { format!("{} at {commit_cell}", cell(&source.revision)) }
}

fn flow(ledger: &Ledger, stage: &str, source: &str) -> (u64, u64) {
    let flows = ledger.stage(stage).into_iter().flat_map(|s| &s.sources);
    flows.filter(|f| f.source == source).map(|f| (f.flow.rows_in, f.flow.rows_out)).next().unwrap_or_default()
}

fn way(ledger: &Ledger, lock: &RecipeLock, steps: &[Step]) -> String {
    let mut out = String::from(
        "## What was kept and what was dropped\n\n![Rows kept and dropped by each step](waterfall.svg)\n\n\
         | step | rows in | dropped | share | edits |\n|---|---:|---:|---:|---|\n",
    );
    for step in steps {
        let share = percent(step.dropped, step.rows_in);
        let name = if step.rule { code_cell(&step.name) } else { cell(&step.name) };
        let [rows_in, dropped] = [step.rows_in, step.dropped].map(grouped);
        let _ = writeln!(out, "| {name} | {rows_in} | {dropped} | {share:.1}% | {} |", step.edits);
    }
    let _ = write!(
        out,
        "| **left** | **{}** | | | |\n\n{}\n",
        grouped(ledger.rows_out()),
        match lock.recipe.sample.as_ref().map(|s| s.left_out) {
            Some(LeftOut::Count) =>
                "Every row that a rule dropped is kept whole in the build's `rejects/`, published or not, with the rule and \
                 the word or value that dropped it; rows outside the sample are only counted.",
            _ => {
                "Every dropped row is kept whole in the build's `rejects/`, published or not, with the rule and the word \
                 or value that dropped it."
            }
        }
    );
    if !lock.list.is_empty() {
        out.push_str("\nWord lists:\n\n| list | entries | SHA-256 |\n|---|---:|---|\n");
        for list in &lock.list {
            let _ = writeln!(out, "| {} | {} | {} |", cell(&list.name), list.entries, code_cell(&list.sha256));
        }
    }
    if let (Some(settings), false) = (&lock.recipe.decontamination, ledger.evaluations.is_empty()) {
        let samples = lock.from == "samples" && lock.evaluation.iter().any(|input| !input.repo.is_empty());
        let samples = if samples { ", samples of Setaccio that stand for the real ones" } else { "" };
        let _ = write!(
            out,
            "\nRows were held against the items of evaluation sets{}; dropped were {}. A row that holds several \
             items is counted for the one that it holds the most of.\n\n| set | items | too short | found | rows dropped |\n|---|---:|---:|---:|---:|\n",
            samples,
            settings.told()
        );
        for EvaluationCount { set, items, short, found, rows } in &ledger.evaluations {
            let [items, short, found, rows] = [items, short, found, rows].map(|n| grouped(*n));
            let _ = writeln!(out, "| {} | {items} | {short} | {found} | {rows} |", cell(set));
        }
    }
    let repeats = lock.recipe.repeats();
    if let (Some(settings), Some(RepeatCount { rows, units, characters, dropped })) = (repeats, &ledger.repeats) {
        let _ = writeln!(
            out,
            "\nTexts lost what other rows hold, or they themselves before: {}. {} lost {}, {}; of {} too little was left.",
            settings.told(),
            counted(*rows, "row"),
            settings.unit.counted(*units),
            counted(*characters, "character"),
            counted(*dropped, "row"),
        );
    }
    for set in &lock.against {
        let [name, hash] = [&set.key, &set.sha256].map(|text| code(text));
        let _ = writeln!(
            out,
            "\nNear-duplicates of rows of the data set {name} were dropped; SHA-256 of its shards' hashes: {hash}."
        );
    }
    for RepoUse { name, license } in &lock.repo {
        let license =
            if license.is_empty() { "no licence stated".into() } else { format!("licence {}", code(license)) };
        let _ = writeln!(out, "\nFrom the Hub: {}, {license}.", code(name));
    }
    for model in &lock.model {
        let [key, hash] = [&model.key, &model.sha256].map(|text| code(text));
        let _ = writeln!(out, "\nModel of {key}: {}, SHA-256 {hash}.", plain(&model.name));
    }
    out
}

fn lengths(ledger: &Ledger) -> String {
    if ledger.lengths.is_empty() {
        return String::new();
    }
    let mut out = String::from(
        "## Lengths\n\n| split | measure | mean | 5% | median | 95% | longest | total |\n|---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for l in &ledger.lengths {
        let [p5, median, p95, max, total] = [l.p5, l.median, l.p95, l.max, l.total].map(grouped);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {p5} | {median} | {p95} | {max} | {total} |",
            l.split,
            l.measure,
            tenths(l.mean)
        );
    }
    out.push_str("\nQuantiles to three digits.\n");
    out
}

fn languages(ledger: &Ledger) -> String {
    let whole: u64 = ledger.mix.iter().map(|m| m.rows).sum();
    if whole == 0 {
        return String::new();
    }
    let mut out =
        String::from("## Languages\n\n| source | language | rows | share | characters |\n|---|---|---:|---:|---:|\n");
    for m in &ledger.mix {
        let share = percent(m.rows, whole);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {share:.1}% | {} |",
            cell(&m.source),
            cell(&m.language),
            grouped(m.rows),
            grouped(m.characters)
        );
    }
    if out.contains("| und |") {
        out.push_str("\n`und`: neither the source nor a rule says.\n");
    }
    out
}

fn limits(lock: &RecipeLock) -> String {
    let mut out = String::from("## Known limits\n\n");
    for limit in &lock.recipe.card.limits {
        let _ = writeln!(out, "- {}", plain(limit));
    }
    let near = lock.recipe.dedup.as_ref().and_then(|dedup| dedup.near.as_ref());
    if let Some(near) = near {
        let _ = writeln!(
            out,
            "- Deduplication finds rows that are the same but for what the recipe ignores, and {}.",
            near.told()
        );
    }
    if let Some(semantic) = lock.recipe.semantic() {
        let steady = if lock.model.iter().any(|model| model.key == "ORT_DYLIB_PATH") {
            "its vectors are made by ONNX Runtime, whose last digits may be others on another processor or by another version: rows \
             whose cosine is all but the threshold may then be others"
        } else {
            "a cosine is the same on every processor"
        };
        let _ = writeln!(
            out,
            "- Dropped are {}. What is near is for the model to say, whose hash is above; {steady}.",
            plain(&semantic.told())
        );
    }
    let tells = |rule: &str| lock.recipe.filter.iter().any(|table| table.rule == rule && !table.off);
    for (true_here, limit) in [
        (
            !lock.list.is_empty(),
            "Word lists drop good texts that quote a listed word, and pass bad ones that use none.",
        ),
        (
            lock.recipe.dedup.is_some() && near.is_none(),
            "Deduplication finds rows that are the same but for what the recipe ignores, not those that are alike.",
        ),
        (lock.recipe.dedup.is_none(), "Rows were not deduplicated."),
        (
            lock.recipe.repeats().is_some(),
            "Where a text lost what stands elsewhere, it reads on as if nothing had stood there.",
        ),
        (
            tells("language") || tells("clean_mc4_it"),
            "Languages are told by character statistics, and short texts are told badly.",
        ),
    ] {
        if true_here {
            let _ = writeln!(out, "- {limit}");
        }
    }
    out
}

fn rebuild(ledger: &Ledger, lock: &RecipeLock) -> String {
    let recipe = &lock.recipe;
    let mut out = format!(
        "## How to build it again\n\nWith {}, from the inputs below, the same recipe gives the same bytes:\n\n\
         {}\n\
         `recipe.lock.toml` holds the recipe as it was resolved; its fingerprint is `{}`, the seed {}.\n\n",
        plain(&lock.engine),
        block("", &lock.command),
        ledger.fingerprint,
        recipe.seed
    );
    let inputs = || lock.input.iter().chain(&lock.evaluation);
    let by_store = inputs().filter(|input| input.etag.is_some()).count() as u64;
    let known_by = if by_store == 0 {
        "SHA-256"
    } else {
        let (those, all) = (grouped(by_store), counted(inputs().count() as u64, "input"));
        let all = if lock.evaluation.is_empty() { all } else { all + ", evaluation sets among them" };
        let _ = writeln!(
            out,
            "Known by an ETag, which is what a store calls a version of an object: {those} of {all}. Such an object was read by ranges, and \
             nobody has hashed all of its bytes.\n"
        );
        "SHA-256, or ETag"
    };
    let _ = write!(out, "| input | bytes | {known_by} |\n|---|---:|---|\n");
    for input in lock.input.iter().take(MOST_INPUTS) {
        let _ = writeln!(out, "| {} | {} | {} |", cell(&input.file), grouped(input.bytes), code_cell(&input.content()));
    }
    if let Some(more) = lock.input.get(MOST_INPUTS..).filter(|more| !more.is_empty()) {
        let bytes = more.iter().map(|input| input.bytes).sum();
        let (files, bytes) = (counted(more.len() as u64, "file"), grouped(bytes));
        let _ = writeln!(out, "| and {files} more, each with its hash in `recipe.lock.toml` | {bytes} | |");
    }
    out
}

fn citations(recipe: &Recipe) -> String {
    let mut cited: Vec<&str> = recipe.source.iter().filter_map(|s| s.citation.as_deref()).collect();
    cited.dedup();
    if cited.is_empty() {
        return String::new();
    }
    let mut out = String::from("## Citations\n\n");
    for citation in cited {
        let _ = writeln!(out, "- {}", plain(citation));
    }
    out
}
