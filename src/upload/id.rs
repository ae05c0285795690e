//! Names of uploads: an allow-list of characters, so that an id can never be a path.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    content::{Content, ContentKey},
    key::{ChunkKey, UploadHash},
    units::ChunkIndex,
};

/// The name of one upload and the last segment of its URL: 32 lower-case hex digits (16 random
/// bytes) where the server chose it freely, 48 where it is derived from a [`ChunkKey`] under the
/// server's secret.
///
/// Own rule: hex, since the chunk flow takes an upload id as `hash` (conformance row CROSS-06).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UploadId(Arc<str>);

/// Text that is no upload id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an upload id is 32 or 48 lower-case hex digits")]
pub struct ParseIdError;

const RANDOM_DIGITS: usize = 32;
const DERIVED_DIGITS: usize = 48;
/// Hex digits that all uploads of one (owner, hash) share.
const FAMILY_DIGITS: usize = 16;

impl UploadId {
    /// An id out of 16 random bytes.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(hex(&bytes).into())
    }

    /// Reads an id; anything but 32 or 48 lower-case hex digits is refused.
    pub fn parse(text: &str) -> Result<Self, ParseIdError> {
        let digits = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match text.len() {
            RANDOM_DIGITS | DERIVED_DIGITS if digits => Ok(Self(text.into())),
            _ => Err(ParseIdError),
        }
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Two hex digits, evenly spread: the folder that the ledger lies in.
    pub fn shard(&self) -> &str {
        self.0.get(..2).unwrap_or_default()
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for UploadId {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, ParseIdError> {
        Self::parse(&text)
    }
}

impl From<UploadId> for String {
    fn from(id: UploadId) -> Self {
        id.0.as_ref().to_owned()
    }
}

/// 32 random bytes of one data directory. Ids derived under it cannot be guessed by whoever knows a
/// file's hash and name, and need no index beside the ledgers.
#[derive(Clone)]
pub struct IdSecret([u8; 32]);

impl IdSecret {
    /// From 32 random bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The id of the upload with this key: the family's 16 digits, then 32 of the key as a whole.
    pub fn id(&self, key: &ChunkKey) -> UploadId {
        let name = match &key.filename {
            Some(name) => {
                self.digest(&[b"named", key.owner.as_bytes(), key.hash.bytes(), name.as_bytes()])
            }
            None => self.digest(&[b"unnamed", key.owner.as_bytes(), key.hash.bytes()]),
        };
        let mut digits = self.family(&key.owner, &key.hash);
        digits.extend(hex(&name).chars().take(DERIVED_DIGITS.saturating_sub(FAMILY_DIGITS)));
        UploadId(digits.into())
    }

    /// The 16 hex digits with which the ids of all uploads of this owner and hash begin.
    pub fn family(&self, owner: &str, hash: &UploadHash) -> String {
        let digest = self.digest(&[b"family", owner.as_bytes(), hash.bytes()]);
        hex(&digest).chars().take(FAMILY_DIGITS).collect()
    }

    /// The name of a content in the index.
    pub fn content(&self, content: &Content) -> ContentKey {
        ContentKey::new(hex(&self.content_digest(b"content", content)))
    }

    /// The chunk by which a client proves that it has a content: always the same one, which nobody
    /// can tell before. Were it another one at each time, whoever has any chunk could ask until it
    /// is the one. Never the last of several: of a short one the digest tells the bytes.
    pub fn sample(&self, content: &Content) -> ChunkIndex {
        let digest = self.content_digest(b"sample", content);
        let (number, _) = digest.split_first_chunk().expect("a digest has more than 8 bytes");
        let among = content.total.get().saturating_sub(1).max(1);
        let number = u64::from_be_bytes(*number).checked_rem(among);
        number.and_then(|k| ChunkIndex::new(k).ok()).unwrap_or_default()
    }

    fn content_digest(&self, what: &[u8], content: &Content) -> [u8; 32] {
        let Content { owner, length, chunk_size, total, composite } = content;
        let numbers = [length.get(), chunk_size.get(), total.get()].map(u64::to_be_bytes).concat();
        self.digest(&[what, owner.as_bytes(), &numbers, composite.bytes()])
    }

    /// A keyed digest whose parts are length-prefixed, so that no two lists of parts collide.
    fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        for part in parts {
            hasher.update(part.len().to_string());
            hasher.update(b":");
            hasher.update(part);
        }
        hasher.finalize().into()
    }
}

impl fmt::Debug for IdSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdSecret(..)")
    }
}

/// Lower-case hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
        text
    })
}
