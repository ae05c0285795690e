//! Where the next appended byte goes.

use std::{io, ops::Range};

use crate::{
    storage::{Blob, Storage},
    upload::{ChunkIndex, PartId, Record, RunningSha256, Sha256Digest, UploadId},
};

/// Bytes read at once where a tail has to be hashed again.
const READ: usize = 256 * 1024;

/// Written bytes are handed to the disk in runs of at least so many: for fewer the call, and the
/// blocks that are found for them one by one, cost more than they bring forward.
const WRITE_BACK: u64 = 512 * 1024;

/// The chunk that an offset client has begun, and the place in a part where its bytes lie.
#[derive(Debug)]
pub struct Tail {
    /// Which chunk.
    pub chunk: ChunkIndex,
    /// The part that holds it.
    pub part: PartId,
    /// Where the chunk begins in that part.
    pub base: u64,
    /// Bytes of it that are there.
    pub length: u64,
    open: Option<OpenTail>,
}

#[derive(Debug)]
struct OpenTail {
    blob: Box<dyn Blob>,
    /// Over the tail's bytes; absent where no digests are taken.
    hasher: Option<RunningSha256>,
    /// From where on in the part bytes were written that nobody handed to the disk.
    unhanded: u64,
    excess: Excess,
}

/// May the part have anything behind the tail's end?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Excess {
    /// Space was reserved or bytes were written there, perhaps by an earlier process.
    Possible,
    /// Nobody did since the part was cut or made.
    None,
}

impl Tail {
    pub(super) const fn new(chunk: ChunkIndex, part: PartId, base: u64, length: u64) -> Self {
        Self { chunk, part, base, length, open: None }
    }

    /// The empty tail behind the last chunk of the prefix, in the same part; `None` where that part
    /// goes on with other chunks or is full.
    pub(super) fn behind_prefix(record: &Record, chunks_per_part: u64) -> Option<Self> {
        let chunk = record.chunks().first_missing();
        let last = chunk.previous()?;
        let part = record.chunks().get(last)?.part;
        Self::behind(record, (last, part), chunks_per_part)
    }

    /// The empty tail behind `last`, which lies in `part`; `None` where the part goes on with other
    /// chunks or is full.
    pub(super) fn behind(
        record: &Record,
        (last, part): (ChunkIndex, PartId),
        chunks_per_part: u64,
    ) -> Option<Self> {
        let chunk = last.next().ok()?;
        let room = chunk.get().checked_sub(part.first.get())? < chunks_per_part;
        let free = room && !record.is_shared(part) && record.layout().contains(chunk);
        if !free || record.last_in(part) != Some(last) {
            return None;
        }
        Some(Self::new(chunk, part, record.place(chunk, part).ok()?, 0))
    }

    /// Opens the part, if it is not open, and brings the hash up to the tail's length. `create` is
    /// for a part that does not exist yet.
    pub(super) fn attach(
        &mut self,
        blob: Box<dyn Blob>,
        hasher: Option<RunningSha256>,
        excess: Excess,
    ) {
        let unhanded = self.end();
        self.open = Some(OpenTail { blob, hasher, unhanded, excess });
    }

    /// The end of its bytes in the part.
    pub const fn end(&self) -> u64 {
        self.base.saturating_add(self.length)
    }

    /// Asks for disk space behind the tail.
    pub fn reserve(&mut self, range: Range<u64>) -> io::Result<()> {
        let open = self.open.as_mut().ok_or_else(not_open)?;
        open.excess = Excess::Possible;
        open.blob.reserve(range);
        Ok(())
    }

    /// Writes bytes further behind the tail, which they are no part of yet.
    pub(super) fn write_ahead(&mut self, bytes: &[u8], at: u64) -> io::Result<()> {
        let open = self.open.as_mut().ok_or_else(not_open)?;
        open.excess = Excess::Possible;
        open.blob.write_at(bytes, at)
    }

    /// Starts writing to the disk what was written to the part, up to `end`, once that is enough.
    pub(super) fn write_back(&mut self, end: u64) -> io::Result<()> {
        let open = self.open.as_mut().ok_or_else(not_open)?;
        if end.saturating_sub(open.unhanded) >= WRITE_BACK {
            open.blob.write_back(open.unhanded..end);
            open.unhanded = end;
        }
        Ok(())
    }

    /// Cuts the part to `end`, unless it ends there without anything behind it.
    pub(super) fn cut(&mut self, end: u64) -> io::Result<()> {
        let known = self.end();
        let open = self.open.as_mut().ok_or_else(not_open)?;
        if end != known || open.excess == Excess::Possible {
            open.blob.truncate(end)?;
            open.excess = Excess::None;
        }
        Ok(())
    }

    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The open part.
    pub fn blob(&self) -> io::Result<&dyn Blob> {
        self.open.as_ref().map(|open| &*open.blob).ok_or_else(not_open)
    }

    /// Writes bytes behind the tail. Its hash does not know of them: who calls this adds them to
    /// [`Tail::hasher`] before anybody asks for the digest.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.blob()?.write_at(bytes, self.end())?;
        self.length = self.length.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(())
    }

    /// The running hash, and the part whose bytes it is over; absent where no digests are taken.
    pub fn hasher(&mut self) -> Option<(&mut RunningSha256, &dyn Blob)> {
        let open = self.open.as_mut()?;
        Some((open.hasher.as_mut()?, &*open.blob))
    }

    /// Counts bytes behind an empty tail that were written and hashed before it came here.
    pub fn catch_up(&mut self, length: u64, running: RunningSha256) {
        if let Some((hasher, _)) = self.hasher() {
            *hasher = running;
        }
        self.length = length;
    }

    /// The digest of the bytes so far; absent where none are taken.
    pub fn digest(&self) -> Option<Sha256Digest> {
        Some(self.open.as_ref()?.hasher.clone()?.into())
    }

    /// Moves on to the next chunk in the same part.
    pub(super) fn move_on(&mut self, chunk: ChunkIndex, base: u64) {
        self.chunk = chunk;
        self.base = base;
        self.length = 0;
        if let Some(OpenTail { hasher: Some(hasher), .. }) = &mut self.open {
            *hasher = RunningSha256::new();
        }
    }
}

/// The first name for a part beginning with `chunk` that no sealed chunk uses, and that was not
/// lent: what is shared is never cut, and under that name new bytes would not be either.
pub(super) fn free_part(record: &Record, chunk: ChunkIndex) -> PartId {
    let sealed = record.chunks().iter_from(chunk).map(|(_, sealed)| sealed.part);
    let lent = record.lent().map(|(part, _)| *part);
    let used = sealed
        .chain(lent)
        .filter(|part| part.first == chunk && part.generation < PartId::WHOLE.generation)
        .map(|part| part.generation)
        .max();
    PartId { first: chunk, generation: used.map_or(0, |used| used.saturating_add(1)) }
}

/// Hashes `length` bytes of a blob from `at` on.
pub fn hash_range(blob: &dyn Blob, at: u64, length: u64) -> io::Result<RunningSha256> {
    let mut hasher = RunningSha256::new();
    copy_range(blob, at, length, |bytes, _| {
        hasher.update(bytes);
        Ok(())
    })?;
    Ok(hasher)
}

/// Hands `length` bytes of a blob from `at` on to `take`, with their distance from `at`.
pub fn copy_range(
    blob: &dyn Blob,
    at: u64,
    length: u64,
    mut take: impl FnMut(&[u8], u64) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = vec![0; usize::try_from(length).unwrap_or(READ).min(READ)];
    let mut done = 0;
    while done < length {
        let step = usize::try_from(length.saturating_sub(done)).unwrap_or(READ).min(READ);
        let bytes = buffer.get_mut(..step).ok_or_else(not_open)?;
        blob.read_at(bytes, at.saturating_add(done))?;
        take(bytes, done)?;
        done = done.saturating_add(u64::try_from(step).unwrap_or(u64::MAX));
    }
    Ok(())
}

/// Opens the part of a tail for appending.
pub(super) fn open_for_append(
    storage: &dyn Storage,
    id: &UploadId,
    part: PartId,
) -> io::Result<Option<Box<dyn Blob>>> {
    match storage.open_part(id, part) {
        Ok(blob) => Ok(Some(blob)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn not_open() -> io::Error {
    io::Error::other("the tail is not open")
}
