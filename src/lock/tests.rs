//! One holder, newcomers that ask, and nothing kept for those who left.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time};

use super::{Busy, Locks, Manner};
use crate::{state::contract::id, upload::UploadId};

fn locks(patience: u64) -> Arc<Locks> {
    Arc::new(Locks::new(Duration::from_millis(patience)))
}

async fn take(locks: &Locks, id: &UploadId) -> super::UploadGuard {
    locks.take(id, Manner::Asking).await.unwrap()
}

#[tokio::test]
async fn a_newcomer_asks_and_the_holder_hears_it() {
    let (locks, id) = (locks(3000), id("a1"));
    let held = take(&locks, &id).await;
    assert!(!held.is_wanted());
    let mut signal = held.leave_signal();
    assert!(time::timeout(Duration::from_millis(10), signal.asked()).await.is_err());

    let (others, own) = (locks.clone(), id.clone());
    let newcomer = tokio::spawn(async move { take(&others, &own).await });
    signal.asked().await;
    assert!(held.is_wanted());
    // Who comes to listen later hears it, too.
    held.leave_signal().asked().await;
    drop(held);
    let held = newcomer.await.unwrap();
    assert_eq!((held.id(), held.is_wanted()), (&id, false));
}

#[tokio::test]
async fn who_waits_in_line_asks_nobody_to_leave() {
    let (locks, id) = (locks(30), id("a2"));
    let held = take(&locks, &id).await;
    let mut signal = held.leave_signal();
    let patient = locks.take(&id, Manner::Patient);
    tokio::select! {
        refused = patient => assert_eq!(refused.unwrap_err(), Busy),
        () = signal.asked() => panic!("nobody asked"),
    }
    assert!(!held.is_wanted());
}

#[tokio::test]
async fn patience_ends_and_the_wish_with_it() {
    let (locks, id) = (locks(20), id("a3"));
    let held = take(&locks, &id).await;
    assert_eq!(locks.take(&id, Manner::Asking).await.unwrap_err(), Busy);
    assert!(!held.is_wanted());
    // A newcomer that goes away before its time is forgotten as well.
    let _ = time::timeout(Duration::from_millis(5), locks.take(&id, Manner::Asking)).await;
    assert!(!held.is_wanted());
    drop(held);
    assert_eq!(locks.queues(), 0);
}

#[tokio::test]
async fn only_a_free_upload_is_taken_without_waiting() {
    let (locks, id, other) = (locks(20), id("a4"), id("a5"));
    let held = locks.try_take(&id).unwrap();
    assert!(locks.try_take(&id).is_none());
    assert!(!held.is_wanted());
    let free = locks.try_take(&other).unwrap();
    drop(held);
    assert!(locks.try_take(&id).is_some());
    drop(free);
    assert_eq!(locks.queues(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_newcomers_hold_one_after_the_other() {
    let (locks, id) = (locks(10_000), id("a6"));
    let inside = Arc::new(tokio::sync::Mutex::new(()));
    let mut tasks = JoinSet::new();
    for _ in 0..200 {
        let (locks, id, inside) = (locks.clone(), id.clone(), inside.clone());
        tasks.spawn(async move {
            let guard = take(&locks, &id).await;
            let alone = inside.try_lock().expect("two held it at once");
            tokio::task::yield_now().await;
            drop(alone);
            // A guard goes from task to task.
            tokio::spawn(async move { drop(guard) }).await.unwrap();
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(locks.queues(), 0);
}

#[test]
fn places_that_are_given_up_at_once_leave_no_queue() {
    let locks = locks(20);
    for round in 0..2000 {
        let id = id(&format!("{round:04x}"));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| drop(locks.try_take(&id)));
            }
        });
    }
    assert_eq!(locks.queues(), 0);
}
