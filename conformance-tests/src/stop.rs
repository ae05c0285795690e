//! Why a case ends before its end.

use std::{fmt::Display, io};

use crate::wire::Exchange;

/// What a step of a case comes to.
pub(crate) type Step<T = ()> = Result<T, Stop>;

/// Why a case ends before its end.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The server does not do what the row says.
    Breach(Box<Breach>),
    /// The row says nothing about this server, or cannot be asked of it here.
    Skip(String),
    /// What could be asked of this server was answered well; the rest cannot be asked here.
    Part(String),
}

impl Stop {
    /// As it is where a case has found something already: a skip leaves that standing.
    pub(crate) fn after_all(self) -> Self {
        match self {
            Self::Skip(why) => Self::Part(why),
            other => other,
        }
    }
}

/// What a server does instead of what a row says.
#[derive(Debug, Clone)]
pub(crate) struct Breach {
    /// What was found, and what was expected.
    pub(crate) what: String,
    /// The request and the answer that show it.
    pub(crate) exchange: Option<Exchange>,
}

/// A breach that no single answer shows.
pub(crate) fn breach(what: impl Display) -> Stop {
    Stop::Breach(Box::new(Breach { what: what.to_string(), exchange: None }))
}

/// Ends the case with a breach unless `fulfilled`.
pub(crate) fn ensure(fulfilled: bool, what: impl Display) -> Step {
    if fulfilled { Ok(()) } else { Err(breach(what)) }
}

/// Ends the case with a breach unless both are the same.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Step {
    ensure(found == expected, format_args!("{what} is {found:?} and should be {expected:?}"))
}

/// What cannot be asked here is the rest of a case: what was asked before stands.
pub(crate) fn rest<T>(step: Step<T>) -> Step<T> {
    step.map_err(Stop::after_all)
}

/// Names the value of a row under which a step failed.
pub(crate) trait At<T> {
    /// Puts `value` before what was found.
    fn at(self, value: impl Display) -> Step<T>;
}

impl<T> At<T> for Step<T> {
    fn at(self, value: impl Display) -> Self {
        self.map_err(|stop| match stop {
            Stop::Breach(mut breach) => {
                breach.what = format!("{value}: {}", breach.what);
                Stop::Breach(breach)
            }
            other => other,
        })
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        breach(format_args!("no answer: {error}"))
    }
}
