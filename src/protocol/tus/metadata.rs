//! `Upload-Metadata`: kept byte for byte, understood where it names the file.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue};

use crate::protocol::{Problem, headers::UPLOAD_METADATA};

/// Bytes of `Upload-Metadata`: it is in memory while its upload is looked at.
const METADATA_BYTES_MAX: usize = 16 * 1024;

/// What a client says of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The header as received; two lines are joined by a comma (RFC 9110 §5.3). Empty where there
    /// was none.
    pub verbatim: String,
    /// The file's name, from `filename` or else `name`; bytes that are no UTF-8 are replaced. Never
    /// trusted.
    pub filename: Option<String>,
    /// Its media type, from `filetype` or else `type`. Never trusted.
    pub media_type: Option<String>,
}

impl Metadata {
    /// Reads all lines of the header.
    ///
    /// Grammar (tus creation, Upload-Metadata): comma-separated pairs of a key and a value in
    /// base64 (RFC 4648 §4, padded, without spare bits), between them one space; the value may be
    /// missing. Keys are not empty, ASCII, and come once. Blanks around commas are those of any
    /// list (RFC 9110 §5.6.1). An empty header is none.
    pub fn decode(headers: &HeaderMap) -> Result<Self, Problem> {
        let lines: Result<Vec<&str>, _> =
            headers.get_all(UPLOAD_METADATA).iter().map(HeaderValue::to_str).collect();
        let lines =
            lines.map_err(|_| Problem::MalformedMetadata { why: "it must be plain ASCII" })?;
        let verbatim = lines.join(",");
        if verbatim.len() > METADATA_BYTES_MAX {
            return Err(Problem::MalformedMetadata { why: "it is longer than 16 KiB" });
        }
        if verbatim.trim().is_empty() {
            return Ok(Self::default());
        }
        let pairs = verbatim.split(',').map(pair).collect::<Result<Vec<_>, _>>()?;
        let keys: BTreeSet<&str> = pairs.iter().map(|(key, _)| *key).collect();
        if keys.len() != pairs.len() {
            return Err(Problem::MalformedMetadata { why: "a key comes twice" });
        }
        let text = |names: [&str; 2]| {
            let named = |name| pairs.iter().find(|(key, value)| *key == name && !value.is_empty());
            let (_, value) = names.into_iter().find_map(named)?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        let (filename, media_type) = (text(["filename", "name"]), text(["filetype", "type"]));
        Ok(Self { verbatim, filename, media_type })
    }

    /// What an upload that another dialect began tells to tus clients.
    pub fn named(filename: Option<&str>) -> Self {
        let verbatim = filename.map(|name| format!("filename {}", STANDARD.encode(name)));
        Self {
            verbatim: verbatim.unwrap_or_default(),
            filename: filename.map(ToOwned::to_owned),
            media_type: None,
        }
    }
}

/// One key and its value's bytes.
fn pair(element: &str) -> Result<(&str, Vec<u8>), Problem> {
    let element = element.trim_matches([' ', '\t']);
    let (key, value) = element.split_once(' ').unwrap_or((element, ""));
    if key.is_empty() {
        return Err(Problem::MalformedMetadata { why: "a key is empty" });
    }
    if !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Problem::MalformedMetadata { why: "a key must be visible ASCII" });
    }
    let bytes = STANDARD.decode(value);
    let why = "a value must be padded base64, one space after its key";
    bytes.map(|bytes| (key, bytes)).map_err(|_| Problem::MalformedMetadata { why })
}
