//! Everything that is on disk of one upload, for people.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use super::{
    AuditError,
    look::Store,
    verdict::{Verdict, file_name, ledger_name, part_name},
};
use crate::{
    hold::tail_among,
    storage::local::{FoundPart, Place},
    upload::{
        ChunkCount, ChunkIndex, Concatenation, Fact, Length, Offset, PROVEN, PartId, Phase, Record,
        SealedChunk, Stamped, Timestamp, UploadId,
    },
};

/// What there is to know of one upload. Times are RFC 3339, sizes and positions are bytes, digests
/// are SHA-256 in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// What is wrong, as far as sizes and the ledger tell.
    pub verdict: Verdict,
    /// The file of facts.
    pub ledger: Ledger,
    /// What the facts make; absent where the ledger's beginning cannot be read.
    pub upload: Option<Upload>,
    /// Files below `uploads/`.
    pub parts: Vec<Part>,
    /// The chunks that are whole.
    pub chunks: Vec<Chunk>,
    /// The facts in order.
    pub facts: Vec<FactLine>,
}

/// The file of facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Its name below the data folder.
    pub file: String,
    /// Its bytes.
    pub size: u64,
    /// The end of the last whole record.
    pub end: u64,
    /// When a fact was last added.
    pub changed: String,
}

/// What the facts make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Upload {
    /// Where it stands.
    pub phase: String,
    /// Who began it: `tus` or `chunks`.
    pub dialect: String,
    /// Bytes of the file; absent while that is not known.
    pub length: Option<u64>,
    /// Bytes without a gap from the beginning, as clients are told.
    pub offset: u64,
    /// Bytes of a chunk.
    pub chunk_size: u64,
    /// Chunks of the file; absent while the length is not known.
    pub total: Option<u64>,
    /// Chunks that are whole.
    pub sealed: u64,
    /// Chunks of them that have a digest.
    pub digests: u64,
    /// Bytes behind the last chunk of the prefix.
    pub tail: u64,
    /// When it was begun.
    pub created: String,
    /// When bytes last arrived.
    pub active: String,
    /// When it ends by itself; absent where it does not.
    pub expires: Option<String>,
    /// Has that passed?
    pub expired: bool,
    /// How often the page cache had been lost when its bytes were last known to be right, or
    /// `proven`, where no power loss can take them.
    pub verified: String,
    /// The same count now.
    pub epoch: u64,
    /// Whose it is, where somebody is told apart.
    pub owner: Option<String>,
    /// The name that a client of the chunk flow gave the content.
    pub hash: Option<String>,
    /// The name that the client gave the file.
    pub filename: Option<String>,
    /// The media type that the client gave.
    pub media_type: Option<String>,
    /// `Upload-Metadata`, decoded; what is no UTF-8 stays in base64, with that in front.
    pub metadata: Vec<(String, String)>,
    /// `partial`, or `final` and of what.
    pub concatenation: Option<String>,
    /// The finished file, below the data folder.
    pub file: Option<String>,
    /// When it appeared.
    pub finished: Option<String>,
    /// The digest over the digests of all chunks.
    pub composite: Option<String>,
}

/// A file of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Its name below the data folder.
    pub file: String,
    /// Its bytes; absent where it is not there.
    pub size: Option<u64>,
    /// Where its first byte lies in the upload.
    pub from: Option<u64>,
    /// Where the last chunk in it ends; absent where no fact names it.
    pub to: Option<u64>,
    /// How it differs from what the ledger tells.
    pub state: String,
}

/// A whole chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chunk {
    /// Its number.
    pub chunk: u64,
    /// Where it begins in the upload.
    pub from: u64,
    /// Where it ends.
    pub to: u64,
    /// Its digest.
    pub sha256: Option<String>,
    /// The file that holds it.
    pub file: String,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FactLine {
    /// Where its record begins in the ledger.
    pub at: u64,
    /// When it became one.
    pub time: String,
    /// Which one.
    pub fact: &'static str,
    /// Of what.
    pub about: String,
}

/// When uploads end, as the server was told.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// How long an unfinished upload lives without new bytes.
    pub expire_after: Duration,
    /// How long a finished file is kept; `None` for ever.
    pub keep_finished: Option<Duration>,
}

/// Reads all that is known of one upload. `look` has settled what is wrong with it.
pub(super) fn inspect(
    store: &Store,
    id: &UploadId,
    verdict: Verdict,
    (lifetimes, now): (Lifetimes, Timestamp),
) -> Result<Option<Inspection>, AuditError> {
    let mut facts = Vec::new();
    let Some(seen) = store.ledgers.read(id, &mut |at, stamped| facts.push(line(at, stamped)))?
    else {
        return Ok(None);
    };
    let ledger = Ledger {
        file: ledger_name(id),
        size: seen.size,
        end: seen.end,
        changed: time(seen.changed),
    };
    let found = store.bytes.parts(id)?;
    let record = seen.record.as_ref();
    Ok(Some(Inspection {
        verdict,
        ledger,
        upload: record.map(|record| upload(record, store.epoch, &found, (lifetimes, now))),
        parts: parts(id, record, &found),
        chunks: record.map(|record| chunks(id, record)).unwrap_or_default(),
        facts,
    }))
}

/// RFC 3339 with milliseconds.
pub(super) fn time(at: Timestamp) -> String {
    humantime::format_rfc3339_millis(at.to_system_time()).to_string()
}

fn upload(
    record: &Record,
    epoch: u64,
    found: &[FoundPart],
    (lifetimes, now): (Lifetimes, Timestamp),
) -> Upload {
    let manifest = record.manifest();
    let shown = record.pending().map_or(record, |pending| &pending.before);
    let open = shown.phase() == Phase::Receiving && manifest.parts().is_none();
    let tail = tail_among(shown, &sizes(found)).filter(|_| open).map_or(0, |tail| tail.length);
    let prefix = shown.prefix_end();
    let offset = match record.pending() {
        Some(pending) => pending.offset,
        None => prefix.advance(tail).unwrap_or(prefix),
    };
    let end = if let Some(finished) = record.finished() {
        lifetimes.keep_finished.map(|keep| finished.at.plus(keep))
    } else {
        let end = record.last_activity().plus(lifetimes.expire_after);
        record.phase().takes_bytes().then_some(end)
    };
    let name = record.finished().map(|finished| &finished.name).or(record.merging());
    let composite = record.finished().and_then(|finished| finished.composite);
    let composite = composite.or_else(|| record.composite().map(|composite| composite.raw));
    let digests = record.chunks().iter().filter(|(_, chunk)| chunk.digest.is_some()).count();
    Upload {
        phase: record.phase().to_string().to_lowercase(),
        dialect: format!("{:?}", manifest.dialect).to_lowercase(),
        length: record.layout().length().map(Length::get),
        offset: offset.get(),
        chunk_size: record.layout().chunk_size().get(),
        total: record.layout().total().map(ChunkCount::get),
        sealed: record.chunks().sealed(),
        digests: u64::try_from(digests).unwrap_or(u64::MAX),
        tail: offset.since(prefix).unwrap_or(0),
        created: time(manifest.created_at),
        active: time(record.last_activity()),
        expires: end.map(time),
        expired: record.phase() == Phase::Expired || end.is_some_and(|end| end <= now),
        verified: match record.epoch() {
            PROVEN => "proven".to_owned(),
            epoch => epoch.to_string(),
        },
        epoch,
        owner: Some(manifest.owner().to_owned()).filter(|owner| !owner.is_empty()),
        hash: manifest.key.as_ref().map(|key| key.hash.as_str().to_owned()),
        filename: manifest.filename.clone(),
        media_type: manifest.media_type.clone(),
        metadata: metadata(&manifest.metadata),
        concatenation: manifest.concatenation.as_ref().map(|concatenation| match concatenation {
            Concatenation::Partial => "partial".to_owned(),
            Concatenation::Final(parts) => {
                let ids: Vec<&str> = parts.ids.iter().map(UploadId::as_str).collect();
                format!("final of {}", ids.join(" "))
            }
        }),
        file: name.map(|name| file_name(name.as_str())),
        finished: record.finished().map(|finished| time(finished.at)),
        composite: composite.map(|composite| composite.to_hex()),
    }
}

/// The pairs of `Upload-Metadata`. Values that are no text are left as they are.
fn metadata(verbatim: &str) -> Vec<(String, String)> {
    let pairs = verbatim.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let decode = |value: &str| {
        let bytes = STANDARD.decode(value).ok();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        text.unwrap_or_else(|| format!("base64:{value}"))
    };
    let pair = |pair: &str| {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        (key.to_owned(), decode(value.trim()))
    };
    pairs.map(pair).collect()
}

fn sizes(found: &[FoundPart]) -> BTreeMap<PartId, u64> {
    let size = |found: &FoundPart| match found.place {
        Place::File(size) => Some((found.part, size)),
        Place::Empty | Place::Strange => None,
    };
    found.iter().filter_map(size).collect()
}

/// The parts that are there, and those that should be.
fn parts(id: &UploadId, record: Option<&Record>, found: &[FoundPart]) -> Vec<Part> {
    let mut all: BTreeMap<PartId, Option<Place>> = BTreeMap::new();
    let in_parts = |record: &&Record| record.phase().takes_bytes();
    let record = record.map(|record| record.pending().map_or(record, |pending| &pending.before));
    for (_, chunk) in record.filter(in_parts).into_iter().flat_map(|r| r.chunks().iter()) {
        all.insert(chunk.part, None);
    }
    all.extend(found.iter().map(|found| (found.part, Some(found.place))));
    let tail = record.filter(in_parts).and_then(|record| tail_among(record, &sizes(found)));
    let part = |(part, place): (PartId, Option<Place>)| {
        let live = record.and_then(|record| record.live_end(part));
        let start = record.and_then(|record| record.layout().start(part.first).ok());
        let from = start.map(Offset::get);
        let is_tail = tail.as_ref().is_some_and(|tail| tail.part == part);
        Part {
            file: part_name(id, part),
            size: match place {
                Some(Place::File(size)) => Some(size),
                _ => None,
            },
            from,
            to: live.and_then(|live| from?.checked_add(live)),
            state: state(place, live, is_tail),
        }
    };
    all.into_iter().map(part).collect()
}

fn state(place: Option<Place>, live: Option<u64>, is_tail: bool) -> String {
    match (place, live) {
        (None | Some(Place::Empty), _) => "missing".to_owned(),
        (Some(Place::Strange), _) => "not a plain file".to_owned(),
        (Some(Place::File(size)), Some(live)) if size < live => {
            format!("short by {}", live.saturating_sub(size))
        }
        (Some(Place::File(size)), live) if size > live.unwrap_or(0) => {
            let more = size.saturating_sub(live.unwrap_or(0));
            let of = if is_tail { "of the tail" } else { "of nobody" };
            format!("{more} more bytes, {of}")
        }
        (Some(Place::File(_)), Some(_)) => "as told".to_owned(),
        (Some(Place::File(_)), None) => "empty, named by no fact".to_owned(),
    }
}

fn chunks(id: &UploadId, record: &Record) -> Vec<Chunk> {
    let finished = record.finished().map(|finished| file_name(finished.name.as_str()));
    let chunk = |(chunk, sealed): (ChunkIndex, &SealedChunk)| {
        let from = record.layout().start(chunk).map_or(0, Offset::get);
        Chunk {
            chunk: chunk.get(),
            from,
            to: from.saturating_add(sealed.length),
            sha256: sealed.digest.map(|digest| digest.to_hex()),
            file: finished.clone().unwrap_or_else(|| part_name(id, sealed.part)),
        }
    };
    record.chunks().iter().map(chunk).collect()
}

fn line(at: u64, stamped: &Stamped) -> FactLine {
    let (fact, about) = told(&stamped.fact);
    FactLine { at, time: time(stamped.at), fact, about }
}

fn told(fact: &Fact) -> (&'static str, String) {
    match fact {
        Fact::Sealed { chunk, length, digest, part, .. } => {
            let digest = digest.map_or_else(|| "no digest".to_owned(), |d| d.to_hex());
            ("sealed", format!("chunk {chunk}, {length} bytes in {part}, {digest}"))
        }
        Fact::Tail { chunk, length, digest } => {
            ("tail", format!("{length} bytes of chunk {chunk} promised, {digest}"))
        }
        Fact::Pending { offset } => ("pending", format!("a checked request at {offset}")),
        Fact::Accepted => ("accepted", String::new()),
        Fact::Rejected => ("rejected", String::new()),
        Fact::Dropped { chunk } => ("dropped", format!("chunk {chunk}")),
        Fact::Absorbed { chunk, into, .. } => ("absorbed", format!("chunk {chunk} into {into}")),
        Fact::Length(length) => ("length", format!("{length} bytes")),
        Fact::Lent { part, to } => ("lent", format!("{part} to {to}")),
        Fact::Promised => ("promised", String::new()),
        Fact::Joined => ("joined", String::new()),
        Fact::Digested { chunk, digest } => ("digested", format!("chunk {chunk}, {digest}")),
        Fact::Cleared => ("cleared", "no byte from before counts".to_owned()),
        Fact::Touched => ("touched", String::new()),
        Fact::Verified { epoch: PROVEN } => ("verified", "for good".to_owned()),
        Fact::Verified { epoch } => ("verified", format!("for epoch {epoch}")),
        Fact::Merging { name, .. } => ("merging", format!("to be {name}")),
        Fact::MergeAbandoned => ("merge-abandoned", String::new()),
        Fact::Finished { length, composite } => {
            let digest = composite.map_or_else(|| "no digest".to_owned(), |d| d.to_hex());
            ("finished", format!("{length} bytes, {digest}"))
        }
        Fact::Expired => ("expired", String::new()),
        Fact::Corrupt => ("corrupt", String::new()),
    }
}
