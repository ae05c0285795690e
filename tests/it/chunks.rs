//! The chunk flow in the words of the tests.

use serde_json::{Value, json};

use crate::{
    client::{Answer, Request},
    digest::{composite, sha256_hex},
    server::Server,
    tus::Upload,
};

/// The boundary of all forms.
const BOUNDARY: &str = "----piton-8f2e1c";

/// A file as an index client sees it.
#[derive(Debug, Clone)]
pub struct Parts {
    pub hash: String,
    pub filename: Option<String>,
    pub chunk_size: usize,
    pub total: usize,
    pub bytes: Vec<u8>,
}

impl Parts {
    /// A file in chunks of `chunk_size`, the last one shorter.
    pub fn new(hash: &str, filename: &str, chunk_size: usize, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self {
            hash: hash.to_owned(),
            filename: Some(filename.to_owned()),
            chunk_size,
            total: bytes.len().div_ceil(chunk_size).max(1),
            bytes,
        }
    }

    /// The base case of the tables: `hello world!` in two chunks of six.
    pub fn hello() -> Self {
        Self::new("0123456789abcdef", "a.bin", 6, "hello world!")
    }

    /// The same file cut so that its last chunk is longer than the others.
    #[must_use]
    pub fn with_total(mut self, total: usize) -> Self {
        self.total = total;
        self
    }

    /// The bytes of one chunk.
    pub fn chunk(&self, index: usize) -> &[u8] {
        let from = index * self.chunk_size;
        let to = if index + 1 == self.total { self.bytes.len() } else { from + self.chunk_size };
        &self.bytes[from..to]
    }

    /// All chunks in order.
    pub fn chunks(&self) -> Vec<&[u8]> {
        (0..self.total).map(|index| self.chunk(index)).collect()
    }

    /// The digest over the raw digests.
    pub fn composite(&self) -> String {
        composite(&self.chunks())
    }

    /// The parameters of one chunk.
    pub fn fields(&self, index: usize) -> Vec<(String, String)> {
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
    pub fn put(&self, index: usize) -> Request {
        self.put_bytes(index, self.chunk(index))
    }

    /// A raw PUT of any bytes as that chunk.
    pub fn put_bytes(&self, index: usize, bytes: &[u8]) -> Request {
        Request::new("POST", &format!("/upload?{}", query(&self.fields(index))))
            .header("Content-Type", "application/octet-stream")
            .body(bytes)
    }

    /// A form that brings one chunk, its fields before the file.
    pub fn put_form(&self, index: usize) -> Request {
        form(&self.fields(index), self.chunk(index), &[])
    }

    /// Sends one chunk raw.
    #[track_caller]
    pub fn send(&self, server: &Server, index: usize) -> Answer {
        server.ask(&self.put(index)).expect(201)
    }

    /// Sends all chunks raw, in order.
    #[track_caller]
    pub fn send_all(&self, server: &Server) {
        for index in 0..self.total {
            self.send(server, index);
        }
    }

    /// `GET /upload/check`.
    #[track_caller]
    pub fn check(&self, server: &Server, index: usize) -> Value {
        let target = format!("/upload/check?{}&index={index}", self.name());
        server.ask(&Request::new("GET", &target)).expect(200).json()
    }

    /// `GET /upload/status`.
    #[track_caller]
    pub fn status(&self, server: &Server) -> Value {
        server.ask(&self.status_request()).expect(200).json()
    }

    /// `GET /upload/status` as a request.
    pub fn status_request(&self) -> Request {
        Request::new("GET", &format!("/upload/status?{}", self.name()))
    }

    /// The indexes that status lists as stored.
    #[track_caller]
    pub fn uploaded(&self, server: &Server) -> Vec<u64> {
        numbers(&self.status(server)["uploaded"])
    }

    /// The upload as tus sees it.
    #[track_caller]
    pub fn as_upload<'a>(&self, server: &'a Server) -> Upload<'a> {
        let status = self.status(server);
        let id = status["upload_id"].as_str().unwrap_or_else(|| panic!("no upload_id: {status}"));
        Upload { server, url: format!("/files/{id}") }
    }

    /// The body of a merge with the right digest.
    pub fn merge_body(&self) -> Value {
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
    #[track_caller]
    pub fn merge(&self, server: &Server) -> Answer {
        server.ask(&merge(&self.merge_body()))
    }

    /// `DELETE /upload`.
    pub fn delete(&self) -> Request {
        Request::new("DELETE", &format!("/upload?{}", self.name()))
    }

    /// `hash` and, where there is one, `filename`.
    pub fn name(&self) -> String {
        let mut fields = vec![("hash".to_owned(), self.hash.clone())];
        if let Some(name) = &self.filename {
            fields.push(("filename".to_owned(), name.clone()));
        }
        query(&fields)
    }

    /// The digest of one chunk, in hex.
    pub fn digest(&self, index: usize) -> String {
        sha256_hex(self.chunk(index))
    }
}

/// `POST /merge` with this body.
pub fn merge(body: &Value) -> Request {
    Request::new("POST", "/merge").header("Content-Type", "application/json").body(body.to_string())
}

/// A list of numbers in JSON.
#[track_caller]
pub fn numbers(list: &Value) -> Vec<u64> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter().map(|number| number.as_u64().unwrap()).collect()
}

/// Parameters for a URL.
pub fn query(fields: &[(String, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// A form with one file part called `file`, fields before and after it.
pub fn form(before: &[(String, String)], file: &[u8], after: &[(String, String)]) -> Request {
    let mut body = Vec::new();
    for (name, value) in before {
        body.extend(field(name, value));
    }
    body.extend(file_part("file", "blob", file));
    for (name, value) in after {
        body.extend(field(name, value));
    }
    form_of(body)
}

/// A form out of parts that are already written.
pub fn form_of(mut parts: Vec<u8>) -> Request {
    parts.extend(format!("--{BOUNDARY}--\r\n").into_bytes());
    Request::new("POST", "/upload")
        .header("Content-Type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(parts)
}

/// One text field of a form.
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let head = format!("Content-Disposition: form-data; name=\"{name}\"");
    format!("--{BOUNDARY}\r\n{head}\r\n\r\n{value}\r\n").into_bytes()
}

/// One file part of a form.
pub fn file_part(name: &str, filename: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!("Content-Disposition: form-data; name=\"{name}\"; filename=\"{filename}\"");
    let media_type = "Content-Type: application/octet-stream";
    let mut part = format!("--{BOUNDARY}\r\n{head}\r\n{media_type}\r\n\r\n").into_bytes();
    part.extend_from_slice(bytes);
    part.extend(b"\r\n");
    part
}
