//! Partial uploads → one final upload (tus Concatenation).
//!
//! The bytes are shared where the file system can, and copied once otherwise; digests are taken
//! behind the answer. A final upload whose parts are still in progress waits for them; the last
//! part to end wakes it, and so does the next start.

use std::{collections::HashSet, sync::Arc};

use super::{MergeDemand, MergeError, Merger, Partials, Verify, publish};
use crate::{
    blocking,
    durable::Flush,
    hold::{Attendance, Held, HoldError, Look, Piece},
    lock::Manner,
    storage::is_full,
    upload::{Fact, Finished, JOINED_CHUNKS_MAX, Length, OutOfRange, Phase, Record, UploadId},
};

/// How often a copy begins anew that found its target changed.
const ATTEMPTS: u32 = 3;

/// What became of a final upload.
#[derive(Debug, Clone)]
pub enum Concatenated {
    /// The file is visible.
    Finished(Finished),
    /// A part is still in progress.
    Waiting,
    /// Another task is putting it together, and takes its time.
    Running,
}

/// What the parts say of their final upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// All parts are complete; so many bytes together.
    Ready(Length),
    /// A part is still in progress; the sum where every length is known.
    Waiting(Option<Length>),
    /// It can never complete: a part is gone, or they are too long together.
    Broken,
}

impl Merger {
    /// Puts a final upload together if all its parts are complete. One that can never complete
    /// ends: `Expired`.
    pub async fn concatenate(self: &Arc<Self>, id: &UploadId) -> Result<Concatenated, MergeError> {
        let Some(turn) = self.turn(id, self.options.join_wait).await else {
            return Ok(Concatenated::Running);
        };
        let (this, id) = (self.clone(), id.clone());
        let task = self.tasks.spawn(async move {
            let outcome = this.concatenate_once(&id).await;
            drop(turn);
            outcome
        });
        task.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Looks again at the final uploads that wait for this part: it is complete, or gone.
    pub fn part_changed(self: &Arc<Self>, part: &UploadId) {
        let waiting = self.waiting().remove(part);
        for id in waiting.into_iter().flatten() {
            self.concatenate_soon(&id);
        }
    }

    /// An upload is gone: it waits for nothing any more, and nothing for it.
    pub fn upload_gone(self: &Arc<Self>, id: &UploadId) {
        self.waiting().retain(|_, finals| {
            finals.remove(id);
            !finals.is_empty()
        });
        self.part_changed(id);
    }

    /// Looks at everything that is waited for: it may have ended where nobody could tell us, in
    /// another process or by expiring. What failed before is tried again.
    pub async fn look_again(self: &Arc<Self>) {
        let awaited: Vec<UploadId> = self.waiting().keys().cloned().collect();
        let holds = self.holds.clone();
        let ended = blocking::run(move || -> Vec<UploadId> {
            let open = |id: &UploadId| match holds.look(id) {
                Ok(look) => {
                    let record = look.current.record;
                    record.manifest().is_partial() && !record.is_complete()
                }
                Err(error) => matches!(error, HoldError::Io(_)),
            };
            awaited.into_iter().filter(|id| !open(id)).collect()
        });
        ended.await.iter().for_each(|id| self.part_changed(id));
    }

    /// The same, behind the caller's back.
    pub fn concatenate_soon(self: &Arc<Self>, id: &UploadId) {
        let (this, id) = (self.clone(), id.clone());
        self.tasks.spawn(async move {
            if let Err(error) = this.concatenate(&id).await {
                report(&id, &error);
                if !matches!(error, MergeError::Hold(HoldError::Unknown | HoldError::Expired)) {
                    // Waits for nothing but a better hour.
                    this.waiting().entry(id.clone()).or_default().insert(id);
                }
            }
        });
    }

    /// Could these parts be put together, whatever their length? Blocks.
    pub fn readiness(&self, parts: &[UploadId]) -> Result<Readiness, HoldError> {
        Ok(self.survey(parts)?.0)
    }

    /// Can this final upload be put together? Blocks.
    pub fn readiness_of(&self, record: &Record) -> Result<Readiness, HoldError> {
        Ok(self.survey_of(record)?.0)
    }

    /// The largest file that partial uploads may be joined to.
    pub const fn max_size(&self) -> Option<Length> {
        self.options.max_size
    }

    async fn concatenate_once(self: &Arc<Self>, id: &UploadId) -> Result<Concatenated, MergeError> {
        let Look { current, .. } = self.look(id).await?;
        let record = &*current.record;
        if record.manifest().parts().is_none() {
            return Err(HoldError::Unknown.into());
        }
        if let Some(finished) = record.finished() {
            // A kill may have come between the file and the end of its parts.
            self.clear_partials(record).await;
            self.digest_soon(id);
            return Ok(Concatenated::Finished(finished.clone()));
        }
        if record.phase() == Phase::Receiving {
            match self.wait_for_parts(id, current.record.clone()).await? {
                Readiness::Ready(length) => {
                    let _attendance = self.attend(id, record);
                    self.fill(id, record, length).await?;
                }
                Readiness::Waiting(_) => return Ok(Concatenated::Waiting),
                Readiness::Broken => return self.end(id).await,
            }
        }
        let finished = self.publish_joined(id).await?;
        self.clear_partials(record).await;
        self.digest_soon(id);
        Ok(Concatenated::Finished(finished))
    }

    /// Leaves word with the first part that is in progress, then looks once more: it may have ended
    /// in between.
    async fn wait_for_parts(
        self: &Arc<Self>,
        id: &UploadId,
        record: Arc<Record>,
    ) -> Result<Readiness, HoldError> {
        let mut asked = None;
        loop {
            let (this, looked) = (self.clone(), record.clone());
            let (readiness, open) = blocking::run(move || this.survey_of(&looked)).await?;
            if asked == open {
                return Ok(readiness);
            }
            if let Some(before) = &asked {
                self.no_longer_waits(before, id);
            }
            if let Some(part) = &open {
                self.waiting().entry(part.clone()).or_default().insert(id.clone());
            }
            asked = open;
        }
    }

    fn no_longer_waits(&self, part: &UploadId, id: &UploadId) {
        let mut waiting = self.waiting();
        if let Some(finals) = waiting.get_mut(part) {
            finals.remove(id);
            if finals.is_empty() {
                waiting.remove(part);
            }
        }
    }

    /// Also names the first part that is in progress.
    fn survey_of(&self, record: &Record) -> Result<(Readiness, Option<UploadId>), HoldError> {
        let Some(parts) = record.manifest().parts() else { return Err(HoldError::Unknown) };
        let (readiness, open) = self.survey(&parts.ids)?;
        let chunks_max = record.layout().chunk_size().get().saturating_mul(JOINED_CHUNKS_MAX);
        match (readiness, self.options.max_size) {
            (Readiness::Ready(sum) | Readiness::Waiting(Some(sum)), Some(max)) if sum > max => {
                Ok((Readiness::Broken, None))
            }
            (Readiness::Ready(sum) | Readiness::Waiting(Some(sum)), _)
                if sum.get() > chunks_max =>
            {
                Ok((Readiness::Broken, None))
            }
            _ => Ok((readiness, open)),
        }
    }

    fn survey(&self, parts: &[UploadId]) -> Result<(Readiness, Option<UploadId>), HoldError> {
        let (mut open, mut sum) = (None, Some(0_u64));
        for id in parts {
            let part = match self.holds.look(id) {
                Ok(look) => look.current.record,
                Err(HoldError::Io(error)) => return Err(error.into()),
                Err(_) => return Ok((Readiness::Broken, None)),
            };
            if !part.manifest().is_partial() {
                return Ok((Readiness::Broken, None));
            }
            if open.is_none() && !part.is_complete() {
                open = Some(id.clone());
            }
            sum = match (sum, part.layout().length()) {
                (Some(sum), Some(length)) => match sum.checked_add(length.get()) {
                    Some(sum) if Length::new(sum).is_ok() => Some(sum),
                    _ => return Ok((Readiness::Broken, None)),
                },
                _ => None,
            };
        }
        let sum = sum.map(Length::new).transpose()?;
        Ok(match (open, sum) {
            (None, Some(sum)) => (Readiness::Ready(sum), None),
            (open, sum) => (Readiness::Waiting(sum), open),
        })
    }

    /// Neither the final upload nor a part of it expires while it is put together.
    fn attend(&self, id: &UploadId, record: &Record) -> Vec<Attendance> {
        let parts = record.manifest().parts().map(|parts| &parts.ids).into_iter().flatten();
        parts.chain([id]).map(|id| self.holds.attend(id)).collect()
    }

    /// Ends a final upload that can never complete. Another process may have put it together since
    /// it was looked at.
    pub(super) async fn end(self: &Arc<Self>, id: &UploadId) -> Result<Concatenated, MergeError> {
        let held = self.holds.take(id, Manner::Asking).await?;
        if let Some(finished) = held.record().finished() {
            return Ok(Concatenated::Finished(finished.clone()));
        }
        if held.record().phase() != Phase::Receiving {
            return Err(HoldError::Busy.into());
        }
        tracing::info!(%id, "a final upload ends: a part of it is gone, or it would be too long");
        blocking::run(move || held.expire()).await?;
        Err(HoldError::Expired.into())
    }

    /// Brings the bytes of all parts into part 0.
    async fn fill(
        self: &Arc<Self>,
        id: &UploadId,
        record: &Record,
        length: Length,
    ) -> Result<(), MergeError> {
        let parts = record.manifest().parts().map(|parts| parts.ids.clone()).unwrap_or_default();
        for _ in 0..ATTEMPTS {
            let lent = match self.begin_joined(id, &parts).await {
                Ok(lent) => lent,
                Err(MergeError::Hold(HoldError::Unknown | HoldError::Expired)) => {
                    return self.end(id).await.map(|_| ());
                }
                Err(error) => return Err(error),
            };
            let mut at = lent;
            for part in parts.iter().skip(usize::from(lent > 0)) {
                match self.append_part(id, part, at).await? {
                    Some(end) => at = end,
                    None => break,
                }
            }
            if at == length.get() && self.seal_joined(id, length).await? {
                return Ok(());
            }
        }
        Err(HoldError::Busy.into())
    }

    /// Begins with the file of the first part, where it can be lent; says how many bytes that are.
    async fn begin_joined(
        self: &Arc<Self>,
        id: &UploadId,
        parts: &[UploadId],
    ) -> Result<u64, MergeError> {
        let Some(first) = parts.first() else { return Ok(0) };
        let mut partial = self.take_complete(first).await?;
        let mut held = self.holds.take(id, Manner::Asking).await?;
        let verify = self.options.verify;
        blocking::run(move || {
            held.ensure_alive()?;
            if verify == Verify::Everything {
                publish::verify(&mut partial)?;
            }
            Ok(held.begin_joined(&mut partial)?)
        })
        .await
    }

    /// Adds a whole part at `at`, a few of its files at a time. `None`: begin anew.
    async fn append_part(
        self: &Arc<Self>,
        id: &UploadId,
        part: &UploadId,
        at: u64,
    ) -> Result<Option<u64>, MergeError> {
        let mut end = at;
        loop {
            let pieces = match self.pieces_of(part, end.saturating_sub(at)).await {
                Ok(pieces) => pieces,
                Err(MergeError::Hold(HoldError::Unknown | HoldError::Expired)) => {
                    self.end(id).await?;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            if pieces.is_empty() {
                return Ok(Some(end));
            }
            match self.append(id, pieces, end).await? {
                Some(done) => end = done,
                None => return Ok(None),
            }
        }
    }

    async fn take_complete(self: &Arc<Self>, part: &UploadId) -> Result<Held, MergeError> {
        let held = self.holds.take_alive(part, Manner::Asking).await?;
        if held.record().is_complete() { Ok(held) } else { Err(HoldError::Busy.into()) }
    }

    /// The next bytes of a complete part. Taking it makes sure that they are what was received.
    async fn pieces_of(
        self: &Arc<Self>,
        part: &UploadId,
        from: u64,
    ) -> Result<Vec<Piece>, MergeError> {
        let mut held = self.take_complete(part).await?;
        let verify = self.options.verify;
        blocking::run(move || {
            if verify == Verify::Everything && from == 0 {
                publish::verify(&mut held)?;
            }
            Ok(held.pieces(from)?)
        })
        .await
    }

    /// Adds pieces at `at`, and leaves in between when asked. `None` if somebody else changed the
    /// target: begin anew.
    async fn append(
        self: &Arc<Self>,
        id: &UploadId,
        pieces: Vec<Piece>,
        mut at: u64,
    ) -> Result<Option<u64>, MergeError> {
        let mut pieces = pieces.into_iter().peekable();
        while pieces.peek().is_some() {
            let held = self.holds.take(id, Manner::Asking).await?;
            let turn = blocking::run(move || {
                let end = copy_while_unwanted(&held, &mut pieces, at);
                (end, pieces)
            });
            let (end, left) = turn.await;
            pieces = left;
            match end? {
                Some(end) => at = end,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// Writes down that all bytes are there; `false` if they are not.
    async fn seal_joined(
        self: &Arc<Self>,
        id: &UploadId,
        length: Length,
    ) -> Result<bool, MergeError> {
        let mut held = self.holds.take(id, Manner::Asking).await?;
        blocking::run(move || {
            held.ensure_alive()?;
            let part = held.open_joined()?;
            if part.size().map_err(HoldError::Io)? < length.get() {
                return Ok(false);
            }
            let flush = held.durability().of_finish();
            if flush == Flush::Durable
                && let Err(error) = part.sync()
            {
                // A failed fsync is final: none of these bytes is believed any more. Not cut: they
                // may be those of the first part, too.
                held.discard_joined()?;
                return Err(HoldError::Io(error).into());
            }
            let declared = held.record().layout().length();
            let length = declared.is_none().then_some(Fact::Length(length));
            held.all_or_doubt(|held| held.commit(length.into_iter().chain([Fact::Joined]), flush))?;
            Ok(true)
        })
        .await
    }

    async fn publish_joined(self: &Arc<Self>, id: &UploadId) -> Result<Finished, MergeError> {
        let mut held = self.holds.take(id, Manner::Asking).await?;
        let options = self.options.clone();
        blocking::run(move || match held.record().finished() {
            Some(finished) => Ok(finished.clone()),
            None => publish::publish(&mut held, &MergeDemand::default(), &options),
        })
        .await
    }

    /// Under [`Partials::Consume`] the parts go once the file is there.
    async fn clear_partials(self: &Arc<Self>, record: &Record) {
        let Some(parts) = record.manifest().parts() else { return };
        if self.options.partials == Partials::Keep {
            return;
        }
        for part in parts.ids.iter().collect::<HashSet<_>>() {
            if let Err(error) = self.holds.forget(part).await {
                tracing::debug!(id = %part, %error, "could not remove a consumed part");
            }
            self.part_changed(part);
        }
    }

    async fn look(self: &Arc<Self>, id: &UploadId) -> Result<Look, HoldError> {
        let (holds, id) = (self.holds.clone(), id.clone());
        blocking::run(move || holds.look(&id)).await
    }
}

fn copy_while_unwanted(
    held: &Held,
    pieces: &mut std::iter::Peekable<std::vec::IntoIter<Piece>>,
    mut at: u64,
) -> Result<Option<u64>, MergeError> {
    held.ensure_alive()?;
    let target = held.open_joined()?;
    if target.size().map_err(HoldError::Io)? < at {
        return Ok(None);
    }
    while let Some(piece) = pieces.peek_mut() {
        if held.is_wanted() {
            break;
        }
        let done = piece.copy_into(&*target, at)?;
        at = at.checked_add(done).ok_or(HoldError::Law(OutOfRange.into()))?;
        if piece.length() == 0 {
            pieces.next();
        }
    }
    Ok(Some(at))
}

fn report(id: &UploadId, error: &MergeError) {
    match error {
        MergeError::Hold(HoldError::Unknown | HoldError::Expired) => {
            tracing::debug!(%id, "a final upload that waited is gone");
        }
        MergeError::Hold(HoldError::Io(error)) if is_full(error) => {
            tracing::error!(%id, "the disk is too full for a final upload");
        }
        error => tracing::error!(%id, %error, "could not put a final upload together"),
    }
}
