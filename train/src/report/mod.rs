//! What a run tells: metrics, TensorBoard events, the curve, the lock, the model card, a page that shows it, and what differs
//! between two.

pub mod card;
pub mod compare;
pub mod curve;
pub mod evaluation;
pub mod front;
pub mod line;
pub mod lock;
pub mod merge_lock;
pub mod metrics;
pub mod page;
pub mod tensorboard;
