//! One file per schema. CONTRIBUTING.md says how to add one.

use setaccio_base::suggest;

use super::schema::Schema;

pub mod alpaca;
pub mod baize;
pub mod dolly;
pub mod evaluation;
pub mod kto;
pub mod messages;
pub mod orca;
pub mod preference;
pub mod prompt_completion;
pub mod sharegpt;
pub mod text;

/// All schemas.
pub static SCHEMAS: &[&dyn Schema] = &[
    &alpaca::Alpaca,
    &baize::Baize,
    &dolly::Dolly,
    &kto::Kto,
    &messages::Messages,
    &orca::Orca,
    &preference::Preference,
    &prompt_completion::PromptCompletion,
    &sharegpt::ShareGpt,
    &text::Text,
];

/// The schema called `name`.
///
/// # Errors
/// There is none; the nearest is named.
pub fn find_schema(name: &str) -> Result<&'static dyn Schema, String> {
    SCHEMAS.iter().find(|s| s.name() == name).copied().ok_or_else(|| {
        let names: Vec<&str> = SCHEMAS.iter().map(|s| s.name()).collect();
        let near = suggest::nearest(name, names.iter().copied());
        format!("unknown schema `{name}`{near}; there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests;
