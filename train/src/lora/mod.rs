//! Low-rank adapters and their PEFT files.
