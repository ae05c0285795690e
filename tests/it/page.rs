//! The page and its files, as a browser asks for them.

use std::{fs, path::Path};

use crate::{
    client::{Answer, Request},
    server::Server,
};

const FILES: [(&str, &str); 5] = [
    ("/", "text/html; charset=utf-8"),
    ("/page.js", "text/javascript; charset=utf-8"),
    ("/page.css", "text/css; charset=utf-8"),
    ("/piton.js", "text/javascript; charset=utf-8"),
    ("/piton.d.ts", "text/plain; charset=utf-8"),
];

fn get(server: &Server, path: &str) -> Answer {
    server.ask(&Request::new("GET", path))
}

// spec: CHUNK-62, CHUNK-63
#[test]
fn its_files_are_checked_each_time_and_load_nothing_from_elsewhere() {
    let server = Server::start();
    for (path, media_type) in FILES {
        let answer = get(&server, path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.needs("Content-Type"), media_type);
        assert_eq!(answer.needs("Cache-Control"), "no-cache");
        assert_eq!(answer.needs("X-Content-Type-Options"), "nosniff");
        assert_eq!(answer.needs("Referrer-Policy"), "no-referrer");
        let policy: Vec<&str> = answer.needs("Content-Security-Policy").split("; ").collect();
        assert!(policy.contains(&"default-src 'none'"), "{policy:?}");
        assert!(policy.contains(&"script-src 'self'"), "{policy:?}");
        assert!(policy.contains(&"frame-ancestors 'none'"), "{policy:?}");
        assert!(!policy.iter().any(|rule| rule.contains("unsafe") || rule.contains('*')));
        let etag = answer.needs("ETag");
        let again = server.ask(&Request::new("GET", path).header("If-None-Match", etag));
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
        assert_eq!(again.needs("ETag"), etag);
        let other = server.ask(&Request::new("GET", path).header("If-None-Match", "\"other\""));
        assert_eq!((other.status, &other.body), (200, &answer.body));
        let head = server.ask(&Request::new("HEAD", path));
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(head.needs("Content-Length"), answer.body.len().to_string());
        let post = server.ask(&Request::new("POST", path).body("x"));
        assert_eq!((post.status, post.needs("Allow")), (405, "GET, HEAD"));
    }
}

// spec: CHUNK-60, CHUNK-61
#[test]
fn without_the_page_its_module_is_still_there() {
    let server = Server::with(&["--no-page"]);
    for path in ["/", "/page.js", "/page.css"] {
        assert_eq!(get(&server, path).status, 404, "{path}");
    }
    let module = Request::new("GET", "/piton.js").header("Origin", "https://app.example");
    let module = server.ask(&module);
    assert_eq!((module.status, module.needs("Access-Control-Allow-Origin")), (200, "*"));
    assert_eq!(get(&server, "/piton.d.ts").status, 200);
}

// spec: CHUNK-60
#[test]
fn the_page_offers_no_link_where_nothing_is_handed_out() {
    let text = |server: &Server| String::from_utf8(get(server, "/").body).unwrap();
    assert!(text(&Server::start()).contains("data-server=\"\""));
    let strict = Server::with(&["--disable-download"]);
    assert!(text(&strict).contains("data-server=\"no-download\""));
}

#[test]
fn its_source_is_read_in_one_sitting() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let read = |name: &str| fs::read_to_string(web.join(name)).unwrap();
    let all = ["index.html", "page.css", "page.js", "piton.js"].map(read);
    let lines: usize = all.iter().map(|text| text.lines().count()).sum();
    assert!(lines < 1000, "{lines} lines");
    for line in all.iter().flat_map(|text| text.lines()).filter(|line| !line.contains("data:")) {
        assert!(line.chars().count() <= 180, "{line}");
    }
}
