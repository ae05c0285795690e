//! piton: a resumable-upload server.

pub mod upload;

pub mod hold;

pub mod lock;
pub mod state;
pub mod storage;

pub mod blocking;
pub mod clock;
pub mod durable;
