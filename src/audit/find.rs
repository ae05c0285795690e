//! Which upload is meant: by its id, by a URL of it, or by the hash of the chunk flow.

use super::{AuditError, look::Store};
use crate::upload::{ChunkKey, UploadHash, UploadId};

/// What was asked for, understood.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// Perhaps a hash, too: both are hex digits.
    Id(UploadId),
    Hash(UploadHash),
    /// A URL of the chunk flow names both.
    Named(UploadHash, Option<String>),
}

/// The upload that `text` names, which has a ledger. `owner` tells apart what different users call
/// by one hash.
pub(super) fn find(store: &Store, text: &str, owner: &str) -> Result<UploadId, AuditError> {
    let unknown = || AuditError::Unknown { asked: super::text::plain(text) };
    let there =
        |id: &UploadId| -> Result<bool, AuditError> { Ok(store.ledgers.path(id).try_exists()?) };
    let hash = match parse(text)
        .ok_or_else(|| AuditError::NotAnUpload { asked: super::text::plain(text) })?
    {
        Asked::Id(id) if there(&id)? => return Ok(id),
        Asked::Id(id) => match UploadHash::parse(id.as_str()) {
            Ok(hash) => hash,
            Err(_) => return Err(unknown()),
        },
        Asked::Named(hash, Some(filename)) => {
            let filename = Some(filename).filter(|name| !name.is_empty());
            let key = ChunkKey { owner: owner.to_owned(), hash, filename };
            let id = store.ledgers.secret()?.id(&key);
            return if there(&id)? { Ok(id) } else { Err(unknown()) };
        }
        Asked::Hash(hash) | Asked::Named(hash, None) => hash,
    };
    let family = store.ledgers.secret()?.family(owner, &hash);
    let mut found = store.ledgers.family(&family)?;
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(unknown()),
        (Some(id), true) => Ok(id),
        (Some(id), false) => {
            found.push(id);
            Err(AuditError::Several { asked: super::text::plain(text), ids: found })
        }
    }
}

/// A name alone, or the last segment of a URL or path; whatever could lead elsewhere is refused.
fn parse(text: &str) -> Option<Asked> {
    let text = text.split('#').next()?;
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let named = |name: &str| {
        let mut all = form_urlencoded::parse(query.as_bytes());
        all.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
    };
    if pairs.any(|(key, _)| key == "hash") {
        return UploadHash::parse(&named("hash")?)
            .ok()
            .map(|hash| Asked::Named(hash, named("filename")));
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let strange = |segment: &str| segment == ".." || segment == "." || segment.contains('\\');
    if path.split('/').any(strange) {
        return None;
    }
    let name = path.rsplit('/').next()?;
    let id = UploadId::parse(name).map(Asked::Id);
    id.or_else(|_| UploadHash::parse(name).map(Asked::Hash)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn an_upload_is_named_by_whatever_a_client_sees() {
        let id = Asked::Id(UploadId::parse(ID).unwrap());
        for text in [
            ID.to_owned(),
            format!("/files/{ID}"),
            format!("/files/{ID}/"),
            format!("https://up.example.org:8443/a/files/{ID}"),
            format!("files/{ID}?x=1#part"),
        ] {
            assert_eq!(parse(&text).as_ref(), Some(&id), "{text}");
        }
        let hash = UploadHash::parse("0123456789ABCDEF").unwrap();
        assert_eq!(parse("0123456789abcdef"), Some(Asked::Hash(hash.clone())));
        let status = "http://h/upload/status?filename=a%20b.bin&hash=0123456789abcdef";
        let named = Asked::Named(hash.clone(), Some("a b.bin".to_owned()));
        assert_eq!(parse(status), Some(named));
        assert_eq!(parse("/upload?hash=0123456789abcdef"), Some(Asked::Named(hash, None)));
    }

    #[test]
    fn what_is_no_name_or_leads_elsewhere_is_refused() {
        for text in [
            "",
            "/",
            "..",
            "../../etc/passwd",
            "0123456",
            "0123456789abcdex",
            "/upload?hash=..%2f..",
            "\u{1b}[2J",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        for before in ["../", "files/../", "./", "a\\b/"] {
            assert_eq!(parse(&format!("{before}{ID}")), None, "{before}");
        }
    }
}
