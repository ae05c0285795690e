//! Whom the server has to do with: pages of other origins, and proxies in front.

use std::net::{IpAddr, Ipv6Addr};

use http::HeaderName;
use ipnet::IpNet;

/// Whose pages may read answers in a browser.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowOrigin {
    /// Nobody is told anything of CORS.
    None,
    /// Those of any origin.
    #[default]
    Any,
    /// Those of these origins: `https://example.org`, `https://*.example.org`,
    /// `http://localhost:*`.
    Listed(Vec<String>),
}

/// `*`, `none`, or a list of origins.
pub(super) fn allow_origin(text: &str) -> Result<AllowOrigin, String> {
    match text {
        "none" => return Ok(AllowOrigin::None),
        "*" => return Ok(AllowOrigin::Any),
        _ => {}
    }
    let origins = entries(text)?.into_iter().map(|entry| {
        check_origin(entry)?;
        Ok(entry.to_ascii_lowercase())
    });
    origins.collect::<Result<_, String>>().map(AllowOrigin::Listed)
}

fn check_origin(entry: &str) -> Result<(), String> {
    if matches!(entry, "*" | "none") {
        return Err(format!("has {entry} beside others"));
    }
    let Some((scheme, authority)) = entry.split_once("://") else {
        return Err(format!("has {entry:?}, which lacks its scheme"));
    };
    if authority.contains(['/', '?', '#', '@']) {
        return Err(format!("has {entry:?}, which is more than scheme, host and port"));
    }
    let inner = authority.strip_prefix("*.").unwrap_or(authority);
    let (host, port) = match inner.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (inner, None),
    };
    if host.contains('*') {
        return Err(format!("has {entry:?}; a * stands for whole first labels, or for the port"));
    }
    if !is_scheme(scheme) || !is_host(host) || !port.is_none_or(is_port) {
        return Err(format!("has {entry:?}, which is not an origin"));
    }
    Ok(())
}

/// RFC 3986 §3.1.
fn is_scheme(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(inner)
}

/// A name as browsers write it, or an IP address, in brackets if it has colons.
fn is_host(text: &str) -> bool {
    if let Some(inner) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok();
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(plain)
}

/// `*` stands for any.
fn is_port(text: &str) -> bool {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text == "*" || digits && text.parse::<u16>().is_ok_and(|port| port > 0)
}

/// `none`, or a list of addresses, networks and the words `loopback` and `private`.
pub(super) fn proxies(text: &str) -> Result<Vec<IpNet>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    let mut nets = Vec::new();
    for entry in entries(text)? {
        match entry {
            "loopback" => nets.extend(LOOPBACK.iter().filter_map(|net| net.parse::<IpNet>().ok())),
            "private" => nets.extend(PRIVATE.iter().filter_map(|net| net.parse::<IpNet>().ok())),
            "none" => return Err("has none beside others".to_owned()),
            _ => nets.push(net(entry)?),
        }
    }
    Ok(nets)
}

/// The name of a header, in lower case.
pub(super) fn header_name(text: &str) -> Result<String, String> {
    let name = HeaderName::from_bytes(text.as_bytes());
    name.map(|name| name.as_str().to_owned()).map_err(|_| "is not the name of a header".to_owned())
}

/// One address is a network too.
fn net(entry: &str) -> Result<IpNet, String> {
    let address = || entry.parse::<IpAddr>().map(IpNet::from);
    let net = entry.parse::<IpNet>().or_else(|_| address());
    let net = net.map_err(|_| format!("has {entry:?}, which is no address and no network"))?;
    if net.prefix_len() == 0 {
        return Err(format!("has {entry:?}, which would believe everybody"));
    }
    Ok(net)
}

fn entries(text: &str) -> Result<Vec<&str>, String> {
    let entries: Vec<&str> = text.split(',').map(str::trim).collect();
    if entries.contains(&"") { Err("has an empty entry".to_owned()) } else { Ok(entries) }
}

const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// RFC 1918, RFC 4193, and the addresses that hold on one link only (RFC 3927, RFC 4291).
const PRIVATE: [&str; 6] =
    ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"];
