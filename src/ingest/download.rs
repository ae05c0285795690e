//! Finished files, for reading. Readers take no lock.

use std::{io, sync::Arc};

use bytes::Bytes;

use super::{Ingest, IngestError};
use crate::{
    blocking,
    hold::HoldError,
    storage::Blob,
    upload::{Finished, Record, UploadId},
};

/// Bytes that are read at once.
const READ: u64 = 256 * 1024;

/// An open finished file. It stays readable when the upload is deleted meanwhile.
#[derive(Debug)]
pub struct Download {
    /// The facts.
    pub record: Arc<Record>,
    /// The file.
    pub finished: Finished,
    blob: Arc<dyn Blob>,
    at: u64,
}

impl Ingest {
    /// Opens a finished file; `Unknown` for an upload that is not finished: nothing unfinished is
    /// ever served.
    pub async fn download(&self, id: &UploadId) -> Result<Download, IngestError> {
        let (holds, id) = (self.holds.clone(), id.clone());
        blocking::run(move || {
            let record = holds.look(&id)?.current.record;
            let finished = record.finished().cloned().ok_or(HoldError::Unknown)?;
            let blob = match holds.storage().open_finished(&finished.name) {
                Ok(blob) => Arc::from(blob),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(HoldError::Unknown.into());
                }
                Err(error) => return Err(HoldError::Io(error).into()),
            };
            Ok(Download { record, finished, blob, at: 0 })
        })
        .await
    }
}

impl Download {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let left = self.finished.length.get().saturating_sub(self.at).min(READ);
        if left == 0 {
            return None;
        }
        let (blob, at) = (self.blob.clone(), self.at);
        let read = blocking::run(move || {
            let mut bytes = vec![0; usize::try_from(left).map_err(io::Error::other)?];
            blob.read_at(&mut bytes, at)?;
            Ok(Bytes::from(bytes))
        })
        .await;
        self.at = self.at.saturating_add(left);
        Some(read)
    }
}
