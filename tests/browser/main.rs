//! The page and its module in a real Chromium: `*.test.mjs`, which this starts with what they need.
//!
//! A target of its own, so that nothing else runs beside it and `cargo test --test it` stays short.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::{
    env, fs,
    io::{Write, stderr},
    path::{Path, PathBuf},
    process::Command,
};

/// The folder of this file.
fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

/// Does it run and end well?
fn runs(program: &str, args: &[&str]) -> bool {
    let ended = Command::new(program).args(args).current_dir(here()).output();
    ended.is_ok_and(|output| output.status.success())
}

fn found(program: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// Debian's Chromium, which is installed where that is possible.
fn chromium() -> Option<PathBuf> {
    let there = || found("chromium").or_else(|| found("chromium-browser"));
    there().or_else(|| {
        let root = rustix::process::geteuid().is_root();
        let install = ["install", "-y", "--no-install-recommends", "chromium"];
        (root && runs("apt-get", &["update"]) && runs("apt-get", &install)).then(there).flatten()
    })
}

/// The packages of `package-lock.json`; `npm ci` notes what it has put there.
fn packages_are_there() -> bool {
    let noted = fs::metadata(here().join("node_modules/.package-lock.json"));
    let wanted = fs::metadata(here().join("package-lock.json")).unwrap().modified().unwrap();
    let fresh = noted.is_ok_and(|noted| noted.modified().unwrap() >= wanted);
    fresh || runs("npm", &["ci"])
}

/// Not through `eprintln!`, of which a test that passes shows nothing.
fn skipped(why: &str) {
    stderr().write_all(format!("skipped: {why}\n").as_bytes()).unwrap();
}

// spec: CHUNK-60, CHUNK-64, CHUNK-65, CHUNK-66, CHUNK-67, CHUNK-68, CHUNK-69
#[test]
fn the_page_and_its_module_in_chromium() {
    if !runs("node", &["--version"]) || !runs("npm", &["--version"]) {
        return skipped("node and npm are not installed");
    }
    let Some(chromium) = chromium() else {
        return skipped("chromium is not installed");
    };
    assert!(packages_are_there(), "npm ci failed in {}", here().display());
    let output = Command::new("node")
        .args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
        .current_dir(here())
        .env("PITON", env!("CARGO_BIN_EXE_piton"))
        .env("CHROMIUM", chromium)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    // A run that finds no test ends well too.
    let passed =
        said.lines().find_map(|line| line.trim_start_matches(['ℹ', ' ']).strip_prefix("pass "));
    let passed: usize = passed.and_then(|count| count.trim().parse().ok()).unwrap_or(0);
    assert!(passed >= 15, "only {passed} tests ran\n{said}");
}
