//! X-HTTP-Method-Override, for networks that know only GET and POST.

use crate::{
    client::Request,
    server::Server,
    tus::{FILES, Upload, create, patch, request},
};

fn as_post(mut request: Request, method: &str) -> Request {
    "POST".clone_into(&mut request.method);
    request.header("X-HTTP-Method-Override", method)
}

// rows: TUS-OVR-01
// spec: TUS-4
#[test]
fn a_post_can_be_a_patch_or_a_delete() {
    let server = Server::start();
    let upload = Upload::new(&server, 11);
    let answer = server.ask(&as_post(patch(&upload.url, 0, "hello"), "PATCH")).expect(204);
    assert_eq!(answer.offset(), 5);
    let wrong = as_post(patch(&upload.url, 0, "hello"), "PATCH");
    assert_eq!(upload.refuses(&wrong, 409).offset(), 5);
    upload.refuses(&as_post(patch(&upload.url, 5, "x").without("Content-Type"), "PATCH"), 415);
    upload.refuses(&as_post(patch(&upload.url, 5, "x").without("Tus-Resumable"), "PATCH"), 412);
    server.ask(&as_post(patch(&upload.url, 5, " world"), "PATCH")).expect(204);
    upload.is_file(b"hello world");
    server.ask(&as_post(request("DELETE", &upload.url), "DELETE")).expect(204);
    upload.head().expect(404);
}

// rows: TUS-OVR-02
// spec: TUS-4
#[test]
fn a_post_as_head_promises_no_body() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let mut connection = server.connect();
    for _ in 0..2 {
        let answer = connection.ask(&as_post(request("HEAD", &upload.url), "HEAD")).expect(200);
        assert_eq!(answer.header("Content-Length"), Some("0"));
        assert_eq!((answer.offset(), answer.needs("Upload-Length")), (5, "11"));
        assert_eq!(answer.header("Cache-Control"), Some("no-store"));
    }
}

// rows: TUS-OVR-03
// spec: TUS-4
#[test]
fn a_safe_method_stays_safe() {
    let server = Server::start();
    let upload = Upload::finished(&server);
    for method in ["DELETE", "PATCH"] {
        let get = Request::new("GET", &upload.url).header("X-HTTP-Method-Override", method);
        assert_eq!(server.ask(&get).expect(200).body, b"hello world");
        let head = request("HEAD", &upload.url).header("X-HTTP-Method-Override", method);
        assert_eq!(server.ask(&head).expect(200).offset(), 11);
        let put = request("PUT", &upload.url).header("X-HTTP-Method-Override", method);
        server.ask(&put).refused(405);
    }
    upload.is_file(b"hello world");
}

// rows: TUS-OVR-04
// spec: TUS-4
#[test]
fn the_name_of_the_method_is_exact() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let base = || patch(&upload.url, 5, " world");
    upload.refuses(&as_post(base(), "patch"), 405);
    upload.refuses(&as_post(base(), "FOO"), 405);
    upload.refuses(&as_post(base(), "PATCH, DELETE"), 400);
    upload.refuses(&as_post(base(), "PATCH").header("X-HTTP-Method-Override", "PATCH"), 400);
    // Empty is as absent: a POST on an upload, and a POST that makes one.
    upload.refuses(&as_post(base(), ""), 405);
    server.ask(&as_post(create(11), "")).expect(201);
}

// rows: TUS-OVR-05
// spec: TUS-4
#[test]
fn the_rules_are_those_of_the_method_that_is_meant() {
    let server = Server::start();
    let upload = Upload::hello(&server);
    let head = as_post(request("HEAD", &upload.url), "HEAD").without("Tus-Resumable");
    let answer = server.ask(&head).expect(412);
    assert_eq!(answer.header("Tus-Version"), Some("1.0.0"));
    let options = as_post(Request::new("OPTIONS", FILES), "OPTIONS");
    assert_eq!(server.ask(&options).expect(204).header("Tus-Version"), Some("1.0.0"));
    server.ask(&as_post(patch(FILES, 0, "x"), "PATCH")).refused(405);
}
