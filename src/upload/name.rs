//! Names of finished files: out of a stranger's text, one harmless path segment.

use std::{fmt, str::FromStr};

use super::{digest::Sha256Digest, id::UploadId, time::Timestamp};

/// The longest file name that file systems take, in bytes.
const LONGEST: usize = 255;
/// The longest extension that is kept as one, in bytes with its dot.
const LONGEST_EXTENSION: usize = 17;
/// Room for `-{n}` where a name is taken.
const SUFFIX_ROOM: usize = 8;

/// The name of a file under `files/`: one path segment of 1 ..= 255 bytes, neither `.` nor `..`,
/// without `/`, NUL or other control characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FinalName(String);

/// Text that is no final name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a safe file name")]
pub struct ParseNameError;

impl FinalName {
    /// Checks that `text` is one harmless path segment.
    pub fn parse(text: &str) -> Result<Self, ParseNameError> {
        let harmless = !text.chars().any(|c| c == '/' || is_invisible(c));
        if text.is_empty() || text.len() > LONGEST || text == "." || text == ".." || !harmless {
            return Err(ParseNameError);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the `n`th file that is to be called so: `{stem}-{n}{.ext}` from the second on.
    #[must_use]
    pub fn numbered(&self, n: u32) -> Self {
        if n < 2 {
            return self.clone();
        }
        let (stem, extension) = split_extension(&self.0);
        let suffix = format!("-{n}");
        let room = LONGEST.saturating_sub(extension.len().saturating_add(suffix.len()));
        Self(format!("{}{suffix}{extension}", truncate(stem, room)))
    }
}

impl fmt::Display for FinalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a final name is made of.
#[derive(Debug, Clone, Copy)]
pub struct NameParts<'a> {
    /// The upload.
    pub id: &'a UploadId,
    /// The name that the client gave, not trusted.
    pub filename: Option<&'a str>,
    /// When it was finished.
    pub at: Timestamp,
    /// The composite digest; absent under `--chunk-digest none`, where the id stands in for it.
    pub composite: Option<Sha256Digest>,
}

/// How final names are made: text with `{stem}`, `{ext}`, `{time}`, `{digest8}`, `{digest}` and
/// `{id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameTemplate(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Stem,
    Extension,
    Time,
    Digest8,
    Digest,
    Id,
}

/// A template that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseTemplateError {
    /// A placeholder that does not exist.
    #[error(
        "no placeholder {{{0}}}; there are {{stem}} {{ext}} {{time}} {{digest8}} {{digest}} {{id}}"
    )]
    Placeholder(String),
    /// A brace without its partner.
    #[error("a brace has no partner")]
    Brace,
    /// Text that cannot stand in a file name.
    #[error("a file name cannot contain '/' or control characters")]
    Text,
    /// Nothing that tells two files apart.
    #[error("without a placeholder all files would have one name")]
    Constant,
}

impl FromStr for NameTemplate {
    type Err = ParseTemplateError;

    fn from_str(text: &str) -> Result<Self, ParseTemplateError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from_brace) = rest.split_at(at);
            push_text(&mut pieces, before)?;
            let inner = from_brace.strip_prefix('{').ok_or(ParseTemplateError::Brace)?;
            let (name, after) = inner.split_once('}').ok_or(ParseTemplateError::Brace)?;
            pieces.push(Piece::named(name)?);
            rest = after;
        }
        push_text(&mut pieces, rest)?;
        if pieces.iter().all(|piece| matches!(piece, Piece::Text(_) | Piece::Extension)) {
            return Err(ParseTemplateError::Constant);
        }
        Ok(Self(pieces))
    }
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) -> Result<(), ParseTemplateError> {
    if text.chars().any(|c| c == '/' || is_invisible(c)) {
        return Err(ParseTemplateError::Text);
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
    Ok(())
}

impl Piece {
    fn named(name: &str) -> Result<Self, ParseTemplateError> {
        match name {
            "stem" => Ok(Self::Stem),
            "ext" => Ok(Self::Extension),
            "time" => Ok(Self::Time),
            "digest8" => Ok(Self::Digest8),
            "digest" => Ok(Self::Digest),
            "id" => Ok(Self::Id),
            other => Err(ParseTemplateError::Placeholder(other.to_owned())),
        }
    }
}

impl Default for NameTemplate {
    /// `{stem}-{time}-{digest8}{ext}`.
    fn default() -> Self {
        let dash = || Piece::Text("-".to_owned());
        Self(vec![Piece::Stem, dash(), Piece::Time, dash(), Piece::Digest8, Piece::Extension])
    }
}

impl NameTemplate {
    /// The final name. The stem is cut where the whole would be too long; nothing that was given
    /// can make it fail.
    pub fn render(&self, parts: &NameParts<'_>) -> FinalName {
        let clean = parts.filename.map(sanitise).unwrap_or_default();
        let (stem, extension) = split_extension(&clean);
        let id = parts.id.as_str();
        let stem = if stem.is_empty() { id } else { stem };
        let digest = parts.composite.map_or_else(|| id.to_owned(), |digest| digest.to_hex());
        let digest8 = digest.get(..8).unwrap_or(&digest);
        let time = compact_time(parts.at);
        let write = |stem: &str| -> String {
            let piece = |piece: &Piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Stem => stem.to_owned(),
                Piece::Extension => extension.to_owned(),
                Piece::Time => time.clone(),
                Piece::Digest8 => digest8.to_owned(),
                Piece::Digest => digest.clone(),
                Piece::Id => id.to_owned(),
            };
            self.0.iter().map(piece).collect()
        };
        let fixed = write("").len();
        let room = LONGEST.saturating_sub(fixed).saturating_sub(SUFFIX_ROOM);
        FinalName::parse(&write(truncate(stem, room))).unwrap_or_else(|_| FinalName(id.to_owned()))
    }
}

/// `yyyyMMddTHHmmssZ`.
fn compact_time(at: Timestamp) -> String {
    let text = humantime::format_rfc3339_seconds(at.to_system_time()).to_string();
    text.chars().filter(|c| !matches!(c, '-' | ':')).collect()
}

/// The last path segment without what confuses people, shells or terminals: control and direction
/// characters, leading dots and dashes, blanks and dots at the end.
fn sanitise(given: &str) -> String {
    let segment = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let visible: String = segment.chars().filter(|c| !is_invisible(*c)).collect();
    let start = visible.trim_start_matches(|c: char| c == '.' || c == '-' || c.is_whitespace());
    start.trim_end_matches(|c: char| c == '.' || c.is_whitespace()).to_owned()
}

/// Control and direction characters, which make a name look like another one.
pub fn is_invisible(c: char) -> bool {
    let direction =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}');
    c.is_control() || direction || c == '\u{feff}' || c == '\u{fffd}' || c == '\u{61c}'
}

/// The stem, and the extension with its dot where it is short and plain, else nothing.
fn split_extension(name: &str) -> (&str, &str) {
    let Some(dot) = name.rfind('.') else {
        return (name, "");
    };
    let (stem, extension) = name.split_at(dot);
    let plain = extension.chars().skip(1).all(char::is_alphanumeric);
    if stem.is_empty() || extension.len() < 2 || extension.len() > LONGEST_EXTENSION || !plain {
        return (name, "");
    }
    (stem, extension)
}

/// At most `room` bytes, cut between characters.
fn truncate(text: &str, room: usize) -> &str {
    text.get(..text.floor_char_boundary(room)).unwrap_or_default()
}
