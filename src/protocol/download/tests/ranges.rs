//! Which bytes a `Range` gives.

use proptest::prelude::*;

use super::{Piece, ask};
use crate::protocol::Problem;

/// Status and spans of the answer to a range of a file of that length.
fn spans(length: u64, range: &str) -> (u16, Vec<(u64, u64)>) {
    match ask(length, &[("Range", range)]) {
        Err(Problem::RangeNotSatisfiable { length: told }) => {
            assert_eq!(told.get(), length);
            (416, Vec::new())
        }
        Err(other) => panic!("{range}: {other:?}"),
        Ok(answer) => {
            let pieces = answer.body().iter().filter_map(|piece| match piece {
                Piece::File(span) => Some((span.start, span.end)),
                Piece::Text(_) => None,
            });
            let sum: u64 = answer.body().iter().map(Piece::len).sum();
            assert_eq!(answer.headers()["content-length"], sum.to_string(), "{range}");
            (answer.status().as_u16(), pieces.collect())
        }
    }
}

// rows: TUS-GET-03
// spec: TUS-70
#[test]
fn one_range_gives_its_bytes() {
    for (range, start, end) in [
        ("bytes=0-4", 0, 5),
        ("bytes=5-", 5, 11),
        ("bytes=-3", 8, 11),
        ("bytes=0-0", 0, 1),
        ("bytes=10-10", 10, 11),
        ("bytes=0-10", 0, 11),
        ("bytes=0-99", 0, 11),
        ("bytes=-99", 0, 11),
        ("bytes=0-", 0, 11),
        ("BYTES=0-4", 0, 5),
        ("bytes= 0-4", 0, 5),
        ("bytes=,0-4,", 0, 5),
        ("bytes=007-0008", 7, 9),
        // Whatever the file does not have is left out.
        ("bytes=99-,0-4,-0", 0, 5),
        ("bytes=5-18446744073709551615", 5, 11),
        ("bytes=5-99999999999999999999999", 5, 11),
    ] {
        assert_eq!(spans(11, range), (206, vec![(start, end)]), "{range}");
        let answer = ask(11, &[("Range", range)]).unwrap();
        let told = format!("bytes {start}-{}/11", end - 1);
        assert_eq!(answer.headers()["content-range"], told, "{range}");
    }
}

// rows: TUS-GET-03
// spec: TUS-72
#[test]
fn a_range_behind_the_end_is_told_where_the_end_is() {
    for range in ["bytes=11-", "bytes=99-", "bytes=11-20", "bytes=-0", "bytes=11-,99-100"] {
        assert_eq!(spans(11, range), (416, Vec::new()), "{range}");
    }
    for range in ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0", "bytes=0-,1-"] {
        assert_eq!(spans(0, range), (416, Vec::new()), "{range}");
    }
    let length = crate::upload::Length::new(11).unwrap();
    let refused = Problem::RangeNotSatisfiable { length };
    let answer = refused.response(crate::upload::Dialect::Tus);
    assert_eq!(answer.headers()["content-range"], "bytes */11");
}

// rows: TUS-GET-04
// spec: TUS-71
#[test]
fn what_is_no_range_of_bytes_is_passed_over() {
    for range in [
        "",
        "bytes",
        "bytes=",
        "bytes=,",
        "bytes=-",
        "bytes=a-b",
        "bytes=4-0",
        "bytes=+0-4",
        "bytes=0-+4",
        "bytes=0--4",
        "bytes=0 - 4",
        "bytes=0x0-4",
        "bytes=1.5-3",
        "bytes=0-4;5-6",
        "bytes=0-4,x",
        "bytes 0-4",
        "items=0-4",
        "lines=1-2",
        "0-4",
        "bytes=\u{e9}",
    ] {
        assert_eq!(spans(11, range), (200, vec![(0, 11)]), "{range}");
        assert!(!ask(11, &[("Range", range)]).unwrap().headers().contains_key("content-range"));
    }
    let twice = ask(11, &[("Range", "bytes=0-4"), ("Range", "bytes=5-6")]).unwrap();
    assert_eq!(twice.status(), 200);
    assert_eq!(spans(0, "nonsense").0, 200);
}

// rows: TUS-GET-04
// spec: TUS-71
#[test]
fn many_ranges_or_ones_that_overlap_give_the_whole() {
    let list = |count: u64| {
        let ranges: Vec<String> =
            (0..count).map(|n| format!("{}-{}", n * 10, n * 10 + 1)).collect();
        format!("bytes={}", ranges.join(","))
    };
    assert_eq!(spans(1000, &list(16)).1.len(), 16);
    for range in [
        &list(17),
        &list(1000),
        "bytes=0-5,5-9",
        "bytes=5-9,0-5",
        "bytes=0-,0-",
        "bytes=0-0,0-0,0-0",
        "bytes=0-9,-995",
        "bytes=0-9,2-3,20-30",
    ] {
        assert_eq!(spans(1000, range), (200, vec![(0, 1000)]), "{range}");
    }
    assert_eq!(spans(1000, "bytes=0-4,5-9"), (206, vec![(0, 5), (5, 10)]));
}

// rows: TUS-GET-04
// spec: TUS-71
#[test]
fn several_ranges_come_in_parts_in_the_order_they_were_asked_for() {
    let answer = ask(11, &[("Range", "bytes=-2, 0-4,99-")]).unwrap();
    assert_eq!(answer.status(), 206);
    let boundary = "ab".repeat(16);
    let headers = answer.headers();
    assert_eq!(headers["content-type"], format!("multipart/byteranges; boundary={boundary}"));
    assert!(!headers.contains_key("content-range"));
    let text = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::File(span) => {
            let [start, end] = [span.start, span.end].map(|at| usize::try_from(at).unwrap());
            "hello world"[start..end].to_owned()
        }
    };
    let body: String = answer.body().iter().map(text).collect();
    let kind = "Content-Type: application/octet-stream";
    assert_eq!(
        body,
        format!(
            "--{boundary}\r\n{kind}\r\nContent-Range: bytes 9-10/11\r\n\r\nld\r\n\
             --{boundary}\r\n{kind}\r\nContent-Range: bytes 0-4/11\r\n\r\nhello\r\n\
             --{boundary}--\r\n"
        )
    );
    assert_eq!(headers["content-length"], body.len().to_string());
}

// rows: TUS-GET-03
// spec: TUS-70
#[test]
fn a_file_of_any_length_has_its_last_byte() {
    for length in [1 << 53, (1 << 53) + 1, i64::MAX.unsigned_abs()] {
        let last = (206, vec![(length - 1, length)]);
        assert_eq!(spans(length, "bytes=-1"), last);
        assert_eq!(spans(length, &format!("bytes={}-", length - 1)), last);
        assert_eq!(spans(length, &format!("bytes={}-{}", length - 1, u64::MAX)), last);
        assert_eq!(spans(length, &format!("bytes={length}-")), (416, Vec::new()));
        let both = vec![(0, 1), (length - 1, length)];
        assert_eq!(spans(length, "bytes=0-0,-1"), (206, both));
    }
}

proptest! {
    // spec: TUS-70, TUS-71, TUS-72
    #[test]
    fn no_range_leads_out_of_the_file(
        length in prop_oneof![0..40_u64, Just(i64::MAX.unsigned_abs())],
        range in "(bytes=)?[0-9, -]{0,30}",
    ) {
        let (status, spans) = spans(length, &range);
        for (start, end) in &spans {
            prop_assert!(*end <= length && (start < end || length == 0));
        }
        match status {
            200 => prop_assert_eq!(spans, vec![(0, length)]),
            206 => prop_assert!(!spans.is_empty() && spans.len() <= 16),
            _ => prop_assert!(spans.is_empty()),
        }
    }
}
