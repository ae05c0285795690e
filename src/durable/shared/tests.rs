use std::{
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use super::*;

const WAITING: usize = 3;

/// A round is wanted by so many.
fn until_wanted(rounds: &Rounds, by: usize) {
    while Arc::strong_count(&rounds.turn().next) < 1 + by {
        thread::yield_now();
    }
}

// spec: STORE-99
#[test]
fn who_asks_while_a_flush_runs_shares_the_next_one_and_its_failure() {
    let (rounds, flushes) = (Rounds::default(), AtomicUsize::new(0));
    let (go, wait) = mpsc::channel::<()>();
    let full = || Err(io::Error::from_raw_os_error(28));
    let count_and_fail = || {
        flushes.fetch_add(1, Ordering::Relaxed);
        full()
    };
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            let wait = wait;
            rounds.take_part(|| {
                flushes.fetch_add(1, Ordering::Relaxed);
                wait.recv().unwrap();
                Ok(())
            })
        });
        while flushes.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        let ask = || scope.spawn(|| rounds.take_part(count_and_fail));
        let others: Vec<_> = (0..WAITING).map(|_| ask()).collect();
        until_wanted(&rounds, WAITING);
        assert_eq!(flushes.load(Ordering::Relaxed), 1, "none begins while one runs");
        go.send(()).unwrap();
        first.join().unwrap().unwrap();
        for other in others {
            let error = other.join().unwrap().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(28));
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }
    });
    assert_eq!(flushes.load(Ordering::Relaxed), 2, "one for all who waited");

    // A failure is told to those whose flush it was, and to nobody else.
    rounds.take_part(|| Ok(())).unwrap();
    assert_eq!(rounds.take_part(full).unwrap_err().raw_os_error(), Some(28));
}

#[test]
fn no_flush_is_shared_that_began_before_it_was_asked_for() {
    let (rounds, time, whole) = (Rounds::default(), AtomicUsize::new(1), AtomicUsize::new(0));
    let flush = || {
        let began = time.fetch_add(1, Ordering::SeqCst);
        thread::yield_now();
        whole.fetch_max(began, Ordering::SeqCst);
        Ok(())
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let asked = time.fetch_add(1, Ordering::SeqCst);
                    rounds.take_part(flush).unwrap();
                    assert!(whole.load(Ordering::SeqCst) > asked);
                }
            });
        }
    });
}
