//! How index clients name an upload.

use serde::{Deserialize, Serialize};

use super::id::hex;

/// The client's name for a file's content: 8 to 64 hex digits, folded to lower case. A name, never
/// a proof.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UploadHash(String);

/// Text that is no upload hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash is 8 to 64 hex digits")]
pub struct ParseHashError;

impl UploadHash {
    /// Reads 8 to 64 hex digits of any case.
    pub fn parse(text: &str) -> Result<Self, ParseHashError> {
        let digits = text.bytes().all(|b| b.is_ascii_hexdigit());
        if !digits || !(8..=64).contains(&text.len()) {
            return Err(ParseHashError);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }

    /// A name for a file whose client has none, out of 20 random bytes. No upload id has as many
    /// digits.
    pub fn from_random(bytes: [u8; 20]) -> Self {
        Self(hex(&bytes))
    }

    /// The digits, in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl TryFrom<String> for UploadHash {
    type Error = ParseHashError;

    fn try_from(text: String) -> Result<Self, ParseHashError> {
        Self::parse(&text)
    }
}

impl From<UploadHash> for String {
    fn from(hash: UploadHash) -> Self {
        hash.0
    }
}

/// What tells one upload of the chunk flow from another: two names that share a hash never mix.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChunkKey {
    /// Whose upload it is; empty while nobody is told apart.
    pub owner: String,
    /// The client's name for the content.
    pub hash: UploadHash,
    /// The file's name as the client gave it, at most 255 bytes; absent where it gave none.
    pub filename: Option<String>,
}
