//! Checkpoints: written whole, found whole, or recognised as torn.
