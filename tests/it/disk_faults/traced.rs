//! System calls that fail, each of each kind, in each story: strace makes them.
//!
//! A run fails every call of a kind for as long as a request takes. With `PITON_LONG` the first
//! call alone, then the second, and so on.

use super::{MIB, content, finish, leaves_nothing, nothing_panicked};
use crate::{
    chunks::Parts,
    client::{Answer, Request},
    rounds::Rounds,
    server::Server,
    strace::Strace,
    tus::{Upload, create, create_with, patch},
    tus_concat::{final_of, join, partial},
};

/// Calls and what becomes of them. A call with a question mark is not known to every machine.
const FAULTS: [&str; 18] = [
    "pwrite64:error=EIO",
    "pwrite64:error=EDQUOT",
    "pwrite64:error=ENOSPC",
    "pwrite64:error=EROFS",
    "pwrite64:retval=0",
    "fdatasync:error=EIO",
    "fsync:error=EIO",
    "?rename,?renameat,renameat2:error=EIO",
    "?link,linkat:error=EIO",
    "?mkdir,mkdirat:error=ENOSPC",
    "fallocate:error=EDQUOT",
    "flock:error=ENOLCK",
    // These leave traces.
    "?unlink,unlinkat:error=EIO",
    "openat:error=EMFILE",
    "openat:error=EIO",
    "ftruncate:error=EIO",
    "pread64:error=EIO",
    "statx,?newfstatat:error=EIO",
];

/// Removing fails: what should have gone waits for a sweep.
fn leaves_traces(test: &str, fault: &str) -> bool {
    // Nothing is removed whose ledger cannot be read or cut.
    let calls = ["unlink", "openat", "statx", "getdents64", "pread64", "ftruncate"];
    // Each thread counts its calls, so a join and the removal of what it leaves may both fail.
    let own = test == "traced join" && fault.contains("flock");
    own || calls.iter().any(|call| fault.contains(call))
}

/// Which calls of a kind fail in a round.
fn moment(round: usize) -> String {
    match round {
        0 => ":when=1+".to_owned(),
        nth => format!(":when={}", (nth - 1) % 12 + 1),
    }
}

/// Each fault: `prepare` begins something, `act` asks for what fails, `end` looks at what is left,
/// and brings it to its end.
fn whatever_fails<T>(
    test: &'static str,
    prepare: impl Fn(&Server, u64) -> T,
    act: impl Fn(&Server, &T) -> Request,
    end: impl Fn(&Server, T, &Answer),
) {
    if !Strace::is_possible() {
        return;
    }
    let mut hit = 0;
    for round in Rounds::of(test, 1) {
        for durability in ["complete", "ack"] {
            let server = Server::with(&[&format!("--durability={durability}")]);
            let mut traceless = true;
            for (number, fault) in FAULTS.iter().enumerate() {
                if durability == "complete" && fault.contains("sync") {
                    continue;
                }
                if durability == "ack" && !fault.contains("sync") && round == 0 {
                    continue;
                }
                println!("{durability} {fault}{}", moment(round));
                let begun = prepare(&server, number as u64);
                let strace = Strace::attach(&server, &[format!("{fault}{}", moment(round))], &[]);
                let answer = server.ask(&act(&server, &begun));
                hit += strace.tampered().len();
                drop(strace);
                println!("{answer:?}");
                if ![200, 201, 204].contains(&answer.status) {
                    is_trouble(&answer, fault);
                }
                end(&server, begun, &answer);
                nothing_panicked(&server);
                traceless &= !leaves_traces(test, fault);
                if traceless {
                    leaves_nothing(&server);
                }
            }
        }
    }
    assert!(hit > 0, "nothing failed");
}

/// A clear word, and the right one where no room is the trouble.
#[track_caller]
fn is_trouble(answer: &Answer, fault: &str) {
    let short = if fault.contains("MFILE") { 503 } else { 500 };
    let answer = answer.clone().expect_one(&[423, 500, 507, short]);
    let status = answer.status;
    let no_room = fault.contains("EDQUOT") || fault.contains("ENOSPC");
    assert_eq!(no_room, status == 507, "{fault}: {answer:?}");
    answer.refused(status);
}

fn is_told(answer: &Answer) -> bool {
    answer.status < 300
}

// rows: FAULT-09
// spec: CORE-16, STORE-3, STORE-9
#[test]
fn whatever_fails_in_a_patch_no_told_byte_is_lost() {
    whatever_fails(
        "traced patch",
        |server, seed| {
            let upload = Upload::new(server, MIB).url;
            let bytes = content(seed, MIB);
            server.ask(&patch(&upload, 0, &bytes[..200_000])).expect(204);
            (upload, bytes)
        },
        |_, (url, bytes)| patch(url, 200_000, &bytes[200_000..700_000]),
        |server, (url, bytes), answer| {
            let upload = Upload { server, url };
            let told = if is_told(answer) { 700_000 } else { 200_000 };
            let at = upload.offset();
            assert!((told..=700_000).contains(&at), "{at}, told {told}");
            finish(&upload, &bytes);
        },
    );
}

// rows: FAULT-09
// spec: CORE-16, STORE-4, STORE-9
#[test]
fn whatever_fails_in_a_finish_the_file_is_whole_or_not_there() {
    whatever_fails(
        "traced finish",
        |server, seed| {
            let upload = Upload::new(server, 300_000).url;
            let bytes = content(seed, 300_000);
            server.ask(&patch(&upload, 0, &bytes[..200_000])).expect(204);
            (upload, bytes)
        },
        |_, (url, bytes)| patch(url, 200_000, &bytes[200_000..]),
        |server, (url, bytes), answer| {
            let upload = Upload { server, url };
            for file in server.finished() {
                assert_eq!(file.metadata().unwrap().len(), 300_000);
            }
            if is_told(answer) {
                upload.is_file(&bytes);
            }
            finish(&upload, &bytes);
        },
    );
}

// rows: FAULT-09
// spec: CORE-16, STORE-1
#[test]
fn whatever_fails_in_a_creation_it_is_made_or_refused() {
    whatever_fails(
        "traced creation",
        |_, seed| content(seed, 100_000),
        |_, bytes| create_with(100_000, bytes.clone()),
        |server, bytes, answer| {
            // Also a refusal names what it made, to go on with.
            if answer.header("Location").is_some() {
                finish(&Upload::from_answer(server, answer), &bytes);
            }
            let upload = Upload::from_answer(server, &server.ask(&create(100_000)).expect(201));
            finish(&upload, &bytes);
        },
    );
}

/// Five chunks, the first of which did not come yet.
fn all_but_the_first(server: &Server, seed: u64) -> Parts {
    let parts = Parts::new(&format!("{seed:016x}"), "a.bin", 64 << 10, content(seed, 300_000));
    for index in 1..parts.total {
        server.ask(&parts.put(index)).expect_one(&[200, 201]);
    }
    parts
}

#[track_caller]
fn is_merged(server: &Server, parts: &Parts) {
    for index in 0..parts.total {
        server.ask(&parts.put(index)).expect_one(&[200, 201]);
    }
    parts.merge(server).expect_one(&[200, 201]);
    let file = parts.as_upload(server).get().expect(200);
    assert!(file.body == parts.bytes, "other bytes");
    // The next one has the same name.
    server.ask(&parts.delete()).expect(204);
}

// rows: FAULT-09
// spec: CORE-16, STORE-1, STORE-2
#[test]
fn whatever_fails_in_a_chunk_no_told_chunk_is_lost() {
    whatever_fails(
        "traced chunk",
        all_but_the_first,
        |_, parts| parts.put(0),
        |server, parts, answer| {
            let uploaded = parts.uploaded(server);
            for index in 0..parts.total {
                let told = index > 0 || is_told(answer);
                assert!(!told || uploaded.contains(&(index as u64)), "{uploaded:?}");
            }
            is_merged(server, &parts);
        },
    );
}

// rows: FAULT-09
// spec: CORE-16, STORE-4, STORE-9
#[test]
fn whatever_fails_in_a_merge_the_file_is_whole_or_not_there() {
    whatever_fails(
        "traced merge",
        |server, seed| {
            let parts = all_but_the_first(server, seed);
            parts.send(server, 0);
            parts
        },
        |_, parts| crate::chunks::merge(&parts.merge_body()),
        |server, parts, answer| {
            if is_told(answer) {
                assert_eq!(parts.status(server)["state"], "merged");
            }
            is_merged(server, &parts);
        },
    );
}

// rows: FAULT-09
// spec: CORE-16, TUS-93
#[test]
fn whatever_fails_in_a_join_the_parts_stay() {
    whatever_fails(
        "traced join",
        |server, seed| {
            let pieces = [content(seed, 100_000), content(seed + 100, 200_000)];
            let urls = pieces.each_ref().map(|piece| partial(server, piece).url);
            (urls, pieces)
        },
        |server, (urls, _)| {
            let parts = urls.each_ref().map(|url| Upload { server, url: url.clone() });
            join(&final_of(&[&parts[0], &parts[1]]))
        },
        |server, (urls, pieces), answer| {
            let parts = urls.map(|url| Upload { server, url });
            for (part, piece) in parts.iter().zip(&pieces) {
                let at = part.offset();
                assert!(at == piece.len() as u64, "{at}");
            }
            if is_told(answer) && answer.header("Upload-Offset").is_some() {
                Upload::from_answer(server, answer).is_file(&pieces.concat());
            }
            let again = server.ask(&join(&final_of(&[&parts[0], &parts[1]]))).expect(201);
            Upload::from_answer(server, &again).is_file(&pieces.concat());
            for part in parts {
                part.delete().expect(204);
            }
        },
    );
}

// rows: FAULT-09
// spec: CORE-16, TUS-27
#[test]
fn whatever_fails_in_a_deletion_it_can_be_asked_for_again() {
    whatever_fails(
        "traced deletion",
        |server, seed| {
            let upload = Upload::new(server, 300_000);
            upload.patch(0, content(seed, 200_000)).expect(204);
            upload.url
        },
        |_, url| crate::tus::request("DELETE", url),
        |server, url, answer| {
            let upload = Upload { server, url };
            if !is_told(answer) {
                upload.delete().expect_one(&[204, 404]);
            }
            upload.head().expect(404);
        },
    );
}

// rows: FAULT-09, TUS-HEAD-05
// spec: CORE-17, CORE-16
#[test]
fn whatever_fails_in_a_head_it_is_answered_or_asked_again() {
    whatever_fails(
        "traced head",
        |server, seed| {
            let upload = Upload::new(server, 300_000).url;
            let bytes = content(seed, 300_000);
            server.ask(&patch(&upload, 0, &bytes[..200_000])).expect(204);
            (upload, bytes)
        },
        // The answer to HEAD has no body to look at, the one to GET has.
        |_, (url, _)| Request::new("GET", &format!("/upload/status?upload_id={}", id(url))),
        |server, (url, bytes), _| {
            let upload = Upload { server, url };
            for fault in ["pread64:error=EIO", "openat:error=EMFILE", "statx,?newfstatat:error=EIO"]
            {
                let strace = Strace::attach(server, &[format!("{fault}:when=1+")], &[]);
                upload.head().expect_one(&[200, 423]);
                drop(strace);
            }
            assert_eq!(upload.offset(), 200_000);
            finish(&upload, &bytes);
        },
    );
}

fn id(url: &str) -> &str {
    url.rsplit('/').next().unwrap()
}
