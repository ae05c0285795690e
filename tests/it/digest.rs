//! SHA-256 as the tests need it, computed apart from the server.

use base64::prelude::{BASE64_STANDARD, Engine};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

/// The digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The digest of `bytes`, in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&sha256(bytes))
}

/// `Upload-Checksum` of `bytes` by an algorithm of tus.
pub fn checksum(algorithm: &str, bytes: &[u8]) -> String {
    let value = match algorithm {
        "sha256" => sha256(bytes).to_vec(),
        "sha1" => Sha1::digest(bytes).to_vec(),
        "sha512" => Sha512::digest(bytes).to_vec(),
        "md5" => Md5::digest(bytes).to_vec(),
        "crc32" => crc32fast::hash(bytes).to_be_bytes().to_vec(),
        "crc32c" => crc32c::crc32c(bytes).to_be_bytes().to_vec(),
        "blake3" => blake3::hash(bytes).as_bytes().to_vec(),
        other => panic!("no {other}"),
    };
    format!("{algorithm} {}", BASE64_STANDARD.encode(value))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest over the raw digests of the chunks.
pub fn composite(chunks: &[&[u8]]) -> String {
    let mut all = Sha256::new();
    for chunk in chunks {
        all.update(sha256(chunk));
    }
    hex(&all.finalize())
}

/// The digest over the hex digests of the chunks, as some clients compute it.
pub fn composite_of_hex(chunks: &[&[u8]]) -> String {
    let mut all = Sha256::new();
    for chunk in chunks {
        all.update(sha256_hex(chunk));
    }
    hex(&all.finalize())
}

#[test]
fn the_written_vectors() {
    let chunks: [&[u8]; 3] = [b"hello ", b"world", b"!"];
    assert_eq!(
        composite(&chunks),
        "f43bd1d7e4f6f284fdffdfe143bef256b99234cf2010c947b6c1a83bd178b25f"
    );
    assert_eq!(
        composite_of_hex(&chunks),
        "79f700eb632b9f16c79e2a68bcd63d803d4dc05b501ebb1099e0091cf11b5ca7"
    );
}
