//! Digests of chunks, and the one of the whole that is made of them.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::id::hex;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256Digest([u8; 32]);

/// Text that is no SHA-256 digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 digest is 64 hex digits, or 44 characters of base64")]
pub struct ParseDigestError;

impl Sha256Digest {
    /// From its 32 bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Its 32 bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 hex digits of any case.
    pub fn parse_hex(text: &str) -> Result<Self, ParseDigestError> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(ParseDigestError);
        }
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Ok(Self(bytes))
    }

    /// Reads 32 bytes in padded base64 (RFC 4648 §4).
    pub fn parse_base64(text: &str) -> Result<Self, ParseDigestError> {
        let bytes = STANDARD.decode(text).map_err(|_| ParseDigestError)?;
        bytes.try_into().map(Self).map_err(|_| ParseDigestError)
    }

    /// Reads either form.
    pub fn parse(text: &str) -> Result<Self, ParseDigestError> {
        Self::parse_hex(text).or_else(|_| Self::parse_base64(text))
    }

    /// 64 lower-case hex digits.
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }
}

fn nibble(digit: u8) -> Result<u8, ParseDigestError> {
    let value = char::from(digit).to_digit(16).ok_or(ParseDigestError)?;
    u8::try_from(value).map_err(|_| ParseDigestError)
}

impl From<Sha256> for Sha256Digest {
    fn from(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256Digest({self})")
    }
}

/// Which bytes a client fed into its composite digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DigestForm {
    /// The 32 raw bytes of each chunk's digest.
    Raw,
    /// The 64 lower-case hex digits of each chunk's digest.
    Hex,
}

/// SHA-256 over the digests of all chunks in order, in both forms. Only the raw one names files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompositeDigest {
    /// Over the raw digests.
    pub raw: Sha256Digest,
    /// Over the hex digits of the digests.
    pub hex: Sha256Digest,
}

/// A client's digest that was found equal, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompositeMatch {
    /// The form that matched.
    pub form: DigestForm,
}

/// A client's digest that is not the one of the stored chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompositeMismatch {
    /// What the client sent.
    pub expected: Sha256Digest,
    /// What the stored chunks give, in the form that the client named, else raw.
    pub actual: Sha256Digest,
}

impl CompositeDigest {
    /// Over the digests of all chunks, in order.
    pub fn of<'a>(chunks: impl IntoIterator<Item = &'a Sha256Digest>) -> Self {
        let (mut raw, mut hex) = (Sha256::new(), Sha256::new());
        for chunk in chunks {
            raw.update(chunk.bytes());
            hex.update(chunk.to_hex());
        }
        Self { raw: raw.into(), hex: hex.into() }
    }

    /// Compares with a client's digest; without a form both are tried.
    pub fn compare(
        &self,
        expected: Sha256Digest,
        form: Option<DigestForm>,
    ) -> Result<CompositeMatch, CompositeMismatch> {
        if form != Some(DigestForm::Hex) && expected == self.raw {
            return Ok(CompositeMatch { form: DigestForm::Raw });
        }
        if form != Some(DigestForm::Raw) && expected == self.hex {
            return Ok(CompositeMatch { form: DigestForm::Hex });
        }
        let actual = if form == Some(DigestForm::Hex) { self.hex } else { self.raw };
        Err(CompositeMismatch { expected, actual })
    }
}
