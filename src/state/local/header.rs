//! How a ledger begins: which one it is, and the manifest.
//!
//! ```text
//!  0 magic "PITONLG1" │ 8 json length u32 │ 12 json crc32 u32 │ 16 incarnation u64
//!  24 crc32 of bytes 0..24 │ 28 json
//! ```
//!
//! The length has a checksum of its own: else a damaged length would make a ledger full of facts
//! look like one whose creation was never finished, and a creation would replace it.
//!
//! Blanks at the end of the JSON have the frames begin at a multiple of their size: so the size of
//! a ledger tells whether it ends in the middle of one.

use std::{
    fs::File,
    io::{self, ErrorKind},
};

use super::{
    bytes::{Reader, read_up_to, size},
    codec::FRAME_BYTES,
};
use crate::{state::StateError, upload::Manifest};

const MAGIC: &[u8; 8] = b"PITONLG1";
/// What the magic of later versions begins with, too. Their headers keep the checksum of the first
/// 24 bytes, so that an earlier version can tell them from damaged ones.
const FAMILY: &[u8; 7] = b"PITONLG";
const PREAMBLE: usize = 28;
/// Bytes of the preamble that its checksum covers.
const SUMMED: usize = 24;

/// A whole header.
#[derive(Debug)]
pub(super) struct Beginning {
    pub(super) manifest: Manifest,
    pub(super) incarnation: u64,
    /// Where the frames begin, in bytes.
    pub(super) body: u64,
}

/// The header as bytes; `InvalidInput` for a manifest of more than 4 GiB.
pub(super) fn encode(manifest: &Manifest, incarnation: u64) -> io::Result<Vec<u8>> {
    let mut json = serde_json::to_vec(manifest)?;
    let body = PREAMBLE.saturating_add(json.len()).next_multiple_of(FRAME_BYTES);
    json.resize(body.saturating_sub(PREAMBLE), b' ');
    let length = u32::try_from(json.len()).map_err(|_| ErrorKind::InvalidInput)?;
    let mut bytes = Vec::with_capacity(PREAMBLE.saturating_add(json.len()));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&json).to_le_bytes());
    bytes.extend_from_slice(&incarnation.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend_from_slice(&json);
    Ok(bytes)
}

/// Reads the header of a ledger of `file_size` bytes. `None` where it is torn: less than a whole
/// header and nothing behind it, so that the creation was never answered. `Damaged` where something
/// that was once whole is not any more; `Newer` where it is whole and not known.
pub(super) fn read(file: &File, file_size: u64) -> Result<Option<Beginning>, StateError> {
    let mut preamble = [0; PREAMBLE];
    if read_up_to(file, &mut preamble, 0)? < PREAMBLE {
        return Ok(None);
    }
    let Some((length, json_sum, incarnation)) = read_preamble(&preamble) else {
        if is_newer(&preamble) {
            return Err(newer(0, "a header in a form that this version does not know"));
        }
        // After a power loss a file may have got its length and none of its bytes.
        return if is_blank(file)? {
            Ok(None)
        } else {
            Err(damaged(0, "not the header of a ledger that this version writes"))
        };
    };
    let body = size(PREAMBLE).saturating_add(u64::from(length));
    if file_size < body {
        return Ok(None);
    }
    let mut json = vec![0; usize::try_from(length).expect("a file of that length is there")];
    let read = read_up_to(file, &mut json, size(PREAMBLE))?;
    if read < json.len() || crc32fast::hash(&json) != json_sum {
        return if file_size == body {
            Ok(None)
        } else {
            Err(damaged(size(PREAMBLE), "the manifest's checksum is wrong"))
        };
    }
    // Its checksum is right, so somebody wrote it like that.
    let manifest = serde_json::from_slice(&json)
        .map_err(|error| newer(size(PREAMBLE), &format!("not a manifest: {error}")))?;
    Ok(Some(Beginning { manifest, incarnation, body }))
}

/// Length and checksum of the JSON, and the incarnation; `None` if the checksum or the magic is
/// wrong.
fn read_preamble(preamble: &[u8; PREAMBLE]) -> Option<(u32, u32, u64)> {
    let (summed, sum) = preamble.split_first_chunk::<SUMMED>()?;
    let mut reader = Reader::new(summed);
    let magic: [u8; 8] = reader.take()?;
    let fields = (reader.u32()?, reader.u32()?, reader.u64()?);
    let right = Reader::new(sum).u32()? == crc32fast::hash(summed);
    (right && magic == *MAGIC).then_some(fields)
}

/// Is it whole, and of another version?
fn is_newer(preamble: &[u8; PREAMBLE]) -> bool {
    let Some((summed, sum)) = preamble.split_first_chunk::<SUMMED>() else { return false };
    let right = Reader::new(sum).u32() == Some(crc32fast::hash(summed));
    right && summed.starts_with(FAMILY) && !summed.starts_with(MAGIC)
}

fn is_blank(file: &File) -> io::Result<bool> {
    let (mut buffer, mut at) = ([0; 4096], 0_u64);
    loop {
        let read = read_up_to(file, &mut buffer, at)?;
        if read == 0 {
            return Ok(true);
        }
        if buffer.iter().take(read).any(|byte| *byte != 0) {
            return Ok(false);
        }
        at = at.saturating_add(size(read));
    }
}

fn newer(at: u64, what: &str) -> StateError {
    StateError::Newer { at, what: what.to_owned() }
}

/// [`StateError::Damaged`] at a byte of the ledger.
pub(super) fn damaged(at: u64, what: &str) -> StateError {
    StateError::Damaged { at, what: what.to_owned() }
}
