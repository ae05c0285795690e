//! Could bytes be stored now? Asked by whoever decides where requests go.

use std::{
    io::{self, ErrorKind},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Mutex, time};

use super::Ingest;
use crate::{blocking, clock::Stopwatch, storage::Storage};

/// How long an answer stays true: whoever asks all the time does not keep the disk busy.
const FRESH: Duration = Duration::from_secs(1);
/// How long a disk may take. One that hangs stores nothing either.
const PATIENCE: Duration = Duration::from_secs(3);
/// Bytes that are tried: a block of most file systems.
const TRIED: usize = 4096;

/// What was found last.
#[derive(Debug, Clone, Default)]
pub(super) struct Readiness(Arc<Mutex<Option<Found>>>);

#[derive(Debug)]
struct Found {
    at: Stopwatch,
    failed: Option<ErrorKind>,
}

impl Ingest {
    /// Tries to stage a few bytes, which go at once; at most once a second, and by one at a time.
    ///
    /// # Errors
    /// Those of the storage; `TimedOut` where it hangs.
    pub async fn ready(&self) -> io::Result<()> {
        let (found, storage) = (self.readiness.0.clone(), self.holds.storage().clone());
        let looking = async move {
            let mut found = found.lock_owned().await;
            if let Some(fresh) = found.as_ref().filter(|found| found.at.elapsed() < FRESH) {
                return fresh.failed;
            }
            // In a task of its own with the lock: those who give up waiting do not set another
            // one on a disk that hangs.
            let look = tokio::spawn(async move {
                let tried = blocking::run(move || try_to_store(&*storage)).await;
                let failed = tried.err().map(|error| {
                    tracing::error!(%error, "nothing can be stored");
                    error.kind()
                });
                *found = Some(Found { at: Stopwatch::start(), failed });
                failed
            });
            look.await.unwrap_or(Some(ErrorKind::Other))
        };
        match time::timeout(PATIENCE, looking).await {
            Ok(None) => Ok(()),
            Ok(Some(failed)) => Err(failed.into()),
            Err(_) => Err(ErrorKind::TimedOut.into()),
        }
    }
}

fn try_to_store(storage: &dyn Storage) -> io::Result<()> {
    storage.stage()?.write_at(&[0; TRIED], 0)
}
