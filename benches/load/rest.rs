//! Very many uploads that nobody sends to: what they cost at rest, at a start, and in a sweep.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use tokio::time;

use super::{
    KIB, POOL,
    client::{Client, Spans, percentiles},
    program::cpu_seconds,
    row,
    server::Program,
};

/// Connections that create them.
const HANDS: usize = 32;
/// Requests of one connection that are under way.
const PIPELINED: usize = 16;
const OPTIONS: [&str; 2] = ["--durability=none", "--max-uploads=none"];

pub async fn measure(folder: &Path, count: usize) {
    let mut server = Program::start(folder, &OPTIONS);
    let data = server.data().to_owned();
    let before = server.memory();
    let since = Instant::now();
    let urls = create(&server, count).await;
    let took = since.elapsed();
    let rate = count as f64 / took.as_secs_f64();
    row(format!("{count} uploads begun, 1 of 2 KiB each"), format!("{took:.1?}, {rate:.0}/s"));
    let made = server.memory();
    time::sleep(Duration::from_secs(32)).await;
    let rested = server.memory();
    let each = (rested - before) * 1024.0 * 1024.0 / count as f64;
    let story = format!("{before:.0} · {made:.0} · {rested:.0} MiB, {each:.0} bytes each");
    row("RSS before · behind the last · 32 s later", story);
    row("stop in good order", format!("{:.1?}", server.stop()));
    drop(server);
    starts(&data, &urls).await;
    sweeps(&data, &urls).await;
    let _ = fs::remove_dir_all(data);
}

async fn create(server: &Program, count: usize) -> Vec<String> {
    let address = server.address;
    let hands: Vec<_> = (0..HANDS)
        .map(|hand| {
            let mine = count / HANDS + usize::from(hand < count % HANDS);
            tokio::spawn(async move {
                let (mut client, mut urls) = (Client::open(address).await, Vec::new());
                while urls.len() < mine {
                    let now = PIPELINED.min(mine - urls.len());
                    for _ in 0..now {
                        client.ask_for_upload(2 * KIB, &POOL[..KIB]).await.unwrap();
                    }
                    for _ in 0..now {
                        let answer = client.answer().await;
                        assert_eq!(answer.status, 201, "{answer:?}");
                        urls.push(answer.header("location").unwrap().to_owned());
                    }
                }
                urls
            })
        })
        .collect();
    let mut urls = Vec::with_capacity(count);
    for hand in hands {
        urls.extend(hand.await.unwrap());
    }
    urls
}

/// From the start of the process to its first answers, and what others feel while it looks around.
async fn starts(data: &Path, urls: &[String]) {
    for (name, killed) in [("behind a good stop", false), ("behind kill -9", true)] {
        let since = Instant::now();
        let mut server = Program::start_on(data, &OPTIONS);
        let mut client = Client::open(server.address).await;
        client.health().await;
        let healthy = since.elapsed();
        assert_eq!(client.offset(&urls[0]).await, KIB);
        let looked = since.elapsed();
        row(format!("start {name}: health · HEAD"), format!("{healthy:.1?} · {looked:.1?}"));
        let spans = looks(&mut client, urls, Duration::from_secs(8)).await;
        row("HEADs in the 8 s behind it", percentiles(&spans));
        if killed {
            let found = server.waits_for(&["swept"], Duration::from_mins(5));
            let line = found.map(|line| swept(&line)).unwrap_or_default();
            row("first sweep", line);
            row("RSS behind it", format!("{:.0} MiB", server.memory()));
            server.stop();
        } else {
            server.kill();
        }
    }
}

/// HEADs one after the other, of uploads here and there.
async fn looks(client: &mut Client, urls: &[String], span: Duration) -> Spans {
    let (since, mut spans) = (Instant::now(), Spans::new());
    while since.elapsed() < span {
        let asked = Instant::now();
        let url = &urls[spans.len() * 7919 % urls.len()];
        assert_eq!(client.offset(url).await, KIB, "bytes were lost");
        spans.push(asked.elapsed());
        time::sleep(Duration::from_millis(2)).await;
    }
    spans
}

/// What the log says that a sweep took.
fn swept(line: &str) -> String {
    line.split_once("swept").map_or_else(String::new, |(_, rest)| rest.trim().to_owned())
}

async fn sweeps(data: &Path, urls: &[String]) {
    // As if nobody had sent anything for two hours: every folder is looked at.
    grow_old(&data.join("uploads"), Duration::from_hours(2));
    let server = Program::start_on(data, &[&OPTIONS[..], &["--reap-every=2s"]].concat());
    server.waits_for(&["swept"], Duration::from_mins(5));
    // Only now: nobody may be idle for as long as that can take.
    let mut client = Client::open(server.address).await;
    let cpu = format!("/proc/{}/stat", server.pid());
    let used = cpu_seconds(&cpu);
    let spans = looks(&mut client, urls, Duration::from_secs(10)).await;
    let busy = (cpu_seconds(&cpu) - used) / 10.0;
    let line = server.waits_for(&["swept"], Duration::from_mins(5)).unwrap_or_default();
    row("a sweep, all of them idle for two hours", swept(&line));
    row("HEADs during such sweeps", format!("{}, {busy:.2} CPUs", percentiles(&spans)));
    row("RSS behind it", format!("{:.0} MiB", server.memory()));
    drop(server);
    // All of them are older than that.
    let short = [&OPTIONS[..], &["--expire-after=1s"]].concat();
    let server = Program::start_on(data, &short);
    let mut client = Client::open(server.address).await;
    let (since, mut spans) = (Instant::now(), Spans::new());
    let line = loop {
        let asked = Instant::now();
        client.create(KIB).await;
        spans.push(asked.elapsed());
        time::sleep(Duration::from_millis(2)).await;
        let line = server.waits_for(&["swept", "expired"], Duration::ZERO);
        if line.is_some() || since.elapsed() > Duration::from_mins(10) {
            break line.unwrap_or_default();
        }
    };
    row(format!("{} uploads expire", urls.len()), swept(&line));
    row("creating others meanwhile", percentiles(&spans));
    row("RSS behind it", format!("{:.0} MiB", server.memory()));
}

/// Sets back when the entries of a folder were changed.
fn grow_old(folder: &Path, age: Duration) {
    let times = fs::FileTimes::new().set_modified(SystemTime::now() - age);
    for entry in fs::read_dir(folder).unwrap() {
        let _ = fs::File::open(entry.unwrap().path()).and_then(|file| file.set_times(times));
    }
}
