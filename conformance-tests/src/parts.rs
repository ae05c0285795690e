//! The chunk flow in the words of the cases.

use std::{
    cell::RefCell,
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    digest::{composite, length, sha256_hex},
    disk::{Snapshot, files_below},
    random::Random,
    server::Server,
    stop::{Step, breach, ensure},
    tus::Upload,
    wire::{Answer, Request},
};

/// The boundary of all forms.
const BOUNDARY: &str = "----judge-8f2e1c";

/// A file as an index client sees it.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) hash: String,
    pub(crate) filename: Option<String>,
    pub(crate) chunk_size: usize,
    pub(crate) total: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Parts {
    /// A file in chunks of `chunk_size`, the last one shorter, under a hash that is new.
    pub(crate) fn new(filename: &str, chunk_size: usize, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self {
            hash: Random::fresh().hash(),
            filename: Some(filename.to_owned()),
            chunk_size,
            total: bytes.len().div_ceil(chunk_size).max(1),
            bytes,
        }
    }

    /// The base case of the tables, `hello world!` in two chunks of six, under a hash that is new.
    pub(crate) fn hello() -> Self {
        Self::new("a.bin", 6, "hello world!")
    }

    /// Under this hash.
    #[must_use]
    pub(crate) fn with_hash(mut self, hash: &str) -> Self {
        hash.clone_into(&mut self.hash);
        self
    }

    /// Under this name.
    #[must_use]
    pub(crate) fn with_name(mut self, name: Option<&str>) -> Self {
        self.filename = name.map(str::to_owned);
        self
    }

    /// The same file cut so that its last chunk is longer than the others.
    #[must_use]
    pub(crate) fn with_total(mut self, total: usize) -> Self {
        self.total = total;
        self
    }

    /// The bytes of one chunk.
    pub(crate) fn chunk(&self, index: usize) -> &[u8] {
        let from = index.saturating_mul(self.chunk_size);
        let next = from.saturating_add(self.chunk_size).min(self.bytes.len());
        let to = if index.saturating_add(1) == self.total { self.bytes.len() } else { next };
        self.bytes.get(from..to).unwrap_or_default()
    }

    /// All chunks in order.
    pub(crate) fn chunks(&self) -> Vec<&[u8]> {
        (0..self.total).map(|index| self.chunk(index)).collect()
    }

    /// The digest over the raw digests, in hex.
    pub(crate) fn composite(&self) -> String {
        composite(&self.chunks())
    }

    /// The digest of one chunk, in hex.
    pub(crate) fn digest(&self, index: usize) -> String {
        sha256_hex(self.chunk(index))
    }

    /// The parameters of one chunk.
    pub(crate) fn fields(&self, index: usize) -> Vec<(String, String)> {
        let mut fields = vec![
            ("hash".to_owned(), self.hash.clone()),
            ("index".to_owned(), index.to_string()),
            ("total".to_owned(), self.total.to_string()),
            ("size".to_owned(), self.bytes.len().to_string()),
            ("chunk_size".to_owned(), self.chunk_size.to_string()),
        ];
        if let Some(name) = &self.filename {
            fields.push(("filename".to_owned(), name.clone()));
        }
        fields
    }

    /// A raw PUT of one chunk.
    pub(crate) fn put(&self, server: &Server, index: usize) -> Step<Request> {
        self.put_bytes(server, index, self.chunk(index))
    }

    /// A raw PUT of any bytes as that chunk.
    pub(crate) fn put_bytes(&self, server: &Server, index: usize, bytes: &[u8]) -> Step<Request> {
        put(server, &self.fields(index), bytes)
    }

    /// A form that brings one chunk, its fields before the file.
    pub(crate) fn put_form(&self, server: &Server, index: usize) -> Step<Request> {
        form(server, &self.fields(index), self.chunk(index), &[])
    }

    /// Sends one chunk raw, which must be new.
    pub(crate) fn send(&self, server: &Server, index: usize) -> Step<Answer> {
        server.ask(&self.put(server, index)?)?.expect(201)
    }

    /// Sends all chunks raw, in order.
    pub(crate) fn send_all(&self, server: &Server) -> Step {
        (0..self.total).try_for_each(|index| self.send(server, index).map(|_| ()))
    }

    /// `GET /upload/check`.
    pub(crate) fn check(&self, server: &Server, index: usize) -> Step<Value> {
        let target = server.at(&format!("/upload/check?{}&index={index}", self.name()))?;
        server.ask(&Request::new("GET", &target))?.expect(200)?.json()
    }

    /// `GET /upload/status` as a request.
    pub(crate) fn status_request(&self, server: &Server) -> Step<Request> {
        let target = server.at(&format!("/upload/status?{}", self.name()))?;
        Ok(Request::new("GET", &target))
    }

    /// `GET /upload/status`.
    pub(crate) fn status(&self, server: &Server) -> Step<Value> {
        server.ask(&self.status_request(server)?)?.expect(200)?.json()
    }

    /// The indexes that status lists as stored.
    pub(crate) fn uploaded(&self, server: &Server) -> Step<Vec<u64>> {
        numbers(&self.status(server)?["uploaded"])
    }

    /// The upload as tus sees it.
    pub(crate) fn as_upload<'a>(&self, server: &'a Server) -> Step<Upload<'a>> {
        let status = self.status(server)?;
        let none = || breach(format_args!("no upload_id in {status}"));
        let id = status["upload_id"].as_str().ok_or_else(none)?;
        let folder = server.files().trim_end_matches('/');
        Ok(Upload { server, url: format!("{folder}/{id}") })
    }

    /// Its part files once they stand still, since chunks are put together behind the answers;
    /// nothing where the layout is not known.
    pub(crate) fn stored(&self, server: &Server) -> Step<Snapshot> {
        if server.layout().is_err() || self.status(server)?["upload_id"].is_null() {
            return Ok(Snapshot::new());
        }
        let upload = self.as_upload(server)?;
        let mut last = upload.parts();
        loop {
            thread::sleep(Duration::from_millis(20));
            let now = upload.parts();
            if now == last {
                return Ok(now);
            }
            last = now;
        }
    }

    /// The bytes of its part files in order, which stay the same when chunks are put together
    /// behind the answers; nothing where the layout is not known, or nothing is unfinished.
    fn bytes_on_disk(&self, server: &Server) -> Step<Vec<u8>> {
        let status = self.status(server)?;
        let unfinished = !matches!(status["state"].as_str(), Some("none" | "merged"));
        if server.layout().is_err() || !unfinished {
            return Ok(Vec::new());
        }
        let folder = self.as_upload(server)?.folder()?;
        let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
        let bytes = RefCell::default();
        soon("the part files do not hold received_bytes", || {
            let mut files = files_below(&folder);
            files.sort_by_key(number);
            // A file may go while we look; then there are too few bytes, and we look again.
            let read = files.iter().filter_map(|path| fs::read(path).ok());
            let read = read.collect::<Vec<_>>().concat();
            let whole = status["received_bytes"] == length(&read);
            bytes.replace(read);
            Ok(whole)
        })?;
        Ok(bytes.into_inner())
    }

    /// Neither the status nor the part files show a trace of what `step` does.
    pub(crate) fn stays(&self, server: &Server, step: impl FnOnce() -> Step) -> Step {
        let before = (self.bytes_on_disk(server)?, self.status(server)?);
        step()?;
        let after = (self.bytes_on_disk(server)?, self.status(server)?);
        let what = format!("refused, and yet the status was {} and is {}", before.1, after.1);
        ensure(before.1 == after.1, what)?;
        ensure(before.0 == after.0, "refused, and yet other bytes lie on disk")
    }

    /// The request is refused, and neither the status nor the part files show a trace.
    pub(crate) fn refuses(&self, server: &Server, request: &Request, status: u16) -> Step {
        self.stays(server, || {
            let answer = server.ask(request)?.expect(status)?;
            answer.is_problem()
        })
    }

    /// The body of a merge with the right digest.
    pub(crate) fn merge_body(&self) -> Value {
        let mut body = json!({
            "hash": self.hash,
            "total": self.total,
            "size": self.bytes.len(),
            "digest": self.composite(),
        });
        if let Some(name) = &self.filename {
            body["filename"] = json!(name);
        }
        body
    }

    /// `POST /merge` with the right digest.
    pub(crate) fn merge(&self, server: &Server) -> Step<Answer> {
        server.ask(&merge(server, &self.merge_body())?)
    }

    /// The upload is merged, and its file has these bytes.
    pub(crate) fn is_merged(&self, server: &Server, answer: &Answer) -> Step {
        let merged = answer.json()?;
        let none = || answer.breach("the answer has no url");
        let url = server.resolve(merged["url"].as_str().ok_or_else(none)?);
        let file = server.ask(&Request::new("GET", &url))?.expect(200)?;
        file.ensure(file.body == self.bytes, "the merged file has other bytes")
    }

    /// `DELETE /upload`.
    pub(crate) fn delete(&self, server: &Server) -> Step<Answer> {
        let target = server.at(&format!("/upload?{}", self.name()))?;
        server.ask(&Request::new("DELETE", &target))
    }

    /// `hash` and, where there is one, `filename`.
    pub(crate) fn name(&self) -> String {
        let mut fields = vec![("hash".to_owned(), self.hash.clone())];
        if let Some(name) = &self.filename {
            fields.push(("filename".to_owned(), name.clone()));
        }
        query(&fields)
    }
}

/// A raw PUT of one chunk with any parameters.
pub(crate) fn put(server: &Server, fields: &[(String, String)], bytes: &[u8]) -> Step<Request> {
    let target = server.at(&format!("/upload?{}", query(fields)))?;
    let request = Request::new("POST", &target);
    Ok(request.header("Content-Type", "application/octet-stream").body(bytes))
}

/// `POST /merge` with this body.
pub(crate) fn merge(server: &Server, body: &Value) -> Step<Request> {
    let request = Request::new("POST", &server.at("/merge")?);
    Ok(request.header("Content-Type", "application/json").body(body.to_string()))
}

/// The object has these members with these values, whatever else it has.
pub(crate) fn has_members(found: &Value, expected: &Value) -> Step {
    for (name, value) in expected.as_object().into_iter().flatten() {
        let what = format!("{name} is {}, not {value}, in {found}", found[name]);
        ensure(found.get(name) == Some(value), what)?;
    }
    Ok(())
}

/// Soon nothing is left of what was on its way; of a server that no other case asks.
pub(crate) fn tmp_is_empty(server: &Server) -> Step {
    let Ok(data) = server.layout() else { return Ok(()) };
    soon("files are left in tmp/", || Ok(files_below(&data.join("tmp")).is_empty()))
}

/// Waits until `done`, for what happens behind an answer.
pub(crate) fn soon(what: &str, done: impl Fn() -> Step<bool>) -> Step {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done()? {
        ensure(Instant::now() < deadline, what)?;
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The refusal with 405 names the methods that there are.
pub(crate) fn is_no_method(answer: Answer) -> Step {
    let answer = answer.expect(405)?;
    answer.is_problem()?;
    answer.needs("Allow").map(|_| ())
}

/// A list of numbers in JSON.
pub(crate) fn numbers(list: &Value) -> Step<Vec<u64>> {
    let wrong = || breach(format_args!("no list of numbers: {list}"));
    let list = list.as_array().ok_or_else(wrong)?.iter();
    list.map(|number| number.as_u64().ok_or_else(wrong)).collect()
}

/// Parameters for a URL.
pub(crate) fn query(fields: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// A form with one file part called `file`, fields before and after it.
pub(crate) fn form(
    server: &Server,
    before: &[(String, String)],
    file: &[u8],
    after: &[(String, String)],
) -> Step<Request> {
    let mut body = Vec::new();
    for (name, value) in before {
        body.extend(field(name, value));
    }
    body.extend(file_part("file", "blob", file));
    for (name, value) in after {
        body.extend(field(name, value));
    }
    form_of(server, body)
}

/// A form out of parts that are already written.
pub(crate) fn form_of(server: &Server, mut parts: Vec<u8>) -> Step<Request> {
    parts.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    let request = Request::new("POST", &server.at("/upload")?);
    let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
    Ok(request.header("Content-Type", media_type).body(parts))
}

/// One text field of a form.
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let head = format!("Content-Disposition: form-data; name=\"{name}\"");
    format!("--{BOUNDARY}\r\n{head}\r\n\r\n{value}\r\n").into_bytes()
}

/// One file part of a form.
pub(crate) fn file_part(name: &str, filename: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"{filename}\"");
    let media_type = "Content-Type: application/octet-stream";
    let mut part = format!("--{BOUNDARY}\r\n{head}\r\n{media_type}\r\n\r\n").into_bytes();
    part.extend_from_slice(bytes);
    part.extend(b"\r\n");
    part
}
