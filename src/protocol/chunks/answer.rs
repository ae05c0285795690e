//! The answers of the chunk flow: JSON, never cached.

use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::{IndexFormat, IndexRuns, Named, prefer::APPLIED};
use crate::{
    protocol::{Answer, Links, headers::ascii},
    upload::{
        ChunkCount, ChunkIndex, DigestForm, Finished, Phase, Record, Sha256Digest, Timestamp,
        UploadId,
    },
};

/// Is the chunk there?
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Stored whole, with the digest that was asked for, if one was.
    pub exists: bool,
    /// Which chunk.
    pub index: ChunkIndex,
    /// Its bytes.
    pub size: Option<u64>,
    /// Its SHA-256.
    #[serde(serialize_with = "hex")]
    pub sha256: Option<Sha256Digest>,
    /// Is the file finished?
    pub merged: bool,
}

impl Checked {
    /// Of an upload that nobody knows.
    pub const fn unknown(index: ChunkIndex) -> Self {
        Self { exists: false, index, size: None, sha256: None, merged: false }
    }

    /// Of a chunk that is to have the digest `wanted`. One with another digest does not exist, but
    /// is told.
    pub fn of(record: &Record, index: ChunkIndex, wanted: Option<Sha256Digest>) -> Self {
        let stored = record.chunks().get(index);
        let sha256 = stored.and_then(|chunk| chunk.digest);
        Self {
            exists: stored.is_some() && (wanted.is_none() || wanted == sha256),
            index,
            size: stored.map(|chunk| chunk.length),
            sha256,
            merged: record.phase() == Phase::Finished,
        }
    }

    /// GET: 200.
    pub fn response(&self) -> Answer {
        json(StatusCode::OK, self)
    }

    /// HEAD: 200 if it is there, else 404; no body.
    pub fn probe(&self) -> Answer {
        empty(if self.exists { StatusCode::OK } else { StatusCode::NOT_FOUND })
    }
}

/// What storing a chunk did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Its bytes are new: 201.
    New,
    /// The same bytes were there, or a finished file has them: 200.
    Identical,
}

/// A chunk is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChunkStored {
    /// Which chunk.
    pub index: ChunkIndex,
    /// Its bytes.
    pub size: u64,
    /// Its SHA-256.
    #[serde(serialize_with = "hex")]
    pub sha256: Option<Sha256Digest>,
    /// How many chunks are stored now.
    pub received: u64,
    /// Out of how many.
    pub total: Option<ChunkCount>,
    /// Are all of them there?
    pub mergeable: bool,
    /// What the merge said that this chunk set off (`--auto-merge`), if it was quick.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<Merged>,
}

impl ChunkStored {
    /// Of a chunk that the record has; `None` if it does not.
    pub fn of(record: &Record, index: ChunkIndex) -> Option<Self> {
        let chunk = record.chunks().get(index)?;
        Some(Self {
            index,
            size: chunk.length,
            sha256: chunk.digest,
            received: record.chunks().sealed(),
            total: record.layout().total(),
            mergeable: record.is_complete(),
            result: None,
        })
    }

    /// 201 or 200, with the digest as `ETag`.
    pub fn response(&self, stored: Stored) -> Answer {
        let status = match stored {
            Stored::New => StatusCode::CREATED,
            Stored::Identical => StatusCode::OK,
        };
        let mut answer = json(status, self);
        if let Some(digest) = self.sha256 {
            answer.headers_mut().insert(header::ETAG, ascii(&format!("\"{digest}\"")));
        }
        answer
    }
}

/// Where an upload stands, in the words of this dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusState {
    /// Nobody knows it: never begun, deleted or expired.
    None,
    /// Chunks are missing.
    Receiving,
    /// All chunks are there.
    Mergeable,
    /// The file is being put together.
    Merging,
    /// The file is finished.
    Merged,
    /// The upload cannot be used any more.
    Failed,
}

impl From<Phase> for StatusState {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Receiving => Self::Receiving,
            Phase::Received => Self::Mergeable,
            Phase::Merging => Self::Merging,
            Phase::Finished => Self::Merged,
            Phase::Terminated | Phase::Expired => Self::None,
            Phase::Corrupt => Self::Failed,
        }
    }
}

/// How an upload stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its id.
    pub upload_id: Option<UploadId>,
    /// The client's name for its content.
    pub hash: Option<String>,
    /// The file's name as the client gave it.
    pub filename: Option<String>,
    /// Where it stands.
    pub state: StatusState,
    /// The chunks that are there.
    pub uploaded: Indexes,
    /// The chunks that are not.
    pub missing: Indexes,
    /// How many chunks it has.
    pub total: Option<ChunkCount>,
    /// Bytes of every chunk but the last.
    pub chunk_size: Option<u64>,
    /// Bytes of the file.
    pub size: Option<u64>,
    /// Bytes that are there, with those of a chunk that is not whole yet.
    pub received_bytes: u64,
    /// When bytes last came, RFC 3339.
    pub last_upload_at: Option<String>,
    /// When it expires, RFC 3339; none once it is finished.
    pub expires_at: Option<String>,
    /// Could it be merged now?
    pub mergeable: bool,
    /// What the merge said.
    pub result: Option<Merged>,
    /// How the client can prove that it has the file, where that is held already (`--instant`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instant: Option<InstantOffer>,
}

/// What a status needs beside the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    /// Bytes of the chunk that is not whole yet.
    pub tail: u64,
    /// When the upload expires.
    pub expires_at: Option<Timestamp>,
}

impl Status {
    /// Of an upload that nobody knows. It is no error: clients ask before their first chunk.
    pub fn unknown(name: Option<&Named>, format: IndexFormat) -> Self {
        let none = IndexRuns::default();
        Self {
            upload_id: None,
            hash: name.map(|name| name.hash.as_str().to_owned()),
            filename: name.and_then(|name| name.filename.clone()),
            state: StatusState::None,
            uploaded: Indexes::new(&none, format),
            missing: Indexes::new(&none, format),
            total: None,
            chunk_size: None,
            size: None,
            received_bytes: 0,
            last_upload_at: None,
            expires_at: None,
            mergeable: false,
            result: None,
            instant: None,
        }
    }

    /// Counts only those chunks as there whose digest is the client's, so that the others are sent
    /// anew. Without digests (`--chunk-digest none`) none of them can be told to be.
    #[must_use]
    pub fn compared(mut self, record: &Record, digests: &[Sha256Digest]) -> Self {
        let chunks = record.chunks().iter();
        let same = chunks.filter(|(index, chunk)| {
            let at = usize::try_from(index.get()).unwrap_or(usize::MAX);
            chunk.digest.is_some() && chunk.digest.as_ref() == digests.get(at)
        });
        let uploaded: IndexRuns = same.map(|(index, _)| index).collect();
        let missing = self.total.map(|total| uploaded.complement(total)).unwrap_or_default();
        self.mergeable &= missing.count() == 0;
        self.uploaded = Indexes::new(&uploaded, IndexFormat::List);
        self.missing = Indexes::new(&missing, IndexFormat::List);
        self
    }

    /// Of this upload.
    pub fn of(record: &Record, beside: Beside, links: &Links, format: IndexFormat) -> Self {
        let (manifest, layout, chunks) = (record.manifest(), record.layout(), record.chunks());
        let missing = layout.total().map(|total| IndexRuns::missing(chunks, total));
        Self {
            upload_id: Some(manifest.id.clone()),
            hash: manifest.key.as_ref().map(|key| key.hash.as_str().to_owned()),
            filename: manifest.filename.clone(),
            state: record.phase().into(),
            uploaded: Indexes::new(&IndexRuns::sealed(chunks), format),
            missing: Indexes::new(&missing.unwrap_or_default(), format),
            total: layout.total(),
            chunk_size: Some(layout.chunk_size().get()),
            size: layout.length().map(crate::upload::Length::get),
            received_bytes: chunks.bytes().saturating_add(beside.tail),
            last_upload_at: Some(rfc3339(record.last_activity())),
            expires_at: beside.expires_at.map(rfc3339),
            mergeable: record.phase() == Phase::Received,
            result: record.finished().map(|finished| Merged::of(&manifest.id, finished, links)),
            instant: None,
        }
    }

    /// 200.
    pub fn response(&self) -> Answer {
        json(StatusCode::OK, self)
    }

    /// The answer to an init: 201, with the place to ask at, or 200.
    pub fn begun(&self, begun: Begun, links: &Links) -> Answer {
        match (begun, &self.upload_id) {
            (Begun::New, Some(id)) => {
                let mut answer = json(StatusCode::CREATED, self);
                answer.headers_mut().insert(header::LOCATION, links.status(id).header());
                answer
            }
            _ => self.response(),
        }
    }
}

/// The file is held already: who proves to have this chunk need not send it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstantOffer {
    /// 64 hex digits: what the proof begins with.
    nonce: String,
    /// The chunk whose bytes the proof ends with.
    index: ChunkIndex,
    /// Seconds that it is good for.
    expires_in: u64,
}

impl InstantOffer {
    /// With this nonce, about this chunk, for so long.
    pub fn new(nonce: [u8; 32], index: ChunkIndex, expires_in: Duration) -> Self {
        let nonce = Sha256Digest::new(nonce).to_hex();
        Self { nonce, index, expires_in: expires_in.as_secs() }
    }
}

/// What an init did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// Began the upload: 201.
    New,
    /// Found it: 200.
    There,
}

/// Chunk numbers in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Indexes {
    /// One by one.
    List(Vec<u64>),
    /// As `0-1,3`.
    Ranges(String),
    /// Too many to list, as `null`: ask for ranges. No upload of the chunk flow gets here.
    TooMany,
}

/// Numbers in one list. An offset client may announce 2^63 − 1 bytes, and somebody ask which chunks
/// are missing.
const LISTED_MAX: u64 = 100_000;

impl Indexes {
    fn new(runs: &IndexRuns, format: IndexFormat) -> Self {
        match format {
            IndexFormat::Ranges => Self::Ranges(runs.to_string()),
            IndexFormat::List if runs.count() > LISTED_MAX => Self::TooMany,
            IndexFormat::List => Self::List(runs.indexes().collect()),
        }
    }
}

/// The file is finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Merged {
    state: MergeState,
    /// The finished file's name.
    pub filename: String,
    /// Its bytes.
    pub size: u64,
    /// Its composite digest, in the raw form.
    #[serde(serialize_with = "hex")]
    pub composite_sha256: Option<Sha256Digest>,
    /// In which form the client's digest matched; none where none was given.
    pub digest_format: Option<DigestForm>,
    /// Where it can be fetched.
    pub url: String,
}

/// What a merge did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeOutcome {
    /// Made the file: 201.
    Created,
    /// Found it made: 200.
    Found,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum MergeState {
    Merged,
    Merging,
}

impl Merged {
    /// Of this upload.
    pub fn of(id: &UploadId, finished: &Finished, links: &Links) -> Self {
        Self {
            state: MergeState::Merged,
            filename: finished.name.as_str().to_owned(),
            size: finished.length.get(),
            composite_sha256: finished.composite,
            digest_format: finished.form,
            url: links.upload(id).to_string(),
        }
    }

    /// 201 or 200; the body is the same.
    pub fn response(&self, outcome: MergeOutcome) -> Answer {
        let status = match outcome {
            MergeOutcome::Created => StatusCode::CREATED,
            MergeOutcome::Found => StatusCode::OK,
        };
        json(status, self)
    }
}

/// A merge that goes on behind: 202, with the place to ask at and when.
pub fn merging(id: &UploadId, links: &Links) -> Answer {
    #[derive(Serialize)]
    struct Body {
        state: MergeState,
    }
    let mut answer = json(StatusCode::ACCEPTED, &Body { state: MergeState::Merging });
    let headers = answer.headers_mut();
    headers.insert(header::LOCATION, links.status(id).header());
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}

/// The same for a client that preferred it (RFC 7240 §4.1).
pub fn merging_as_preferred(id: &UploadId, links: &Links) -> Answer {
    let mut answer = merging(id, links);
    let (name, value) = APPLIED;
    answer.headers_mut().insert(name, value);
    answer
}

/// DELETE: 204, whether there was anything or not.
pub fn deleted() -> Answer {
    empty(StatusCode::NO_CONTENT)
}

fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let mut answer = empty(status);
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    *answer.body_mut() = serde_json::to_vec(body).expect("text and numbers always become JSON");
    answer
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Vec::new());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn rfc3339(at: Timestamp) -> String {
    humantime::format_rfc3339_millis(at.to_system_time()).to_string()
}

#[allow(clippy::ref_option, reason = "serde hands fields over so")]
fn hex<S: serde::Serializer>(
    digest: &Option<Sha256Digest>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    digest.map(|digest| digest.to_hex()).serialize(serializer)
}
