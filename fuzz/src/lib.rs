//! What the fuzz targets ask of any input: no panic, no hang, and the same rows whether a file is read in one piece or in
//! slices. CONTRIBUTING.md says how to run them.

use std::{collections::BTreeMap, fs::File, io::Write, path::Path};

use setaccio_base::{
    bundle::Place,
    gguf_header,
    row::{Content, Message},
    safetensors_header,
};
use setaccio_curate::{
    recipe,
    source::{self, Item, Limits, Mapping, Projection, SCHEMAS},
};
use setaccio_dataset::recipe::{Recipe, Source};
use setaccio_filters::{context::Context, registry};
use setaccio_templates::{End, Renderer};

/// Read `bytes` as a file with this extension by every schema.
///
/// # Panics
/// Slices give other rows than the whole file.
pub fn read(bytes: &[u8], extension: &str) {
    let Ok(mut file) = tempfile::Builder::new().suffix(&format!(".{extension}")).tempfile() else { return };
    if file.write_all(bytes).is_err() {
        return;
    }
    let place = Place::disk(file.path());
    let Ok(source) = serde_json::from_value::<Source>(serde_json::json!({"name": "fuzz", "schema": "text"})) else {
        return;
    };
    let (name, columns) = (format!("input.{extension}"), BTreeMap::new());
    for schema in SCHEMAS {
        let rows = |slice_bytes| {
            let limits = Limits { slice_bytes, max_row_bytes: 1 << 16, count_compressed: false, window_log: 20 };
            let input = source::inspect(&place, &name, &source, &limits, &|| false).map_err(|e| e.to_string())?;
            let projection = Projection { schema: *schema, mapping: &Mapping::default(), extra: &[], types: &columns };
            let mut items: Vec<Item> = Vec::new();
            for slice in &input.inspection.slices {
                for item in input.open(slice, &projection, &limits).map_err(|e| e.to_string())? {
                    items.push(item.map_err(|e| e.to_string())?);
                }
            }
            Ok::<_, String>(items)
        };
        // Where reading breaks off may be told at another place in a slice; that it does is the same.
        assert_eq!(rows(1).ok(), rows(u64::MAX).ok(), "slices of {}", schema.name());
    }
}

/// The pages of a small file of one column, `text`, behind which a footer lies that may say anything of them: its length and
/// the marks are right, so that every mutation is looked at.
pub fn with_footer(footer: &[u8]) -> Vec<u8> {
    const FILE: &[u8] = include_bytes!("../seeds/parquet/text.parquet");
    let (pages, _) = parts(FILE);
    let length = u32::try_from(footer.len()).unwrap_or(u32::MAX).to_le_bytes();
    [pages, footer, &length, b"PAR1"].concat()
}

/// What comes before a file's footer, and the footer.
fn parts(file: &[u8]) -> (&[u8], &[u8]) {
    let (rest, tail) = file.split_at(file.len() - 8);
    let length = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]) as usize;
    rest.split_at(rest.len() - length)
}

/// Read `text` as a recipe, compile its filters, and write it as a lock would.
///
/// # Panics
/// What a lock holds is read as another recipe.
pub fn recipe(text: &str) {
    // What a rule names by a path would be read.
    if text.contains('/') {
        return;
    }
    let Ok(mut file) = tempfile::Builder::new().suffix(".toml").tempfile() else { return };
    if file.write_all(text.as_bytes()).is_err() {
        return;
    }
    for sets in [&[][..], &["seed=7".to_owned(), "filter.length.min_chars=3".to_owned()]] {
        let Ok(loaded) = recipe::load(file.path(), sets) else { continue };
        let context = Context { recipe: Some(Place::disk(file.path())), ..Context::default() };
        for table in &loaded.recipe.filter {
            let _ = registry::find(&table.rule).and_then(|rule| rule.compile(table.settings.clone(), &context));
        }
        let Ok(written) = toml::to_string(&loaded.recipe) else { continue };
        let again = toml::from_str::<Recipe>(&written).map(|recipe| toml::to_string(&recipe));
        assert_eq!(again, Ok(Ok(written)));
    }
}

/// Hold the header of `bytes` against their length, as a GGUF file.
pub fn gguf(bytes: &[u8]) {
    let Some(file) = file_of(bytes) else { return };
    let _ = gguf_header::check(&file, Path::new("input.gguf"));
}

/// The same as a safetensors file. What is said of a good one is true: the values of each tensor are there, and in all as many
/// as the file has.
///
/// # Panics
/// It is not.
pub fn safetensors(bytes: &[u8]) {
    let Some(file) = file_of(bytes) else { return };
    let Ok(header) = safetensors_header::read(&file, Path::new("input.safetensors")) else { return };
    let sizes = header.tensors.values().map(|tensor| tensor.data_offsets.1 - tensor.data_offsets.0);
    assert_eq!(header.start + sizes.sum::<usize>() as u64, bytes.len() as u64);
}

fn file_of(bytes: &[u8]) -> Option<File> {
    let mut file = tempfile::tempfile().ok()?;
    file.write_all(bytes).ok()?;
    Some(file)
}

/// Render a conversation with what stands before the first U+0001 as template, and the rest as its turns.
pub fn render(text: &str) {
    let mut parts = text.split('\u{1}');
    let template = parts.next().unwrap_or_default();
    let Ok(renderer) = Renderer::new(Some(template), None, "<s>", "</s>") else { return };
    let roles = ["system", "user", "assistant", "tool"].into_iter().cycle();
    let messages: Vec<Message> = parts.zip(roles).map(|(part, role)| Message::new(role, part)).collect();
    for end in [End::Whole, End::Prompt] {
        let _ = renderer.chat(&messages, None, end);
    }
    let _ = renderer.render(&Content::Text(text.to_owned()));
}
