//! Options that take one word out of a few.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Which digest is taken of every chunk while it is received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChunkDigest {
    /// SHA-256, kept with the facts of the upload.
    #[default]
    Sha256,
    /// None: less CPU, and nothing notices a chunk that changed on disk.
    None,
}

/// What survives a power loss. A crash of the process alone loses nothing under any of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Nothing is promised.
    None,
    /// A file whose upload was answered as finished.
    #[default]
    Complete,
    /// Every byte whose receipt was acknowledged.
    Ack,
}

/// The form of the log on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The value of the word `text`; the case matters, as it does in the names of options.
pub(super) fn choice<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let value = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    value.ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("is none of {}", words.join(", "))
    })
}

/// `true` or `false`.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    choice(text, &[("true", true), ("false", false)])
}

/// A list of `level` and `target=level`, as `EnvFilter` reads it.
///
/// `EnvFilter` takes a lone word that is no level for a target, so that `inof` would be a valid
/// way to log almost nothing; we refuse it.
pub(super) fn log_level(text: &str) -> Result<String, String> {
    let strange = |part: &&str| !part.contains('=') && part.trim().parse::<LevelFilter>().is_err();
    if let Some(part) = text.split(',').find(strange) {
        return Err(format!(
            "has a part {part:?} that is neither a level (off, error, warn, info, debug, trace) \
             nor target=level"
        ));
    }
    match EnvFilter::builder().parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("is not a list of levels: {error}")),
    }
}
