//! What a server asks of its disk, step by step, and what each moment leaves behind if the process
//! or the machine dies then.
//!
//! The steps are those of `storage/local.rs` and `state/local`: one for each change of a file's
//! bytes, of a name, of a ledger, and one for each flush. A write is two steps, so that half a
//! write can be all that came.

mod disk;
mod survival;

use std::sync::{Arc, Mutex};

pub(crate) use self::{
    disk::{TraceState, TraceStorage},
    survival::{Loss, Remains, Span, kept, losses, losses_since},
};
use crate::upload::{FinalName, Manifest, PartId, Sha256Digest, Stamped, UploadId};

/// A file, whatever names it has.
pub(crate) type FileNumber = usize;

/// One step.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Bytes of a file.
    Write { file: FileNumber, at: usize, bytes: Vec<u8> },
    /// A file is cut.
    Truncate { file: FileNumber, size: usize },
    /// A file gets a name among an upload's parts; whatever had it loses it.
    Name { file: FileNumber, id: UploadId, part: PartId },
    /// A part becomes a finished file.
    Publish { file: FileNumber, id: UploadId, part: PartId, name: FinalName },
    /// A finished file becomes a part again.
    Withdraw { file: FileNumber, id: UploadId, part: PartId, name: FinalName },
    /// A part loses its name.
    RemovePart { id: UploadId, part: PartId },
    /// A finished file loses its name.
    RemoveFinished { name: FinalName },
    /// A ledger begins.
    Ledger { manifest: Box<Manifest> },
    /// Facts are added to it, all or none: half a commit is none (`state/local`).
    Facts { id: UploadId, facts: Vec<Stamped> },
    /// A ledger goes.
    Forget { id: UploadId },
    /// A ledger that says nothing any more, and keeps its place.
    Void { id: UploadId },
    /// The bytes of a file are on the disk.
    SyncFile { file: FileNumber },
    /// The names in an upload's folder are.
    SyncFolder { id: UploadId },
    /// The names of finished files are.
    SyncFiles,
    /// A ledger is, with its name.
    SyncLedger { id: UploadId },
    /// A client has been told something.
    Told(Told),
}

/// What a client has been told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// There is such an upload.
    Begun { id: UploadId },
    /// The bytes up to here are kept.
    Offset { id: UploadId, offset: u64 },
    /// The chunk is kept, with these bytes.
    Chunk { id: UploadId, index: u64, digest: Sha256Digest },
    /// The upload is complete.
    Finished { id: UploadId },
    /// The upload is gone.
    Deleted { id: UploadId },
}

impl Told {
    /// Of which upload.
    pub(crate) fn id(&self) -> &UploadId {
        match self {
            Self::Begun { id }
            | Self::Offset { id, .. }
            | Self::Chunk { id, .. }
            | Self::Finished { id }
            | Self::Deleted { id } => id,
        }
    }
}

/// The steps so far, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Vec<Step>>>);

impl Trace {
    fn add(&self, step: Step) {
        self.0.lock().unwrap().push(step);
    }

    /// What was done in an earlier life.
    pub(crate) fn behind(steps: Vec<Step>) -> Self {
        Self(Arc::new(Mutex::new(steps)))
    }

    /// A client has been told something.
    pub(crate) fn told(&self, told: Told) {
        self.add(Step::Told(told));
    }

    /// All steps.
    pub(crate) fn steps(&self) -> Vec<Step> {
        self.0.lock().unwrap().clone()
    }
}
