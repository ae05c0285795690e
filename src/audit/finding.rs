//! What can be found at an upload: what is wrong with it, and what is only worth knowing. Each
//! finding says where, what it means for the client, and what to do.

use std::fmt;

use serde::Serialize;

/// Something is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Problem {
    /// The ledger cannot be read on.
    LedgerDamaged {
        /// Bytes from its start.
        at: u64,
        /// What is wrong there.
        what: String,
    },
    /// The ledger has a record that this version does not know.
    LedgerNewer {
        /// Bytes from its start.
        at: u64,
        /// What is wrong there.
        what: String,
    },
    /// The ledger has no whole beginning, and there are bytes that it should tell of.
    LedgerEmpty {
        /// Bytes of the ledger.
        size: u64,
        /// Bytes of the parts.
        stored: u64,
    },
    /// A file may not be read, or the system cannot.
    Unreadable {
        /// Which file, below the data folder.
        file: String,
        /// The chunk that was to be read; absent where it is not about one.
        #[serde(skip_serializing_if = "Option::is_none")]
        chunk: Option<u64>,
        /// Were we not allowed to, rather than it be damaged?
        forbidden: bool,
        /// What the system said.
        error: String,
    },
    /// The server marked the upload as damaged.
    MarkedDamaged,
    /// A part is gone.
    PartMissing {
        /// Which file, below the data folder.
        file: String,
        /// What it should hold.
        chunks: Runs,
    },
    /// A part lacks bytes at its end.
    PartShort {
        /// Which file, below the data folder.
        file: String,
        /// Bytes that it has.
        size: u64,
        /// Bytes that it should have at least.
        expected: u64,
        /// The chunks that lost bytes.
        chunks: Runs,
    },
    /// Something lies in a part's or file's place that is no plain file.
    NotAFile {
        /// Which name, below the data folder.
        file: String,
    },
    /// Bytes of consecutive chunks are not those of their digests.
    BytesDiffer {
        /// Which file, below the data folder.
        file: String,
        /// The chunks.
        chunks: Runs,
        /// Where they begin in the upload, in bytes.
        from: u64,
        /// Where they end.
        to: u64,
        /// Where they begin in the file.
        at: u64,
    },
    /// Bytes behind the last whole chunk are gone that a client was told of.
    TailShort {
        /// How far the client was told.
        told: u64,
        /// How far the bytes reach.
        there: u64,
    },
    /// Bytes behind the last whole chunk are not those that were promised to be durable.
    TailDiffers {
        /// Where they begin in the upload.
        from: u64,
        /// Where they end.
        to: u64,
    },
    /// The finished file is gone.
    FileMissing {
        /// Its name, below the data folder.
        file: String,
    },
    /// The finished file has another length.
    FileSize {
        /// Its name, below the data folder.
        file: String,
        /// Bytes that it has.
        size: u64,
        /// Bytes that it should have.
        expected: u64,
    },
    /// The digests of the chunks do not give the one of the whole.
    CompositeDiffers {
        /// What the ledger says of the whole.
        expected: String,
        /// What its chunks give.
        actual: String,
    },
}

/// Worth knowing, and no damage: a crash or a running server leaves such things.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Note {
    /// The ledger ends in the middle of a record.
    Torn {
        /// The end of the last whole record.
        at: u64,
        /// Bytes behind it.
        bytes: u64,
    },
    /// A creation that was cut off.
    Unbegun,
    /// A request with a checksum that was not accepted.
    Pending {
        /// Where its bytes begin.
        offset: u64,
    },
    /// Bytes without a digest: only their number was compared.
    Unproven {
        /// How many.
        bytes: u64,
    },
    /// Not compared by a server since the page cache was lost.
    Untrusted,
    /// Bytes that no fact tells of.
    LeftOver {
        /// Which file, below the data folder.
        file: String,
        /// How many.
        bytes: u64,
    },
    /// The file appeared, which was not written down.
    Unrecorded {
        /// Its name, below the data folder.
        file: String,
    },
    /// The upload is about to end, which was cut off.
    Ending,
    /// A part that another upload has, too.
    Lent {
        /// The final upload.
        to: String,
    },
}

/// A finding as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding<T> {
    /// What was found.
    #[serde(flatten)]
    pub found: T,
    /// A sentence on what and where.
    pub says: String,
    /// What it means for the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub means: Option<&'static str>,
    /// What to do.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub remedy: Option<&'static str>,
}

/// Is the upload's file visible?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Unfinished,
    Finished,
}

impl Problem {
    /// Could this be the work of a server that is in the middle of something? What was read and is
    /// wrong is not: bytes that a ledger names are never overwritten.
    pub(super) const fn may_pass(&self) -> bool {
        !matches!(
            self,
            Self::BytesDiffer { .. } | Self::MarkedDamaged | Self::CompositeDiffers { .. }
        )
    }

    /// Does it tell of us, and not of the upload?
    pub(super) const fn is_ours(&self) -> bool {
        matches!(self, Self::LedgerNewer { .. } | Self::Unreadable { forbidden: true, .. })
    }

    pub(super) fn told(self, stage: Stage) -> Finding<Self> {
        let (means, remedy) = self.advice(stage);
        Finding { says: self.to_string(), means: Some(means), remedy: Some(remedy), found: self }
    }

    const fn advice(&self, stage: Stage) -> (&'static str, &'static str) {
        match self {
            Self::LedgerDamaged { .. } | Self::LedgerEmpty { .. } => (
                "requests for this upload are refused; its bytes stay where they are",
                "restore the ledger from a backup, or DELETE the upload and have it sent anew",
            ),
            Self::LedgerNewer { .. } => (
                "this version refuses requests for the upload",
                "look with the version that wrote it",
            ),
            Self::Unreadable { forbidden: true, .. } => {
                ("it could not be compared", "run this as the user that the server runs as")
            }
            Self::Unreadable { .. } => (
                "requests that need these bytes fail",
                "look at the disk (dmesg, smartctl), then restore from a backup, or have it sent \
                 anew",
            ),
            Self::MarkedDamaged => (
                "requests for it are answered 410",
                "have it sent anew; look at the bytes under its name before you remove them",
            ),
            Self::NotAFile { .. } => {
                ("no byte is taken from there", "put the file back that was replaced")
            }
            Self::PartMissing { .. }
            | Self::PartShort { .. }
            | Self::TailShort { .. }
            | Self::TailDiffers { .. } => (
                "these bytes are lost; the server asks its client for them again",
                "nothing, where the client still sends; else restore the file from a backup",
            ),
            Self::BytesDiffer { .. } if matches!(stage, Stage::Finished) => (
                "wrong bytes are handed out",
                "restore the file from a backup, or DELETE the upload and have it sent anew",
            ),
            Self::BytesDiffer { .. } => (
                "the file would be finished with wrong bytes",
                "run the server with --verify-on-merge, which asks for these chunks again, or \
                 DELETE the upload and have it sent anew",
            ),
            Self::FileMissing { .. } => (
                "requests for it are answered 404, and a sweep forgets it",
                "restore the file from a backup, unless a DELETE was cut off here",
            ),
            Self::FileSize { .. } => (
                "a file of another length is handed out",
                "restore the file from a backup, or DELETE the upload and have it sent anew",
            ),
            Self::CompositeDiffers { .. } => (
                "the digest that clients are told is not the one of the bytes",
                "DELETE the upload and have it sent anew",
            ),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LedgerDamaged { at, what } | Self::LedgerNewer { at, what } => {
                write!(f, "the ledger cannot be read from byte {at} on: {what}")
            }
            Self::LedgerEmpty { size, stored } => write!(
                f,
                "the ledger has {size} bytes and no whole beginning, while {stored} bytes are \
                 stored"
            ),
            Self::Unreadable { file, chunk: Some(chunk), error, .. } => {
                write!(f, "chunk {chunk} cannot be read from {file}: {error}")
            }
            Self::Unreadable { file, error, .. } => write!(f, "{file} cannot be read: {error}"),
            Self::MarkedDamaged => f.write_str("the server found it damaged, and wrote that down"),
            Self::PartMissing { file, chunks } => {
                write!(f, "{file} is missing, with {chunks}")
            }
            Self::PartShort { file, size, expected, chunks } => {
                let short = expected.saturating_sub(*size);
                write!(f, "{file} is short by {short} bytes: {size} of {expected}, in {chunks}")
            }
            Self::NotAFile { file } => write!(f, "{file} is not a plain file"),
            Self::BytesDiffer { file, chunks, from, to, at } => {
                let verb = if chunks.is_one() { "does not match its digest" } else { "differ" };
                write!(f, "{chunks}, bytes {from}..{to}, {verb}: {file} from byte {at} on")
            }
            Self::TailShort { told, there } => {
                write!(f, "the offset {told} was told, and the bytes end at {there}")
            }
            Self::TailDiffers { from, to } => {
                write!(f, "bytes {from}..{to}, which were promised, do not match their digest")
            }
            Self::FileMissing { file } => write!(f, "{file} is missing"),
            Self::FileSize { file, size, expected } => {
                write!(f, "{file} has {size} bytes instead of {expected}")
            }
            Self::CompositeDiffers { expected, actual } => {
                write!(f, "the composite digest is {expected}, and the chunks give {actual}")
            }
        }
    }
}

impl Note {
    /// Could this be the work of a server that is in the middle of something?
    pub(super) const fn may_pass(&self) -> bool {
        matches!(self, Self::LeftOver { .. } | Self::Unbegun | Self::Torn { .. })
    }

    /// Would somebody who asked for trouble only want to hear of it?
    pub(super) const fn is_news(&self) -> bool {
        !matches!(self, Self::Unproven { .. } | Self::Pending { .. } | Self::Lent { .. })
    }

    pub(super) fn told(self) -> Finding<Self> {
        Finding { says: self.to_string(), means: None, remedy: None, found: self }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torn { at, bytes } => write!(
                f,
                "the ledger's last {bytes} bytes, from {at} on, are no whole record; a crash \
                 leaves that, and they do not count"
            ),
            Self::Unbegun => f.write_str("its creation was cut off; a sweep removes the ledger"),
            Self::Pending { offset } => write!(
                f,
                "a request with a checksum is under way or was cut off: bytes from {offset} on do \
                 not count yet"
            ),
            Self::Unproven { bytes } => {
                write!(f, "{bytes} bytes have no digest: only their number was compared")
            }
            Self::Untrusted => f.write_str(
                "the machine stopped since a server compared it: that happens at its next request",
            ),
            Self::LeftOver { file, bytes } => {
                write!(f, "{bytes} bytes of {file} belong to nobody; the next request removes them")
            }
            Self::Unrecorded { file } => {
                write!(f, "{file} is there, which was not written down; the next start does it")
            }
            Self::Ending => f.write_str("its end was cut off; the next sweep goes on with it"),
            Self::Lent { to } => write!(f, "the final upload {to} has its part, too"),
        }
    }
}

/// Numbers of chunks, as runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Runs(Vec<[u64; 2]>);

/// Runs that are spelled out.
const RUNS_TOLD: usize = 8;

impl Runs {
    /// One chunk.
    pub(super) fn one(chunk: u64) -> Self {
        Self(vec![[chunk, chunk]])
    }

    /// Adds a chunk behind those that are there.
    pub(super) fn push(&mut self, chunk: u64) {
        match self.0.last_mut() {
            Some([_, last]) if last.checked_add(1) == Some(chunk) => *last = chunk,
            _ => self.0.push([chunk, chunk]),
        }
    }

    /// The last chunk.
    pub(super) fn last(&self) -> Option<u64> {
        self.0.last().map(|[_, last]| *last)
    }

    fn is_one(&self) -> bool {
        matches!(self.0[..], [[first, last]] if first == last)
    }
}

impl fmt::Display for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_one() { "chunk" } else { "chunks" })?;
        for (at, [first, last]) in self.0.iter().take(RUNS_TOLD).enumerate() {
            f.write_str(if at == 0 { " " } else { ", " })?;
            if first == last { write!(f, "{first}")? } else { write!(f, "{first} to {last}")? }
        }
        if self.0.len() > RUNS_TOLD {
            f.write_str(" and more")?;
        }
        Ok(())
    }
}
