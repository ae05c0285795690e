//! tus 1.0.0 in the words of the cases.

use std::path::PathBuf;

use crate::{
    digest::length,
    disk::{self, Snapshot},
    random::Random,
    server::Server,
    stop::Step,
    wire::{Answer, Request, h1::Conn},
};

/// The media type of a PATCH.
pub(crate) const OFFSET_TYPE: &str = "application/offset+octet-stream";

/// A request with `Tus-Resumable`.
pub(crate) fn request(method: &str, target: &str) -> Request {
    Request::new(method, target).header("Tus-Resumable", "1.0.0")
}

/// The path of an upload that nobody has made.
pub(crate) fn unknown_url(server: &Server) -> String {
    format!("{}/{}", server.files().trim_end_matches('/'), Random::fresh().hash())
}

/// A POST that makes an upload.
pub(crate) fn create(server: &Server, length: u64) -> Request {
    request("POST", server.files()).header("Upload-Length", length)
}

/// A POST that makes an upload and brings its first bytes.
pub(crate) fn create_with(server: &Server, length: u64, body: impl Into<Vec<u8>>) -> Request {
    create(server, length).header("Content-Type", OFFSET_TYPE).body(body)
}

/// A POST that makes an upload whose length comes later.
pub(crate) fn create_deferred(server: &Server) -> Request {
    request("POST", server.files()).header("Upload-Defer-Length", 1)
}

/// The head of a PATCH; a body has to follow.
pub(crate) fn append(url: &str, offset: u64) -> Request {
    request("PATCH", url).header("Content-Type", OFFSET_TYPE).header("Upload-Offset", offset)
}

/// A PATCH.
pub(crate) fn patch(url: &str, offset: u64, body: impl Into<Vec<u8>>) -> Request {
    append(url, offset).body(body)
}

/// What HEAD tells and what lies on disk, where that can be looked at.
pub(crate) type State = (u64, Option<String>, Snapshot);

/// One upload on one server.
#[derive(Debug, Clone)]
pub(crate) struct Upload<'a> {
    pub(crate) server: &'a Server,
    /// Its path, from the root of the server.
    pub(crate) url: String,
}

impl<'a> Upload<'a> {
    /// A new upload of `length` bytes, *U* where it is 11.
    pub(crate) fn new(server: &'a Server, length: u64) -> Step<Self> {
        Self::from_answer(server, &server.ask(&create(server, length))?.expect(201)?)
    }

    /// A new upload whose length comes later.
    pub(crate) fn deferred(server: &'a Server) -> Step<Self> {
        Self::from_answer(server, &server.ask(&create_deferred(server))?.expect(201)?)
    }

    /// *U5*: the first 5 of 11 bytes are there.
    pub(crate) fn hello(server: &'a Server) -> Step<Self> {
        let upload = Self::new(server, 11)?;
        upload.patch(0, "hello")?.expect(204)?;
        Ok(upload)
    }

    /// *F*: all 11 bytes are there.
    pub(crate) fn finished(server: &'a Server) -> Step<Self> {
        let upload = Self::new(server, 11)?;
        upload.patch(0, "hello world")?.expect(204)?;
        Ok(upload)
    }

    /// The upload that a 201 names.
    pub(crate) fn from_answer(server: &'a Server, answer: &Answer) -> Step<Self> {
        Ok(Self { server, url: server.resolve(answer.needs("Location")?) })
    }

    /// Its id, the last segment of its URL.
    pub(crate) fn id(&self) -> &str {
        self.url.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
    }

    /// PATCH.
    pub(crate) fn patch(&self, offset: u64, body: impl Into<Vec<u8>>) -> Step<Answer> {
        self.server.ask(&patch(&self.url, offset, body))
    }

    /// HEAD.
    pub(crate) fn head(&self) -> Step<Answer> {
        self.server.ask(&request("HEAD", &self.url))
    }

    /// GET, as a browser would send it.
    pub(crate) fn get(&self) -> Step<Answer> {
        self.server.ask(&Request::new("GET", &self.url))
    }

    /// DELETE.
    pub(crate) fn delete(&self) -> Step<Answer> {
        self.server.ask(&request("DELETE", &self.url))
    }

    /// The offset that HEAD tells.
    pub(crate) fn offset(&self) -> Step<u64> {
        self.head()?.expect_one(&[200, 204])?.offset()
    }

    /// HEAD must tell this offset.
    pub(crate) fn is_at(&self, offset: u64) -> Step {
        let head = self.head()?.expect_one(&[200, 204])?;
        head.has("Upload-Offset", offset)
    }

    /// Sends `part` of a PATCH that promises `length` bytes, and stalls.
    pub(crate) fn stall(&self, offset: u64, length: u64, part: &[u8]) -> Step<Conn> {
        let mut connection = self.server.begin(&append(&self.url, offset).announcing(length))?;
        connection.raw(part)?;
        Ok(connection)
    }

    /// Its folder under `uploads/`; a skip where the layout is not known.
    pub(crate) fn folder(&self) -> Step<PathBuf> {
        Ok(self.server.layout()?.join("uploads").join(self.id()))
    }

    /// Its files under `uploads/`; nothing where the layout is not known.
    pub(crate) fn parts(&self) -> Snapshot {
        self.folder().map(|folder| disk::snapshot(&folder)).unwrap_or_default()
    }

    /// What HEAD tells and what lies on disk: equal before and after a refusal.
    pub(crate) fn state(&self) -> Step<State> {
        let head = self.head()?.expect_one(&[200, 204])?;
        let length = head.header("Upload-Length").map(str::to_owned);
        Ok((head.offset()?, length, self.parts()))
    }

    /// The request is refused with one of these, and nothing is stored.
    pub(crate) fn refuses(&self, request: &Request, statuses: &[u16]) -> Step<Answer> {
        self.unchanged_by(|| self.server.ask(request)?.expect_one(statuses))
    }

    /// The request is refused with any 4xx, and nothing is stored.
    pub(crate) fn refuses_somehow(&self, request: &Request) -> Step<Answer> {
        self.unchanged_by(|| self.server.ask(request)?.refused_somehow())
    }

    /// What is asked is answered as it should be, and nothing is stored.
    pub(crate) fn unchanged_by(&self, ask: impl FnOnce() -> Step<Answer>) -> Step<Answer> {
        let before = self.state()?;
        let answer = ask()?;
        let after = self.state()?;
        let what = format!(
            "refused, and yet offset and length were {:?} and are {:?}",
            (before.0, &before.1),
            (after.0, &after.1)
        );
        answer.ensure(before == after, what)?;
        Ok(answer)
    }

    /// The answer passes `check`, and nothing is stored.
    pub(crate) fn unmoved(
        &self,
        request: &Request,
        check: impl FnOnce(Answer) -> Step<Answer>,
    ) -> Step<Answer> {
        self.unchanged_by(|| check(self.server.ask(request)?))
    }

    /// The upload is complete and its file holds exactly `bytes`, if the server hands out files.
    pub(crate) fn is_file(&self, bytes: &[u8]) -> Step {
        let head = self.head()?.expect_one(&[200, 204])?;
        head.has("Upload-Offset", length(bytes))?;
        let file = self.get()?;
        if file.status != 200 && !self.server.hands_out_files() {
            // tus 1.0.0 knows no download: whatever refuses one is right.
            return Ok(());
        }
        let file = file.expect(200)?;
        let found = file.body.len();
        let what = format!("the file has {found} bytes instead of {}, or others", bytes.len());
        file.ensure(file.body == bytes, what)
    }
}

/// The statuses with which a server may say that an upload is not there (any more).
pub(crate) const GONE: [u16; 2] = [404, 410];

/// The refusal has this status and is a problem document; ours where the status is open.
pub(crate) fn problem(answer: Answer, status: u16) -> Step<Answer> {
    let answer = answer.expect(status)?;
    answer.is_problem()?;
    Ok(answer)
}
