//! Spots: places from which threads of the runtime touch the disk themselves, where it is a matter
//! of microseconds.
//!
//! A disk can hang at any call. So there are fewer spots than threads, and whatever finds none free
//! goes to a blocking thread; and a thread of its own, the watch, looks after them. A thread of the
//! runtime that is late on a spot may be the one that should hear of the network next: the watch
//! has another one do so. Where one hangs, nobody takes a spot until a while after its end.
//!
//! What waits on a hanging thread all the same is a task that its task woke just before.

use std::{
    cell::RefCell,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use tokio::runtime::Handle;

/// How often the watch looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Work that takes longer is late: it was seen twice at least.
const LATE: Duration = Duration::from_millis(10);
/// Work that takes longer hangs. A machine that is busy makes it take so long seldom.
const HANGING: Duration = Duration::from_millis(50);
/// Looks after which spots are taken again, once nothing hangs any more: half a second.
const WARY_FOR: u64 = 100;
/// Looks without any work after which the watch sleeps.
const AWAKE_FOR: u32 = 20;
/// What a free spot says; a taken one says at which look it was taken.
const FREE: u64 = 0;

thread_local! {
    /// Where the thread may take a spot, if it may.
    static MINE: RefCell<Option<Arc<Spots>>> = const { RefCell::new(None) };
}

/// Spots that some threads share.
#[derive(Debug)]
pub struct Spots {
    places: Box<[AtomicU64]>,
    /// Looks of the watch so far, and one.
    looks: AtomicU64,
    /// The look from which on spots may be taken.
    open_from: AtomicU64,
    /// Was one taken since the last look?
    used: AtomicBool,
    asleep: AtomicBool,
    watch: OnceLock<Thread>,
}

/// A taken spot; free again when dropped.
struct Taken<'a>(&'a AtomicU64);

/// Does `work` on a spot; gives it back where the thread may take none, or none is free.
pub(super) fn on_one<T, F: FnOnce() -> T>(work: F) -> Result<T, F> {
    MINE.with_borrow(|mine| match mine.as_ref().and_then(|spots| spots.take()) {
        Some(_taken) => Ok(work()),
        None => Err(work),
    })
}

impl Spots {
    /// So many, none of which is taken before [`Spots::watch`].
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            places: (0..count).map(|_| AtomicU64::new(FREE)).collect(),
            looks: AtomicU64::new(1),
            open_from: AtomicU64::new(u64::MAX),
            used: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            watch: OnceLock::new(),
        })
    }

    /// From now on this thread may take one.
    pub fn admit_thread(self: &Arc<Self>) {
        MINE.set(Some(self.clone()));
    }

    /// Begins to watch them. `runtime` is that of the threads, which are more than there are spots.
    pub fn watch(self: &Arc<Self>, runtime: Handle) -> io::Result<()> {
        let own = self.clone();
        let watch = thread::Builder::new().name("watch".to_owned());
        let watch = watch.spawn(move || own.keep_watch(&runtime))?;
        let _ = self.watch.set(watch.thread().clone());
        self.open_from.store(0, Ordering::Release);
        Ok(())
    }

    fn take(&self) -> Option<Taken<'_>> {
        let look = self.looks.load(Ordering::Relaxed);
        if look < self.open_from.load(Ordering::Acquire) {
            return None;
        }
        let take = |spot: &&AtomicU64| {
            spot.compare_exchange(FREE, look, Ordering::SeqCst, Ordering::Relaxed).is_ok()
        };
        let taken = Taken(self.places.iter().find(take)?);
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        // Either the watch sees the spot taken before it sleeps, or this sees that it does.
        if self.asleep.load(Ordering::SeqCst)
            && let Some(watch) = self.watch.get()
        {
            watch.unpark();
        }
        Some(taken)
    }

    fn keep_watch(&self, runtime: &Handle) {
        let mut quiet = 0;
        loop {
            thread::sleep(LOOK_EVERY);
            let look = self.looks.fetch_add(1, Ordering::Relaxed).saturating_add(1);
            let looks = self.oldest().map_or(0, |since| look.saturating_sub(since));
            let age = LOOK_EVERY.saturating_mul(u32::try_from(looks).unwrap_or(u32::MAX));
            if age >= LATE {
                // Whichever thread takes this looks for other work too, and then at the network.
                runtime.spawn(async {});
            }
            if age >= HANGING {
                self.open_from.store(look.saturating_add(WARY_FOR), Ordering::Release);
            }
            let used = self.used.swap(false, Ordering::Relaxed);
            quiet = if used { 0 } else { quiet + 1 };
            if quiet >= AWAKE_FOR && look >= self.open_from.load(Ordering::Acquire) {
                self.sleep();
                quiet = 0;
            }
        }
    }

    /// The look at which the oldest work on a spot began.
    fn oldest(&self) -> Option<u64> {
        let taken = self.places.iter().map(|spot| spot.load(Ordering::Acquire));
        taken.filter(|since| *since != FREE).min()
    }

    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        if self.places.iter().all(|spot| spot.load(Ordering::SeqCst) == FREE) {
            thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.store(FREE, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use std::{panic::resume_unwind, sync::mpsc};

    use tokio::{
        runtime::{Builder, Runtime},
        time::{sleep, timeout},
    };

    use super::{
        super::{Span, run_for},
        *,
    };

    const LONG: Duration = Duration::from_secs(30);

    /// Two threads, and a spot for one of them. Nobody watches them: whatever a busy machine holds
    /// up for long would hang, and close the spots for a while.
    fn unwatched() -> (Runtime, Arc<Spots>) {
        let spots = Spots::new(1);
        let own = spots.clone();
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .worker_threads(2)
            .on_thread_start(move || own.admit_thread())
            .build()
            .unwrap();
        spots.open_from.store(0, Ordering::Release);
        (runtime, spots)
    }

    /// Is a moment's work done by the thread that asks for it?
    async fn is_on_the_spot() -> bool {
        let asks = thread::current().id();
        run_for(Span::Moment, move || thread::current().id() == asks).await
    }

    /// Hangs on a spot until something is sent or dropped.
    fn hang(runtime: &Runtime) -> mpsc::Sender<()> {
        let (go_on, waits) = mpsc::channel();
        let (hangs, hung) = mpsc::channel();
        runtime.spawn(run_for(Span::Moment, move || {
            hangs.send(()).unwrap();
            waits.recv()
        }));
        hung.recv().unwrap();
        go_on
    }

    #[test]
    fn whoever_finds_no_spot_goes_to_a_blocking_thread() {
        let (runtime, spots) = unwatched();
        let ask = || runtime.block_on(runtime.spawn(is_on_the_spot())).unwrap();
        assert!(ask());
        let taken = spots.take().unwrap();
        assert!(!ask());
        drop(taken);
        assert!(ask());
        let long = run_for(Span::Open, || thread::current().id());
        let (long, own) = runtime
            .block_on(runtime.spawn(async { (long.await, thread::current().id()) }))
            .unwrap();
        assert_ne!(long, own);
        // Of no other runtime.
        assert!(!runtime.block_on(is_on_the_spot()));
    }

    // spec: CORE-99
    #[test]
    fn the_network_is_looked_after_while_a_spot_hangs() {
        let (runtime, spots) = unwatched();
        spots.watch(runtime.handle().clone()).unwrap();
        // Also when the watch was asleep, and whichever thread had the network last.
        for _ in 0..3 {
            let (rings, rung) = mpsc::channel();
            runtime.spawn(async move {
                sleep(LATE).await;
                rings.send(())
            });
            let go_on = hang(&runtime);
            rung.recv_timeout(LONG).unwrap();
            while spots.open_from.load(Ordering::Acquire) == 0 {
                thread::sleep(LOOK_EVERY);
            }
            assert!(spots.take().is_none());
            drop(go_on);
            // They are taken again after a while.
            let again = async {
                while spots.take().is_none() {
                    sleep(LOOK_EVERY).await;
                }
            };
            runtime.block_on(async { timeout(LONG, again).await }).unwrap();
            spots.open_from.store(0, Ordering::Release);
            while !spots.asleep.load(Ordering::SeqCst) {
                thread::sleep(LOOK_EVERY);
            }
        }
    }

    #[test]
    fn a_panic_gives_the_spot_back() {
        let (runtime, _spots) = unwatched();
        // Told to nobody: to write down where it happened takes long.
        let fails = run_for(Span::Moment, || resume_unwind(Box::new(())));
        assert!(runtime.block_on(runtime.spawn(fails)).is_err());
        assert!(runtime.block_on(runtime.spawn(is_on_the_spot())).unwrap());
    }
}
