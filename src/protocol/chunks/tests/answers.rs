//! What an index client reads.

use serde_json::{Value, json};

use super::{
    super::answer::{
        Beside, Checked, ChunkStored, MergeOutcome, Merged, Status, Stored, deleted, merging,
    },
    *,
};
use crate::{
    protocol::{Answer, Links},
    upload::{CompositeDigest, DigestForm, FinalName},
};

const BESIDE: Beside = Beside { tail: 2, expires_at: Some(AT) };

fn shown(answer: &Answer) -> (u16, Value) {
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.headers()["content-type"], "application/json");
    (answer.status().as_u16(), serde_json::from_slice(answer.body()).unwrap())
}

fn digest(number: u64) -> String {
    Sha256Digest::of(&number.to_be_bytes()).to_hex()
}

/// A finished upload whose client gave the raw digest.
fn merged() -> Record {
    let mut record = record(&[0, 1, 2]);
    let composite = record.composite().map(|composite: CompositeDigest| composite.raw);
    let name = FinalName::parse("a-20260801T120000Z-00000000.bin").unwrap();
    let form = Some(DigestForm::Raw);
    let merging = Fact::Merging { name, form, mark: None };
    for fact in [merging, Fact::Finished { length: length(15), composite }] {
        record.apply(&Stamped { at: AT, fact }).unwrap();
    }
    record
}

fn merge_body() -> Value {
    json!({
        "state": "merged",
        "filename": "a-20260801T120000Z-00000000.bin",
        "size": 15,
        "composite_sha256": record(&[0, 1, 2]).composite().unwrap().raw.to_hex(),
        "digest_format": "raw",
        "url": format!("/files/{ID}"),
    })
}

#[test]
fn a_check_of_nothing() {
    let body = r#"{"exists":false,"index":0,"size":null,"sha256":null,"merged":false}"#;
    let answer = Checked::unknown(index(0)).response();
    assert_eq!(answer.body(), body.as_bytes());
    assert_eq!(shown(&answer).0, 200);
    assert_eq!(Checked::unknown(index(0)).probe().status(), 404);
}

#[test]
fn a_check_of_a_chunk() {
    let record = record(&[0]);
    let exists = |number, wanted| Checked::of(&record, index(number), wanted).exists;
    let stored = Sha256Digest::of(&0_u64.to_be_bytes());
    assert!(exists(0, None) && exists(0, Some(stored)));
    assert!(!exists(0, Some(Sha256Digest::of(b"other"))) && !exists(1, None));
    let body = json!({
        "exists": true, "index": 0, "size": 5, "sha256": digest(0), "merged": false,
    });
    let checked = Checked::of(&record, index(0), None);
    assert_eq!(shown(&checked.response()), (200, body));
    let probe = checked.probe();
    assert_eq!((probe.status().as_u16(), probe.body().len()), (200, 0));
    assert!(Checked::of(&merged(), index(2), None).merged);
}

#[test]
fn a_stored_chunk() {
    let some = record(&[0, 2]);
    let stored = ChunkStored::of(&some, index(2)).unwrap();
    let answer = stored.response(Stored::New);
    let body = json!({
        "index": 2, "size": 5, "sha256": digest(2), "received": 2, "total": 3, "mergeable": false,
    });
    assert_eq!(shown(&answer), (201, body.clone()));
    assert_eq!(answer.headers()["etag"], format!("\"{}\"", digest(2)));
    assert_eq!(shown(&stored.response(Stored::Identical)), (200, body));
    assert_eq!(ChunkStored::of(&some, index(1)), None);
    assert!(ChunkStored::of(&record(&[0, 1, 2]), index(1)).unwrap().mergeable);
}

#[test]
fn the_status_of_nothing() {
    let named = Named::decode(&params("hash=0123456789abcdef&filename=a.bin").unwrap()).unwrap();
    let body = json!({
        "upload_id": null, "hash": "0123456789abcdef", "filename": "a.bin", "state": "none",
        "uploaded": [], "missing": [], "total": null, "chunk_size": null, "size": null,
        "received_bytes": 0, "last_upload_at": null, "expires_at": null, "mergeable": false,
        "result": null,
    });
    let status = Status::unknown(Some(&named), IndexFormat::List);
    assert_eq!(shown(&status.response()), (200, body));
    let (_, by_id) = shown(&Status::unknown(None, IndexFormat::Ranges).response());
    assert_eq!((&by_id["hash"], &by_id["uploaded"]), (&Value::Null, &json!("")));
}

#[test]
fn the_status_of_an_upload() {
    let body = json!({
        "upload_id": ID, "hash": "0123456789abcdef", "filename": "a.bin", "state": "receiving",
        "uploaded": [0, 2], "missing": [1], "total": 3, "chunk_size": 5, "size": 15,
        "received_bytes": 12, "last_upload_at": "2026-08-01T12:00:00.123Z",
        "expires_at": "2026-08-01T12:00:00.123Z", "mergeable": false, "result": null,
    });
    let of = |record: &Record, format| Status::of(record, BESIDE, &Links::default(), format);
    let status = of(&record(&[0, 2]), IndexFormat::List);
    assert_eq!(shown(&status.response()), (200, body));
    let (_, ranges) = shown(&of(&record(&[0, 1]), IndexFormat::Ranges).response());
    assert_eq!((&ranges["uploaded"], &ranges["missing"]), (&json!("0-1"), &json!("2")));
    let (_, whole) = shown(&of(&record(&[0, 1, 2]), IndexFormat::List).response());
    assert_eq!((&whole["state"], &whole["mergeable"]), (&json!("mergeable"), &json!(true)));
}

#[test]
fn the_status_of_a_finished_upload_repeats_the_merge() {
    let beside = Beside { tail: 0, expires_at: None };
    let status = Status::of(&merged(), beside, &Links::default(), IndexFormat::List);
    let (_, body) = shown(&status.response());
    assert_eq!((&body["state"], &body["mergeable"]), (&json!("merged"), &json!(false)));
    assert_eq!((&body["result"], &body["expires_at"]), (&merge_body(), &Value::Null));
}

#[test]
fn the_other_ends_of_a_life() {
    let state = |fact| {
        let mut record = record(&[0]);
        record.apply(&Stamped { at: AT, fact }).unwrap();
        let status = Status::of(&record, BESIDE, &Links::default(), IndexFormat::List);
        shown(&status.response()).1["state"].clone()
    };
    assert_eq!(state(Fact::Expired), "none");
    assert_eq!(state(Fact::Corrupt), "failed");
}

#[test]
fn too_many_chunks_are_listed_as_ranges_only() {
    let mut manifest = record(&[]).manifest().clone();
    manifest.layout = Layout::by_size(size(1), Some(length(i64::MAX.unsigned_abs())));
    let record = Record::new(manifest);
    let of = |format| {
        let status = Status::of(&record, BESIDE, &Links::default(), format);
        shown(&status.response()).1
    };
    assert_eq!(of(IndexFormat::List)["missing"], Value::Null);
    assert_eq!(of(IndexFormat::Ranges)["missing"], "0-9223372036854775806");
}

#[test]
fn a_merge_is_told_once_and_again() {
    let record = merged();
    let links = Links::default();
    let merged = Merged::of(&record.manifest().id, record.finished().unwrap(), &links);
    assert_eq!(shown(&merged.response(MergeOutcome::Created)), (201, merge_body()));
    assert_eq!(shown(&merged.response(MergeOutcome::Found)), (200, merge_body()));
    let answer = merging(&record.manifest().id, &links);
    assert_eq!(shown(&answer), (202, json!({ "state": "merging" })));
    assert_eq!(answer.headers()["location"], format!("/upload/status?upload_id={ID}"));
    assert_eq!(answer.headers()["retry-after"], "1");
}

#[test]
fn a_delete_says_nothing() {
    let answer = deleted();
    assert_eq!((answer.status().as_u16(), answer.body().len()), (204, 0));
}
