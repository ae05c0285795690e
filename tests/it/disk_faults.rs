//! Disks that are full, that fail, that cannot be written, and files that somebody else changed:
//! a clear answer, no byte lost that was told, no wrong byte, and all goes on when the cause is
//! gone.

mod full;
mod hanging;
mod read_only;
mod tampered;
mod traced;
mod write_back;

use crate::{random::Random, server::Server, tus::Upload};

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
    server.nothing_is_staged();
}

/// Whatever happened, it happened in order.
#[track_caller]
fn nothing_panicked(server: &Server) {
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
}
