//! `setaccio query`: SQL over the files of a build, a run or a chain.

use std::{
    fs,
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use clap::ValueEnum;
use setaccio_base::atomic;
use setaccio_query::{
    Error,
    answer::{Answer, ask},
    layout::{Head, Lines, lines},
    tables::Tables,
    writer::{Format, Writer, cells},
};

use crate::{
    progress::{Bar, Loudness},
    stores,
    style::{FAINT, GOOD, HEAD, count, counted},
    terminal,
};

/// Ask a build, a run or a chain in SQL: which rows, how many, how long, what was dropped and why
///
/// Without a query it lists the tables, with their rows, columns and types. Only SELECT is answered: nothing is changed, and no file but those
/// of the folder is read. Files are read a piece at a time, so that memory does not grow with them.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a finished build, or of a run or a chain
    out: PathBuf,
    /// The query, for instance "SELECT rule, count(*) FROM rejects GROUP BY 1"
    #[arg(value_name = "SQL")]
    sql: Option<String>,
    /// How the rows are printed
    #[arg(long, value_enum, default_value_t, conflicts_with = "output")]
    format: Printed,
    /// Write the rows into a file that ends in .parquet, .csv, .json or .jsonl, and print none
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Rows of a table that are printed; those beyond are counted
    #[arg(short = 'n', value_name = "N", default_value_t = 50)]
    rows: usize,
}

/// How rows are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Printed {
    /// Columns side by side, for a person
    #[default]
    Table,
    /// A line of names, then a line a row
    Csv,
    /// One array of objects
    Json,
    /// An object a line
    Jsonl,
}

pub fn run(args: &Args) -> Result<()> {
    let out = &args.out;
    if stores::address(out).is_some() {
        bail!("{}: a query reads a folder; `setaccio pull` brings a build of a store here", out.display());
    }
    let format = args.output.as_deref().map(Format::of).transpose()?;
    // Ctrl-C is asked for all along.
    let progress = Bar::with(Loudness::Quiet);
    let answered = Tables::open(out).and_then(|tables| match &args.sql {
        Some(sql) => ask(&tables, sql),
        None => tables.list().map(Answer::from),
    });
    let given = answered.map_err(anyhow::Error::from).and_then(|answer| match (&args.output, format, args.format) {
        (Some(file), Some(format), _) => written(answer, (out, file), format, &progress),
        // A list of what there is to ask is whole.
        (.., Printed::Table) => shown(answer, args.sql.as_ref().map_or(usize::MAX, |_| args.rows), &progress),
        (.., Printed::Csv) => printed(answer, Format::Csv, &progress),
        (.., Printed::Json) => printed(answer, Format::Json, &progress),
        (.., Printed::Jsonl) => printed(answer, Format::Jsonl, &progress),
    });
    given.or_else(|error| match error.downcast_ref() {
        Some(Error::Interrupted) => Err(setaccio_base::Error::Interrupted.into()),
        // A reader that has seen enough is no failure.
        Some(Error::Write(why)) if why.kind() == ErrorKind::BrokenPipe && args.output.is_none() => Ok(()),
        _ => Err(error),
    })
}

/// Rows for a person: the first, and how many more there are.
fn shown(answer: Answer, most: usize, progress: &Bar) -> Result<()> {
    let heads =
        answer.columns.iter().map(|(name, kind)| Head { name: name.to_string(), number: kind.is_primitive_numeric() });
    let heads: Vec<Head> = heads.collect();
    let (mut rows, mut all) = (Vec::new(), 0);
    answer.pieces(progress, |piece| {
        let some = piece.height().min(most - rows.len());
        rows.extend((0..some).map(|at| cells(piece, at)));
        all += piece.height() as u64;
        Ok(())
    })?;
    let shown = rows.len() as u64;
    let Lines { head, rows } = lines(&heads, &rows, terminal::width());
    for line in head {
        say!("{HEAD}{line}{HEAD:#}");
    }
    for line in rows {
        say!("{line}");
    }
    match all - shown {
        0 => say!("{FAINT}{}{FAINT:#}", counted(all, "row")),
        more => {
            say!("{FAINT}{}, of which {} are not shown: -n N shows N{FAINT:#}", counted(all, "row"), count(more));
        }
    }
    Ok(())
}

/// Rows for a program, on stdout.
fn printed(answer: Answer, format: Format, progress: &Bar) -> Result<()> {
    let out = io::BufWriter::with_capacity(1 << 16, terminal::Data);
    rows(answer, format, out, progress).map(drop)
}

/// Rows in a file, which takes the place of one that is there when all of them are written.
fn written(answer: Answer, (out, file): (&Path, &Path), format: Format, progress: &Bar) -> Result<()> {
    let within = |file: &Path| -> io::Result<bool> {
        let folder = fs::canonicalize(atomic::parent(file))?;
        Ok(folder.starts_with(fs::canonicalize(out)?))
    };
    let vacant = || -> Result<()> {
        // The folder is there by now.
        if within(file).unwrap_or(false) {
            bail!(
                "{}: lies in the folder that is asked, which keeps what was written there; name another place",
                file.display()
            );
        }
        Ok(())
    };
    let all = atomic::file(file, vacant, |to| rows(answer, format, to, progress))?;
    say!("{GOOD}written:{GOOD:#} {} ({})", file.display(), counted(all, "row"));
    Ok(())
}

/// Write all rows of an answer.
fn rows(answer: Answer, format: Format, to: impl Write, progress: &Bar) -> Result<u64> {
    let mut writer = Writer::begin(format, answer.columns.clone(), to)?;
    answer.pieces(progress, |piece| writer.add(piece))?;
    Ok(writer.end()?)
}
