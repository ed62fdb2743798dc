//! What a built data set is: the schema of its recipe, its lock and ledger, the names of its files, its columns, and
//! reading its shards row by row.

pub mod columns;
pub mod decontamination;
pub mod find;
pub mod folder;
pub mod keys;
pub mod ledger;
pub mod lock;
mod names;
pub mod parquet_file;
pub mod recipe;
pub mod repeats;
pub mod row_groups;
pub mod seal;
pub mod shard;
