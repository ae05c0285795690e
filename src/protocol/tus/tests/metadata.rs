//! `Upload-Metadata`, section 17.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

use super::super::Metadata;
use crate::protocol::Problem;

fn read(lines: &[&str]) -> Result<Metadata, Problem> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let value = HeaderValue::from_bytes(line.as_bytes()).unwrap();
        headers.append("Upload-Metadata", value);
    }
    Metadata::decode(&headers)
}

// spec: TUS-10
#[test]
fn good_metadata_is_kept_byte_for_byte() {
    let good = [
        "filename d29ybGQ=,is_confidential",
        "a ,b Yg==",
        "a YQ==,A YQ==",
        "a YQ==, b Yg==",
        "a",
        "b Yg==,a YQ==",
    ];
    for text in good {
        assert_eq!(read(&[text]).unwrap().verbatim, text);
    }
    let large = format!("a {}", STANDARD.encode("x".repeat(6_000)));
    assert_eq!(read(&[&large]).unwrap().verbatim, large);
}

#[test]
fn an_empty_header_is_none() {
    assert_eq!(read(&[]), Ok(Metadata::default()));
    assert_eq!(read(&[""]), Ok(Metadata::default()));
    assert_eq!(read(&[" "]), Ok(Metadata::default()));
}

#[test]
fn two_lines_are_one_list() {
    assert_eq!(read(&["b Yg==", "a YQ=="]).unwrap().verbatim, "b Yg==,a YQ==");
    assert!(read(&["a Yg==", "a YQ=="]).is_err());
}

// spec: TUS-10
#[test]
fn what_breaks_the_grammar_is_refused() {
    let malformed = [
        ",",
        "a YQ==,",
        "a YQ==,,b Yg==",
        "a !!!",
        "a YQ",
        "a -_-_",
        "a aGVsbG9=",
        "a  YQ==",
        "a YQ== c",
        "a YQ==,a Yg==",
        "a,a",
        "é YQ==",
        "a é",
        "a\tYQ==",
    ];
    for text in malformed {
        assert!(matches!(read(&[text]), Err(Problem::MalformedMetadata { .. })), "{text}");
    }
}

#[test]
fn the_file_is_named_by_either_habit() {
    let encode = |text: &str| STANDARD.encode(text);
    let (world, png) = (encode("world"), encode("image/png"));
    let tus = read(&[&format!("filename {world},filetype {png}")]).unwrap();
    let uppy = read(&[&format!("type {png},name {world}")]).unwrap();
    for metadata in [tus, uppy] {
        assert_eq!(metadata.filename.as_deref(), Some("world"));
        assert_eq!(metadata.media_type.as_deref(), Some("image/png"));
    }
    let both = read(&[&format!("name {},filename {world}", encode("other"))]).unwrap();
    assert_eq!(both.filename.as_deref(), Some("world"));
    let empty = read(&[&format!("filename,name {world}")]).unwrap();
    assert_eq!(empty.filename.as_deref(), Some("world"));
    assert_eq!(read(&["filename"]).unwrap().filename, None);
}

#[test]
fn a_value_may_hold_any_bytes() {
    let all: Vec<u8> = (0..=255).collect();
    let text = format!("filename {},note {}", STANDARD.encode("../../x"), STANDARD.encode(&all));
    let metadata = read(&[&text]).unwrap();
    assert_eq!(metadata.verbatim, text);
    assert_eq!(metadata.filename.as_deref(), Some("../../x"));
    let not_utf8 = read(&[&format!("filename {}", STANDARD.encode(b"a\xff"))]).unwrap();
    assert_eq!(not_utf8.filename.as_deref(), Some("a\u{fffd}"));
}

proptest! {
    #[test]
    fn a_name_is_read_as_it_was_written(name in ".+") {
        let named = Metadata::named(Some(&name));
        prop_assert_eq!(read(&[&named.verbatim]), Ok(named));
    }

    #[test]
    fn no_header_upsets_the_reader(text in "[ -~\t]*") {
        let _ = read(&[&text]);
    }
}

#[test]
fn an_upload_without_a_name_has_no_metadata() {
    assert_eq!(Metadata::named(None), Metadata::default());
}
