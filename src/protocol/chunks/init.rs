//! The JSON of an init: begin an upload before its first chunk, or learn how it stands.

use serde::Deserialize;

use super::{
    FILE_BYTES_MAX, Named, TOTAL_MAX,
    command::same,
    json::{chunk_digests, count, counts, object, size},
    params::{invalid, missing, parse_filename, parse_hash},
};
use crate::{
    protocol::{Parameter, Problem},
    upload::{ChunkCount, ChunkSize, Layout, Length, Sha256Digest, UploadHash},
};

/// Begin an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Init {
    /// The client's name for the content; the server makes one up where there is none.
    pub hash: Option<UploadHash>,
    /// The file's name.
    pub filename: Option<String>,
    /// Bytes of the file.
    pub size: Length,
    /// Bytes of every chunk but the last; the server chooses where there is none.
    pub chunk_size: Option<ChunkSize>,
    /// How many chunks; `max(1, ceil(size / chunk_size))` where there is none.
    pub total: Option<ChunkCount>,
    /// The digests of all chunks, to compare with what is stored.
    pub chunks: Option<Vec<Sha256Digest>>,
}

/// As it stands in the body.
#[derive(Deserialize)]
struct Document {
    hash: Option<String>,
    filename: Option<String>,
    size: Option<u64>,
    chunk_size: Option<u64>,
    total: Option<u64>,
    chunks: Option<Vec<String>>,
}

impl Init {
    /// Reads the body: `{hash, filename, size, chunk_size, total, chunks}`, of which only `size`
    /// must be there.
    pub fn decode(body: &[u8]) -> Result<Self, Problem> {
        let document: Document = object(body)?;
        let hash = document.hash.as_deref().map(|hash| parse_hash(Some(hash))).transpose()?;
        let filename = document.filename.as_deref().map_or(Ok(None), parse_filename)?;
        let size = size(document.size.ok_or_else(|| missing(Parameter::Size))?)?;
        let chunk_size = document.chunk_size.map(ChunkSize::new).transpose();
        let chunk_size =
            chunk_size.map_err(|_| invalid(Parameter::ChunkSize, "the number is out of range"))?;
        let total = document.total.map(count).transpose()?;
        let chunks = document.chunks.as_deref().map(chunk_digests).transpose()?;
        Ok(Self { hash, filename, size, chunk_size, total, chunks })
    }

    /// What it is called, by the client or else by us.
    pub fn name(&self, made_up: impl FnOnce() -> UploadHash) -> Named {
        let hash = self.hash.clone().unwrap_or_else(made_up);
        Named { hash, filename: self.filename.clone() }
    }

    /// How a new upload is cut: as the client says, else in chunks of `usual` bytes, or as often
    /// twice of that as it takes to stay below [`TOTAL_MAX`] chunks.
    pub fn layout(&self, usual: ChunkSize) -> Result<Layout, Problem> {
        let chunk_size = match self.chunk_size {
            Some(chunk_size) => chunk_size,
            None => self.fitting(usual)?,
        };
        let layout = match self.total {
            None => Layout::by_size(chunk_size, Some(self.size)),
            Some(total) => Layout::by_total(chunk_size, self.size, total).map_err(|_| {
                let why = "it must be size divided by chunk_size, rounded up or down";
                invalid(Parameter::Total, why)
            })?,
        };
        let total = layout.total().unwrap_or_default();
        if total.get() > TOTAL_MAX {
            return Err(invalid(Parameter::ChunkSize, "that makes more than 10000 chunks"));
        }
        counts(self.chunks.as_deref(), total)?;
        Ok(layout)
    }

    fn fitting(&self, usual: ChunkSize) -> Result<ChunkSize, Problem> {
        let largest = Length::new(FILE_BYTES_MAX).unwrap_or_default();
        if self.size > largest {
            return Err(Problem::MaxSizeExceeded { max: largest });
        }
        let mut bytes = usual.get();
        while self.size.get().div_ceil(bytes) > TOTAL_MAX {
            bytes = bytes.saturating_mul(2).min(ChunkSize::LARGEST);
        }
        ChunkSize::new(bytes).map_err(|_| invalid(Parameter::ChunkSize, "it is out of range"))
    }

    /// Compares with the upload that is there: 409 where a number was given and is another.
    pub fn fits(&self, layout: &Layout) -> Result<(), Problem> {
        let (total, size) = (layout.total(), layout.length());
        same(Parameter::Total, self.total.map(ChunkCount::get), total.map(ChunkCount::get))?;
        same(Parameter::Size, Some(self.size.get()), size.map(Length::get))?;
        let stored = Some(layout.chunk_size().get());
        same(Parameter::ChunkSize, self.chunk_size.map(ChunkSize::get), stored)?;
        total.map_or(Ok(()), |total| counts(self.chunks.as_deref(), total))
    }
}
