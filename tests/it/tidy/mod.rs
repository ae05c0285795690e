//! Rules of the house that no compiler knows, checked on the text of the tree.
//!
//! Each check is a function from text to a list of complaints, and each is shown to complain about
//! a small wrong text before it is let loose on the whole tree.

pub mod clauses;
mod doors;
mod guarantees;
mod hosts;
mod imports;
mod orphans;
mod rows;
mod sizes;
mod source;
mod supplies;

use std::path::Path;

use source::Source;

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files of the library and the program.
fn library() -> Vec<Source> {
    let all = Source::all_below(root());
    all.into_iter().filter(|source| source.path.starts_with("src")).collect()
}

#[track_caller]
fn nothing_to_complain_about(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn rooms_import_only_what_lies_downstream() {
    nothing_to_complain_about(library().iter().flat_map(imports::complaints).collect());
}

#[test]
fn each_dangerous_call_has_one_door() {
    nothing_to_complain_about(library().iter().flat_map(doors::complaints).collect());
}

#[test]
fn functions_files_and_lines_are_short() {
    let all = Source::all_below(root());
    nothing_to_complain_about(all.iter().flat_map(sizes::complaints).collect());
}

#[test]
fn no_file_lies_beside_the_module_tree() {
    nothing_to_complain_about(orphans::complaints(&library()));
}

#[test]
fn each_clause_is_tested_and_each_citation_exists() {
    let path = root().join("protocol-spec.md");
    let spec = std::fs::read_to_string(path).expect("the rules are in protocol-spec.md");
    nothing_to_complain_about(clauses::complaints(&spec, &Source::all_below(root())));
}

#[test]
fn each_conformance_row_is_tested_and_each_citation_exists() {
    let path = root().join(rows::PAGE);
    let page = std::fs::read_to_string(path).expect("the rows are beside the judge");
    nothing_to_complain_about(rows::complaints(&page, &Source::all_below(root())));
}

#[test]
fn each_guarantee_is_tested_and_each_limit_is_the_one_in_the_code() {
    let read = |path| std::fs::read_to_string(root().join(path)).expect("a page of the papers");
    let (page, rows_page) = (read(guarantees::PAGE), read(rows::PAGE));
    let all = Source::all_below(root());
    nothing_to_complain_about(guarantees::complaints(&page, &rows_page, &all));
}

#[test]
fn no_file_names_a_package_registry() {
    let texts = source::texts_below(root());
    assert!(texts.len() > 20, "only {} text files found", texts.len());
    let complaints = texts.iter().flat_map(|(path, text)| hosts::complaints(path, text));
    nothing_to_complain_about(complaints.collect());
}
