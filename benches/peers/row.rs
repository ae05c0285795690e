//! One row of the table: the same work by each who can do it, round after round.

use std::{fmt, fs, path::Path};

use crate::{
    contender::{Contender, Field},
    server::{Sample, Server, fresh},
};

/// What a row's figures mean; all of them are costs, so that less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds for a GiB.
    PerGib,
    /// Seconds for one piece of work, shown as pieces in a second.
    Rate,
    /// Milliseconds.
    Millis,
    /// KiB of memory.
    Kib,
}

/// Measures once.
pub type Round = Box<dyn FnMut() -> Sample>;

/// Whoever does the work of a row.
pub struct Entry {
    pub name: String,
    begin: Box<dyn FnOnce(&Path) -> Round>,
    /// The entry whose CPU is the least that this one's can be.
    floor: Option<&'static str>,
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Entry {
    /// Asks a server that stays for all rounds.
    pub fn of(contender: &Contender, work: impl Fn(&Server) -> Sample + 'static) -> Self {
        let contender = contender.clone();
        Self::named(&contender.name.clone(), move |folder| {
            let server = contender.start(folder);
            Box::new(move || work(&server))
        })
    }

    /// Does something else; `begin` makes ready.
    pub fn named(name: &str, begin: impl FnOnce(&Path) -> Round + 'static) -> Self {
        Self { name: name.to_owned(), begin: Box::new(begin), floor: None }
    }

    /// Does it with nothing in between.
    pub fn floor(name: &'static str, mut work: impl FnMut(&Path) -> Sample + 'static) -> Self {
        Self::named(name, move |folder| {
            let folder = folder.to_owned();
            Box::new(move || work(&folder))
        })
    }

    #[must_use]
    pub fn above(self, floor: &'static str) -> Self {
        Self { floor: Some(floor), ..self }
    }
}

/// What to measure.
#[derive(Debug)]
pub struct Row {
    /// What `--only` names.
    pub id: &'static str,
    pub title: String,
    pub unit: Unit,
    pub entries: Vec<Entry>,
    pub goals: Vec<Goal>,
    /// Does the first round count too, since nothing is kept between rounds?
    pub cold: bool,
}

impl Row {
    pub fn new(
        id: &'static str,
        title: impl Into<String>,
        unit: Unit,
        entries: Vec<Entry>,
    ) -> Self {
        Self { id, title: title.into(), unit, entries, goals: Vec::new(), cold: false }
    }

    #[must_use]
    pub fn goal(mut self, goal: Goal) -> Self {
        self.goals.push(goal);
        self
    }

    #[must_use]
    pub fn cold(self) -> Self {
        Self { cold: true, ..self }
    }
}

/// What piton wants to reach in a row.
#[derive(Debug, Clone, Copy)]
pub struct Goal {
    /// Which entry.
    pub of: &'static str,
    pub figure: Figure,
    pub at_most: f64,
    pub times: Times,
}

/// Which figure of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Figure {
    Cost,
    Cpu,
}

/// What a goal is a multiple of.
#[derive(Debug, Clone, Copy)]
pub enum Times {
    /// The row's unit.
    One,
    Of(&'static str),
    BestPeer,
}

/// The figures of a row.
#[derive(Debug)]
pub struct Measured {
    pub id: &'static str,
    pub title: String,
    pub unit: Unit,
    pub series: Vec<Series>,
    pub goals: Vec<Goal>,
}

/// The figures of an entry.
#[derive(Debug)]
pub struct Series {
    pub name: String,
    pub floor: Option<&'static str>,
    pub samples: Vec<Sample>,
}

impl Series {
    /// The least and the middle.
    pub fn best(&self, figure: Figure) -> Option<(f64, f64)> {
        let of = |sample: &Sample| match figure {
            Figure::Cost => Some(sample.cost),
            Figure::Cpu => sample.cpu,
        };
        spread(self.samples.iter().filter_map(of).collect())
    }

    /// The least that the client took.
    pub fn client(&self) -> Option<f64> {
        spread(self.samples.iter().filter_map(|sample| sample.client).collect()).map(|of| of.0)
    }

    pub fn remark(&self) -> Option<&'static str> {
        self.samples.iter().find_map(|sample| sample.remark)
    }

    /// Is it neither piton nor a floor?
    pub fn is_peer(&self) -> bool {
        !self.name.starts_with("piton") && !self.name.starts_with("floor")
    }
}

fn spread(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.sort_by(f64::total_cmp);
    Some((*values.first()?, values[values.len() / 2]))
}

impl Measured {
    pub fn named(&self, name: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name)
    }

    /// The figure of a goal, and what it should be at most; none where one was not measured.
    pub fn judge(&self, goal: &Goal) -> Option<(f64, f64)> {
        let of = |series: &Series| series.best(goal.figure).map(|(least, _)| least);
        let base = match goal.times {
            Times::One => 1.0,
            Times::Of(name) => of(self.named(name)?)?,
            Times::BestPeer => {
                let peers = self.series.iter().filter(|series| series.is_peer());
                peers.filter_map(of).min_by(f64::total_cmp)?
            }
        };
        Some((of(self.named(goal.of)?)?, goal.at_most * base))
    }
}

/// Measures a row: all in turn, round after round.
pub fn measure(row: Row, field: &Field, rounds: usize) -> Measured {
    let Row { id, title, unit, entries, goals, cold } = row;
    let folder = fresh(field.folder());
    let mut series = Vec::new();
    for Entry { name, begin, floor } in entries {
        let samples = Vec::with_capacity(rounds);
        series.push((Series { name, floor, samples }, begin(&folder)));
    }
    for round in usize::from(cold)..=rounds {
        for (series, measure) in &mut series {
            let sample = measure();
            if round > 0 {
                series.samples.push(sample);
            }
        }
    }
    let series = series.into_iter().map(|(series, _)| series).collect();
    // Thousands of small files stay until all is measured: for some minutes ext4 looks at every
    // inode that was freed before it takes a new one, and the next rows would pay for it.
    if unit != Unit::Rate {
        let _ = fs::remove_dir_all(folder);
    }
    Measured { id, title, unit, series, goals }
}
