//! Looking at uploads, and giving them up.

use std::{sync::Arc, time::Duration};

use super::{Ingest, IngestError, find::Found};
use crate::{
    blocking::{self, Span},
    hold::{Held, HoldError, Look},
    lock::Manner,
    merger::{MergeDemand, MergeError, MergeOutcome},
    telemetry::Sparingly,
    upload::{ChunkKey, Dialect, Length, Offset, Phase, Record, Timestamp, UploadId},
};

// Whoever asks makes it be written, as often as they like.
static NOT_LOOKED: Sparingly = Sparingly::new();

/// An upload as it stands.
#[derive(Debug, Clone)]
pub struct View {
    /// Its name.
    pub id: UploadId,
    /// The facts.
    pub record: Arc<Record>,
    /// The end of the contiguous bytes.
    pub offset: Offset,
    /// Bytes behind the sealed prefix.
    pub tail: u64,
    /// When it expires, if it is unfinished.
    pub deadline: Option<Timestamp>,
    /// Is a merge under way?
    pub merging: bool,
    /// Of a final upload that is not finished: how long it will be, where that is known.
    pub awaited: Option<Length>,
}

impl Ingest {
    /// Where the next append is taken: asks whoever holds the upload to leave, so that the answer
    /// stays true. A finish that a crash interrupted is done first.
    ///
    /// A final upload takes no bytes, so a look is enough; it has no offset until it is finished.
    ///
    /// A disk in trouble is no verdict on the upload, and clients give one up whose HEAD fails.
    /// What they ask again is a busy one.
    pub async fn head(self: &Arc<Self>, id: &UploadId) -> Result<View, IngestError> {
        match self.look_where_to_append(id).await {
            Err(
                IngestError::Hold(HoldError::Io(error))
                | IngestError::Merge(MergeError::Hold(HoldError::Io(error))),
            ) => {
                if let Some(left_out) = NOT_LOOKED.due() {
                    tracing::error!(%id, %error, left_out, "could not look where an upload stands");
                }
                Err(HoldError::Busy.into())
            }
            looked => looked,
        }
    }

    async fn look_where_to_append(self: &Arc<Self>, id: &UploadId) -> Result<View, IngestError> {
        if self.merger.is_running(id) {
            let view = self.status(id).await?;
            if view.record.manifest().parts().is_some() {
                return self.head_of_final(view).await;
            }
        }
        let mut held = self.holds.take_alive(id, Manner::Asking).await?;
        let record = held.record();
        if record.manifest().parts().is_some() {
            drop(held);
            let view = self.status(id).await?;
            return self.head_of_final(view).await;
        }
        let by_offset = record.manifest().dialect == Dialect::Tus;
        if by_offset && record.phase() == Phase::Received {
            let merger = self.merger.clone();
            let (finished, back) = blocking::run(move || (merger.complete(&mut held), held)).await;
            held = back;
            if let Err(error) = finished
                && held.record().is_complete()
            {
                // To a client offset = length means success: it would never ask again. What it does
                // ask again is a busy upload.
                tracing::error!(id = %held.id(), %error, "could not finish a complete upload");
                return Err(HoldError::Busy.into());
            }
        }
        Ok(self.view(&held)?)
    }

    async fn head_of_final(self: &Arc<Self>, view: View) -> Result<View, IngestError> {
        if view.record.finished().is_some() {
            return Ok(view);
        }
        let awaited = self.watch_final(&view.id, &view.record).await?;
        Ok(View { awaited, ..view })
    }

    pub(super) fn view(&self, held: &Held) -> Result<View, HoldError> {
        Ok(View {
            id: held.id().clone(),
            record: held.current().record.clone(),
            offset: held.offset().map_err(|error| HoldError::Law(error.into()))?,
            tail: held.tail_length(),
            deadline: held.deadline(),
            merging: self.merger.is_running(held.id()),
            awaited: None,
        })
    }

    /// The upload as it looks, without taking anything from anyone.
    pub async fn status(self: &Arc<Self>, id: &UploadId) -> Result<View, IngestError> {
        let (this, own) = (self.clone(), id.clone());
        self.proven(self.holds.span_of(id), move || Ok(this.find_id(own.clone()))).await
    }

    /// The same, for the upload that an index client means.
    pub async fn status_of(self: &Arc<Self>, key: ChunkKey) -> Result<View, IngestError> {
        let this = self.clone();
        self.proven(Span::Open, move || this.find(&key)).await
    }

    /// The same, for the upload that a chunk with this key belongs to.
    pub async fn status_for_chunk(self: &Arc<Self>, key: ChunkKey) -> Result<View, IngestError> {
        let this = self.clone();
        self.proven(Span::Open, move || Ok(this.find_for_chunk(&key))).await
    }

    /// What a look gives. What a power loss may have taken bytes of is compared with its digests
    /// first, once, by whoever takes it, and so is a file that may be another's by now: nothing is
    /// told that would not be believed.
    async fn proven(
        self: &Arc<Self>,
        span: Span,
        find: impl Fn() -> Result<Found, IngestError> + Clone + Send + 'static,
    ) -> Result<View, IngestError> {
        let mut found = blocking::run_for(span, find.clone()).await?;
        if found.look.as_ref().is_ok_and(|look| self.is_to_prove(look)) {
            drop(self.holds.take_alive(&found.id, Manner::Asking).await?);
            found = blocking::run(find).await?;
        }
        let Found { id, look } = found;
        match look {
            Ok(look) => self.view_of(id, look),
            Err(error) => {
                self.settle_end(&id, &error).await;
                Err(error.into())
            }
        }
    }

    fn is_to_prove(&self, look: &Look) -> bool {
        look.doubtful || look.current.record.epoch() < self.holds.options().epoch
    }

    /// Whoever is told that an upload expired is never told anything else: it ends, if that was not
    /// written down yet.
    pub(super) async fn settle_end(self: &Arc<Self>, id: &UploadId, error: &HoldError) {
        if matches!(error, HoldError::Expired) {
            // Whoever has it already will do so.
            let _ = self.holds.take(id, Manner::Asking).await;
        }
    }

    /// What is not known to be an upload's own file is compared before it is removed with it.
    async fn prove(self: &Arc<Self>, id: &UploadId) -> Result<(), HoldError> {
        let (this, own) = (self.clone(), id.clone());
        let looked = blocking::run(move || this.holds.look(&own)).await;
        // Whatever else is wrong with it, it can be removed.
        if looked.is_ok_and(|look| self.is_unproven(&look.current.record)) {
            drop(self.holds.take(id, Manner::Asking).await?);
        }
        Ok(())
    }

    /// Is this a finished file that a power loss may have taken bytes of, or one of which it took
    /// that it is finished?
    pub(super) fn is_unproven(&self, record: &Record) -> bool {
        let named = record.finished().is_some() || record.merging().is_some();
        named && record.epoch() < self.holds.options().epoch
    }

    fn view_of(&self, id: UploadId, look: Look) -> Result<View, IngestError> {
        let record = look.current.record;
        let offset = record.prefix_end().advance(look.tail)?;
        let merging = self.merger.is_running(&id) || record.phase() == Phase::Merging;
        Ok(View {
            id,
            record,
            offset,
            tail: look.tail,
            deadline: look.deadline,
            merging,
            awaited: None,
        })
    }

    /// Removes an upload, finished or not, with all its bytes.
    pub async fn terminate(self: &Arc<Self>, id: &UploadId) -> Result<(), IngestError> {
        self.prove(id).await?;
        if let Err(error) = self.holds.forget(id).await {
            self.settle_end(id, &error).await;
            return Err(error.into());
        }
        self.merger.upload_gone(id);
        Ok(())
    }

    /// The same with the upload that an index client means.
    pub async fn terminate_of(self: &Arc<Self>, key: ChunkKey) -> Result<(), IngestError> {
        let this = self.clone();
        let id = blocking::run(move || this.find(&key)).await?.id;
        self.terminate(&id).await
    }

    /// Finishes the upload behind the request, which waits for it no longer than `wait`.
    pub async fn merge_within(
        &self,
        record: &Record,
        demand: MergeDemand,
        wait: Duration,
    ) -> Result<MergeOutcome, MergeError> {
        self.merger.merge_within(record, demand, wait).await
    }

    /// Finishes the upload.
    pub async fn merge(
        &self,
        id: &UploadId,
        demand: MergeDemand,
    ) -> Result<MergeOutcome, MergeError> {
        self.merger.merge(id, demand).await
    }
}
