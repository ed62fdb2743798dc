//! What a rule compiles into: a filter that decides on documents, or one that edits lines.

use std::{borrow::Cow, cell::OnceCell};

use serde_json::{Map, Value};
use setaccio_base::row::{Content, Kind, Row};

use crate::{
    personal::Regions,
    segments::{AsIn, SegmentCache, Segments},
    words::PhraseFinder,
};

/// What a document filter says of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Leave it as it is.
    Keep,
    /// Kept; this many of its texts were changed in place.
    Edited(u64),
    /// Dropped, for this reason.
    Drop(Reason),
}

/// Why a row is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The matched word or the measured value.
    pub detail: String,
    /// The message of a conversation that it is said of, by its number in reading order; `None`: the row as a whole.
    pub message: Option<usize>,
}

impl Reason {
    /// Said of the text of this number of a content: of a message, unless the content is a plain text.
    pub fn of_text(content: &Content, number: usize, detail: impl Into<String>) -> Self {
        Self { detail: detail.into(), message: (content.kind() != Kind::Text).then_some(number) }
    }
}

impl<T: Into<String>> From<T> for Reason {
    /// Said of the row as a whole.
    fn from(detail: T) -> Self {
        Self { detail: detail.into(), message: None }
    }
}

/// What a line filter says of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineVerdict {
    /// Leave it as it is.
    Keep,
    /// Go on with this text instead.
    Edit(String),
    /// Remove the line, keep the document.
    DropLine,
    /// Remove the whole document, with the matched word or the measured value.
    DropDocument(String),
}

/// A row as a document filter sees it: what the filter may change, and the columns that it declares.
pub struct Document<'a> {
    content: &'a mut Content,
    /// What it was before the filter changed it.
    before: Option<Content>,
    /// Its language, ISO 639-1.
    pub language: &'a mut Option<String>,
    columns: &'a mut Map<String, Value>,
    declared: &'a [String],
    seen: &'a Seen,
}

/// What filters have seen of a row as it is: each may be the first to look.
#[derive(Default)]
pub struct Seen {
    segments: SegmentCache,
    regions: OnceCell<Vec<Regions>>,
}

/// A measure that a filter writes to a column of the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// The column.
    pub column: String,
    /// Whether it is a whole number.
    pub whole: bool,
}

impl<'a> Document<'a> {
    /// What the row says.
    pub fn content(&self) -> &Content {
        self.content
    }

    /// The same, to be changed. What it was is kept for the rejects, so that a filter asks for this only where it changes something.
    pub fn change(&mut self) -> &mut Content {
        self.before.get_or_insert_with(|| self.content.clone());
        self.content
    }

    /// The words of a plain text; of conversations none.
    pub fn segments(&self, as_in: AsIn) -> (&str, &'a Segments) {
        let text = match &*self.content {
            Content::Text(text) => text.as_str(),
            _ => "",
        };
        (text, self.seen.segments.of(text, as_in))
    }

    /// Of each text, where digits and codes are.
    pub fn regions(&self) -> &'a [Regions] {
        self.seen.regions.get_or_init(|| self.content.texts().map(Regions::of).collect())
    }

    /// Write a measure.
    pub fn write(&mut self, column: &str, value: Value) {
        self.columns.insert(column.to_owned(), value);
    }

    /// The value of a column, if the row has it. A column that the filter does not declare is never there: the
    /// plan would not have asked the source for it.
    pub fn column(&self, name: &str) -> Option<&Value> {
        self.declared.iter().find(|declared| *declared == name).and_then(|name| self.columns.get(name))
    }
}

/// Decides on a whole row; it may edit texts in place.
pub trait DocumentFilter: Send + Sync {
    /// The source's columns that it reads; the plan has them read.
    fn columns(&self) -> &[String] {
        &[]
    }

    /// The columns that it writes.
    fn signals(&self) -> &[Signal] {
        &[]
    }

    /// Decide on one row.
    fn filter(&self, document: &mut Document<'_>) -> Verdict;

    /// Show the filter what it declares of `row`, and nothing else.
    fn apply(&self, row: &mut Row) -> Verdict {
        self.apply_sharing(row, &Seen::default()).0
    }

    /// The same, with what other filters have seen of the row as it is now; and what it said before, if it was changed.
    fn apply_sharing(&self, row: &mut Row, seen: &Seen) -> (Verdict, Option<Content>) {
        let Row { content, language, columns, .. } = row;
        let mut document = Document { content, before: None, language, columns, declared: self.columns(), seen };
        (self.filter(&mut document), document.before)
    }
}

/// Sees the lines of a text one by one, stripped, never empty. Text recipes only.
pub trait LineFilter: Send + Sync {
    /// Decide on one line as the filters before this one left it.
    fn filter(&self, line: &str) -> LineVerdict;

    /// The phrases without one of which it keeps a line as it is; `None`: it goes by something else.
    fn phrases(&self) -> Option<&PhraseFinder> {
        None
    }
}

/// What a filter looks at.
pub enum Scope {
    /// A row.
    Document(Box<dyn DocumentFilter>),
    /// A line; neighbours of this scope run in one pass over the text.
    Line(Box<dyn LineFilter>),
}

/// A compiled rule under the name that rejects and ledgers give it.
pub struct Filter {
    /// Unique within a pipeline, which adds `#2`, `#3` to repeats.
    pub name: Cow<'static, str>,
    /// The filter itself.
    pub scope: Scope,
}

impl Filter {
    /// A document filter under `name`.
    pub fn document(name: impl Into<Cow<'static, str>>, filter: impl DocumentFilter + 'static) -> Self {
        Self { name: name.into(), scope: Scope::Document(Box::new(filter)) }
    }

    /// A line filter under `name`.
    pub fn line(name: impl Into<Cow<'static, str>>, filter: impl LineFilter + 'static) -> Self {
        Self { name: name.into(), scope: Scope::Line(Box::new(filter)) }
    }

    /// The phrases without one of which it keeps a line as it is.
    pub fn phrases(&self) -> Option<&PhraseFinder> {
        match &self.scope {
            Scope::Document(_) => None,
            Scope::Line(filter) => filter.phrases(),
        }
    }

    /// The columns that it writes.
    pub fn signals(&self) -> &[Signal] {
        match &self.scope {
            Scope::Document(filter) => filter.signals(),
            Scope::Line(_) => &[],
        }
    }

    /// The source's columns that it reads.
    pub fn columns(&self) -> &[String] {
        match &self.scope {
            Scope::Document(filter) => filter.columns(),
            Scope::Line(_) => &[],
        }
    }
}

/// For the tests of rules, which know what their rule compiles into.
#[cfg(test)]
impl Filter {
    /// The verdict of a document filter.
    pub(crate) fn on_row(&self, row: &mut Row) -> Verdict {
        let Scope::Document(filter) = &self.scope else { panic!("{} is a line filter", self.name) };
        filter.apply(row)
    }

    /// The verdict of a line filter.
    pub(crate) fn on_line(&self, line: &str) -> LineVerdict {
        let Scope::Line(filter) = &self.scope else { panic!("{} is a document filter", self.name) };
        filter.filter(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Undeclared(Vec<String>);
    impl DocumentFilter for Undeclared {
        fn columns(&self) -> &[String] {
            &self.0
        }
        fn filter(&self, document: &mut Document<'_>) -> Verdict {
            Verdict::Drop(format!("{:?} {:?}", document.column("url"), document.column("score")).into())
        }
    }

    #[test]
    fn a_column_that_is_not_declared_is_not_there() {
        let mut row = Row::text("x");
        row.columns.extend([("url".to_owned(), "u".into()), ("score".to_owned(), 1.into())]);
        let shown =
            |columns: &[&str]| Undeclared(columns.iter().map(|c| (*c).to_owned()).collect()).apply(&mut row.clone());
        assert_eq!(shown(&["url"]), Verdict::Drop("Some(String(\"u\")) None".into()));
        assert_eq!(shown(&["score", "absent"]), Verdict::Drop("None Some(Number(1))".into()));
    }
}
