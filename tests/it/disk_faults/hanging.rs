//! A disk that hangs: strace keeps the server's threads in their calls.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::nothing_panicked;
use crate::{client::Request, server::Server, strace::Strace, tus::Upload};

/// How long each call hangs, unless strace lets go before, as it does here.
const HANGS: Duration = Duration::from_secs(20);
/// How long anybody may wait who asks for nothing that lies on the disk. Generous, and far less
/// than that.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long one call hangs before there are many.
const ALONE: Duration = Duration::from_millis(500);
/// How long many of them hang.
const TOGETHER: Duration = Duration::from_secs(1);

/// Looks, as often as it can for a while, at what needs no disk.
#[track_caller]
fn healthy_for(server: &Server, span: Duration) {
    let since = Instant::now();
    let mut kept = server.connect();
    while since.elapsed() < span {
        let asked = Instant::now();
        kept.ask(&Request::new("GET", "/healthz")).expect(200);
        server.ask(&Request::new("OPTIONS", "/files/")).expect(204);
        assert!(asked.elapsed() < PATIENCE, "{:?}", asked.elapsed());
    }
}

/// More looks than there are threads that may do something on the spot, and appends, each of an
/// upload that was in hand a moment ago.
// spec: CORE-99
#[test]
fn while_the_disk_hangs_everything_else_is_answered() {
    if !Strace::is_possible() {
        return;
    }
    let server = Server::with(&["--durability=none"]);
    let uploads: Vec<Upload> = (0..32).map(|_| Upload::hello(&server)).collect();
    for upload in &uploads {
        assert_eq!(upload.offset(), 5);
    }
    let delay = format!("flock,statx,pwrite64:delay_enter={}", HANGS.as_micros());
    let strace = Strace::attach(&server, &[delay], &[]);
    thread::scope(|scope| {
        let (first, others) = uploads.split_first().unwrap();
        let alone = scope.spawn(|| first.head());
        healthy_for(&server, ALONE);
        let looking: Vec<_> = others
            .iter()
            .enumerate()
            .map(|(number, upload)| {
                scope.spawn(move || match number % 2 {
                    0 => upload.head(),
                    _ => upload.patch(5, " wor"),
                })
            })
            .collect();
        healthy_for(&server, TOGETHER);
        assert!(!alone.is_finished(), "nothing hung");
        drop(strace);
        for hung in looking {
            hung.join().unwrap().expect_one(&[200, 204]);
        }
        alone.join().unwrap().expect(200);
    });
    healthy_for(&server, Duration::ZERO);
    let offsets: Vec<u64> = uploads.iter().map(Upload::offset).collect();
    let patched = |number: usize| number > 0 && number.is_multiple_of(2);
    let expected = (0..32).map(|number| if patched(number) { 9 } else { 5 });
    assert!(offsets.iter().copied().eq(expected), "{offsets:?}");
    nothing_panicked(&server);
}
