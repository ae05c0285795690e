//! What `crate::sync` names, with a moment before each call at which others may go first.

pub(super) mod threads {
    pub(in super::super) use shuttle::sync::{Mutex, MutexGuard, mpsc};
}

pub(super) mod atomics {
    pub(in super::super) use shuttle::sync::atomic::{AtomicUsize, Ordering};
}

pub(super) mod tasks {
    use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

    use shuttle::rand::{Rng, thread_rng};
    use tokio::sync::{self, AcquireError, TryAcquireError, TryLockError};

    /// Others may go first.
    fn pause() {
        if !std::thread::panicking() {
            shuttle::hint::spin_loop();
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(Arc<sync::Mutex<T>>);

    pub(crate) struct OwnedMutexGuard<T>(Option<sync::OwnedMutexGuard<T>>);

    impl<T> Mutex<T> {
        pub(crate) fn try_lock_owned(self: Arc<Self>) -> Result<OwnedMutexGuard<T>, TryLockError> {
            pause();
            self.0.clone().try_lock_owned().map(|guard| OwnedMutexGuard(Some(guard)))
        }

        pub(crate) async fn lock_owned(self: Arc<Self>) -> OwnedMutexGuard<T> {
            pause();
            OwnedMutexGuard(Some(self.0.clone().lock_owned().await))
        }
    }

    impl<T> Drop for OwnedMutexGuard<T> {
        fn drop(&mut self) {
            pause();
            self.0.take();
        }
    }

    #[derive(Debug)]
    pub(crate) struct Semaphore(Arc<sync::Semaphore>);

    #[derive(Debug)]
    pub(crate) struct OwnedSemaphorePermit(Option<sync::OwnedSemaphorePermit>);

    impl Semaphore {
        pub(crate) const MAX_PERMITS: usize = sync::Semaphore::MAX_PERMITS;

        pub(crate) fn new(permits: usize) -> Self {
            Self(Arc::new(sync::Semaphore::new(permits)))
        }

        pub(crate) fn available_permits(&self) -> usize {
            pause();
            self.0.available_permits()
        }

        pub(crate) fn try_acquire_owned(
            self: Arc<Self>,
        ) -> Result<OwnedSemaphorePermit, TryAcquireError> {
            pause();
            self.0.clone().try_acquire_owned().map(|permit| OwnedSemaphorePermit(Some(permit)))
        }

        pub(crate) async fn acquire_owned(
            self: Arc<Self>,
        ) -> Result<OwnedSemaphorePermit, AcquireError> {
            pause();
            let permit = self.0.clone().acquire_owned().await;
            permit.map(|permit| OwnedSemaphorePermit(Some(permit)))
        }
    }

    impl Drop for OwnedSemaphorePermit {
        fn drop(&mut self) {
            pause();
            self.0.take();
        }
    }

    pub(crate) mod watch {
        use tokio::sync::watch;

        use super::pause;

        #[derive(Debug)]
        pub(crate) struct Sender<T>(watch::Sender<T>);

        #[derive(Debug, Clone)]
        pub(crate) struct Receiver<T>(watch::Receiver<T>);

        pub(crate) struct Copied<T>(T);

        impl<T> std::ops::Deref for Copied<T> {
            type Target = T;

            fn deref(&self) -> &T {
                &self.0
            }
        }

        impl<T: Copy> Sender<T> {
            pub(crate) fn new(value: T) -> Self {
                Self(watch::Sender::new(value))
            }

            pub(crate) fn send_modify(&self, modify: impl FnOnce(&mut T)) {
                pause();
                self.0.send_modify(modify);
            }

            /// A copy: whoever looks at the value must not hold its lock while others go first.
            pub(crate) fn borrow(&self) -> Copied<T> {
                pause();
                Copied(*self.0.borrow())
            }

            pub(crate) fn subscribe(&self) -> Receiver<T> {
                pause();
                Receiver(self.0.subscribe())
            }
        }

        impl<T: Copy> Receiver<T> {
            pub(crate) async fn wait_for(
                &mut self,
                wanted: impl FnMut(&T) -> bool,
            ) -> Result<T, watch::error::RecvError> {
                pause();
                self.0.wait_for(wanted).await.map(|value| *value)
            }
        }
    }

    pub(crate) mod mpsc {
        use tokio::sync::mpsc;

        use super::pause;

        pub(crate) struct Sender<T>(Option<mpsc::Sender<T>>);
        pub(crate) struct Receiver<T>(mpsc::Receiver<T>);

        pub(crate) fn channel<T>(places: usize) -> (Sender<T>, Receiver<T>) {
            let (sender, receiver) = mpsc::channel(places);
            (Sender(Some(sender)), Receiver(receiver))
        }

        impl<T> Sender<T> {
            pub(crate) async fn send(&self, value: T) -> Result<(), mpsc::error::SendError<T>> {
                pause();
                self.0.as_ref().expect("it is taken only when dropped").send(value).await
            }
        }

        impl<T> Drop for Sender<T> {
            fn drop(&mut self) {
                pause();
                self.0.take();
            }
        }

        impl<T> Receiver<T> {
            pub(crate) fn blocking_recv(&mut self) -> Option<T> {
                pause();
                shuttle::future::block_on(self.0.recv())
            }
        }
    }

    pub(crate) struct Elapsed;

    /// The time may be over at any moment, or never.
    pub(crate) async fn timeout<F: Future>(_: Duration, future: F) -> Result<F::Output, Elapsed> {
        let mut left = thread_rng().gen_bool(0.3).then(|| thread_rng().gen_range(0..8));
        let mut future = pin!(future);
        poll_fn(|context| match future.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending if left == Some(0) => Poll::Ready(Err(Elapsed)),
            Poll::Pending => {
                left = left.map(|left: u8| left - 1);
                if left.is_some() {
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            }
        })
        .await
    }

    /// Ends at some moment.
    pub(crate) async fn sleep(_: Duration) {
        for _ in 0..thread_rng().gen_range(0..4) {
            shuttle::future::yield_now().await;
        }
    }
}
