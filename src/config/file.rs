//! What the file says: TOML whose keys are the names of the options.

use std::fmt;
use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use toml::Spanned;

use super::error::ConfigError;
use super::setting::{Origin, Setting};

/// Every key a file may have; a key that is not here is refused, so that a slip of the pen does
/// not silently leave the default in force.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(super) struct FileOptions {
    pub(super) listen: FileValue,
    pub(super) base_path: FileValue,
    pub(super) public_url: FileValue,
    pub(super) tls_cert: FileValue,
    pub(super) tls_key: FileValue,
    pub(super) behind_proxy: FileList,
    pub(super) owner_header: FileValue,
    pub(super) allow_origin: FileList,
    pub(super) cors_credentials: FileValue,
    pub(super) no_page: FileValue,
    pub(super) data_dir: FileValue,
    pub(super) chunk_size: FileValue,
    pub(super) chunk_digest: FileValue,
    pub(super) chunks_per_part: FileValue,
    pub(super) consume_partials: FileValue,
    pub(super) auto_merge: FileValue,
    pub(super) instant: FileValue,
    pub(super) name_template: FileValue,
    pub(super) max_size: FileValue,
    pub(super) max_connections: FileValue,
    pub(super) max_uploads: FileValue,
    pub(super) max_uploads_per_ip: FileValue,
    pub(super) queue_wait: FileValue,
    pub(super) memory_budget: FileValue,
    pub(super) idle_timeout: FileValue,
    pub(super) min_rate: FileValue,
    pub(super) disable_download: FileValue,
    pub(super) disable_termination: FileValue,
    pub(super) no_metrics: FileValue,
    pub(super) expire_after: FileValue,
    pub(super) keep_finished: FileValue,
    pub(super) reap_every: FileValue,
    pub(super) durability: FileValue,
    pub(super) verify_on_merge: FileValue,
    pub(super) shutdown_timeout: FileValue,
    pub(super) log_format: FileValue,
    pub(super) log_level: FileValue,
}

/// A value and the bytes of the file that it stands in, if the file has it.
pub(super) type FileValue = Option<Spanned<Scalar>>;

/// The same for a list, which may be an array or one string with commas.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(transparent)]
pub(super) struct FileList(Option<Spanned<List>>);

impl FileList {
    /// The list as a flag would have been given it.
    pub(super) fn joined(self) -> FileValue {
        let list = self.0?;
        let span = list.span();
        Some(Spanned::new(span, Scalar(list.into_inner().0.join(","))))
    }
}

/// Reads the file that `setting` names; without one, a file that says nothing.
pub(super) fn load(setting: Option<Setting>) -> Result<(Source, FileOptions), ConfigError> {
    let Some(setting) = setting else {
        return Ok((Source::default(), FileOptions::default()));
    };
    let path = PathBuf::from(&setting.text);
    match fs::read_to_string(&path) {
        Ok(text) => Source { path, text }.parse(),
        Err(error) => Err(ConfigError::Unreadable { place: setting.to_string(), path, error }),
    }
}

/// The file itself, kept to tell lines from byte positions.
#[derive(Debug, Default)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Source {
    pub(super) fn parse(self) -> Result<(Self, FileOptions), ConfigError> {
        match toml::from_str(&self.text) {
            Ok(options) => Ok((self, options)),
            Err(error) => Err(ConfigError::Syntax {
                line: self.line(error.span().unwrap_or_default()),
                reason: error.message().to_owned(),
                path: self.path,
            }),
        }
    }

    pub(super) fn origin(&self, span: Range<usize>) -> Origin {
        Origin::File { path: self.path.clone(), line: self.line(span) }
    }

    fn line(&self, span: Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or(&self.text);
        before.matches('\n').count() + 1
    }
}

/// A string, an integer or a truth value, as the text that a flag would have been given.
#[derive(Debug)]
pub(super) struct Scalar(pub(super) String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, an integer or true or false")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar(value.to_owned()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
        Ok(Scalar(value.to_string()))
    }
}

#[derive(Debug)]
struct List(Vec<String>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor)
    }
}

struct ListVisitor;

impl<'de> Visitor<'de> for ListVisitor {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an array of strings")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<List, E> {
        Ok(List(vec![value.to_owned()]))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut array: A) -> Result<List, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = array.next_element()? {
            entries.push(entry);
        }
        Ok(List(entries))
    }
}
