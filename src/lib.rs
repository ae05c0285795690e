//! piton: a resumable-upload server.

pub mod upload;

pub mod state;
pub mod storage;

pub mod clock;
pub mod durable;
