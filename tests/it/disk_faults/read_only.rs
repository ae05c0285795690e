//! Disks that can be read and not written.

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{MIB, content, finish, nothing_panicked};
use crate::{
    chunks::Parts,
    client::Request,
    mount::{Kind, Mount},
    server::Server,
    strace::Strace,
    tus::{Upload, create, request},
};

#[track_caller]
fn is_ready(server: &Server, status: u16) {
    // What was found counts for a second.
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let answer = server.ask(&Request::new("GET", "/readyz"));
        if answer.status == status {
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// What is there before nobody can write any more.
struct Stock {
    whole: String,
    half: String,
    bytes: Vec<u8>,
    parts: Parts,
}

impl Stock {
    fn on(server: &Server) -> Self {
        let bytes = content(30, MIB);
        let half = Upload::new(server, MIB);
        half.patch(0, &bytes[..300_001]).expect(204);
        let parts = Parts::new("0badcafe", "a.bin", 64 << 10, content(31, 200_000));
        parts.send(server, 1);
        Self { whole: Upload::finished(server).url, half: half.url, bytes, parts }
    }

    /// Reading works, writing is refused with a clear word.
    #[track_caller]
    fn can_be_read_only(&self, server: &Server) {
        let [half, whole] =
            [&self.half, &self.whole].map(|url| Upload { server, url: url.clone() });
        for _ in 0..2 {
            assert_eq!(half.offset(), 300_001);
            assert_eq!(whole.offset(), 11);
            assert_eq!(whole.get().expect(200).body, b"hello world");
            assert_eq!(self.parts.uploaded(server), [1]);
            assert_eq!(self.parts.check(server, 1)["exists"], true);
            half.patch(300_001, &self.bytes[300_001..]).refused_as(500, "storage");
            server.ask(&create(11)).refused_as(500, "storage");
            server.ask(&self.parts.put(0)).refused_as(500, "storage");
            half.delete().refused_as(500, "storage");
            whole.delete().refused_as(500, "storage");
        }
        is_ready(server, 500);
        server.ask(&Request::new("GET", "/healthz")).expect(200);
        server.ask(&Request::new("GET", "/metrics")).expect(200);
    }

    /// All goes on.
    #[track_caller]
    fn goes_on(&self, server: &Server) {
        let [half, whole] =
            [&self.half, &self.whole].map(|url| Upload { server, url: url.clone() });
        whole.is_file(b"hello world");
        finish(&half, &self.bytes);
        for index in 0..self.parts.total {
            server.ask(&self.parts.put(index)).expect_one(&[200, 201]);
        }
        self.parts.merge(server).expect(201);
        assert!(self.parts.as_upload(server).get().expect(200).body == self.parts.bytes);
        whole.delete().expect(204);
        is_ready(server, 200);
        // What was staged and could not be removed, a sweep finds.
        server.uploads_vanish();
        nothing_panicked(server);
    }
}

// spec: CORE-16, CORE-17, CORE-18, STORE-1
#[test]
#[ignore = "mounts file systems: needs root"]
fn after_an_error_of_the_disk_everything_can_still_be_read() {
    for restarts in [false, true] {
        let mount = Mount::new(Kind::Ext4, 32 * MIB);
        let mut server = Server::within(&mount.path(), &[]);
        let stock = Stock::on(&server);
        is_ready(&server, 200);
        if restarts {
            // Nothing is open, nothing is remembered.
            server.restart();
        }
        let mut running = Upload { server: &server, url: stock.half.clone() }.stall(
            300_001,
            1000,
            b"a few bytes that may not be kept",
        );
        mount.sync();
        mount.abort();
        running.raw([7; 100]);
        Upload { server: &server, url: stock.half.clone() }.head().expect_one(&[200, 423]);
        drop(running);
        server.kill_9();
        mount.power_up();
        server.start_again();
        finish_what_ran(&server, &stock);
    }
}

/// Bytes came that are not those of the file; nobody minds, the upload goes.
#[track_caller]
fn finish_what_ran(server: &Server, stock: &Stock) {
    let half = Upload { server, url: stock.half.clone() };
    let at = half.offset();
    assert!((300_001..=300_133).contains(&at), "{at}");
    half.delete().expect(204);
    Upload { server, url: stock.whole.clone() }.is_file(b"hello world");
    nothing_panicked(server);
}

// spec: CORE-16, CORE-17, CORE-18, STORE-1
#[test]
#[ignore = "mounts file systems: needs root"]
fn a_disk_that_cannot_be_written_is_read_from() {
    for restarts in [false, true] {
        let mount = Mount::new(Kind::Ext4, 32 * MIB);
        let mut server = Server::within(&mount.path(), &[]);
        let stock = Stock::on(&server);
        is_ready(&server, 200);
        if restarts {
            // Nothing is open, nothing is remembered.
            server.restart();
        }
        mount.sync();
        mount.abort();
        stock.can_be_read_only(&server);
        server.kill_9();
        mount.power_up();
        server.start_again();
        stock.goes_on(&server);
    }
}

/// Nobody can remount what a server has open to write, so it is made to believe it: no call that
/// changes anything goes through.
fn believe_read_only(server: &Server) -> Strace {
    let changes = [
        "pwrite64,?mkdir,mkdirat,?rename,?renameat,renameat2,?link,linkat,?unlink,unlinkat",
        "ftruncate,fallocate,?rmdir",
    ];
    Strace::attach(server, &changes.map(|calls| format!("{calls}:error=EROFS")), &[])
}

// spec: CORE-16, CORE-17, CORE-18
#[test]
fn once_the_disk_can_be_written_again_all_goes_on_by_itself() {
    if !Strace::is_possible() {
        return;
    }
    let server = Server::start();
    let stock = Stock::on(&server);
    let strace = believe_read_only(&server);
    stock.can_be_read_only(&server);
    drop(strace);
    stock.goes_on(&server);
}

// spec: CORE-18
#[test]
fn readiness_is_told_of_disks_and_only_asked_for_with_get_and_head() {
    let server = Server::start();
    let ready = server.ask(&Request::new("GET", "/readyz")).expect(200);
    assert_eq!(ready.body, b"ready\n");
    assert_eq!(ready.needs("Cache-Control"), "no-store");
    assert_eq!(server.ask(&Request::new("HEAD", "/readyz")).expect(200).body, b"");
    server.ask(&Request::new("POST", "/readyz")).refused_as(405, "method-not-allowed");
    assert!(staged(&server.data()).is_empty());
    server.fill_disk();
    thread::sleep(Duration::from_millis(1100));
    server.ask(&Request::new("GET", "/readyz")).refused_as(507, "disk-full");
    server.ask(&Request::new("HEAD", "/readyz")).expect(507);
    server.ask(&Request::new("GET", "/healthz")).expect(200);
    server.make_room();
    is_ready(&server, 200);
    assert!(staged(&server.data()).is_empty());
    server.ask(&request("GET", "/readyz/x")).refused(404);
}

fn staged(data: &Path) -> Vec<std::path::PathBuf> {
    crate::disk::files_below(&data.join("tmp"))
}
