//! Each row of the conformance page has a test, and no test cites a row that is not there.
//!
//! A row is a line of a table that begins with its id, `| TUS-CHK-01 |`; it is cited by a comment
//! `rows: TUS-CHK-01`, or `rows: TUS-CHK-01, CONN-13`. What follows the ids is for readers.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// Where the rows are.
pub const PAGE: &str = "conformance-tests/rows.md";

/// The kinds of rows, as their ids begin.
const KINDS: [&str; 7] = ["TUS", "CORS", "CONN", "RACE", "CHUNK", "CROSS", "FAULT"];

/// The kinds of which every row must have a test.
const TESTED: [&str; 5] = ["TUS", "CORS", "CONN", "CHUNK", "CROSS"];

/// Families and single rows that need no test yet. An entry that lacks none must go.
const PENDING: [&str; 0] = [];

/// Rows without a test, citations without a row, and entries of [`PENDING`] without a reason.
pub fn complaints(page: &str, sources: &[Source]) -> Vec<String> {
    judge(page, sources, &PENDING)
}

fn judge(page: &str, sources: &[Source], pending: &[&str]) -> Vec<String> {
    let (rows, mut found) = rows(page);
    let mut tested = BTreeSet::new();
    for source in sources {
        for (id, line) in citations(source) {
            if rows.contains_key(&id) {
                tested.insert(id);
            } else {
                found.push(format!("{}:{line}: there is no row {id}", source.path.display()));
            }
        }
    }
    let mut excused = BTreeSet::new();
    for (id, line) in rows.iter().filter(|(id, _)| must_be_tested(id) && !tested.contains(*id)) {
        let entry = pending.iter().find(|entry| *entry == id || **entry == family(id));
        match entry {
            Some(entry) => _ = excused.insert(*entry),
            None => found.push(format!("{PAGE}:{line}: no test cites {id}")),
        }
    }
    let useless = pending.iter().filter(|entry| !excused.contains(*entry));
    found.extend(useless.map(|entry| format!("{entry} is tested and need not be pending")));
    found
}

/// The rows of a page with their lines, and complaints about ids that come twice.
fn rows(page: &str) -> (BTreeMap<String, usize>, Vec<String>) {
    let (mut rows, mut twice) = (BTreeMap::new(), Vec::new());
    for (at, line) in page.lines().enumerate() {
        let cell = line.strip_prefix("| ").and_then(|rest| rest.split(" |").next());
        let Some(id) = cell.map(|cell| cell.trim_end_matches('†')).filter(|id| is_id(id)) else {
            continue;
        };
        if rows.insert(id.to_owned(), at + 1).is_some() {
            twice.push(format!("{PAGE}:{}: {id} a second time", at + 1));
        }
    }
    (rows, twice)
}

/// The ids that comments of tests cite, with their lines.
fn citations(source: &Source) -> Vec<(String, usize)> {
    let mut in_tests = source.is_test() || source.path.starts_with("conformance-tests/src");
    let mut found = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        in_tests |= line.trim_start().starts_with("#[cfg(test)]");
        let comment = Some(line.trim_start()).filter(|line| in_tests && line.starts_with("//"));
        let Some((_, list)) = comment.and_then(|line| line.split_once("rows: ")) else { continue };
        let ids = list.split([',', ' ']).filter(|part| !part.is_empty());
        let ids = ids.map(|part| part.trim_end_matches(['.', ')', ';', ':']));
        found.extend(ids.take_while(|part| is_id(part)).map(|id| (id.to_owned(), at + 1)));
    }
    found
}

/// All but the number of an id.
fn family(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(family, _)| family)
}

fn must_be_tested(id: &str) -> bool {
    TESTED.iter().any(|kind| id.split('-').next() == Some(kind))
}

/// Whether a text is the id of a row.
pub fn is_id(text: &str) -> bool {
    let known = text.split('-').next().is_some_and(|kind| KINDS.contains(&kind));
    let number = text.rsplit('-').next().unwrap_or_default();
    let two_digits = number.len() == 2 && number.bytes().all(|digit| digit.is_ascii_digit());
    let legal = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-';
    known && two_digits && text.bytes().all(legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
        | id | request |\n|---|---|\n| TUS-CAT-01 | a |\n| TUS-CATU-01† | b |\n| RACE-01 | c |\n\
        Text about TUS-CAT-09, and | TUS-CAT-08 | behind a word.";

    // The marker is cut in two, or these lines would be citations themselves.
    fn source(path: &str, cited: &str) -> Source {
        Source::new(path, &format!("// {}{cited}\nfn a() {{}}\n", concat!("ro", "ws: ")))
    }

    #[test]
    fn rows_without_a_test_are_found() {
        let all = [source("tests/it/a.rs", "TUS-CAT-01, TUS-CATU-01.")];
        assert!(judge(PAGE, &all, &[]).is_empty());
        let half = [source("tests/it/a.rs", "TUS-CAT-01: a"), source("src/x.rs", "TUS-CATU-01")];
        let missing = ["conformance-tests/rows.md:4: no test cites TUS-CATU-01"];
        assert_eq!(judge(PAGE, &half, &[]), missing);
        assert!(judge(PAGE, &half, &["TUS-CATU"]).is_empty());
        assert!(judge(PAGE, &half, &["TUS-CATU-01"]).is_empty());
    }

    #[test]
    fn what_waits_for_nothing_may_not_be_pending() {
        let all = [source("tests/it/a.rs", "TUS-CAT-01, TUS-CATU-01")];
        for entry in ["TUS-CATU", "TUS-CAT-01", "TUS-NEW"] {
            let complaint = format!("{entry} is tested and need not be pending");
            assert_eq!(judge(PAGE, &all, &[entry]), [complaint]);
        }
    }

    #[test]
    fn citations_without_a_row_and_doubled_rows_are_found() {
        let cited = [source("src/a/tests.rs", "TUS-CAT-01, TUS-CATU-01, RACE-02 and RACE-03")];
        let doubled = format!("{PAGE}\n| RACE-01† | again |");
        assert_eq!(
            judge(&doubled, &cited, &[]),
            [
                "conformance-tests/rows.md:7: RACE-01 a second time",
                "src/a/tests.rs:1: there is no row RACE-02",
            ]
        );
    }

    #[test]
    fn only_comments_of_tests_cite() {
        let marker = concat!("ro", "ws: RACE-01");
        let lines = [
            format!("// {marker}\n#[cfg(test)]\nmod tests {{\n/// {marker}\nfn a() {{}}\n}}"),
            format!("#[cfg(test)]\nmod tests {{ const A: &str = \"{marker}\"; }}"),
        ];
        let cited = lines.map(|text| citations(&Source::new("src/a.rs", &text)));
        assert_eq!(cited, [vec![("RACE-01".to_owned(), 4)], vec![]]);
    }
}
