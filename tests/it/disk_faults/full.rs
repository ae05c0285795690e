//! File systems that run full for real.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{KIB, MIB, content, finish, leaves_nothing, nothing_panicked};
use crate::{
    chunks::Parts,
    client::{Answer, Conn, Request},
    disk,
    mount::{Kind, Mount},
    server::Server,
    tus::{Upload, create, create_with, patch, request},
    tus_concat::{final_of, join, partial},
};

/// What a story does to a server on a file system of its own.
type Story = fn(&Mount, &Server, Kind);

/// Each story on each kind of file system; in the end nothing is left of it.
fn on_each(story: Story) {
    for kind in [Kind::Ext4, Kind::Xfs, Kind::Tmpfs] {
        println!("{kind:?}");
        let blocks: &[&str] = if kind == Kind::Ext4 { &["-b", "4096", "-m", "0"] } else { &[] };
        let mount = Mount::made_with(kind, 64 * MIB, blocks);
        let server = Server::within(&mount.path(), &[]);
        story(&mount, &server, kind);
        leaves_nothing(&server);
        nothing_panicked(&server);
    }
}

#[track_caller]
fn is_full(answer: Answer) -> Answer {
    answer.refused_as(507, "disk-full")
}

/// Asks for the same until it is refused, which leaves nothing half-made: what a file system keeps
/// back for itself, it may give to a few small files. Gives those that were made.
#[track_caller]
fn until_full<'a>(server: &'a Server, request: &Request) -> Vec<Upload<'a>> {
    let mut made = Vec::new();
    for _ in 0..500 {
        let before = disk::snapshot(&server.data());
        let answer = server.ask(request);
        if answer.status != 201 {
            is_full(answer);
            assert_eq!(disk::snapshot(&server.data()), before, "something is half-made");
            return made;
        }
        made.push(Upload::from_answer(server, &answer));
    }
    panic!("the disk does not run full");
}

// rows: FAULT-07
// spec: CORE-16, STORE-3
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_disk_that_runs_full_in_a_patch_keeps_what_it_told() {
    on_each(|mount, server, _| {
        let bytes = content(1, 4 * MIB);
        let upload = Upload::new(server, 4 * MIB);
        upload.patch(0, &bytes[..100_000]).expect(204);
        mount.fill(MIB);
        let refused = is_full(upload.patch(100_000, &bytes[100_000..]));
        let told = refused.offset();
        assert!((100_000..4 * MIB).contains(&told), "{told}");
        assert_eq!(upload.offset(), told);
        // All room is gone now, and what was told is still there.
        mount.fill(0);
        is_full(upload.patch(told, &bytes[told as usize..]));
        assert!(upload.offset() >= told);
        mount.make_room();
        finish(&upload, &bytes);
    });
}

// spec: CORE-16, STORE-1
#[test]
#[ignore = "mounts file systems: needs root"]
fn chunks_that_come_together_while_the_disk_runs_full_are_there_or_refused() {
    on_each(|mount, server, _| {
        let parts = Parts::new("c0ffee00", "a.bin", 256 << 10, content(2, 2 * MIB + 5));
        mount.fill(MIB);
        let parts = &parts;
        let statuses: Vec<u16> = thread::scope(|scope| {
            let put = |index| scope.spawn(move || server.ask(&parts.put(index)));
            let running: Vec<_> = (0..parts.total).map(put).collect();
            running.into_iter().map(|put| put.join().unwrap()).map(there_or_refused).collect()
        });
        assert!(statuses.contains(&507), "{statuses:?}");
        server.nothing_is_staged();
        mount.fill(0);
        if statuses.contains(&201) {
            let uploaded = parts.uploaded(server);
            for (index, status) in statuses.iter().enumerate() {
                assert!(*status == 507 || uploaded.contains(&(index as u64)), "{uploaded:?}");
            }
            for index in uploaded {
                let index = index as usize;
                assert_eq!(parts.check(server, index)["sha256"], parts.digest(index));
            }
        }
        mount.make_room();
        for index in 0..parts.total {
            server.ask(&parts.put(index)).expect_one(&[200, 201]);
        }
        parts.merge(server).expect(201);
        assert!(parts.as_upload(server).get().expect(200).body == parts.bytes);
    });
}

#[track_caller]
fn there_or_refused(answer: Answer) -> u16 {
    if answer.status == 201 { 201 } else { is_full(answer).status }
}

// rows: FAULT-08
// spec: CORE-16, TUS-6
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_full_disk_makes_no_half_an_upload() {
    on_each(|mount, server, _| {
        let old = Upload::hello(server);
        let other = Parts::hello();
        other.send(server, 1);
        mount.fill(0);
        let mut made = until_full(server, &create(11));
        made.extend(until_full(server, &create_with(11, "hello world")));
        is_full(server.ask(&other.put(0)));
        assert_eq!(other.uploaded(server), [1]);
        assert_eq!(old.offset(), 5);
        mount.make_room();
        made.push(Upload::from_answer(server, &server.ask(&create(11)).expect(201)));
        for upload in &made {
            finish(upload, b"hello world");
        }
        finish(&old, b"hello world");
        other.send(server, 0);
        other.merge(server).expect(201);
    });
}

/// An upload of 5 bytes whose ledger ends less than one record in front of a block's end.
fn at_the_end_of_a_block(server: &Server) -> Upload<'_> {
    let make = |padding: usize| {
        let metadata = format!("pad{} aGVsbG8=", "x".repeat(padding));
        let create = request("POST", "/files/").header("Upload-Defer-Length", 1);
        let made = server.ask(&create.header("Upload-Metadata", metadata)).expect(201);
        let upload = Upload::from_answer(server, &made);
        upload.patch(0, "hello").expect(204);
        let ledger = upload.ledger().metadata().unwrap().len();
        (upload, ledger)
    };
    let (probe, size) = make(1000);
    probe.delete().expect(204);
    let (upload, size) = make(1000 + 4096 - 20 - size as usize);
    assert!((4096 - 96..4096).contains(&size), "{size}");
    upload
}

// spec: CORE-16, STORE-3
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_ledger_that_cannot_grow_leaves_the_upload_as_it_was() {
    on_each(|mount, server, kind| {
        let upload = at_the_end_of_a_block(server);
        mount.fill(0);
        let declare = patch(&upload.url, 5, "").header("Upload-Length", 5);
        for _ in 0..3 {
            // XFS gives a small file more room than it asks for.
            if kind == Kind::Xfs {
                server.ask(&declare).expect_one(&[204, 507]);
                continue;
            }
            is_full(server.ask(&declare));
            let head = upload.head().expect(200);
            assert_eq!(head.offset(), 5);
            assert_eq!(head.needs("Upload-Defer-Length"), "1");
        }
        mount.make_room();
        server.ask(&declare).expect(204);
        upload.is_file(b"hello");
    });
}

// spec: CORE-16, TUS-93
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_disk_that_runs_full_while_uploads_are_joined_leaves_the_parts() {
    on_each(|mount, server, kind| {
        let (one, two) = (content(3, 2 * MIB + 77), content(4, 2 * MIB + 5));
        let (first, second) = (partial(server, &one), partial(server, &two));
        mount.fill(MIB);
        let joining = join(&final_of(&[&first, &second]));
        // Blocks that can be shared take no room.
        let refused = server.ask(&joining);
        if kind != Kind::Xfs || refused.status != 201 {
            is_full(refused);
        }
        assert_eq!(first.offset(), one.len() as u64);
        assert_eq!(second.offset(), two.len() as u64);
        mount.make_room();
        let joined = Upload::from_answer(server, &server.ask(&joining).expect(201));
        joined.is_file(&[one, two].concat());
        for part in [first, second] {
            part.delete().expect(204);
        }
        joined.is_file(&[content(3, 2 * MIB + 77), content(4, 2 * MIB + 5)].concat());
    });
}

// rows: FAULT-08
// spec: CORE-16, STORE-4
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_disk_that_runs_full_in_a_merge_keeps_every_chunk() {
    on_each(|mount, server, kind| {
        let parts = Parts::new("f00df00d", "a.bin", MIB as usize, content(5, 6 * MIB + 5));
        for index in 1..parts.total {
            parts.send(server, index);
        }
        // Room for the first chunk, and for no other one a second time: absorbing, too, which
        // begins behind its answer, fails.
        mount.fill(MIB + 600 * KIB);
        parts.send(server, 0);
        let all: Vec<u64> = (0..parts.total as u64).collect();
        for _ in 0..2 {
            let refused = parts.merge(server);
            if kind == Kind::Xfs && [200, 201].contains(&refused.status) {
                break;
            }
            is_full(refused);
            assert_eq!(parts.uploaded(server), all);
            assert_eq!(server.finished().len(), 0);
        }
        mount.make_room();
        parts.merge(server).expect_one(&[200, 201]);
        assert!(parts.as_upload(server).get().expect(200).body == parts.bytes);
    });
}

// spec: TUS-27, CORE-16
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_full_disk_lets_everything_be_deleted() {
    on_each(|mount, server, _| {
        let bytes = content(6, 2 * MIB);
        let half = Upload::new(server, 2 * MIB);
        half.patch(0, &bytes[..MIB as usize]).expect(204);
        let whole = Upload::new(server, 2 * MIB);
        whole.patch(0, bytes.clone()).expect(204);
        let chunks = Parts::new("beefbeef", "a.bin", 64 << 10, content(7, 300_000));
        chunks.send(server, 1);
        chunks.send(server, 3);
        let next = Upload::new(server, 2 * MIB);
        mount.fill(0);
        is_full(next.patch(0, bytes.clone()));
        half.delete().expect(204);
        half.head().expect(404);
        whole.delete().expect(204);
        whole.get().refused(404);
        server.ask(&chunks.delete()).expect(204);
        assert_eq!(chunks.status(server)["state"], "none");
        // What they took is room again: no more is needed. Some file systems give it back with
        // their next commit.
        crate::mount::flush(&server.data());
        finish(&next, &bytes);
        mount.make_room();
    });
}

// spec: STORE-17, CORE-16
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_full_disk_keeps_no_upload_from_expiring() {
    let mount = Mount::made_with(Kind::Ext4, 32 * MIB, &["-b", "4096", "-m", "0"]);
    let server = Server::within(&mount.path(), &["--expire-after=3s", "--reap-every=50ms"]);
    let upload = Upload::new(&server, 4 * MIB);
    upload.patch(0, content(8, MIB)).expect(204);
    mount.fill(0);
    let deadline = Instant::now() + Duration::from_secs(15);
    while !server.uploads().is_empty() {
        assert!(Instant::now() < deadline, "{:?}", server.uploads());
        thread::sleep(Duration::from_millis(50));
    }
    upload.head().expect(410);
    nothing_panicked(&server);
}

// spec: CORE-16
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_disk_without_inodes_is_full_too() {
    let options = ["-b", "4096", "-m", "0", "-N", "64"];
    let mount = Mount::made_with(Kind::Ext4, 32 * MIB, &options);
    let server = Server::within(&mount.path(), &[]);
    let running = Upload::hello(&server);
    let empty = Upload::new(&server, 11);
    let made = until_full(&server, &create(11));
    assert!(!made.is_empty());
    // Its folder or its part finds no place.
    is_full(empty.patch(0, "hello world"));
    is_full(server.ask(&Parts::hello().put(0)));
    running.patch(5, " world").expect(204);
    running.is_file(b"hello world");
    for upload in made.iter().take(4) {
        upload.delete().expect(204);
    }
    finish(&empty, b"hello world");
    nothing_panicked(&server);
}

// spec: CORE-16, STORE-1
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_server_starts_on_a_full_disk_and_finds_what_it_told() {
    let mount = Mount::made_with(Kind::Ext4, 32 * MIB, &["-b", "4096", "-m", "0"]);
    let mut server = Server::within(&mount.path(), &[]);
    let bytes = content(9, MIB);
    let half_id = {
        let half = Upload::new(&server, MIB);
        half.patch(0, &bytes[..700_001]).expect(204);
        half.url
    };
    mount.fill(0);
    for _ in 0..2 {
        server.crash();
        server.restart();
    }
    let half = Upload { server: &server, url: half_id };
    assert_eq!(half.offset(), 700_001);
    mount.make_room();
    finish(&half, &bytes);
    leaves_nothing(&server);
    nothing_panicked(&server);
}

/// A server whose standard error, and with `stdout` its standard output, is a full disk.
struct Mute {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Mute {
    fn start(redirected: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new("/bin/sh")
            .args(["-c", &format!("exec \"$0\" \"$@\" {redirected}")])
            .arg(env!("CARGO_BIN_EXE_piton"))
            .args(["--log-level=trace", "--listen=127.0.0.1:0", "--data-dir"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, _folder: folder }
    }

    /// Nobody can read its first line.
    fn port(&self) -> Option<u16> {
        /// Of a socket that listens.
        const LISTENS: &str = "0A";
        let folder = format!("/proc/{}", self.child.id());
        let links = fs::read_dir(format!("{folder}/fd")).ok()?;
        let links = links.filter_map(|link| fs::read_link(link.ok()?.path()).ok());
        let held: Vec<_> = links.map(|link| link.to_string_lossy().into_owned()).collect();
        let table = fs::read_to_string(format!("{folder}/net/tcp")).ok()?;
        table.lines().skip(1).find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let mine = held.contains(&format!("socket:[{}]", fields.get(9)?));
            let (_, port) = fields[1].split_once(':').filter(|_| mine && fields[3] == LISTENS)?;
            u16::from_str_radix(port, 16).ok()
        })
    }

    fn ask(&mut self, request: &Request) -> Answer {
        let deadline = Instant::now() + Duration::from_secs(15);
        loop {
            if let Some(port) = self.port() {
                return Conn::open(([127, 0, 0, 1], port).into()).ask(request);
            }
            assert!(Instant::now() < deadline, "it does not listen: {:?}", self.child.try_wait());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Mute {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// spec: CORE-16
#[test]
fn a_full_disk_under_the_log_harms_nobody() {
    for redirected in ["2>/dev/full", ">/dev/full 2>/dev/full", ">&- 2>&-"] {
        let mut server = Mute::start(redirected);
        let made = server.ask(&create(11)).expect(201);
        let url = made.needs("Location");
        // A damaged request, too, which is logged.
        server.ask(&patch(url, 3, "hello")).refused(409);
        server.ask(&patch(url, 0, "hello world")).expect(204);
        let file = server.ask(&Request::new("GET", url)).expect(200);
        assert_eq!(file.body, b"hello world", "{redirected}");
    }
}
