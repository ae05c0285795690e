//! Two chunks of one fast upload, hashed abreast: what came of the first one is written, and waits
//! for bytes of the second one, so that a processor can take both in little more than the time of
//! one.
//!
//! Bytes that wait stay in memory where there is some to spare: at most half of what there is for
//! buffers, so that no body waits for what is kept here. Else they are read back, from the page
//! cache, which costs a copy and gains much more.

use std::{collections::VecDeque, io, sync::Arc};

use bytes::{Buf, Bytes};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::buffers::BUFFER;
use crate::{storage::Blob, upload::RunningSha256};

/// Smaller chunks are not worth the trouble.
const CHUNK_MIN: u64 = 256 * 1024;
/// Buffers beside those that a chunk fills: the first and the last one may hold other bytes, too.
const MARGIN: usize = 2;
/// Bytes that are read back at once: few enough to be in the processor's nearest caches.
const READ: usize = 64 * 1024;

/// Where memory is asked for.
#[derive(Debug)]
pub(super) struct Keeping(Arc<Semaphore>);

/// A first chunk, and perhaps the second.
#[derive(Debug)]
pub(super) struct Abreast {
    /// Where in the part the bytes begin that wait.
    from: u64,
    /// How many there are.
    waiting: u64,
    memory: Option<Memory>,
    second: Option<Second>,
}

/// All bytes that wait.
#[derive(Debug)]
struct Memory {
    kept: VecDeque<Bytes>,
    kept_max: usize,
    _permits: OwnedSemaphorePermit,
}

/// The chunk behind the tail's, while that one is whole and not sealed yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Second {
    /// Bytes of it that are written.
    pub(super) written: u64,
    /// Over those.
    pub(super) running: RunningSha256,
}

impl Keeping {
    /// Where there are `buffers` in all.
    pub(super) fn new(buffers: usize) -> Self {
        Self(Arc::new(Semaphore::new(buffers / 2)))
    }

    /// For a first chunk of `length` bytes that begins there in its part, if that is worth it.
    pub(super) fn begin(&self, from: u64, length: u64) -> Option<Abreast> {
        let memory = self.memory(length);
        let worthwhile = length >= CHUNK_MIN;
        worthwhile.then_some(Abreast { from, waiting: 0, memory, second: None })
    }

    fn memory(&self, length: u64) -> Option<Memory> {
        let kept_max = usize::try_from(length).ok()?.div_ceil(BUFFER).checked_add(MARGIN)?;
        let permits = u32::try_from(kept_max).ok()?;
        let permits = self.0.clone().try_acquire_many_owned(permits).ok()?;
        Some(Memory { kept: VecDeque::new(), kept_max, _permits: permits })
    }
}

impl Abreast {
    /// Lets bytes of the first chunk wait that were written.
    pub(super) fn keep(&mut self, bytes: Bytes) {
        self.waiting = self.waiting.saturating_add(len(&bytes));
        // Bytes that come in pieces smaller than a buffer are in more buffers than there are for
        // us.
        self.memory = self.memory.take().filter(|memory| memory.kept.len() < memory.kept_max);
        if let Some(memory) = &mut self.memory {
            memory.kept.push_back(bytes);
        }
    }

    /// The first chunk is whole.
    pub(super) fn begin_second(&mut self) {
        self.second = Some(Second::default());
    }

    pub(super) const fn second(&self) -> Option<&Second> {
        self.second.as_ref()
    }

    /// Adds bytes of the second chunk that were written, beside as many of the first, which are in
    /// `part`.
    pub(super) fn advance(
        &mut self,
        (first, part): (&mut RunningSha256, &dyn Blob),
        bytes: &[u8],
    ) -> io::Result<()> {
        let Some(mut second) = self.second.take() else { return Ok(()) };
        let mut rest = bytes;
        let paired = self.take(part, bytes.len(), |waited| {
            let (now, more) = rest.split_at(waited.len().min(rest.len()));
            RunningSha256::update_both((first, waited), (&mut second.running, now));
            rest = more;
        });
        second.running.update(rest);
        second.written = second.written.saturating_add(len(bytes));
        self.second = Some(second);
        paired
    }

    /// Brings the hash of the first chunk up to what is written of it.
    pub(super) fn end(
        mut self,
        (first, part): (&mut RunningSha256, &dyn Blob),
    ) -> io::Result<Option<Second>> {
        self.take(part, usize::MAX, |waited| first.update(waited))?;
        Ok(self.second)
    }

    /// Hands on bytes that wait, `most` of them, in order.
    fn take(
        &mut self,
        part: &dyn Blob,
        most: usize,
        mut hand_on: impl FnMut(&[u8]),
    ) -> io::Result<()> {
        let mut left = usize::try_from(self.waiting).unwrap_or(usize::MAX).min(most);
        let mut buffer = vec![0; if self.memory.is_some() { 0 } else { left.min(READ) }];
        while left > 0 {
            let step = if let Some(memory) = &mut self.memory {
                memory.take(left, &mut hand_on)
            } else {
                let bytes = buffer.get_mut(..left.min(READ)).unwrap_or_default();
                part.read_at(bytes, self.from)?;
                hand_on(bytes);
                bytes.len()
            };
            let count = u64::try_from(step).unwrap_or_default();
            self.from = self.from.saturating_add(count);
            self.waiting = self.waiting.saturating_sub(count);
            left = if step == 0 { 0 } else { left.saturating_sub(step) };
        }
        Ok(())
    }
}

impl Memory {
    /// Hands on what one buffer has, `most` bytes of it; says how many.
    fn take(&mut self, most: usize, hand_on: &mut impl FnMut(&[u8])) -> usize {
        let Some(front) = self.kept.front_mut() else { return 0 };
        let now = front.split_to(front.len().min(most));
        hand_on(&now);
        if !front.has_remaining() {
            self.kept.pop_front();
        }
        now.len()
    }
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
