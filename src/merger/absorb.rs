//! The one primitive of merging: the next chunk's bytes move to their place in the part of chunk 0.

use crate::{
    durable::Flush,
    hold::{Held, HoldError},
    upload::{ChunkIndex, Fact, PartId},
};

/// Was there something to do?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// This chunk moved.
    Absorbed(ChunkIndex),
    /// All of the contiguous prefix lies in one part, but for a tail.
    NothingToAbsorb,
}

/// Moves one chunk: share or copy, record, then remove where it was. Dying in between leaves the
/// chunk where the ledger says it is, and its bytes once more behind the end, which the next holder
/// cuts off.
///
/// Nothing is compared on the way. With `--verify-on-merge` all chunks are read before the last
/// ones are absorbed, and sharing keeps what that found better than copying does: the file then has
/// the very blocks that were read.
pub(super) fn absorb_next(held: &mut Held) -> Result<Step, HoldError> {
    let Some(base) = base(held).filter(|base| !held.record().is_shared(*base)) else {
        return Ok(Step::NothingToAbsorb);
    };
    let Some((chunk, part)) = first_outside(held) else { return Ok(Step::NothingToAbsorb) };
    if held.tail_part() == Some(part) {
        return Ok(Step::NothingToAbsorb);
    }
    held.drop_empty_tail();
    held.all_or_doubt(|held| absorb(held, (chunk, part), base))?;
    Ok(Step::Absorbed(chunk))
}

fn absorb(
    held: &mut Held,
    (chunk, part): (ChunkIndex, PartId),
    base: PartId,
) -> Result<(), HoldError> {
    let record = held.record();
    let length = record.chunks().get(chunk).map_or(0, |sealed| sealed.length);
    let (from, to) = (place(held, chunk, part)?, place(held, chunk, base)?);
    held.bring((part, from), (base, to), length)?;
    let flush = held.flush_of_move();
    if flush == Flush::Durable {
        held.storage().open_part(held.id(), base)?.sync()?;
    }
    let flushed = flush == Flush::Durable;
    held.commit([Fact::Absorbed { chunk, into: base, flushed }], flush)?;
    held.clear_dead_bytes(part)
}

/// The part that grows to be the file: the one of chunk 0.
pub(super) fn base(held: &Held) -> Option<PartId> {
    held.record().chunks().get(ChunkIndex::ZERO).map(|sealed| sealed.part)
}

/// The first chunk of the contiguous prefix that lies in another part than chunk 0.
fn first_outside(held: &Held) -> Option<(ChunkIndex, PartId)> {
    let chunks = held.record().chunks();
    let chunk = chunks.end_of_stretch(ChunkIndex::ZERO)?.next().ok()?;
    chunks.get(chunk).map(|sealed| (chunk, sealed.part))
}

fn place(held: &Held, chunk: ChunkIndex, part: PartId) -> Result<u64, HoldError> {
    held.record().place(chunk, part).map_err(|error| HoldError::Law(error.into()))
}
