//! Many downloads, and clients that leave.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use crate::{
    client::Request,
    random::Random,
    server::{Server, until},
    tus::{Upload, request},
};

/// Open descriptors of the server that name something under `files/`, or a file that was removed.
fn open_files(server: &Server) -> usize {
    let folder = server.data().join("files");
    let descriptors = fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap();
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    targets.filter(|target| target.starts_with(&folder)).count()
}

#[track_caller]
fn closes_all(server: &Server) {
    until(|| open_files(server) == 0, || format!("{} files are still open", open_files(server)));
}

/// A finished upload that no socket buffer can hold.
fn large(server: &Server) -> (Upload<'_>, Vec<u8>) {
    let bytes = Random::seeded(3).bytes(48 << 20);
    let upload = Upload::new(server, bytes.len() as u64);
    upload.patch(0, bytes.clone()).expect(204);
    (upload, bytes)
}

// rows: TUS-GET-08
// spec: TUS-76
#[test]
fn readers_wait_for_nobody() {
    let server = Server::start();
    let (upload, bytes) = large(&server);
    let get = Request::new("GET", &upload.url);
    // Eight that stand still in the middle, and hold what they hold.
    let mut stalled: Vec<_> = (0..8).map(|_| server.begin(&get)).collect();
    for reader in &mut stalled {
        while reader.silent_for(Duration::from_millis(1)) {}
    }
    until(|| open_files(&server) == 8, || format!("{} files are open", open_files(&server)));
    let since = Instant::now();
    upload.head().expect(200);
    let other = Upload::hello(&server);
    other.patch(5, " world").expect(204);
    other.is_file(b"hello world");
    assert!(server.ask(&get).expect(200).body == bytes);
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    thread::scope(|scope| {
        for mut reader in stalled {
            let bytes = &bytes;
            scope.spawn(move || assert!(reader.answer("GET").expect(200).body == *bytes));
        }
    });
    closes_all(&server);
}

// rows: TUS-GET-09
// spec: TUS-76
#[test]
fn a_client_that_leaves_takes_its_file_along() {
    let server = Server::start();
    let (upload, bytes) = large(&server);
    let middle = Request::new("GET", &upload.url).header("Range", "bytes=100-40000000");
    let parts = Request::new("GET", &upload.url).header("Range", "bytes=0-20000000,30000000-");
    let whole = Request::new("GET", &upload.url);
    for get in [&whole, &middle, &parts, &whole] {
        let mut reader = server.begin(get);
        while reader.silent_for(Duration::from_millis(1)) {}
        until(|| open_files(&server) == 1, || format!("{} files are open", open_files(&server)));
        drop(reader);
        closes_all(&server);
    }
    // What ends before its body does not open one for long either.
    server.ask(&whole.clone().header("If-None-Match", "*")).expect(304);
    server.ask(&whole.clone().header("Range", "bytes=99999999-")).expect(416);
    closes_all(&server);
    assert!(server.ask(&whole).expect(200).body == bytes);
}

// rows: TUS-TERM-04
// spec: TUS-27, TUS-76
#[test]
fn a_running_range_gets_every_byte_of_what_was_deleted() {
    let server = Server::start();
    let (upload, bytes) = large(&server);
    let get = Request::new("GET", &upload.url).header("Range", "bytes=7-");
    let mut reader = server.begin(&get);
    while reader.silent_for(Duration::from_millis(1)) {}
    server.ask(&request("DELETE", &upload.url)).expect(204);
    upload.get().refused(404);
    assert!(server.finished().is_empty());
    assert!(reader.answer("GET").expect(206).body == bytes[7..]);
    closes_all(&server);
}
