//! What a row comes to on a server.

use serde::{Deserialize, Serialize};

use crate::{
    case::Case,
    row::Level,
    stop::{Breach, Stop},
};

/// How a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// Everything that could be asked was answered as the row says.
    Passed,
    /// A MUST is broken.
    Failed,
    /// Something that is no MUST is answered in another way.
    Advice,
    /// It does not apply, or cannot be asked of this server here.
    Skipped,
}

/// One thing that was found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// `must`, `should` or `ours`.
    pub(crate) level: String,
    pub(crate) what: String,
    /// The bytes that were sent, as far as they are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent: Option<String>,
    /// The bytes that were received, as far as they are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) received: Option<String>,
}

/// A row with its verdict.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) id: String,
    pub(crate) level: String,
    pub(crate) source: String,
    /// The sentence that is broken if it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) sentence: String,
    pub(crate) verdict: Verdict,
    /// Why it was skipped, or what of it could not be asked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) remark: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) findings: Vec<Finding>,
    /// How long it took, in milliseconds.
    pub(crate) millis: u64,
}

impl Outcome {
    /// What a case comes to whose run ended like this.
    pub(crate) fn new(
        case: &Case,
        ended: Result<(), Stop>,
        advice: Vec<(Level, Breach)>,
        millis: u64,
    ) -> Self {
        let level = case.row().level;
        let mut found: Vec<_> = advice;
        let remark = match ended {
            Ok(()) => String::new(),
            Err(Stop::Breach(breach)) => {
                found.push((level, *breach));
                String::new()
            }
            Err(Stop::Skip(why)) if found.is_empty() => return Self::skipped(case, plain(&why)),
            // What was found before stands.
            Err(Stop::Skip(why) | Stop::Part(why)) => format!("in part: {}", plain(&why)),
        };
        let verdict = match found.iter().map(|(level, _)| *level).max() {
            None => Verdict::Passed,
            Some(Level::Must) => Verdict::Failed,
            Some(Level::Should | Level::Ours) => Verdict::Advice,
        };
        let findings = found.into_iter().map(finding).collect();
        Self { verdict, remark, findings, millis, ..Self::skipped(case, String::new()) }
    }

    /// A case that was not asked.
    pub(crate) fn skipped(case: &Case, why: String) -> Self {
        let row = case.row();
        Self {
            id: case.id.to_owned(),
            level: row.level.to_string(),
            source: row.source.clone(),
            sentence: case.sentence.to_owned(),
            verdict: Verdict::Skipped,
            remark: why,
            findings: Vec::new(),
            millis: 0,
        }
    }

    /// The server ended by itself while this was asked, whatever it answered.
    pub(crate) fn ended_the_server(&mut self) {
        let what = "the server ended while this was asked";
        what.clone_into(&mut self.remark);
        if self.findings.is_empty() {
            let (level, what) = (Level::Ours.to_string(), what.to_owned());
            self.verdict = Verdict::Advice;
            self.findings.push(Finding { level, what, sent: None, received: None });
        }
    }

    /// The kind of row: the id without its number.
    pub(crate) fn area(&self) -> &str {
        self.id.rsplit_once('-').map_or(self.id.as_str(), |(area, _)| area)
    }
}

/// The most characters of one finding.
const LONGEST: usize = 4000;

/// Text in which the bytes of a server can do nothing to a terminal or a page: control characters,
/// those that turn the direction of writing, and what XML cannot hold, are spelled out. Of an
/// endless one the beginning.
pub(crate) fn plain(text: &str) -> String {
    let acts = |c: char| {
        c.is_control()
            || matches!(
                c,
                '\u{fffe}' | '\u{ffff}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            )
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    let shown = text.chars().take(LONGEST);
    shown.fold(String::with_capacity(text.len().min(LONGEST)), |mut plain, c| {
        if acts(c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
        plain
    })
}

fn finding((level, breach): (Level, Breach)) -> Finding {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let exchange = breach.exchange.as_ref();
    Finding {
        level: level.to_string(),
        what: plain(&breach.what),
        sent: exchange.map(|exchange| text(&exchange.sent)),
        received: exchange.map(|exchange| text(&exchange.received)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_does_nothing_to_a_terminal() {
        assert_eq!(
            plain("a\x1b[31m\r\nb\u{202e}c\u{9b}é|"),
            "a\\u{1b}[31m\\r\\nb\\u{202e}c\\u{9b}é|"
        );
        assert_eq!(plain(&"x".repeat(10_000)).len(), LONGEST);
    }

    #[test]
    fn a_skip_takes_back_nothing_that_was_found() {
        let case = crate::cases::all().next().unwrap();
        let skip = || Err(Stop::Skip("no more".to_owned()));
        assert_eq!(Outcome::new(case, skip(), Vec::new(), 1).verdict, Verdict::Skipped);
        let found = vec![(Level::Ours, Breach { what: "odd".to_owned(), exchange: None })];
        let outcome = Outcome::new(case, skip(), found, 1);
        assert_eq!((outcome.verdict, outcome.findings.len()), (Verdict::Advice, 1));
        assert_eq!(outcome.remark, "in part: no more");
    }

    #[test]
    fn a_server_that_ends_is_told_though_all_was_answered() {
        let case = crate::cases::all().next().unwrap();
        let mut outcome = Outcome::new(case, Ok(()), Vec::new(), 1);
        assert_eq!(outcome.verdict, Verdict::Passed);
        outcome.ended_the_server();
        assert_eq!((outcome.verdict, outcome.findings.len()), (Verdict::Advice, 1));
    }
}
