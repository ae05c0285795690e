//! Real errors of a disk: a file system on an image whose own file system runs full. It takes
//! writes into the page cache, and cannot bring them to the disk; the kernel tells so at the next
//! fsync, once, and takes the lost pages for clean from then on.

use std::fs::File;

use rustix::fs::Advice;

use super::{KIB, MIB, content, finish, nothing_panicked};
use crate::{
    chunks::Parts,
    client::Answer,
    mount::{Kind, Mount, flush},
    server::Server,
    tus::Upload,
    tus_concat::{final_of, join, partial},
};

/// What is told in front of the trouble ends with a block: of a write that only begins where there
/// is room, the loop device says that all of it was written, and no flush can know better.
const TOLD: usize = 25 * 4096;

/// The metadata lies in front, where the lower file system has room for it whatever happens.
const IN_FRONT: (u64, &[&str]) =
    (10 << 20, &["-b", "4096", "-m", "0", "-J", "size=4", "-E", "packed_meta_blocks=1"]);

/// The lower file system, and the one that cannot write back once that is full. The server works
/// on the upper one.
fn disks() -> (Mount, Mount) {
    let lower = Mount::new(Kind::Tmpfs, 48 << 20);
    let upper = Mount::upon(&lower, 96 << 20, IN_FRONT);
    (lower, upper)
}

#[track_caller]
fn fails(answer: Answer) -> Answer {
    let answer = answer.expect_one(&[500, 507]);
    let status = answer.status;
    answer.refused(status)
}

// rows: FAULT-09
// spec: STORE-7, STORE-9, CORE-17
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_finish_whose_bytes_do_not_reach_the_disk_is_none() {
    for durability in ["complete", "ack"] {
        let (lower, upper) = disks();
        let option = format!("--durability={durability}");
        let server = Server::within(&upper.path(), &[&option]);
        let bytes = content(20, MIB);
        let upload = Upload::new(&server, MIB);
        upload.patch(0, &bytes[..TOLD]).expect(204);
        let told = if durability == "ack" { TOLD as u64 } else { 0 };
        upper.sync();
        lower.fill(0);
        // Again and again: what the first fsync lost, the second must not bless.
        let mut at = told;
        for _ in 0..3 {
            let head = upload.head().expect_one(&[200, 423]);
            if head.status == 200 {
                at = head.offset();
            }
            assert!(at >= told, "{durability}: {at}");
            fails(upload.patch(at, &bytes[at as usize..]));
            assert_eq!(server.finished().len(), 0);
        }
        lower.make_room();
        finish(&upload, &bytes);
        is_on_the_disk(&server, &upper, &bytes);
        nothing_panicked(&server);
    }
}

/// The one finished file has these bytes, read from the disk and not from memory.
#[track_caller]
fn is_on_the_disk(server: &Server, mount: &Mount, bytes: &[u8]) {
    flush(&mount.path());
    for file in server.finished() {
        let file = File::open(file).unwrap();
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    }
    assert!(server.the_file() == bytes, "other bytes lie on the disk than were acknowledged");
}

// rows: FAULT-09
// spec: STORE-8
#[test]
#[ignore = "mounts file systems: needs root"]
fn under_ack_nothing_is_told_that_did_not_reach_the_disk() {
    let (lower, upper) = disks();
    let server = Server::within(&upper.path(), &["--durability=ack"]);
    let bytes = content(21, MIB);
    let upload = Upload::new(&server, MIB);
    upload.patch(0, &bytes[..3 * TOLD]).expect(204);
    let parts = Parts::new("abad1dea", "a.bin", 128 << 10, content(22, 500 * KIB));
    parts.send(&server, 1);
    upper.sync();
    lower.fill(0);
    fails(upload.patch(3 * TOLD as u64, &bytes[3 * TOLD..700_000]));
    assert_eq!(upload.offset(), 3 * TOLD as u64);
    fails(server.ask(&parts.put(0)));
    fails(server.ask(&parts.put(2)));
    assert_eq!(parts.uploaded(&server), [1]);
    lower.make_room();
    finish(&upload, &bytes);
    is_on_the_disk(&server, &upper, &bytes);
    for index in [0, 2, 3] {
        parts.send(&server, index);
    }
    parts.merge(&server).expect(201);
    assert!(parts.as_upload(&server).get().expect(200).body == parts.bytes);
    nothing_panicked(&server);
}

// rows: FAULT-09
// spec: STORE-7, STORE-9
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_merge_or_a_join_whose_bytes_do_not_reach_the_disk_is_none() {
    let (lower, upper) = disks();
    let server = Server::within(&upper.path(), &["--chunks-per-part=1"]);
    let parts = Parts::new("abad1dea", "a.bin", 512 << 10, content(23, 2 * MIB + 5));
    parts.send_all(&server);
    let pieces = [content(24, MIB), content(25, MIB + 5)];
    let partials = pieces.each_ref().map(|piece| partial(&server, piece));
    upper.sync();
    lower.fill(0);
    fails(parts.merge(&server));
    let joining = join(&final_of(&[&partials[0], &partials[1]]));
    fails(server.ask(&joining));
    assert_eq!(server.finished().len(), 0);
    lower.make_room();
    for index in 0..parts.total {
        server.ask(&parts.put(index)).expect_one(&[200, 201]);
    }
    parts.merge(&server).expect_one(&[200, 201]);
    is_on_the_disk(&server, &upper, &parts.bytes);
    for (partial, piece) in partials.iter().zip(&pieces) {
        let at = partial.offset();
        if at < piece.len() as u64 {
            partial.patch(at, &piece[at as usize..]).expect(204);
        }
    }
    let joined = Upload::from_answer(&server, &server.ask(&joining).expect(201));
    joined.is_file(&pieces.concat());
    nothing_panicked(&server);
}
