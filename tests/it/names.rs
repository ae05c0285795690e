//! Finished files that somebody takes away, whose names are given to other uploads.

use std::fs;

use crate::{
    server::Server,
    tus::{Upload, create_with, request},
};

const NAMED: &str = "--name-template={stem}{ext}";

/// A file that its client calls `world.txt`.
fn world<'a>(server: &'a Server, bytes: &str) -> Upload<'a> {
    let asked = create_with(bytes.len() as u64, bytes);
    let answer = server.ask(&asked.header("Upload-Metadata", "filename d29ybGQudHh0"));
    Upload::from_answer(server, &answer.expect(201))
}

// spec: STORE-87, STORE-35
#[test]
fn a_file_that_was_taken_is_gone_and_the_next_of_its_name_is_another() {
    for (next, restarts) in
        [("other bytes", false), ("other bytes", true), ("hello world", true), ("other", true)]
    {
        let mut server = Server::with(&[NAMED]);
        let first = world(&server, "hello world").url;
        let path = server.data().join("files/world.txt");
        fs::rename(&path, server.around().join("taken")).unwrap();
        server.ask(&request("HEAD", &first)).expect(404);
        let second = world(&server, next).url;
        assert_eq!(server.finished(), [path.clone()]);
        if restarts {
            server.crash();
        }
        let got = server.ask(&request("GET", &first));
        if next == "hello world" {
            assert_eq!(got.expect(200).body, b"hello world");
        } else {
            got.expect(404);
        }
        server.ask(&request("DELETE", &first)).expect(204);
        assert_eq!(fs::read(&path).unwrap(), next.as_bytes());
        assert_eq!(server.ask(&request("GET", &second)).expect(200).body, next.as_bytes());
        server.ask(&request("DELETE", &second)).expect(204);
        assert!(server.finished().is_empty());
    }
}
