//! docs/openapi.json against the running server: every path, method, status, header, parameter and
//! field of it is met, and nothing else.

use std::{cell::RefCell, collections::BTreeSet, fs, path::Path, thread, time::Duration};

use serde_json::{Value, json};

use crate::{
    chunks::{Parts, form, form_of, merge},
    client::{Answer, Conn, Request},
    server::Server,
    tus::{self, Upload},
};

const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// The document, and what of it was met.
struct Judge {
    document: Value,
    met: RefCell<BTreeSet<String>>,
}

fn text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    fs::read_to_string(path).unwrap()
}

impl Judge {
    fn new() -> Self {
        Self { document: serde_json::from_str(&text()).unwrap(), met: RefCell::default() }
    }

    fn meet(&self, what: String) {
        self.met.borrow_mut().insert(what);
    }

    #[track_caller]
    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(target) = value["$ref"].as_str() else { return value };
        let found = self.document.pointer(target.strip_prefix('#').unwrap());
        found.unwrap_or_else(|| panic!("{target} is not in the document"))
    }

    /// Asks, and holds request and answer against the document.
    #[track_caller]
    fn ask(&self, server: &Server, request: &Request, status: u16) -> Answer {
        let path = request.target.split('?').next().unwrap();
        let method = request.method.to_lowercase();
        let operation = &self.document["paths"][path][&method];
        assert!(operation.is_object(), "{method} {path} is not in the document");
        let name = format!("{method} {path}");
        self.hear(&name, operation, request, status);
        let answer = server.ask(request).expect(status);
        let (told, response) = match &operation["responses"][status.to_string()] {
            Value::Null => ("default".to_owned(), &operation["responses"]["default"]),
            response => (status.to_string(), response),
        };
        assert!(!response.is_null(), "{name} has no {status}");
        self.meet(format!("{name} {told}"));
        self.compare(self.resolve(response), &answer);
        answer
    }

    #[track_caller]
    fn hear(&self, name: &str, operation: &Value, request: &Request, status: u16) {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let parameters: Vec<_> = parameters.iter().map(|one| self.resolve(one)).collect();
        let query = request.target.split_once('?').map_or("", |(_, query)| query);
        let said = form_urlencoded::parse(query.as_bytes());
        let said: BTreeSet<String> = said.map(|(name, _)| name.into_owned()).collect();
        for parameter in &parameters {
            let called = parameter["name"].as_str().unwrap();
            let there = match parameter["in"].as_str().unwrap() {
                "query" => said.contains(called),
                _ => request.headers.iter().any(|(name, _)| name == called),
            };
            let required = parameter["required"] == true && status < 300;
            let in_form = request.body.starts_with(b"--");
            assert!(there || !required || in_form, "{name} lacks {called}");
            if there {
                self.meet(format!("{name} takes {called}"));
            }
        }
        for said in said {
            let known = parameters.iter().any(|one| one["in"] == "query" && one["name"] == *said);
            assert!(known, "{name} does not know {said}");
        }
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if !schema.is_null() && status < 300 {
            self.fits(schema, &serde_json::from_slice(&request.body).unwrap());
        }
    }

    #[track_caller]
    fn compare(&self, response: &Value, answer: &Answer) {
        let headers = response["headers"].as_object().into_iter().flatten();
        headers.for_each(|(name, _)| _ = answer.needs(name));
        let Some(content) = response["content"].as_object() else {
            let plain = answer.header("Content-Type").is_none_or(|kind| kind == "text/plain");
            assert!(plain || answer.body.is_empty(), "a body that the document lacks: {answer:?}");
            return;
        };
        let kind = answer.needs("Content-Type").split(';').next().unwrap().to_owned();
        let media = content.get(&kind).unwrap_or_else(|| panic!("{kind} is not in the document"));
        if let Some(schema) = media.get("schema") {
            self.fits(schema, &answer.json());
        }
    }

    /// Fits the schema, whose members are met by it.
    #[track_caller]
    fn fits(&self, schema: &Value, instance: &Value) {
        let whole = json!({ "allOf": [schema], "components": self.document["components"] });
        let validator = jsonschema::validator_for(&whole).unwrap();
        let errors: Vec<_> = validator.iter_errors(instance).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} in {instance}");
        self.meet_members(schema, instance);
    }

    fn meet_members(&self, schema: &Value, instance: &Value) {
        let name = schema["$ref"].as_str().and_then(|target| target.rsplit('/').next());
        let schema = self.resolve(schema);
        for alternative in schema["anyOf"].as_array().into_iter().flatten() {
            self.meet_members(alternative, instance);
        }
        let (Some(name), Some(members)) = (name, instance.as_object()) else { return };
        for (member, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            self.meet(format!("{name}.{member}"));
            self.meet_members(&schema["properties"][member], value);
        }
    }

    /// Everything that has to be met.
    fn all(&self) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for (path, operations) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let name = format!("{method} {path}");
                let statuses = operation["responses"].as_object().unwrap().keys();
                let statuses = statuses.filter(|status| *status != "default");
                all.extend(statuses.map(|status| format!("{name} {status}")));
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    let called = self.resolve(parameter)["name"].as_str().unwrap();
                    all.insert(format!("{name} takes {called}"));
                }
            }
        }
        for (name, schema) in self.document["components"]["schemas"].as_object().unwrap() {
            let members = schema["properties"].as_object().into_iter().flatten();
            all.extend(members.map(|(member, _)| format!("{name}.{member}")));
        }
        all
    }
}

fn post_json(target: &str, body: &Value) -> Request {
    Request::new("POST", target).header("Content-Type", "application/json").body(body.to_string())
}

fn other(parts: Request, target: &str) -> Request {
    Request { target: target.to_owned(), ..parts }
}

const UNKNOWN: &str = "hash=ffffffff";

/// Two uploads of one hash.
fn twins(server: &Server) {
    for name in ["one", "two"] {
        Parts::new("eeeeeeee", name, 6, "hello world!").send(server, 0);
    }
}

fn a_final_upload(server: &Server) -> String {
    let part = tus::create(6).header("Upload-Concat", "partial");
    let part = Upload::from_answer(server, &server.ask(&part).expect(201));
    part.patch(0, b"hello ").expect(204);
    let joined = tus::request("POST", "/files/")
        .header("Upload-Concat", format!("final;{}", part.url))
        .header("Content-Length", 0);
    Upload::from_answer(server, &server.ask(&joined).expect(201)).id().to_owned()
}

fn a_partial_upload(server: &Server) -> String {
    let part = tus::create(6).header("Upload-Concat", "partial");
    Upload::from_answer(server, &server.ask(&part).expect(201)).id().to_owned()
}

fn upload(judge: &Judge, server: &Server, method: &str, hash: &str) {
    let parts = Parts::new(hash, "a.bin", 6, "hello world!");
    let as_method = |request: Request| Request { method: method.to_owned(), ..request };
    let (put, target) = (as_method(parts.put(0)), parts.put(0).target);
    let digest = parts.digest(0);
    let all = other(put.clone(), &format!("{target}&sha256={digest}"))
        .header("sha256", &digest)
        .header("X-Chunk-SHA256", &digest)
        .header("Content-Digest", "sha-256=:XjI1qDRuWkWF+MWFYvUFK4/iajuxIuHpbHZ4SWTfxGE=:")
        .header("Content-MD5", "f814893777bcc2295fff05f00e508da6");
    judge.ask(server, &all, 201);
    judge.ask(server, &put, 200);
    judge.ask(server, &as_method(form(&parts.fields(1), parts.chunk(1), &[])), 201);
    judge.ask(server, &other(put.clone(), &target.replace("index=0", "index=x")), 400);
    judge.ask(server, &other(put.clone(), &target.replace("size=12", "size=13")), 409);
    let final_upload = format!("/upload?hash={}&index=0", a_final_upload(server));
    judge.ask(server, &other(put.clone(), &final_upload), 403);
    judge.ask(server, &put.clone().chunked(b"hello ", 6), 411);
    let conditions = put.clone().header("If-Match", "\"x\"").header("If-None-Match", "*");
    judge.ask(server, &conditions, 412);
    judge.ask(server, &put.clone().body("longer than six"), 413);
    let long = "x".repeat(9000);
    judge.ask(server, &other(put.clone(), &format!("{target}&filename={long}")), 414);
    judge.ask(server, &put.clone().set("Content-Type", "text/plain"), 415);

    let limited = Server::with(&["--max-uploads-per-ip=1", "--queue-wait=0s"]);
    let _running = stalled(&limited, &parts);
    judge.ask(&limited, &put, 429);
    let crowded = Server::with(&["--max-uploads=1", "--queue-wait=0s"]);
    let _running = stalled(&crowded, &parts);
    judge.ask(&crowded, &put, 503);

    let full = Server::start();
    parts.send(&full, 1);
    full.fill_disk();
    judge.ask(&full, &put, 507);
    for method in ["GET", "HEAD"] {
        judge.ask(&full, &Request::new(method, "/readyz"), 507);
    }
}

/// A chunk of which half is sent. It has its place: nobody is told to send before that.
#[track_caller]
fn stalled(server: &Server, parts: &Parts) -> Conn {
    let mut asking = parts.put(0).header("Expect", "100-continue");
    asking.body.clear();
    let mut connection = server.begin(&asking);
    assert_eq!(connection.head().unwrap().0, 100);
    connection.raw("hel");
    connection
}

/// A lock from outside, which keeps a finish waiting.
fn locked(upload: &Upload) -> fs::File {
    let ledger = fs::File::open(upload.ledger()).unwrap();
    ledger.lock().unwrap();
    ledger
}

fn ask_about(judge: &Judge, server: &Server) {
    let name = Parts::hello().name();
    let digest = Parts::hello().digest(0);
    for method in ["GET", "HEAD"] {
        let ask = |target: &str, status: u16| {
            judge.ask(server, &Request::new(method, target), status);
        };
        ask(&format!("/upload/check?{name}&index=0&sha256={digest}"), 200);
        ask("/upload/check?hash=eeeeeeee&index=0", 409);
        ask("/upload/check?hash=x&index=0", 400);
        ask(&format!("/upload/status?{name}"), 200);
        ask(&format!("/upload/status?upload_id={}&format=ranges", "0".repeat(32)), 200);
        ask("/upload/status?hash=eeeeeeee", 409);
        ask("/upload/status?hash=x", 400);
        for target in ["/healthz", "/readyz", "/metrics", "/openapi.json"] {
            ask(target, 200);
        }
    }
    let unknown = format!("/upload/check?{UNKNOWN}&index=0");
    judge.ask(server, &Request::new("GET", &unknown), 200);
    judge.ask(server, &Request::new("HEAD", &unknown), 404);
    let long = format!("{unknown}&filename={}", "x".repeat(9000));
    judge.ask(server, &Request::new("GET", &long), 414);
    let hidden = Server::with(&["--no-metrics"]);
    judge.ask(&hidden, &Request::new("GET", "/metrics"), 404);
}

fn begin(judge: &Judge, server: &Server) {
    let parts = Parts::new("abcdef01", "i.bin", 6, "hello world!");
    let body = json!({ "hash": "abcdef01", "filename": "i.bin", "size": 12, "chunk_size": 6,
        "total": 2, "chunks": [parts.digest(0), parts.digest(1)] });
    judge.ask(server, &post_json("/upload/init", &body), 201);
    judge.ask(server, &post_json("/upload/init", &body), 200);
    judge.ask(server, &post_json("/upload/init", &json!({ "size": -1 })), 400);
    let other_size = json!({ "hash": "abcdef01", "filename": "i.bin", "size": 13 });
    judge.ask(server, &post_json("/upload/init", &other_size), 409);
    judge.ask(server, &post_json("/upload/init", &json!({ "size": 1_u64 << 62 })), 413);
    judge.ask(server, &post_json("/upload/init", &body).set("Content-Type", "text/plain"), 415);
}

fn finish(judge: &Judge, server: &Server) {
    let parts = Parts::new("abcdef02", "m.bin", 6, "hello world!");
    let body = parts.merge_body();
    let with = |member: &str, value: Value| {
        let mut body = body.clone();
        body[member] = value;
        merge(&body)
    };
    judge.ask(server, &merge(&body), 404);
    parts.send(server, 0);
    judge.ask(server, &merge(&body), 409);
    parts.send(server, 1);
    judge.ask(server, &with("digest", json!(parts.digest(0))), 422);
    judge.ask(server, &with("digest", json!("x")), 400);
    judge.ask(server, &merge(&body).set("Content-Type", "text/plain"), 415);
    judge.ask(server, &merge(&body).body(vec![b' '; 800_000]), 413);
    let partial = json!({ "hash": a_partial_upload(server) });
    judge.ask(server, &merge(&partial), 403);
    let mut whole = body.clone();
    whole["chunks"] = json!([parts.digest(0), parts.digest(1)]);
    whole["digest_format"] = json!("raw");
    judge.ask(server, &merge(&whole), 201);
    judge.ask(server, &merge(&body), 200);
    judge.ask(server, &Request::new("GET", &format!("/upload/status?{}", parts.name())), 200);

    let behind = Parts::new("abcdef03", "b.bin", 6, "hello world!");
    behind.send_all(server);
    let lock = locked(&behind.as_upload(server));
    judge.ask(server, &merge(&behind.merge_body()).header("Prefer", "respond-async"), 202);
    lock.unlock().unwrap();
    let expiring = Server::with(&["--expire-after=1500ms"]);
    parts.send_all(&expiring);
    thread::sleep(Duration::from_millis(2500));
    judge.ask(&expiring, &merge(&body), 410);
    let auto = Server::with(&["--auto-merge"]);
    parts.send(&auto, 0);
    judge.ask(&auto, &parts.put(1), 201);
}

fn instant(judge: &Judge) {
    let server = Server::with(&["--instant"]);
    Parts::new("abcdef06", "held.bin", 6, "hello world!").send_all(&server);
    Parts::new("abcdef06", "held.bin", 6, "hello world!").merge(&server).expect(201);
    let ask = |body: &Value, status| {
        judge.ask(&server, &post_json("/upload/instant", body), status);
    };
    let begin = |name: &str| -> (Value, Value) {
        let parts = Parts::new("abcdef07", name, 6, "hello world!");
        let body = json!({ "hash": "abcdef07", "filename": name, "size": 12, "chunk_size": 6,
            "chunks": [parts.digest(0), parts.digest(1)] });
        let begun = judge.ask(&server, &post_json("/upload/init", &body), 201).json();
        let offer = &begun["instant"];
        let nonce = offer["nonce"].as_str().unwrap();
        let bytes = nonce.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap());
        let bytes = bytes.map(|pair| u8::from_str_radix(pair, 16).unwrap());
        let index = usize::try_from(offer["index"].as_u64().unwrap()).unwrap();
        let proven: Vec<u8> = bytes.chain(parts.chunk(index).iter().copied()).collect();
        let proof = crate::digest::sha256_hex(&proven);
        let named = json!({ "hash": "abcdef07", "filename": name, "nonce": nonce, "proof": proof });
        let by_id = json!({ "upload_id": begun["upload_id"], "nonce": nonce, "proof": proof });
        (named, by_id)
    };
    let (named, by_id) = begin("one");
    ask(&named, 201);
    ask(&by_id, 200);
    let (mut wrong, right) = begin("two");
    wrong["proof"] = json!("0".repeat(64));
    ask(&wrong, 403);
    ask(&right, 410);
    wrong["filename"] = Value::Null;
    ask(&wrong, 409);
    ask(&json!({ "nonce": "x" }), 400);
    let (_, by_id) = begin("three");
    let behind = post_json("/upload/instant", &by_id).header("Prefer", "respond-async");
    let lock = locked(&Parts::new("abcdef07", "three", 6, "hello world!").as_upload(&server));
    judge.ask(&server, &behind, 202);
    lock.unlock().unwrap();
    let named = post_json("/upload/instant", &named);
    judge.ask(&server, &named.clone().set("Content-Type", "text/plain"), 415);
    judge.ask(&server, &named.clone().body(vec![b' '; 800_000]), 413);
    judge.ask(&Server::start(), &named, 404);
}

// spec: CHUNK-37
#[test]
fn the_document_and_the_server_say_the_same() {
    let judge = Judge::new();
    let server = Server::with(&["--max-size=1GiB"]);
    upload(&judge, &server, "POST", "0123456789abcdef");
    upload(&judge, &server, "PUT", "abcdef04");
    twins(&server);
    ask_about(&judge, &server);
    begin(&judge, &server);
    finish(&judge, &server);
    instant(&judge);
    let delete = |query: &str| Request::new("DELETE", &format!("/upload?{query}"));
    judge.ask(&server, &delete(&Parts::hello().name()), 204);
    judge.ask(&server, &delete("hash=eeeeeeee"), 409);
    judge.ask(&server, &delete("hash=x"), 400);
    let chunk_form = Parts::new("abcdef05", "f.bin", 6, "hello world!");
    let mut fields = chunk_form.fields(0);
    fields.push(("sha256".to_owned(), chunk_form.digest(0)));
    let sent: Vec<_> = fields.iter().map(|(name, _)| name.clone()).collect();
    judge.ask(&server, &form(&fields, chunk_form.chunk(0), &[]), 201);
    for name in sent {
        judge.meet(format!("ChunkForm.{name}"));
    }
    judge.meet("ChunkForm.file".to_owned());
    judge.ask(&server, &form_of(Vec::new()), 400);

    let met = judge.met.borrow();
    let unmet: Vec<_> = judge.all().into_iter().filter(|what| !met.contains(what)).collect();
    assert!(unmet.is_empty(), "in the document, and never met: {unmet:#?}");
}

// spec: CHUNK-37: the methods of each path are those of the document.
#[test]
fn every_path_knows_the_methods_of_the_document() {
    let (judge, server) = (Judge::new(), Server::with(&["--instant"]));
    for (path, operations) in judge.document["paths"].as_object().unwrap() {
        let known: BTreeSet<_> = operations.as_object().unwrap().keys().cloned().collect();
        for method in METHODS.iter().filter(|method| !known.contains(&method.to_lowercase())) {
            let refused = server.ask(&Request::new(method, path)).expect(405);
            let allowed = refused.needs("Allow").split(", ").map(str::to_lowercase);
            assert_eq!(allowed.collect::<BTreeSet<_>>(), known, "{method} {path}");
            if *method != "HEAD" {
                judge.fits(&json!({ "$ref": "#/components/schemas/Problem" }), &refused.json());
            }
        }
    }
}

// spec: CHUNK-37: it is served as it stands in the tree.
#[test]
fn the_document_is_served() {
    let answer = Server::start().ask(&Request::new("GET", "/openapi.json")).expect(200);
    assert_eq!(String::from_utf8(answer.body).unwrap(), text());
}
