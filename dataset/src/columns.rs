//! Rows as Arrow columns: content in the conversational columns that `datasets` and TRL read.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, ListArray, RecordBatch, StringArray,
    builder::{ListBuilder, StringBuilder, StructBuilder},
    cast::AsArray,
};
use arrow_schema::{DataType, Field, Fields};
use setaccio_base::row::{Content, Kind, Message};

/// Names of the columns that hold the content of rows of `kind`.
pub fn content_names(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Text => &["text"],
        Kind::Chat => &["messages"],
        Kind::Preference => &["prompt", "chosen", "rejected"],
    }
}

/// The columns of [`content_names`].
pub fn content_fields(kind: Kind) -> Vec<Field> {
    let of = || if kind == Kind::Text { DataType::Utf8 } else { DataType::List(turn_item()) };
    content_names(kind).iter().map(|name| Field::new(*name, of(), true)).collect()
}

fn turn_fields() -> Fields {
    Fields::from(vec![Field::new("role", DataType::Utf8, true), Field::new("content", DataType::Utf8, true)])
}

fn turn_item() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Struct(turn_fields()), true))
}

/// Collects contents of one kind into columns.
pub enum ContentBuilder {
    /// One column of texts.
    Text(StringBuilder),
    /// One column of message lists a side.
    Sides(Vec<ListBuilder<StructBuilder>>),
}

impl ContentBuilder {
    /// Empty columns for rows of `kind`.
    pub fn new(kind: Kind) -> Self {
        let side = || ListBuilder::new(StructBuilder::from_fields(turn_fields(), 0)).with_field(turn_item());
        match kind {
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::Chat => Self::Sides(vec![side()]),
            Kind::Preference => Self::Sides(vec![side(), side(), side()]),
        }
    }

    /// Add one row; `None` for a row that could not be read. The content must be of the builder's kind.
    pub fn push(&mut self, content: Option<&Content>) {
        match (self, content) {
            (Self::Text(texts), Some(Content::Text(text))) => texts.append_value(text),
            (Self::Text(texts), _) => texts.append_null(),
            (Self::Sides(sides), Some(Content::Chat(messages))) => turns(&mut sides[0], messages),
            (Self::Sides(sides), Some(Content::Preference { prompt, chosen, rejected })) => {
                for (side, messages) in sides.iter_mut().zip([prompt, chosen, rejected]) {
                    turns(side, messages);
                }
            }
            (Self::Sides(sides), _) => sides.iter_mut().for_each(|s| s.append(false)),
        }
    }

    /// The columns, in the order of [`content_fields`].
    pub fn finish(&mut self) -> Vec<ArrayRef> {
        match self {
            Self::Text(texts) => vec![Arc::new(texts.finish())],
            Self::Sides(sides) => sides.iter_mut().map(|s| Arc::new(s.finish()) as ArrayRef).collect(),
        }
    }
}

fn turns(side: &mut ListBuilder<StructBuilder>, messages: &[Message]) {
    let item = side.values();
    for message in messages {
        for (i, text) in [&message.role, &message.content].into_iter().enumerate() {
            if let Some(column) = item.field_builder::<StringBuilder>(i) {
                column.append_value(text);
            }
        }
        item.append(true);
    }
    side.append(true);
}

/// The content columns of a batch, as rows.
pub enum ContentColumns<'a> {
    /// One column of texts.
    Text(&'a StringArray),
    /// One column of message lists a side, with its name.
    Sides(Vec<(&'static str, &'a ListArray)>),
}

impl<'a> ContentColumns<'a> {
    /// Find the columns of `kind` in a batch.
    ///
    /// # Errors
    /// One is missing, or of another type.
    pub fn new(batch: &'a RecordBatch, kind: Kind) -> Result<Self, String> {
        let column = |name: &str| batch.column_by_name(name).ok_or_else(|| format!("column `{name}` is missing"));
        if kind == Kind::Text {
            let texts = column("text")?.as_string_opt().ok_or("column `text` holds no text")?;
            return Ok(Self::Text(texts));
        }
        let side = |name: &&'static str| {
            let list = column(name)?.as_list_opt().ok_or_else(|| format!("column `{name}` holds no lists"))?;
            Ok((*name, list))
        };
        content_names(kind).iter().map(side).collect::<Result<_, String>>().map(Self::Sides)
    }

    /// The content of row `i`.
    ///
    /// # Errors
    /// A part of it is missing.
    pub fn get(&self, i: usize) -> Result<Content, String> {
        match self {
            Self::Text(texts) if texts.is_null(i) => Err("column `text` holds null".into()),
            Self::Text(texts) => Ok(Content::Text(texts.value(i).to_owned())),
            Self::Sides(sides) => {
                let mut read = sides.iter().map(|(name, list)| {
                    messages(list, i).ok_or_else(|| format!("column `{name}` holds no list of messages"))
                });
                let mut next = || read.next().unwrap_or_else(|| Ok(Vec::new()));
                Ok(match sides.len() {
                    1 => Content::Chat(next()?),
                    _ => Content::Preference { prompt: next()?, chosen: next()?, rejected: next()? },
                })
            }
        }
    }
}

/// The messages in row `i` of a side.
fn messages(side: &ListArray, i: usize) -> Option<Vec<Message>> {
    if side.is_null(i) {
        return None;
    }
    let turns = side.value(i);
    let turns = turns.as_struct_opt()?;
    let field = |name| turns.column_by_name(name)?.as_string_opt::<i32>();
    let (roles, contents) = (field("role")?, field("content")?);
    roles.iter().zip(contents).map(|(role, content)| Some(Message::new(role?, content?))).collect()
}

#[cfg(test)]
mod tests {
    use arrow_schema::Schema;

    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let turn = |role: &str| vec![Message::new(role, "Perch\u{e9} no?"), Message::new("assistant", "")];
        let contents = [
            Content::Text("uno".into()),
            Content::Chat(turn("user")),
            Content::Preference { prompt: turn("system"), chosen: Vec::new(), rejected: turn("user") },
        ];
        for content in contents {
            let kind = content.kind();
            let mut builder = ContentBuilder::new(kind);
            builder.push(Some(&content));
            builder.push(None);
            let schema = Arc::new(Schema::new(content_fields(kind)));
            let batch = RecordBatch::try_new(schema, builder.finish()).unwrap_or_else(|e| panic!("{e}"));
            let columns = ContentColumns::new(&batch, kind).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(columns.get(0), Ok(content));
            assert!(columns.get(1).is_err());
        }
    }
}
