//! An answer for programs: CSV, JSON, JSON Lines and Parquet, written piece by piece.

use std::{io::Write, path::Path, sync::Arc};

use polars::{
    io::parquet::write::BatchedWriter,
    prelude::{AnyValue, DataFrame, ParquetWriter, PolarsError, SchemaRef},
};
use serde_json::{Map, Value};
use setaccio_base::shown::shown_json;

use crate::{
    error::{Error, Result, said},
    value::{exact, json, short, text},
};

/// A format that programs read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A line of names, then a line a row; null is nothing, and an empty text is `""`.
    Csv,
    /// One array of objects.
    Json,
    /// An object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// The format of a file of this name.
    ///
    /// # Errors
    /// Its ending is that of none.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("csv") => Ok(Self::Csv),
            Some("json") => Ok(Self::Json),
            Some("jsonl") => Ok(Self::Jsonl),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(Error::Query(format!(
                "{}: the ending of its name says no format; end it in .parquet, .csv, .json or .jsonl",
                path.display()
            ))),
        }
    }
}

/// Rows on their way to `W`.
pub struct Writer<W: Write> {
    to: To<W>,
    columns: SchemaRef,
    /// Rows that were written.
    pub rows: u64,
}

enum To<W: Write> {
    Text(Format, W),
    Parquet(Box<BatchedWriter<W>>),
}

impl<W: Write> Writer<W> {
    /// Begin with what comes before rows of these columns.
    ///
    /// # Errors
    /// `to` cannot be written to, or Parquet has no such columns.
    pub fn begin(format: Format, columns: SchemaRef, mut to: W) -> Result<Self> {
        let to = match format {
            Format::Parquet => {
                To::Parquet(Box::new(ParquetWriter::new(to).batched(&columns).map_err(|e| unwritten(&e))?))
            }
            format => {
                match format {
                    Format::Csv => {
                        let names: Vec<String> = columns.iter_names().map(|name| quoted(name)).collect();
                        writeln!(to, "{}", names.join(",")).map_err(lost)?;
                    }
                    Format::Json => write!(to, "[").map_err(lost)?,
                    _ => {}
                }
                To::Text(format, to)
            }
        };
        Ok(Self { to, columns, rows: 0 })
    }

    /// Add rows.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn add(&mut self, piece: &DataFrame) -> Result<()> {
        match &mut self.to {
            To::Parquet(writer) => {
                let mut piece = piece.clone();
                // Its chunks have to begin at the same rows.
                piece.align_chunks();
                writer.write_batch(&piece).map_err(|e| unwritten(&e))?;
                self.rows += piece.height() as u64;
            }
            To::Text(format, to) => {
                for at in 0..piece.height() {
                    let values = piece.columns().iter().map(|column| column.get(at).unwrap_or(AnyValue::Null));
                    if *format == Format::Csv {
                        let values: Vec<String> = values
                            .map(|value| text(&value, exact).map_or_else(String::new, |text| quoted(&text)))
                            .collect();
                        writeln!(to, "{}", values.join(",")).map_err(lost)?;
                    } else {
                        let names = self.columns.iter_names().map(ToString::to_string);
                        let row: Map<String, Value> = names.zip(values.map(|value| json(&value))).collect();
                        let row = shown_json(&Value::Object(row).to_string());
                        match (*format, self.rows) {
                            (Format::Jsonl, _) => writeln!(to, "{row}"),
                            (_, 0) => write!(to, "\n{row}"),
                            _ => write!(to, ",\n{row}"),
                        }
                        .map_err(lost)?;
                    }
                    self.rows += 1;
                }
            }
        }
        Ok(())
    }

    /// End, and say how many rows there are.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(self) -> Result<u64> {
        match self.to {
            To::Parquet(writer) => drop(writer.finish().map_err(|e| unwritten(&e))?),
            To::Text(format, mut to) => {
                if format == Format::Json {
                    writeln!(to, "{}]", if self.rows > 0 { "\n" } else { "" }).map_err(lost)?;
                }
                to.flush().map_err(lost)?;
            }
        }
        Ok(self.rows)
    }
}

/// Values of a row, for a person.
#[must_use]
pub fn cells(piece: &DataFrame, at: usize) -> Vec<String> {
    let values = piece.columns().iter().map(|column| column.get(at).unwrap_or(AnyValue::Null));
    values.map(|value| text(&value, short).unwrap_or_else(|| "NULL".to_owned())).collect()
}

/// A value of CSV, in quotes where it needs them.
fn quoted(text: &str) -> String {
    let plain = !text.is_empty() && !text.contains([',', '"', '\n', '\r']) && text.trim() == text;
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// What the file system says, which whoever wrote can tell apart.
fn lost(error: std::io::Error) -> Error {
    Error::Write(Arc::new(error))
}

fn unwritten(error: &PolarsError) -> Error {
    match error {
        PolarsError::IO { error, .. } => Error::Write(error.clone()),
        other => Error::Query(format!("the rows cannot be written as Parquet: {}", said(other))),
    }
}

#[cfg(test)]
mod tests {
    use polars::prelude::{Column, ListChunked, NamedFrom as _, Series};

    use super::*;

    fn frame() -> Result<DataFrame> {
        let inner = Series::new("".into(), ["a", "b"]);
        let lists: ListChunked = [Some(inner), None].into_iter().collect();
        let texts = [Some("dice: \"s\u{ec}\",\nno\u{1b}[1m"), Some("")];
        let columns = vec![
            Column::new("n,m".into(), [Some(1_i64), None]),
            Column::new("t".into(), texts),
            Column::new("f".into(), [0.1_f64 + 0.2, f64::NAN]),
            Column::from(polars::prelude::IntoSeries::into_series(lists).with_name("l".into())),
        ];
        Ok(DataFrame::new(2, columns)?)
    }

    fn written(format: Format, times: usize) -> Result<String> {
        let frame = frame()?;
        let mut bytes = Vec::new();
        let mut writer = Writer::begin(format, frame.schema().clone(), &mut bytes)?;
        for _ in 0..times {
            writer.add(&frame)?;
        }
        assert_eq!(writer.end()?, 2 * times as u64);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn csv_tells_nothing_from_an_empty_text() -> Result<()> {
        let row =
            "1,\"dice: \"\"s\u{ec}\"\",\nno\u{1b}[1m\",0.30000000000000004,\"[\"\"a\"\",\"\"b\"\"]\"\n,\"\",NaN,\n";
        assert_eq!(written(Format::Csv, 1)?, format!("\"n,m\",t,f,l\n{row}"));
        Ok(())
    }

    #[test]
    fn json_is_one_array_or_an_object_a_line() -> Result<()> {
        let lines = written(Format::Jsonl, 1)?;
        assert_eq!(lines.lines().count(), 2);
        assert_eq!(
            lines.lines().next(),
            Some(r#"{"n,m":1,"t":"dice: \"sì\",\nno\u001b[1m","f":0.30000000000000004,"l":["a","b"]}"#)
        );
        for times in [0, 1, 2] {
            let rows: Vec<Value> =
                serde_json::from_str(&written(Format::Json, times)?).map_err(|e| Error::Query(e.to_string()))?;
            assert_eq!(rows.len(), 2 * times);
        }
        Ok(())
    }

    #[test]
    fn an_ending_says_the_format() {
        assert!(matches!(Format::of(Path::new("a/b.parquet")), Ok(Format::Parquet)));
        let said = Format::of(Path::new("rows.xls")).err().map(|e| e.to_string()).unwrap_or_default();
        assert!(said.contains("rows.xls") && said.contains(".parquet, .csv, .json or .jsonl"), "{said}");
    }
}
