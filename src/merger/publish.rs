//! The check before a file appears, and its appearance.

use std::{
    collections::BTreeSet,
    io::{self, ErrorKind},
};

use super::{
    MergeDemand, MergeError, MergeOptions, Verify,
    absorb::{Step, absorb_next, base},
};
use crate::{
    durable::Flush,
    hold::{Held, HoldError},
    storage::{Published, StoredFile, mark_of},
    upload::{
        ChunkCount, ChunkIndex, CompositeDigest, CompositeMismatch, DigestForm, Fact, FileMark,
        FinalName, Finished, Length, NameParts, PartId, Record, Sha256Digest,
    },
};

/// Missing chunks that are named at most.
const NAMED_MAX: usize = 10_000;

/// Is the set complete, and is it what the client demands? Says in which form its digest matched.
pub(super) fn check(
    record: &Record,
    demand: &MergeDemand,
) -> Result<Option<DigestForm>, MergeError> {
    if !record.is_complete() {
        return Err(MergeError::Missing { missing: missing(record) });
    }
    let bad_chunks = match &demand.chunks {
        Some(list) => differing(record, list)?,
        None => Vec::new(),
    };
    if demand.digest.is_none() && demand.chunks.is_none() {
        return Ok(None);
    }
    let composite = record.composite().ok_or(MergeError::NoDigests)?;
    let compared = demand.digest.map(|(digest, form)| composite.compare(digest, form));
    match compared {
        Some(Err(mismatch)) => Err(MergeError::Mismatch { mismatch, bad_chunks }),
        _ if !bad_chunks.is_empty() => {
            let expected = demand.chunks.iter().flatten();
            let expected = CompositeDigest::of(expected).raw;
            let mismatch = CompositeMismatch { expected, actual: composite.raw };
            Err(MergeError::Mismatch { mismatch, bad_chunks })
        }
        Some(Ok(matched)) => Ok(Some(matched.form)),
        None => Ok(None),
    }
}

fn missing(record: &Record) -> Vec<ChunkIndex> {
    let Some(total) = record.layout().total() else { return Vec::new() };
    total
        .indexes()
        .skip_while(|chunk| *chunk < record.chunks().first_missing())
        .filter(|chunk| record.chunks().get(*chunk).is_none())
        .take(NAMED_MAX)
        .collect()
}

fn differing(record: &Record, list: &[Sha256Digest]) -> Result<Vec<ChunkIndex>, MergeError> {
    let total = record.layout().total().map_or(0, ChunkCount::get);
    if u64::try_from(list.len()) != Ok(total) {
        return Err(MergeError::ListLength);
    }
    let pairs = record.chunks().iter().zip(list);
    let differs = |sealed: Option<Sha256Digest>, given: &Sha256Digest| sealed != Some(*given);
    Ok(pairs
        .filter(|((_, sealed), given)| differs(sealed.digest, given))
        .map(|((chunk, _), _)| chunk)
        .collect())
}

/// Checks, absorbs what is left, and makes the file visible. The order is the promise: bytes
/// durable → intent durable → rename → folder durable → fact durable → answer → leftovers removed.
pub(super) fn publish(
    held: &mut Held,
    demand: &MergeDemand,
    options: &MergeOptions,
) -> Result<Finished, MergeError> {
    match check_and_publish(held, demand, options) {
        Err(MergeError::Hold(HoldError::Io(error))) => Err(look_again(held, error)),
        published => published,
    }
}

/// Its parts may not be there any more: believed again, the upload would never finish. What is lost
/// is asked for again.
pub(super) fn look_again(held: &mut Held, error: io::Error) -> MergeError {
    held.doubt();
    let kinds = [ErrorKind::NotFound, ErrorKind::UnexpectedEof, ErrorKind::InvalidInput];
    let lost = kinds.contains(&error.kind()) && held.drop_chunks(&[]).is_ok();
    if lost && !held.record().is_complete() {
        return MergeError::Missing { missing: missing(held.record()) };
    }
    HoldError::Io(error).into()
}

fn check_and_publish(
    held: &mut Held,
    demand: &MergeDemand,
    options: &MergeOptions,
) -> Result<Finished, MergeError> {
    let form = check(held.record(), demand)?;
    let joined = held.record().manifest().parts().is_some();
    if options.verify == Verify::Everything && !joined {
        verify(held)?;
    }
    while let Step::Absorbed(_) = absorb_next(held)? {}
    let whole = trim(held)?;
    let Whole { part, length, .. } = whole;
    let flush = held.durability().of_finish();
    if flush == Flush::Durable {
        sync_or_drop(held, part)?;
    }
    let composite = held.record().composite().map(|composite| composite.raw);
    let name = first_name(held, composite, options);
    held.all_or_doubt(|held| {
        appear(held, whole, (name, form), flush)?;
        Ok::<_, MergeError>(held.commit_finished(length, composite)?)
    })?;
    let finished = held.record().finished().cloned().ok_or(HoldError::Unknown)?;
    // The folder of joined bytes goes when their digests are taken.
    if !joined && let Err(error) = held.remove_parts(part) {
        tracing::warn!(id = %held.id(), %error, "could not remove the folder of a finished upload");
    }
    let id = held.id();
    tracing::info!(%id, name = finished.name.as_str(), length = length.get(), "upload finished");
    Ok(finished)
}

pub(super) fn verify(held: &mut Held) -> Result<(), MergeError> {
    let chunks = held.wrong_chunks()?;
    if chunks.is_empty() {
        return Ok(());
    }
    held.drop_chunks(&chunks)?;
    Err(MergeError::Damaged { chunks })
}

/// The one part that is left, exactly as long as the file.
#[derive(Debug, Clone, Copy)]
struct Whole {
    part: PartId,
    length: Length,
    mark: Option<FileMark>,
}

/// Nothing changes it any more, so that its mark stays what it is.
fn trim(held: &mut Held) -> Result<Whole, MergeError> {
    held.drop_empty_tail();
    let record = held.record();
    let (Some(part), Some(length)) = (base(held), record.layout().length()) else {
        return Err(MergeError::Missing { missing: missing(record) });
    };
    let found = held.storage().part_file(held.id(), part).map_err(HoldError::Io)?;
    // Nothing is reserved behind the end of a chunk that is whole.
    if let Some(StoredFile { size, mark }) = found
        && size == length.get()
    {
        return Ok(Whole { part, length, mark });
    }
    let blob = held.storage().open_part(held.id(), part).map_err(HoldError::Io)?;
    blob.truncate(length.get()).map_err(HoldError::Io)?;
    let mark = mark_of(&*blob).map_err(HoldError::Io)?;
    Ok(Whole { part, length, mark })
}

/// A failed fsync is final: the bytes may be gone although they can still be read. Their chunks are
/// asked for again.
fn sync_or_drop(held: &mut Held, part: PartId) -> Result<(), MergeError> {
    let blob = held.storage().open_part(held.id(), part).map_err(HoldError::Io)?;
    let Err(error) = blob.sync() else { return Ok(()) };
    tracing::error!(id = %held.id(), %error, "could not flush a part, asking for its chunks again");
    let chunks: Vec<ChunkIndex> = held.record().chunks().iter().map(|(chunk, _)| chunk).collect();
    held.drop_chunks(&chunks)?;
    Err(HoldError::Io(error).into())
}

/// Brings the bytes of a complete upload that is not published to the disk, where a finish promises
/// that.
pub(super) fn settle(held: &mut Held) -> Result<(), MergeError> {
    let flush = held.durability().of_finish();
    if flush == Flush::Lazy {
        return Ok(());
    }
    let parts: BTreeSet<PartId> = held.record().chunks().iter().map(|(_, c)| c.part).collect();
    parts.into_iter().try_for_each(|part| sync_or_drop(held, part))?;
    held.storage().sync_parts(held.id(), flush).map_err(HoldError::Io)?;
    Ok(held.commit_found([], flush)?)
}

fn first_name(held: &Held, composite: Option<Sha256Digest>, options: &MergeOptions) -> FinalName {
    let manifest = held.record().manifest();
    let filename = manifest.filename.as_deref();
    options.template.render(&NameParts { id: &manifest.id, filename, at: held.now(), composite })
}

/// Publishes under a name that is free. Each try is written down before it is made, so that a crash
/// can tell whose file it finds.
fn appear(
    held: &mut Held,
    whole: Whole,
    (first, form): (FinalName, Option<DigestForm>),
    flush: Flush,
) -> Result<(), MergeError> {
    let Whole { part, mark, .. } = whole;
    let mut number = Some(held.first_number(&first));
    let mut tries = 0_u32;
    while let Some(n) = number {
        let name = first.numbered(n);
        held.commit([Fact::Merging { name: name.clone(), form, mark }], flush)?;
        let published = held.storage().publish(held.id(), part, &name, flush);
        match published {
            Ok(Published::Done) => return Ok(()),
            Ok(Published::NameTaken) => {
                tries = tries.saturating_add(1);
                number = held.next_number(&first, n, tries);
            }
            Err(error) => {
                give_up(held, &name);
                return Err(HoldError::Io(error).into());
            }
        }
    }
    give_up(held, &first);
    Err(HoldError::Io(io::Error::other("every name for the file is taken")).into())
}

/// Back to the complete set, unless the file did appear: then the next holder finds it and
/// finishes.
fn give_up(held: &mut Held, name: &FinalName) {
    let base_left = base(held).map(|part| held.storage().part_size(held.id(), part));
    if !matches!(base_left, Some(Ok(Some(_)))) {
        return held.doubt();
    }
    if let Err(error) = held.commit([Fact::MergeAbandoned], Flush::Lazy) {
        let name = name.as_str();
        tracing::error!(id = %held.id(), name, %error, "could not take back a merge");
        held.doubt();
    }
}
