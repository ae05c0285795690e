//! The chunk flow in the words of the cases.

use serde_json::{Value, json};

use crate::{
    digest::{composite, composite_of_hex, sha256_hex},
    random::Random,
    server::Server,
    stop::{Step, breach},
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

    /// The digest over the digests in hex, itself in hex.
    pub(crate) fn composite_of_hex(&self) -> String {
        composite_of_hex(&self.chunks())
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
