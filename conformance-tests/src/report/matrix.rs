//! Areas and servers: the page that compares the results of several runs.

use std::{collections::BTreeMap, fmt::Write, fs};

use super::markdown::cell;
use crate::{
    args::Report,
    cases,
    verdict::{Outcome, Verdict},
};

/// The results of one server, under its name.
type Column = (String, Vec<Outcome>);

/// The page.
pub(crate) fn page(wanted: &Report) -> Result<String, String> {
    let columns: Vec<Column> =
        wanted.results.iter().map(|named| column(named)).collect::<Result<_, _>>()?;
    let mut text = format!(
        "# Servers, judged\n\n\
         Written by `conformance-tests report` from runs of {}. A cell counts the rows of an area: \
         passed / failed / not offered.\n*Failed* counts broken MUSTs of tus 1.0.0 and of HTTP; \
         in brackets what is only advice (a SHOULD, or a choice of piton's).\n*Not offered* also \
         counts what could not be asked of that server.\n\n",
        wanted.date
    );
    text.push_str(&table(&columns));
    for (name, outcomes) in &columns {
        text.push_str(&failures(name, outcomes));
    }
    Ok(text)
}

fn column(named: &str) -> Result<Column, String> {
    let (name, path) = named.rsplit_once('=').ok_or(format!("{named} is not NAME=FILE"))?;
    let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let outcomes = serde_json::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
    Ok((name.to_owned(), outcomes))
}

fn table(columns: &[Column]) -> String {
    let names: Vec<_> = columns.iter().map(|(name, _)| cell(name)).collect();
    let mut text =
        format!("| area | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    let mut areas: Vec<&str> = Vec::new();
    for case in cases::all() {
        if !areas.contains(&case.area()) {
            areas.push(case.area());
        }
    }
    for area in areas {
        let cells: Vec<_> = columns.iter().map(|(_, outcomes)| counted(area, outcomes)).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| {area} | {} |", cells.join(" | "));
    }
    text
}

fn counted(area: &str, outcomes: &[Outcome]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.area() == area) {
        let key = match outcome.verdict {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Advice => "advice",
            Verdict::Skipped => "skipped",
        };
        let count = counts.entry(key).or_default();
        *count = count.saturating_add(1);
    }
    let of = |key| counts.get(key).copied().unwrap_or(0);
    let advice = match of("advice") {
        0 => String::new(),
        advice => format!(" ({advice})"),
    };
    format!("{} / {}{advice} / {}", of("passed"), of("failed"), of("skipped"))
}

fn failures(name: &str, outcomes: &[Outcome]) -> String {
    let failed: Vec<_> =
        outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Failed).collect();
    if failed.is_empty() {
        return format!("\n## {name}\n\nNo MUST is broken.\n");
    }
    let head = "| id | source | found | the sentence |\n|---|---|---|---|\n";
    failed.iter().fold(format!("\n## {name}\n\n{head}"), |mut text, outcome| {
        let musts = outcome.findings.iter().filter(|finding| finding.level == "must");
        let found: Vec<_> = musts.map(|finding| cell(&finding.what)).collect();
        let (source, sentence) = (cell(&outcome.source), cell(&outcome.sentence));
        let _ = writeln!(text, "| {} | {source} | {} | {sentence} |", outcome.id, found.join("; "));
        text
    })
}
