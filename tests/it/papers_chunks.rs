//! docs/chunk-flow.md: what it shows is run.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use crate::{random::Random, server::Server};

fn paper() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/chunk-flow.md");
    fs::read_to_string(path).unwrap()
}

/// All blocks of a language, one behind the other.
fn blocks(language: &str) -> String {
    let paper = paper();
    let opened = format!("```{language}\n");
    let blocks = paper.split(&opened).skip(1).map(|rest| rest.split("```").next().unwrap());
    let blocks: String = blocks.collect();
    assert!(!blocks.is_empty(), "no block of {language}");
    blocks
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{status}\n{out}\n{err}");
    out.into_owned()
}

#[test]
fn the_session_with_curl_is_as_told() {
    let server = Server::with(&["--instant", "--chunk-size=8MiB"]);
    let folder = tempfile::tempdir().unwrap();
    let default = "server=http://127.0.0.1:8080\n";
    let script = blocks("sh");
    assert!(script.starts_with(default));
    let script = script.replace(default, &format!("server=http://{}\n", server.address()));
    let script = format!("set -e -o pipefail\n{script}");
    let said = run(Command::new("bash").args(["-c", &script]).current_dir(folder.path()));
    for told in [
        "\"chunk_size\":8388608",
        "\"missing\":[0,1,2]",
        "\n404\n",
        "\"missing\":[1]",
        "\"mergeable\":true",
        "\"state\":\"merged\"",
        "\"instant\":{\"nonce\":\"",
        "\"filename\":\"copy-",
    ] {
        assert!(said.contains(told), "{told} is not in:\n{said}");
    }
    let (files, sent) = (server.finished(), fs::read(folder.path().join("movie.bin")).unwrap());
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(|file| fs::read(file).unwrap() == sent));
}

/// Uploads a file by the script, which is called twice: the second time nothing is sent.
const CALL: &str = r#"
const file = new File([require("fs").readFileSync(process.argv[1])], "page.bin");
const options = { server: process.argv[2], chunkSize: 65536, parallel: 3 };
let chunks = 0;
const real = fetch;
globalThis.fetch = (url, asked) => {
  chunks += String(url).includes("/upload?") ? 1 : 0;
  return real(url, asked);
};
(async () => {
  const first = await upload(file, options);
  const sent = chunks;
  const second = await upload(file, options);
  console.log(JSON.stringify({ same: first === second, sent, again: chunks - sent }));
})();
"#;

#[test]
fn the_script_of_the_page_uploads_and_resumes() {
    let script = blocks("js");
    assert!(script.lines().count() <= 45, "{} lines", script.lines().count());
    let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
    let bytes = Random::seeded(11).bytes(500_000);
    let path = folder.path().join("page.bin");
    fs::write(&path, &bytes).unwrap();
    let url = format!("http://{}", server.address());
    let mut node = Command::new("node");
    node.args(["-e", &format!("{script}{CALL}"), path.to_str().unwrap(), &url]);
    let told: serde_json::Value = serde_json::from_str(&run(&mut node)).unwrap();
    assert_eq!(told, serde_json::json!({ "same": true, "sent": 8, "again": 0 }));
    assert!(server.the_file() == bytes);
}
