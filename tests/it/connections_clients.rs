//! Early answers, as clients see them that others wrote: each must tell the status, not a reset.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use crate::{
    client::Request,
    connections_early::refused_with_30_mb,
    secure::Pair,
    server::Server,
    tus::{append, create},
};

const PYTHON: &str = r"
import json, ssl, sys, urllib.request, urllib.error
url, body, headers, trusted = sys.argv[1:5]
context = ssl.create_default_context(cafile=trusted) if trusted else None
request = urllib.request.Request(
    url, data=open(body, 'rb').read(), method='PATCH', headers=json.loads(headers))
try:
    print(urllib.request.urlopen(request, context=context).status)
except urllib.error.HTTPError as error:
    print(error.code)
";

const NODE: &str = r"
const [url, body, headers] = process.argv.slice(1);
fetch(url, {
  method: 'PATCH', body: require('fs').readFileSync(body), headers: JSON.parse(headers),
}).then((answer) => console.log(answer.status), (error) => console.log(error.cause ?? error));
";

/// Makes curl send its body without waiting for 100.
const AT_ONCE: &str = "Expect:";

/// What a client is to send, and where.
struct Sent {
    request: Request,
    url: String,
    body: PathBuf,
    trusted: Option<PathBuf>,
}

impl Sent {
    fn headers(&self) -> impl Iterator<Item = &(String, String)> {
        let computed = ["host", "content-length"];
        let given = self.request.headers.iter();
        given.filter(move |(name, _)| !computed.contains(&name.to_lowercase().as_str()))
    }

    fn json(&self) -> String {
        let headers = self.headers().map(|(name, value)| (name.clone(), value.clone().into()));
        serde_json::Value::Object(headers.collect()).to_string()
    }

    fn python(&self) -> Command {
        let mut command = Command::new("python3");
        let trusted = self.trusted.clone().unwrap_or_default();
        command.args(["-c", PYTHON, &self.url]).arg(&self.body).arg(self.json()).arg(trusted);
        command
    }

    fn node(&self) -> Command {
        let mut command = Command::new("node");
        command.args(["-e", NODE, &self.url]).arg(&self.body).arg(self.json());
        if let Some(trusted) = &self.trusted {
            command.env("NODE_EXTRA_CA_CERTS", trusted);
        }
        command
    }

    fn curl(&self, version: &str, expect: &str) -> Command {
        let mut command = Command::new("curl");
        command.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", version, "-X", "PATCH"]);
        command.args(["-H", expect]);
        for (name, value) in self.headers() {
            command.args(["-H", &format!("{name}: {value}")]);
        }
        command.args(["--data-binary", &format!("@{}", self.body.display())]);
        if let Some(trusted) = &self.trusted {
            command.arg("--cacert").arg(trusted);
        }
        command.arg(&self.url);
        command
    }
}

/// Whether a tool is on this machine; a test without it says so.
fn is_there(tool: &str) -> bool {
    let there = Command::new(tool)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        println!("skipped: {tool} is not on this machine");
    }
    there
}

/// Sends each request that is refused while 30 MB are on the way; the client must tell the status.
#[track_caller]
fn hears_each_refusal(tool: &str, pair: Option<&Pair>, client: impl Fn(&Sent) -> Command) {
    if !is_there(tool) {
        return;
    }
    let server = pair.map_or_else(Server::start, |pair| pair.server(&[]));
    let body = server.around().join("body");
    fs::write(&body, vec![7; 30_000_000]).unwrap();
    let refused = match pair {
        None => refused_with_30_mb(&server),
        // Inside TLS the answer takes the same way for each refusal.
        Some(_) => vec![(append("/files/00000000000000000000000000000000", 0), 404)],
    };
    for (request, status) in refused {
        let host = if pair.is_some() { "localhost" } else { "127.0.0.1" };
        let (scheme, port) = (server.scheme(), server.address().port());
        let url = format!("{scheme}://{host}:{port}{}", request.target);
        let trusted = pair.map(Pair::cert_file);
        let mut command = client(&Sent { request, url, body: body.clone(), trusted });
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said.trim(), status.to_string(), "{tool}: {complaint}");
    }
    drop(server);
}

// rows: CONN-01
// spec: CORE-8
#[test]
fn python_hears_an_early_answer() {
    hears_each_refusal("python3", None, Sent::python);
    hears_each_refusal("python3", Some(&Pair::new()), Sent::python);
}

// rows: CONN-01
// spec: CORE-8
#[test]
fn node_hears_an_early_answer() {
    hears_each_refusal("node", None, Sent::node);
    hears_each_refusal("node", Some(&Pair::new()), Sent::node);
}

// rows: CONN-01
// spec: CORE-8
#[test]
fn curl_hears_an_early_answer() {
    hears_each_refusal("curl", None, |sent| sent.curl("--http1.1", AT_ONCE));
    hears_each_refusal("curl", Some(&Pair::new()), |sent| sent.curl("--http1.1", AT_ONCE));
}

// rows: CONN-01
// spec: CORE-8, CORE-61
#[test]
fn curl_hears_an_early_answer_on_http2() {
    hears_each_refusal("curl", None, |sent| sent.curl("--http2-prior-knowledge", AT_ONCE));
    hears_each_refusal("curl", Some(&Pair::new()), |sent| sent.curl("--http2", AT_ONCE));
}

// rows: CONN-03
// spec: CORE-9, CORE-69
#[test]
fn curl_is_asked_to_go_on() {
    if !is_there("curl") {
        return;
    }
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let server = Server::start();
        let length = 3_000_000;
        let url = server.ask(&create(length)).expect(201).needs("Location").to_owned();
        let body = server.around().join("body");
        fs::write(&body, vec![7; length as usize]).unwrap();
        let request = append(&url, 0);
        let url = format!("http://{}{url}", server.address());
        let sent = Sent { request, url, body, trusted: None };
        let mut command = sent.curl(version, "Expect: 100-continue");
        command.args(["--expect100-timeout", "5", "-m", "20"]);
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "204", "{version}");
        assert!(server.the_file() == vec![7; length as usize]);
    }
}
