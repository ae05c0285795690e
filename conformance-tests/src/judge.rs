//! What a case has at hand.

use std::sync::{Mutex, PoisonError};

use crate::{
    row::Level,
    server::{Http, Launcher, Server},
    stop::{Breach, Step, Stop},
};

/// All cases of a run have this in common.
#[derive(Debug)]
pub(crate) struct Bench {
    /// The server that all cases share.
    pub(crate) server: Server,
    /// How further servers are started, if that is possible.
    pub(crate) launcher: Option<Launcher>,
    /// The version of HTTP of this run.
    pub(crate) http: Http,
    /// The extensions of tus that the server announces.
    pub(crate) extensions: Vec<String>,
    /// The algorithms for checksums that it announces.
    pub(crate) algorithms: Vec<String>,
}

/// What a case has at hand.
#[derive(Debug)]
pub(crate) struct Judge<'a> {
    /// The server that all cases share. Who kills, fills or looks into one starts its own.
    pub(crate) server: &'a Server,
    bench: &'a Bench,
    advice: Mutex<Vec<(Level, Breach)>>,
}

impl<'a> Judge<'a> {
    /// For one case.
    pub(crate) fn new(bench: &'a Bench) -> Self {
        Self { server: &bench.server, bench, advice: Mutex::default() }
    }

    /// Starts a server of the case's own, with these options; a skip where that is not possible.
    pub(crate) fn start(&self, args: &[&str]) -> Step<Server> {
        Server::start(self.launcher()?, args, self.bench.http)
    }

    /// As [`Judge::start`], for the rest of a case that could ask the shared server already: what
    /// it has found then stands.
    pub(crate) fn then_start(&self, args: &[&str]) -> Step<Server> {
        self.start(args).map_err(Stop::after_all)
    }

    /// How servers are started; a skip where there is only a URL.
    pub(crate) fn launcher(&self) -> Step<&Launcher> {
        let none = || Stop::Skip("needs a server that the suite starts (--server-bin)".to_owned());
        self.bench.launcher.as_ref().ok_or_else(none)
    }

    /// Does the server announce this extension of tus?
    pub(crate) fn offers(&self, extension: &str) -> bool {
        self.bench.extensions.iter().any(|one| one == extension)
    }

    /// A skip unless the server announces this extension of tus.
    pub(crate) fn needs(&self, extension: &str) -> Step {
        if self.offers(extension) {
            return Ok(());
        }
        Err(Stop::Skip(format!("the extension {extension} is not offered")))
    }

    /// The algorithms for checksums that the server announces.
    pub(crate) fn algorithms(&self) -> &[String] {
        &self.bench.algorithms
    }

    /// The version of HTTP of this run.
    pub(crate) fn http(&self) -> Http {
        self.bench.http
    }

    /// A part of a row that is ours: if it fails, that is noted as advice, and the case goes on.
    pub(crate) fn ours<T>(&self, step: Step<T>) -> Step<Option<T>> {
        self.advise(Level::Ours, step)
    }

    /// A part of a row that is a SHOULD: if it fails, that is noted as advice; the case goes on.
    pub(crate) fn should<T>(&self, step: Step<T>) -> Step<Option<T>> {
        self.advise(Level::Should, step)
    }

    fn advise<T>(&self, level: Level, step: Step<T>) -> Step<Option<T>> {
        match step {
            Ok(value) => Ok(Some(value)),
            Err(Stop::Breach(breach)) => {
                let mut advice = self.advice.lock().unwrap_or_else(PoisonError::into_inner);
                advice.push((level, *breach));
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// What was noted.
    pub(crate) fn into_advice(self) -> Vec<(Level, Breach)> {
        self.advice.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
