//! Files that no `mod` line reaches, which the compiler never sees.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use super::source::Source;

/// The files below `src` that neither `lib.rs` nor `main.rs` leads to.
pub fn complaints(sources: &[Source]) -> Vec<String> {
    let by_path: BTreeMap<&Path, &Source> =
        sources.iter().map(|source| (source.path.as_path(), source)).collect();
    let mut reached = BTreeSet::new();
    let mut next = vec![PathBuf::from("src/lib.rs"), PathBuf::from("src/main.rs")];
    while let Some(path) = next.pop() {
        if let Some(source) = by_path.get(path.as_path())
            && reached.insert(source.path.clone())
        {
            next.extend(children(source));
        }
    }
    let orphans = sources.iter().filter(|source| !reached.contains(&source.path));
    orphans.map(|source| format!("{}: no mod line leads here", source.path.display())).collect()
}

/// Where the modules may lie that a file declares.
fn children(source: &Source) -> Vec<PathBuf> {
    let folder = source.path.parent().unwrap();
    let stem = source.path.file_stem().unwrap();
    let own = ["mod", "lib", "main"].iter().any(|name| stem == *name);
    let folder = if own { folder.to_owned() } else { folder.join(stem) };
    let mut found = Vec::new();
    for three in source.tokens.windows(3) {
        let [keyword, name, end] = three else { continue };
        if keyword.text == "mod" && end.text == ";" {
            found.push(folder.join(format!("{}.rs", name.text)));
            found.push(folder.join(&name.text).join("mod.rs"));
        }
    }
    found
}

#[test]
fn an_orphan_is_found_among_children_of_all_kinds() {
    let sources = [
        Source::new("src/lib.rs", "pub mod a; mod b;"),
        Source::new("src/main.rs", ""),
        Source::new("src/a/mod.rs", "#[cfg(test)] mod tests;"),
        Source::new("src/a/tests.rs", ""),
        Source::new("src/b.rs", "mod c;"),
        Source::new("src/b/c.rs", ""),
        Source::new("src/a/left_over.rs", "mod further;"),
        Source::new("src/a/left_over/further.rs", ""),
        Source::new("src/tests.rs", ""),
    ];
    assert_eq!(
        complaints(&sources),
        [
            "src/a/left_over.rs: no mod line leads here",
            "src/a/left_over/further.rs: no mod line leads here",
            "src/tests.rs: no mod line leads here",
        ]
    );
}
