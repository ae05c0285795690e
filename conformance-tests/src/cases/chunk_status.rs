//! Chunk flow: status (section 23 of the page).

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    case::{Case, case},
    judge::Judge,
    parts::{Parts, has_members, merge, numbers},
    random::Random,
    server::{Http, Server},
    stop::{At, Step, breach, ensure, same},
    wire::{Answer, Request},
};

pub(crate) const CASES: &[Case] = &[
    case("CHUNK-STATUS-01", of_what_is_not_there_nothing_is_stored),
    case("CHUNK-STATUS-02", it_tells_what_is_there_and_what_is_missing),
    case("CHUNK-STATUS-03", it_tells_the_phase),
    // It measures a time.
    case("CHUNK-STATUS-04", by_id_it_is_the_same).alone(),
    case("CHUNK-STATUS-05", it_must_be_clear_which_upload_is_meant),
];

fn ask(server: &Server, query: &str) -> Step<Answer> {
    server.ask(&Request::new("GET", &server.at(&format!("/upload/status?{query}"))?))
}

fn is_none(status: &Value) -> Step {
    has_members(status, &json!({"state": "none", "uploaded": []}))
}

fn of_what_is_not_there_nothing_is_stored(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello());
    is_none(&parts.status(server)?).at("unknown hash")?;
    for unknown in ["0".repeat(32), "f".repeat(32)] {
        let status = ask(server, &format!("upload_id={unknown}"))?.expect(200)?.json()?;
        is_none(&status).at("unknown upload_id")?;
    }
    parts.send(server, 0)?;
    let id = parts.status(server)?["upload_id"].clone();
    let id = id.as_str().unwrap_or_default();
    parts.delete(server)?.expect(204)?;
    is_none(&parts.status(server)?).at("after DELETE")?;
    let status = ask(server, &format!("upload_id={id}"))?.expect(200)?.json()?;
    is_none(&status).at("after DELETE, by upload_id")?;
    let server = judge.then_start(&["--expire-after=1s", "--reap-every=1s"])?;
    parts.send(&server, 0)?;
    thread::sleep(Duration::from_millis(1200));
    is_none(&parts.status(&server)?).at("after expiry")?;
    thread::sleep(Duration::from_millis(1500));
    is_none(&parts.status(&server)?).at("after expiry, and swept")
}

fn it_tells_what_is_there_and_what_is_missing(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let parts = Parts::new("a.bin", 5, "hello world and");
    parts.send(server, 2)?;
    parts.send(server, 0)?;
    let status = parts.status(server)?;
    let expected = json!({
        "hash": parts.hash,
        "filename": "a.bin",
        "state": "receiving",
        "uploaded": [0, 2],
        "missing": [1],
        "total": 3,
        "chunk_size": 5,
        "size": 15,
        "received_bytes": 10,
        "mergeable": false,
        "result": null,
    });
    has_members(&status, &expected)?;
    let id = status["upload_id"].as_str().unwrap_or_default();
    ensure(!id.is_empty(), format_args!("no upload_id in {status}"))?;
    for member in ["last_upload_at", "expires_at"] {
        let time = status[member].as_str().unwrap_or_default();
        ensure(is_rfc_3339(time), format_args!("{member} is {time:?}, no time of RFC 3339"))?;
    }
    let (last, ends) = (&status["last_upload_at"], &status["expires_at"]);
    let what = format!("it expires at {ends} and was sent at {last}");
    ensure(last.as_str() < ends.as_str(), what)
}

/// `2026-01-31T23:59:59Z`, perhaps with a fraction, or with an offset for the `Z`.
fn is_rfc_3339(time: &str) -> bool {
    let Some((date, rest)) = time.split_at_checked(19) else { return false };
    let shape = date.bytes().zip("0000-00-00T00:00:00".bytes());
    let date = shape.into_iter().all(|(byte, model)| match model {
        b'0' => byte.is_ascii_digit(),
        _ => byte.eq_ignore_ascii_case(&model),
    });
    let fraction = rest.strip_prefix('.').unwrap_or(rest);
    let zone = fraction.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let offset = |text: &str| {
        let shape = text.bytes().zip("00:00".bytes());
        text.len() == 5 && shape.into_iter().all(|(byte, model)| (model == b':') == (byte == b':'))
    };
    date && (zone.eq_ignore_ascii_case("z") || zone.strip_prefix(['+', '-']).is_some_and(offset))
}

fn it_tells_the_phase(judge: &Judge<'_>) -> Step {
    let (server, parts) = (judge.server, Parts::hello());
    parts.send_all(server)?;
    let complete = json!({
        "state": "mergeable", "mergeable": true, "uploaded": [0, 1], "missing": [], "result": null,
    });
    has_members(&parts.status(server)?, &complete).at("all there")?;
    let mut wrong = parts.merge_body();
    wrong["digest"] = json!("0".repeat(64));
    server.ask(&merge(server, &wrong)?)?.expect(422)?;
    has_members(&parts.status(server)?, &complete).at("digest mismatch")?;
    let answer = parts.merge(server)?.expect(201)?.json()?;
    let merged = json!({"state": "merged", "result": answer});
    has_members(&parts.status(server)?, &merged).at("merged")
}

fn by_id_it_is_the_same(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let parts = Parts::new("a.bin", 3, "hello world!");
    for index in [0, 1, 3] {
        parts.send(server, index)?;
    }
    let status = parts.status(server)?;
    let id = status["upload_id"].as_str().unwrap_or_default();
    let by_id = ask(server, &format!("upload_id={id}"))?.expect(200)?.json()?;
    same("the status by upload_id", &by_id, &status)?;
    for query in [format!("upload_id={id}"), parts.name()] {
        let ranges = ask(server, &format!("{query}&format=ranges"))?.expect(200)?.json()?;
        has_members(&ranges, &json!({"uploaded": "0-1,3", "missing": "2"})).at("ranges")?;
    }
    ten_thousand_chunks(server)
}

/// Of 10,000 chunks every 25th is there, sent in any order: what costs is the list, not its name.
fn ten_thousand_chunks(server: &Server) -> Step {
    let mut random = Random::fresh();
    let parts = Parts::new("a.bin", 1, random.bytes(10_000));
    let order = (0..400).map(|nth| 25 * nth + 7).collect::<Vec<_>>();
    send_side_by_side(server, &parts, &random.shuffled(order))?;
    let (there, missing): (Vec<u64>, Vec<u64>) = (0..10_000).partition(|index| index % 25 == 7);
    let mut best = Duration::MAX;
    for _ in 0..5 {
        let since = Instant::now();
        let status = parts.status(server)?;
        best = best.min(since.elapsed());
        ensure(numbers(&status["uploaded"])? == there, "of 10,000 chunks uploaded is wrong")?;
        ensure(numbers(&status["missing"])? == missing, "of 10,000 chunks missing is wrong")?;
    }
    let what = format!("the status of 10,000 chunks takes {best:?}, not less than 100 ms");
    ensure(best < Duration::from_millis(100), what)
}

fn send_side_by_side(server: &Server, parts: &Parts, indexes: &[usize]) -> Step {
    thread::scope(|scope| {
        let senders = indexes
            .chunks(indexes.len().div_ceil(4))
            .map(|mine| scope.spawn(move || send_on_one_connection(server, parts, mine)));
        let senders: Vec<_> = senders.collect();
        let ended = |sent: thread::Result<Step>| sent.map_err(|_| breach("a sender broke"))?;
        senders.into_iter().try_for_each(|sender| ended(sender.join()))
    })
}

fn send_on_one_connection(server: &Server, parts: &Parts, indexes: &[usize]) -> Step {
    let stored = |answer: Answer| answer.expect_one(&[200, 201]).map(|_| ());
    if server.http() == Http::Two {
        let mut connection = server.connect_h2()?;
        return indexes
            .iter()
            .try_for_each(|&index| stored(connection.ask(&parts.put(server, index)?)?));
    }
    let mut connection = server.connect()?;
    indexes.iter().try_for_each(|&index| stored(connection.ask(&parts.put(server, index)?)?))
}

fn it_must_be_clear_which_upload_is_meant(judge: &Judge<'_>) -> Step {
    let (server, first) = (judge.server, Parts::hello());
    let second = first.clone().with_name(Some("b.bin"));
    first.send(server, 0)?;
    second.send(server, 0)?;
    for query in ["", "filename=a.bin"] {
        let answer = ask(server, query)?.expect(400)?;
        answer.is_problem().at("neither hash nor upload_id")?;
    }
    for hash in ["xyz", "", "0123456", "..", &"a".repeat(65)] {
        let answer = ask(server, &format!("hash={hash}"))?;
        answer.refused_as(400, "invalid-hash").at(format_args!("hash={hash}"))?;
    }
    let nameless = ask(server, &format!("hash={}", first.hash))?;
    nameless.refused_as(409, "ambiguous-upload").map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_rfc_3339_are_told_from_others() {
        for good in
            ["2026-01-31T23:59:59Z", "2026-01-31T23:59:59.123Z", "2026-01-31t23:59:59+01:00"]
        {
            assert!(is_rfc_3339(good), "{good}");
        }
        for wrong in
            ["", "2026-01-31", "2026-01-31T23:59:59", "2026-01-31 23:59:59Z", "1790000000", "é"]
        {
            assert!(!is_rfc_3339(wrong), "{wrong}");
        }
    }
}
