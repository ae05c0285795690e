//! What is told of one upload.

use serde::Serialize;

use super::finding::{Finding, Note, Problem};
use crate::upload::{PartId, UploadId};

/// How an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Nothing is wrong with it.
    Ok,
    /// Something is.
    Damaged,
    /// A server changes it all the time, or holds it: nothing can be said.
    Busy,
    /// It could not be looked at.
    Unreadable,
}

/// What was found at one upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Which upload.
    pub id: String,
    /// How it is.
    pub status: Status,
    /// Where it stands; absent where its ledger does not tell.
    pub phase: Option<String>,
    /// Bytes of the file; absent where that is not known yet.
    pub length: Option<u64>,
    /// Bytes that are there.
    pub stored: u64,
    /// Bytes that were read and compared.
    pub checked: u64,
    /// Bytes that have no digest.
    pub unproven: u64,
    /// The finished file, below the data folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What is wrong.
    pub problems: Vec<Finding<Problem>>,
    /// What is worth knowing.
    pub notes: Vec<Finding<Note>>,
}

/// A ledger's name below the data folder.
pub(super) fn ledger_name(id: &UploadId) -> String {
    format!("state/{}/{id}.ledger", id.shard())
}

/// A part's name below the data folder.
pub(super) fn part_name(id: &UploadId, part: PartId) -> String {
    match part {
        PartId::WHOLE => format!("uploads/{id}.part"),
        _ => format!("uploads/{id}/{part}"),
    }
}

/// A finished file's name below the data folder.
pub(super) fn file_name(name: &str) -> String {
    format!("files/{name}")
}
