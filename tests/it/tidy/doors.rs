//! One door to durability and visibility, one to the time, one to the environment.

use super::source::{Source, Token, paths};

/// Calls on a file that wait for the disk.
const FLUSHES: [&str; 2] = ["sync_all", "sync_data"];
/// Functions of `fs` modules that make visible or remove.
const MOVES: [&str; 5] = ["rename", "remove_file", "remove_dir", "remove_dir_all", "hard_link"];
/// Functions that do so whatever module they are called through.
const SYSTEM: [&str; 8] = [
    "fsync",
    "fdatasync",
    "syncfs",
    "renameat",
    "renameat_with",
    "renameat2",
    "unlink",
    "unlinkat",
];

/// Calls that belong into another file.
pub fn complaints(source: &Source) -> Vec<String> {
    if source.is_test() {
        return Vec::new();
    }
    let (place, room) = (source.path.display(), source.room());
    let mut found = Vec::new();
    if room != "durable" {
        for line in flushes(&source.without_tests) {
            found.push(format!("{place}:{line}: only durable.rs waits for the disk"));
        }
    }
    for (path, line) in paths(&source.without_tests) {
        let text = path.join("::");
        if room != "durable" && moves(&path) {
            found.push(format!("{place}:{line}: {text} belongs into durable.rs"));
        }
        if room != "clock" && tells_time(&path) {
            found.push(format!("{place}:{line}: {text} belongs into clock.rs"));
        }
        if room != "config" && room != "main" && reads_environment(&path) {
            found.push(format!("{place}:{line}: {text} belongs into config"));
        }
    }
    found
}

fn flushes(tokens: &[Token]) -> Vec<usize> {
    let calls = tokens
        .windows(2)
        .filter(|pair| pair[0].text == "." && FLUSHES.contains(&pair[1].text.as_str()));
    calls.map(|pair| pair[1].line).collect()
}

fn moves(path: &[String]) -> bool {
    let [.., before, last] = path else { return false };
    let before = before.as_str();
    if before == "durable" {
        return false;
    }
    SYSTEM.contains(&last.as_str())
        || before == "fs" && MOVES.contains(&last.as_str())
        || before == "File" && FLUSHES.contains(&last.as_str())
}

/// tokio's clock is for timeouts of sockets, and tests can stop it by themselves.
fn tells_time(path: &[String]) -> bool {
    let [.., before, last] = path else { return false };
    (before == "SystemTime" || before == "Instant") && last == "now" && path[0] != "tokio"
}

fn reads_environment(path: &[String]) -> bool {
    path[0] == "env" || path[0] == "std" && path[1] == "env"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaints_about(path: &str, text: &str) -> usize {
        complaints(&Source::new(path, text)).len()
    }

    #[test]
    fn each_back_door_is_found() {
        for text in [
            "fn x(f: File) { f.sync_all(); }",
            "fn x(f: File) { f.sync_data()?; }",
            "fn x() { std::fs::rename(a, b); }",
            "use std::fs::{self, remove_file};",
            "fn x() { fs::remove_dir_all(a); }",
            "use rustix::fs::{renameat_with, CWD};",
            "fn x() { rustix::fs::fsync(f); }",
            "fn x() { SystemTime::now(); }",
            "fn x() { std::time::Instant::now(); }",
            "fn x() { std::env::var(\"HOME\"); }",
            "use std::{env, io}; ",
            "fn x() { env::temp_dir(); }",
        ] {
            assert_eq!(complaints_about("src/storage/local.rs", text), 1, "{text}");
        }
    }

    #[test]
    fn the_doors_themselves_are_fine() {
        assert_eq!(
            complaints_about("src/durable.rs", "fn x() { fs::rename(a, b); f.sync_all(); }"),
            0
        );
        assert_eq!(complaints_about("src/clock.rs", "fn x() { SystemTime::now(); }"), 0);
        assert_eq!(complaints_about("src/config/mod.rs", "fn x() { std::env::var_os(n); }"), 0);
        let through = "fn x() { durable::sync_data(f)?; durable::remove_file(p); clock.now(); }";
        assert_eq!(complaints_about("src/storage/local.rs", through), 0);
        let timeout = "fn x() { tokio::time::Instant::now(); env!(\"CARGO_PKG_VERSION\"); }";
        assert_eq!(complaints_about("src/server/mod.rs", timeout), 0);
        assert_eq!(complaints_about("src/storage/tests.rs", "fn x() { fs::remove_file(p); }"), 0);
    }
}
