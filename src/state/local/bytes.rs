//! Little-endian fields in and out of byte slices, and reading at a place in a file.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::unix::fs::FileExt,
};

/// Takes fields off the front.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `N` bytes; `None` if there are fewer.
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

/// Puts fields one behind the other. What does not fit is a mistake in the code and left out.
#[derive(Debug)]
pub(super) struct Writer<'a>(&'a mut [u8]);

impl<'a> Writer<'a> {
    pub(super) const fn new(bytes: &'a mut [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn put(&mut self, field: &[u8]) {
        let room = std::mem::take(&mut self.0);
        debug_assert!(field.len() <= room.len(), "a field does not fit");
        let (here, rest) = room.split_at_mut(field.len().min(room.len()));
        here.iter_mut().zip(field).for_each(|(byte, value)| *byte = *value);
        self.0 = rest;
    }

    /// Leaves the next `bytes` as they are.
    pub(super) fn skip(&mut self, bytes: usize) {
        let room = std::mem::take(&mut self.0);
        self.0 = room.split_at_mut_checked(bytes).map_or(&mut [], |(_, rest)| rest);
    }
}

/// Reads from `at` on until `buffer` is full or the file ends; how many bytes it was.
pub(super) fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let (mut filled, mut at) = (0_usize, at);
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match file.read_at(room, at) {
            Ok(0) => break,
            Ok(read) => {
                filled = filled.saturating_add(read);
                at = at.saturating_add(size(read));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A length in memory as a length on disk.
pub(super) fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a usize has at most 64 bits")
}

/// Random bytes that nobody can guess.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}
