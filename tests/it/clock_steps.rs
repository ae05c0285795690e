//! The time of day of the running program is put forward and back by libfaketime; its boot time,
//! which is asked of the kernel, goes on.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    server::Server,
    tus::{Upload, append},
};

/// Two hours, two days and ten years, in seconds.
const STEPS: [&str; 6] = ["+7200", "-7200", "+172800", "-172800", "+315360000", "-315360000"];

/// The library of Debian's package faketime.
fn library() -> Option<PathBuf> {
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"];
    let below = folders.iter().filter_map(|folder| fs::read_dir(folder).ok());
    let below = below.flatten().flatten().map(|entry| entry.path());
    let mut all = below.chain(folders.iter().map(PathBuf::from));
    all.find_map(|folder| {
        let library = folder.join("faketime/libfaketimeMT.so.1");
        library.is_file().then_some(library)
    })
}

/// A server whose clock steps when `clock` is written; `None` where none can.
fn server(args: &[&str]) -> Option<(Server, TempDir, PathBuf)> {
    let Some(library) = library() else {
        println!("skipped: faketime is not installed");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let clock = folder.path().join("clock");
    step(&clock, "+0");
    let env = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let server = Server::in_environment(&std::env::temp_dir(), args, &env);
    Some((server, folder, clock))
}

/// As a whole: the library reads it at every look at the clock.
fn step(clock: &Path, seconds: &str) {
    let next = clock.with_extension("next");
    fs::write(&next, format!("{seconds}\n")).unwrap();
    fs::rename(next, clock).unwrap();
}

fn told(upload: &Upload) -> std::time::SystemTime {
    httpdate::parse_http_date(upload.head().needs("Upload-Expires")).unwrap()
}

// rows: FAULT-14
// spec: STORE-82, STORE-83
#[test]
fn a_clock_that_steps_expires_nothing_and_revives_nothing() {
    let args = ["--expire-after=1h", "--reap-every=50ms"];
    let Some((server, _folder, clock)) = server(&args) else { return };
    let (rests, slow) = (Upload::hello(&server), Upload::new(&server, 700));
    let before = told(&rests);
    let mut running = server.begin(&append(&slow.url, 0).announcing(700));
    for seconds in STEPS {
        step(&clock, seconds);
        running.raw([7; 100]);
        thread::sleep(Duration::from_millis(300));
        assert_eq!(told(&rests), before, "{seconds}");
        assert_eq!(rests.offset(), 5, "{seconds}");
    }
    step(&clock, "+0");
    running.raw([7; 100]);
    assert_eq!(running.answer("PATCH").expect(204).offset(), 700);
    slow.is_file(&[7; 700]);
    rests.patch(5, " world").expect(204);
    rests.is_file(b"hello world");
}

// spec: STORE-83, STORE-84
#[test]
fn a_restart_with_a_wrong_clock_expires_nothing_at_once_and_revives_nothing() {
    let args = ["--expire-after=5s", "--reap-every=1h"];
    let Some((mut server, _folder, clock)) = server(&args) else { return };
    let dead = Upload::hello(&server).url;
    thread::sleep(Duration::from_millis(6500));
    Upload { server: &server, url: dead.clone() }.head().expect(410);
    for seconds in STEPS {
        step(&clock, seconds);
        server.restart();
        Upload { server: &server, url: dead.clone() }.head().expect(410);
        let live = Upload::hello(&server).url;
        step(&clock, if seconds.starts_with('+') { "+630720000" } else { "+0" });
        server.restart();
        let live = Upload { server: &server, url: live };
        assert_eq!(live.offset(), 5, "{seconds}");
        live.patch(5, " world").expect(204);
    }
}
