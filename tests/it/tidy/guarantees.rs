//! What docs/guarantees.md names is there: each test, constant and option; each limit is the number
//! that the code has.
//!
//! A citation is a path and a name in backticks, `` `tests/it/crash.rs: killed_within_a_merge` ``.
//! Each line of a table must have one in its last cell, or the id of a conformance row. A line that
//! cites a constant gives its value in the cell before: `64 KiB`, `30 s`, `10,000`.

use std::path::Path;

use super::{rows, source::Source};

/// Where the guarantees are.
pub const PAGE: &str = "docs/guarantees.md";

/// Lines of tables without a citation, citations of what is not there, and numbers that differ.
pub fn complaints(page: &str, rows_page: &str, sources: &[Source]) -> Vec<String> {
    let mut found = Vec::new();
    let mut complain = |line: usize, text: String| found.push(format!("{PAGE}:{line}: {text}"));
    for (at, line) in page.lines().enumerate() {
        for quoted in line.split('`').skip(1).step_by(2) {
            if let Some((path, name)) = quoted.split_once(": ").filter(|(path, _)| is_rust(path)) {
                match sources.iter().find(|source| source.path == Path::new(path)) {
                    None => complain(at + 1, format!("there is no {path}")),
                    Some(source) if is_constant(name) => {
                        if let Some(differs) = differs(source, name, line) {
                            complain(at + 1, differs);
                        }
                    }
                    Some(source) if !source.text.contains(&format!("fn {name}(")) => {
                        complain(at + 1, format!("there is no {name} in {path}"));
                    }
                    Some(_) => {}
                }
            } else if rows::is_id(quoted) && !rows_page.contains(&format!("| {quoted}")) {
                complain(at + 1, format!("there is no row {quoted}"));
            }
        }
        if !is_covered(line) {
            complain(at + 1, "no test stands for this line".to_owned());
        }
    }
    found
}

fn is_rust(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|end| end == "rs")
}

fn is_constant(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// Whether it is no line of a table, or cites a test in its last cell.
fn is_covered(line: &str) -> bool {
    let Some(cells) = line.strip_prefix("| ").and_then(|rest| rest.strip_suffix(" |")) else {
        return true;
    };
    let last = cells.rsplit(" | ").next().unwrap_or_default();
    let mut quoted = last.split('`').skip(1).step_by(2);
    let is_head = last == "test";
    is_head || quoted.any(|text| text.contains(".rs: ") || rows::is_id(text))
}

/// Says so if no cell of the line has the value of the constant.
fn differs(source: &Source, name: &str, line: &str) -> Option<String> {
    let Some(value) = constant(source, name) else {
        return Some(format!("no constant {name} with a plain value in {}", source.path.display()));
    };
    let told = line.split(" | ").any(|cell| number(cell) == Some(value));
    (!told).then(|| format!("{name} is {value}, which no cell says"))
}

/// The value of a constant, spans in milliseconds.
fn constant(source: &Source, name: &str) -> Option<u64> {
    let head = source.text.split(&format!("const {name}: ")).nth(1)?;
    let value = head.split_once("= ")?.1.split_once(';')?.0;
    for (unit, scale) in [("millis", 1), ("secs", 1000), ("mins", 60_000), ("hours", 3_600_000)] {
        if let Some(inner) = value.strip_prefix(&format!("Duration::from_{unit}(")) {
            return product(inner.strip_suffix(')')?).map(|inner| inner * scale);
        }
    }
    product(value)
}

/// A product of plain numbers, or a shifted one.
fn product(text: &str) -> Option<u64> {
    if let Some((number, by)) = text.split_once(" << ") {
        return Some(plain(number)? << plain(by)?);
    }
    text.split(" * ").map(plain).product()
}

fn plain(text: &str) -> Option<u64> {
    text.replace('_', "").parse().ok()
}

/// The first number of a cell with its unit: bytes, milliseconds, or a count.
fn number(cell: &str) -> Option<u64> {
    let (number, unit) = cell.trim().split_once(' ').unwrap_or((cell.trim(), ""));
    let number: u64 = number.replace(',', "").parse().ok()?;
    let unit = unit.split([' ', ',']).next().unwrap_or_default();
    let scale = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "s" => 1000,
        "min" => 60_000,
        "h" => 3_600_000,
        "days" => 24 * 3_600_000,
        _ => 1,
    };
    Some(number * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "const HEAD_MAX: u32 = 64 * 1024;\n\
        const PAUSE: Duration = Duration::from_millis(1_500);\n\
        const PARTS: u64 = 1 << 24;\nfn heads_are_bounded() {}";

    fn judge(lines: &str) -> Vec<String> {
        complaints(lines, "| FAULT-12 | a |", &[Source::new("src/a.rs", CODE)])
    }

    #[test]
    fn what_is_there_and_tested_is_fine() {
        let page = "| limit | value | place | test |\n|---|---|---|---|\n\
            | heads | 64 KiB | `src/a.rs: HEAD_MAX` | `src/a.rs: heads_are_bounded` |\n\
            | pause | 1500 ms | `src/a.rs: PAUSE` | `FAULT-12` |\n\
            | parts | 16,777,216 | `src/a.rs: PARTS` | `FAULT-12`, a row |\n\
            Text with `code` and `src/a.rs: heads_are_bounded`.";
        assert_eq!(judge(page), Vec::<String>::new());
    }

    #[test]
    fn what_is_not_there_or_differs_is_found() {
        for (line, complaint) in [
            ("`src/b.rs: x`", "there is no src/b.rs"),
            ("`src/a.rs: heads`", "there is no heads in src/a.rs"),
            ("`FAULT-13`", "there is no row FAULT-13"),
            ("| a | b |", "no test stands for this line"),
            (
                "| 65 KiB | `src/a.rs: HEAD_MAX` | `FAULT-12` |",
                "HEAD_MAX is 65536, which no cell says",
            ),
            (
                "| 1 | `src/a.rs: OTHER` | `FAULT-12` |",
                "no constant OTHER with a plain value in src/a.rs",
            ),
        ] {
            assert_eq!(judge(line), [format!("docs/guarantees.md:1: {complaint}")]);
        }
    }
}
