//! For pages.

use std::fmt::Write;

use super::{Verdicts, word};
use crate::verdict::{Verdict, plain};

/// A table of all rows.
pub(crate) fn written(verdicts: &Verdicts) -> String {
    let mut text =
        String::from("| id | level | source | verdict | found |\n|---|---|---|---|---|\n");
    for (outcome, _) in &verdicts.all {
        let found: Vec<_> = outcome.findings.iter().map(|finding| finding.what.as_str()).collect();
        let found = if found.is_empty() { outcome.remark.clone() } else { found.join("; ") };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            outcome.id,
            outcome.level,
            cell(&outcome.source),
            word(outcome.verdict),
            cell(&found),
        );
    }
    let (passed, failed) = (verdicts.count(Verdict::Passed), verdicts.count(Verdict::Failed));
    let (advice, skipped) = (verdicts.count(Verdict::Advice), verdicts.count(Verdict::Skipped));
    let _ =
        writeln!(text, "\n{passed} passed, {failed} failed, {advice} advice, {skipped} skipped");
    text
}

/// Text that stays in its cell.
pub(crate) fn cell(text: &str) -> String {
    plain(text).replace('|', "\\|").replace('<', "&lt;")
}
