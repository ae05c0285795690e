//! Conditions and ranges of a GET.

use http::{StatusCode, header};
use piton::{
    protocol::download::{Boundary, Download, Piece},
    upload::{
        ChunkSize, Dialect, FinalName, Finished, Layout, Length, Manifest, Sha256Digest, Timestamp,
        UploadId, is_invisible,
    },
};

use super::head::refusal;
use crate::input;

/// Bytes of a file that is asked for.
const LENGTHS: [u64; 4] = [0, 1, 1000, i64::MAX.unsigned_abs()];

/// The first line is the name that a client gave, the second its media type; headers follow.
pub(crate) fn ranges(data: &[u8]) {
    let Some((filename, rest)) = input::split(data, b"\n") else { return };
    let Some((media_type, lines)) = input::split(rest, b"\n") else { return };
    let Some(headers) = input::headers(lines) else { return };
    for length in LENGTHS {
        let length = Length::new(length).unwrap();
        let manifest = manifest(filename, media_type, length);
        let finished = Finished {
            name: FinalName::parse("hello.txt").unwrap(),
            mark: None,
            length,
            composite: Some(Sha256Digest::of(b"x")),
            form: None,
            at: Timestamp::from_millis(1_700_000_000_000),
        };
        let download = Download { manifest: &manifest, finished: &finished, sha256: None };
        match download.answer(&headers, &Boundary::new([7; 16])) {
            Err(problem) => refusal(&problem, Dialect::Tus),
            Ok(answer) => {
                let disposition = answer.headers().get(header::CONTENT_DISPOSITION);
                if let Some(value) = disposition {
                    attached(value.to_str().unwrap());
                }
                served(&answer, length);
            }
        }
    }
}

/// No more than the file, no byte twice, and as many as are announced.
fn served(answer: &http::Response<Vec<Piece>>, length: Length) {
    let announced = answer.headers().get(header::CONTENT_LENGTH);
    let announced = announced.map(|text| text.to_str().unwrap().parse::<u64>().unwrap());
    let bytes: u64 = answer.body().iter().map(Piece::len).sum();
    assert_eq!(bytes, announced.unwrap_or_default());
    let mut spans: Vec<_> = answer.body().iter().filter_map(file).collect();
    assert!(spans.len() <= 16, "{} ranges", spans.len());
    spans.sort_by_key(|span| span.start);
    for pair in spans.windows(2) {
        assert!(pair[0].end <= pair[1].start, "a byte twice");
    }
    assert!(spans.last().is_none_or(|last| last.end <= length.get()), "beyond the end");
    let partial = answer.status() == StatusCode::PARTIAL_CONTENT;
    assert!(!partial || spans.iter().all(|span| span.start < span.end), "an empty range");
}

fn file(piece: &Piece) -> Option<std::ops::Range<u64>> {
    match piece {
        Piece::File(span) => Some(span.clone()),
        Piece::Text(text) => {
            assert!(text.len() < 512, "{text}");
            None
        }
    }
}

/// One quoted name and one encoded one, whatever is in it: nothing ends the quotes early.
fn attached(value: &str) {
    let (kind, rest) = value.split_once("; filename=\"").unwrap();
    assert!(matches!(kind, "inline" | "attachment"));
    let (plain, encoded) = rest.split_once("\"; filename*=UTF-8''").unwrap();
    assert!(!plain.contains(['"', '\\', '/', '\r', '\n']), "{value}");
    let plain_byte = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&+-.^_`|~".contains(&b);
    assert!(encoded.bytes().all(plain_byte), "{value}");
    assert!(!plain.chars().any(is_invisible) && value.len() < 1200, "{value}");
}

fn manifest(filename: &[u8], media_type: &[u8], length: Length) -> Manifest {
    Manifest {
        id: UploadId::from_random([7; 16]),
        layout: Layout::by_size(ChunkSize::new(2 << 30).unwrap(), Some(length)),
        metadata: String::new(),
        filename: Some(String::from_utf8_lossy(filename).into_owned()),
        media_type: Some(String::from_utf8_lossy(media_type).into_owned()),
        dialect: Dialect::Tus,
        key: None,
        concatenation: None,
        owner: String::new(),
        created_at: Timestamp::from_millis(1_700_000_000_000),
        epoch: 0,
    }
}
