//! Several requests at once, and one that does not come to its end.

use std::{
    io,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use crate::{
    server::{Http, Server},
    stop::{Step, ensure},
    tus::{Upload, append},
    wire::{
        Answer, PATIENCE, Request,
        h1::Conn,
        h2::{End, H2, Stream},
    },
};

/// Sends all requests in the same moment, each on a connection of its own; `None` is a connection
/// that was closed without an answer.
pub(crate) fn at_once(server: &Server, requests: &[Request]) -> Vec<Option<Answer>> {
    let start = Barrier::new(requests.len());
    thread::scope(|scope| {
        let ask = |request| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                server.ask(request).ok()
            })
        };
        let hands: Vec<_> = requests.iter().map(ask).collect();
        hands.into_iter().map(|hand| hand.join().ok().flatten()).collect()
    })
}

/// The statuses of answers; 0 is a connection that was closed.
pub(crate) fn statuses(answers: &[Option<Answer>]) -> Vec<u16> {
    answers.iter().map(|answer| answer.as_ref().map_or(0, |answer| answer.status)).collect()
}

/// How long to wait for what a server does not tell, in one attempt after the other: a busy machine
/// may spoil the first ones.
pub(crate) const PAUSES: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(500), Duration::from_secs(2)];

/// Sends by `send`, and returns once the server has read `count` bytes of bodies since; of a server
/// that no other case asks. One that does not tell is given a while.
pub(crate) fn taken<T>(server: &Server, count: u64, send: impl FnOnce() -> Step<T>) -> Step<T> {
    let before = received(server);
    let running = send()?;
    let Some(before) = before else {
        thread::sleep(PAUSES[1]);
        return Ok(running);
    };
    let deadline = Instant::now() + PATIENCE;
    while received(server).is_none_or(|now| now < before.saturating_add(count)) {
        ensure(Instant::now() < deadline, "the server does not read what is sent")?;
        thread::sleep(Duration::from_millis(2));
    }
    Ok(running)
}

/// How many bytes of bodies it has read, if it tells.
fn received(server: &Server) -> Option<u64> {
    let page = server.ask(&Request::new("GET", &server.at("/metrics").ok()?)).ok()?;
    let page = String::from_utf8(page.body).ok()?;
    page.lines().find_map(|line| line.strip_prefix("piton_received_bytes_total "))?.parse().ok()
}

/// A PATCH that does not come to its end, in the version of HTTP of its server.
#[derive(Debug)]
pub(crate) enum Running {
    One(Conn),
    /// The connection is kept for its stream.
    Two(H2, Stream),
}

impl Running {
    /// Sends the head of a PATCH that promises `length` bytes, and `part` of them.
    pub(crate) fn patch(upload: &Upload<'_>, offset: u64, length: u64, part: &[u8]) -> Step<Self> {
        let head = append(&upload.url, offset).announcing(length);
        let mut running = match upload.server.http() {
            Http::One => Self::One(upload.server.begin(&head)?),
            Http::Two => {
                let mut connection = upload.server.connect_h2()?;
                let stream = connection.begin(&head)?;
                Self::Two(connection, stream)
            }
        };
        running.raw(part)?;
        Ok(running)
    }

    /// As [`Running::patch`], and gives the server `pause` to take what was sent.
    pub(crate) fn stalled(
        upload: &Upload<'_>,
        offset: u64,
        length: u64,
        part: &[u8],
        pause: Duration,
    ) -> Step<Self> {
        let running = Self::patch(upload, offset, length, part)?;
        thread::sleep(pause);
        Ok(running)
    }

    /// Sends more of the body.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::One(connection) => connection.raw(bytes),
            Self::Two(_, stream) => stream.raw(bytes, End::Open),
        }
    }

    /// The answer, of a request whose body was sent to its end.
    pub(crate) fn answer(self) -> Step<Answer> {
        match self {
            Self::One(mut connection) => Ok(connection.answer("PATCH")?),
            Self::Two(connection, mut stream) => {
                let _ = stream.raw(b"", End::Here);
                let answer = stream.answer();
                drop(connection);
                answer
            }
        }
    }

    /// What the server says without having heard the end: an answer, or nothing if it hangs up.
    pub(crate) fn told(self) -> Option<Answer> {
        match self {
            Self::One(mut connection) => connection.answer("PATCH").ok(),
            Self::Two(connection, stream) => {
                let answer = stream.answer().ok();
                drop(connection);
                answer
            }
        }
    }

    /// Breaks off: a reset of the connection, or of the stream.
    pub(crate) fn reset(self) -> Step {
        match self {
            Self::One(connection) => connection.reset(),
            Self::Two(connection, stream) => {
                stream.reset();
                // The reset has to be on its way before the connection ends.
                thread::sleep(Duration::from_millis(20));
                drop(connection);
                Ok(())
            }
        }
    }
}
