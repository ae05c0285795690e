//! The rows of `rows.md`: what is asked, what the answer should be, and what says so.

use std::{collections::BTreeMap, fmt, sync::LazyLock};

/// The page that this suite is the running form of.
const PAGE: &str = include_str!("../rows.md");

/// How much a row binds a server that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Ours, or one choice among what is allowed.
    Ours,
    /// A SHOULD.
    Should,
    /// A MUST or MUST NOT of tus 1.0.0 or of an RFC.
    Must,
}

impl Level {
    /// The strongest of the letters in the column `level`.
    fn parse(cell: &str) -> Self {
        if cell.contains('M') {
            Self::Must
        } else if cell.contains('S') {
            Self::Should
        } else {
            Self::Ours
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ours => "ours",
            Self::Should => "should",
            Self::Must => "must",
        })
    }
}

/// One row of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) request: String,
    pub(crate) expected: String,
    pub(crate) level: Level,
    pub(crate) source: String,
}

/// All rows, by id.
pub(crate) static ROWS: LazyLock<BTreeMap<String, Row>> =
    LazyLock::new(|| parse(PAGE).into_iter().map(|row| (row.id.clone(), row)).collect());

/// The kinds of rows, as their ids begin.
const KINDS: [&str; 7] = ["TUS", "CORS", "CONN", "RACE", "CHUNK", "CROSS", "FAULT"];

fn is_id(text: &str) -> bool {
    let number = text.rsplit('-').next().unwrap_or_default();
    KINDS.iter().any(|kind| text.strip_prefix(kind).is_some_and(|rest| rest.starts_with('-')))
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The cells of a line of a table; `\|` and a `|` in code are no borders.
fn cells(line: &str) -> Vec<String> {
    let (mut cells, mut cell, mut code, mut escaped) = (Vec::new(), String::new(), false, false);
    for sign in line.trim().trim_start_matches('|').chars() {
        match sign {
            '|' if !code && !escaped => cells.push(std::mem::take(&mut cell).trim().to_owned()),
            _ => cell.push(sign),
        }
        code ^= sign == '`';
        escaped = sign == '\\';
    }
    cells
}

fn parse(page: &str) -> Vec<Row> {
    let (mut rows, mut head) = (Vec::new(), Vec::new());
    for line in page.lines().filter(|line| line.starts_with('|')) {
        let cells = cells(line);
        let Some(first) = cells.first() else { continue };
        if first == "id" {
            head.clone_from(&cells);
        }
        let id = first.trim_end_matches('†');
        if !is_id(id) {
            continue;
        }
        let of = |name: &str| {
            let at = head.iter().position(|column| column == name)?;
            cells.get(at).cloned()
        };
        rows.push(Row {
            id: id.to_owned(),
            request: of("request").unwrap_or_default(),
            expected: of("expected").unwrap_or_default(),
            level: of("level").map_or(Level::Ours, |cell| Level::parse(&cell)),
            source: of("source").unwrap_or_else(|| "ours".to_owned()),
        });
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_its_columns() {
        assert!(ROWS.len() > 250, "{}", ROWS.len());
        for row in ROWS.values() {
            assert!(!row.request.is_empty() && !row.expected.is_empty(), "{row:?}");
            assert!(!row.source.is_empty(), "{row:?}");
        }
        let head = &ROWS["TUS-HEAD-01"];
        assert_eq!((head.level, head.source.as_str()), (Level::Must, "core/HEAD"));
        assert_eq!(ROWS["CHUNK-DEL-01"].level, Level::Ours);
    }

    #[test]
    fn a_bar_in_code_is_no_border() {
        assert_eq!(cells("| a | `x|y` | b\\|c |"), ["a", "`x|y`", "b\\|c"]);
    }
}
