//! Strangers who mean harm: floods, bombs, smuggled requests, names that are no names.
//!
//! Each of them is watched: others are served meanwhile, memory stays bounded, nothing panics, and
//! the processor is idle again once they leave.

mod bodies;
mod bombs;
mod floods;
mod frames;
mod heads;
mod log;
pub mod watch;
