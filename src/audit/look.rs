//! One look at one upload: its ledger first, then the bytes that the ledger tells of.
//!
//! Nobody is asked to wait, so a server may be in the middle of something: what a look finds is
//! true of a moment that may not have been one. [`super::verify`] looks again.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
};

use sha2::{Digest, Sha256};

use super::{
    finding::{Note, Problem, Runs, Stage},
    verdict::{Status, Verdict, file_name, ledger_name, part_name},
};
use crate::{
    hold::{copy_range, tail_among},
    state::local::{LedgerReader, LedgerSeen},
    storage::{
        Blob,
        local::{LocalReader, Place},
    },
    upload::{
        ChunkIndex, Fact, FinalName, Finished, Length, OutOfRange, PartId, Phase, Record,
        SealedChunk, Sha256Digest, UploadId,
    },
};

/// A data folder, to read.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) ledgers: LedgerReader,
    pub(super) bytes: LocalReader,
    /// The trust epoch that was written down last.
    pub(super) epoch: u64,
}

/// Which bytes are read, and not only counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Depth<'a> {
    /// None.
    Sizes,
    /// All that have a digest.
    Bytes,
    /// Those of these chunks.
    Only(&'a BTreeSet<ChunkIndex>),
}

impl Depth<'_> {
    fn reads(self, chunk: ChunkIndex) -> bool {
        match self {
            Self::Sizes => false,
            Self::Bytes => true,
            Self::Only(chunks) => chunks.contains(&chunk),
        }
    }
}

/// What one look saw.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) id: UploadId,
    /// The ledger; absent where there is none.
    pub(super) ledger: Option<LedgerSeen>,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<Note>,
    /// Bytes that are there.
    pub(super) stored: u64,
    /// Bytes of chunks that were found right, in earlier looks too.
    pub(super) right: u64,
    /// Bytes that were compared in this look and are not counted there.
    others: u64,
    /// Chunks whose bytes were not there, or not right.
    pub(super) affected: BTreeSet<ChunkIndex>,
    unproven: u64,
    stage: Stage,
}

impl Look {
    /// Looks at an upload. `read` is told of bytes as they are read.
    pub(super) fn at(
        store: &Store,
        id: &UploadId,
        depth: Depth<'_>,
        read: &mut dyn FnMut(u64),
    ) -> Self {
        let mut look = Self {
            id: id.clone(),
            ledger: None,
            problems: Vec::new(),
            notes: Vec::new(),
            stored: 0,
            right: 0,
            others: 0,
            affected: BTreeSet::new(),
            unproven: 0,
            stage: Stage::Unfinished,
        };
        let mut promise = Promise::default();
        match store.ledgers.read(id, &mut |_, stamped| promise.hear(&stamped.fact)) {
            Ok(ledger) => look.ledger = ledger,
            Err(error) => look.unreadable(ledger_name(id), None, &error),
        }
        if let Some(ledger) = look.ledger.take() {
            Looking { look: &mut look, store, depth, read, promise }.at_ledger(&ledger);
            look.ledger = Some(ledger);
        }
        if look.unproven > 0 {
            look.notes.push(Note::Unproven { bytes: look.unproven });
        }
        look
    }

    /// Is there anything that looking again may make go away?
    pub(super) fn is_doubtful(&self) -> bool {
        !self.problems.is_empty() || self.notes.iter().any(Note::may_pass)
    }

    /// The same doubts?
    pub(super) fn agrees_with(&self, other: &Self) -> bool {
        let passing = |look: &Self| -> Vec<Note> {
            look.notes.iter().filter(|note| note.may_pass()).cloned().collect()
        };
        self.problems == other.problems && passing(self) == passing(other)
    }

    pub(super) fn record(&self) -> Option<&Record> {
        self.ledger.as_ref()?.record.as_ref()
    }

    /// The name of the file that is this upload's, below `files/`.
    pub(super) fn file(&self) -> Option<&str> {
        let record = self.record()?;
        let name = record.finished().map(|finished| &finished.name).or(record.merging())?;
        Some(name.as_str())
    }

    /// What is told of it.
    pub(super) fn verdict(self, busy: bool) -> Verdict {
        let ours = self.problems.iter().any(Problem::is_ours);
        let status = match self.problems.iter().any(|problem| !problem.is_ours()) {
            _ if busy && !self.problems.is_empty() => Status::Busy,
            true => Status::Damaged,
            false if ours => Status::Unreadable,
            false => Status::Ok,
        };
        let finished = self.record().is_some_and(|record| record.finished().is_some());
        Verdict {
            id: self.id.to_string(),
            status,
            phase: self.record().map(|record| record.phase().to_string().to_lowercase()),
            length: self.record().and_then(|r| r.layout().length()).map(Length::get),
            stored: self.stored,
            checked: self.right.saturating_add(self.others),
            unproven: self.unproven,
            file: self.file().filter(|_| finished).map(file_name),
            problems: self.problems.into_iter().map(|p| p.told(self.stage)).collect(),
            // What a server in the middle of something leaves is no news.
            notes: (self.notes.into_iter())
                .filter(|note| !(busy && note.may_pass()))
                .map(Note::told)
                .collect(),
        }
    }

    fn unreadable(&mut self, file: String, chunk: Option<u64>, error: &io::Error) {
        let forbidden = error.kind() == ErrorKind::PermissionDenied;
        let error = error.to_string();
        self.problems.push(Problem::Unreadable { file, chunk, forbidden, error });
    }
}

/// Was the promise of a tail given up since? A chunk that was dropped takes it along, and so does a
/// comparison after a power loss, which cuts what does not match.
#[derive(Debug, Clone, Copy, Default)]
struct Promise {
    void: bool,
}

impl Promise {
    fn hear(&mut self, fact: &Fact) {
        match fact {
            Fact::Tail { .. } => self.void = false,
            Fact::Dropped { .. } | Fact::Verified { .. } | Fact::Rejected => self.void = true,
            _ => {}
        }
    }
}

/// A look under way.
struct Looking<'a, 'b> {
    look: &'a mut Look,
    store: &'a Store,
    depth: Depth<'a>,
    read: &'a mut (dyn FnMut(u64) + 'b),
    promise: Promise,
}

/// The parts of an upload, and what is wrong with them.
#[derive(Debug, Default)]
struct Parts {
    there: BTreeMap<PartId, Place>,
    missing: BTreeMap<PartId, Runs>,
    /// With the end that the ledger tells.
    short: BTreeMap<PartId, (u64, Runs)>,
}

impl Parts {
    fn sizes(&self) -> BTreeMap<PartId, u64> {
        let size = |(part, place): (&PartId, &Place)| match place {
            Place::File(size) => Some((*part, *size)),
            Place::Empty | Place::Strange => None,
        };
        self.there.iter().filter_map(size).collect()
    }
}

impl Looking<'_, '_> {
    fn at_ledger(&mut self, ledger: &LedgerSeen) {
        let parts = match self.store.bytes.parts(&self.look.id) {
            Ok(found) => found.into_iter().map(|found| (found.part, found.place)).collect(),
            Err(error) => {
                let folder = format!("uploads/{}", self.look.id);
                return self.look.unreadable(folder, None, &error);
            }
        };
        let parts = Parts { there: parts, ..Parts::default() };
        let stored = parts.sizes().values().fold(0_u64, |sum, size| sum.saturating_add(*size));
        if let Some(damage) = &ledger.damage {
            let (at, what) = (damage.at, damage.what.clone());
            self.look.stored = stored;
            return self.look.problems.push(if damage.newer {
                Problem::LedgerNewer { at, what }
            } else {
                Problem::LedgerDamaged { at, what }
            });
        }
        let Some(record) = &ledger.record else {
            self.look.stored = stored;
            if ledger.is_voided() {
                self.look.notes.push(Note::Ending);
            } else if parts.there.is_empty() {
                self.look.notes.push(Note::Unbegun);
            } else {
                self.look.problems.push(Problem::LedgerEmpty { size: ledger.size, stored });
            }
            return;
        };
        let torn = ledger.size.saturating_sub(ledger.end);
        if torn > 0 {
            self.look.notes.push(Note::Torn { at: ledger.end, bytes: torn });
        }
        if self.at_record(record, parts).is_err() {
            let what = "a number out of range".to_owned();
            self.look.problems.push(Problem::LedgerDamaged { at: 0, what });
        }
    }

    fn at_record(&mut self, record: &Record, parts: Parts) -> Result<(), OutOfRange> {
        match (record.phase(), record.finished()) {
            (Phase::Receiving | Phase::Received, _) => {
                if record.epoch() < self.store.epoch {
                    self.look.notes.push(Note::Untrusted);
                }
                match record.pending() {
                    Some(pending) => {
                        let offset = pending.offset;
                        self.look.notes.push(Note::Pending { offset: offset.get() });
                        let told = offset.since(pending.before.prefix_end()).unwrap_or(0);
                        self.at_bytes(&pending.before, parts, Some(told))
                    }
                    None => self.at_bytes(record, parts, None),
                }
            }
            (Phase::Merging, _) => self.at_merge(record, parts),
            (Phase::Finished, Some(finished)) => self.at_finished(record, finished, &parts),
            (Phase::Corrupt, _) => {
                self.look.problems.push(Problem::MarkedDamaged);
                Ok(())
            }
            (Phase::Expired | Phase::Terminated | Phase::Finished, _) => {
                if !parts.there.is_empty() {
                    self.look.notes.push(Note::Ending);
                }
                Ok(())
            }
        }
    }

    /// An upload whose bytes lie in parts. `told`: how far behind the prefix a client was told,
    /// where that is known, and that what lies behind does not count.
    fn at_bytes(
        &mut self,
        record: &Record,
        mut parts: Parts,
        told: Option<u64>,
    ) -> Result<(), OutOfRange> {
        if let Some((_, to)) = record.lent() {
            self.look.notes.push(Note::Lent { to: to.to_string() });
        }
        self.sealed(record, &mut parts)?;
        let sizes = parts.sizes();
        let joining = record.manifest().parts().is_some() && record.phase() == Phase::Receiving;
        let tail = tail_among(record, &sizes).filter(|_| !record.is_complete() && !joining);
        let length = tail.as_ref().map_or(0, |tail| tail.length);
        let (prefix, length) = (record.prefix_end(), told.map_or(length, |told| told.min(length)));
        self.look.stored = record.chunks().bytes().saturating_add(length);
        self.look.unproven = self.look.unproven.saturating_add(length);
        if let Some(told) = told.filter(|told| *told > length) {
            let (told, there) = (prefix.advance(told)?.get(), prefix.advance(length)?.get());
            self.look.problems.push(Problem::TailShort { told, there });
        }
        let kept = tail.as_ref().map(|tail| (tail.part, tail.base));
        self.promised(record, kept, length)?;
        if told.is_none() && !joining {
            self.left_over(record, &sizes, kept.map(|(part, _)| part));
        }
        self.in_parts(parts);
        Ok(())
    }

    /// Chunks that the ledger names: are they there, and are they right?
    fn sealed(&mut self, record: &Record, parts: &mut Parts) -> Result<(), OutOfRange> {
        let mut open: Option<(PartId, Box<dyn Blob>)> = None;
        for (chunk, sealed) in record.chunks().iter() {
            let (part, at) = (sealed.part, record.place(chunk, sealed.part)?);
            let end = at.checked_add(sealed.length).ok_or(OutOfRange)?;
            match parts.there.get(&part) {
                Some(Place::File(size)) if *size >= end => {}
                Some(Place::File(_)) => {
                    let short = parts.short.entry(part).or_default();
                    short.0 = short.0.max(end);
                    short.1.push(chunk.get());
                    self.look.affected.insert(chunk);
                    continue;
                }
                Some(Place::Strange) => {
                    self.look.affected.insert(chunk);
                    continue;
                }
                Some(Place::Empty) | None => {
                    parts.missing.entry(part).or_default().push(chunk.get());
                    self.look.affected.insert(chunk);
                    continue;
                }
            }
            if sealed.digest.is_none() || !self.depth.reads(chunk) {
                self.count_unproven(sealed);
                continue;
            }
            if open.as_ref().is_none_or(|(is, _)| *is != part) {
                match self.store.bytes.open_part(&self.look.id, part) {
                    Ok(blob) => open = Some((part, blob)),
                    Err(error) => {
                        self.failed(part_name(&self.look.id, part), chunk, &error);
                        continue;
                    }
                }
            }
            let Some((_, blob)) = &open else { continue };
            let from = record.layout().start(chunk)?.get();
            self.compare(&**blob, (chunk, sealed), (from, at), &part_name(&self.look.id, part));
        }
        Ok(())
    }

    const fn count_unproven(&mut self, sealed: &SealedChunk) {
        if sealed.digest.is_none() {
            self.look.unproven = self.look.unproven.saturating_add(sealed.length);
        }
    }

    /// Reads a chunk at `at` of a blob, which is `from` of the upload.
    fn compare(
        &mut self,
        blob: &dyn Blob,
        (chunk, sealed): (ChunkIndex, &SealedChunk),
        (from, at): (u64, u64),
        file: &str,
    ) {
        let digest = match self.hash(blob, at, sealed.length) {
            Ok(digest) => digest,
            Err(error) => return self.failed(file.to_owned(), chunk, &error),
        };
        if Some(digest) == sealed.digest {
            self.look.right = self.look.right.saturating_add(sealed.length);
            return;
        }
        self.look.others = self.look.others.saturating_add(sealed.length);
        self.look.affected.insert(chunk);
        let end = from.saturating_add(sealed.length);
        if let Some(Problem::BytesDiffer { file: last, chunks, to, .. }) =
            self.look.problems.last_mut()
            && last == file
            && *to == from
            && chunks.last().and_then(|last| last.checked_add(1)) == Some(chunk.get())
        {
            chunks.push(chunk.get());
            *to = end;
            return;
        }
        let (file, chunks) = (file.to_owned(), Runs::one(chunk.get()));
        self.look.problems.push(Problem::BytesDiffer { file, chunks, from, to: end, at });
    }

    fn hash(&mut self, blob: &dyn Blob, at: u64, length: u64) -> io::Result<Sha256Digest> {
        let mut hasher = Sha256::new();
        copy_range(blob, at, length, |bytes, _| {
            hasher.update(bytes);
            (self.read)(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            Ok(())
        })?;
        Ok(hasher.into())
    }

    fn failed(&mut self, file: String, chunk: ChunkIndex, error: &io::Error) {
        self.look.affected.insert(chunk);
        self.look.unreadable(file, Some(chunk.get()), error);
    }

    /// Bytes of the tail that were promised to be durable.
    fn promised(
        &mut self,
        record: &Record,
        tail: Option<(PartId, u64)>,
        length: u64,
    ) -> Result<(), OutOfRange> {
        let next = record.chunks().first_missing();
        let promised = record.promised_tail().filter(|(chunk, ..)| *chunk == next);
        let Some((_, promised, digest)) = promised.filter(|_| !self.promise.void) else {
            return Ok(());
        };
        let prefix = record.prefix_end();
        if promised > length {
            let (told, there) = (prefix.advance(promised)?.get(), prefix.advance(length)?.get());
            self.look.problems.push(Problem::TailShort { told, there });
            return Ok(());
        }
        let (Some((part, base)), false) = (tail, matches!(self.depth, Depth::Sizes)) else {
            return Ok(());
        };
        let blob = self.store.bytes.open_part(&self.look.id, part);
        self.look.others = self.look.others.saturating_add(promised);
        match blob.and_then(|blob| self.hash(&*blob, base, promised)) {
            Ok(actual) if actual == digest => {
                self.look.unproven = self.look.unproven.saturating_sub(promised);
            }
            Ok(_) => {
                let (from, to) = (prefix.get(), prefix.advance(promised)?.get());
                self.look.problems.push(Problem::TailDiffers { from, to });
            }
            Err(error) => self.failed(part_name(&self.look.id, part), next, &error),
        }
        Ok(())
    }

    /// Bytes in parts that no fact and no tail accounts for.
    fn left_over(&mut self, record: &Record, sizes: &BTreeMap<PartId, u64>, tail: Option<PartId>) {
        for (part, size) in sizes.iter().filter(|(part, _)| Some(**part) != tail) {
            let end = record.live_end(*part);
            let bytes = size.saturating_sub(end.unwrap_or(0));
            if bytes > 0 && !record.is_shared(*part) {
                let file = part_name(&self.look.id, *part);
                self.look.notes.push(Note::LeftOver { file, bytes });
            }
        }
    }

    fn in_parts(&mut self, parts: Parts) {
        let id = self.look.id.clone();
        let strange = parts.there.iter().filter(|(_, place)| **place == Place::Strange);
        for (part, _) in strange {
            self.look.problems.push(Problem::NotAFile { file: part_name(&id, *part) });
        }
        for (part, chunks) in parts.missing {
            self.look.problems.push(Problem::PartMissing { file: part_name(&id, part), chunks });
        }
        for (part, (expected, chunks)) in parts.short {
            let Some(Place::File(size)) = parts.there.get(&part) else { continue };
            let (file, size) = (part_name(&id, part), *size);
            self.look.problems.push(Problem::PartShort { file, size, expected, chunks });
        }
    }

    /// Between the word that a file is to appear and the word that it has: its one part is there,
    /// or else the file is.
    fn at_merge(&mut self, record: &Record, parts: Parts) -> Result<(), OutOfRange> {
        let first = record.chunks().get(ChunkIndex::ZERO).map(|sealed| sealed.part);
        let there = first.is_some_and(|part| parts.there.contains_key(&part));
        let (Some(name), Some(length), false) = (record.merging(), record.layout().length(), there)
        else {
            return self.at_bytes(record, parts, None);
        };
        match self.store.bytes.finished(name) {
            Ok(Place::File(size)) if size == length.get() => {
                self.look.notes.push(Note::Unrecorded { file: file_name(name.as_str()) });
                self.in_file(record, name)
            }
            Ok(_) => self.at_bytes(record, parts, None),
            Err(error) => {
                self.look.unreadable(file_name(name.as_str()), None, &error);
                Ok(())
            }
        }
    }

    fn at_finished(
        &mut self,
        record: &Record,
        finished: &Finished,
        parts: &Parts,
    ) -> Result<(), OutOfRange> {
        self.look.stage = Stage::Finished;
        let (file, expected) = (file_name(finished.name.as_str()), finished.length.get());
        if parts.there.contains_key(&PartId::WITHDRAWN) {
            self.look.notes.push(Note::Ending);
            return Ok(());
        }
        if record.epoch() < self.store.epoch {
            self.look.notes.push(Note::Untrusted);
        }
        if let (Some(expected), Some(actual)) = (finished.composite, record.composite())
            && expected != actual.raw
        {
            let (expected, actual) = (expected.to_hex(), actual.raw.to_hex());
            self.look.problems.push(Problem::CompositeDiffers { expected, actual });
        }
        match self.store.bytes.finished(&finished.name) {
            Ok(Place::Empty) => self.look.problems.push(Problem::FileMissing { file }),
            Ok(Place::Strange) => self.look.problems.push(Problem::NotAFile { file }),
            Ok(Place::File(size)) => {
                self.look.stored = size;
                if size != expected {
                    self.look.problems.push(Problem::FileSize { file, size, expected });
                }
                if size >= expected {
                    return self.in_file(record, &finished.name);
                }
            }
            Err(error) => self.look.unreadable(file, None, &error),
        }
        Ok(())
    }

    /// All chunks lie in a file in order.
    fn in_file(&mut self, record: &Record, name: &FinalName) -> Result<(), OutOfRange> {
        let file = file_name(name.as_str());
        let blob = match self.store.bytes.open_finished(name) {
            Ok(blob) => blob,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.look.problems.push(Problem::FileMissing { file });
                return Ok(());
            }
            Err(error) => {
                self.look.unreadable(file, None, &error);
                return Ok(());
            }
        };
        self.look.stored = record.chunks().bytes();
        for (chunk, sealed) in record.chunks().iter() {
            if sealed.digest.is_none() || !self.depth.reads(chunk) {
                self.count_unproven(sealed);
                continue;
            }
            let at = record.layout().start(chunk)?.get();
            self.compare(&*blob, (chunk, sealed), (at, at), &file);
        }
        Ok(())
    }
}
