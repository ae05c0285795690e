//! What the papers say and what the program does.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::Command,
};

use crate::{
    server::{Server, run},
    session::{Block, Session, blocks, not_installed},
};

fn paper(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The long options that a text names.
fn options(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for piece in text.split("--").skip(1) {
        let name: String =
            piece.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        if name.len() > 2 && !name.ends_with('-') {
            found.push(name);
        }
    }
    found.sort();
    found.dedup();
    found
}

/// What `piton --help` prints.
fn help() -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_piton")).arg("--help").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_readme_explains_every_option() {
    let readme = paper("README.md");
    for option in options(&help()) {
        if !["help", "version", "config"].contains(&option.as_str()) {
            assert!(readme.contains(&format!("--{option}")), "README.md does not know --{option}");
        }
    }
}

#[test]
fn the_readme_names_no_option_that_is_not_there() {
    let (readme, known) = (paper("README.md"), options(&help()));
    let foreign = [
        // Options of cargo, curl and npm that examples use.
        "release",
        "bench",
        "locked",
        "path",
        "url",
        "data-binary",
        "request",
        "header",
        "fail",
        "head",
        "include",
        "silent",
        "upload-file",
        "dir",
        "quick",
        "rss",
        "finish",
        "workspace",
        "all-targets",
        "test",
        "package",
        "output",
        "limit-rate",
        "max-time",
        "form",
        "json",
    ];
    let lines = readme.lines().filter(|line| line.contains("piton ") || line.starts_with('|'));
    for option in lines.flat_map(options) {
        let there = known.contains(&option) || foreign.contains(&option.as_str());
        assert!(there, "README.md names --{option}, which is not in --help");
    }
}

#[test]
fn the_readme_is_read_in_one_sitting() {
    let lines = paper("README.md").lines().count();
    assert!(lines <= 200, "{lines} lines");
}

/// Says so, and is `true`, where a session cannot be run here.
fn cannot_run(programs: &[&str]) -> bool {
    let missing = not_installed(programs);
    if let Some(program) = missing {
        // Not with a macro: those are silent in a test that passes.
        let _ = writeln!(io::stderr(), "skipped: {program} is not installed");
    }
    missing.is_some()
}

fn curl_speaks_http2() -> bool {
    let version = Command::new("curl").arg("--version").output().unwrap();
    String::from_utf8_lossy(&version.stdout).contains("HTTP2")
}

// spec: TUS-105, TUS-106
#[test]
fn the_page_about_tus_shows_what_happens() {
    if cannot_run(&["bash", "curl", "openssl", "python3"]) {
        return;
    }
    let page = paper("docs/tus.md");
    let mut blocks = blocks(&page);
    assert!(blocks.len() > 20, "{} blocks", blocks.len());
    if !curl_speaks_http2() {
        let _ = writeln!(io::stderr(), "skipped in part: this curl does not speak HTTP/2");
        blocks.retain(|block| !block.text.contains("--http2"));
    }
    Session::begin().prints_what_it_says("docs/tus.md", &blocks);
}

#[test]
fn the_readme_shows_what_happens() {
    if cannot_run(&["bash", "curl", "sha256sum"]) {
        return;
    }
    let shown: Vec<Block> = blocks(&paper("README.md"))
        .into_iter()
        .filter(|block| !block.text.starts_with("cargo "))
        .collect();
    assert_eq!(shown.len(), 2);
    let mut session = Session::begin();
    session.serve("127.0.0.1:8080", Server::with(&["--chunk-size=8MiB"]));
    for block in &shown {
        let printed = session.run(block);
        let lines: Vec<&str> = printed.lines().filter(|line| !line.is_empty()).collect();
        let [.., stored, sent] = lines[..] else { panic!("{printed}") };
        assert!(sent.len() == 67 && sent.ends_with("  -"), "{printed}");
        assert_eq!(stored, sent, "{printed}");
    }
}

#[test]
fn the_specification_has_clauses_in_order() {
    let spec = paper("protocol-spec.md");
    let (clauses, twice) = crate::tidy::clauses::clauses(&spec);
    assert!(twice.is_empty(), "{twice:?}");
    for kind in ["CORE", "TUS", "CHUNK", "STORE"] {
        let of_kind = clauses.keys().filter(|id| id.starts_with(kind)).count();
        assert!(of_kind >= 10, "{of_kind} clauses {kind}");
    }
    // Each section keeps to one kind, and each heading below it to the order of the numbers.
    for section in spec.split("\n## ").skip(1) {
        let mut kinds = Vec::new();
        for group in section.split("\n### ") {
            let ids = group.split("**").skip(1).step_by(2).filter(|id| clauses.contains_key(*id));
            let ids = ids.filter_map(|id| id.split_once('-'));
            let numbers = ids.clone().map(|(_, number)| number.parse::<u32>().unwrap());
            assert!(numbers.is_sorted(), "{group}");
            kinds.extend(ids.map(|(kind, _)| kind));
        }
        kinds.dedup();
        assert!(kinds.len() <= 1, "{kinds:?} in one section");
    }
}

// rows: FAULT-15
#[test]
fn a_mistake_on_the_command_line_is_told_and_ends_with_2() {
    for args in [&["--no-such-option"][..], &["--chunk-size=many"], &["--durability=maybe"]] {
        let (status, said) = run(args);
        assert_eq!(status.code(), Some(2), "{said}");
        assert!(!said.trim().is_empty());
    }
}

// rows: FAULT-15
#[test]
fn a_folder_or_port_that_cannot_be_had_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let data = format!("--data-dir={}", file.display());
    let (status, said) = run(&["--listen=127.0.0.1:0", &data]);
    assert!(!status.success() && !said.trim().is_empty(), "{said}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("--listen={}", taken.local_addr().unwrap());
    let data = format!("--data-dir={}", folder.path().join("data").display());
    let (status, said) = run(&[&listen, &data]);
    assert!(!status.success() && !said.trim().is_empty(), "{said}");
}

#[test]
fn options_are_found_in_text() {
    assert_eq!(options("`--chunk-size` and --dir=x -- --a"), ["chunk-size", "dir"]);
}
