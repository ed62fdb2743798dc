//! Object stores, by the crate `object_store`, behind [`setaccio_base::objects::Stores`]: its signatures, listings and rules for
//! trying again, over the HTTP client that the Hub is asked with. Nothing here knows of recipes or data sets.
//!
//! A call waits until it is answered, on whichever thread asks; [`wait`] has the runtime, and leaves when the program is told to stop.

mod address;
mod bucket;
mod client;
mod credentials;
mod profile;
mod sentence;
mod transport;
mod upload;
mod wait;

pub use client::stores;
