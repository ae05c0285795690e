//! A resumable-upload server: tus 1.0.0 and numbered chunks over one verified, crash-safe store.

pub mod config;
pub mod telemetry;
