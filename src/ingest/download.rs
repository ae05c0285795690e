//! Finished files, for reading. Readers take no lock.

use std::{io, ops::Range, sync::Arc};

use bytes::Bytes;

use super::{Ingest, IngestError};
use crate::{
    blocking,
    hold::HoldError,
    storage::Blob,
    upload::{Finished, Record, UploadId},
};

/// Bytes that are read at first, and twice as many each time that they were taken: who asks for
/// much and takes nothing holds little.
const FIRST_READ: u64 = 16 * 1024;
/// Bytes that are read at once at most.
const READ: u64 = 256 * 1024;

/// An open finished file. It stays readable when the upload is deleted meanwhile.
#[derive(Debug)]
pub struct Download {
    /// The facts.
    pub record: Arc<Record>,
    /// The file.
    pub finished: Finished,
    blob: Arc<dyn Blob>,
    /// What is still to be read.
    span: Range<u64>,
    /// How many bytes are read next.
    block: u64,
}

impl Ingest {
    /// Opens a finished file; `Unknown` for an upload that is not finished: nothing unfinished is
    /// ever served.
    pub async fn download(self: &Arc<Self>, id: &UploadId) -> Result<Download, IngestError> {
        let record = self.status(id).await?.record;
        let holds = self.holds.clone();
        blocking::run(move || {
            let finished = record.finished().cloned().ok_or(HoldError::Unknown)?;
            let blob: Arc<dyn Blob> = match holds.storage().open_finished(&finished.name) {
                Ok(blob) => Arc::from(blob),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(HoldError::Unknown.into());
                }
                Err(error) => return Err(HoldError::Io(error).into()),
            };
            if !holds.is_still_named(&record, &*blob)? {
                return Err(HoldError::Unknown.into());
            }
            let span = 0..finished.length.get();
            Ok(Download { record, finished, blob, span, block: FIRST_READ })
        })
        .await
    }
}

impl Download {
    /// Reads these bytes from now on, not the whole file.
    pub const fn seek(&mut self, span: Range<u64>) {
        self.span = span;
    }

    /// Has all of it been read?
    pub const fn is_over(&self) -> bool {
        self.span.start >= self.span.end
    }

    /// The next bytes, at most 256 KiB; `None` at the end.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let at = self.span.start;
        let left = self.span.end.saturating_sub(at).min(self.block);
        if left == 0 {
            return None;
        }
        let blob = self.blob.clone();
        let read = blocking::run(move || {
            let mut bytes = vec![0; usize::try_from(left).map_err(io::Error::other)?];
            blob.read_at(&mut bytes, at)?;
            Ok(Bytes::from(bytes))
        })
        .await;
        self.span.start = at.saturating_add(left);
        self.block = self.block.saturating_mul(2).min(READ);
        Some(read)
    }
}
