//! Blobs that ask the faults first.

use std::{fs::File, io, ops::Range};

use super::{
    super::{Blob, Staged},
    plan::{Faults, Operation},
};

/// A part or finished file behind faults.
#[derive(Debug)]
pub(super) struct FaultBlob {
    inner: Box<dyn Blob>,
    faults: Faults,
}

impl FaultBlob {
    pub(super) const fn new(inner: Box<dyn Blob>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Blob for FaultBlob {
    fn size(&self) -> io::Result<u64> {
        size(self.inner.as_ref(), &self.faults)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        read_at(self.inner.as_ref(), &self.faults, buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        write_at(self.inner.as_ref(), &self.faults, bytes, at)
    }

    fn reserve(&self, range: Range<u64>) {
        reserve(self.inner.as_ref(), &self.faults, range);
    }

    fn write_back(&self, range: Range<u64>) {
        write_back(self.inner.as_ref(), &self.faults, range);
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        truncate(self.inner.as_ref(), &self.faults, size)
    }

    fn sync(&self) -> io::Result<()> {
        sync(self.inner.as_ref(), &self.faults)
    }

    fn share(&self, source: &dyn Blob, from: u64, at: u64, length: u64) -> u64 {
        share(self.inner.as_ref(), &self.faults, (source, from), (at, length))
    }

    fn file(&self) -> Option<&File> {
        self.inner.as_ref().file()
    }
}

/// A staged file behind faults. The storage below finds its own by the token.
#[derive(Debug)]
pub(super) struct FaultStaged {
    inner: Box<dyn Staged>,
    faults: Faults,
}

impl FaultStaged {
    pub(super) const fn new(inner: Box<dyn Staged>, faults: Faults) -> Self {
        Self { inner, faults }
    }
}

#[deny(clippy::missing_trait_methods)]
impl Staged for FaultStaged {
    fn as_blob(&self) -> &dyn Blob {
        self
    }

    fn token(&self) -> &str {
        self.inner.token()
    }
}

#[deny(clippy::missing_trait_methods)]
impl Blob for FaultStaged {
    fn size(&self) -> io::Result<u64> {
        size(self.inner.as_blob(), &self.faults)
    }

    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        read_at(self.inner.as_blob(), &self.faults, buffer, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        write_at(self.inner.as_blob(), &self.faults, bytes, at)
    }

    fn reserve(&self, range: Range<u64>) {
        reserve(self.inner.as_blob(), &self.faults, range);
    }

    fn write_back(&self, range: Range<u64>) {
        write_back(self.inner.as_blob(), &self.faults, range);
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        truncate(self.inner.as_blob(), &self.faults, size)
    }

    fn sync(&self) -> io::Result<()> {
        sync(self.inner.as_blob(), &self.faults)
    }

    fn share(&self, source: &dyn Blob, from: u64, at: u64, length: u64) -> u64 {
        share(self.inner.as_blob(), &self.faults, (source, from), (at, length))
    }

    fn file(&self) -> Option<&File> {
        self.inner.as_blob().file()
    }
}

fn size(inner: &dyn Blob, faults: &Faults) -> io::Result<u64> {
    faults.enter(Operation::Size)?;
    inner.size()
}

fn read_at(inner: &dyn Blob, faults: &Faults, buffer: &mut [u8], at: u64) -> io::Result<()> {
    faults.enter(Operation::Read)?;
    inner.read_at(buffer, at)
}

fn write_at(inner: &dyn Blob, faults: &Faults, bytes: &[u8], at: u64) -> io::Result<()> {
    let Err(denied) = faults.enter_write() else {
        return inner.write_at(bytes, at);
    };
    if denied.short {
        let (half, _) = bytes.split_at(bytes.len() / 2);
        inner.write_at(half, at)?;
    }
    Err(denied.error)
}

fn reserve(inner: &dyn Blob, faults: &Faults, range: Range<u64>) {
    // A wish that fails is a wish that is not granted.
    if faults.enter(Operation::Reserve).is_ok() {
        inner.reserve(range);
    }
}

fn write_back(inner: &dyn Blob, faults: &Faults, range: Range<u64>) {
    if faults.enter(Operation::WriteBack).is_ok() {
        inner.write_back(range);
    }
}

fn truncate(inner: &dyn Blob, faults: &Faults, size: u64) -> io::Result<()> {
    faults.enter(Operation::Truncate)?;
    inner.truncate(size)
}

fn sync(inner: &dyn Blob, faults: &Faults) -> io::Result<()> {
    faults.enter(Operation::Sync)?;
    inner.sync()
}

fn share(
    inner: &dyn Blob,
    faults: &Faults,
    (source, from): (&dyn Blob, u64),
    (at, length): (u64, u64),
) -> u64 {
    if faults.enter(Operation::Share).is_err() {
        return 0;
    }
    let Some(block) = faults.block() else { return inner.share(source, from, at, length) };
    let whole = length.saturating_sub(length % block);
    if from % block != 0 || at % block != 0 {
        return 0;
    }
    as_if_shared(inner, (source, from), (at, whole)).map_or(0, |()| whole)
}

/// The same bytes as if the file system had done it: no write that is counted, or could fail.
fn as_if_shared(
    inner: &dyn Blob,
    (source, from): (&dyn Blob, u64),
    (at, length): (u64, u64),
) -> io::Result<()> {
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    source.read_at(&mut bytes, from)?;
    inner.write_at(&bytes, at)
}
