//! Disks that are full, that fail, that cannot be written, and files that somebody else changed:
//! a clear answer, no byte lost that was told, no wrong byte, and all goes on when the cause is
//! gone.

mod full;
mod hanging;
mod read_only;
mod tampered;
mod traced;
mod write_back;

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::{disk, random::Random, server::Server, tus::Upload};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// `length` bytes that no other `seed` gives.
fn content(seed: u64, length: u64) -> Vec<u8> {
    Random::seeded(seed).bytes(length as usize)
}

/// Asks where the upload stands and sends the rest, as clients do; then it is the right file.
#[track_caller]
fn finish(upload: &Upload<'_>, bytes: &[u8]) {
    let at = upload.offset();
    if at < bytes.len() as u64 {
        upload.patch(at, &bytes[at as usize..]).expect(204);
    }
    upload.is_file(bytes);
}

/// Nothing is staged, and no part is left.
#[track_caller]
fn leaves_nothing(server: &Server) {
    server.uploads_vanish();
    nothing_is_staged(server);
}

/// Soon, that is: what nobody wants any more is removed behind the answer.
#[track_caller]
fn nothing_is_staged(server: &Server) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let staged: Vec<PathBuf> = disk::files_below(&server.data().join("tmp"));
        if staged.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still there: {staged:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whatever happened, it happened in order.
#[track_caller]
fn nothing_panicked(server: &Server) {
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
}
