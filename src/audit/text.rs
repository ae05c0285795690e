//! Reports as text for people. Whatever a client chose is printed so that no terminal obeys it.

use std::fmt::Write;

use super::{
    inspect::{Inspection, Upload},
    verdict::{Status, Verdict},
    verify::{Loose, Summary},
};
use crate::upload::is_invisible;

/// Lines of a list that are shown at each end of it where not all are wanted.
const ENDS: usize = 20;

/// How much of long lists is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// The beginning and the end.
    Ends,
    /// Everything.
    All,
}

/// Text without control and direction characters: they are written as `\u{…}`.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => plain.push_str("\\\\"),
            c if is_invisible(c) => plain.extend(c.escape_unicode()),
            c => plain.push(c),
        }
    }
    plain
}

/// JSON on one line, in which such characters are escaped, too.
pub(super) fn json(value: &impl serde::Serialize) -> serde_json::Result<String> {
    let mut safe = String::new();
    for c in serde_json::to_string(value)?.chars() {
        if is_invisible(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    Ok(safe)
}

/// One upload, with a line break at its end.
pub(super) fn verdict(verdict: &Verdict) -> String {
    let Verdict { id, phase, length, stored, .. } = verdict;
    let status = match verdict.status {
        Status::Ok => "ok",
        Status::Damaged => "DAMAGED",
        Status::Busy => "busy",
        Status::Unreadable => "UNREADABLE",
    };
    let phase = phase.as_deref().unwrap_or("unknown");
    let length = length.map_or_else(|| "unknown".to_owned(), |length| length.to_string());
    let mut text = format!("{id}  {status:<10}  {phase:<9}  {stored} of {length} bytes");
    if let Some(file) = &verdict.file {
        let _ = write!(text, "  {}", plain(file));
    }
    text.push('\n');
    text.push_str(&findings(verdict, "    "));
    text
}

fn findings(verdict: &Verdict, margin: &str) -> String {
    let mut text = String::new();
    for problem in &verdict.problems {
        let _ = writeln!(text, "{margin}{}", plain(&problem.says));
        for (what, said) in [("means", problem.means), ("do", problem.remedy)] {
            if let Some(said) = said {
                let _ = writeln!(text, "{margin}  {what}: {said}");
            }
        }
    }
    if verdict.status == Status::Busy {
        let _ = writeln!(text, "{margin}  a server is at work on it: look again later");
    }
    for note in &verdict.notes {
        let _ = writeln!(text, "{margin}note: {}", plain(&note.says));
    }
    text
}

/// Something that no upload accounts for.
pub(super) fn loose(loose: &Loose) -> String {
    format!("{}  nobody's\n    note: {}\n", plain(&loose.path), loose.says)
}

/// The last line.
pub(super) fn summary(summary: &Summary) -> String {
    let Summary { uploads, checked, damaged, .. } = summary;
    let mut text = format!("{uploads} uploads, {checked} bytes checked, {damaged} damaged");
    let more = [
        (summary.unproven, "bytes without a digest"),
        (summary.busy, "busy"),
        (summary.unreadable, "unreadable"),
        (summary.loose, "nobody's"),
        (summary.staged, "chunks on their way in tmp"),
    ];
    for (count, what) in more.into_iter().filter(|(count, _)| *count > 0) {
        let _ = write!(text, "; {count} {what}");
    }
    text.push('\n');
    text
}

/// All that is known of one upload.
pub(super) fn inspection(inspection: &Inspection, extent: Extent) -> String {
    let mut text = String::new();
    line(&mut text, "upload", &inspection.verdict.id);
    if let Some(upload) = &inspection.upload {
        facts_of(&mut text, upload);
    }
    let ledger = &inspection.ledger;
    let records = inspection.facts.len();
    let said = format!("{}, {} bytes, {records} facts", ledger.file, ledger.size);
    line(&mut text, "ledger", &said);
    line(&mut text, "changed", &ledger.changed);
    let status = format!("{:?}", inspection.verdict.status).to_lowercase();
    line(&mut text, "state", &format!("{status}, as far as sizes tell"));
    text.push_str(&findings(&inspection.verdict, "  "));
    let parts = inspection.parts.iter().map(|part| {
        let size = part.size.map_or_else(|| "no".to_owned(), |size| size.to_string());
        let end = |place: Option<u64>| place.map_or_else(|| "?".to_owned(), |at| at.to_string());
        let span = format!("{}..{}", end(part.from), end(part.to));
        format!("{}  {size} bytes  {span}  {}", part.file, part.state)
    });
    list(&mut text, "parts", parts, extent);
    let chunks = inspection.chunks.iter().map(|chunk| {
        let digest = chunk.sha256.as_deref().unwrap_or("no digest");
        format!("{}  {}..{}  {digest}  {}", chunk.chunk, chunk.from, chunk.to, chunk.file)
    });
    list(&mut text, "chunks", chunks, extent);
    let facts = inspection.facts.iter().map(|fact| {
        let said = format!("{}  {}  {}  {}", fact.time, fact.at, fact.fact, fact.about);
        said.trim_end().to_owned()
    });
    list(&mut text, "facts", facts, extent);
    text
}

fn facts_of(text: &mut String, upload: &Upload) {
    let known =
        |number: Option<u64>| number.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
    line(text, "phase", &upload.phase);
    line(text, "begun by", &upload.dialect);
    line(text, "length", &known(upload.length));
    line(text, "offset", &upload.offset.to_string());
    let chunks = format!(
        "{} of {}, {} with a digest, {} bytes each, {} bytes behind them",
        upload.sealed,
        known(upload.total),
        upload.digests,
        upload.chunk_size,
        upload.tail
    );
    line(text, "chunks", &chunks);
    line(text, "created", &upload.created);
    line(text, "active", &upload.active);
    let passed = if upload.expired { ", which has passed" } else { "" };
    let expires = upload.expires.as_deref().unwrap_or("never");
    line(text, "expires", &format!("{expires}{passed}"));
    line(text, "verified", &format!("{}, now {}", upload.verified, upload.epoch));
    let said = [
        ("owner", &upload.owner),
        ("hash", &upload.hash),
        ("filename", &upload.filename),
        ("type", &upload.media_type),
        ("joins", &upload.concatenation),
        ("file", &upload.file),
        ("finished", &upload.finished),
        ("composite", &upload.composite),
    ];
    for (name, value) in said {
        if let Some(value) = value {
            line(text, name, value);
        }
    }
    for (key, value) in &upload.metadata {
        line(text, "metadata", &format!("{key} = {value}"));
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name:<10} {}", plain(value));
}

fn list(text: &mut String, name: &str, lines: impl Iterator<Item = String>, extent: Extent) {
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{name}");
    let hidden = lines.len().saturating_sub(ENDS.saturating_mul(2));
    let hidden = if extent == Extent::All || hidden == 0 { 0..0 } else { ENDS..ENDS + hidden };
    for (at, line) in lines.iter().enumerate() {
        if at == hidden.start && !hidden.is_empty() {
            let _ = writeln!(text, "  … {} more, shown by --all", hidden.len());
        }
        if !hidden.contains(&at) {
            let _ = writeln!(text, "  {}", plain(line));
        }
    }
}
