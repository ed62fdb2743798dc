//! Against what other programs computed: the scripts and their outputs are in tests/oracles/train.

mod model_files;
mod peft;
