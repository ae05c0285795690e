//! What proxies tell of the client behind them: `Forwarded` (RFC 7239) and `X-Forwarded-*`.
//!
//! Anybody can write these headers, so a word counts only where a proxy of ours wrote it. Lists
//! grow at their end: the last entry is the peer's own, and names who called the peer. Where that
//! is another proxy of ours, the entry before it is that one's, and so on. The first entry from
//! the end that names somebody else names the client; it was written by the outermost proxy of
//! ours, which also knows what we are called where the client is.

mod list;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;
use ipnet::IpNet;

use self::list::{Element, elements};
use super::{BasePath, PublicUrl};

/// The proxies in front of us, whose word is taken. By default there are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<IpNet>);

/// Who asks, and what we are called where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// The client's address as far as it can be believed; else that of the last proxy of ours.
    pub client: IpAddr,
    /// What stands before our paths there; none where nothing but our paths is known.
    pub public: Option<PublicUrl>,
}

/// What one family of headers tells.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    client: Option<IpAddr>,
    /// Scheme and host, where they are told.
    root: Result<Option<String>, Nonsense>,
}

/// Nothing about where we are is to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Nonsense;

impl Proxies {
    /// The proxies with addresses in `nets`.
    pub fn new(nets: Vec<IpNet>) -> Self {
        Self(nets)
    }

    /// What is known of a request from `peer` with these headers.
    ///
    /// Where both families of headers are there, what they do not agree on is not believed: a
    /// proxy writes one of them and may hand on the other as the client sent it.
    pub fn look(&self, peer: IpAddr, headers: &HeaderMap) -> Sight {
        let peer = peer.to_canonical();
        if !self.have(peer) {
            return Sight { client: peer, public: None };
        }
        let (told, hops) = match (self.forwarded(headers), self.x_forwarded(headers)) {
            (Some(only), None) | (None, Some(only)) => only,
            (Some((one, hops)), Some((other, _))) => (one.agreed(&other), hops),
            (None, None) => (Told { client: None, root: Ok(None) }, 1),
        };
        let path = plain_path(entry(headers, "X-Forwarded-Prefix", hops).unwrap_or_default());
        let public = told.root.ok().zip(path).and_then(|(root, path)| PublicUrl::told(root, path));
        Sight { client: told.client.unwrap_or(peer), public }
    }

    /// Is it the address of a proxy of ours?
    pub fn have(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Who asks according to a list, given from its end, and how many of its entries proxies of
    /// ours wrote. An entry that is no address ends it too.
    fn walk(&self, list: impl Iterator<Item = Option<IpAddr>>) -> (Option<IpAddr>, usize) {
        let (mut client, mut hops) = (None, 0);
        for address in list {
            hops += 1;
            let Some(address) = address else { break };
            client = Some(address);
            if !self.have(address) {
                break;
            }
        }
        (client, hops.max(1))
    }

    /// `None` where there is no such header; one that cannot be read tells nothing.
    fn forwarded(&self, headers: &HeaderMap) -> Option<(Told, usize)> {
        let lines = lines(headers, "Forwarded")?;
        let Some(elements) = elements(&lines) else {
            return Some((Told { client: None, root: Err(Nonsense) }, 1));
        };
        let nodes = elements.iter().rev().map(|element| node(element.node.as_deref()?));
        let (client, hops) = self.walk(nodes);
        let outermost = elements.len().checked_sub(hops).and_then(|at| elements.get(at));
        let root = outermost.map_or(Ok(None), Element::root);
        Some((Told { client, root }, hops))
    }

    /// `None` where there is no such header.
    fn x_forwarded(&self, headers: &HeaderMap) -> Option<(Told, usize)> {
        const OTHERS: [&str; 3] = ["X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port"];
        let list = lines(headers, "X-Forwarded-For");
        if list.is_none() && !OTHERS.iter().any(|name| headers.contains_key(*name)) {
            return None;
        }
        let list = list.unwrap_or_default();
        let texts = list.iter().rev().flat_map(|line| line.rsplit(','));
        let (client, hops) = self.walk(texts.map(|text| node(text.trim())));
        let [proto, host, port] = OTHERS.map(|name| entry(headers, name, hops));
        let root = proto.zip(host).map(|(proto, host)| root(proto, host, port)).transpose();
        Some((Told { client, root }, hops))
    }
}

impl Told {
    fn agreed(self, other: &Self) -> Self {
        Self {
            client: self.client.filter(|client| other.client == Some(*client)),
            root: if self.root == other.root { self.root } else { Err(Nonsense) },
        }
    }
}

impl Element {
    fn root(&self) -> Result<Option<String>, Nonsense> {
        let told = self.proto.as_deref().zip(self.host.as_deref());
        told.map(|(proto, host)| root(proto, host, None)).transpose()
    }
}

/// All lines of a header; one that is not plain text counts as empty. `None` where there is none.
fn lines<'a>(headers: &'a HeaderMap, name: &str) -> Option<Vec<&'a str>> {
    let lines = headers.get_all(name).iter();
    let lines: Vec<&str> = lines.map(|line| line.to_str().unwrap_or_default()).collect();
    (!lines.is_empty()).then_some(lines)
}

/// The entry that the outermost of `hops` proxies wrote. One that keeps what it got adds none of
/// its own, so that there may be fewer than `hops`.
fn entry<'a>(headers: &'a HeaderMap, name: &str, hops: usize) -> Option<&'a str> {
    let lines = lines(headers, name)?;
    let mut entries = lines.iter().flat_map(|line| line.split(','));
    let at = entries.clone().count().saturating_sub(hops);
    entries.nth(at).map(str::trim)
}

/// Scheme and host as a URL has them.
fn root(proto: &str, host: &str, port: Option<&str>) -> Result<String, Nonsense> {
    let schemes = [("http", 80), ("https", 443)];
    let scheme = schemes.into_iter().find(|(name, _)| proto.eq_ignore_ascii_case(name));
    let (scheme, own) = scheme.ok_or(Nonsense)?;
    let (name, in_host) = split_port(host)?;
    if !is_host(name) {
        return Err(Nonsense);
    }
    let port = match in_host {
        Some(port) => Some(port),
        None => port.map(port_number).transpose()?,
    };
    Ok(match port {
        Some(port) if port != own => format!("{scheme}://{name}:{port}"),
        _ => format!("{scheme}://{name}"),
    })
}

/// The host, and its port where one is written.
fn split_port(host: &str) -> Result<(&str, Option<u16>), Nonsense> {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => Ok((name, Some(port_number(port)?))),
        _ => Ok((host, None)),
    }
}

fn port_number(text: &str) -> Result<u16, Nonsense> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0).ok_or(Nonsense)
}

/// A name of a host, or an IP address, in brackets if it has colons.
fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok();
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    text.len() <= HOST_MAX
        && text.split('.').all(|label| !label.is_empty() && label.bytes().all(plain))
}

/// Bytes of a host's name (RFC 1035 §2.3.4).
const HOST_MAX: usize = 253;

/// A path of plain segments without a slash at its end, empty for the root.
fn plain_path(text: &str) -> Option<&str> {
    let path = text.strip_suffix('/').unwrap_or(text);
    (path.is_empty() || path.parse::<BasePath>().is_ok()).then_some(path)
}

/// The address in a node, with or without a port (RFC 7239 §6), or bare as `X-Forwarded-For` has
/// it. `unknown` and names that a proxy made up are none.
fn node(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let bracketed = inner.and_then(|inner| inner.parse::<Ipv6Addr>().ok()).map(IpAddr::from);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let address = bracketed.or_else(|| text.parse().ok()).or_else(with_port);
    address.map(|address| address.to_canonical())
}
