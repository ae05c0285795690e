//! One open ledger: read as far as it goes, append behind what the caller knows.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::fs::OFlags;

use super::{
    bytes,
    codec::{self, FRAME, Place},
    header::{self, Beginning},
    replay::{self, Replay},
};
use crate::{
    durable,
    state::{StateError, Version, Versioned},
    upload::{Fact, Record, Stamped, UploadId},
};

/// A ledger with its file open, and the record as of the last look at it.
#[derive(Debug)]
pub(super) struct Ledger {
    file: Arc<File>,
    access: Access,
    incarnation: u64,
    /// Where the frames begin, in bytes.
    body: u64,
    /// One commit at a time. Its own mutex, so that readers do not wait for a disk.
    committing: Mutex<()>,
    view: Mutex<View>,
    /// Is the file's name known to be on the disk?
    pub(super) named: AtomicBool,
}

/// How the file could be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    ReadWrite,
    /// The disk cannot be written, or the file.
    ReadOnly,
}

/// The record as of a state of the file. The file may be longer than the version where its end is
/// torn.
#[derive(Debug, Clone)]
struct View {
    versioned: Versioned,
    seen: Seen,
    /// Checksum of the last frame; tells whether other facts of the same length took its place.
    last: Option<u32>,
}

/// What tells one state of the file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    size: u64,
    modified: (i64, i64),
}

/// What a commit does to the disk; replaced in tests by what a failing disk would do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Disk {
    pub(super) append: fn(&File, &[u8], u64) -> io::Result<()>,
    pub(super) cut: fn(&File, u64) -> io::Result<()>,
    pub(super) sync: fn(&File) -> io::Result<()>,
}

impl Disk {
    pub(super) const REAL: Self = Self {
        append: |file, bytes, at| file.write_all_at(bytes, at),
        cut: |file, size| file.set_len(size),
        sync: durable::sync_data,
    };
}

/// Why a commit did not happen, and whether the disk itself is to blame.
#[derive(Debug)]
pub(super) enum CommitError {
    /// Nothing was written, or what was written is cut off again.
    Refused(StateError),
    /// Bytes may not have reached the disk although the page cache shows them.
    Unsynced(io::Error),
}

impl<E: Into<StateError>> From<E> for CommitError {
    fn from(error: E) -> Self {
        Self::Refused(error.into())
    }
}

impl Ledger {
    /// Opens the ledger of `id` and reads it; `Unknown` if there is none or its header is torn.
    pub(super) fn open(path: &Path, id: &UploadId) -> Result<Self, StateError> {
        let (file, access) = match open_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(StateError::Unknown),
            opened => opened?,
        };
        loop {
            let seen = Seen::of(&file.metadata()?);
            match Self::beginning(&file, id, seen).and_then(|b| Self::view_of(&file, b, seen)) {
                // It was cut while it was read.
                Err(StateError::Damaged { .. }) if file.metadata()?.size() < seen.size => {}
                read => return Ok(Self::of((file, access), read?)),
            }
        }
    }

    fn beginning(file: &File, id: &UploadId, seen: Seen) -> Result<Beginning, StateError> {
        let beginning = header::read(file, seen.size)?.ok_or(StateError::Unknown)?;
        if beginning.manifest.id != *id {
            return Err(header::damaged(0, "the ledger of another upload"));
        }
        Ok(beginning)
    }

    /// Writes a header, and `facts`, which give `record`, into an empty file: at once, so that the
    /// ledger has all of them or was never begun.
    pub(super) fn begin(
        file: File,
        (header, incarnation): (Vec<u8>, u64),
        (facts, record): (&[Stamped], Arc<Record>),
        disk: &Disk,
    ) -> Result<Self, StateError> {
        let body = bytes::size(header.len());
        let frames = codec::encode(facts, Place { incarnation, at: body });
        let last = codec::last_checksum(&frames);
        let length = body.saturating_add(bytes::size(frames.len()));
        (disk.append)(&file, &[&header, &*frames, promised(facts)].concat(), 0)?;
        let seen = Seen::of(&file.metadata()?);
        let versioned = Versioned { record, version: Version { incarnation, length } };
        Ok(Self::of((file, Access::ReadWrite), (body, View { versioned, seen, last })))
    }

    /// The record as it was at the last look.
    pub(super) fn known(&self) -> Versioned {
        self.view().versioned.clone()
    }

    /// What the facts make, and where their frames begin.
    fn view_of(file: &File, beginning: Beginning, seen: Seen) -> Result<(u64, View), StateError> {
        let Beginning { manifest, incarnation, body } = beginning;
        let start = Place { incarnation, at: body };
        let replay = replay::replay(file, start, Record::new(manifest), seen.size)?;
        Ok((body, View::of(replay, incarnation, seen)))
    }

    fn of((file, access): (File, Access), (body, view): (u64, View)) -> Self {
        let incarnation = view.versioned.version.incarnation;
        let (committing, view) = (Mutex::default(), Mutex::new(view));
        let named = AtomicBool::new(false);
        let file = Arc::new(file);
        Self { file, access, incarnation, body, committing, view, named }
    }

    /// The record as the file has it now; costs one fstat where nothing changed. `Unknown` if the
    /// file lost its name, or was voided.
    pub(super) fn look(&self) -> Result<Versioned, StateError> {
        let mut view = self.view();
        // Under the mutex, so that an older state of the file never replaces a newer view.
        let mut seen = self.seen()?;
        while view.seen != seen {
            let refreshed = self.refresh(&view, seen);
            let now = self.seen()?;
            if now.size >= seen.size {
                *view = refreshed?;
                break;
            }
            // It was cut while it was read.
            seen = now;
        }
        Ok(view.versioned.clone())
    }

    /// Adds `facts`, which give `record`, behind `held`. `settle` is called with the file once it
    /// holds them; if it fails they are taken back.
    pub(super) fn commit(
        &self,
        held: &Versioned,
        (facts, record): (&[Stamped], &Arc<Record>),
        disk: &Disk,
        settle: &dyn Fn(&Self) -> io::Result<()>,
    ) -> Result<Versioned, CommitError> {
        let _one_at_a_time = self.committing.lock().unwrap_or_else(PoisonError::into_inner);
        let start = held.version.length;
        if self.access == Access::ReadOnly {
            return Err(io::Error::from(ErrorKind::ReadOnlyFilesystem).into());
        }
        let mut frames = codec::encode(facts, Place { incarnation: self.incarnation, at: start });
        let last = codec::last_checksum(&frames);
        let length = start.saturating_add(bytes::size(frames.len()));
        frames.extend_from_slice(promised(facts));
        let before = self.make_way(held, bytes::size(frames.len()), disk)?;
        if let Err(error) = (disk.append)(&self.file, &frames, start) {
            // If this fails too, the rest has no end of a commit: readers pass over it, the next
            // commit cuts it off.
            let _ = (disk.cut)(&self.file, before);
            return Err(error.into());
        }
        if let Err(error) = settle(self) {
            // If this fails too, the facts stay; the caller hears of the first failure in any case.
            let _ = (disk.cut)(&self.file, before);
            return Err(CommitError::Unsynced(error));
        }
        let version = Version { length, ..held.version };
        let versioned = Versioned { record: Arc::clone(record), version };
        self.remember(&versioned, start.saturating_add(bytes::size(frames.len())), last);
        Ok(versioned)
    }

    /// Writes all bytes once more, after a failed flush: the kernel may take pages for written that
    /// never were. Part of settling a commit.
    pub(super) fn rewrite(&self, disk: &Disk) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        let mut at = 0;
        loop {
            let read = bytes::read_up_to(&self.file, &mut buffer, at)?;
            let Some(block) = buffer.get(..read).filter(|block| !block.is_empty()) else {
                return Ok(());
            };
            (disk.append)(&self.file, block, at)?;
            at = at.saturating_add(bytes::size(read));
        }
    }

    /// Gives up the lock under which the header was written.
    pub(super) fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }

    /// Flushes bytes and length.
    pub(super) fn sync(&self, disk: &Disk) -> io::Result<()> {
        (disk.sync)(&self.file)
    }

    /// Makes way for as many `coming` bytes behind the version that `held` was read at, or refuses.
    /// Says how many bytes the file has then: a torn frame stays where it is about to be written
    /// over.
    fn make_way(&self, held: &Versioned, coming: u64, disk: &Disk) -> Result<u64, StateError> {
        let size = self.seen()?.size;
        let Version { incarnation, length } = held.version;
        if incarnation != self.incarnation || size < length || length < self.body {
            return Err(StateError::Stale);
        }
        let behind = size.saturating_sub(length);
        if behind >= FRAME {
            let start = Place { incarnation, at: length };
            let record = Record::clone(&held.record);
            if replay::replay(&self.file, start, record, size)?.end > length {
                return Err(StateError::Stale);
            }
        }
        if behind < FRAME && behind <= coming {
            return Ok(size);
        }
        (disk.cut)(&self.file, length)?;
        Ok(length)
    }

    fn refresh(&self, view: &View, seen: Seen) -> Result<View, StateError> {
        // Facts are added by others; another beginning is written by nobody who may.
        match header::read(&self.file, seen.size)? {
            Some(Beginning { incarnation, .. }) if incarnation == self.incarnation => {}
            _ => return Err(header::damaged(0, "its beginning changed")),
        }
        let Version { incarnation, length } = view.versioned.version;
        if seen.size >= length && self.last_checksum(length)? == view.last {
            let start = Place { incarnation, at: length };
            let record = Record::clone(&view.versioned.record);
            let replay = replay::replay(&self.file, start, record, seen.size)?;
            let last = replay.last.or(view.last);
            return Ok(View::of(Replay { last, ..replay }, incarnation, seen));
        }
        // Facts that were seen before were taken back, after a flush that failed in another
        // process.
        let start = Place { incarnation, at: self.body };
        let fresh = Record::new(view.versioned.record.manifest().clone());
        let replay = replay::replay(&self.file, start, fresh, seen.size)?;
        Ok(View::of(replay, incarnation, seen))
    }

    /// The checksum of the frame that ends at `length`; `None` if there is none.
    fn last_checksum(&self, length: u64) -> io::Result<Option<u32>> {
        let Some(start) = length.checked_sub(FRAME).filter(|start| *start >= self.body) else {
            return Ok(None);
        };
        let mut frame = [0; codec::FRAME_BYTES];
        let read = bytes::read_up_to(&self.file, &mut frame, start)?;
        Ok((read == frame.len()).then(|| codec::last_checksum(&frame)).flatten())
    }

    /// Keeps the record that was just committed, so that the next look need not read it.
    fn remember(&self, versioned: &Versioned, size: u64, last: Option<u32>) {
        let mut view = self.view();
        match self.seen() {
            Ok(seen) if seen.size == size => {
                let last = last.or(view.last);
                *view = View { versioned: versioned.clone(), seen, last };
            }
            // Somebody went on already, or the file cannot be asked: the next look finds out.
            _ => {}
        }
    }

    fn seen(&self) -> Result<Seen, StateError> {
        let metadata = self.file.metadata()?;
        if metadata.nlink() == 0 || metadata.size() < self.body {
            return Err(StateError::Unknown);
        }
        Ok(Seen::of(&metadata))
    }

    /// The open file, for its lock.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Are both the same ledger, by whatever file they got hold of it?
    pub(super) const fn is_same(&self, other: &Self) -> bool {
        self.incarnation == other.incarnation
    }

    /// Is the name on the disk, as far as this process knows?
    pub(super) fn is_named(&self) -> bool {
        self.named.load(Ordering::Acquire)
    }
}

/// The first byte of a commit that will follow these facts, if one must: a file that is about to
/// appear leaves no other trace where the process dies before that is written down. Such a ledger
/// ends in the middle of a frame, as if it had died while it wrote, which its size tells.
fn promised(facts: &[Stamped]) -> &'static [u8] {
    match facts.last() {
        Some(Stamped { fact: Fact::Merging { .. }, .. }) => &[0],
        _ => &[],
    }
}

/// What a ledger says can be told where nobody can write, too. Waits for nobody, whatever lies in
/// its place.
fn open_file(path: &Path) -> io::Result<(File, Access)> {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    match options.clone().write(true).open(path) {
        Err(error) if is_read_only(&error) => Ok((options.open(path)?, Access::ReadOnly)),
        opened => Ok((opened?, Access::ReadWrite)),
    }
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied)
}

impl Seen {
    fn of(metadata: &Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { size: metadata.size(), modified }
    }
}

impl View {
    fn of(replay: Replay, incarnation: u64, seen: Seen) -> Self {
        let version = Version { incarnation, length: replay.end };
        let record = Arc::new(replay.record);
        Self { versioned: Versioned { record, version }, seen, last: replay.last }
    }
}
