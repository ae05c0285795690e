//! Rust files as flat lists of tokens: no comments, no strings to be fooled by.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// Folders that hold nothing of ours.
const FOREIGN: [&str; 4] = ["target", "node_modules", ".git", "data"];

/// One Rust file.
#[derive(Debug)]
pub struct Source {
    /// Its path from the root of the repository.
    pub path: PathBuf,
    /// The text.
    pub text: String,
    /// All tokens.
    pub tokens: Vec<Token>,
    /// The tokens outside of items under `#[cfg(test)]`.
    pub without_tests: Vec<Token>,
}

/// One token; `::` is one, and so is each bracket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// As it is written.
    pub text: String,
    /// Counted from 1.
    pub line: usize,
}

impl Source {
    /// Reads a text.
    pub fn new(path: impl Into<PathBuf>, text: &str) -> Self {
        let path = path.into();
        let stream: TokenStream =
            text.parse().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (mut tokens, mut without_tests) = (Vec::new(), Vec::new());
        flatten(stream.clone(), true, &mut tokens);
        flatten(stream, false, &mut without_tests);
        Self { path, text: text.to_owned(), tokens, without_tests }
    }

    /// All Rust files below `root`.
    pub fn all_below(root: &Path) -> Vec<Self> {
        let texts = texts_below(root).into_iter();
        let rust = texts.filter(|(path, _)| path.extension().is_some_and(|end| end == "rs"));
        rust.map(|(path, text)| Self::new(path, &text)).collect()
    }

    /// Whether the whole file is a test.
    pub fn is_test(&self) -> bool {
        let named = |name: &str| self.path.iter().any(|part| part == name);
        named("tests") || named("tests.rs") || named("contract.rs") || named("testing")
    }

    /// The first segment below `src`: the room that the file belongs to.
    pub fn room(&self) -> String {
        let inner = self.path.strip_prefix("src").unwrap_or(&self.path);
        let first = inner.iter().next().unwrap_or_default().to_string_lossy();
        first.trim_end_matches(".rs").to_owned()
    }

    /// How many modules deep the file's own module lies: 0 for `lib.rs`, 1 for `upload/mod.rs`.
    pub fn depth(&self) -> usize {
        let inner = self.path.strip_prefix("src").unwrap_or(&self.path);
        let file = inner.file_name().unwrap_or_default();
        let is_folder = file == "mod.rs" || file == "lib.rs" || file == "main.rs";
        inner.iter().count() - usize::from(is_folder)
    }
}

/// All text files below `root`, with their paths from there.
pub fn texts_below(root: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    visit(root, root, &mut found);
    found.sort();
    found
}

fn visit(root: &Path, folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if FOREIGN.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            visit(root, &path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push((path.strip_prefix(root).unwrap().to_owned(), text));
        }
    }
}

/// All paths (`a::b::c`, out of `use` groups too) with the line they begin in.
pub fn paths(tokens: &[Token]) -> Vec<(Vec<String>, usize)> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let begins = at == 0 || tokens[at - 1].text != "::";
        let goes_on = tokens.get(at + 1).is_some_and(|next| next.text == "::");
        if is_name(&token.text) && begins && goes_on {
            let mut leaves = Vec::new();
            tree(tokens, at, &[], &mut leaves);
            found.extend(leaves.into_iter().map(|path| (path, token.line)));
        }
    }
    found
}

/// Reads one `use` tree or path from `at` on; returns where it ends.
fn tree(tokens: &[Token], at: usize, prefix: &[String], leaves: &mut Vec<Vec<String>>) -> usize {
    match tokens.get(at).map(|token| token.text.as_str()) {
        Some("{") => {
            let mut next = at + 1;
            while tokens.get(next).is_some_and(|token| token.text != "}") {
                let after = tree(tokens, next, prefix, leaves);
                next = after.max(next + 1);
            }
            next + 1
        }
        Some(name) if is_name(name) || name == "*" => {
            let mut path = prefix.to_vec();
            path.push(name.to_owned());
            let more = tokens.get(at + 1).is_some_and(|token| token.text == "::");
            let follows = tokens.get(at + 2).map(|token| token.text.as_str());
            if more && follows.is_some_and(|text| is_name(text) || text == "{" || text == "*") {
                tree(tokens, at + 2, &path, leaves)
            } else {
                leaves.push(path);
                at + 1
            }
        }
        _ => at + 1,
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn flatten(stream: TokenStream, with_tests: bool, tokens: &mut Vec<Token>) {
    let trees: Vec<TokenTree> = stream.into_iter().collect();
    let mut at = 0;
    while at < trees.len() {
        if !with_tests && is_cfg_test(&trees[at..]) {
            at = end_of_item(&trees, at);
            continue;
        }
        match &trees[at] {
            TokenTree::Group(group) => {
                let (open, close) = brackets(group.delimiter());
                push(tokens, open, group.span_open().start().line);
                flatten(group.stream(), with_tests, tokens);
                push(tokens, close, group.span_close().end().line);
            }
            TokenTree::Punct(punct) => {
                let line = punct.span().start().line;
                let joint = punct.as_char() == ':' && punct.spacing() == Spacing::Joint;
                let doubled = joint && trees.get(at + 1).is_some_and(is_colon);
                push(tokens, if doubled { "::".to_owned() } else { punct.to_string() }, line);
                at += usize::from(doubled);
            }
            other => push(tokens, other.to_string(), other.span().start().line),
        }
        at += 1;
    }
}

fn push(tokens: &mut Vec<Token>, text: impl Into<String>, line: usize) {
    tokens.push(Token { text: text.into(), line });
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

fn is_colon(tree: &TokenTree) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == ':')
}

fn is_cfg_test(trees: &[TokenTree]) -> bool {
    match trees {
        [TokenTree::Punct(hash), TokenTree::Group(group), ..] => {
            let text: String = group.stream().to_string().split_whitespace().collect();
            hash.as_char() == '#' && text == "cfg(test)"
        }
        _ => false,
    }
}

/// Behind the item that begins with the attribute at `at`: behind its braces or its semicolon.
fn end_of_item(trees: &[TokenTree], at: usize) -> usize {
    let rest = trees.iter().enumerate().skip(at + 2);
    let end = rest.clone().find(|(_, tree)| match tree {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        _ => false,
    });
    end.map_or(trees.len(), |(at, _)| at + 1)
}

#[test]
fn paths_come_out_of_groups() {
    let source = Source::new("src/x.rs", "use a::{b, c::{d, e as f}, g::*}; fn x() { h::i(); }");
    let paths: Vec<String> =
        paths(&source.tokens).into_iter().map(|(path, _)| path.join("::")).collect();
    for path in ["a::b", "a::c::d", "a::c::e", "a::g::*", "h::i"] {
        assert!(paths.iter().any(|other| other == path), "no {path} in {paths:?}");
    }
}

#[test]
fn what_only_tests_see_is_left_out() {
    let text = "fn a() {} #[cfg(test)] mod tests { fn b() {} } #[cfg(test)] use c::d; fn e() {}";
    let source = Source::new("src/x.rs", text);
    let names: Vec<&str> = source.without_tests.iter().map(|token| token.text.as_str()).collect();
    assert!(names.contains(&"a") && names.contains(&"e"));
    assert!(!names.contains(&"b") && !names.contains(&"d"));
    assert!(source.tokens.iter().any(|token| token.text == "b"));
}

#[test]
fn rooms_and_depths() {
    for (path, room, depth) in [
        ("src/lib.rs", "lib", 0),
        ("src/clock.rs", "clock", 1),
        ("src/upload/mod.rs", "upload", 1),
        ("src/upload/id.rs", "upload", 2),
        ("src/protocol/tus/mod.rs", "protocol", 2),
    ] {
        let source = Source::new(path, "");
        assert_eq!((source.room().as_str(), source.depth()), (room, depth), "{path}");
    }
}
