//! Routes, parameters, check, chunk, status and delete.

use http::Method;

use super::*;
use crate::protocol::BodyLength;

const BASE: &str = "hash=0123456789abcdef&index=0&total=2&size=12&chunk_size=6&filename=a.bin";

/// The base query with one parameter given another value.
fn with(name: &str, value: &str) -> String {
    let pairs = BASE.split('&').map(|pair| match pair.split_once('=') {
        Some((key, _)) if key == name => format!("{name}={value}"),
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

fn without(name: &str) -> String {
    let pairs = BASE.split('&').filter(|pair| !pair.starts_with(&format!("{name}=")));
    pairs.collect::<Vec<_>>().join("&")
}

#[test]
fn paths_and_methods() {
    let (deleting, instantly) = (Deleting::Allowed, Instantly::Never);
    let on = |method: Method, path| route(&method, path, Served { deleting, instantly });
    assert_eq!(on(Method::GET, "/upload/check"), Some(Ok(Route::Check)));
    assert_eq!(on(Method::HEAD, "/upload/check"), Some(Ok(Route::Probe)));
    assert_eq!(on(Method::POST, "/upload"), Some(Ok(Route::Upload)));
    assert_eq!(on(Method::PUT, "/upload/"), Some(Ok(Route::Upload)));
    assert_eq!(on(Method::DELETE, "/upload"), Some(Ok(Route::Delete)));
    assert_eq!(on(Method::GET, "/upload/status"), Some(Ok(Route::Status)));
    assert_eq!(on(Method::POST, "/merge"), Some(Ok(Route::Merge)));
    for path in ["/", "/upload/x", "/merge/x", "/uploads", "/files/", "/upload//", "//upload"] {
        assert_eq!(on(Method::POST, path), None, "{path}");
    }
    let refused = [
        (Method::POST, "/upload/check", "GET, HEAD"),
        (Method::GET, "/upload", "POST, PUT, DELETE"),
        (Method::DELETE, "/upload/status", "GET, HEAD"),
        (Method::GET, "/merge", "POST"),
    ];
    for (method, path, allow) in refused {
        let allow = allow.to_owned();
        assert_eq!(on(method, path), Some(Err(Problem::MethodNotAllowed { allow })));
    }
}

// rows: TUS-CORE-07
// spec: TUS-78
#[test]
fn where_nobody_deletes_there_is_no_such_method() {
    let (deleting, instantly) = (Deleting::Refused, Instantly::Never);
    let on = |method: Method| route(&method, "/upload", Served { deleting, instantly });
    assert_eq!(on(Method::PUT), Some(Ok(Route::Upload)));
    let allow = "POST, PUT".to_owned();
    assert_eq!(on(Method::DELETE), Some(Err(Problem::MethodNotAllowed { allow })));
}

#[test]
fn a_body_is_raw_or_a_form() {
    let of = |media_type: &str, body| BodyKind::of(&headers(&[("Content-Type", media_type)]), body);
    let raw = "application/octet-stream";
    assert_eq!(of(raw, BodyLength::Exactly(6)), Ok(BodyKind::Raw { length: 6 }));
    assert_eq!(of(raw, BodyLength::Empty), Ok(BodyKind::Raw { length: 0 }));
    assert_eq!(of(raw, BodyLength::Unknown), Err(Problem::LengthRequired));
    let form = "multipart/form-data; boundary=x";
    assert_eq!(of(form, BodyLength::Unknown), Ok(BodyKind::Multipart));
    let untyped = BodyKind::of(&HeaderMap::new(), BodyLength::Exactly(6));
    for refused in [of("text/plain", BodyLength::Exactly(6)), untyped] {
        assert!(matches!(refused, Err(Problem::UnsupportedMediaType { .. })));
    }
    let coded = headers(&[("Content-Type", raw), ("Content-Encoding", "gzip")]);
    assert_eq!(BodyKind::of(&coded, BodyLength::Exactly(6)), Err(Problem::UnsupportedEncoding));
}

#[test]
fn a_whole_chunk_request_is_read() {
    let chunk = chunk(BASE, &[]).unwrap();
    assert_eq!(chunk.name.hash.as_str(), "0123456789abcdef");
    assert_eq!(chunk.name.filename.as_deref(), Some("a.bin"));
    assert_eq!(chunk.name.as_id(), None);
    assert_eq!((chunk.index, chunk.size), (index(0), Some(length(12))));
    let layout = chunk.layout().unwrap();
    assert_eq!(layout.chunk_len(index(1)), Ok(6));
    assert_eq!(chunk.fits(&layout), Ok(()));
}

#[test]
fn each_parameter_is_refused_by_its_name() {
    let hashes = ["0123abc", &"a".repeat(65), "0123456g", "", "..%2F..", "*"];
    for value in hashes {
        is_invalid(chunk(&with("hash", value), &[]), Parameter::Hash, value);
    }
    let numbers = [
        (Parameter::Index, ["-1", "%2B1", "01", "1.0", "abc", "", "2"]),
        (Parameter::Total, ["-1", "%2B1", "02", "2.0", "0", "", "10001"]),
        (Parameter::Size, ["-1", "%2B1", "012", "12.0", "0x0", "", " "]),
        (Parameter::ChunkSize, ["-1", "%2B1", "06", "6.0", "0", "", "2147483649"]),
    ];
    for (name, values) in numbers {
        for value in values.into_iter().chain(["9223372036854775808", "18446744073709551616"]) {
            is_invalid(chunk(&with(name.as_str(), value), &[]), name, value);
        }
    }
    let long = "é".repeat(128);
    is_invalid(chunk(&with("filename", &long), &[]), Parameter::Filename, &long);
    assert!(chunk(&with("filename", &"a".repeat(255)), &[]).is_ok());
    is_invalid(chunk(&format!("{BASE}&sha256=0"), &[]), Parameter::Sha256, "0");
}

#[test]
fn missing_and_repeated_parameters_are_refused_by_their_names() {
    is_invalid(chunk(&without("hash"), &[]), Parameter::Hash, "missing");
    is_invalid(chunk(&without("index"), &[]), Parameter::Index, "missing");
    for name in [Parameter::Total, Parameter::Size, Parameter::ChunkSize] {
        let chunk = chunk(&without(name.as_str()), &[]).unwrap();
        is_invalid(chunk.layout(), name, "missing");
    }
    let unnamed = chunk(&without("filename"), &[]).unwrap();
    assert_eq!(unnamed.name.filename, None);
    assert_eq!(chunk(&with("filename", ""), &[]).unwrap().name.filename, None);
    for name in [Parameter::Hash, Parameter::Index, Parameter::Total, Parameter::Filename] {
        let pair = BASE.split('&').find(|pair| pair.starts_with(name.as_str())).unwrap();
        is_invalid(params(&format!("{BASE}&{pair}")), name, "twice");
    }
}

// spec: CHUNK-4
#[test]
fn unknown_parameters_are_ignored_and_long_queries_are_not_read() {
    assert!(chunk(&format!("{BASE}&x=1&x=2&=&&y"), &[]).is_ok());
    let long = format!("{BASE}&x={}", "y".repeat(16_000));
    assert_eq!(params(&long), Err(Problem::UriTooLong));
    assert_eq!(Params::from_query(None), Ok(Params::default()));
}

#[test]
fn query_and_form_may_agree_but_not_differ() {
    let form =
        |value: &'static str| params(BASE).unwrap().with_form([("index", value), ("x", "y")]);
    assert_eq!(form("0"), params(BASE));
    is_invalid(form("1"), Parameter::Index, "differs");
    let fields = BASE.split('&').filter_map(|pair| pair.split_once('='));
    assert_eq!(Params::default().with_form(fields), params(BASE));
    is_invalid(
        Params::default().with_form([("hash", "a"), ("hash", "a")]),
        Parameter::Hash,
        "twice",
    );
}

#[test]
fn names_are_data() {
    let names = [
        ("..%2F..%2Fx", "../../x"),
        ("%2Fetc%2Fx", "/etc/x"),
        ("a%00b", "a\0b"),
        ("%E6%B5%8B+x", "测 x"),
    ];
    for (sent, name) in names {
        let chunk = chunk(&with("filename", sent), &[]).unwrap();
        assert_eq!(chunk.name.filename.as_deref(), Some(name));
    }
    let upper = chunk(&with("hash", "0123456789ABCDEF"), &[]).unwrap();
    assert_eq!(upper.name.key("me"), chunk(BASE, &[]).unwrap().name.key("me"));
    assert_eq!(chunk(&with("hash", ID), &[]).unwrap().name.as_id().unwrap().as_str(), ID);
}

#[test]
fn both_totals_make_a_layout_and_others_do_not() {
    let layout = |total: u64, size: u64, chunk_size: u64| {
        let query = format!(
            "hash=0123456789abcdef&index=0&total={total}&size={size}&chunk_size={chunk_size}"
        );
        chunk(&query, &[]).and_then(|chunk| chunk.layout())
    };
    for (total, size, chunk_size) in
        [(3, 12, 5), (2, 12, 5), (1, 3, 5), (1, 0, 5), (1, 9, 5), (10_000, 10_000, 1)]
    {
        assert!(layout(total, size, chunk_size).is_ok(), "{total} {size} {chunk_size}");
    }
    for (total, size, chunk_size) in [(1, 12, 5), (4, 12, 5), (0, 12, 5), (2, 0, 5)] {
        is_invalid(layout(total, size, chunk_size), Parameter::Total, "illegal");
    }
}

#[test]
fn a_chunk_must_agree_with_its_upload() {
    let layout = chunk(BASE, &[]).unwrap().layout().unwrap();
    let fits = |query: &str| chunk(query, &[]).unwrap().fits(&layout);
    assert_eq!(fits("hash=0123456789abcdef&index=1"), Ok(()));
    let differs = [
        (with("total", "3"), Parameter::Total, 2, 3),
        (with("size", "11"), Parameter::Size, 12, 11),
        (with("chunk_size", "7"), Parameter::ChunkSize, 6, 7),
    ];
    for (query, field, stored, given) in differs {
        let stored = Some(stored);
        assert_eq!(fits(&query), Err(Problem::UploadMetadataMismatch { field, stored, given }));
    }
    is_invalid(fits("hash=0123456789abcdef&index=2"), Parameter::Index, "past the end");
}

#[test]
fn a_check_names_a_chunk() {
    let check = |query: &str| Check::decode(&params(query)?);
    let sha256 = Sha256Digest::of(b"hello ");
    let found = check(&format!("hash=0123456789ABCDEF&index=1&sha256={sha256}")).unwrap();
    assert_eq!((found.index, found.sha256), (index(1), Some(sha256)));
    assert_eq!(found.fits(record(&[]).layout()), Ok(()));
    is_invalid(check("index=0"), Parameter::Hash, "missing");
    is_invalid(check("hash=..%2F..&index=0"), Parameter::Hash, "path");
    is_invalid(check("hash=0123456789abcdef"), Parameter::Index, "missing");
    is_invalid(check("hash=0123456789abcdef&index=0&sha256=xyz"), Parameter::Sha256, "bad");
    let past = check("hash=0123456789abcdef&index=3").unwrap();
    is_invalid(past.fits(record(&[]).layout()), Parameter::Index, "past the end");
}

#[test]
fn a_status_is_asked_by_name_or_by_id() {
    let status = |query: &str| StatusQuery::decode(&params(query)?);
    let by_name = status("hash=0123456789abcdef&filename=a").unwrap();
    assert!(matches!(by_name.subject, Subject::Named(Named { filename: Some(_), .. })));
    assert_eq!(by_name.format, IndexFormat::List);
    let by_id = status(&format!("upload_id={ID}&format=ranges")).unwrap();
    assert_eq!(by_id.subject, Subject::Id(UploadId::parse(ID).unwrap()));
    assert_eq!(by_id.format, IndexFormat::Ranges);
    is_invalid(status(""), Parameter::Hash, "missing");
    is_invalid(status("hash=0123"), Parameter::Hash, "short");
    is_invalid(status("upload_id=.."), Parameter::UploadId, "path");
    is_invalid(status("hash=0123456789abcdef&format=xml"), Parameter::Format, "unknown");
}

#[test]
fn a_delete_names_an_upload() {
    let delete = |query: &str| Named::decode(&params(query)?);
    assert!(delete("hash=0123456789abcdef").is_ok());
    for query in ["", "hash=", "hash=..", "hash=*", "hash=0123456789abcdef&hash=0123456789abcdef"] {
        is_invalid(delete(query), Parameter::Hash, query);
    }
}
