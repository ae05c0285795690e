//! tus 1.0.0 in the words of the tests.

use std::{fs, path::PathBuf};

use crate::{
    client::{Answer, Conn, Request},
    disk::{self, Snapshot},
    server::{Server, until},
};

/// Bodies of up to so many bytes are written in one go, at their end.
const WRITTEN_AT_ONCE: u64 = 64 * 1024;

/// Where uploads are made.
pub const FILES: &str = "/files/";
/// The media type of a PATCH.
pub const OFFSET_TYPE: &str = "application/offset+octet-stream";

/// A request with `Tus-Resumable`.
pub fn request(method: &str, target: &str) -> Request {
    Request::new(method, target).header("Tus-Resumable", "1.0.0")
}

/// Whether the server announces an extension of tus.
#[track_caller]
pub fn offers(server: &Server, extension: &str) -> bool {
    let answer = server.ask(&Request::new("OPTIONS", FILES)).expect(204);
    answer.needs("Tus-Extension").split(',').any(|one| one == extension)
}

/// A POST that makes an upload.
pub fn create(length: u64) -> Request {
    request("POST", FILES).header("Upload-Length", length)
}

/// A POST that makes an upload and brings its first bytes.
pub fn create_with(length: u64, body: impl Into<Vec<u8>>) -> Request {
    create(length).header("Content-Type", OFFSET_TYPE).body(body)
}

/// A POST that makes an upload whose length comes later.
pub fn create_deferred() -> Request {
    request("POST", FILES).header("Upload-Defer-Length", 1)
}

/// The head of a PATCH; a body has to follow.
pub fn append(url: &str, offset: u64) -> Request {
    request("PATCH", url).header("Content-Type", OFFSET_TYPE).header("Upload-Offset", offset)
}

/// A PATCH.
pub fn patch(url: &str, offset: u64, body: impl Into<Vec<u8>>) -> Request {
    append(url, offset).body(body)
}

/// One upload on one server.
#[derive(Debug, Clone)]
pub struct Upload<'a> {
    pub server: &'a Server,
    pub url: String,
}

impl<'a> Upload<'a> {
    /// A new upload of `length` bytes, *U* where it is 11.
    #[track_caller]
    pub fn new(server: &'a Server, length: u64) -> Self {
        Self::from_answer(server, &server.ask(&create(length)).expect(201))
    }

    /// A new upload whose length comes later.
    #[track_caller]
    pub fn deferred(server: &'a Server) -> Self {
        Self::from_answer(server, &server.ask(&create_deferred()).expect(201))
    }

    /// *U5*: the first 5 of 11 bytes are there.
    #[track_caller]
    pub fn hello(server: &'a Server) -> Self {
        let upload = Self::new(server, 11);
        upload.patch(0, "hello").expect(204);
        upload
    }

    /// *F*: all 11 bytes are there.
    #[track_caller]
    pub fn finished(server: &'a Server) -> Self {
        let upload = Self::new(server, 11);
        upload.patch(0, "hello world").expect(204);
        upload
    }

    /// The upload that a 201 names.
    #[track_caller]
    pub fn from_answer(server: &'a Server, answer: &Answer) -> Self {
        Self { server, url: answer.needs("Location").to_owned() }
    }

    /// Its id, the last segment of its URL.
    pub fn id(&self) -> &str {
        self.url.rsplit('/').next().unwrap()
    }

    /// PATCH.
    #[track_caller]
    pub fn patch(&self, offset: u64, body: impl Into<Vec<u8>>) -> Answer {
        self.server.ask(&patch(&self.url, offset, body))
    }

    /// HEAD.
    #[track_caller]
    pub fn head(&self) -> Answer {
        self.server.ask(&request("HEAD", &self.url))
    }

    /// GET, as a browser would send it.
    #[track_caller]
    pub fn get(&self) -> Answer {
        self.server.ask(&Request::new("GET", &self.url))
    }

    /// DELETE.
    #[track_caller]
    pub fn delete(&self) -> Answer {
        self.server.ask(&request("DELETE", &self.url))
    }

    /// The offset that HEAD tells.
    #[track_caller]
    pub fn offset(&self) -> u64 {
        self.head().expect(200).offset()
    }

    /// Sends `part` of a PATCH that promises `length` bytes, and stalls.
    pub fn stall(&self, offset: u64, length: u64, part: &[u8]) -> Conn {
        let mut connection = self.server.begin(&append(&self.url, offset).announcing(length));
        connection.raw(part);
        connection
    }

    /// Sends `part` as all that comes for now of a body of `length` bytes, and waits until the
    /// server has it: a newcomer, a stop and a kill come before bytes that lie unread in a socket.
    #[track_caller]
    pub fn takes(&self, connection: &mut Conn, part: &[u8], length: u64) {
        let sent = part.len() as u64;
        let (received, stored) = (self.server.received(), disk::bytes_below(&self.folder()));
        connection.raw(part);
        self.server.has_received(received + sent);
        if length > WRITTEN_AT_ONCE {
            self.has_stored(stored + sent);
        }
    }

    /// Waits until its part files have so many bytes.
    #[track_caller]
    pub fn has_stored(&self, bytes: u64) {
        let stored = || disk::bytes_below(&self.folder());
        until(|| stored() >= bytes, || format!("{} of {bytes} bytes are stored", stored()));
    }

    /// Its folder under `uploads/`.
    pub fn folder(&self) -> PathBuf {
        self.server.data().join("uploads").join(self.id())
    }

    /// Its ledger; whoever locks that is another process to the server.
    pub fn ledger(&self) -> PathBuf {
        let mut all = disk::files_below(&self.server.data().join("state")).into_iter();
        all.find(|path| path.file_stem().is_some_and(|stem| stem == self.id())).unwrap()
    }

    /// Its files under `uploads/`.
    pub fn parts(&self) -> Snapshot {
        disk::snapshot(&self.folder())
    }

    /// The bytes in its part files, in order of position.
    pub fn stored(&self) -> Vec<u8> {
        let mut parts = disk::files_below(&self.folder());
        parts.sort_by_key(|path| {
            path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok()).unwrap_or(0)
        });
        parts.into_iter().flat_map(|path| fs::read(path).unwrap()).collect()
    }

    /// What HEAD tells and what lies on disk: equal before and after a refusal.
    #[track_caller]
    pub fn state(&self) -> (u64, Option<String>, Snapshot) {
        let head = self.head().expect(200);
        (head.offset(), head.header("Upload-Length").map(str::to_owned), self.parts())
    }

    /// The request is refused with `status`, and nothing is stored.
    #[track_caller]
    pub fn refuses(&self, request: &Request, status: u16) -> Answer {
        let before = self.state();
        let answer = self.server.ask(request);
        // An answer to HEAD has no body to look at.
        let bodiless = request.method == "HEAD";
        let answer = if bodiless { answer.expect(status) } else { answer.refused(status) };
        assert_eq!(self.state(), before, "{answer:?} to {request:?} left a trace");
        answer
    }

    /// The upload is complete and its file holds exactly `bytes`.
    #[track_caller]
    pub fn is_file(&self, bytes: &[u8]) {
        let head = self.head().expect(200);
        assert_eq!(head.offset(), bytes.len() as u64);
        let file = self.get().expect(200);
        assert_eq!(file.body.len(), bytes.len());
        assert!(file.body == bytes, "the finished file of {} has other bytes", self.url);
    }
}
