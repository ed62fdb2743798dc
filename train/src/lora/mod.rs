//! Low-rank adapters and their PEFT files.

pub mod peft;
