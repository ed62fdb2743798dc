//! The batches of a Parquet file: where the library panics, or loses what the guard told, is an error like others.

use std::sync::PoisonError;

use arrow_array::RecordBatch;
use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    file::reader::ChunkReader,
};
use setaccio_base::unwound::unwound;

use super::{
    Flaw,
    pages::{Guarded, Told},
};

/// What says which columns and rows are read.
pub type Builder<R> = ParquetRecordBatchReaderBuilder<Guarded<R>>;

/// Batches, in order. After an error there is none that means anything.
pub struct Batches {
    reader: ParquetRecordBatchReader,
    told: Told,
}

impl Batches {
    /// Those of a `file` with this `metadata`, as `settings` wants them.
    ///
    /// # Errors
    /// The file is damaged, or cannot be read.
    pub fn new<R: ChunkReader + 'static>(
        file: Guarded<R>,
        metadata: ArrowReaderMetadata,
        settings: impl FnOnce(Builder<R>) -> Builder<R>,
    ) -> Result<Self, Flaw> {
        let told = file.told();
        let builder = settings(ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata));
        match unwound(|| builder.build().map_err(|e| e.to_string()), |said| said) {
            Ok(reader) => Ok(Self { reader, told }),
            Err(said) => Err(flaw(&told, said)),
        }
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, Flaw>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = unwound(|| self.reader.next().transpose().map_err(|e| e.to_string()), |said| said);
        batch.map_err(|said| flaw(&self.told, said)).transpose()
    }
}

/// What is wrong: what the guard told, or else what the library said.
fn flaw(told: &Told, said: String) -> Flaw {
    let told = told.lock().unwrap_or_else(PoisonError::into_inner).take();
    told.unwrap_or_else(|| Flaw::said(said))
}
