//! piton: a resumable-upload server.

pub mod protocol;
pub mod upload;

pub mod state;
pub mod storage;

pub mod clock;
pub mod durable;
