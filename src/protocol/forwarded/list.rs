//! The grammar of `Forwarded` (RFC 7239 §4).

use crate::protocol::headers::is_token;

/// What one proxy wrote; of the parameters that mean something here.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Element {
    /// `for`: who called that proxy.
    pub(super) node: Option<String>,
    /// `host`: the `Host` of that call.
    pub(super) host: Option<String>,
    /// `proto`: the scheme of that call.
    pub(super) proto: Option<String>,
}

/// All elements of all lines; `None` where anything about them is malformed, and where a parameter
/// comes twice in one element.
pub(super) fn elements(lines: &[&str]) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    for line in lines {
        let mut rest = *line;
        loop {
            let element;
            (element, rest) = element_of(rest)?;
            elements.push(element);
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None if rest.is_empty() => break,
                None => return None,
            }
        }
    }
    Some(elements)
}

/// One element, and what follows it.
fn element_of(text: &str) -> Option<(Element, &str)> {
    let mut element = Element::default();
    let mut rest = text;
    loop {
        let (name, after) = token(blank(rest))?;
        let (value, after) = value(after.strip_prefix('=')?)?;
        let place = match name.to_ascii_lowercase().as_str() {
            "for" => Some(&mut element.node),
            "host" => Some(&mut element.host),
            "proto" => Some(&mut element.proto),
            _ => None,
        };
        if place.is_some_and(|place| place.replace(value).is_some()) {
            return None;
        }
        match blank(after).strip_prefix(';') {
            Some(next) => rest = next,
            None => return Some((element, blank(after))),
        }
    }
}

fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(token, rest)| (token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            other => value.push(other),
        }
    }
}

fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|b| !is_token(b)).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(token, _)| !token.is_empty())
}

fn blank(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}
