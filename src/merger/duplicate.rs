//! A file out of one that is here already: its bytes are shared where the file system can, and
//! copied otherwise. Each chunk is compared with its digest on the way, so that a file which
//! somebody changed under its name is noticed, and from then on the two go their own ways.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::time;

use super::{MergeDemand, MergeError, MergeOptions, MergeOutcome, Merger, joined, publish};
use crate::{
    blocking,
    clock::Stopwatch,
    hold::{Held, HoldError, Holds, WholeChunk, copy_range},
    lock::Manner,
    storage::{Blob, Staged},
    telemetry::{Event, MergeEnd},
    upload::{Content, DigestForm, Length, Record, Sha256Digest, UploadId},
};

/// Which upload is to become which content.
#[derive(Debug, Clone)]
pub struct Duplicate {
    /// The upload to finish.
    pub id: UploadId,
    /// The finished upload that has the bytes.
    pub holder: UploadId,
    /// What they are.
    pub content: Content,
}

impl Duplicate {
    fn demand(&self) -> MergeDemand {
        let digest = Some((self.content.composite, Some(DigestForm::Raw)));
        MergeDemand { digest, chunks: None }
    }

    fn is_content_of(&self, record: &Record) -> bool {
        record.content().as_ref() == Some(&self.content)
    }

    /// Was the upload begun for a file that is cut like this one?
    fn fits(&self, record: &Record) -> bool {
        let (layout, content) = (record.layout(), &self.content);
        layout.length() == Some(content.length)
            && layout.chunk_size() == content.chunk_size
            && layout.total() == Some(content.total)
    }
}

impl Merger {
    /// Finishes an upload with the bytes of a finished one. A request that waits no longer than
    /// `wait` leaves it to go on behind. [`MergeError::ContentGone`] where the bytes are not what
    /// they were, which is noted; the upload is as before.
    pub async fn duplicate(
        self: &Arc<Self>,
        duplicate: Duplicate,
        wait: Option<Duration>,
    ) -> Result<MergeOutcome, MergeError> {
        let join_wait = self.options.join_wait;
        let join_wait = wait.map_or(join_wait, |wait| wait.min(join_wait));
        let waiting = Stopwatch::start();
        let Some(turn) = self.turn(&duplicate.id, join_wait).await else {
            return Ok(MergeOutcome::Running);
        };
        let this = self.clone();
        let task = self.tasks.spawn(async move {
            let time = Stopwatch::start();
            let outcome = this.duplicate_once(duplicate).await;
            let end = if outcome.is_ok() { MergeEnd::Merged } else { MergeEnd::Refused };
            this.holds.meter().merge(end, time.elapsed());
            drop(turn);
            outcome
        });
        let Some(wait) = wait else { return joined(task.await) };
        match time::timeout(wait.saturating_sub(waiting.elapsed()), task).await {
            Ok(merged) => joined(merged),
            Err(_) => Ok(MergeOutcome::Running),
        }
    }

    async fn duplicate_once(&self, wanted: Duplicate) -> Result<MergeOutcome, MergeError> {
        let _attendance = self.holds.attend(&wanted.id);
        let place = self.duplicating.acquire().await.expect("the semaphore is never closed");
        let (holds, wanted) = (self.holds.clone(), Arc::new(wanted));
        let asked = wanted.clone();
        let copied = blocking::run(move || copy(&holds, &asked)).await?;
        drop(place);
        let mut held = match self.holds.take(&wanted.id, Manner::Asking).await {
            Ok(held) => held,
            Err(error) => {
                blocking::discard(copied);
                return Err(error.into());
            }
        };
        let options = self.options.clone();
        blocking::run(move || finish(&mut held, copied, &wanted, &options)).await
    }
}

/// The bytes in staging, and what they are.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) staged: Box<dyn Staged>,
    chunks: Vec<WholeChunk>,
}

/// Brings the bytes of the finished file into staging.
fn copy(holds: &Holds, wanted: &Duplicate) -> Result<Copied, MergeError> {
    let record = match holds.look(&wanted.holder) {
        Ok(look) => look.current.record,
        Err(HoldError::Unknown | HoldError::Expired) => return Err(MergeError::ContentGone),
        Err(error) => return Err(error.into()),
    };
    let Some(finished) = record.finished().filter(|_| wanted.is_content_of(&record)) else {
        return Err(MergeError::ContentGone);
    };
    let copied = match holds.storage().open_finished(&finished.name) {
        Ok(file) => copy_file(holds.storage().stage().map_err(HoldError::Io)?, &*file, &record),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    match copied {
        Ok(Some(copied)) => return Ok(copied),
        Ok(None) => {}
        // It is shorter than it was.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
        Err(error) => return Err(HoldError::Io(error).into()),
    }
    let name = finished.name.as_str();
    tracing::warn!(id = %wanted.holder, name, "a finished file was changed");
    holds.disbelieve(&wanted.content, &wanted.holder);
    Err(MergeError::ContentGone)
}

/// `None` where a chunk is not what its digest says. What is compared is what was taken over: a
/// file that changes meanwhile changes no byte of it.
pub(super) fn copy_file(
    staged: Box<dyn Staged>,
    file: &dyn Blob,
    record: &Record,
) -> io::Result<Option<Copied>> {
    let length = record.layout().length().map_or(0, Length::get);
    let shared = staged.share(file, 0, 0, length);
    staged.reserve(shared..length);
    let (mut chunks, mut at) = (Vec::new(), 0_u64);
    for (chunk, sealed) in record.chunks().iter() {
        let end = at.saturating_add(sealed.length);
        let split = shared.clamp(at, end);
        let mut hasher = Sha256::new();
        copy_range(staged.as_blob(), at, split.saturating_sub(at), |bytes, _| {
            hasher.update(bytes);
            Ok(())
        })?;
        copy_range(file, split, end.saturating_sub(split), |bytes, done| {
            hasher.update(bytes);
            staged.write_at(bytes, split.saturating_add(done))
        })?;
        staged.write_back(split..end);
        let digest = Sha256Digest::from(hasher);
        if sealed.digest != Some(digest) {
            return Ok(None);
        }
        chunks.push((chunk, sealed.length, digest));
        at = end;
    }
    Ok(Some(Copied { staged, chunks }))
}

fn finish(
    held: &mut Held,
    copied: Copied,
    wanted: &Duplicate,
    options: &MergeOptions,
) -> Result<MergeOutcome, MergeError> {
    held.ensure_alive()?;
    let demand = wanted.demand();
    if let Some(finished) = held.record().finished() {
        publish::check(held.record(), &demand)?;
        return Ok(MergeOutcome::AlreadyMerged(finished.clone()));
    }
    if !wanted.fits(held.record()) {
        return Err(MergeError::ContentGone);
    }
    held.adopt_whole(copied.staged, &copied.chunks)?;
    let finished = publish::publish(held, &demand, options)?;
    held.count(Event::Instant);
    Ok(MergeOutcome::Merged(finished))
}
