//! Descriptors: how many the process may have, and how many connections that leaves room for.

use std::num::NonZeroUsize;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::places::LOBBY;
use crate::config::Config;

/// An upload that brings bytes has its ledger open, the file that they go to, and a lock.
const PER_UPLOAD: usize = 3;
/// What is open besides: ledgers and files that are kept for a while (1,536), a file for each
/// blocking thread (512), those that are turned away, and the process's own.
const HOUSE: usize = 1536 + 512 + 2 * LOBBY + 64;

/// Takes as many descriptors as the system gives without being asked twice (the hard limit of open
/// files), and says how many connections fit, `--max-connections` at most. Where they are fewer,
/// that is logged, with the number of descriptors that would do.
pub(super) fn connections(config: &Config) -> usize {
    let given = raise();
    let wanted = config.max_connections.get();
    let (fit, needed) = fit(given, wanted, config.max_uploads);
    if fit < wanted {
        tracing::warn!(
            "only {fit} connections fit into {given} open files; for {wanted} (--max-connections) \
             allow {needed} (ulimit -n, LimitNOFILE)"
        );
    }
    fit
}

/// How many connections fit into so many descriptors, and how many descriptors all would need. Of
/// very few descriptors half are for connections.
fn fit(given: usize, wanted: usize, uploads: Option<NonZeroUsize>) -> (usize, usize) {
    // No more bodies than connections, where they are not many to one.
    let uploads = uploads.map_or(wanted, |uploads| uploads.get().min(wanted));
    let besides = uploads.saturating_mul(PER_UPLOAD).saturating_add(HOUSE);
    let room = given.saturating_sub(besides).max(given / 2).max(1);
    (wanted.min(room), wanted.saturating_add(besides))
}

fn raise() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return count(limit.current);
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => count(limit.maximum),
        Err(error) => {
            tracing::debug!(%error, "the limit of open files stays as it is");
            count(limit.current)
        }
    }
}

/// `None` is without limit.
fn count(limit: Option<u64>) -> usize {
    limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_before_connections() {
        let fit = |given, wanted, uploads| fit(given, wanted, NonZeroUsize::new(uploads));
        assert_eq!(fit(usize::MAX, 10_000, 2048).0, 10_000);
        let (_, needed) = fit(0, 10_000, 2048);
        assert_eq!(fit(needed, 10_000, 2048), (10_000, needed));
        assert_eq!(fit(needed - 1, 10_000, 2048), (9_999, needed));
        assert_eq!(fit(1024, 10_000, 2048).0, 512);
        assert_eq!(fit(1024, 50, 2048).0, 50);
        assert!(needed <= 20_000, "the defaults do not fit into a usual limit: {needed}");
    }
}
