//! SHA-256 of bytes that are still coming, one message at a time or two side by side.
//!
//! One message waits for itself: each round needs the one before. Two messages do not wait for each
//! other, and a processor with instructions for SHA-256 takes both in little more than the time of
//! one (`lanes`). Where there are none, two messages are simply two.

#[cfg(target_arch = "x86_64")]
mod lanes;

use std::fmt;

use sha2::block_api::compress256;

use super::digest::Sha256Digest;

/// Bytes that are taken in at once.
const BLOCK: usize = 64;
/// Where the count of bits begins in the last block.
const COUNT_AT: usize = BLOCK - 8;
/// FIPS 180-4 §5.3.3.
const BEGINNING: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

type Block = [u8; BLOCK];

/// The digest of the bytes so far.
#[derive(Clone)]
pub struct RunningSha256 {
    state: [u32; 8],
    /// The bytes of a block that is not whole yet, from its beginning.
    begun: Block,
    length: u64,
}

impl RunningSha256 {
    /// Over no bytes.
    pub const fn new() -> Self {
        Self { state: BEGINNING, begun: [0; BLOCK], length: 0 }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let (blocks, rest) = self.complete_block(bytes).as_chunks();
        self.compress(blocks);
        self.begin_block(blocks, rest);
    }

    /// Adds the next bytes of two messages: in two lanes as far as both go.
    pub fn update_both((left, first): (&mut Self, &[u8]), (right, second): (&mut Self, &[u8])) {
        let (left_blocks, left_rest) = left.complete_block(first).as_chunks();
        let (right_blocks, right_rest) = right.complete_block(second).as_chunks();
        let common = left_blocks.len().min(right_blocks.len());
        let (left_now, left_more) = left_blocks.split_at(common);
        let (right_now, right_more) = right_blocks.split_at(common);
        compress_both((&mut left.state, left_now), (&mut right.state, right_now));
        left.compress(left_more);
        right.compress(right_more);
        left.begin_block(left_blocks, left_rest);
        right.begin_block(right_blocks, right_rest);
    }

    /// The digest of all bytes.
    pub fn finish(mut self) -> Sha256Digest {
        let bits = self.length.wrapping_mul(8).to_be_bytes();
        let begun = self.begun_bytes();
        let zeros = if begun < COUNT_AT { COUNT_AT } else { COUNT_AT + BLOCK };
        let mut last = [0; 2 * BLOCK];
        last[0] = 0x80;
        let (padding, _) = last.split_at(zeros.saturating_sub(begun));
        self.update(padding);
        self.update(&bits);
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        Sha256Digest::new(digest)
    }

    /// How many bytes of the begun block are there.
    fn begun_bytes(&self) -> usize {
        usize::try_from(self.length % 64).unwrap_or_default()
    }

    /// Adds to a begun block first; gives back what lies behind it.
    fn complete_block<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let begun = self.begun_bytes();
        if begun == 0 {
            return bytes;
        }
        let room = self.begun.get_mut(begun..).unwrap_or_default();
        let (now, rest) = bytes.split_at(bytes.len().min(room.len()));
        for (place, byte) in room.iter_mut().zip(now) {
            *place = *byte;
        }
        self.count(now.len());
        if self.begun_bytes() == 0 {
            compress256(&mut self.state, &[self.begun]);
        }
        rest
    }

    fn compress(&mut self, blocks: &[Block]) {
        compress256(&mut self.state, blocks);
    }

    /// Counts `blocks`, which were taken in, and keeps the bytes behind them. Those are none where
    /// a begun block did not become whole.
    fn begin_block(&mut self, blocks: &[Block], rest: &[u8]) {
        for (place, byte) in self.begun.iter_mut().zip(rest) {
            *place = *byte;
        }
        self.count(blocks.as_flattened().len());
        self.count(rest.len());
    }

    fn count(&mut self, bytes: usize) {
        self.length = self.length.wrapping_add(u64::try_from(bytes).unwrap_or_default());
    }
}

impl Default for RunningSha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl From<RunningSha256> for Sha256Digest {
    fn from(running: RunningSha256) -> Self {
        running.finish()
    }
}

impl fmt::Debug for RunningSha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningSha256").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Does this machine take two messages in less time than one after the other? A build for tests
/// takes that road on every machine.
pub fn gains_by_two() -> bool {
    #[cfg(target_arch = "x86_64")]
    let lanes = lanes::Lanes::here().is_some();
    #[cfg(not(target_arch = "x86_64"))]
    let lanes = false;
    lanes || cfg!(debug_assertions)
}

/// Takes in as many blocks of one message as of the other.
fn compress_both(left: (&mut [u32; 8], &[Block]), right: (&mut [u32; 8], &[Block])) {
    #[cfg(target_arch = "x86_64")]
    if let Some(lanes) = lanes::Lanes::here() {
        return lanes.compress(left, right);
    }
    compress_in_turn(left, right);
}

/// The portable way, and what the lanes are compared with.
fn compress_in_turn(
    (left, first): (&mut [u32; 8], &[Block]),
    (right, second): (&mut [u32; 8], &[Block]),
) {
    compress256(left, first);
    compress256(right, second);
}

#[cfg(test)]
mod tests;
