//! Origins, and what pages of theirs are told.

use http::Request;

use super::*;

fn listed(origins: &[&str], credentials: bool) -> Cors {
    let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    Cors::Listed { origins, credentials }
}

fn asked(method: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::builder().method(method).uri("/files/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

/// What is added for a request.
fn told(cors: &Cors, parts: &Parts) -> HeaderMap {
    let mut headers = HeaderMap::new();
    cors.write(parts, &mut headers);
    headers
}

fn allows(cors: &Cors, origin: &str) -> bool {
    told(cors, &asked("GET", &[("Origin", origin)]))
        .contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
}

/// Each name in a list of ours.
fn names(list: &str) -> Vec<String> {
    list.split(", ").map(str::to_ascii_lowercase).collect()
}

// spec: CORE-40
#[test]
fn every_origin_by_default() {
    let cors = Cors::default();
    for origin in ["https://a", "null", "capacitor://localhost"] {
        let headers = told(&cors, &asked("PATCH", &[("Origin", origin)]));
        assert_eq!(headers["access-control-allow-origin"], "*");
        assert_eq!(headers["access-control-expose-headers"], EXPOSED);
        assert_eq!(headers["vary"], "Origin");
        assert!(!headers.contains_key("access-control-allow-credentials"));
        assert!(!headers.contains_key("access-control-allow-methods"));
    }
}

// spec: CORE-42
#[test]
fn who_names_no_origin_is_told_nothing_but_what_caches_need() {
    for cors in [Cors::Any, listed(&["https://a"], false)] {
        let headers = told(&cors, &asked("GET", &[]));
        assert_eq!(headers.len(), 1, "{headers:?}");
        assert_eq!(headers["vary"], "Origin");
    }
}

// spec: CORE-42
#[test]
fn only_listed_origins_are_allowed() {
    let cors = listed(&["https://a.example", "http://localhost:3000", "https://b:443"], false);
    for origin in ["https://a.example", "http://localhost:3000", "https://b", "https://b:443"] {
        assert!(allows(&cors, origin), "{origin}");
    }
    for origin in [
        "http://a.example",
        "https://a.example:8443",
        "https://a.example.evil",
        "https://x.a.example",
        "https://a.example/",
        "https://A.EXAMPLE",
        "http://localhost",
        "http://localhost:30000",
        "null",
        "*",
        "",
        "https://a.example, https://evil",
    ] {
        assert!(!allows(&cors, origin), "{origin}");
    }
    let twice = asked("GET", &[("Origin", "https://a.example"), ("Origin", "https://evil")]);
    assert!(!told(&cors, &twice).contains_key("access-control-allow-origin"));
    let echoed = told(&cors, &asked("GET", &[("Origin", "http://localhost:3000")]));
    assert_eq!(echoed["access-control-allow-origin"], "http://localhost:3000");
}

// spec: CORE-42
#[test]
fn a_star_stands_for_whole_labels_or_for_the_port() {
    let cors = listed(&["https://*.example.com", "http://localhost:*", "http://[::1]:*"], false);
    for origin in [
        "https://a.example.com",
        "https://a.b.example.com",
        "http://localhost",
        "http://localhost:5173",
        "http://[::1]:80",
        "http://[::1]",
    ] {
        assert!(allows(&cors, origin), "{origin}");
    }
    for origin in [
        "https://example.com",
        "https://evilexample.com",
        "https://.example.com",
        "https://evil/.example.com",
        "https://a.example.com:8443",
        "https://a.example.com.evil",
        "http://localhost:x",
        "http://localhost.evil:80",
        "http://[::2]",
    ] {
        assert!(!allows(&cors, origin), "{origin}");
    }
}

#[test]
fn what_is_no_origin_is_refused() {
    for text in [
        "",
        "*",
        "null",
        "a.example",
        "https://",
        "https://*",
        "https://*.",
        "https://*a.example",
        "https://a.*.example",
        "https://a/",
        "https://a/x",
        "https://a:",
        "https://a:0",
        "https://a:65536",
        "https://a:b",
        "https://user@a",
        "https://a b",
        "https://[::x]",
        "://a",
        "1http://a",
        "https://é",
    ] {
        assert_eq!(text.parse::<OriginPattern>(), Err(ParseOriginError), "{text}");
    }
}

// spec: CORE-43
#[test]
fn credentials_are_allowed_to_listed_origins_alone() {
    let cors = listed(&["https://a"], true);
    let headers = told(&cors, &asked("GET", &[("Origin", "https://a")]));
    assert_eq!(headers["access-control-allow-credentials"], "true");
    assert_eq!(headers["access-control-allow-origin"], "https://a");
    let headers = told(&cors, &asked("GET", &[("Origin", "https://b")]));
    assert_eq!(headers.len(), 1, "{headers:?}");
}

// spec: CORE-45
#[test]
fn nothing_is_said_where_cors_is_off() {
    let asked = asked("OPTIONS", &[("Origin", "a"), ("Access-Control-Request-Method", "PATCH")]);
    assert!(told(&Cors::Off, &asked).is_empty());
    assert!(Cors::Off.preflight(&asked).is_none());
}

// spec: CORE-41
#[test]
fn a_preflight_is_an_options_with_an_origin_and_a_method() {
    let (origin, method) = (("Origin", "https://a"), ("Access-Control-Request-Method", "PATCH"));
    let answer = Cors::Any.preflight(&asked("OPTIONS", &[origin, method])).unwrap();
    assert_eq!(answer.status(), 204);
    for (name, headers) in
        [("OPTIONS", &[origin][..]), ("OPTIONS", &[method]), ("GET", &[origin, method])]
    {
        let asked = asked(name, headers);
        assert!(Cors::Any.preflight(&asked).is_none(), "{name} {headers:?}");
    }
    let headers = told(&Cors::Any, &asked("OPTIONS", &[origin, method]));
    assert_eq!(headers["access-control-allow-methods"], METHODS);
    assert_eq!(headers["access-control-allow-headers"], ALLOWED);
    assert!(headers["access-control-max-age"].to_str().unwrap().parse::<u32>().unwrap() >= 86400);
    assert!(!headers.contains_key("access-control-expose-headers"));
    assert!(!headers.contains_key(PRIVATE_NETWORK_ALLOWED));
}

// spec: CORE-41
#[test]
fn headers_that_we_never_heard_of_may_be_sent() {
    let preflight = |list: &str| {
        let asked = asked(
            "OPTIONS",
            &[
                ("Origin", "https://a"),
                ("Access-Control-Request-Method", "PATCH"),
                ("Access-Control-Request-Headers", list),
            ],
        );
        let headers = told(&Cors::Any, &asked);
        headers["access-control-allow-headers"].to_str().unwrap().to_owned()
    };
    assert_eq!(preflight("upload-offset,tus-resumable, SHA256"), ALLOWED);
    assert_eq!(
        preflight("x-csrf-token, traceparent"),
        format!("{ALLOWED}, x-csrf-token, traceparent")
    );
    assert_eq!(preflight("a b,é,,\"x\""), ALLOWED);
    let long = preflight(&"x-long-name-of-a-header,".repeat(1000));
    assert!(long.len() <= ALLOWED.len() + 2 * ASKED_MAX, "{}", long.len());
}

// spec: CORE-44
#[test]
fn a_machine_in_the_house_may_be_reached() {
    let of = |origin: &str, asked_for: &str| {
        let asked = asked(
            "OPTIONS",
            &[
                ("Origin", origin),
                ("Access-Control-Request-Method", "PATCH"),
                ("Access-Control-Request-Private-Network", asked_for),
            ],
        );
        told(&listed(&["https://a"], false), &asked).contains_key(PRIVATE_NETWORK_ALLOWED)
    };
    assert!(of("https://a", "true"));
    assert!(!of("https://a", "false"));
    assert!(!of("https://b", "true"));
}

#[test]
fn lists_are_sorted_and_name_nothing_twice() {
    for list in [ALLOWED, EXPOSED] {
        assert!(names(list).is_sorted_by(|one, next| one < next), "{list}");
    }
}
