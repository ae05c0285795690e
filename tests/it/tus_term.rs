//! Termination.

use crate::{
    random::Random,
    server::Server,
    tus::{Upload, append, patch, request},
};

// rows: TUS-TERM-01, TUS-TERM-02
// spec: TUS-27, TUS-14
#[test]
fn nothing_is_left_of_a_terminated_upload() {
    let mut server = Server::start();
    let urls = [Upload::hello(&server).url, Upload::finished(&server).url];
    for url in &urls {
        let upload = Upload { server: &server, url: url.clone() };
        let answer = upload.delete().expect(204);
        assert!(matches!(answer.header("Content-Length"), None | Some("0")), "{answer:?}");
    }
    server.uploads_vanish();
    assert!(server.finished().is_empty());
    for _ in 0..2 {
        for url in &urls {
            server.ask(&request("HEAD", url)).expect(404);
            for request in [patch(url, 5, " world"), request("GET", url), request("DELETE", url)] {
                server.ask(&request).refused(404);
            }
        }
        server.restart();
    }
    server.ask(&request("DELETE", "/files/00000000000000000000000000000000")).refused(404);
}

// rows: TUS-TERM-03; the stalled PATCH is in takeover
// spec: TUS-22
#[test]
fn a_running_patch_ends() {
    let server = Server::start();
    let bytes = Random::seeded(1).bytes(64 << 20);
    let upload = Upload::new(&server, bytes.len() as u64);
    let mut running = server.begin(&append(&upload.url, 0).announcing(bytes.len() as u64));
    std::thread::scope(|scope| {
        // Without its last byte it cannot end before the DELETE comes.
        scope.spawn(|| {
            let _ = running.try_raw(&bytes[..bytes.len() - 1]);
        });
        upload.has_stored(1);
        upload.delete().expect(204);
    });
    if let Ok(answer) = running.try_answer("PATCH") {
        answer.expect_one(&[404, 423]);
    }
    upload.head().expect(404);
    server.uploads_vanish();
    assert!(server.finished().is_empty());
}

// rows: TUS-TERM-04
// spec: TUS-27
#[test]
fn a_running_download_gets_every_byte() {
    let server = Server::start();
    let bytes = Random::seeded(2).bytes(32 << 20);
    let upload = Upload::new(&server, bytes.len() as u64);
    upload.patch(0, bytes.clone()).expect(204);
    let mut reader = server.begin(&request("GET", &upload.url));
    // The answer has begun, and is too long for the buffers between us.
    while reader.silent_for(std::time::Duration::from_millis(1)) {}
    upload.delete().expect(204);
    upload.head().expect(404);
    assert!(reader.answer("GET").expect(200).body == bytes);
}
