//! What each durability policy costs. No peer has one.

use super::{small, streams};
use crate::{
    MIB,
    contender::{Contender, Field},
    row::{Entry, Figure, Goal, Row, Times, Unit},
    server::{Sample, Server},
};

/// The policies, and the names of piton with each.
const NONE: &str = "piton, --durability none";
const COMPLETE: &str = "piton, --durability complete";
const POLICIES: [(&str, &str); 3] = [
    (NONE, "--durability=none"),
    (COMPLETE, "--durability=complete"),
    ("piton, --durability ack", "--durability=ack"),
];
const AT_ONCE: usize = 16;

pub fn rows(field: &Field) -> Vec<Row> {
    let (span, size) = (small::span(field), field.stream());
    let row = |id, title, unit, work: &dyn Fn(&Contender) -> Entry| {
        let entries = POLICIES.map(|(name, policy)| work(&Contender::piton(name, &[policy])));
        Row::new(id, title, unit, entries.into())
    };
    let each = |work: fn(&Server, usize, std::time::Duration) -> Sample| {
        move |contender: &Contender| Entry::of(contender, move |of| work(of, AT_ONCE, span))
    };
    let stream = |contender: &Contender| {
        Entry::of(contender, move |server| streams::upload(server, 1, size, 8 * MIB))
    };
    let (figure, at_most, times) = (Figure::Cost, 1.0 / 3_000.0, Times::One);
    vec![
        row(
            "policy-with-1k",
            "finished uploads of 1 KiB, creation-with-upload, 16 connections",
            Unit::Rate,
            &each(small::with_1k),
        )
        .goal(Goal { of: COMPLETE, figure, at_most, times }),
        row(
            "policy-small",
            "finished uploads of 1 KiB, create + PATCH, 16 connections",
            Unit::Rate,
            &each(small::two_steps),
        ),
        row("policy-stream", "one upload in PATCHes of 8 MiB", Unit::PerGib, &stream),
    ]
}
