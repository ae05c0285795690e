//! The chunk flow: init, check, upload, status, merge, delete.

mod check;
mod delete;
mod disk;
mod finish;
mod init;
mod instant;
mod limits;
mod merge;
mod metrics;
mod put;
mod status;
mod turns;
