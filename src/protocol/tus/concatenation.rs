//! `Upload-Concat`: an upload that is part of another one, or made of others.

use http::{HeaderMap, Uri};

use super::{Metadata, Rules, request::upload_id};
use crate::{
    protocol::{
        BodyLength, Problem,
        headers::{self, UPLOAD_CONCAT, UPLOAD_DEFER_LENGTH, UPLOAD_LENGTH},
    },
    upload::{Concatenation, Parts, UploadId},
};

/// The head of a POST that makes an upload out of others (tus Concatenation, final).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalCreation {
    /// What it is made of.
    pub parts: Parts,
    /// What the client says of it; nothing is inherited from the parts.
    pub metadata: Metadata,
    /// What the head says of the body, which must turn out to be empty.
    pub body: BodyLength,
}

impl FinalCreation {
    /// Reads the head: 403 for a body, then 400 for a length, which is the sum of the parts, or for
    /// malformed metadata.
    pub(super) fn decode(
        parts: Parts,
        headers: &HeaderMap,
        body: BodyLength,
    ) -> Result<Self, Problem> {
        if matches!(body, BodyLength::Exactly(_)) {
            return Err(Problem::FinalUpload);
        }
        for name in [UPLOAD_LENGTH, UPLOAD_DEFER_LENGTH] {
            if headers.contains_key(name) {
                let why = "the length of a final upload is the sum of its parts";
                return Err(Problem::MalformedHeader { name, why });
            }
        }
        Ok(Self { parts, metadata: Metadata::decode(headers)?, body })
    }
}

/// Reads `Upload-Concat` of a POST: `partial`, or `final;` and at least one URL, between blanks.
pub(super) fn upload_concat(
    headers: &HeaderMap,
    rules: &Rules,
) -> Result<Option<Concatenation>, Problem> {
    let Some(value) = headers::single(headers, UPLOAD_CONCAT)? else { return Ok(None) };
    if value == "partial" {
        return Ok(Some(Concatenation::Partial));
    }
    let list = value.strip_prefix("final;");
    let list = list.ok_or(malformed("it must be partial, or final; and a list of URLs"))?;
    let ids: Result<Vec<UploadId>, Problem> =
        list.split_ascii_whitespace().map(|reference| part(reference, rules)).collect();
    let ids = ids?;
    if ids.is_empty() {
        return Err(malformed("it names no partial upload"));
    }
    Ok(Some(Concatenation::Final(Parts { header: value.to_owned(), ids })))
}

/// The upload that a URL reference means (RFC 3986 §4): absolute, path-absolute, or relative to the
/// base. Only the path counts, behind a prefix too: proxies have names and paths of their own (row
/// TUS-CAT-05).
fn part(reference: &str, rules: &Rules) -> Result<UploadId, Problem> {
    let uri: Uri = reference.parse().map_err(|_| malformed("it has a URL that is none"))?;
    if uri.query().is_some() || reference.contains('#') {
        return Err(malformed("a URL in it has a query or a fragment"));
    }
    let base = rules.base.as_str();
    let rest = if uri.scheme().is_some() || reference.starts_with('/') {
        let path = uri.path();
        let trimmed = path.strip_suffix('/').unwrap_or(path);
        let (folder, segment) = trimmed.rsplit_once('/').unwrap_or_default();
        let inside = format!("{folder}/").ends_with(base);
        inside.then(|| segment.to_owned()).ok_or(Problem::UnknownUpload)
    } else {
        Ok(reference.to_owned())
    };
    rest.and_then(|rest| upload_id(&rest))
        .map_err(|_| malformed("a URL in it is no upload of ours"))
}

const fn malformed(why: &'static str) -> Problem {
    Problem::MalformedHeader { name: UPLOAD_CONCAT, why }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const A: &str = "00000000000000000000000000000a0a";
    const B: &str = "00000000000000000000000000000b0b";

    fn decode(value: &str) -> Result<Option<Concatenation>, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(UPLOAD_CONCAT, HeaderValue::from_str(value).unwrap());
        upload_concat(&headers, &Rules::default())
    }

    fn ids(value: &str) -> Option<Vec<String>> {
        match decode(value) {
            Ok(Some(Concatenation::Final(parts))) => {
                assert_eq!(parts.header, value);
                Some(parts.ids.iter().map(ToString::to_string).collect())
            }
            _ => None,
        }
    }

    // rows: TUS-CAT-05, TUS-CAT-06
    #[test]
    fn every_way_to_write_a_url_of_ours_names_the_upload() {
        assert_eq!(decode("partial"), Ok(Some(Concatenation::Partial)));
        for a in [
            format!("/files/{A}"),
            format!("/files/{A}/"),
            A.to_owned(),
            format!("http://up.example/files/{A}"),
            format!("https://up.example:8443/files/{A}/"),
            format!("https://up.example/behind/files/{A}"),
            format!("//up.example/files/{A}"),
            format!("/files/{}", A.replace('a', "%61")),
        ] {
            for value in [
                format!("final;{a} /files/{B}"),
                format!("final; {a}   /files/{B}"),
                format!("final;{a}\t/files/{B}"),
            ] {
                assert_eq!(ids(&value), Some(vec![A.to_owned(), B.to_owned()]), "{value}");
            }
        }
    }

    // rows: TUS-CAT-06, TUS-CAT-11, TUS-CAT-12
    #[test]
    fn anything_else_is_malformed() {
        let query = format!("final;/files/{A}?a=b");
        let fragment = format!("final;/files/{A}#x");
        let outside = format!("final;/elsewhere/{A}");
        let root = format!("final;/{A}");
        let nested = format!("final;/files/x/{A}");
        let partly = format!("final;/files/{A} /files/nobody");
        for value in [
            "final;",
            "final; ",
            "final",
            "Final;/files/a",
            "Partial",
            "foo",
            "partial;",
            "",
            "final;/files/",
            "final;/files/..",
            "final;http://",
            "final;%",
            "final;/files/%zz",
            &query,
            &fragment,
            &outside,
            &root,
            &nested,
            &partly,
        ] {
            let decoded = decode(value);
            assert!(
                matches!(decoded, Err(Problem::MalformedHeader { .. })),
                "{value}: {decoded:?}"
            );
        }
    }
}
