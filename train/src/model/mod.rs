//! Llama and its relatives, forward and backward by hand: [`llama`] is the whole, [`layer`] one decoder layer of [`attention`] and
//! [`feed_forward`], an [`mlp`] or several behind a [`router`], all made of [`linear`] layers, which may have a [`lora`] adapter. What a family does otherwise stands in
//! [`family`], once; from there [`config`] and [`load`] build the one block that all have.

pub mod attention;
pub mod config;
pub mod context;
#[cfg(feature = "cuda")]
pub mod drawn;
pub mod embedding;
pub mod family;
pub mod feed_forward;
pub mod grown;
pub mod head;
pub mod kv_cache;
pub mod layer;
pub mod linear;
pub mod llama;
pub mod load;
pub mod lora;
pub mod maybe_trained;
pub mod mlp;
pub mod norm;
pub mod projections;
pub mod rope;
pub mod rope_scaling;
pub mod router;
pub mod weight;
