//! A training recipe: its tables, and how they are read and checked.

mod base;
mod load;
mod lora;
mod preference;
mod schema;

pub use base::names;
pub use load::{HOME, RecipeFile, load};
pub use lora::{AdapterType, EMBEDDING, FUSED, HEAD, Init, LINEARS, Lora, TABLES, is_linear};
pub use preference::{DpoKind, Preference, PreferenceLoss, Reference, Term};
pub use schema::{
    Checkpoint, ComputeType, Data, Device, EmptyAnswers, Eval, Form, Model, Optimizer, Overlong, Packing, Quantization,
    Recipe, Recompute, Schedule, TINY, TINY_FOLDER, Task, Train, TrainOn, Unsaid,
};
pub use setaccio_base::run_lock::Method;
