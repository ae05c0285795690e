//! The river flows one way: which room may name which.

use super::source::{Source, paths};

/// Who may name whom. `durable::Flush` and `durable::Durability` are values and may be named where
/// a flush is decided on; the calls behind them may not. `blocking` is the door to the blocking
/// threads, `sync` what tasks wait for each other with.
const MAY: [(&str, &[&str]); 21] = [
    ("main", &["config", "server", "telemetry", "audit"]),
    ("lib", &[]),
    ("config", &["mutants::Mutant"]),
    ("telemetry", &["config::LogFormat"]),
    ("server", &ALL_BUT_MAIN),
    ("service", &[COUNTING, "protocol", "ingest", "upload", "sync"]),
    ("protocol", &["upload"]),
    (
        "ingest",
        &[
            COUNTING, "upload", "state", "storage", "lock", "hold", "merger", "clock", "blocking",
            FLUSH, DURABILITY, "sync",
        ],
    ),
    (
        "merger",
        &[COUNTING, "upload", "state", "storage", "lock", "hold", "clock", "blocking", FLUSH],
    ),
    ("reaper", &["upload", "state", "storage", "lock", "hold", "clock", "blocking"]),
    (
        "hold",
        &[COUNTING, "upload", "state", "storage", "lock", "clock", "blocking", FLUSH, DURABILITY],
    ),
    // What it takes from `hold` are functions of values; it never holds anything.
    ("audit", &["upload", "state", "storage", "hold", "clock"]),
    ("lock", &["upload", "durable", "clock", "sync"]),
    ("state", &["upload", "durable"]),
    ("storage", &["upload", "durable"]),
    ("upload", &[]),
    ("blocking", &[]),
    ("sync", &[]),
    ("clock", &["upload"]),
    ("durable", &[]),
    ("mutants", &["service", "protocol", "storage", "upload", "durable::Flush"]),
];

/// What is counted, not what is logged or how.
const COUNTING: &str = "telemetry";
const FLUSH: &str = "durable::Flush";
const DURABILITY: &str = "durable::Durability";

const ALL_BUT_MAIN: [&str; 16] = [
    "config",
    "telemetry",
    "service",
    "protocol",
    "ingest",
    "merger",
    "reaper",
    "hold",
    "lock",
    "state",
    "storage",
    "upload",
    "blocking",
    "clock",
    "durable",
    "mutants",
];

/// Names of rooms that a file's room may not name.
pub fn complaints(source: &Source) -> Vec<String> {
    if source.is_test() {
        return Vec::new();
    }
    let (place, room) = (source.path.display(), source.room());
    let Some((_, may)) = MAY.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{place}: the room {room} is not on the map")];
    };
    let mut found = Vec::new();
    for (path, line) in paths(&source.without_tests) {
        let Some(inner) = from_root(&path, source.depth()) else { continue };
        let Some(target) = inner.first() else { continue };
        let full = inner.iter().take(2).map(String::as_str).collect::<Vec<_>>().join("::");
        let own = *target == room || !MAY.iter().any(|(name, _)| name == target);
        if !own && !may.contains(&target.as_str()) && !may.contains(&full.as_str()) {
            found.push(format!("{place}:{line}: {room} names {full}"));
        }
    }
    found
}

/// The path from the root of the crate, if it begins there.
fn from_root(path: &[String], depth: usize) -> Option<&[String]> {
    match path.first()?.as_str() {
        "crate" | "piton" => path.get(1..),
        "super" => {
            let ups = path.iter().take_while(|part| *part == "super").count();
            (ups >= depth).then(|| &path[ups..])
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints_about(path: &str, text: &str) -> usize {
        complaints(&Source::new(path, text)).len()
    }

    #[test]
    fn upstream_is_refused_in_all_spellings() {
        assert_eq!(complaints_about("src/upload/id.rs", "use crate::state::Ledger;"), 1);
        assert_eq!(complaints_about("src/upload/id.rs", "use super::super::state::Ledger;"), 1);
        assert_eq!(complaints_about("src/protocol/mod.rs", "use crate::{upload::A, lock::B};"), 1);
        assert_eq!(complaints_about("src/protocol/mod.rs", "fn x() { crate::clock::now(); }"), 1);
        assert_eq!(complaints_about("src/reaper.rs", "use super::ingest;"), 1);
        assert_eq!(complaints_about("src/main.rs", "use piton::storage::Local;"), 1);
        assert_eq!(complaints_about("src/ingest/mod.rs", "use crate::durable::{Flush, place};"), 1);
        assert_eq!(complaints_about("src/utils/mod.rs", ""), 1);
    }

    #[test]
    fn downstream_and_home_are_fine() {
        let ingest = "use crate::{durable::Flush, merger::Merger, ingest::writer, upload::*};";
        assert_eq!(complaints_about("src/ingest/mod.rs", ingest), 0);
        assert_eq!(complaints_about("src/upload/id.rs", "use super::key::ChunkKey;"), 0);
        assert_eq!(complaints_about("src/main.rs", "use piton::{config::Config, server};"), 0);
        assert_eq!(complaints_about("src/server/mod.rs", "use crate::storage::local::Local;"), 0);
        let in_test = "#[cfg(test)] mod tests { use crate::clock::ManualClock; }";
        assert_eq!(complaints_about("src/upload/id.rs", in_test), 0);
        assert_eq!(complaints_about("src/state/contract.rs", "use crate::lock::Lock;"), 0);
    }
}
