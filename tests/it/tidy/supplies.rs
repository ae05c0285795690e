//! What the program is built of: from one registry, under permissive licences, and few things in
//! two versions. `deny.toml` says the same to cargo-deny, which knows of advisories, too.

use std::{collections::BTreeMap, process::Command};

use serde_json::{Value, json};
use spdx::{Expression, ParseMode};

use super::root;

/// Crates that others ask for in several versions; nothing to be done about it here.
const TWICE: [&str; 9] = [
    "base64",
    "bit-set",
    "bit-vec",
    "getrandom",
    "r-efi",
    "rand",
    "rand_core",
    "syn",
    "windows-sys",
];

/// What is wrong with these packages, as `cargo metadata` tells of them.
fn complaints(packages: &[Value], allowed: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for package in packages {
        let text = |member: &str| package[member].as_str().unwrap_or_default();
        let name = text("name");
        *versions.entry(name).or_default() += 1;
        let source = package["source"].as_str();
        if !source.is_none_or(|source| source.starts_with("registry+")) {
            found.push(format!("{name} comes from {}", text("source")));
        }
        let parsed = Expression::parse_mode(text("license"), ParseMode::LAX);
        let permits = |expression: Expression| {
            expression.evaluate(|asked| {
                asked.license.id().is_some_and(|id| allowed.iter().any(|name| name == id.name))
            })
        };
        if !parsed.is_ok_and(permits) {
            found.push(format!("{name} is licensed under {:?}", text("license")));
        }
    }
    let twice = versions.iter().filter(|(name, count)| **count > 1 && !TWICE.contains(name));
    found.extend(twice.map(|(name, count)| format!("{name} is there in {count} versions")));
    found
}

/// The list of `deny.toml`.
fn allowed() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let (_, list) = text.split_once("allow = [").unwrap();
    let (list, _) = list.split_once(']').unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn what_the_program_is_built_of_may_be_given_away() {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    // What was not built on this machine may be missing; the lock file alone says less.
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 100, "{} packages", packages.len());
    super::nothing_to_complain_about(complaints(packages, &allowed()));
}

fn package(name: &str, license: &str, source: Option<&str>) -> Value {
    json!({"name": name, "license": license, "source": source})
}

#[test]
fn wrong_licences_sources_and_doubles_are_found() {
    let count = |packages: &[Value]| complaints(packages, &allowed()).len();
    let registry = Some("registry+https://index.example");
    assert_eq!(count(&[package("a", "MIT/Apache-2.0", registry), package("b", "MIT", None)]), 0);
    assert_eq!(count(&[package("a", "(GPL-3.0 OR MIT) AND Zlib", registry)]), 0);
    assert_eq!(count(&[package("a", "GPL-3.0-only", registry)]), 1);
    assert_eq!(count(&[package("a", "MIT AND GPL-3.0-only", registry)]), 1);
    assert_eq!(count(&[package("a", "", registry)]), 1);
    assert_eq!(count(&[package("a", "MIT", Some("git+https://code.example/a"))]), 1);
    assert_eq!(count(&[package("a", "MIT", registry), package("a", "MIT", registry)]), 1);
}
