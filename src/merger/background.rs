//! Absorbing behind the answers, and how far the answers may run ahead of it.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time};

use super::{
    Merger,
    absorb::{Step, absorb_next},
};
use crate::{
    blocking,
    hold::{Held, HoldError},
    lock::Manner,
    upload::{Record, UploadId},
};

/// Bytes of the prefix that may wait to be absorbed while chunks are answered at once; two chunks
/// at least.
const LAG: u64 = 8 * 1024 * 1024;
/// Chunks that are absorbed for each one whose answer waits: one more than it adds, so that what
/// waits to be absorbed becomes less.
const PRICE: u64 = 2;
/// How long an answer waits for absorbing at most.
const WAIT: Duration = Duration::from_secs(1);

/// How far absorbing has come since it began.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// Chunks that were absorbed.
    pub(super) chunks: u64,
    /// The number behind the last of them.
    pub(super) end: u64,
}

/// An upload that is being absorbed.
#[derive(Debug)]
pub(super) struct Absorbing {
    /// Its sender is dropped when it is over.
    pub(super) progress: watch::Receiver<Progress>,
    /// How many chunks are to be absorbed before those who wait may all go on.
    pub(super) owed: u64,
}

/// Says that an upload is being absorbed until it is dropped, however that ends: an entry that
/// stayed would keep it from ever being absorbed again, and hold up each of its answers.
#[derive(Debug)]
struct Entered {
    merger: Arc<Merger>,
    id: UploadId,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.merger.absorbing().remove(&self.id);
    }
}

impl Merger {
    /// Absorbs what is contiguous, in the background.
    pub fn absorb_soon(self: &Arc<Self>, id: &UploadId) {
        // Who caps the chunks of a part wants them apart until the file is finished.
        if self.holds.options().chunks_per_part < u64::MAX {
            return;
        }
        let (progress, watch) = watch::channel(Progress::default());
        match self.absorbing().entry(id.clone()) {
            Entry::Occupied(_) => return,
            Entry::Vacant(vacant) => vacant.insert(Absorbing { progress: watch, owed: 0 }),
        };
        let entered = Entered { merger: self.clone(), id: id.clone() };
        let (this, id) = (self.clone(), id.clone());
        self.tasks.spawn(async move {
            if let Err(error) = this.absorb_prefix(entered, progress).await {
                tracing::debug!(%id, %error, "background absorb ended early");
            }
        });
    }

    /// Waits while absorbing is far behind the chunks that are stored, so that a client that is
    /// faster than the disk does not leave it all to the merge.
    ///
    /// Never longer than it takes to absorb a few chunks for each one that waits: what filled a gap
    /// may have made any number contiguous at once.
    pub async fn keep_pace(&self, id: &UploadId, record: &Record) {
        let Some((mut progress, enough)) = self.owe(id) else { return };
        let lag = LAG.div_ceil(record.layout().chunk_size().get()).max(2);
        let stored = record.chunks().first_missing().get();
        let kept =
            progress.wait_for(|now| now.chunks >= enough || now.end.saturating_add(lag) >= stored);
        // Whatever ends it, the chunk is stored.
        let _ = time::timeout(WAIT, kept).await;
    }

    /// One more who waits: what to look at, and for how many absorbed chunks.
    fn owe(&self, id: &UploadId) -> Option<(watch::Receiver<Progress>, u64)> {
        let mut absorbing = self.absorbing();
        let Absorbing { progress, owed } = absorbing.get_mut(id)?;
        *owed = progress.borrow().chunks.max(*owed).saturating_add(PRICE);
        Some((progress.clone(), *owed))
    }

    async fn absorb_prefix(
        &self,
        entered: Entered,
        mut progress: watch::Sender<Progress>,
    ) -> Result<(), HoldError> {
        loop {
            let mut held = self.holds.take(&entered.id, Manner::Patient).await?;
            let turn = move || (absorb_while_unwanted(&mut held, &progress), held, progress);
            let (step, held, back) = blocking::run(turn).await;
            progress = back;
            if step? == Step::NothingToAbsorb || self.tasks.is_closed() {
                // Said while the upload is still held: whoever commits a chunk behind this starts
                // the next round.
                drop(entered);
                drop(held);
                return Ok(());
            }
        }
    }

    pub(super) fn absorbing(&self) -> MutexGuard<'_, HashMap<UploadId, Absorbing>> {
        self.absorbing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last step that it took.
fn absorb_while_unwanted(
    held: &mut Held,
    progress: &watch::Sender<Progress>,
) -> Result<Step, HoldError> {
    loop {
        let step = absorb_next(held)?;
        let Step::Absorbed(chunk) = step else { return Ok(step) };
        progress.send_modify(|progress| {
            progress.chunks = progress.chunks.saturating_add(1);
            progress.end = chunk.get().saturating_add(1);
        });
        if held.is_wanted() {
            return Ok(step);
        }
    }
}
