//! Answers: many texts are written beside each other, a token each a step, with the keys and values of each kept.
//!
//! The forward pass is the trainer's. What is new is who computes what when: [`engine`] takes requests in, reads their prompts in
//! pieces and writes all of them on together; [`rows`] says which rows of the KV cache a text has, and keeps the prompts that
//! were read for texts that begin alike; [`sampling`] chooses tokens; [`text`] makes text
//! of them as they come.
//!
//! A text does not depend on what is written beside it, nor on what was kept of its prompt, to the bit on a CPU: prompts are read in
//! blocks of the same places in every prompt, of enough rows for each row's products to be the same whatever their number, and
//! tokens are written through products of each row by itself. On a GPU cuBLAS chooses by sizes, and equal texts are equal but for rounding.

pub mod engine;
#[cfg(feature = "cuda")]
pub mod gpu_check;
mod pieces;
pub mod request;
mod rows;
pub mod sampling;
#[cfg(test)]
mod tests;
pub mod text;
