//! No file names a package registry: where packages come from is the builder's affair.

use std::path::Path;

/// Hosts, in pieces, or this file would name them.
const HOSTS: [&[&str]; 9] = [
    &["crates", "io"],
    &["npmjs", "org"],
    &["npmjs", "com"],
    &["yarnpkg", "com"],
    &["pypi", "org"],
    &["golang", "org"],
    &["pythonhosted", "org"],
    &["maven", "org"],
    &["maven", "apache", "org"],
];

/// Lines that name one.
pub fn complaints(path: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        for host in HOSTS.map(|pieces| pieces.join(".")) {
            if names(line, &host) {
                found.push(format!("{}:{}: names {host}", path.display(), at + 1));
            }
        }
        if path.ends_with("package-lock.json") && line.trim_start().starts_with("\"resolved\"") {
            found.push(format!("{}:{}: says where it was found", path.display(), at + 1));
        }
    }
    found
}

/// Whether the host stands there, and not only as the beginning or end of another word: the lock
/// file of cargo names an index whose *name* begins like a host.
fn names(line: &str, host: &str) -> bool {
    line.match_indices(host).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + host.len()..].chars().next();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !before.is_some_and(word) && !after.is_some_and(word)
    })
}

#[test]
fn registries_are_found_and_other_words_are_not() {
    let host = HOSTS[0].join(".");
    let count = |text: &str| complaints(Path::new("README.md"), text).len();
    assert_eq!(count(&format!("see https://{host}/crates/piton")), 1);
    assert_eq!(count(&format!("see index.{host}")), 1);
    assert_eq!(count(&format!("registry+https://github.com/rust-lang/{host}-index")), 0);
    assert_eq!(count("all crates. io is next"), 0);
    let lock = Path::new("clients/package-lock.json");
    assert_eq!(complaints(lock, "  \"resolved\": \"https://mirror/x.tgz\",").len(), 1);
}
