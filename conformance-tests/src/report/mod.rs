//! The verdicts, written for people and for programs.

mod junit;
mod markdown;
pub(crate) mod matrix;
pub(crate) mod progress;
mod table;

use std::fmt::Write;

use crate::{
    args::Format,
    case::Case,
    expectations::{Expectations, Standing, Strictness, standing},
    row::Level,
    verdict::{Outcome, Verdict},
};

/// All outcomes of a run, and how they stand to what was expected.
#[derive(Debug)]
pub(crate) struct Verdicts {
    pub(crate) all: Vec<(Outcome, Standing)>,
}

impl Verdicts {
    /// Looks at the outcomes in the light of what is known about the server.
    pub(crate) fn new(
        outcomes: Vec<Outcome>,
        expectations: &Expectations,
        strictness: Strictness,
        no_skips: bool,
    ) -> Self {
        let stands = |outcome: &Outcome| {
            let skipped =
                outcome.verdict == Verdict::Skipped || outcome.remark.starts_with("in part");
            if no_skips && skipped && !outcome.remark.starts_with("only HTTP/1.1") {
                return Standing::Unexpected;
            }
            standing(outcome, expectations, strictness)
        };
        let judged = |outcome: Outcome| {
            let standing = stands(&outcome);
            (outcome, standing)
        };
        Self { all: outcomes.into_iter().map(judged).collect() }
    }

    /// Was nothing unexpected found, and something asked?
    pub(crate) fn good(&self) -> bool {
        let bad = |standing| matches!(standing, Standing::Unexpected | Standing::BetterThanKnown);
        self.all.iter().all(|(_, standing)| !bad(*standing))
            && self.all.iter().any(|(outcome, _)| outcome.verdict != Verdict::Skipped)
    }

    /// How many outcomes have this verdict.
    pub(crate) fn count(&self, verdict: Verdict) -> usize {
        self.all.iter().filter(|(outcome, _)| outcome.verdict == verdict).count()
    }

    /// The verdicts in this form.
    pub(crate) fn written(&self, format: Format, shown: Shown) -> Result<String, String> {
        match format {
            Format::Table => Ok(table::written(self, shown)),
            Format::Markdown => Ok(markdown::written(self)),
            Format::Junit => junit::written(self),
            Format::Json => {
                let outcomes: Vec<_> = self.all.iter().map(|(outcome, _)| outcome).collect();
                let written = serde_json::to_string_pretty(&outcomes);
                written.map(|text| text + "\n").map_err(|error| error.to_string())
            }
        }
    }
}

/// Whose bytes a table shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Those of what counts as a failure.
    Failures,
    /// Those of advice, too.
    Advice,
}

/// The rows that can be asked: id, level, source, request.
pub(crate) fn list(cases: &[&'static Case]) -> String {
    cases.iter().fold(String::new(), |mut text, case| {
        let row = case.row();
        // Writing to a String cannot fail.
        let (level, source) = (row.level.to_string(), first(&row.source, 36));
        let _ =
            writeln!(text, "{:<15} {level:<6} {source:<36} {}", row.id, first(&row.request, 90));
        text
    })
}

/// The first `most` characters, with a mark where more followed.
fn first(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// The word for a verdict; a failure of something that is no MUST is advice.
fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "pass",
        Verdict::Failed => "FAIL",
        Verdict::Advice => "advice",
        Verdict::Skipped => "skip",
    }
}

/// The levels, strongest first, as they are counted apart.
const LEVELS: [Level; 3] = [Level::Must, Level::Should, Level::Ours];

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(verdict: Verdict, strictness: Strictness) -> Verdicts {
        let case = crate::cases::all().next().unwrap();
        let outcome = Outcome { verdict, ..Outcome::skipped(case, String::new()) };
        Verdicts::new(vec![outcome], &Expectations::default(), strictness, false)
    }

    #[test]
    fn only_a_must_can_fail_unless_the_run_is_strict() {
        assert!(!verdicts(Verdict::Failed, Strictness::Lenient).good());
        assert!(verdicts(Verdict::Advice, Strictness::Lenient).good());
        assert!(!verdicts(Verdict::Advice, Strictness::Strict).good());
        assert!(verdicts(Verdict::Passed, Strictness::Strict).good());
        assert!(!verdicts(Verdict::Skipped, Strictness::Lenient).good(), "nothing was asked");
    }

    #[test]
    fn what_was_not_asked_counts_where_nothing_may_be_skipped() {
        let case = crate::cases::all().next().unwrap();
        let of = |verdict, remark: &str| {
            let outcome = Outcome { verdict, ..Outcome::skipped(case, remark.to_owned()) };
            let (none, lenient) = (Expectations::default(), Strictness::Lenient);
            let whole =
                Outcome { verdict: Verdict::Passed, ..Outcome::skipped(case, String::new()) };
            Verdicts::new(vec![whole, outcome], &none, lenient, true)
        };
        for (verdict, remark, sums) in [
            (Verdict::Skipped, "not offered", "rows: 1 passed, 1 failed, 0 skipped"),
            (Verdict::Passed, "in part: no folder", "rows: 1 passed, 1 failed, 0 skipped"),
        ] {
            let verdicts = of(verdict, remark);
            assert!(!verdicts.good(), "{remark}");
            assert!(
                verdicts.written(Format::Table, Shown::Failures).unwrap().contains(sums),
                "{remark}"
            );
        }
        assert!(of(Verdict::Skipped, "only HTTP/1.1 can say this").good());
    }

    #[test]
    fn no_format_passes_on_what_a_hostile_server_says() {
        let case = crate::cases::all().next().unwrap();
        let said = "a\u{1b}[2J\0\u{ffff}|b\r\n</failure><script>";
        let ended = Err(crate::stop::breach(said));
        let outcome = Outcome::new(case, ended, Vec::new(), 1);
        let (none, lenient) = (Expectations::default(), Strictness::Lenient);
        let verdicts = Verdicts::new(vec![outcome], &none, lenient, false);
        for format in [Format::Table, Format::Json, Format::Junit, Format::Markdown] {
            let text = verdicts.written(format, Shown::Failures).unwrap();
            let plain = |c: char| c == '\n' || !c.is_control();
            assert!(text.chars().all(plain), "{format:?}: {text:?}");
            let tags = matches!(format, Format::Junit | Format::Markdown);
            assert!(!tags || !text.contains("<script>"), "{format:?}: {text}");
            assert!(format != Format::Junit || !text.contains('\u{ffff}'), "{text:?}");
        }
    }

    #[test]
    fn every_format_tells_every_row() {
        let verdicts = verdicts(Verdict::Failed, Strictness::Strict);
        let id = verdicts.all[0].0.id.clone();
        for format in [Format::Table, Format::Json, Format::Junit, Format::Markdown] {
            assert!(verdicts.written(format, Shown::Failures).unwrap().contains(&id), "{format:?}");
        }
    }
}
