//! A request that is still being sent, in the version of HTTP of the run.

use std::time::Duration;

use crate::{
    server::{Http, Server},
    stop::{Step, ensure},
    wire::{
        Answer, Request,
        h1::Conn,
        h2::{End, H2, Stream},
    },
};

/// A request on a connection of its own whose body is not all sent.
#[derive(Debug)]
pub(crate) struct Running {
    method: String,
    wire: Wire,
    /// What is still to be sent.
    rest: Vec<u8>,
}

#[derive(Debug)]
enum Wire {
    One(Conn),
    /// The connection lives as long as its stream.
    Two(Stream, H2),
}

impl Running {
    /// Sends the head and the first `sent` bytes of the body.
    pub(crate) fn begin(server: &Server, request: &Request, sent: usize) -> Step<Self> {
        let mut begun = request.clone();
        let rest = begun.body.split_off(sent.min(request.body.len()));
        let wire = match server.http() {
            Http::One => Wire::One(server.begin(&begun)?),
            Http::Two => {
                let mut connection = server.connect_h2()?;
                Wire::Two(connection.begin(&begun)?, connection)
            }
        };
        Ok(Self { method: request.method.clone(), wire, rest })
    }

    /// As [`Running::begin`]; over HTTP/1 the body begins once the server says that it reads it.
    pub(crate) fn heard(server: &Server, request: &Request, sent: usize) -> Step<Self> {
        if server.http() == Http::Two {
            return Self::begin(server, request, sent);
        }
        let mut asking = request.clone().header("Expect", "100-continue");
        let mut body = std::mem::take(&mut asking.body);
        let rest = body.split_off(sent.min(body.len()));
        let mut connection = server.begin(&asking)?;
        // Who does not answer the question has had time enough.
        if !connection.silent_for(Duration::from_secs(5))? {
            let (status, _) = connection.head()?;
            ensure(status == 100, format_args!("{status}, and not 100, before the body"))?;
        }
        connection.raw(&body)?;
        Ok(Self { method: request.method.clone(), wire: Wire::One(connection), rest })
    }

    /// Sends the rest of the body; whoever refuses need not listen to it.
    pub(crate) fn send_rest(&mut self) {
        let rest = std::mem::take(&mut self.rest);
        let _ = match &mut self.wire {
            Wire::One(connection) => connection.raw(&rest),
            Wire::Two(stream, _) => stream.raw(&rest, End::Here),
        };
    }

    /// Whether no answer comes for `span`.
    pub(crate) fn silent_for(&mut self, span: Duration) -> Step<bool> {
        match &mut self.wire {
            Wire::One(connection) => Ok(connection.silent_for(span)?),
            Wire::Two(stream, _) => Ok(stream.silent_for(span)),
        }
    }

    /// Breaks off: ends our side in the middle, or resets the stream.
    pub(crate) fn cut(self) {
        match self.wire {
            Wire::One(mut connection) => {
                connection.finish();
                // The server has noticed once it ends its side too.
                let _ = connection.closes_within(Duration::from_secs(5));
            }
            Wire::Two(stream, _) => stream.reset(),
        }
    }

    /// The server ends it within `span`, with an answer or without one.
    pub(crate) fn ends_within(self, span: Duration) -> Step {
        match self.wire {
            Wire::One(mut connection) => connection.closes_within(span).map(|_| ()),
            Wire::Two(mut stream, _connection) => {
                let silent = stream.silent_for(span);
                ensure(!silent, format_args!("still running after {span:?}"))
            }
        }
    }

    /// The answer.
    pub(crate) fn answer(self) -> Step<Answer> {
        match self.wire {
            Wire::One(mut connection) => Ok(connection.answer(&self.method)?),
            Wire::Two(stream, _connection) => stream.answer(),
        }
    }
}
