//! The rows of the conformance table, sections 21 to 25, that a head or a small body alone decides.

mod answers;
mod commands;
mod digests;
mod merge;
mod runs;

use http::HeaderMap;

use super::*;
use crate::{
    protocol::{Parameter, Problem},
    upload::{
        ChunkIndex, ChunkKey, ChunkSize, Dialect, Fact, Layout, Length, Manifest, PartId, Record,
        Sha256Digest, Stamped, Timestamp, UploadHash, UploadId,
    },
};

const ID: &str = "0123456789abcdef0123456789abcdef";
/// 2026-08-01T12:00:00.123Z.
const AT: Timestamp = Timestamp::from_millis(1_785_585_600_123);

fn params(query: &str) -> Result<Params, Problem> {
    Params::from_query(Some(query))
}

fn headers(given: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

fn chunk(query: &str, with: &[(&'static str, &str)]) -> Result<ChunkUpload, Problem> {
    ChunkUpload::decode(&params(query)?, &headers(with))
}

fn index(number: u64) -> ChunkIndex {
    ChunkIndex::new(number).unwrap()
}

fn length(bytes: u64) -> Length {
    Length::new(bytes).unwrap()
}

fn size(bytes: u64) -> ChunkSize {
    ChunkSize::new(bytes).unwrap()
}

#[track_caller]
fn is_invalid<T: std::fmt::Debug>(result: Result<T, Problem>, name: Parameter, of: &str) {
    match result {
        Err(Problem::InvalidParameter { name: named, .. }) if named == name => {}
        other => panic!("{of}: {other:?}"),
    }
}

/// 15 bytes in three chunks, of which these are stored.
fn record(stored: &[u64]) -> Record {
    let mut record = Record::new(Manifest {
        id: UploadId::parse(ID).unwrap(),
        layout: Layout::by_size(size(5), Some(length(15))),
        metadata: String::new(),
        filename: Some("a.bin".to_owned()),
        media_type: None,
        dialect: Dialect::Chunks,
        key: Some(ChunkKey {
            owner: String::new(),
            hash: UploadHash::parse("0123456789abcdef").unwrap(),
            filename: Some("a.bin".to_owned()),
        }),
        concatenation: None,
        owner: String::new(),
        created_at: AT,
        epoch: 0,
    });
    for number in stored {
        let chunk = index(*number);
        let digest = Some(Sha256Digest::of(&number.to_be_bytes()));
        let (part, flushed) = (PartId::new(chunk), false);
        let fact = Fact::Sealed { chunk, length: 5, digest, part, flushed };
        record.apply(&Stamped { at: AT, fact }).unwrap();
    }
    record
}
