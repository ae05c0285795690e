//! Where the server is.

/// A server and the path under which it makes uploads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// Host and port, as the `Host` header names them.
    pub(crate) authority: String,
    /// Begins with a slash.
    pub(crate) path: String,
}

impl Target {
    /// Reads `http://host:port/path`.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let Some(rest) = url.strip_prefix("http://") else {
            return Err(format!(
                "{url}: the URL must begin with http:// (TLS is not spoken: ask the server behind \
                 whatever ends it)"
            ));
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        if authority.is_empty() || authority.contains(['@', '?', '#']) {
            return Err(format!("{url} names no host"));
        }
        if path.contains(['?', '#']) {
            return Err(format!("{url}: the URL must end with its path"));
        }
        Ok(Self { authority: authority.to_owned(), path: path.to_owned() })
    }

    /// Host and port to connect to.
    pub(crate) fn address(&self) -> String {
        let host_ends = self.authority.rfind(']').unwrap_or(0);
        match self.authority.rfind(':') {
            Some(at) if at > host_ends => self.authority.clone(),
            _ => format!("{}:80", self.authority),
        }
    }

    /// The path that a `Location` leads to: absolute, path-absolute or relative to ours.
    pub(crate) fn resolve(&self, location: &str) -> String {
        if let Some(rest) = location.split_once("://").map(|(_, rest)| rest) {
            return rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/").to_owned();
        }
        if location.starts_with('/') {
            return location.to_owned();
        }
        let folder = self.path.rfind('/').and_then(|at| self.path.get(..=at)).unwrap_or("/");
        format!("{folder}{location}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_ports_and_paths_are_told_apart() {
        for (url, address, path) in [
            ("http://h:1080/files/", "h:1080", "/files/"),
            ("http://h", "h:80", "/"),
            ("http://[::1]/x", "[::1]:80", "/x"),
            ("http://[::1]:8080/x", "[::1]:8080", "/x"),
        ] {
            let target = Target::parse(url).unwrap();
            assert_eq!((target.address().as_str(), target.path.as_str()), (address, path), "{url}");
        }
        for wrong in ["https://h/", "h:80", "http:///x", "http://user@h/", "http://h/x?y"] {
            Target::parse(wrong).unwrap_err();
        }
    }

    #[test]
    fn locations_of_all_kinds_lead_to_a_path() {
        let target = Target::parse("http://h/files/").unwrap();
        for (location, path) in [
            ("http://other:1/files/a", "/files/a"),
            ("https://h", "/"),
            ("/x/a", "/x/a"),
            ("a", "/files/a"),
        ] {
            assert_eq!(target.resolve(location), path, "{location}");
        }
    }
}
