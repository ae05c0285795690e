//! Which bytes of a file are asked for (RFC 9110 §14).

use std::{num::NonZeroUsize, ops::Range};

use http_range_header::{RangeUnsatisfiableError, parse_range_header_with_max_ranges};

use crate::upload::Length;

/// Ranges that are served at most; who asks for more gets the whole file. Many, or overlapping, are
/// no use to a client and a load for a server (§14.2, §17.15).
const RANGES_MAX: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not 0");

/// A piece of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// What stands between ranges.
    Text(String),
    /// These bytes of the file.
    File(Range<u64>),
}

impl Piece {
    /// Its bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Text(text) => u64::try_from(text.len()).unwrap_or(u64::MAX),
            Self::File(span) => span.end.saturating_sub(span.start),
        }
    }

    /// Has it none?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What stands between the parts of a `multipart/byteranges` (RFC 2046 §5.1.1). A file that holds
/// it could fake a part, so it is drawn by lot for each answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary(String);

impl Boundary {
    /// Out of random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(random)))
    }

    pub(super) fn media_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.0)
    }
}

/// What a `Range` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selection {
    /// All of it, also where the header is malformed, in another unit, or asks too much.
    Whole,
    /// Some bytes, at least one.
    One(Range<u64>),
    /// Several spans that do not overlap, in the order in which they were asked for.
    Several(Vec<Range<u64>>),
    /// Nothing that the file has; of an empty file it is any range (row TUS-GET-03).
    Unsatisfiable,
}

impl Selection {
    pub(super) fn of(range: &str, length: Length) -> Self {
        let Ok(asked) = parse_range_header_with_max_ranges(range, RANGES_MAX) else {
            return Self::Whole;
        };
        if length == Length::ZERO {
            return Self::Unsatisfiable;
        }
        let spans: Vec<Range<u64>> = match asked.validate(length.get()) {
            Ok(spans) => {
                spans.into_iter().map(|span| *span.start()..span.end().saturating_add(1)).collect()
            }
            Err(RangeUnsatisfiableError::Unsatisfiable) => return Self::Unsatisfiable,
            Err(_) => return Self::Whole,
        };
        match spans.as_slice() {
            [] => Self::Unsatisfiable,
            [one] => Self::One(one.clone()),
            several if overlap(several) => Self::Whole,
            _ => Self::Several(spans),
        }
    }
}

fn overlap(spans: &[Range<u64>]) -> bool {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable_by_key(|span| span.start);
    let follows = sorted.iter().skip(1);
    sorted.iter().zip(follows).any(|(span, next)| next.start < span.end)
}

/// `bytes 0-4/11`; of no empty span.
pub(super) fn content_range(span: &Range<u64>, length: Length) -> String {
    format!("bytes {}-{}/{length}", span.start, span.end.saturating_sub(1))
}

/// The body of several ranges (RFC 9110 §14.6).
pub(super) fn multipart(
    spans: &[Range<u64>],
    length: Length,
    media_type: &str,
    Boundary(boundary): &Boundary,
) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut line_end = "";
    for span in spans {
        let range = content_range(span, length);
        pieces.push(Piece::Text(format!(
            "{line_end}--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {range}\r\n\r\n"
        )));
        pieces.push(Piece::File(span.clone()));
        line_end = "\r\n";
    }
    pieces.push(Piece::Text(format!("\r\n--{boundary}--\r\n")));
    pieces
}
