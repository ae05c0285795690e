//! What an upload became.

use super::{
    digest::{DigestForm, Sha256Digest},
    mark::FileMark,
    name::FinalName,
    time::Timestamp,
    units::Length,
};

/// How a file is about to appear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Merging {
    pub(super) name: FinalName,
    pub(super) form: Option<DigestForm>,
    pub(super) mark: Option<FileMark>,
}

/// The finished file of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its name under `files/`.
    pub name: FinalName,
    /// Tells it from another file that has the name later; absent where an earlier version finished
    /// it, or the storage knows no marks.
    pub mark: Option<FileMark>,
    /// Its bytes.
    pub length: Length,
    /// The raw composite digest; absent under `--chunk-digest none`.
    pub composite: Option<Sha256Digest>,
    /// In which form the client's digest matched; absent where it gave none.
    pub form: Option<DigestForm>,
    /// When it became visible.
    pub at: Timestamp,
}
