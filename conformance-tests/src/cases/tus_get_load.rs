//! Many downloads, and clients that leave.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use super::tus_get::served;
use crate::{
    judge::Judge,
    random::Random,
    server::Server,
    stop::{At, Step, Stop, breach, ensure},
    tus::Upload,
    wire::{PATIENCE, Request, h1::Conn},
};

/// No socket buffer holds this.
const LARGE: usize = 24 << 20;

/// A download whose answer has begun, and stalls since nobody reads it.
fn stalled(upload: &Upload<'_>) -> Step<Conn> {
    let mut reader = upload.server.begin(&Request::new("GET", &upload.url))?;
    ensure(!reader.silent_for(PATIENCE)?, "no answer to GET")?;
    Ok(reader)
}

pub(super) fn readers_wait_for_nobody(judge: &Judge<'_>) -> Step {
    let server = judge.server;
    let bytes = Random::fresh().bytes(LARGE);
    let upload = served(server, &bytes)?;
    let readers: Step<Vec<_>> = (0..8).map(|_| stalled(&upload)).collect();
    let since = Instant::now();
    upload.head()?.expect_one(&[200, 204]).at("HEAD of the same")?;
    let other = Upload::hello(server)?;
    other.head()?.expect_one(&[200, 204]).at("HEAD of another")?;
    other.patch(5, " world")?.expect(204).at("PATCH of another")?;
    other.is_file(b"hello world")?;
    let took = since.elapsed();
    ensure(took < Duration::from_secs(5), format_args!("it took {took:?} beside eight readers"))?;
    thread::scope(|scope| {
        let readers = readers?.into_iter().map(|mut reader| {
            let bytes = &bytes;
            scope.spawn(move || -> Step {
                let file = reader.answer("GET")?.expect(200)?;
                file.ensure(file.body == *bytes, "a reader got other bytes")
            })
        });
        for reader in readers.collect::<Vec<_>>() {
            reader.join().map_err(|_| breach("the judge broke"))??;
        }
        Ok(())
    })
}

pub(super) fn clients_leave(judge: &Judge<'_>) -> Step {
    leave_in_the_middle(judge.server)?;
    let server = judge.then_start(&[])?;
    open_files(&server).map_err(Stop::after_all)?;
    let upload = leave_in_the_middle(&server)?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while open_files(&server)? > 0 {
        let left = || format!("{:?} files are still open", open_files(&server));
        ensure(Instant::now() < deadline, left())?;
        thread::sleep(Duration::from_millis(5));
    }
    upload.get()?.expect(200).map(|_| ())
}

/// Clients that go with a FIN and with a reset; the next one is served all the same.
fn leave_in_the_middle(server: &Server) -> Step<Upload<'_>> {
    let bytes = Random::fresh().bytes(LARGE);
    let upload = served(server, &bytes)?;
    for _ in 0..3 {
        drop(stalled(&upload)?);
        stalled(&upload)?.reset()?;
    }
    upload.is_file(&bytes)?;
    Ok(upload)
}

/// Open descriptors of the server that name something under `files/`, or a file that was removed.
fn open_files(server: &Server) -> Step<usize> {
    let folder = server.layout()?.join("files");
    let descriptors = fs::read_dir(format!("/proc/{}/fd", server.pid()?))?;
    let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    Ok(targets.filter(|target| target.starts_with(&folder)).count())
}
