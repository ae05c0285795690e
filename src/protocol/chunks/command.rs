//! Check, chunk, status and delete as values.

use http::HeaderMap;

use super::{
    ChunkDigests, Condition, Params,
    params::{invalid, missing},
};
use crate::{
    protocol::{Parameter, Problem},
    upload::{
        ChunkCount, ChunkIndex, ChunkKey, ChunkSize, Layout, Length, Sha256Digest, UploadHash,
        UploadId,
    },
};

/// How an index client names an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The client's name for the content, or the id of an upload that any client began.
    pub hash: UploadHash,
    /// The file's name; needed only where several uploads share the hash.
    pub filename: Option<String>,
}

impl Named {
    /// Reads `hash` and `filename`. This is all of a delete.
    pub fn decode(params: &Params) -> Result<Self, Problem> {
        Ok(Self { hash: params.hash()?, filename: params.filename()? })
    }

    /// The upload that `hash` may be the id of. First ask for an upload of this id (row CROSS-06).
    pub fn as_id(&self) -> Option<UploadId> {
        UploadId::parse(self.hash.as_str()).ok()
    }

    /// The key of the upload, of this owner.
    pub fn key(&self, owner: &str) -> ChunkKey {
        ChunkKey {
            owner: owner.to_owned(),
            hash: self.hash.clone(),
            filename: self.filename.clone(),
        }
    }
}

/// Is a chunk there?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Of which upload.
    pub name: Named,
    /// Which chunk. One that the upload does not have is [`Problem::InvalidParameter`] of `index`.
    pub index: ChunkIndex,
    /// The digest that it must have to count as there.
    pub sha256: Option<Sha256Digest>,
}

impl Check {
    /// Reads the query.
    pub fn decode(params: &Params) -> Result<Self, Problem> {
        let name = Named::decode(params)?;
        Ok(Self { name, index: params.index()?, sha256: params.sha256()? })
    }

    /// Refuses a chunk that the upload does not have.
    pub fn fits(&self, layout: &Layout) -> Result<(), Problem> {
        within(self.index, layout)
    }
}

/// One chunk, but for its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkUpload {
    /// Of which upload.
    pub name: Named,
    /// Which chunk.
    pub index: ChunkIndex,
    /// How many chunks the file has. These three may be absent where the upload is there already.
    pub total: Option<ChunkCount>,
    /// Bytes of the file.
    pub size: Option<Length>,
    /// Bytes of every chunk but the last.
    pub chunk_size: Option<ChunkSize>,
    /// What the bytes must hash to.
    pub digests: ChunkDigests,
    /// What must be true of the chunk that is stored.
    pub condition: Condition,
}

impl ChunkUpload {
    /// Reads query, form and headers.
    pub fn decode(params: &Params, headers: &HeaderMap) -> Result<Self, Problem> {
        let name = Named::decode(params)?;
        let index = params.index()?;
        let total = params.total()?;
        if total.is_some_and(|total| index.get() >= total.get()) {
            return Err(past_the_end());
        }
        Ok(Self {
            name,
            index,
            total,
            size: params.size()?,
            chunk_size: params.chunk_size()?,
            digests: ChunkDigests::decode(headers, params.sha256()?, index)?,
            condition: Condition::decode(headers)?,
        })
    }

    /// How a new upload is cut. All three numbers must be there and go together: the legal totals
    /// are `max(1, ceil(size / chunk_size))` and `max(1, floor(size / chunk_size))` (row
    /// CHUNK-PUT-06).
    pub fn layout(&self) -> Result<Layout, Problem> {
        let total = self.total.ok_or_else(|| missing(Parameter::Total))?;
        let size = self.size.ok_or_else(|| missing(Parameter::Size))?;
        let chunk_size = self.chunk_size.ok_or_else(|| missing(Parameter::ChunkSize))?;
        Layout::by_total(chunk_size, size, total).map_err(|_| {
            invalid(Parameter::Total, "it must be size divided by chunk_size, rounded up or down")
        })
    }

    /// Compares with the upload that is there: 409 where a number was given and is another, 400 for
    /// a chunk that it does not have.
    pub fn fits(&self, layout: &Layout) -> Result<(), Problem> {
        let (total, size) = (layout.total(), layout.length());
        same(Parameter::Total, self.total.map(ChunkCount::get), total.map(ChunkCount::get))?;
        same(Parameter::Size, self.size.map(Length::get), size.map(Length::get))?;
        let stored = Some(layout.chunk_size().get());
        same(Parameter::ChunkSize, self.chunk_size.map(ChunkSize::get), stored)?;
        within(self.index, layout)
    }
}

fn within(index: ChunkIndex, layout: &Layout) -> Result<(), Problem> {
    if layout.contains(index) { Ok(()) } else { Err(past_the_end()) }
}

fn past_the_end() -> Problem {
    invalid(Parameter::Index, "chunks are numbered from 0, so it must be below total")
}

/// Refuses a number that the upload does not have. One that was not given agrees with everything.
pub(super) fn same(
    field: Parameter,
    given: Option<u64>,
    stored: Option<u64>,
) -> Result<(), Problem> {
    match given {
        Some(given) if stored != Some(given) => {
            Err(Problem::UploadMetadataMismatch { field, stored, given })
        }
        _ => Ok(()),
    }
}

/// Which upload a status is asked of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The one that the client calls so.
    Named(Named),
    /// The one with this id.
    Id(UploadId),
}

/// How lists of chunks are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum IndexFormat {
    /// As an array of numbers.
    #[default]
    List,
    /// As text such as `0-1,3`.
    Ranges,
}

/// How does an upload stand?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusQuery {
    /// Which upload.
    pub subject: Subject,
    /// How its chunks are listed.
    pub format: IndexFormat,
}

impl StatusQuery {
    /// Reads the query: `upload_id`, or else `hash` and perhaps `filename`; `format=ranges`.
    pub fn decode(params: &Params) -> Result<Self, Problem> {
        let subject = match params.upload_id()? {
            Some(id) => Subject::Id(id),
            None => Subject::Named(Named::decode(params)?),
        };
        let format = match params.format() {
            None | Some("list") => IndexFormat::List,
            Some("ranges") => IndexFormat::Ranges,
            Some(_) => return Err(invalid(Parameter::Format, "it must be list or ranges")),
        };
        Ok(Self { subject, format })
    }
}
