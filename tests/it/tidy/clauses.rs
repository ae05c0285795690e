//! Each clause of the specification has a test, and no test cites a clause that is not there.
//!
//! A clause is defined by its id in bold, `**TUS-12**`; it is cited by a comment `spec: TUS-12`, or
//! `spec: TUS-12, TUS-13`. Ids of conformance rows (`TUS-PATCH-04`) are something else.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

const KINDS: [&str; 4] = ["CORE", "TUS", "CHUNK", "STORE"];

/// Clauses without a test, and citations without a clause.
pub fn complaints(spec: &str, sources: &[Source]) -> Vec<String> {
    let (defined, mut found) = clauses(spec);
    let mut cited_by_tests = BTreeSet::new();
    for source in sources {
        for (id, line) in citations(&source.text) {
            if !defined.contains_key(&id) {
                found.push(format!("{}:{line}: there is no clause {id}", source.path.display()));
            }
            if source.is_test() {
                cited_by_tests.insert(id);
            }
        }
    }
    for (id, line) in &defined {
        if !cited_by_tests.contains(id) {
            found.push(format!("protocol-spec.md:{line}: no test cites {id}"));
        }
    }
    found
}

/// The ids that a specification defines, and complaints about ids that it defines twice.
pub fn clauses(spec: &str) -> (BTreeMap<String, usize>, Vec<String>) {
    let (mut defined, mut twice) = (BTreeMap::new(), Vec::new());
    for (at, line) in spec.lines().enumerate() {
        for bold in line.split("**").skip(1).step_by(2) {
            if is_id(bold) && defined.insert(bold.to_owned(), at + 1).is_some() {
                twice.push(format!("protocol-spec.md:{}: {bold} a second time", at + 1));
            }
        }
    }
    (defined, twice)
}

/// The ids that a text cites, with their lines.
pub fn citations(text: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let Some((_, list)) = line.split_once("spec: ") else { continue };
        let ids = list.split([',', ' ']).filter(|part| !part.is_empty());
        let ids = ids.map(|part| part.trim_end_matches(['.', ')', ';', ':']));
        found.extend(ids.take_while(|part| is_id(part)).map(|id| (id.to_owned(), at + 1)));
    }
    found
}

fn is_id(text: &str) -> bool {
    text.split_once('-').is_some_and(|(kind, number)| {
        KINDS.contains(&kind)
            && !number.is_empty()
            && number.bytes().all(|digit| digit.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // The marker is cut in two, or these lines would be citations themselves.
    const SPEC: &str = concat!("sp", "ec: ");

    fn source(path: &str, cited: &str) -> Source {
        Source::new(path, &format!("// {SPEC}{cited}\nfn a() {{}}\n"))
    }

    #[test]
    fn clauses_without_a_test_are_found() {
        let spec = "**CORE-1** A.\n- **TUS-12** B.\n**TUS-PATCH-04** is no clause, **bold** too.";
        let tested = [source("tests/it/a.rs", "CORE-1, TUS-12.")];
        assert!(complaints(spec, &tested).is_empty());
        let half = [source("tests/it/a.rs", "CORE-1"), source("src/x.rs", "TUS-12")];
        assert_eq!(complaints(spec, &half), ["protocol-spec.md:2: no test cites TUS-12"]);
    }

    #[test]
    fn citations_without_a_clause_and_doubled_clauses_are_found() {
        let cited = [source("src/a/tests.rs", "CORE-1, STORE-9")];
        let complaints = complaints("**CORE-1** A.\n**CORE-1** again.", &cited);
        assert_eq!(
            complaints,
            [
                "protocol-spec.md:2: CORE-1 a second time",
                "src/a/tests.rs:1: there is no clause STORE-9",
            ]
        );
    }

    #[test]
    fn rows_are_no_citations() {
        assert!(citations(&format!("// {SPEC}TUS-PATCH-04 and TUS-1")).is_empty());
        assert!(citations("// TUS-12").is_empty());
    }
}
