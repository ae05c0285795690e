//! What a chunk's bytes must hash to, in the four spellings of the field.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue};
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};

use crate::{
    protocol::{
        DigestAlgorithm, Problem,
        headers::{CONTENT_DIGEST, CONTENT_MD5, SHA256, X_CHUNK_SHA256, single},
    },
    upload::{ChunkIndex, Sha256Digest},
};

/// The digests that came with a chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChunkDigests {
    /// Of `Content-Digest`, the parameter or header `sha256`, or `X-Chunk-SHA256`.
    pub sha256: Option<Sha256Digest>,
    /// Of `Content-MD5`.
    pub md5: Option<[u8; 16]>,
}

impl ChunkDigests {
    /// Reads them all; `param` is the parameter `sha256`. A malformed one: 400. Two that are not
    /// one: [`Problem::DigestMismatch`] before any byte is read.
    pub(super) fn decode(
        headers: &HeaderMap,
        param: Option<Sha256Digest>,
        index: ChunkIndex,
    ) -> Result<Self, Problem> {
        let given = [
            content_digest(headers)?,
            param,
            hex_header(headers, SHA256)?,
            hex_header(headers, X_CHUNK_SHA256)?,
        ];
        let mut given = given.into_iter().flatten();
        let sha256 = given.next();
        if let (Some(expected), Some(other)) = (sha256, given.find(|other| Some(*other) != sha256))
        {
            return Err(Problem::DigestMismatch {
                algorithm: DigestAlgorithm::Sha256,
                expected: expected.to_hex(),
                actual: other.to_hex(),
                index,
            });
        }
        Ok(Self { sha256, md5: content_md5(headers)? })
    }
}

fn hex_header(headers: &HeaderMap, name: &'static str) -> Result<Option<Sha256Digest>, Problem> {
    let digest = single(headers, name)?.map(Sha256Digest::parse_hex).transpose();
    digest.map_err(|_| Problem::MalformedHeader { name, why: "it must be 64 hex digits" })
}

/// `sha-256` out of `Content-Digest` (RFC 9530 §2, a dictionary of RFC 9651). Other algorithms are
/// passed over; a member that is no byte sequence at all, such as bare hex, is malformed.
fn content_digest(headers: &HeaderMap) -> Result<Option<Sha256Digest>, Problem> {
    let malformed = |why| Problem::MalformedHeader { name: CONTENT_DIGEST, why };
    let lines: Vec<&[u8]> =
        headers.get_all(CONTENT_DIGEST).iter().map(HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let digests: Dictionary = Parser::new(&lines.join(&b", "[..]))
        .parse()
        .map_err(|_| malformed("it must be like sha-256=:base64:"))?;
    let mut sha256 = None;
    for (algorithm, member) in &digests {
        let ListEntry::Item(Item { bare_item: BareItem::ByteSequence(bytes), .. }) = member else {
            return Err(malformed("a digest is written :base64:"));
        };
        if algorithm.as_str() == "sha-256" {
            let bytes: Result<[u8; 32], _> = bytes.as_slice().try_into();
            let bytes = bytes.map_err(|_| malformed("a SHA-256 digest has 32 bytes"))?;
            sha256 = Some(Sha256Digest::new(bytes));
        }
    }
    Ok(sha256)
}

/// `Content-MD5` (RFC 1864): base64; hex is tolerated.
fn content_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, Problem> {
    let Some(text) = single(headers, CONTENT_MD5)? else {
        return Ok(None);
    };
    let why = "it must be 16 bytes in base64";
    let malformed = Problem::MalformedHeader { name: CONTENT_MD5, why };
    if let Some(bytes) = md5_hex(text) {
        return Ok(Some(bytes));
    }
    let bytes = STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.map(Some).ok_or(malformed)
}

fn md5_hex(text: &str) -> Option<[u8; 16]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != 16 || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}
