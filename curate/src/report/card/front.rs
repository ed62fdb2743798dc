//! YAML front matter, in the fields and order that `datasets` writes.

use std::fmt::Write;

use arrow_schema::{DataType, Field};
use setaccio_base::card::{list, quoted, strictest};
use setaccio_dataset::{
    columns::content_fields,
    ledger::Ledger,
    lock::{ReadFrom, RecipeLock},
    recipe::{ColumnType, Source},
};

/// The whole block, with its fences.
pub fn matter(ledger: &Ledger, lock: &RecipeLock) -> String {
    let recipe = &lock.recipe;
    let mut tags = vec!["setaccio".to_owned()];
    tags.extend(recipe.card.tags.iter().cloned());
    let mut out = [
        format!("---\npretty_name: {}\n", quoted(&recipe.title)),
        list("language", &recipe.card.language),
        list("license", [strictest(recipe.source.iter().map(|s| s.license.as_str()))]),
        list("task_categories", &recipe.card.task_categories),
        list("size_categories", [size(ledger.rows_out())]),
        list("tags", &tags),
        list("source_datasets", recipe.source.iter().filter(|s| read_from_hub(lock, s)).map(|s| &s.repo)),
    ]
    .concat();
    let mut put = |line: String| {
        let _ = writeln!(out, "{line}");
    };
    put("configs:\n- config_name: default\n  data_files:".into());
    for split in &ledger.splits {
        put(format!("  - split: {0}\n    path: data/{0}-*", split.split));
    }
    put("dataset_info:\n  features:".into());
    features(ledger, lock).into_iter().for_each(&mut put);
    put("  splits:".into());
    for split in &ledger.splits {
        put(format!(
            "  - name: {}\n    num_bytes: {}\n    num_examples: {}",
            split.split, split.arrow_bytes, split.rows
        ));
    }
    let download: u64 = ledger.files.iter().filter(|f| f.path.starts_with("data/")).map(|f| f.bytes).sum();
    let size: u64 = ledger.splits.iter().map(|s| s.arrow_bytes).sum();
    put(format!("  download_size: {download}\n  dataset_size: {size}\n---"));
    out
}

/// A repository that the recipe names and nobody read is no source.
fn read_from_hub(lock: &RecipeLock, source: &Source) -> bool {
    matches!(lock.read_from(source), ReadFrom::Hub(_))
}

/// The columns as `datasets` features.
fn features(ledger: &Ledger, lock: &RecipeLock) -> Vec<String> {
    let output = &lock.recipe.output;
    let column = |name: &str, dtype: &str| format!("  - name: {}\n    dtype: {dtype}", quoted(name));
    let mut features: Vec<String> = ["id", "source", "language"].map(|name| column(name, "string")).to_vec();
    features.extend(content_fields(lock.recipe.kind, &ledger.extras).iter().map(|field| feature(field, 2)));
    for (name, kind) in lock.recipe.kept() {
        let dtype = match kind {
            ColumnType::String | ColumnType::Json => "string",
            ColumnType::Int64 => "int64",
            ColumnType::Float64 => "float64",
            ColumnType::Bool => "bool",
        };
        features.push(column(name, dtype));
    }
    if output.template.is_some() {
        features.push(column(&output.rendered, "string"));
    }
    if output.tokenizer.is_some() {
        features.push(column("tokens", "int32"));
    }
    features
}

/// A column of texts, lists and structs, so far indented.
fn feature(field: &Field, indent: usize) -> String {
    let mut lines = format!("{:indent$}- name: {}\n{:indent$}  ", "", field.name(), "");
    let (kind, inner) = match field.data_type() {
        DataType::List(item) => ("list:", item.data_type()),
        other => ("struct:", other),
    };
    match inner {
        DataType::Struct(fields) => {
            lines.push_str(kind);
            fields.iter().for_each(|field| lines.extend(["\n", &feature(field, indent + 2)]));
        }
        _ => lines.push_str("dtype: string"),
    }
    lines
}

/// The Hub's size category of so many rows.
pub fn size(rows: u64) -> &'static str {
    match rows {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        1_000_000..10_000_000 => "1M<n<10M",
        10_000_000..100_000_000 => "10M<n<100M",
        100_000_000..1_000_000_000 => "100M<n<1B",
        _ => "n>1B",
    }
}
