//! The JSON of a merge.

use http::HeaderMap;
use serde::Deserialize;
use serde_json::error::Category;

use super::{
    MERGE_BYTES_MAX, Named,
    command::same,
    params::{check_total, invalid, parse_filename, parse_hash},
};
use crate::{
    protocol::{
        BodyLength, Parameter, Problem,
        headers::{decimal, media_type, plain_coding},
    },
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

/// As it stands in the body. Unknown members are ignored, `null` is absence.
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
    /// Looks at the head before the body is collected: 415 for another media type than
    /// `application/json`, 413 where more than [`MERGE_BYTES_MAX`] bytes are announced.
    pub fn accepts(headers: &HeaderMap, body: BodyLength) -> Result<(), Problem> {
        plain_coding(headers)?;
        if media_type(headers).as_deref() != Some("application/json") {
            return Err(Problem::UnsupportedMediaType { accepted: "application/json" });
        }
        match body {
            BodyLength::Exactly(length) if length > MERGE_BYTES_MAX => {
                Err(Problem::BodyTooLarge { limit: MERGE_BYTES_MAX })
            }
            BodyLength::Exactly(_) | BodyLength::Empty | BodyLength::Unknown => Ok(()),
        }
    }

    /// Reads the body: `{hash, filename, total, size, digest, digest_format, chunks}`, of which
    /// only `hash` must be there. Numbers are numbers. The digest is hex of any case or base64, and
    /// may carry `-N`, the number of chunks, as S3 writes it.
    pub fn decode(body: &[u8]) -> Result<Self, Problem> {
        // serde would read an array as a struct, member by member.
        if !body.trim_ascii_start().starts_with(b"{") {
            return Err(Problem::MalformedJson { why: "it must be an object".to_owned() });
        }
        let document: Document = serde_json::from_slice(body)
            .map_err(|error| Problem::MalformedJson { why: fault(&error) })?;
        let filename = document.filename.as_deref().map_or(Ok(None), parse_filename)?;
        let name = Named { hash: parse_hash(document.hash.as_deref())?, filename };
        let total = document.total.map(count).transpose()?;
        let too_large = |_| invalid(Parameter::Size, "the number is above 2^63-1");
        let size = document.size.map(Length::new).transpose().map_err(too_large)?;
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
        let listed = self.chunks.as_ref().map(|chunks| u64::try_from(chunks.len()));
        if listed.is_some_and(|listed| listed != Ok(total.get())) {
            return Err(invalid(Parameter::Chunks, "it must list one digest for each chunk"));
        }
        Ok(())
    }
}

/// What is wrong and where, without the client's own text, which may be long.
fn fault(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Data => "a member has the wrong type or comes twice",
        Category::Syntax | Category::Io => "it is no JSON",
        Category::Eof => "it ends too early",
    };
    format!("{what}, at line {} column {}", error.line(), error.column())
}

fn count(number: u64) -> Result<ChunkCount, Problem> {
    let count = ChunkCount::new(number);
    count.map_err(|_| invalid(Parameter::Total, "the number is out of range")).and_then(check_total)
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

fn chunk_digests(texts: &[String]) -> Result<Vec<Sha256Digest>, Problem> {
    let digests: Result<Vec<_>, _> =
        texts.iter().map(|text| Sha256Digest::parse_hex(text)).collect();
    digests.map_err(|_| invalid(Parameter::Chunks, "each digest is 64 hex digits"))
}
