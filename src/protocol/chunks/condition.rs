//! `If-Match` and `If-None-Match` of a chunk (RFC 9110 §13.1): its entity tag is its SHA-256.

use http::{HeaderMap, HeaderValue};

use crate::{
    protocol::{
        Problem,
        headers::{IF_MATCH, IF_NONE_MATCH},
    },
    upload::SealedChunk,
};

/// What must be true of the stored chunk for a new one to be taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Tags {
    /// `*`: whatever is stored.
    Any,
    /// Opaque tags without their quotes; a weak one, which can match no chunk strongly, is kept
    /// with its `W/`.
    Listed(Vec<String>),
}

impl Condition {
    /// Reads both headers; [`Problem::MalformedHeader`] for what is no list of entity tags.
    pub(super) fn decode(headers: &HeaderMap) -> Result<Self, Problem> {
        Ok(Self {
            if_match: tags(headers, IF_MATCH)?,
            if_none_match: tags(headers, IF_NONE_MATCH)?,
        })
    }

    /// Is it true of what is stored in the chunk's place? 412 if not. Ask before the body, and
    /// again under the lock.
    pub fn check(&self, stored: Option<&SealedChunk>) -> Result<(), Problem> {
        let wanted = self.if_match.as_ref().is_none_or(|tags| tags.name(stored));
        let unwanted = self.if_none_match.as_ref().is_some_and(|tags| tags.name(stored));
        if wanted && !unwanted {
            return Ok(());
        }
        Err(Problem::PreconditionFailed { stored: stored.and_then(|chunk| chunk.digest) })
    }
}

impl Tags {
    fn name(&self, stored: Option<&SealedChunk>) -> bool {
        let digest = stored.and_then(|chunk| chunk.digest).map(|digest| digest.to_hex());
        match self {
            Self::Any => stored.is_some(),
            Self::Listed(tags) => digest.is_some_and(|digest| tags.contains(&digest)),
        }
    }
}

fn tags(headers: &HeaderMap, name: &'static str) -> Result<Option<Tags>, Problem> {
    let malformed = || Problem::MalformedHeader { name, why: "it must be * or a list of \"tags\"" };
    let lines: Result<Vec<&str>, _> =
        headers.get_all(name).iter().map(HeaderValue::to_str).collect();
    let lines = lines.map_err(|_| malformed())?;
    match lines.as_slice() {
        [] => Ok(None),
        ["*"] => Ok(Some(Tags::Any)),
        lines => {
            let elements = lines.iter().flat_map(|line| line.split(',')).map(str::trim);
            let tags = elements.filter(|element| !element.is_empty()).map(tag).collect();
            Ok(Some(Tags::Listed(Option::ok_or_else(tags, malformed)?)))
        }
    }
}

/// One entity tag. Ours are hex digits, so a tag with a comma inside is none of ours; it is
/// refused, not misread.
fn tag(element: &str) -> Option<String> {
    let (weak, quoted) = match element.strip_prefix("W/") {
        Some(quoted) => ("W/", quoted),
        None => ("", element),
    };
    let opaque = quoted.strip_prefix('"')?.strip_suffix('"')?;
    (!opaque.contains('"')).then(|| format!("{weak}{opaque}"))
}
