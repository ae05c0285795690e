//! docs/verify.md: what it shows is run.

use std::{fs, os::unix::fs::symlink, path::Path};

use crate::{
    server::Server,
    session::{Block, Kind, Session, blocks, not_installed},
};

fn paper() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/verify.md");
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_page_about_the_disk_shows_what_happens() {
    if not_installed(&["bash", "curl", "dd"]).is_some() {
        return;
    }
    let (server, mut session) = (Server::with(&["--chunk-size=1MiB"]), Session::begin());
    let shown = blocks(&paper());
    let (started, shown): (Vec<Block>, Vec<Block>) =
        shown.into_iter().partition(|block| block.kind == Kind::Server);
    assert_eq!(started.len(), 1);
    assert!(started[0].text.ends_with("--chunk-size 1MiB") && shown.len() >= 4);
    // As if it had been started in this folder.
    symlink(server.data(), session.folder().join("data")).unwrap();
    session.serve("127.0.0.1:8080", server);
    let program = Path::new(env!("CARGO_BIN_EXE_piton")).parent().unwrap();
    let text = format!("PATH={}:$PATH", program.display());
    session.run(&Block { line: 0, kind: Kind::Shell, text, prints: Vec::new() });
    session.prints_what_it_says("docs/verify.md", &shown);
}

/// Each kind of finding that is printed is explained.
#[test]
fn the_page_knows_every_finding() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/audit/finding.rs");
    let source = fs::read_to_string(source).unwrap();
    let mut kinds = Vec::new();
    for of in ["pub enum Problem {", "pub enum Note {"] {
        let (_, body) = source.split_once(of).unwrap();
        let (body, _) = body.split_once("\n}").unwrap();
        let variants = body.lines().filter_map(|line| line.strip_prefix("    "));
        let variants = variants.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
        kinds.extend(variants.map(|line| kebab(line.trim_end_matches([' ', '{', ',']))));
    }
    assert!(kinds.len() > 20, "{kinds:?}");
    let paper = paper();
    for kind in kinds {
        assert!(paper.contains(&format!("`{kind}`")), "docs/verify.md does not know {kind}");
    }
}

fn kebab(name: &str) -> String {
    let mut kebab = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(c.to_ascii_lowercase());
    }
    kebab
}
