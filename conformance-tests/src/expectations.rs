//! What is known about a server: rows that it does not fulfil, with a reason each.

use std::{collections::BTreeSet, fs, path::Path};

use serde::Deserialize;

use crate::verdict::{Outcome, Verdict};

/// A file `expectations/NAME.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expectations {
    /// The server and its version, for people.
    #[serde(default)]
    #[expect(dead_code, reason = "the file says it for people; a file without it is a mistake")]
    pub(crate) server: String,
    #[serde(default, rename = "deviation")]
    pub(crate) deviations: Vec<Deviation>,
}

/// One row that the server is known not to fulfil.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deviation {
    pub(crate) id: String,
    /// `failed` or `advice`.
    pub(crate) verdict: Verdict,
    /// Which sentence it breaks, and how.
    pub(crate) reason: String,
}

impl Expectations {
    /// Reads a file.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = fs::read_to_string(path).map_err(|error| wrong(&error))?;
        let read: Self = toml::from_str(&text).map_err(|error| wrong(&error))?;
        let mut seen = BTreeSet::new();
        for deviation in &read.deviations {
            if deviation.reason.trim().is_empty() {
                return Err(wrong(&format_args!("{} has no reason", deviation.id)));
            }
            if !crate::cases::all().any(|case| case.id == deviation.id) {
                return Err(wrong(&format_args!("there is no row {:?}", deviation.id)));
            }
            if !matches!(deviation.verdict, Verdict::Failed | Verdict::Advice) {
                return Err(wrong(&format_args!("{} is neither failed nor advice", deviation.id)));
            }
            if !seen.insert(deviation.id.as_str()) {
                return Err(wrong(&format_args!("{} stands there twice", deviation.id)));
            }
        }
        Ok(read)
    }

    /// The deviation that is known for a row.
    pub(crate) fn of(&self, id: &str) -> Option<&Deviation> {
        self.deviations.iter().find(|deviation| deviation.id == id)
    }
}

/// What an outcome is, seen from what was expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Good, or not asked.
    Fine,
    /// A deviation that the file names.
    Known,
    /// Advice, which nobody is bound to.
    Advised,
    /// A row failed that should not.
    Unexpected,
    /// A row passed that the file says would not.
    BetterThanKnown,
}

/// How strictly advice is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strictness {
    /// Advice binds nobody.
    Lenient,
    /// Advice counts as a failure, unless the file names it.
    Strict,
}

/// How an outcome stands to what was expected.
pub(crate) fn standing(
    outcome: &Outcome,
    expectations: &Expectations,
    strictness: Strictness,
) -> Standing {
    let known = expectations.of(&outcome.id).map(|deviation| deviation.verdict);
    match (outcome.verdict, known) {
        (Verdict::Skipped, _) | (Verdict::Passed, None) => Standing::Fine,
        (found, Some(verdict)) if found == verdict => Standing::Known,
        (Verdict::Passed | Verdict::Advice, Some(_)) => Standing::BetterThanKnown,
        (Verdict::Advice, None) if strictness == Strictness::Lenient => Standing::Advised,
        (Verdict::Advice | Verdict::Failed, _) => Standing::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(verdict: Verdict) -> Outcome {
        let case = crate::cases::all().next().unwrap();
        Outcome { verdict, ..Outcome::skipped(case, String::new()) }
    }

    #[test]
    fn what_is_known_is_no_news_and_what_is_better_is() {
        let id = crate::cases::all().next().unwrap().id.to_owned();
        let known = |verdict| Expectations {
            server: String::new(),
            deviations: vec![Deviation { id: id.clone(), verdict, reason: "so".to_owned() }],
        };
        let (none, strict) = (Expectations::default(), Strictness::Strict);
        let lenient = Strictness::Lenient;
        let failed = outcome(Verdict::Failed);
        assert_eq!(standing(&failed, &none, lenient), Standing::Unexpected);
        assert_eq!(standing(&failed, &known(Verdict::Failed), strict), Standing::Known);
        assert_eq!(standing(&failed, &known(Verdict::Advice), strict), Standing::Unexpected);
        let passed = outcome(Verdict::Passed);
        assert_eq!(standing(&passed, &known(Verdict::Failed), lenient), Standing::BetterThanKnown);
        let advice = outcome(Verdict::Advice);
        assert_eq!(standing(&advice, &none, lenient), Standing::Advised);
        assert_eq!(standing(&advice, &none, strict), Standing::Unexpected);
        assert_eq!(standing(&advice, &known(Verdict::Failed), strict), Standing::BetterThanKnown);
    }

    #[test]
    fn every_file_names_rows_that_there_are() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("expectations");
        let files: Vec<_> =
            fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(files.len() > 2, "{files:?}");
        for file in files {
            Expectations::read(&file).unwrap_or_else(|why| panic!("{why}"));
        }
    }

    #[test]
    fn a_deviation_needs_a_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.toml");
        let of = |reason: &str| {
            format!("[[deviation]]\nid = \"TUS-HEAD-01\"\nverdict = \"failed\"\n{reason}")
        };
        for (text, good) in [
            (of("reason = \"it is so\""), true),
            (of("reason = \" \""), false),
            (of(""), false),
            (of("reason = \"a\"").replace("HEAD-01", "HEAD-99"), false),
            (of("reason = \"a\"").replace("failed", "skipped"), false),
            (of("reason = \"a\"\n") + &of("reason = \"b\""), false),
        ] {
            fs::write(&path, &text).unwrap();
            assert_eq!(Expectations::read(&path).is_ok(), good, "{text}");
        }
    }
}
