//! The runtime that the server is made for.

use std::{io, num::NonZeroUsize, thread};

use tokio::runtime::{Builder, Runtime};

use crate::blocking::Spots;

/// Blocking threads at most: every active request may hold one that hashes and writes.
const BLOCKING_MAX: usize = 512;

/// A runtime whose threads do on the spot what takes a moment, one for each CPU. As many more are
/// there, so that some are left for everything else when all of those hang on a disk.
pub fn runtime() -> io::Result<Runtime> {
    let cpus = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let spots = Spots::new(cpus);
    let own = spots.clone();
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .worker_threads(cpus.saturating_mul(2))
        .max_blocking_threads(BLOCKING_MAX)
        .on_thread_start(move || own.admit_thread())
        .build()?;
    spots.watch(runtime.handle().clone())?;
    Ok(runtime)
}
