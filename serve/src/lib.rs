//! Models and adapters behind OpenAI's HTTP API: requests come in over HTTP, wait at the desk for the engine, and answers go out
//! whole or as they are written.
//!
//! From the bottom up: [`desk`] stands before the engine; `api` has a file for each route; `connections` takes in who comes,
//! [`server`] puts them together.

mod api;
mod connections;
pub mod desk;
mod metrics;
mod page;
pub mod server;
