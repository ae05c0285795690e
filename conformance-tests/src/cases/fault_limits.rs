//! A server at its limits, under a clock that steps, and started by mistake.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    digest::length,
    judge::Judge,
    parts::soon,
    server::Server,
    several::taken,
    stop::{At, Step, Stop, ensure, same},
    tus::{GONE, Upload, request, unknown_url},
    wire::h1::Conn,
};

/// Connections that only stand there.
const IDLE: usize = 1000;
/// How often PATCH stalls, and after how many bytes.
const STALLED: usize = 100;
const BEFORE_IT_STALLS: usize = 2 << 20;
/// Uploads at rest when the server starts.
const AT_REST: usize = 1000;

const KIB: u64 = 1024;

/// FAULT-13, in a short form: 1,000 idle connections of 10,000, 100 stalled uploads of 1,000, and
/// 1,000 uploads at rest of 100,000. The bounds of memory are the page's, for each of them, and
/// what a process may take besides.
pub(super) fn at_its_limits(judge: &Judge<'_>) -> Step {
    // Both ends of each connection are open here and there; this one is ours.
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = setrlimit(Resource::Nofile, wanted);
    descriptors(judge).at("no descriptors left")?;
    connections(judge).at(format_args!("{IDLE} idle connections"))?;
    stalled(judge).at(format_args!("{STALLED} stalled PATCHes"))?;
    start(judge).at(format_args!("a start with {AT_REST} uploads"))
}

/// Accepting pauses, a PATCH that runs goes on, and afterwards all is well. To finish a file, one
/// more may have to be opened, so that comes last.
fn descriptors(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let bytes = vec![7; 300_000];
    let upload = Upload::new(&server, 300_000)?;
    let stall = || upload.stall(0, 200_000, &bytes[..100_000]);
    let mut running = taken(&server, 100_000, stall)?;
    if server.layout().is_ok() {
        // To begin its file takes a descriptor.
        let written = || upload.parts().values().map(|(size, _)| size).sum::<u64>();
        soon("what came is not written", || Ok(written() >= 100_000))?;
    }
    server.limit_descriptors(open_files(&server)? + 30)?;
    let many: Vec<_> = (0..100).map_while(|_| server.connect().ok()).collect();
    thread::sleep(Duration::from_millis(100));
    running.raw(&bytes[100_000..200_000])?;
    running.answer("PATCH")?.expect(204).at("the PATCH that runs")?;
    drop((many, running));
    let since = Instant::now();
    while upload.is_at(200_000).is_err() {
        ensure(since.elapsed() < Duration::from_secs(10), "nobody is served any more")?;
        thread::sleep(Duration::from_millis(100));
    }
    upload.patch(200_000, &bytes[200_000..])?.expect(204)?;
    upload.is_file(&bytes)
}

fn open_files(server: &Server) -> Step<u64> {
    let files = fs::read_dir(format!("/proc/{}/fd", server.pid()?));
    let unknown = |_| Stop::Part("nobody tells how many files are open".to_owned());
    Ok(u64::try_from(files.map_err(unknown)?.count()).unwrap_or(u64::MAX))
}

/// The memory of a server, in KiB; a skip of the rest where that is not told.
fn memory(server: &Server) -> Step<u64> {
    let unknown = || Stop::Part("nobody tells how much memory is taken".to_owned());
    let told = fs::read_to_string(format!("/proc/{}/status", server.pid()?));
    let told = told.map_err(|_| unknown())?;
    let line = told.lines().find(|line| line.starts_with("VmRSS:")).ok_or_else(unknown)?;
    line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).ok_or_else(unknown)
}

fn takes_no_more(server: &Server, before: u64, budget: u64) -> Step {
    let taken = memory(server)?.saturating_sub(before);
    ensure(taken <= budget, format_args!("{taken} KiB are taken, more than {budget}"))
}

fn connections(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let upload = Upload::hello(&server)?;
    let before = memory(&server)?;
    let mut idle: Vec<Conn> = Vec::new();
    for _ in 0..IDLE {
        let mut connection = server.connect()?;
        connection.ask(&request("HEAD", &upload.url))?.has("Upload-Offset", 5)?;
        idle.push(connection);
    }
    takes_no_more(&server, before, 20 * 1000 + 16 * KIB)?;
    upload.patch(5, " world")?.expect(204)?;
    upload.is_file(b"hello world")?;
    drop(idle);
    Ok(())
}

fn stalled(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let before = memory(&server)?;
    let bytes = vec![7; BEFORE_IT_STALLS];
    let stall = |_| {
        let upload = Upload::new(&server, 4 << 20)?;
        let connection = upload.stall(0, 4 << 20, &bytes)?;
        Ok((upload, connection))
    };
    let all = || (0..STALLED).map(stall).collect::<Step<Vec<_>>>();
    let sent = (0..STALLED).map(|_| length(&bytes)).sum();
    let stalled = taken(&server, sent, all)?;
    thread::sleep(Duration::from_millis(300));
    // Buffers go back while a client stalls; there is a budget for those that are written.
    takes_no_more(&server, before, 300 * 100 + 64 * KIB)?;
    let fresh = Upload::finished(&server)?;
    fresh.is_file(b"hello world").at("a new upload")?;
    for (upload, _connection) in stalled.iter().take(10) {
        let offset = upload.offset()?;
        ensure(offset == 2 << 20, format_args!("{offset} bytes are left of 2 MiB"))?;
    }
    Ok(())
}

fn start(judge: &Judge<'_>) -> Step {
    let server = judge.start(&[])?;
    let unknown = request("HEAD", &unknown_url(&server));
    let empty = ready(&server, || server.ask(&unknown)?.expect_one(&GONE).map(drop))?;
    let mut uploads = Vec::new();
    for _ in 0..AT_REST {
        uploads.push(Upload::new(&server, 11)?);
    }
    let full = ready(&server, || uploads[AT_REST / 2].is_at(0))?;
    // Not a look at each of them, on a machine of any speed.
    let bound = Duration::from_secs(1) + 4 * empty;
    ensure(full <= bound, format_args!("it takes {full:?}, and {empty:?} without uploads"))?;
    uploads[0].is_at(0)?;
    uploads[AT_REST - 1].is_at(0)
}

/// How long a start takes until the first answer, the shortest of three.
fn ready(server: &Server, first: impl Fn() -> Step) -> Step<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        server.stop()?;
        let since = Instant::now();
        server.start_again()?;
        first()?;
        best = best.min(since.elapsed());
    }
    Ok(best)
}

/// The library of Debian's package faketime, which a program is started with.
fn faketime() -> Step<PathBuf> {
    let folders = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(fs::read_dir);
    let below = folders.into_iter().flatten().flatten().flatten().map(|entry| entry.path());
    let all = ["/usr/lib", "/usr/lib64", "/usr/local/lib"].map(PathBuf::from);
    let mut libraries = below.chain(all).map(|path| path.join("faketime/libfaketimeMT.so.1"));
    let none = || Stop::Skip("no clock can step here: faketime is not installed".to_owned());
    libraries.find(|path| path.is_file()).ok_or_else(none)
}

/// FAULT-14: only the time of day steps, as seen by the server alone.
pub(super) fn clocks_step(judge: &Judge<'_>) -> Step {
    let library = faketime()?;
    let folder = Arc::new(tempfile::tempdir()?);
    let clock = folder.path().join("clock");
    let set = |hours: &str| fs::write(&clock, format!("{hours}\n"));
    set("+0")?;
    let mut launcher = judge.launcher()?.clone();
    launcher.under = [
        "env".to_owned(),
        format!("LD_PRELOAD={}", library.display()),
        format!("FAKETIME_TIMESTAMP_FILE={}", clock.display()),
        "FAKETIME_NO_CACHE=1".to_owned(),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ]
    .to_vec();
    let args = ["--expire-after=5s", "--reap-every=1h"];
    let short = Server::start(&launcher, &args, judge.http())?;
    let dead = Upload::hello(&short)?;
    let long = Server::start(&launcher, &["--expire-after=2h", "--reap-every=1s"], judge.http())?;
    let live = Upload::hello(&long)?;
    let date = |server: &Server| -> Step<Option<String>> {
        let head = server.ask(&request("HEAD", &live.url))?;
        Ok(head.header("Upload-Expires").map(str::to_owned))
    };
    let before = date(&long)?;
    thread::sleep(Duration::from_millis(6300));
    dead.head()?.expect_one(&GONE).at("expired")?;
    for hours in ["+3600", "-3600", "+0"] {
        set(hours)?;
        thread::sleep(Duration::from_millis(1200));
        live.is_at(5).at(format_args!("live, the clock stepped by {hours} s"))?;
        let gone = dead.head()?.expect_one(&GONE);
        gone.at(format_args!("dead, the clock stepped by {hours} s"))?;
    }
    same("Upload-Expires", &date(&long)?, &before)?;
    live.patch(5, " world")?.expect(204)?;
    live.is_file(b"hello world")
}

/// FAULT-15.
pub(super) fn mistakes_at_the_start(judge: &Judge<'_>) -> Step {
    let launcher = judge.launcher()?;
    let free = ["--listen=127.0.0.1:0", "--data-dir=data"];
    for mistake in ["--no-such-option", "--max-size=many", "--expire-after=soon"] {
        let (status, said) = launcher.run(&[free[0], free[1], mistake]).at(mistake)?;
        same("the exit code", &status.code(), &Some(2)).at(mistake)?;
        ensure(!said.trim().is_empty(), "no reason on standard error").at(mistake)?;
    }
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    fs::write(&file, "in the way")?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    // A mistake is told before the port is looked at.
    let listen = format!("--listen={}", taken.local_addr()?);
    let (status, _) = launcher.run(&[&listen, free[1], "--no-such-option"])?;
    same("the exit code", &status.code(), &Some(2)).at("a mistake, and the port is taken")?;
    let data = format!("--data-dir={}", file.display());
    for (what, args) in [("data folder", [free[0], &data]), ("port", [&listen, free[1]])] {
        let (status, said) = launcher.run(&args).at(what)?;
        ensure(!status.success(), "it ends as if all were well").at(what)?;
        ensure(!said.trim().is_empty(), "no reason on standard error").at(what)?;
    }
    Ok(())
}
