//! Digests as the rows speak of them.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

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

/// `Upload-Checksum` of `bytes`; nothing for an algorithm that the judge does not know. A CRC is
/// four bytes, big-endian.
pub(crate) fn checksum_by(algorithm: &str, bytes: &[u8]) -> Option<String> {
    let value = match algorithm {
        "sha1" => Sha1::digest(bytes).to_vec(),
        "sha256" => sha256(bytes),
        "sha512" => Sha512::digest(bytes).to_vec(),
        "md5" => Md5::digest(bytes).to_vec(),
        "crc32" => crc32fast::hash(bytes).to_be_bytes().to_vec(),
        "crc32c" => crc32c::crc32c(bytes).to_be_bytes().to_vec(),
        "blake3" => blake3::hash(bytes).as_bytes().to_vec(),
        _ => return None,
    };
    Some(format!("{algorithm} {}", base64(value)))
}

/// `Upload-Checksum` of `bytes` by the algorithm that every server with checksums must know.
pub(crate) fn checksum(bytes: &[u8]) -> String {
    format!("sha1 {}", base64(Sha1::digest(bytes)))
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

    #[test]
    fn the_checksums_are_those_of_the_page() {
        for (body, vectors) in [
            (
                "hello world",
                [
                    "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
                    "sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
                    "sha512 MJ7MSJwS1utMxA9QyQLytNDtd+5RGnx6m808qG1M2G+Y\
                     ndNbxf9JlnDaNCVbRbDP2DDoH2Bdz33FVC6TrpzXbw==",
                    "md5 XrY7u+Ae7tCTyyK7j1rNww==",
                    "crc32 DUoRhQ==",
                    "crc32c yZRlqg==",
                    "blake3 10mB76cKDIgLjYwZhdB128v2ebmaX5kU5ar5a4ManiQ=",
                ],
            ),
            (
                "",
                [
                    "sha1 2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
                    "sha256 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
                    "sha512 z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H\
                     0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
                    "md5 1B2M2Y8AsgTpgAmY7PhCfg==",
                    "crc32 AAAAAA==",
                    "crc32c AAAAAA==",
                    "blake3 rxNJufX5oaagQE3qNtzJSZvLJcmtwRK3zJqTyuQfMmI=",
                ],
            ),
        ] {
            for vector in vectors {
                let (algorithm, _) = vector.split_once(' ').unwrap();
                assert_eq!(checksum_by(algorithm, body.as_bytes()).as_deref(), Some(vector));
            }
            assert_eq!(checksum(body.as_bytes()), vectors[0]);
        }
        assert_eq!(checksum_by("SHA1", b""), None);
    }
}
