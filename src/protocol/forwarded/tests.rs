//! Whom proxies may speak for, and what is believed of it.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;
use crate::{protocol::Links, upload::UploadId};

const PROXY: &str = "10.0.0.1";

fn proxies() -> Proxies {
    Proxies::new(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
}

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        })
        .collect()
}

/// Client and public URL as text, empty where there is none.
fn seen_from(peer: &str, lines: &[(&str, &str)]) -> (String, String) {
    let Sight { client, public } = proxies().look(peer.parse().unwrap(), &headers(lines));
    let id = UploadId::parse("0123456789abcdef0123456789abcdef").unwrap();
    let ours = public.map(|public| Links::default().behind(public));
    let url = ours.map(|ours| ours.upload(&id).to_string()).unwrap_or_default();
    let public = url.strip_suffix(&format!("/files/{id}")).unwrap_or_default();
    (client.to_string(), public.to_owned())
}

#[track_caller]
fn sees(lines: &[(&str, &str)], client: &str, public: &str) {
    assert_eq!(seen_from(PROXY, lines), (client.to_owned(), public.to_owned()), "{lines:?}");
}

// spec: CORE-50
#[test]
fn the_word_of_a_stranger_is_not_taken() {
    let lines = [
        ("Forwarded", "for=192.0.2.1;host=evil;proto=https"),
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-Host", "evil"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Prefix", "/evil"),
    ];
    for line in lines {
        let seen = seen_from("203.0.113.9", &[line]);
        assert_eq!(seen, ("203.0.113.9".to_owned(), String::new()), "{line:?}");
        let nobody = Proxies::default().look("127.0.0.1".parse().unwrap(), &headers(&[line]));
        assert_eq!(nobody.public, None);
        assert_eq!(nobody.client.to_string(), "127.0.0.1");
    }
    assert_eq!(seen_from("203.0.113.9", &lines), ("203.0.113.9".to_owned(), String::new()));
}

// spec: CORE-50
#[test]
fn a_proxy_is_known_by_its_address_in_either_form() {
    let lines = [("X-Forwarded-For", "192.0.2.1")];
    for peer in ["10.9.9.9", "::ffff:10.9.9.9", "fd00::5"] {
        assert_eq!(seen_from(peer, &lines).0, "192.0.2.1", "{peer}");
    }
    for peer in ["11.0.0.1", "::ffff:11.0.0.1", "fe80::5"] {
        assert_ne!(seen_from(peer, &lines).0, "192.0.2.1", "{peer}");
    }
}

// spec: CORE-51
#[test]
fn one_proxy_tells_where_we_are() {
    sees(
        &[("Forwarded", "for=192.0.2.1;host=up.example;proto=https")],
        "192.0.2.1",
        "https://up.example",
    );
    sees(
        &[("forwarded", "For=\"[2001:db8::1]:4711\" ; Proto=HTTP;HOST=\"up.example:8080\";by=_x")],
        "2001:db8::1",
        "http://up.example:8080",
    );
    let x = |host, proto| [("X-Forwarded-Host", host), ("X-Forwarded-Proto", proto)];
    sees(&x("up.example", "https"), PROXY, "https://up.example");
    sees(&x("up.example:443", "https"), PROXY, "https://up.example");
    sees(&x("[2001:db8::1]:80", "http"), PROXY, "http://[2001:db8::1]");
    sees(&x("[2001:db8::1]:81", "http"), PROXY, "http://[2001:db8::1]:81");
    sees(&x("up.example", ""), PROXY, "");
}

// spec: CORE-51
#[test]
fn port_and_prefix_are_added() {
    let with = |name, value| {
        let root = [("X-Forwarded-Host", "up.example"), ("X-Forwarded-Proto", "https")];
        let seen = seen_from(PROXY, &[root[0], root[1], (name, value)]);
        seen.1
    };
    assert_eq!(with("X-Forwarded-Port", "8443"), "https://up.example:8443");
    assert_eq!(with("X-Forwarded-Port", "443"), "https://up.example");
    assert_eq!(with("X-Forwarded-Prefix", "/api/"), "https://up.example/api");
    assert_eq!(with("X-Forwarded-Prefix", "/a/b"), "https://up.example/a/b");
    assert_eq!(with("X-Forwarded-Prefix", "/"), "https://up.example");
    for nonsense in ["0", "65536", "x", "-1", "+443", ""] {
        assert_eq!(with("X-Forwarded-Port", nonsense), "", "{nonsense}");
    }
    for nonsense in ["api", "//evil", "/../x", "/a b", "/a?b", "/a%2f", "/\"", "https://evil"] {
        assert_eq!(with("X-Forwarded-Prefix", nonsense), "", "{nonsense}");
    }
    sees(&[("X-Forwarded-Prefix", "/api")], PROXY, "/api");
}

// spec: CORE-51
#[test]
fn nonsense_is_not_put_into_an_answer() {
    for host in [
        "",
        "a b",
        "a/b",
        "a?b",
        "evil#",
        "user@evil",
        "a,",
        "é",
        "a..b",
        ".a",
        "a:",
        "a:b",
        "a:0",
        "a:99999",
        "[::1",
        "[x]",
        "a\"",
        "<a>",
        "a\\b",
        "a:1:2",
    ] {
        let Ok(value) = HeaderValue::from_bytes(host.as_bytes()) else { continue };
        let mut lines = headers(&[("X-Forwarded-Proto", "https")]);
        lines.insert("X-Forwarded-Host", value);
        let seen = proxies().look(PROXY.parse().unwrap(), &lines);
        assert_eq!(seen.public, None, "{host}");
    }
    let long = "a".repeat(254);
    sees(&[("X-Forwarded-Host", &long), ("X-Forwarded-Proto", "https")], PROXY, "");
    for proto in ["ftp", "javascript", "https:", "http s", ""] {
        sees(&[("X-Forwarded-Host", "a"), ("X-Forwarded-Proto", proto)], PROXY, "");
    }
}

// spec: CORE-51
#[test]
fn a_broken_list_tells_nothing() {
    for line in [
        "",
        "host=a",
        "host=a;",
        "for",
        "for=",
        "for=\"",
        "for=\"\\",
        "for=1;for=2",
        "=x",
        "host=a;proto=https x",
        "host=a b;proto=https",
        "host=a;proto=https,",
        ",",
        "é=1",
    ] {
        let full = format!("{line},host=evil;proto=https");
        let seen = seen_from(PROXY, &[("Forwarded", line)]);
        assert_eq!(seen, (PROXY.to_owned(), String::new()), "{line}");
        if line != "host=a" {
            let seen = seen_from(PROXY, &[("Forwarded", &full)]);
            assert_eq!(seen, (PROXY.to_owned(), String::new()), "{full}");
        }
    }
}

// spec: CORE-52
#[test]
fn a_chain_is_read_from_its_end() {
    let seen = |list: &str| {
        let (client, _) = seen_from(PROXY, &[("X-Forwarded-For", list)]);
        client
    };
    assert_eq!(seen("192.0.2.1"), "192.0.2.1");
    assert_eq!(seen("192.0.2.1, 10.0.0.2"), "192.0.2.1");
    // What the client itself wrote stands before what the proxies wrote.
    assert_eq!(seen("198.51.100.7, 192.0.2.1, 10.0.0.2"), "192.0.2.1");
    assert_eq!(seen("10.6.6.6, 192.0.2.1"), "192.0.2.1");
    assert_eq!(seen("10.0.0.3, 10.0.0.2"), "10.0.0.3");
    assert_eq!(seen("192.0.2.1, unknown, 10.0.0.2"), "10.0.0.2");
    assert_eq!(seen("unknown"), PROXY);
    assert_eq!(seen("192.0.2.1,"), PROXY);
    assert_eq!(seen("2001:db8::1"), "2001:db8::1");
    assert_eq!(seen("[2001:db8::1]:80"), "2001:db8::1");
    assert_eq!(seen("192.0.2.1:4711"), "192.0.2.1");
    assert_eq!(seen("::ffff:10.0.0.2"), "10.0.0.2");
    let lines = [("X-Forwarded-For", "198.51.100.7"), ("X-Forwarded-For", "192.0.2.1")];
    assert_eq!(seen_from(PROXY, &lines).0, "192.0.2.1");
    let quoted = "for=192.0.2.1, for=\"_hidden\", for=10.0.0.2";
    assert_eq!(seen_from(PROXY, &[("Forwarded", quoted)]).0, "10.0.0.2");
}

// spec: CORE-52
#[test]
fn the_outermost_proxy_of_ours_tells_the_address() {
    let element = |from: &str, host: &str| format!("for={from};host={host};proto=https");
    let list = |elements: &[String]| elements.join(", ");
    let (evil, outer) = (element("198.51.100.7", "evil"), element("192.0.2.1", "outer"));
    let inner = element("10.0.0.2", "inner");
    for (line, root) in [
        (list(&[inner.clone(), inner.clone()]), "https://inner"),
        (list(&[outer.clone(), inner.clone()]), "https://outer"),
        (list(&[evil.clone(), outer.clone(), inner]), "https://outer"),
        (list(&[evil, outer]), "https://outer"),
    ] {
        assert_eq!(seen_from(PROXY, &[("Forwarded", &line)]).1, root, "{line}");
    }
    let x = |list: &str, hosts: &str| {
        let proto = ("X-Forwarded-Proto", "https");
        seen_from(PROXY, &[("X-Forwarded-For", list), ("X-Forwarded-Host", hosts), proto]).1
    };
    assert_eq!(x("192.0.2.1", "evil, outer"), "https://outer");
    assert_eq!(x("192.0.2.1, 10.0.0.2", "outer, inner"), "https://outer");
    assert_eq!(x("192.0.2.1, 10.0.0.2", "evil, outer, inner"), "https://outer");
    assert_eq!(x("192.0.2.1, 10.0.0.2", "outer"), "https://outer");
    assert_eq!(x("10.0.0.3, 10.0.0.2", "outer, inner"), "https://outer");
}

// spec: CORE-53
#[test]
fn two_families_have_to_agree() {
    let forwarded = ("Forwarded", "for=192.0.2.1;host=up.example;proto=https");
    let same = [
        forwarded,
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-Host", "up.example"),
        ("X-Forwarded-Proto", "https"),
    ];
    sees(&same, "192.0.2.1", "https://up.example");
    // One of them came from the client, and it cannot be told which.
    sees(&[forwarded, ("X-Forwarded-For", "192.0.2.1")], "192.0.2.1", "");
    sees(&[forwarded, ("X-Forwarded-For", "192.0.2.2")], PROXY, "");
    sees(&[forwarded, ("X-Forwarded-Host", "other"), ("X-Forwarded-Proto", "https")], PROXY, "");
    sees(&[forwarded, ("X-Forwarded-Proto", "http")], PROXY, "");
}

/// The URL of an upload has the host that was told, if it has one at all.
fn stays_whole(host: &str, prefix: &str, lines: &[(&str, &str)]) -> Result<(), TestCaseError> {
    let Sight { public, .. } = proxies().look(PROXY.parse().unwrap(), &headers(lines));
    let Some(public) = public else { return Ok(()) };
    let id = UploadId::parse("0123456789abcdef0123456789abcdef").unwrap();
    let url = Links::default().behind(public).upload(&id).to_string();
    let uri: http::Uri = url.parse().unwrap();
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    prop_assert_eq!(uri.path(), format!("{prefix}/files/{id}"));
    prop_assert_eq!(uri.query(), None);
    let told: http::uri::Authority = host.parse().unwrap();
    prop_assert_eq!(uri.host(), Some(told.host()));
    Ok(())
}

proptest! {
    // spec: CORE-51
    #[test]
    fn whatever_is_believed_can_stand_in_an_answer(
        host in "([a-z0-9.]{1,6}(:[0-9]{1,5})?|[-a-z0-9.:/@#?%\\[\\]\"<> _]{1,8})",
        prefix in "(/[a-z]{1,3}/?|[-a-z0-9./@#?%\" _]{0,8})",
    ) {
        let x = [
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", &host),
            ("X-Forwarded-Prefix", &prefix),
        ];
        stays_whole(host.trim(), prefix.trim(), &x)?;
        let quoted = host.replace('"', "\\\"");
        let forwarded = format!("proto=https;host=\"{quoted}\"");
        let forwarded = [("Forwarded", &*forwarded), ("X-Forwarded-Prefix", &prefix)];
        stays_whole(&host, prefix.trim(), &forwarded)?;
    }
}
