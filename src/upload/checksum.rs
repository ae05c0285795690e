//! Checksums of the bytes of one request, as a client gives them (tus checksum).

use std::fmt;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};

/// How a checksum is taken. The order is the one in which a client is told of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-1, which every server of tus has to know.
    Sha1,
    /// SHA-512.
    Sha512,
    /// MD5: against accidents, not against people.
    Md5,
    /// CRC-32 as in zip and gzip (ISO 3309), four bytes, big-endian.
    Crc32,
    /// CRC-32 of Castagnoli (RFC 9260), four bytes, big-endian.
    Crc32c,
    /// BLAKE3 with 32 bytes.
    Blake3,
}

impl ChecksumAlgorithm {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Sha256,
        Self::Sha1,
        Self::Sha512,
        Self::Md5,
        Self::Crc32,
        Self::Crc32c,
        Self::Blake3,
    ];

    /// Its name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
            Self::Sha512 => "sha512",
            Self::Md5 => "md5",
            Self::Crc32 => "crc32",
            Self::Crc32c => "crc32c",
            Self::Blake3 => "blake3",
        }
    }

    /// The algorithm of this name, which is in lower case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Bytes of its checksums.
    pub const fn width(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha1 => 20,
            Self::Sha512 => 64,
            Self::Md5 => 16,
            Self::Crc32 | Self::Crc32c => 4,
        }
    }
}

impl fmt::Display for ChecksumAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    algorithm: ChecksumAlgorithm,
    value: Vec<u8>,
}

/// Why what a client said is no checksum: a clause whose subject is what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAChecksum(pub &'static str);

/// What a request demands of its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ChecksumDemand {
    /// Nothing. A checksum that comes behind them without a word is compared all the same.
    #[default]
    Nothing,
    /// That they have this checksum.
    Checksum(Checksum),
    /// That they have the checksum that is announced to come behind them.
    Trailer,
    /// What cannot be compared: refused once nothing else is wrong.
    Unusable(NotAChecksum),
}

impl Checksum {
    /// `value` as bytes, as many as the algorithm gives.
    pub fn new(algorithm: ChecksumAlgorithm, value: Vec<u8>) -> Result<Self, NotAChecksum> {
        if value.len() == algorithm.width() {
            return Ok(Self { algorithm, value });
        }
        Err(NotAChecksum("its value has another length than checksums of this algorithm"))
    }

    /// The checksum of `bytes`.
    pub fn of(algorithm: ChecksumAlgorithm, bytes: &[u8]) -> Self {
        let mut running = RunningChecksum::new(algorithm);
        running.update(bytes);
        running.finish()
    }

    /// How it is taken.
    pub const fn algorithm(&self) -> ChecksumAlgorithm {
        self.algorithm
    }

    /// Its bytes.
    pub fn value(&self) -> &[u8] {
        &self.value
    }
}

/// A checksum of bytes that are still coming.
pub struct RunningChecksum {
    algorithm: ChecksumAlgorithm,
    state: State,
}

enum State {
    Sha256(Sha256),
    Sha1(Sha1),
    Sha512(Box<Sha512>),
    Md5(Md5),
    Crc32(crc32fast::Hasher),
    Crc32c(u32),
    Blake3(Box<blake3::Hasher>),
}

impl RunningChecksum {
    /// Over no bytes.
    pub fn new(algorithm: ChecksumAlgorithm) -> Self {
        let state = match algorithm {
            ChecksumAlgorithm::Sha256 => State::Sha256(Sha256::new()),
            ChecksumAlgorithm::Sha1 => State::Sha1(Sha1::new()),
            ChecksumAlgorithm::Sha512 => State::Sha512(Box::default()),
            ChecksumAlgorithm::Md5 => State::Md5(Md5::new()),
            ChecksumAlgorithm::Crc32 => State::Crc32(crc32fast::Hasher::new()),
            ChecksumAlgorithm::Crc32c => State::Crc32c(0),
            ChecksumAlgorithm::Blake3 => State::Blake3(Box::default()),
        };
        Self { algorithm, state }
    }

    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.state {
            State::Sha256(state) => state.update(bytes),
            State::Sha1(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
            State::Md5(state) => state.update(bytes),
            State::Crc32(state) => state.update(bytes),
            State::Crc32c(sum) => *sum = crc32c::crc32c_append(*sum, bytes),
            State::Blake3(state) => {
                state.update(bytes);
            }
        }
    }

    /// The checksum of all bytes.
    pub fn finish(self) -> Checksum {
        let value = match self.state {
            State::Sha256(state) => state.finalize().to_vec(),
            State::Sha1(state) => state.finalize().to_vec(),
            State::Sha512(state) => state.finalize().to_vec(),
            State::Md5(state) => state.finalize().to_vec(),
            State::Crc32(state) => state.finalize().to_be_bytes().to_vec(),
            State::Crc32c(sum) => sum.to_be_bytes().to_vec(),
            State::Blake3(state) => state.finalize().as_bytes().to_vec(),
        };
        Checksum { algorithm: self.algorithm, value }
    }
}

impl fmt::Debug for RunningChecksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningChecksum")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    /// Name, checksum of `hello world`, checksum of no bytes, in base64. BLAKE3: from b3sum.
    const VECTORS: [[&str; 3]; 7] = [
        [
            "sha256",
            "uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        ],
        ["sha1", "Kq5sNclPz7QV2+lfQIuc6R7oRu0=", "2jmj7l5rSw0yVb/vlWAYkK/YBwk="],
        [
            "sha512",
            "MJ7MSJwS1utMxA9QyQLytNDtd+5RGnx6m808qG1M2G+Y\
             ndNbxf9JlnDaNCVbRbDP2DDoH2Bdz33FVC6TrpzXbw==",
            "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H\
             0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==",
        ],
        ["md5", "XrY7u+Ae7tCTyyK7j1rNww==", "1B2M2Y8AsgTpgAmY7PhCfg=="],
        ["crc32", "DUoRhQ==", "AAAAAA=="],
        ["crc32c", "yZRlqg==", "AAAAAA=="],
        [
            "blake3",
            "10mB76cKDIgLjYwZhdB128v2ebmaX5kU5ar5a4ManiQ=",
            "rxNJufX5oaagQE3qNtzJSZvLJcmtwRK3zJqTyuQfMmI=",
        ],
    ];

    // rows: TUS-CHK-01
    #[test]
    fn checksums_are_those_of_the_vectors() {
        let names: Vec<&str> = ChecksumAlgorithm::ALL.map(ChecksumAlgorithm::name).to_vec();
        assert_eq!(names, VECTORS.map(|[name, ..]| name));
        for [name, hello, empty] in VECTORS {
            let algorithm = ChecksumAlgorithm::named(name).unwrap();
            for (bytes, text) in [(&b"hello world"[..], hello), (b"", empty)] {
                let sum = Checksum::of(algorithm, bytes);
                assert_eq!(STANDARD.encode(sum.value()), text, "{name}");
                assert_eq!(sum.value().len(), algorithm.width());
            }
        }
    }

    #[test]
    fn pieces_give_the_checksum_of_the_whole() {
        for algorithm in ChecksumAlgorithm::ALL {
            let mut running = RunningChecksum::new(algorithm);
            for piece in [&b"hel"[..], b"", b"lo ", b"world"] {
                running.update(piece);
            }
            assert_eq!(running.finish(), Checksum::of(algorithm, b"hello world"));
        }
    }

    #[test]
    fn a_value_of_another_width_is_no_checksum() {
        for algorithm in ChecksumAlgorithm::ALL {
            for width in [0, algorithm.width() - 1, algorithm.width() + 1] {
                assert!(Checksum::new(algorithm, vec![0; width]).is_err());
            }
            assert!(Checksum::new(algorithm, vec![0; algorithm.width()]).is_ok());
        }
        assert_eq!(ChecksumAlgorithm::named("SHA1"), None);
    }
}
