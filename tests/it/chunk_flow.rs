//! The chunk flow: check, upload, status, merge, delete.

mod check;
mod delete;
mod limits;
mod merge;
mod put;
mod status;
