//! For people: a line for each row, and the bytes of what failed.

use std::fmt::Write;

use super::{LEVELS, Shown, Verdicts, first, word};
use crate::{
    expectations::Standing,
    verdict::{Finding, Outcome, Verdict},
};

/// The table, the findings behind it, and the sums.
pub(crate) fn written(verdicts: &Verdicts, shown: Shown) -> String {
    let mut text = String::new();
    for (outcome, standing) in &verdicts.all {
        text.push_str(&line(outcome, *standing));
    }
    for (outcome, standing) in &verdicts.all {
        let advised = *standing == Standing::Advised && shown == Shown::Advice;
        if *standing == Standing::Unexpected || advised {
            text.push_str(&findings(outcome));
        }
    }
    text.push_str(&sums(verdicts));
    text
}

fn line(outcome: &Outcome, standing: Standing) -> String {
    let what = outcome.findings.last().map_or(outcome.remark.as_str(), |found| &found.what);
    let note = match standing {
        Standing::Known => "(known) ",
        Standing::BetterThanKnown => "UNEXPECTED PASS: take it out of the expectations ",
        Standing::Unexpected if outcome.verdict == Verdict::Skipped => "UNEXPECTED SKIP: ",
        Standing::Unexpected if outcome.verdict == Verdict::Passed => "NOT ASKED WHOLE: ",
        _ => "",
    };
    let verdict = word(outcome.verdict);
    let (level, source) = (&outcome.level, first(&outcome.source, 34));
    let line = format!("{:<15} {level:<6} {source:<34} {verdict:<6} {note}", outcome.id);
    format!("{}\n", format!("{line}{}", first(what, 110)).trim_end())
}

fn findings(outcome: &Outcome) -> String {
    let mut text = String::new();
    for finding in &outcome.findings {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n--- {} · {} · {}", outcome.id, finding.level, outcome.source);
        let _ = writeln!(text, "{}", finding.what);
        if !outcome.sentence.is_empty() {
            let _ = writeln!(text, "    “{}”", outcome.sentence);
        }
        text.push_str(&bytes(finding));
    }
    text
}

fn bytes(finding: &Finding) -> String {
    let mut text = String::new();
    for (sign, side) in [('>', &finding.sent), ('<', &finding.received)] {
        for line in side.iter().flat_map(|side| side.split_inclusive('\n')) {
            let _ = writeln!(text, "{sign} {}", line.escape_debug());
        }
    }
    text
}

fn sums(verdicts: &Verdicts) -> String {
    let mut text = String::from("\n");
    for level in LEVELS {
        let of = |verdict: Verdict| {
            let level = level.to_string();
            let found = verdicts.all.iter().map(|(outcome, _)| outcome);
            found.filter(|found| found.level == level && found.verdict == verdict).count()
        };
        let (passed, failed) = (of(Verdict::Passed), of(Verdict::Failed));
        let (advice, skipped) = (of(Verdict::Advice), of(Verdict::Skipped));
        let _ = writeln!(
            text,
            "{level:<7} {passed} passed, {failed} failed, {advice} advice, {skipped} skipped"
        );
    }
    let stand =
        |wanted: Standing| verdicts.all.iter().filter(|(_, standing)| *standing == wanted).count();
    let (known, better) = (stand(Standing::Known), stand(Standing::BetterThanKnown));
    if known > 0 || better > 0 {
        let _ = writeln!(text, "{known} known deviations, {better} passed unexpectedly");
    }
    let failed = stand(Standing::Unexpected).saturating_add(better);
    let fine = verdicts.all.iter().filter(|(_, standing)| *standing == Standing::Fine);
    let (skipped, passed): (Vec<_>, Vec<_>) =
        fine.partition(|(outcome, _)| outcome.verdict == Verdict::Skipped);
    let (skipped, passed) = (skipped.len(), passed.len());
    let _ = writeln!(text, "rows: {passed} passed, {failed} failed, {skipped} skipped");
    text
}
