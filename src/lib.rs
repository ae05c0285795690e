//! A resumable-upload server: tus 1.0.0 and numbered chunks over one verified, crash-safe store.

pub mod config;
pub mod server;

pub mod service;

pub mod protocol;
pub mod upload;

pub mod ingest;

pub mod hold;
pub mod merger;
pub mod reaper;

pub mod lock;
pub mod state;
pub mod storage;

pub mod blocking;
pub mod clock;
pub mod durable;
pub mod telemetry;

#[cfg(test)]
mod tests;
