//! Digests as the rows speak of them.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// How many bytes these are, as a length on the wire.
pub(crate) fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Base64 as tus and HTTP write it (RFC 4648 §4, padded).
pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// The 32 bytes of the SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

/// The SHA-256 in hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}

/// The digest over the raw digests of the chunks, in hex.
pub(crate) fn composite(chunks: &[&[u8]]) -> String {
    sha256_hex(&chunks.iter().flat_map(|chunk| sha256(chunk)).collect::<Vec<_>>())
}

/// The digest over the digests of the chunks in lower-case hex, itself in hex.
pub(crate) fn composite_of_hex(chunks: &[&[u8]]) -> String {
    sha256_hex(chunks.iter().map(|chunk| sha256_hex(chunk)).collect::<String>().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_composites_are_those_of_the_page() {
        let chunks: [&[u8]; 2] = [b"hello ", b"world!"];
        assert!(composite(&chunks).starts_with("9ef38ec3efc683f7"));
        assert!(composite_of_hex(&chunks).starts_with("fbcf33e211b6aee6"));
        assert_eq!(base64("hello"), "aGVsbG8=");
    }
}
