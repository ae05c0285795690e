//! Digests of joined bytes, taken behind the answer.

use std::sync::Arc;

use super::{MergeError, Merger};
use crate::{
    blocking,
    durable::Flush,
    hold::{Hashing, HoldError},
    lock::Manner,
    storage::Blob,
    upload::{ChunkIndex, Fact, Record, Sha256Digest, UploadId},
};

/// Chunks whose digests are written down together.
const BATCH: usize = 64;

impl Merger {
    /// Goes on with what a crash interrupted. That a part of it is gone by now, or it itself, or
    /// bytes that its client is asked for again, is no failure: nobody but a client can help.
    pub async fn resume(self: &Arc<Self>, id: &UploadId) -> Result<(), MergeError> {
        let resumed = match self.concatenate(id).await {
            Err(MergeError::Hold(HoldError::Unknown)) => self.merge_unasked(id).await,
            concatenated => concatenated.map(|_| ()),
        };
        match resumed {
            Err(
                MergeError::Hold(HoldError::Unknown | HoldError::Expired)
                | MergeError::Missing { .. },
            ) => {
                tracing::info!(%id, "an interrupted upload has nothing left to finish");
                Ok(())
            }
            resumed => resumed,
        }
    }

    /// Takes the digests of a finished upload that was joined, in the background. One at a time:
    /// nobody waits for them.
    pub(super) fn digest_soon(self: &Arc<Self>, id: &UploadId) {
        let (this, id) = (self.clone(), id.clone());
        self.tasks.spawn(async move {
            let Ok(_turn) = this.digesting.acquire().await else { return };
            if let Err(error) = this.digest(&id).await {
                tracing::warn!(%id, %error, "could not take the digests of a finished upload");
            }
        });
    }

    async fn digest(self: &Arc<Self>, id: &UploadId) -> Result<(), HoldError> {
        while self.options.hashing == Hashing::Sha256 && !self.tasks.is_closed() {
            let (holds, at) = (self.holds.clone(), id.clone());
            let tasks = self.tasks.clone();
            let facts = blocking::run(move || -> Result<Vec<Fact>, HoldError> {
                let record = holds.look(&at)?.current.record;
                let Some(finished) = record.finished() else { return Ok(Vec::new()) };
                let file = holds.storage().open_finished(&finished.name)?;
                if !holds.is_still_named(&record, &*file)? {
                    return Err(HoldError::Unknown);
                }
                let lacking = lacking_digests(&record);
                let running = lacking.take_while(|_| !tasks.is_closed());
                running.map(|chunk| digest_of(&record, &*file, chunk)).collect()
            });
            let facts = facts.await?;
            if facts.is_empty() {
                break;
            }
            let mut held = self.holds.take(id, Manner::Patient).await?;
            blocking::run(move || held.commit_found(facts, Flush::Lazy)).await?;
        }
        if self.tasks.is_closed() {
            return Ok(());
        }
        // Held: whoever deletes it meanwhile brings its file into that folder, and needs it there
        // until the facts are gone.
        let held = self.holds.take(id, Manner::Patient).await?;
        blocking::run(move || held.clear_joined()).await
    }
}

fn lacking_digests(record: &Record) -> impl Iterator<Item = ChunkIndex> {
    let lacking = record.chunks().iter().filter(|(_, sealed)| sealed.digest.is_none());
    lacking.map(|(chunk, _)| chunk).take(BATCH)
}

fn digest_of(record: &Record, file: &dyn Blob, chunk: ChunkIndex) -> Result<Fact, HoldError> {
    let at = record.layout().start(chunk)?.get();
    let digest: Sha256Digest =
        crate::hold::hash_range(file, at, record.layout().chunk_len(chunk)?)?.into();
    Ok(Fact::Digested { chunk, digest })
}
