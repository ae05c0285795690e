//! Routes and path tricks (the rest of section 2 of the page).

use std::{collections::BTreeSet, fs};

use crate::{
    case::{Case, case},
    disk::snapshot,
    judge::Judge,
    server::{Http, Server},
    stop::{At, Step, ensure, same},
    tus::{Upload, append, create, patch, request},
    wire::Request,
};

pub(crate) const CASES: &[Case] = &[
    case("TUS-CORE-13", lists_what_is_allowed).says(
        "The origin server MUST generate an Allow header field in a 405 response containing a list \
         of the target resource's currently supported methods. (RFC 9110 §15.5.6)",
    ),
    case("TUS-CORE-14", takes_a_slash_at_the_end),
    case("TUS-CORE-15", takes_a_path_for_no_more_than_an_id),
    case("TUS-CORE-16", breaks_on_no_path),
    case("TUS-CORE-17", gives_ids_that_cannot_be_guessed),
];

fn lists_what_is_allowed(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let upload = Upload::hello(server)?;
    let on_files = ["GET", "HEAD", "PATCH", "DELETE", "PUT"].map(|one| (one, server.files()));
    let on_upload = ["POST", "PUT", "FOO"].map(|one| (one, upload.url.as_str()));
    for (method, target) in on_files.into_iter().chain(on_upload) {
        let answer = server.ask(&request(method, target))?;
        let at = format!("{method} {target}");
        if answer.status == 405 {
            let allowed = answer.list("Allow");
            let told = answer.header("Allow").is_some();
            answer.ensure(told, "405 without Allow").at(&at)?;
            let same = allowed.iter().any(|one| one == method);
            answer.ensure(!same, format_args!("405, and {allowed:?} allows it")).at(&at)?;
        }
        let fine = answer.status == 405 || method == "FOO" && answer.status == 501;
        let status = answer.status;
        judge.ours(answer.ensure(fine, format_args!("the status is {status}, not 405")).at(&at))?;
    }
    judge.ours(upload.is_at(5))?;
    Ok(())
}

fn takes_a_slash_at_the_end(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let bare = server.files().trim_end_matches('/').to_owned();
    let spellings = [bare.clone(), format!("{bare}/")];
    for target in spellings.iter().filter(|target| !target.is_empty()) {
        let asked = request("POST", target).header("Upload-Length", 11);
        let made = server.ask(&asked)?.expect(201).at(format_args!("POST {target}"))?;
        let upload = Upload::from_answer(server, &made)?;
        let slashed = format!("{}/", upload.url.trim_end_matches('/'));
        let patched = server.ask(&patch(&slashed, 0, "hello world"))?.expect(204)?;
        patched.has("Upload-Offset", 11)?;
        let head = server.ask(&request("HEAD", &slashed))?.expect_one(&[200, 204])?;
        head.has("Upload-Offset", 11)?;
        let plain = upload.get()?;
        let file = server.ask(&Request::new("GET", &slashed))?.expect(plain.status)?;
        file.ensure(file.body == plain.body, "another body than without the slash")?;
        let plain = server.ask(&request("OPTIONS", &upload.url))?;
        server.ask(&request("OPTIONS", &slashed))?.expect(plain.status)?;
        if judge.offers("termination") {
            server.ask(&request("DELETE", &slashed))?.expect(204)?;
        }
    }
    Ok(())
}

/// Requests of all kinds for one target.
fn all_kinds(target: &str) -> [Request; 4] {
    [
        request("HEAD", target),
        Request::new("GET", target),
        patch(target, 5, " world"),
        request("DELETE", target),
    ]
}

/// Names that lead elsewhere, or to a file that may lie in the store.
fn tricks(id: &str) -> Vec<String> {
    let mut names: Vec<String> = [
        "..%2F..%2Fetc%2Fpasswd",
        "..%2F..%2Fpasswd",
        "../x",
        "../../passwd",
        "%2e%2e",
        "%252e%252e%252fpasswd",
        "a/b",
        "\\..\\x",
        "%zz",
        "a%2",
    ]
    .map(str::to_owned)
    .to_vec();
    names.extend([format!("{id}.ledger"), format!("{id}/0.part"), format!("{id}.info")]);
    names.extend([format!("./{id}"), format!("x/../{id}"), format!("%2e/{id}")]);
    let upper = id.to_ascii_uppercase();
    if upper != id {
        names.push(upper);
    }
    names
}

fn takes_a_path_for_no_more_than_an_id(judge: &Judge<'_>) -> Step {
    plays_tricks(judge.server)?;
    let server = judge.then_start(&[])?;
    fs::write(server.around()?.join("passwd"), "sentinel")?;
    let done = Upload::finished(&server)?;
    let open = Upload::hello(&server)?;
    let data = server.data()?;
    let before = snapshot(&data);
    for name in tricks(open.id()).into_iter().chain(tricks(done.id())) {
        for asked in all_kinds(&beneath(&server, &name)) {
            let answer = server.ask(&asked)?;
            let sentinel = answer.body.windows(8).any(|bytes| bytes == b"sentinel");
            answer.ensure(!sentinel, "a file outside is handed out").at(&asked.target)?;
        }
    }
    ensure(snapshot(&data) == before, "files of the store have changed")?;
    let sentinel = fs::read(server.around()?.join("passwd"))?;
    ensure(sentinel == b"sentinel", "a file beside the store has changed")?;
    open.is_at(5)?;
    done.is_file(b"hello world")
}

fn beneath(server: &Server, name: &str) -> String {
    format!("{}/{name}", server.files().trim_end_matches('/'))
}

fn plays_tricks(server: &Server) -> Step {
    let upload = Upload::hello(server)?;
    for name in tricks(upload.id()) {
        let broken = ["%zz", "a%2"].contains(&name.as_str());
        let right: &[u16] = if broken { &[404, 400] } else { &[404] };
        for asked in all_kinds(&beneath(server, &name)) {
            let at = format!("{} {}", asked.method, asked.target);
            server.ask(&asked)?.expect_one(right).at(at)?.lacks("Location")?;
        }
    }
    upload.is_at(5)
}

fn breaks_on_no_path(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let long = "a".repeat(5_000);
    for name in ["%00", "a%00b", "%ff", &long] {
        for asked in all_kinds(&beneath(server, name)) {
            let shown = name.get(..10).unwrap_or(name);
            server.ask(&asked)?.expect(404).at(format_args!("{} {shown}", asked.method))?;
        }
    }
    // In HTTP/2 the limit is that of the whole head, and belongs to the connection.
    let endless = server.in_http(Http::One).ask(&append(&beneath(server, &"a".repeat(100_000)), 0));
    endless?.expect_one(&[404, 414]).at("100 kB")?;
    Upload::new(server, 1).map(|_| ())
}

fn gives_ids_that_cannot_be_guessed(judge: &Judge<'_>) -> Step {
    // Not for what is asked, only to ask it quickly.
    let quick = judge.start(&["--durability=none"]).ok();
    let server = quick.as_ref().unwrap_or(judge.server);
    let mut ids = BTreeSet::new();
    for number in 0..1000 {
        let answer = server.ask(&create(server, 11))?.expect(201).at(format_args!("{number}"))?;
        ids.insert(Upload::from_answer(server, &answer)?.id().to_owned());
    }
    same("the number of different ids", &ids.len(), &1000)?;
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    for id in &ids {
        ensure(id.len() >= 22, format_args!("{id} has less than 22 characters"))?;
        ensure(id.bytes().all(safe), format_args!("{id} has characters that URLs escape"))?;
    }
    // A growing part makes most of a thousand ids share four characters with their neighbours.
    let first: BTreeSet<_> = ids.iter().filter_map(|id| id.get(..4)).collect();
    let last: BTreeSet<_> =
        ids.iter().filter_map(|id| id.get(id.len().checked_sub(4)?..)).collect();
    for (different, of) in [(first.len(), "beginnings"), (last.len(), "endings")] {
        ensure(different > 900, format_args!("only {different} different {of} of 1000"))?;
    }
    Ok(())
}
