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
            Err(Stop::Skip(why)) => return Self::skipped(case, why),
            Err(Stop::Part(why)) => format!("in part: {why}"),
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

    /// The kind of row: the id without its number.
    pub(crate) fn area(&self) -> &str {
        self.id.rsplit_once('-').map_or(self.id.as_str(), |(area, _)| area)
    }
}

fn finding((level, breach): (Level, Breach)) -> Finding {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let exchange = breach.exchange.as_ref();
    Finding {
        level: level.to_string(),
        what: breach.what,
        sent: exchange.map(|exchange| text(&exchange.sent)),
        received: exchange.map(|exchange| text(&exchange.received)),
    }
}
