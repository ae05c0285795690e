//! The program is killed while uploads are joined.

use std::{collections::HashSet, fs, thread, time::Duration};

use crate::{
    client::Request,
    digest::sha256,
    random::Random,
    server::{CHUNK, Server},
    tus::{Upload, append, patch},
    tus_concat::{completes, create_partial, final_of, join, partial},
};

/// Partial uploads of these bytes, all complete; their URLs.
fn parts(server: &Server, pieces: &[Vec<u8>]) -> Vec<String> {
    pieces.iter().map(|piece| partial(server, piece).url).collect()
}

fn at<'a>(server: &'a Server, url: &str) -> Upload<'a> {
    Upload { server, url: url.to_owned() }
}

fn value(server: &Server, urls: &[String]) -> String {
    let parts: Vec<Upload<'_>> = urls.iter().map(|url| at(server, url)).collect();
    final_of(&parts.iter().collect::<Vec<_>>())
}

/// Sends the request, and kills the program a moment later; the URL that a 201 named.
fn killed_after(
    server: &mut Server,
    random: &mut Random,
    request: &Request,
    most: u64,
) -> Option<String> {
    let mut connection = server.begin(request);
    thread::sleep(Duration::from_micros(random.between(0, most)));
    server.kill_9();
    let answer = connection.try_answer("POST").ok().filter(|answer| answer.status == 201);
    server.start_again();
    answer.map(|answer| answer.needs("Location").to_owned())
}

/// Every file there is has one of these digests.
fn files_are_whole(server: &Server, joined: &HashSet<[u8; 32]>) {
    for path in server.finished() {
        let digest = sha256(&fs::read(&path).unwrap());
        assert!(joined.contains(&digest), "{} has other bytes", path.display());
    }
}

fn rounds_of_joining(test: &str, rounds: usize, options: &[&str]) {
    let mut random = Random::announced(test);
    let mut server = Server::with(options);
    // Of all rounds: the next start goes on with what a kill ended, and may be late.
    let mut joined = HashSet::new();
    for round in 0..rounds {
        let pieces: Vec<Vec<u8>> =
            [64 * CHUNK, 40 * CHUNK + 1, 5 * CHUNK].map(|size| random.bytes(size)).into();
        let (bytes, urls) = (pieces.concat(), parts(&server, &pieces));
        joined.insert(sha256(&bytes));
        let request = join(&value(&server, &urls));
        let made = killed_after(&mut server, &mut random, &request, 25_000);
        files_are_whole(&server, &joined);
        if let Some(url) = made {
            at(&server, &url).is_file(&bytes);
        }
        // The client that lost the answer asks again.
        for (url, piece) in urls.iter().zip(&pieces) {
            assert_eq!(at(&server, url).offset(), piece.len() as u64, "round {round}");
        }
        let again = Upload::from_answer(&server, &server.ask(&request).expect(201));
        again.is_file(&bytes);
        for path in server.finished() {
            fs::remove_file(path).unwrap();
        }
        for url in &urls {
            at(&server, url).delete().expect(204);
        }
    }
}

// rows: TUS-CAT-17
// spec: STORE-30
#[test]
fn killed_within_a_concatenation() {
    rounds_of_joining("killed_within_a_concatenation", 14, &[]);
}

#[test]
fn killed_within_a_concatenation_of_split_parts() {
    let options = ["--chunks-per-part=3", "--durability=ack"];
    rounds_of_joining("killed_within_a_concatenation, split", 6, &options);
}

/// A final upload that its client was told to wait for, and the kill while it completes.
fn rounds_of_waiting(test: &str, rounds: usize, options: &[&str]) {
    let mut random = Random::announced(test);
    let mut server = Server::with(options);
    for round in 0..rounds {
        let pieces: Vec<Vec<u8>> =
            [30 * CHUNK, 20 * CHUNK + 1].map(|size| random.bytes(size)).into();
        let (bytes, mut urls) = (pieces.concat(), parts(&server, &pieces[..1]));
        let open = create_partial(pieces[1].len() as u64);
        urls.push(server.ask(&open).expect(201).needs("Location").to_owned());
        let made = server.ask(&join(&value(&server, &urls))).expect(201);
        let url = made.needs("Location").to_owned();
        // The last bytes of the last part, and the kill somewhere behind them.
        let half = pieces[1].len() / 2;
        server.ask(&patch(&urls[1], 0, &pieces[1][..half])).expect(204);
        let rest = &pieces[1][half..];
        let mut connection =
            server.begin(&append(&urls[1], half as u64).announcing(rest.len() as u64));
        let _ = connection.try_raw(rest);
        thread::sleep(Duration::from_micros(random.between(0, 12_000)));
        server.crash();
        let last = at(&server, &urls[1]).head();
        if last.status == 200 {
            let offset = last.offset() as usize;
            if offset < pieces[1].len() {
                server.ask(&patch(&urls[1], offset as u64, &pieces[1][offset..])).expect(204);
            }
        }
        let upload = at(&server, &url);
        completes(&upload);
        upload.is_file(&bytes);
        assert_eq!(server.finished().len(), 1, "round {round}");
        upload.delete().expect(204);
        for url in &urls {
            at(&server, url).delete().expect_one(&[204, 404]);
        }
    }
}

// rows: TUS-CATU-06
// spec: STORE-31
#[test]
fn killed_while_a_final_upload_completes_by_itself() {
    rounds_of_waiting("killed_while_a_final_upload_completes_by_itself", 14, &[]);
}

// spec: STORE-32
#[test]
fn killed_while_a_final_upload_consumes_its_parts() {
    let options = ["--consume-partials"];
    rounds_of_waiting("killed_while_a_final_upload_consumes_its_parts", 10, &options);
}
