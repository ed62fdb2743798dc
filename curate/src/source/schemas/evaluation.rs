//! Items of evaluation sets: rows of any layout, of which all columns stay columns. No recipe names it.

use setaccio_base::row::{Content, Kind};

use crate::source::{
    record::Reading,
    schema::{ColumnSpec, Schema},
};

/// Rows without content of their own.
pub struct Evaluation;

impl Schema for Evaluation {
    fn name(&self) -> &'static str {
        "evaluation"
    }
    fn kind(&self) -> Kind {
        Kind::Text
    }
    fn about(&self) -> &'static str {
        "items of evaluation sets"
    }
    fn columns(&self) -> &'static [ColumnSpec] {
        &[]
    }
    fn example(&self) -> &'static str {
        r#"{"question": "Quanto fa due più due?", "answer": "Quattro"}"#
    }
    fn content(&self, _: &mut Reading) -> Result<Content, String> {
        Ok(Content::Text(String::new()))
    }
}
