//! Parquet files as one table, read when it is asked and a piece at a time.

use std::path::Path;

use polars::{
    io::HiveOptions,
    prelude::{DataType, Expr, LazyFrame, PlRefPath, ScanArgsParquet, col},
};
use setaccio_base::Error as Base;
use setaccio_dataset::parquet_file;

use crate::error::{Error, Result};

/// A file whose size and rows are known from elsewhere.
#[derive(Clone, Copy)]
pub struct Known<'a> {
    /// Its path below the folder.
    pub path: &'a str,
    /// Its bytes.
    pub bytes: u64,
    /// Its rows, if they are known.
    pub rows: Option<u64>,
}

/// These files of `folder`, which have the same columns, as one table; and their rows.
///
/// # Errors
/// One is missing, is not as large as it was, or is no whole Parquet file. The pages in it are held against nothing: that is what
/// `setaccio verify` is for.
pub fn files(folder: &Path, known: &[Known<'_>]) -> Result<(LazyFrame, u64)> {
    let mut rows = 0;
    let mut paths = Vec::new();
    for file in known {
        let path = folder.join(file.path);
        let bytes = std::fs::metadata(&path).map_err(Base::io("open", &path))?.len();
        let changed =
            || Base::damaged(&path, "is not the file that was written; `setaccio verify` lists all that was changed");
        // What is no file at all is not opened.
        if bytes == 0 {
            return Err(changed().into());
        }
        let (found, _) = parquet_file::own(&path, |builder| builder)?;
        if bytes != file.bytes || file.rows.is_some_and(|rows| rows != found) {
            return Err(changed().into());
        }
        rows += found;
        let whole = std::path::absolute(&path).map_err(Base::io("find", &path))?;
        let whole = whole.to_str().ok_or_else(|| Base::damaged(&path, "has a name that is not Unicode"))?;
        paths.push(PlRefPath::new(whole));
    }
    if rows > u64::from(u32::MAX) {
        let message = "holds more than 4,294,967,295 rows in a table, which is more than a query counts";
        return Err(Error::Base(Base::damaged(folder, message)));
    }
    // A folder called `a=b` is no column, and `*` in a name is a letter.
    let args = ScanArgsParquet {
        glob: false,
        cache: false,
        hive_options: HiveOptions::new_disabled(),
        ..ScanArgsParquet::default()
    };
    let mut frame = LazyFrame::scan_parquet_files(paths.into_iter().collect(), args)?;
    // Sums of narrow numbers, and differences of those without a sign, would begin again from the other end.
    let columns = frame.collect_schema()?;
    let narrow = columns.iter().filter(|(_, kind)| kind.is_integer() && **kind != DataType::Int64);
    let wide: Vec<Expr> = narrow.map(|(name, _)| col(name.clone()).strict_cast(DataType::Int64)).collect();
    Ok((if wide.is_empty() { frame } else { frame.with_columns(wide) }, rows))
}
