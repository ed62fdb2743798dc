//! Plain documents: mC4, OSCAR, and whatever has a `text`.

use setaccio_base::row::{Content, Kind};

use crate::source::{
    record,
    record::Reading,
    schema::{ColumnSpec, Schema, required},
};

/// One text a row.
pub struct Text;

impl Schema for Text {
    fn name(&self) -> &'static str {
        "text"
    }
    fn kind(&self) -> Kind {
        Kind::Text
    }
    fn about(&self) -> &'static str {
        "documents: mC4, clean_mc4_it, C4, OSCAR"
    }
    fn columns(&self) -> &'static [ColumnSpec] {
        const { &[required("text", "The document.")] }
    }
    fn example(&self) -> &'static str {
        r#"{"text": "Il gatto dorme.", "url": "https://esempio.it/gatto"}"#
    }
    fn content(&self, record: &mut Reading) -> Result<Content, String> {
        record::text(record, "text").map(Content::Text)
    }
}
