//! Names of what the folder of a built data set holds.

/// Folder of the shards.
pub const DATA: &str = "data";
/// Folder of the rows that were dropped.
pub const REJECTS: &str = "rejects";
/// The recipe as it was resolved.
pub const RECIPE_LOCK: &str = "recipe.lock.toml";
/// Picture of the rows kept and dropped.
pub const WATERFALL: &str = "waterfall.svg";
/// The dataset card.
pub const CARD: &str = "README.md";
/// The page that shows a build, where one was asked for.
pub const REPORT: &str = "report.html";
/// Rows and bytes in and out of every stage.
pub const LEDGER: &str = "ledger.json";

/// Everything that a build publishes, in the order it is put in place; the ledger last, because it is
/// what says that a build is there.
pub const PUBLISHED: [&str; 6] = [DATA, REJECTS, RECIPE_LOCK, WATERFALL, CARD, LEDGER];
