//! One at a time, nobody forgotten, nothing left behind.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroUsize,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use shuttle::{
    Config, Runner,
    future::{block_on, spawn, yield_now},
    rand::{Rng, thread_rng},
    scheduler::{PctScheduler, RandomScheduler},
};
use tokio_util::sync::CancellationToken;

use super::{
    blocking::Span,
    buffers::BufferPool,
    line::Turns,
    pairs::Pairs,
    pump::{End, Sink, Transfers, pump},
    queue::{Locks, Manner},
    source::{Broken, Source},
    sync::tasks::Semaphore,
};
use crate::{
    hold::HoldError,
    state::contract::id,
    upload::{RunningSha256, Sha256Digest},
};

/// Tries `few` orders of each kind, or as many as fit into half of the seconds of `PITON_LONG`.
#[allow(clippy::disallowed_methods, reason = "a test's own setting")]
fn explore(few: usize, scene: impl Fn() + Send + Sync + 'static) {
    let scene = Arc::new(scene);
    let long = std::env::var("PITON_LONG").ok().and_then(|text| text.parse().ok());
    let mut config = Config::default();
    config.stack_size = 1 << 18;
    config.max_time = long.map(|seconds: u64| Duration::from_secs(seconds) / 2);
    let few = if long.is_some() { usize::MAX } else { few };
    let (by_chance, by_depth) = (scene.clone(), scene);
    let tried = Runner::new(RandomScheduler::new(few), config.clone()).run(move || by_chance());
    let tried = tried + Runner::new(PctScheduler::new(3, few), config).run(move || by_depth());
    println!("{tried} orders");
}

/// A future that is dropped after so many polls, if it is not done before.
struct Fleeting<F>(Option<Pin<Box<F>>>, usize);

impl<F: Future> Fleeting<F> {
    /// Most live as long as they want.
    fn perhaps(future: F) -> Self {
        let polls = thread_rng().gen_bool(0.3).then(|| thread_rng().gen_range(0..6));
        Self(Some(Box::pin(future)), polls.unwrap_or(usize::MAX))
    }
}

impl<F: Future> Future for Fleeting<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.1 == 0 {
            self.0 = None;
            return Poll::Ready(None);
        }
        if self.1 < usize::MAX {
            self.1 -= 1;
            context.waker().wake_by_ref();
        }
        let future = self.0.as_mut().expect("it is not polled after its end");
        future.as_mut().poll(context).map(Some)
    }
}

/// How many are inside at the same time; never more than there is room for.
#[derive(Debug, Default)]
struct Inside(AtomicUsize);

impl Inside {
    async fn stay(&self, room: usize) {
        assert!(self.0.fetch_add(1, Ordering::SeqCst) < room, "too many at the same time");
        for _ in 0..thread_rng().gen_range(0..3) {
            yield_now().await;
        }
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn in_chance_order(count: usize, task: impl Fn(usize) -> Pin<Box<dyn Future<Output = ()> + Send>>) {
    let tasks: Vec<_> = (0..count).map(|number| spawn(task(number))).collect();
    block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
}

// spec: STORE-5
#[test]
fn an_upload_has_one_holder_and_whoever_goes_on_asking_gets_it() {
    explore(2000, || {
        let (locks, inside) =
            (Arc::new(Locks::new(Duration::from_secs(3))), Arc::new(Inside::default()));
        in_chance_order(4, |number| {
            let (locks, inside) = (locks.clone(), inside.clone());
            Box::pin(async move {
                let id = id("a1");
                let manner = if number == 3 { Manner::Patient } else { Manner::Asking };
                // One comes and goes; the others want it for sure.
                let held = loop {
                    let waiting = Fleeting::perhaps(locks.take(&id, manner));
                    match waiting.await {
                        Some(Ok(held)) => break Some(held),
                        _ if number == 0 => break None,
                        _ => yield_now().await,
                    }
                };
                let Some(held) = held else { return };
                inside.stay(1).await;
                drop(held);
            })
        });
        assert_eq!(locks.queues(), 0, "a queue nobody stands in");
        assert!(locks.try_take(&id("a1")).is_some());
    });
}

// A holder that leaves for nobody but a newcomer who asks.
// spec: TUS-22
#[test]
fn a_holder_hears_every_newcomer() {
    explore(2000, || {
        let locks = Arc::new(Locks::new(Duration::from_secs(3)));
        let first = locks.try_take(&id("a1")).unwrap();
        let newcomer = {
            let locks = locks.clone();
            spawn(async move {
                // Who gave up, or was dropped, asks again: the holder must not have missed it.
                loop {
                    let id = id("a1");
                    let waiting = Fleeting::perhaps(locks.take(&id, Manner::Asking));
                    if let Some(Ok(held)) = waiting.await {
                        assert!(!held.is_wanted(), "the wish outlived its fulfilment");
                        return;
                    }
                }
            })
        };
        let holder = spawn(async move {
            first.leave_signal().asked().await;
            drop(first);
        });
        block_on(async {
            holder.await.unwrap();
            newcomer.await.unwrap();
        });
        assert_eq!(locks.queues(), 0);
    });
}

#[test]
fn places_given_up_by_threads_leave_no_queue_and_share_it() {
    explore(2000, || {
        let locks = Arc::new(Locks::new(Duration::ZERO));
        let inside = Arc::new(AtomicUsize::new(0));
        let threads = [(); 3].map(|()| {
            let (locks, inside) = (locks.clone(), inside.clone());
            shuttle::thread::spawn(move || {
                for _ in 0..2 {
                    let Some(held) = locks.try_take(&id("a1")) else { continue };
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two queues for one");
                    shuttle::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(held);
                }
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(locks.queues(), 0);
    });
}

#[test]
fn buffers_are_bounded_and_all_come_back() {
    explore(1000, || {
        let (pool, inside) = (BufferPool::new(0), Arc::new(Inside::default()));
        let all = pool.usage().1;
        in_chance_order(all + 3, |_| {
            let (pool, inside) = (pool.clone(), inside.clone());
            Box::pin(async move {
                let Some(mut buffer) = Fleeting::perhaps(pool.take()).await else { return };
                assert!(buffer.as_ref().is_empty(), "bytes of another upload");
                assert!(buffer.fill(b"bytes").is_empty());
                inside.stay(all).await;
                assert_eq!(buffer.as_ref(), b"bytes");
                assert!(pool.usage().0 <= all);
            })
        });
        assert_eq!(pool.usage(), (0, all));
        assert!(pool.kept() <= all, "more buffers were made than there may be");
    });
}

#[test]
fn buffers_are_handed_out_in_the_order_of_asking() {
    let scene = || {
        let pool = BufferPool::new(0);
        block_on(async {
            let mut held = Vec::new();
            for _ in 0..pool.usage().1 {
                held.push(pool.take().await);
            }
            let [mut first, mut second, mut third] = [(); 3].map(|()| Box::pin(pool.take()));
            for waiting in [&mut first, &mut second, &mut third] {
                assert!(now(waiting.as_mut()).await.is_none());
            }
            held.pop();
            assert!(now(third.as_mut()).await.is_none(), "the last came first");
            // Who goes away is waited for by nobody.
            drop(first);
            assert!(now(third.as_mut()).await.is_none(), "the last came first");
            assert!(now(second.as_mut()).await.is_some());
            held.pop();
            assert!(now(third.as_mut()).await.is_some());
        });
    };
    shuttle::check_random(scene, 1);
}

/// What a future says now.
async fn now<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

// spec: CHUNK-35
#[test]
fn turns_are_taken_one_after_the_other_and_lines_go_with_the_last() {
    explore(2000, || {
        let turns = Arc::new(Turns::default());
        let inside = Arc::new([Inside::default(), Inside::default()]);
        in_chance_order(6, |number| {
            let (turns, inside) = (turns.clone(), inside.clone());
            Box::pin(async move {
                let (line, places) = (number % 2, NonZeroUsize::MIN);
                let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, u8::try_from(line).unwrap()));
                let turn = turns.take((address, places), Duration::from_secs(1));
                let Some(Some(turn)) = Fleeting::perhaps(turn).await else { return };
                inside[line].stay(1).await;
                drop(turn);
            })
        });
        assert_eq!((turns.waiting(), turns.standing()), (0, 0));
    });
}

const FRAME: usize = 300 * 1024;

/// A body of a few frames that come when they like.
struct Frames(usize);

impl Source for Frames {
    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        static FRAME_BYTES: OnceLock<Bytes> = OnceLock::new();
        if thread_rng().gen_bool(0.3) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(left) = self.0.checked_sub(1) else { return Poll::Ready(None) };
        self.0 = left;
        let bytes = FRAME_BYTES.get_or_init(|| Bytes::from(vec![7; FRAME]));
        Poll::Ready(Some(Ok(bytes.clone())))
    }

    fn announced(&self) -> Option<u64> {
        None
    }
}

/// Counts what reaches it; perhaps it fails.
struct Counting(usize, Option<usize>);

impl Sink for Counting {
    fn write(&mut self, bytes: Bytes) -> Result<(), HoldError> {
        shuttle::thread::yield_now();
        if self.1.is_some_and(|bound| self.0 >= bound) {
            return Err(HoldError::Busy);
        }
        self.0 += bytes.len();
        Ok(())
    }

    fn span(&self) -> Span {
        Span::Moment
    }
}

/// More bodies than there are threads and buffers for: whoever holds a buffer can write it, so all
/// come to their end, whoever is dropped, taken over, stopped or fails.
#[test]
fn all_bodies_come_to_an_end_and_all_buffers_and_threads_back() {
    explore(300, || {
        let transfers = Transfers {
            pool: BufferPool::new(0),
            writers: Arc::new(Semaphore::new(2)),
            stop: CancellationToken::new(),
        };
        let locks = Arc::new(Locks::new(Duration::from_secs(3)));
        in_chance_order(8, |number| {
            let (transfers, locks) = (transfers.clone(), locks.clone());
            Box::pin(async move {
                let (first, id) = (id("a0"), id(&format!("a{number}")));
                if number == 7 {
                    // Takes the first one over, perhaps, and stops the rest, perhaps.
                    drop(Fleeting::perhaps(locks.take(&first, Manner::Asking)).await);
                    if thread_rng().gen_bool(0.2) {
                        transfers.stop.cancel();
                    }
                    return;
                }
                let Some(held) = locks.try_take(&id) else { return };
                let frames = thread_rng().gen_range(0..6);
                let fails = thread_rng().gen_bool(0.1).then_some(FRAME);
                let mut source = Frames(frames);
                let leave = Some(held.leave_signal());
                let moved = pump(&transfers, &mut source, (Counting(0, fails), u64::MAX), leave);
                let Some((sink, end)) = Fleeting::perhaps(moved).await else { return };
                match end {
                    Ok(End::Complete) => assert_eq!(sink.0, frames * FRAME),
                    Ok(End::TakenOver | End::Stopping) => assert!(sink.0 <= frames * FRAME),
                    other => assert!(other.is_err() && fails.is_some(), "{other:?}"),
                }
            })
        });
        // Threads of those that were dropped write what they have.
        let mut patience = 10_000;
        while transfers.pool.usage().0 > 0 || transfers.writers.available_permits() < 2 {
            patience -= 1;
            assert!(patience > 0, "{:?} buffers", transfers.pool.usage());
            shuttle::thread::yield_now();
        }
        assert_eq!(locks.queues(), 0);
    });
}

/// Whoever is taken along in another's second lane gets its own digest, and is never left there.
// spec: STORE-98
#[test]
fn threads_that_hash_in_pairs_get_their_own_digests() {
    explore(100, || {
        let pairs = Arc::new(Pairs::new(2));
        let threads = (0..4).map(|number| {
            let pairs = pairs.clone();
            shuttle::thread::spawn(move || {
                let length = thread_rng().gen_range(1..160) * 1024 + usize::from(number);
                let bytes = Bytes::from(vec![number; length]);
                let mut running = RunningSha256::new();
                for _ in 0..2 {
                    pairs.hash(&mut running, bytes.clone());
                }
                let whole = [&*bytes, &*bytes].concat();
                assert_eq!(running.finish(), Sha256Digest::of(&whole));
            })
        });
        let threads: Vec<_> = threads.collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}
