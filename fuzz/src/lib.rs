//! Hostile input for every decoder of piton.
//!
//! Each [`Target`] takes any bytes and panics where a property does not hold: more than *does not
//! panic*, it is what the decoder promises (one spelling, a round trip, a limit, one harmless path
//! segment, a prefix of lawful commits). `corpus/NAME` has inputs that reach its branches, and each
//! input that once broke something; `cargo test` replays them all. `fuzz/run` looks for further
//! ones, guided by coverage.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::disallowed_methods,
    reason = "a panic is how a target speaks"
)]

mod input;
mod scratch;
mod targets;

pub use targets::{TARGETS, Target};
