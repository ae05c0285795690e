//! One file: read and written at positions, so that no two users share a cursor.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    num::NonZeroU64,
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{Advice, FallocateFlags, FsWord, OFlags, copy_file_range};

use super::super::{Blob, Staged};
use crate::durable;

/// A file as a blob.
#[derive(Debug)]
pub(super) struct LocalFile(File);

impl LocalFile {
    /// A new empty file; `AlreadyExists` if the name is taken, by a symbolic link too.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().read(true).write(true).create_new(true).open(path)?))
    }

    /// For reading and writing; `NotFound` if it is not there.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::open_as(path, OpenOptions::new().read(true).write(true))
    }

    /// For reading; `NotFound` if it is not there.
    pub(super) fn open_to_read(path: &Path) -> io::Result<Self> {
        Self::open_as(path, OpenOptions::new().read(true))
    }

    /// Refuses symbolic links, and whatever else is no plain file, without waiting for its other
    /// end: bytes leave and enter the data directory only by our own hands.
    fn open_as(path: &Path, options: &mut OpenOptions) -> io::Result<Self> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = options.custom_flags(flags.bits().cast_signed()).open(path)?;
        if !file.metadata()?.is_file() {
            return Err(ErrorKind::InvalidInput.into());
        }
        Ok(Self(file))
    }
}

impl Blob for LocalFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn reserve(&self, range: Range<u64>) {
        // A file system that cannot does without: the write itself will tell whether there is room.
        let length = range.end.saturating_sub(range.start);
        let _ = rustix::fs::fallocate(&self.0, FallocateFlags::KEEP_SIZE, range.start, length);
    }

    /// Pages that the disk has already may leave the page cache: meant for bytes that were just
    /// written.
    fn write_back(&self, range: Range<u64>) {
        // sync_file_range has no safe wrapper. On Linux this advice begins with the same step,
        // starts writing what is dirty without waiting, and then drops what is clean, which just
        // written bytes are not: measured, both cost the same, leave 256 of 256 MiB cached, and
        // shorten the last fdatasync from 90 ms to 4.
        if let Some(length) = NonZeroU64::new(range.end.saturating_sub(range.start)) {
            let _ = rustix::fs::fadvise(&self.0, range.start, Some(length), Advice::DontNeed);
        }
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        if size > self.size()? {
            return Err(ErrorKind::InvalidInput.into());
        }
        // Called for the same size too: that is what gives back the blocks reserved behind the end.
        self.0.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        durable::sync_data(&self.0)
    }

    fn share(&self, source: &dyn Blob, from: u64, at: u64, length: u64) -> u64 {
        let Some(source) = source.file() else { return 0 };
        if !from.is_multiple_of(BLOCK) || !at.is_multiple_of(BLOCK) || !shares_blocks(&self.0) {
            return 0;
        }
        let (mut from, mut to) = (from, at);
        // Not the begun block behind the last whole one, though it could be shared at the end of a
        // file: whoever writes on behind it would have to copy it first.
        let end = from.saturating_add(length.saturating_sub(length % BLOCK));
        while from < end {
            let step = usize::try_from(end.saturating_sub(from)).unwrap_or(SHARE_MAX);
            let step = step.min(SHARE_MAX);
            match copy_file_range(source, Some(&mut from), &self.0, Some(&mut to), step) {
                Ok(shared) if shared > 0 => {}
                _ => break,
            }
        }
        to.saturating_sub(at)
    }

    fn file(&self) -> Option<&File> {
        Some(&self.0)
    }
}

/// Blocks are shared whole.
const BLOCK: u64 = 4096;
/// Bytes that are shared in one call.
const SHARE_MAX: usize = 1 << 30;

/// Is the file on a file system on which the kernel's `copy_file_range` shares blocks? Elsewhere it
/// copies, and slower than a read and a write do: 0.97 s/GiB against 0.22 on ext4.
fn shares_blocks(file: &File) -> bool {
    const XFS: FsWord = 0x5846_5342;
    const BTRFS: FsWord = 0x9123_683e;
    const BCACHEFS: FsWord = 0xca45_1a4e;
    rustix::fs::fstatfs(file).is_ok_and(|found| matches!(found.f_type, XFS | BTRFS | BCACHEFS))
}

/// A file in `tmp/`. Its name goes when it is dropped; once adopted, the name is gone already.
///
/// Its flock says that somebody works on it, however long ago the last byte was written: the bytes
/// of a file that is shared are hashed for hours. The kernel drops it when the process dies.
#[derive(Debug)]
pub(super) struct LocalStaged {
    file: LocalFile,
    path: PathBuf,
    token: String,
}

impl LocalStaged {
    /// A new empty file at `path`, known by `token`.
    pub(super) fn create(path: PathBuf, token: String) -> io::Result<Self> {
        let file = LocalFile::create(&path)?;
        // Where there are no locks, its age has to do.
        let _ = file.0.try_lock();
        Ok(Self { file, path, token })
    }

    /// Does somebody work on the staged file at `path`? One that cannot be opened may be in use.
    pub(super) fn is_in_use(path: &Path) -> bool {
        match LocalFile::open_to_read(path) {
            Ok(file) => matches!(file.0.try_lock(), Err(TryLockError::WouldBlock)),
            Err(error) => error.kind() != ErrorKind::NotFound,
        }
    }
}

impl Staged for LocalStaged {
    fn as_blob(&self) -> &dyn Blob {
        &self.file
    }

    fn token(&self) -> &str {
        &self.token
    }
}

impl Drop for LocalStaged {
    fn drop(&mut self) {
        // What cannot be removed now is found by the sweep.
        let _ = durable::remove_file(&self.path);
    }
}

impl Blob for LocalStaged {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_at(buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.file.write_at(bytes, at)
    }

    fn reserve(&self, range: Range<u64>) {
        self.file.reserve(range);
    }

    fn write_back(&self, range: Range<u64>) {
        self.file.write_back(range);
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.file.truncate(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn share(&self, source: &dyn Blob, from: u64, at: u64, length: u64) -> u64 {
        self.file.share(source, from, at, length)
    }

    fn file(&self) -> Option<&File> {
        self.file.file()
    }
}
