//! Where uploads are found: paths that requests come in on, and URLs that answers name.

#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use http::HeaderValue;

use crate::upload::UploadId;

/// The path that the tus dialect lives under; begins and ends with `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasePath(String);

/// The address that clients see, where it is not the one that requests come in on: scheme, host and
/// perhaps a path, without a slash at the end. What a proxy tells may be the path alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

/// Text that is no base path or no public URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseAddressError {
    /// Not a base path.
    #[error("a base path begins with '/' and has plain segments of A-Z a-z 0-9 . _ ~ -")]
    BasePath,
    /// Not a public URL.
    #[error("a public URL begins with http:// or https:// and has neither '?' nor '#'")]
    PublicUrl,
}

impl BasePath {
    /// The path with its slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the base in `path`; empty for the base itself, with or without its slash.
    /// `None` outside of it.
    pub fn strip<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.0.strip_suffix('/') == Some(path) {
            return Some("");
        }
        path.strip_prefix(&self.0)
    }
}

impl Default for BasePath {
    /// `/files/`.
    fn default() -> Self {
        Self("/files/".to_owned())
    }
}

impl FromStr for BasePath {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-');
        let good = |s: &str| !matches!(s, "" | "." | "..") && s.bytes().all(plain);
        if text == "/" {
            return Ok(Self(text.to_owned()));
        }
        let inner = text.strip_prefix('/').ok_or(ParseAddressError::BasePath)?;
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        if !inner.split('/').all(good) {
            return Err(ParseAddressError::BasePath);
        }
        Ok(Self(format!("/{inner}/")))
    }
}

impl PublicUrl {
    /// What a proxy of ours told: `root` is scheme and host, `path` is empty or a plain path
    /// without a slash at its end. `None` where that is nothing.
    pub(super) fn told(root: Option<String>, path: &str) -> Option<Self> {
        let url = root.unwrap_or_default() + path;
        (!url.is_empty()).then_some(Self(url))
    }
}

impl FromStr for PublicUrl {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let text = text.trim_end_matches('/');
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let forbidden =
            |b: u8| !b.is_ascii_graphic() || matches!(b, b'?' | b'#' | b'"' | b'<' | b'>');
        match rest {
            Some(rest)
                if !rest.is_empty() && !rest.starts_with('/') && !rest.bytes().any(forbidden) =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(ParseAddressError::PublicUrl),
        }
    }
}

/// Makes the URLs that answers carry: path-absolute, or under the public URL where there is one. No
/// header of a client ever names our address (own rule, rows TUS-CREATE-02 and TUS-CORE-14); those
/// of a proxy of ours may, see [`super::forwarded`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// Where uploads live.
    pub base: BasePath,
    /// What stands before every path.
    pub public: Option<PublicUrl>,
}

impl Links {
    /// The URL of an upload, and of its finished file.
    pub fn upload(&self, id: &UploadId) -> Link {
        Link(format!("{}{}{id}", self.origin(), self.base.0))
    }

    /// The URL under which the chunk flow tells how an upload stands.
    pub fn status(&self, id: &UploadId) -> Link {
        Link(format!("{}/upload/status?upload_id={id}", self.origin()))
    }

    /// The same for one request, of which a proxy of ours told `public`. What the operator said
    /// comes first.
    #[must_use]
    pub fn behind(&self, public: PublicUrl) -> Self {
        let public = self.public.clone().unwrap_or(public);
        Self { base: self.base.clone(), public: Some(public) }
    }

    fn origin(&self) -> &str {
        self.public.as_ref().map_or("", |public| &public.0)
    }
}

/// A URL out of [`Links`]: visible ASCII.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link(String);

impl Link {
    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("base path, public URL and id are visible ASCII")
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
