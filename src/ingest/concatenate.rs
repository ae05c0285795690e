//! Final uploads: made of partial ones.

use std::{sync::Arc, time::Duration};

use tokio::time;

use super::{Ingest, IngestError, NewUpload};
use crate::{
    blocking,
    hold::{HoldError, Origin},
    lock::Manner,
    merger::{Concatenated, MergeError, Readiness},
    upload::{
        Concatenation, Finished, JOINED_CHUNKS_MAX, Length, Parts, Phase, Record, Timestamp,
        UploadId,
    },
};

/// How long the answer waits for the bytes to be joined: clients give up after 30 s.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a client says of a final upload.
#[derive(Debug, Clone)]
pub struct NewFinal {
    /// What it is made of.
    pub parts: Parts,
    /// tus `Upload-Metadata`, verbatim.
    pub metadata: String,
    /// The file's name.
    pub filename: Option<String>,
    /// The file's media type.
    pub media_type: Option<String>,
    /// Whose it is; empty where nobody is told apart.
    pub owner: String,
}

/// A new final upload.
#[derive(Debug)]
pub struct CreatedFinal {
    /// Its name.
    pub id: UploadId,
    /// The file, if it is there already; else the upload completes by itself.
    pub finished: Option<Finished>,
    /// When it expires, if it is unfinished.
    pub deadline: Option<Timestamp>,
}

impl Ingest {
    /// Makes an upload out of partial ones: at once, if they are complete, else when the last of
    /// them is.
    pub async fn concatenate(self: &Arc<Self>, new: NewFinal) -> Result<CreatedFinal, IngestError> {
        let (this, parts) = (self.clone(), new.parts.clone());
        let readiness = blocking::run(move || this.judge(&parts)).await?;
        let (length, open) = match readiness {
            Readiness::Ready(length) => (Some(length), false),
            Readiness::Waiting(length) => (length, true),
            Readiness::Broken => return Err(IngestError::NotPartial),
        };
        let manifest = self.manifest(NewUpload {
            length,
            metadata: new.metadata,
            filename: new.filename,
            media_type: new.media_type,
            concatenation: Some(Concatenation::Final(new.parts)),
            owner: new.owner,
        })?;
        let id = manifest.id.clone();
        let (held, origin) = self.holds.create(manifest).await?;
        if origin == Origin::Found {
            return Err(HoldError::Io(std::io::Error::other("a random id came twice")).into());
        }
        drop(held);
        let begun = if open { self.promise(&id).await.map(|_| ()) } else { Ok(()) };
        let outcome = match begun {
            Ok(()) => self.join(&id).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(created) => Ok(created),
            Err(error) => {
                // Nobody will ever hear of this upload. If it cannot go now, it expires.
                let _ = self.holds.forget(&id).await;
                Err(error)
            }
        }
    }

    async fn join(self: &Arc<Self>, id: &UploadId) -> Result<CreatedFinal, IngestError> {
        let joined = time::timeout(PATIENCE, self.merger.concatenate(id)).await;
        match joined.unwrap_or(Ok(Concatenated::Running)) {
            // Not looked at once more: whoever fails from here on takes the file away.
            Ok(Concatenated::Finished(finished)) => {
                Ok(CreatedFinal { id: id.clone(), finished: Some(finished), deadline: None })
            }
            Ok(Concatenated::Waiting | Concatenated::Running) => self.promise(id).await,
            // A part went since it was looked at.
            Err(MergeError::Hold(HoldError::Expired)) => Err(IngestError::NotPartial),
            Err(error) => Err(error.into()),
        }
    }

    /// From now on it completes by itself, also after a restart.
    async fn promise(&self, id: &UploadId) -> Result<CreatedFinal, IngestError> {
        let mut held = self.holds.take(id, Manner::Asking).await?;
        let promised = blocking::run(move || {
            if held.record().finished().is_none() {
                held.promise()?;
            }
            let (finished, deadline) = (held.record().finished().cloned(), held.deadline());
            Ok::<_, HoldError>(CreatedFinal { id: held.id().clone(), finished, deadline })
        });
        Ok(promised.await?)
    }

    /// Are all of these partial uploads, and short enough together?
    fn judge(&self, parts: &Parts) -> Result<Readiness, IngestError> {
        let readiness = self.merger.readiness(&parts.ids)?;
        if let (Readiness::Ready(length) | Readiness::Waiting(Some(length)), Some(max)) =
            (readiness, self.merger.max_size())
            && length > max
        {
            return Err(IngestError::MaxSizeExceeded { max });
        }
        let chunks = self.options.chunk_size.get().saturating_mul(JOINED_CHUNKS_MAX);
        match (readiness, Length::new(chunks)) {
            (Readiness::Ready(length) | Readiness::Waiting(Some(length)), Ok(max))
                if length > max =>
            {
                Err(IngestError::MaxSizeExceeded { max })
            }
            _ => Ok(readiness),
        }
    }

    /// How a final upload stands that is not finished: where every length is known, their sum.
    /// Looks after it on the way: what was missed is begun.
    pub(super) async fn watch_final(
        self: &Arc<Self>,
        id: &UploadId,
        record: &Arc<Record>,
    ) -> Result<Option<Length>, IngestError> {
        if record.phase() != Phase::Receiving {
            self.merger.concatenate_soon(id);
            return Ok(record.layout().length());
        }
        let (merger, looked) = (self.merger.clone(), record.clone());
        let readiness = blocking::run(move || merger.readiness_of(&looked)).await?;
        match readiness {
            Readiness::Waiting(length) => Ok(length),
            Readiness::Ready(length) => {
                if !self.merger.is_running(id) {
                    self.merger.concatenate_soon(id);
                }
                Ok(Some(length))
            }
            // It may be on its way all the same, with the bytes of a part that is gone by now.
            Readiness::Broken => match self.merger.concatenate(id).await {
                Err(error) => Err(error.into()),
                Ok(_) => Ok(None),
            },
        }
    }
}
