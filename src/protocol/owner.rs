//! Whose uploads are whose: a proxy that knows its users names one in a header of its own.

use http::{HeaderMap, HeaderName};

use super::Problem;

/// Bytes of an owner's name.
const OWNER_BYTES_MAX: usize = 255;

/// The header in which proxies of ours name the owner of a request; none where nobody is told
/// apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnerHeader(Option<HeaderName>);

impl OwnerHeader {
    /// This header.
    pub const fn new(name: HeaderName) -> Self {
        Self(Some(name))
    }

    /// The owner that a proxy of ours names: the header's value, byte for byte; empty where there
    /// is none. A value that comes twice, is longer than 255 bytes or no visible ASCII is refused:
    /// it may be half a client's.
    pub fn read(&self, headers: &HeaderMap) -> Result<String, Problem> {
        let Some(name) = &self.0 else { return Ok(String::new()) };
        let malformed = |why| Problem::MalformedHeader { name: "owner", why };
        let mut values = headers.get_all(name).iter();
        let Some(value) = values.next() else { return Ok(String::new()) };
        if values.next().is_some() {
            return Err(malformed("it comes twice"));
        }
        if value.len() > OWNER_BYTES_MAX {
            return Err(malformed("it is longer than 255 bytes"));
        }
        let value = value.to_str().map_err(|_| malformed("it is not visible ASCII"))?;
        Ok(value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("x-user", HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    // spec: CHUNK-95
    #[test]
    fn it_names_one_owner_or_none() {
        let header = OwnerHeader::new(HeaderName::from_static("x-user"));
        assert_eq!(header.read(&headers(&[])), Ok(String::new()));
        assert_eq!(header.read(&headers(&["ann@example.org"])), Ok("ann@example.org".to_owned()));
        assert_eq!(OwnerHeader::default().read(&headers(&["ann"])), Ok(String::new()));
        for doubtful in [vec!["ann", "ann"], vec!["änn"], vec![&*"a".repeat(256)]] {
            let refused = header.read(&headers(&doubtful));
            assert!(matches!(refused, Err(Problem::MalformedHeader { .. })), "{doubtful:?}");
        }
    }
}
