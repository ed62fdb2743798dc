//! The answer to a query: polars computes it on threads of its own, a piece at a time, and whoever asked takes the pieces.

use std::{
    num::NonZeroUsize,
    sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use polars::{
    prelude::{DataFrame, Engine, IntoLazy as _, LazyFrame, PlanCallback, PolarsError, PolarsResult, SchemaRef},
    sql::SQLContext,
};
use setaccio_base::{
    progress::Progress,
    unwound::{unwound, unwound_on_all_threads},
};

use crate::{
    error::{Error, Result, said},
    statement::Asked,
    table::Table,
    tables::Tables,
};

/// Rows of a piece, at most.
const PIECE: usize = 1 << 14;

/// What is said where the engine panics.
const GAVE_UP: &str = "polars gave up in the middle, over a question that it does not know or a damaged file";

/// What is going to be an answer.
pub struct Answer {
    /// Its columns.
    pub columns: SchemaRef,
    frame: LazyFrame,
    in_files: bool,
}

/// What comes from the engine.
enum Sent {
    Piece(DataFrame),
    End(PolarsResult<()>),
}

/// Look for the answer to a query.
///
/// # Errors
/// It is no query, or it names what is not there.
pub fn ask(tables: &Tables, sql: &str) -> Result<Answer> {
    let asked = Asked::parse(sql)?;
    let mut context = SQLContext::new();
    let mut in_files = false;
    // The engine would take the table where the query means what it makes.
    if let Some(name) = asked.made.iter().find(|name| tables.0.iter().any(|table| table.name == **name)) {
        return Err(Error::Query(format!(
            "WITH {name}: there is a table `{name}`; give what the query makes another name"
        )));
    }
    for name in &asked.tables {
        let Some(Table { frame, in_files: large, .. }) = tables.0.iter().find(|table| table.name == name) else {
            return Err(tables.no_table(name));
        };
        context.register(name, frame.clone());
        in_files |= large;
    }
    let explain = |error: &PolarsError| explained(error, tables, &asked.tables);
    let mut planned = |sql: &str| -> Result<(LazyFrame, SchemaRef)> {
        let mut plan = || -> PolarsResult<_> {
            let mut frame = context.execute(sql)?;
            let columns = frame.collect_schema()?;
            Ok((frame, columns))
        };
        unwound(|| plan().map_err(|error| explain(&error)), |_| fault(GAVE_UP))
    };
    let (frame, columns) = planned(&asked.sql())?;
    // What is nested has no order.
    let orders: Vec<_> = columns.iter().map(|(name, kind)| (name.to_string(), !kind.is_nested())).collect();
    let (frame, columns) = match asked.ordered(&orders) {
        Some(sql) => planned(&sql)?,
        None => (frame, columns),
    };
    Ok(Answer { columns, frame, in_files })
}

/// An answer that is there already.
impl From<DataFrame> for Answer {
    fn from(frame: DataFrame) -> Self {
        Self { columns: frame.schema().clone(), frame: frame.lazy(), in_files: false }
    }
}

impl Answer {
    /// Compute it and give its pieces, in order, to `each`.
    ///
    /// # Errors
    /// A file cannot be read, the engine gives up, somebody stops it, or what `each` says.
    pub fn pieces(self, progress: &dyn Progress, mut each: impl FnMut(&DataFrame) -> Result<()>) -> Result<()> {
        let (send, receive) = sync_channel(1);
        let in_files = self.in_files;
        thread::spawn(move || {
            let end = send.clone();
            let computed = unwound_on_all_threads(|| self.compute(send), |_| PolarsError::ComputeError(GAVE_UP.into()));
            // Whoever asked may have enough.
            let _ = end.send(Sent::End(computed));
        });
        loop {
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            match receive.recv_timeout(Duration::from_millis(50)) {
                Ok(Sent::Piece(piece)) => each(&piece)?,
                Ok(Sent::End(computed)) => return computed.map_err(|error| failed(&error, in_files)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(fault("its thread is gone")),
            }
        }
    }

    /// What lies in memory is computed at once: then sums of fractions are added up in one order. What may be larger is streamed.
    fn compute(self, send: SyncSender<Sent>) -> PolarsResult<()> {
        if !self.in_files {
            let whole = self.frame.collect_with_engine(Engine::InMemory)?.unwrap_single();
            let _ = send.send(Sent::Piece(whole));
            return Ok(());
        }
        let take = move |piece: DataFrame| Ok(send.send(Sent::Piece(piece)).is_err());
        let pieces = self.frame.sink_batches(PlanCallback::new(take), true, NonZeroUsize::new(PIECE))?;
        pieces.collect_with_engine(Engine::Streaming).map(drop)
    }
}

/// What is said of a query that cannot be planned.
fn explained(error: &PolarsError, tables: &Tables, asked: &[String]) -> Error {
    let said = said(error);
    let column = match error.clone().context_trace() {
        PolarsError::ColumnNotFound(_) | PolarsError::SchemaFieldNotFound(_) => between(&said, '"'),
        _ => said.strip_prefix("no column named ").and_then(|rest| between(rest, '\'')),
    };
    if matches!(error.clone().context_trace(), PolarsError::Duplicate(_)) {
        return Error::Query("two columns of the answer have one name, or none: give each its own with AS".into());
    }
    match column {
        Some(column) => tables.no_column(column, asked),
        None => Error::Query(format!("this cannot be answered: {said}")),
    }
}

/// What stands between the first two of these marks.
fn between(text: &str, mark: char) -> Option<&str> {
    text.split(mark).nth(1).filter(|name| !name.is_empty())
}

/// What is said of an answer that cannot be computed, of tables `in_files` or others.
fn failed(error: &PolarsError, in_files: bool) -> Error {
    use PolarsError::{Duplicate, InvalidOperation, SQLInterface, SQLSyntax};
    // What values have no operation for is in the query.
    let asked =
        matches!(error.clone().context_trace(), InvalidOperation(_) | Duplicate(_) | SQLInterface(_) | SQLSyntax(_));
    let verify = if asked || !in_files {
        ""
    } else {
        "; if the question is right, `setaccio verify` tells whether the files are whole"
    };
    let said = said(error);
    let having = if said.contains("cast List type") {
        "; a condition of HAVING that does not go through goes into WHERE around the query with the groups"
    } else {
        ""
    };
    Error::Query(format!("the answer cannot be computed: {said}{having}{verify}"))
}

fn fault(said: &str) -> Error {
    Error::Base(setaccio_base::Error::Panic(format!("the engine of queries stopped ({said})")))
}
