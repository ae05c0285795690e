//! Finished files that somebody takes away, whose names are given to other uploads.

use std::fs;

use crate::{
    server::Server,
    tus::{Upload, create_with, request},
};

/// The same file gets the same name.
const NAMED: &str = "--name-template={stem}-{digest8}{ext}";

/// A file that its client calls `world.txt`.
fn world<'a>(server: &'a Server, bytes: &str) -> Upload<'a> {
    let asked = create_with(bytes.len() as u64, bytes);
    let answer = server.ask(&asked.header("Upload-Metadata", "filename d29ybGQudHh0"));
    Upload::from_answer(server, &answer.expect(201))
}

// spec: STORE-87, STORE-35
#[test]
fn a_file_that_was_taken_is_gone_and_the_next_of_its_name_is_another() {
    for restarts in [false, true] {
        let mut server = Server::with(&[NAMED]);
        let first = world(&server, "hello world").url;
        let path = server.finished().remove(0);
        fs::rename(&path, server.around().join("taken")).unwrap();
        server.ask(&request("HEAD", &first)).expect(404);
        let second = world(&server, "hello world").url;
        assert_eq!(server.finished(), std::slice::from_ref(&path));
        if restarts {
            server.crash();
        }
        server.ask(&request("DELETE", &first)).expect(204);
        assert_eq!(fs::read(&path).unwrap(), b"hello world");
        assert_eq!(server.ask(&request("GET", &second)).expect(200).body, b"hello world");
        server.ask(&request("DELETE", &second)).expect(204);
        assert!(server.finished().is_empty());
    }
}
