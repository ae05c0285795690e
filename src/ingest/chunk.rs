//! Chunks by number: the road of index clients. A body is received and hashed into staging without
//! the lock, which is taken only to commit.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use md5::{Digest, Md5};

use super::{
    End, Ingest, IngestError, LayoutMismatch, RESERVE_FROM, Source,
    find::Found,
    pairs::Pairs,
    pump::{self, Sink},
};
use crate::{
    blocking,
    durable::Flush,
    hold::{Attendance, Hashing, Held, HoldError},
    lock::Manner,
    storage::{Staged, Storage},
    upload::{
        ChunkCount, ChunkIndex, ChunkKey, ChunkSize, Dialect, Layout, Length, Manifest, Phase,
        Record, RunningSha256, SealedChunk, Sha256Digest, UploadId,
    },
};

/// What a chunk's bytes must hash to.
#[derive(Debug, Clone, Copy, Default)]
pub struct ExpectedDigests {
    /// SHA-256.
    pub sha256: Option<Sha256Digest>,
    /// MD5.
    pub md5: Option<[u8; 16]>,
}

/// What must be true of the chunk that is stored in a new one's place, judged while nobody else can
/// change it.
#[derive(Clone, Default)]
pub struct Condition(Option<Arc<Judge>>);

type Judge = dyn Fn(Option<&SealedChunk>) -> bool + Send + Sync;

impl Condition {
    /// `judge` is shown what is stored.
    pub fn new(judge: impl Fn(Option<&SealedChunk>) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(judge)))
    }

    fn holds(&self, stored: Option<&SealedChunk>) -> bool {
        self.0.as_ref().is_none_or(|judge| judge(stored))
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condition(..)")
    }
}

/// A chunk and the upload that it is for.
#[derive(Debug, Clone)]
pub struct ChunkPut {
    /// The upload as it was found when the request began: if it is gone when the bytes are here, so
    /// is the wish. None where there was none; then the chunk begins it.
    pub upload: Option<UploadId>,
    /// Which upload.
    pub key: ChunkKey,
    /// tus `Upload-Metadata` of an upload that this chunk begins.
    pub metadata: String,
    /// Which chunk.
    pub index: ChunkIndex,
    /// How the client cuts the file. May be absent where the upload is there already.
    pub layout: Option<Layout>,
    /// What the bytes must hash to.
    pub expected: ExpectedDigests,
    /// What must be true of what is stored.
    pub condition: Condition,
}

/// A received chunk that belongs to no upload yet. Dropped, it is gone.
#[derive(Debug)]
pub struct StagedChunk {
    staged: Stage,
    /// Bytes of it.
    pub length: u64,
    sha256: Option<Sha256Digest>,
    md5: Option<[u8; 16]>,
}

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkFate {
    /// It is stored since this request.
    Stored,
    /// The same bytes were there.
    Duplicate,
}

/// A chunk that is there.
#[derive(Debug, Clone)]
pub struct ChunkCommitted {
    /// Its upload.
    pub id: UploadId,
    /// Stored now, or there before.
    pub fate: ChunkFate,
    /// The upload's facts.
    pub record: Arc<Record>,
}

impl Ingest {
    /// Refuses what can be refused before a byte is read: the layout, the number, the announced
    /// length, and during a merge a chunk that cannot be the one that is there.
    pub async fn check_chunk(
        self: &Arc<Self>,
        put: &ChunkPut,
        announced: Option<u64>,
    ) -> Result<(), IngestError> {
        let (this, put) = (self.clone(), put.clone());
        blocking::run(move || {
            let layout = match this.find_for_chunk(&put.key).look {
                Ok(look) => {
                    let record = &look.current.record;
                    let layout = agreed_layout(record, put.layout.as_ref())?;
                    let stored = record.chunks().get(put.index);
                    if stored.is_none_or(|sealed| sealed.digest.is_none()) {
                        this.ensure_unmerged(record)?;
                    }
                    layout
                }
                Err(error) if begins_anew(&error) => put.layout.ok_or(error)?,
                Err(error) => return Err(error.into()),
            };
            let expected = this.chunk_length(&layout, put.index)?;
            match announced.filter(|announced| *announced != expected) {
                Some(actual) => Err(IngestError::ChunkLength { expected, actual }),
                None => Ok(()),
            }
        })
        .await
    }

    /// A chunk for this upload is on its way: it does not expire before the guard is dropped.
    pub fn attend(&self, id: &UploadId) -> Attendance {
        self.holds.attend(id)
    }

    /// Receives a body into staging. Its length and digests are compared when it is committed. With
    /// `md5` that digest is taken too.
    pub async fn stage_chunk(
        &self,
        source: &mut dyn Source,
        limit: u64,
        md5: Hashing,
    ) -> Result<StagedChunk, IngestError> {
        let md5 = (md5 == Hashing::Sha256).then(Md5::new);
        let sink = ChunkSink {
            storage: self.holds.storage().clone(),
            flush: self.holds.options().durability.of_finish(),
            pairs: self.pairs.clone(),
            staged: Stage(None),
            length: 0,
            announced: source.announced().unwrap_or(0).min(limit),
            sha256: RunningSha256::new(),
            md5,
        };
        let (sink, pumped) = pump::pump(&self.transfers, source, (sink, limit), None).await;
        match pumped? {
            End::Complete => {}
            End::Broken(broken) => return Err(broken.into()),
            End::Overflow => {
                let actual = limit.saturating_add(1);
                return Err(IngestError::ChunkLength { expected: limit, actual });
            }
            End::TakenOver | End::Stopping => return Err(IngestError::Stopping),
        }
        Ok(blocking::run(move || sink.finish()).await?)
    }

    /// Makes a staged chunk part of its upload, which begins with it if there is none.
    pub async fn commit_chunk(
        self: &Arc<Self>,
        put: ChunkPut,
        chunk: StagedChunk,
    ) -> Result<ChunkCommitted, IngestError> {
        chunk.compare(&put.expected)?;
        if let Some(there) = self.merging_with(&put, &chunk).await? {
            return Ok(there);
        }
        let held = self.hold_for(&put, chunk.length).await?;
        let this = self.clone();
        let committed = blocking::run(move || this.commit_held(held, &put, chunk)).await?;
        if committed.fate == ChunkFate::Stored {
            self.merger.absorb_soon(&committed.id);
            self.merger.part_changed(&committed.id);
            self.merger.keep_pace(&committed.id, &committed.record).await;
        }
        Ok(committed)
    }

    /// While its upload is merged a chunk is judged without the lock: the sealed set does not
    /// change, and a newcomer would hold the merge up. `None` where there is no merge.
    async fn merging_with(
        self: &Arc<Self>,
        put: &ChunkPut,
        chunk: &StagedChunk,
    ) -> Result<Option<ChunkCommitted>, IngestError> {
        let (this, key) = (self.clone(), put.key.clone());
        let found = blocking::run(move || this.find_for_chunk(&key)).await;
        // Whatever is wrong, whoever holds the upload will tell.
        let Found { id, look: Ok(look) } = found else { return Ok(None) };
        let record = look.current.record;
        // What a power loss may have taken is looked at first, by whoever holds the upload.
        if record.finished().is_none() && record.epoch() < self.holds.options().epoch {
            return Ok(None);
        }
        let Err(merging) = self.ensure_unmerged(&record) else { return Ok(None) };
        agreed_layout(&record, put.layout.as_ref())?;
        let stored = record.chunks().get(put.index);
        let digest = stored.and_then(|sealed| sealed.digest);
        if digest.is_none() || digest != chunk.sha256 || !put.condition.holds(stored) {
            return Err(merging);
        }
        Ok(Some(ChunkCommitted { id, fate: ChunkFate::Duplicate, record }))
    }

    /// The upload that the chunk belongs to, in hand.
    async fn hold_for(self: &Arc<Self>, put: &ChunkPut, actual: u64) -> Result<Held, IngestError> {
        if let Some(id) = &put.upload {
            return Ok(self.holds.take(id, Manner::Asking).await?);
        }
        let (this, key) = (self.clone(), put.key.clone());
        let found = blocking::run(move || this.find_for_chunk(&key)).await;
        match (found.look, put.layout) {
            (Ok(_), _) => Ok(self.holds.take(&found.id, Manner::Asking).await?),
            (Err(error), Some(layout)) if begins_anew(&error) => {
                // A chunk that will be refused begins nothing.
                let expected = self.chunk_length(&layout, put.index)?;
                if actual != expected {
                    return Err(IngestError::ChunkLength { expected, actual });
                }
                let manifest = self.chunk_manifest(&put.key, &put.metadata, layout);
                let (held, _) = self.holds.create(manifest).await?;
                Ok(held)
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    pub(super) fn chunk_manifest(
        &self,
        key: &ChunkKey,
        metadata: &str,
        layout: Layout,
    ) -> Manifest {
        Manifest {
            id: self.holds.state().secret().id(key),
            layout,
            metadata: metadata.to_owned(),
            filename: key.filename.clone(),
            media_type: None,
            dialect: Dialect::Chunks,
            key: Some(key.clone()),
            concatenation: None,
            owner: String::new(),
            created_at: self.now(),
            epoch: self.holds.options().epoch,
        }
    }

    fn commit_held(
        &self,
        mut held: Held,
        put: &ChunkPut,
        chunk: StagedChunk,
    ) -> Result<ChunkCommitted, IngestError> {
        held.ensure_alive()?;
        let layout = agreed_layout(held.record(), put.layout.as_ref())?;
        let expected = self.chunk_length(&layout, put.index)?;
        if chunk.length != expected {
            return Err(IngestError::ChunkLength { expected, actual: chunk.length });
        }
        let fate = self.place(&mut held, put, chunk)?;
        let (id, record) = (held.id().clone(), held.current().record.clone());
        Ok(ChunkCommitted { id, fate, record })
    }

    fn place(
        &self,
        held: &mut Held,
        put: &ChunkPut,
        chunk: StagedChunk,
    ) -> Result<ChunkFate, IngestError> {
        if held.record().manifest().parts().is_some() {
            return Err(IngestError::FinalUpload);
        }
        if let (None, Some(length)) =
            (held.record().layout().length(), put.layout.and_then(|layout| layout.length()))
        {
            held.declare(length, self.options.hashing)?;
        }
        let stored = held.record().chunks().get(put.index).copied();
        if !put.condition.holds(stored.as_ref()) {
            let stored = stored.and_then(|sealed| sealed.digest);
            return Err(IngestError::ConditionFailed { stored });
        }
        let stored = stored.map(|sealed| sealed.digest);
        if let Some(Some(stored)) = stored
            && Some(stored) == chunk.sha256
        {
            self.finish_offset_upload(held);
            return Ok(ChunkFate::Duplicate);
        }
        let record = held.record();
        // Parts of a final upload are read without being held.
        let is_whole_part = record.manifest().is_partial() && record.is_complete();
        if record.phase() == Phase::Finished || is_whole_part {
            return Err(IngestError::Finished);
        }
        self.ensure_unmerged(held.record())?;
        let digest = chunk.sha256.filter(|_| self.options.hashing == Hashing::Sha256);
        let staged = chunk.staged.take().map_err(HoldError::Io)?;
        held.adopt(staged, (put.index, chunk.length), digest)?;
        self.finish_offset_upload(held);
        Ok(ChunkFate::Stored)
    }

    /// An upload that an offset client began has nobody who would ask for a merge.
    fn finish_offset_upload(&self, held: &mut Held) {
        let record = held.record();
        let manifest = record.manifest();
        if manifest.dialect != Dialect::Tus || !record.is_complete() {
            return;
        }
        if let Err(error) = self.merger.complete(held) {
            // The chunk is stored all the same; the next look at the upload tries again.
            tracing::error!(id = %held.id(), %error, "could not finish a complete upload");
        }
    }

    /// Bytes of a chunk. While the length is not known, any may come that the largest upload has.
    fn chunk_length(&self, layout: &Layout, index: ChunkIndex) -> Result<u64, IngestError> {
        let length = layout.chunk_len(index).map_err(|_| IngestError::NoSuchChunk)?;
        let end = layout.end(index)?;
        match self.options.max_size.filter(|_| layout.length().is_none()) {
            Some(max) if end > max.end() => Err(IngestError::MaxSizeExceeded { max }),
            _ => Ok(length),
        }
    }

    fn ensure_unmerged(&self, record: &Record) -> Result<(), IngestError> {
        // A merge of an incomplete set is about to be refused, and the missing chunk is welcome.
        let merging = record.phase() == Phase::Merging
            || record.phase() == Phase::Received && self.merger.is_running(&record.manifest().id);
        if merging { Err(IngestError::Merging) } else { Ok(()) }
    }
}

/// Errors of a look that mean: there is nothing (any more), so this chunk begins an upload.
fn begins_anew(error: &HoldError) -> bool {
    matches!(error, HoldError::Unknown | HoldError::Expired | HoldError::Damaged(_))
}

/// The upload's layout, if the request agrees with it; with the request's length where the upload
/// has none yet.
pub(super) fn agreed_layout(
    record: &Record,
    given: Option<&Layout>,
) -> Result<Layout, IngestError> {
    let stored = record.layout();
    let Some(given) = given else { return Ok(*stored) };
    let fields = [
        ("chunk_size", Some(stored.chunk_size().get()), Some(given.chunk_size().get())),
        ("size", stored.length().map(Length::get), given.length().map(Length::get)),
        ("total", stored.total().map(ChunkCount::get), given.total().map(ChunkCount::get)),
    ];
    let differs = |(_, stored, given): &&(_, Option<u64>, Option<u64>)| {
        stored.is_some() && given.is_some() && stored != given
    };
    if let Some((field, stored, Some(given))) = fields.iter().find(differs) {
        let (field, stored, given) = (*field, *stored, *given);
        return Err(IngestError::LayoutMismatch(LayoutMismatch { field, stored, given }));
    }
    match given.length().filter(|_| stored.length().is_none()) {
        None => Ok(*stored),
        Some(length) => {
            let declared =
                stored.with_length(length).map_err(|error| HoldError::Law(error.into()))?;
            match (declared.total(), given.total()) {
                (own, Some(other)) if own != Some(other) => {
                    let (field, stored, given) = ("total", own.map(ChunkCount::get), other.get());
                    Err(IngestError::LayoutMismatch(LayoutMismatch { field, stored, given }))
                }
                _ => Ok(declared),
            }
        }
    }
}

impl StagedChunk {
    fn compare(&self, expected: &ExpectedDigests) -> Result<(), IngestError> {
        if let (Some(expected), Some(actual)) = (expected.sha256, self.sha256)
            && expected != actual
        {
            let (expected, actual) = (expected.to_hex(), actual.to_hex());
            return Err(IngestError::DigestMismatch { algorithm: "sha-256", expected, actual });
        }
        match (expected.md5, self.md5) {
            (Some(expected), Some(actual)) if expected != actual => {
                let (expected, actual) = (hex(expected), hex(actual));
                Err(IngestError::DigestMismatch { algorithm: "md5", expected, actual })
            }
            _ => Ok(()),
        }
    }
}

fn hex(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// Hashes and stages one chunk. Its SHA-256 is always taken: it tells a repeated chunk from another
/// one, also after the merge.
struct ChunkSink {
    storage: Arc<dyn Storage>,
    /// Whether anybody will wait for the disk.
    flush: Flush,
    pairs: Arc<Pairs>,
    staged: Stage,
    length: u64,
    /// Bytes that are to come in all, as far as the client said so.
    announced: u64,
    sha256: RunningSha256,
    md5: Option<Md5>,
}

impl Sink for ChunkSink {
    fn write(&mut self, bytes: Bytes) -> Result<(), HoldError> {
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let (at, announced, flush) = (self.length, self.announced, self.flush);
        let staged = self.staged()?;
        if at == 0 && announced >= RESERVE_FROM {
            // Also so that no more is taken than that: XFS reserves up to as much again behind
            // the end of a file that grows.
            staged.reserve(0..announced);
        }
        staged.write_at(&bytes, at)?;
        if flush == Flush::Durable {
            staged.write_back(at..at.saturating_add(count));
        }
        if let Some(md5) = &mut self.md5 {
            md5.update(&bytes);
        }
        self.pairs.hash(&mut self.sha256, bytes);
        self.length = at.saturating_add(count);
        Ok(())
    }
}

impl ChunkSink {
    fn staged(&mut self) -> Result<&dyn Staged, HoldError> {
        let staged = match self.staged.0.take() {
            Some(staged) => staged,
            None => self.storage.stage()?,
        };
        Ok(&**self.staged.0.insert(staged))
    }

    fn finish(mut self) -> Result<StagedChunk, HoldError> {
        self.staged()?;
        Ok(StagedChunk {
            staged: self.staged,
            length: self.length,
            sha256: Some(self.sha256.into()),
            md5: self.md5.map(|md5| md5.finalize().into()),
        })
    }
}

/// A staged file. Left behind, it is removed on a blocking thread: large files take their time.
#[derive(Debug)]
struct Stage(Option<Box<dyn Staged>>);

impl Stage {
    fn take(mut self) -> std::io::Result<Box<dyn Staged>> {
        self.0.take().ok_or_else(|| std::io::Error::other("a chunk without a file"))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(staged) = self.0.take() {
            blocking::discard(staged);
        }
    }
}

/// Bytes of a chunk at most: the last one may be nearly two chunk sizes long.
pub const CHUNK_LEN_MAX: u64 = 2 * ChunkSize::LARGEST;
