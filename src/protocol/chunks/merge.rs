//! The JSON of a merge.

use serde::Deserialize;

use super::{
    Named,
    command::same,
    json::{chunk_digests, count, counts, object, size},
    params::{invalid, parse_filename, parse_hash},
};
use crate::{
    protocol::{Parameter, Problem, headers::decimal},
    upload::{ChunkCount, DigestForm, Layout, Length, Sha256Digest},
};

/// Make the file out of its chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// Which upload.
    pub name: Named,
    /// How many chunks it has, as the client remembers it.
    pub total: Option<ChunkCount>,
    /// Bytes of the file, as the client remembers it.
    pub size: Option<Length>,
    /// The composite digest to compare with; none for no comparison.
    pub digest: Option<Sha256Digest>,
    /// In which form it is given; none to try both.
    pub form: Option<DigestForm>,
    /// The digests of all chunks, to compare with.
    pub chunks: Option<Vec<Sha256Digest>>,
    /// The `-N` behind the digest.
    counted: Option<ChunkCount>,
}

/// As it stands in the body.
#[derive(Deserialize)]
struct Document {
    hash: Option<String>,
    filename: Option<String>,
    total: Option<u64>,
    size: Option<u64>,
    digest: Option<String>,
    digest_format: Option<String>,
    chunks: Option<Vec<String>>,
}

impl Merge {
    /// Reads the body: `{hash, filename, total, size, digest, digest_format, chunks}`, of which
    /// only `hash` must be there. Numbers are numbers. The digest is hex of any case or base64, and
    /// may carry `-N`, the number of chunks, as S3 writes it.
    pub fn decode(body: &[u8]) -> Result<Self, Problem> {
        let document: Document = object(body)?;
        let filename = document.filename.as_deref().map_or(Ok(None), parse_filename)?;
        let name = Named { hash: parse_hash(document.hash.as_deref())?, filename };
        let total = document.total.map(count).transpose()?;
        let size = document.size.map(size).transpose()?;
        let digest = document.digest.as_deref().map(composite).transpose()?;
        let form = document.digest_format.as_deref().map(form).transpose()?;
        let chunks = document.chunks.as_deref().map(chunk_digests).transpose()?;
        let (digest, counted) = (digest.map(|(digest, _)| digest), digest.and_then(|(_, n)| n));
        let merge = Self { name, total, size, digest, form, chunks, counted };
        if let Some(total) = merge.total {
            merge.counts(total)?;
        }
        Ok(merge)
    }

    /// Compares with the upload that is there: 409 where total or size is another, 400 where the
    /// digest's `-N` or the list of chunks speaks of another number of chunks.
    pub fn fits(&self, layout: &Layout) -> Result<(), Problem> {
        let (total, size) = (layout.total(), layout.length());
        same(Parameter::Total, self.total.map(ChunkCount::get), total.map(ChunkCount::get))?;
        same(Parameter::Size, self.size.map(Length::get), size.map(Length::get))?;
        total.map_or(Ok(()), |total| self.counts(total))
    }

    fn counts(&self, total: ChunkCount) -> Result<(), Problem> {
        if self.counted.is_some_and(|counted| counted != total) {
            return Err(invalid(Parameter::Digest, "the number behind its dash must be total"));
        }
        counts(self.chunks.as_deref(), total)
    }
}

fn composite(text: &str) -> Result<(Sha256Digest, Option<ChunkCount>), Problem> {
    let (digest, count) = match text.split_once('-') {
        Some((digest, count)) => (digest, Some(count)),
        None => (text, None),
    };
    let malformed = |why| invalid(Parameter::Digest, why);
    let digest = Sha256Digest::parse(digest)
        .map_err(|_| malformed("it must be 64 hex digits, or 32 bytes in base64"))?;
    let count = count.map(|count| decimal(count).ok().and_then(|n| ChunkCount::new(n).ok()));
    match count {
        None => Ok((digest, None)),
        Some(Some(count)) => Ok((digest, Some(count))),
        Some(None) => Err(malformed("behind its dash stands the number of chunks")),
    }
}

fn form(text: &str) -> Result<DigestForm, Problem> {
    match text {
        "raw" => Ok(DigestForm::Raw),
        "hex" => Ok(DigestForm::Hex),
        _ => Err(invalid(Parameter::DigestFormat, "it must be raw or hex")),
    }
}
