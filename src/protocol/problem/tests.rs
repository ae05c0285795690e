//! The matrix is complete, and each row is what a client reads.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::{Value, json};

use super::*;

fn variant(problem: &Problem) -> String {
    format!("{problem:?}").chars().take_while(char::is_ascii_alphanumeric).collect()
}

fn body(problem: &Problem) -> Value {
    serde_json::from_slice(problem.response(Dialect::Tus).body()).unwrap()
}

#[test]
fn every_variant_has_an_example() {
    let source = include_str!("mod.rs");
    let (_, from) = source.split_once("pub enum Problem {\n").unwrap();
    let (body, _) = from.split_once("\n}\n").unwrap();
    let declared: BTreeSet<String> = body
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|line| line.chars().take_while(char::is_ascii_alphanumeric).collect())
        .collect();
    let shown: BTreeSet<String> = all_examples().iter().map(variant).collect();
    assert_eq!(declared, shown);
    assert!(declared.len() > 30);
}

#[test]
fn types_are_distinct_slugs() {
    let examples = all_examples();
    let slugs: BTreeSet<String> = examples.iter().map(Problem::slug).collect();
    assert_eq!(slugs.len(), examples.len());
    for slug in slugs {
        assert!(slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
    }
    let kind = Problem::InvalidParameter { name: Parameter::ChunkSize, why: "" }.kind();
    assert_eq!(kind, "urn:piton:problem:invalid-chunk-size");
}

// spec: CORE-1
#[test]
fn every_refusal_is_a_problem_document() {
    for problem in all_examples() {
        for dialect in [Dialect::Tus, Dialect::Chunks] {
            let response = problem.response(dialect);
            let header = |name: &str| response.headers().get_all(name).iter().collect::<Vec<_>>();
            assert_eq!(header("content-type"), ["application/problem+json"]);
            assert_eq!(header("cache-control"), ["no-store"]);
            assert_eq!(header("tus-resumable").len(), usize::from(dialect == Dialect::Tus));
            let document: Value = serde_json::from_slice(response.body()).unwrap();
            assert_eq!(document["status"], response.status().as_u16());
            assert_eq!(document["type"], problem.kind());
            assert_eq!(document["title"], problem.title());
            assert!(response.status().is_client_error() || response.status().is_server_error());
        }
    }
}

#[test]
fn details_are_short_sentences_without_anything_of_ours() {
    for problem in all_examples() {
        let detail = problem.detail();
        assert!(detail.ends_with('.') && detail.len() > 10 && detail.len() < 140, "{detail}");
        assert!(detail.is_ascii() && !detail.contains('/') | detail.contains("application/"));
    }
}

#[test]
fn each_group_of_refusals_has_the_status_of_the_conformance_table() {
    let with = |status: StatusCode| -> Vec<String> {
        let examples = all_examples().into_iter().filter(|problem| problem.status() == status);
        examples.map(|problem| problem.slug()).collect()
    };
    assert_eq!(with(StatusCode::NOT_FOUND), ["not-found", "unknown-upload"]);
    assert_eq!(with(StatusCode::GONE), ["gone", "offer-gone"]);
    assert_eq!(
        with(StatusCode::CONFLICT),
        [
            "offset-mismatch",
            "ambiguous-upload",
            "upload-metadata-mismatch",
            "chunks-missing",
            "chunk-conflict",
            "merging"
        ]
    );
    assert_eq!(
        with(StatusCode::PAYLOAD_TOO_LARGE),
        ["max-size-exceeded", "length-exceeded", "body-too-large", "chunk-too-long"]
    );
    assert_eq!(with(StatusCode::UNPROCESSABLE_ENTITY), ["composite-mismatch"]);
    assert_eq!(with(StatusCode::LOCKED), ["busy", "taken-over"]);
    assert_eq!(with(StatusCode::INSUFFICIENT_STORAGE), ["disk-full"]);
    assert_eq!(with(StatusCode::INTERNAL_SERVER_ERROR), ["storage"]);
}

#[test]
fn members_are_named_as_in_the_conformance_table() {
    for problem in all_examples() {
        let document = body(&problem);
        match problem {
            Problem::OffsetMismatch { .. } => assert_eq!(document["upload_offset"], 5),
            Problem::ChunksMissing { .. } => {
                assert_eq!(document["missing"], json!([1]));
                assert_eq!(document["total"], 2);
            }
            Problem::CompositeMismatch { expected, actual, .. } => {
                assert_eq!(document["expected"], expected.unwrap().to_hex());
                assert_eq!(document["actual"], actual.unwrap().to_hex());
                assert_eq!(document["bad_chunks"], json!([1]));
            }
            Problem::DigestMismatch { expected, actual, .. } => {
                assert_eq!(document["algorithm"], "sha256");
                assert_eq!(document["expected"], expected);
                assert_eq!(document["actual"], actual);
                assert_eq!(document["index"], 1);
            }
            _ => {}
        }
    }
}

#[test]
fn a_list_of_missing_chunks_has_a_bound() {
    let total = ChunkCount::new(i64::MAX.unsigned_abs()).unwrap();
    let missing = IndexRuns::missing(&crate::upload::ChunkTable::default(), total);
    let document = body(&Problem::ChunksMissing { missing, total: Some(total) });
    assert_eq!(document["missing"].as_array().unwrap().len(), 10_000);
}

// spec: CORE-3, TUS-16
#[test]
fn headers_carry_what_a_client_acts_on() {
    let header = |problem: &Problem, dialect, name: &str| {
        let value = problem.response(dialect).headers().get(name).cloned();
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    let tus = |problem: Problem, name| header(&problem, Dialect::Tus, name);
    let some = |text: &str| Some(text.to_owned());
    let not_allowed = Problem::MethodNotAllowed { allow: "POST, OPTIONS".to_owned() };
    assert_eq!(tus(not_allowed, "allow"), some("POST, OPTIONS"));
    assert_eq!(tus(Problem::UnsupportedVersion, "tus-version"), some("1.0.0"));
    let mismatch = Problem::OffsetMismatch { current: Offset::new(5).unwrap() };
    assert_eq!(tus(mismatch, "upload-offset"), some("5"));
    let too_large = Problem::MaxSizeExceeded { max: Length::new(100).unwrap() };
    assert_eq!(header(&too_large, Dialect::Tus, "tus-max-size"), some("100"));
    assert_eq!(header(&too_large, Dialect::Chunks, "tus-max-size"), None);
    for retry in [Problem::Merging, Problem::Busy, Problem::TakenOver, Problem::ShuttingDown] {
        assert_eq!(tus(retry, "retry-after"), some("1"));
    }
}

#[test]
fn the_matrix_has_a_row_for_each_example() {
    let matrix = matrix();
    assert_eq!(
        matrix.lines().filter(|line| line.starts_with("| ")).count(),
        all_examples().len() + 1
    );
    assert!(matrix.contains(
        "| Offset mismatch | 409 | offset-mismatch | upload-offset | upload-offset \
         | upload_offset |"
    ));
    assert!(matrix.contains("| Invalid parameter | 400 | invalid-index |  |  | parameter |"));
}
