//! The rows, in the order in which they are printed.

mod chunks;
mod policies;
pub mod rest;
pub mod small;
mod spans;
mod streams;
mod wire;

use crate::{
    contender::{Contender, Field},
    row::{Entry, Row},
    server::{Sample, Server},
};

/// piton as it is by default, and piton without digests, which is nearer to what the peers do.
pub const PITON: &str = "piton";
pub const BARE: &str = "piton, no digests";

/// All of them.
pub fn all(field: &Field) -> Vec<Row> {
    let mut rows = streams::rows(field);
    rows.extend(small::rows(field));
    rows.extend(spans::rows(field));
    rows.extend(chunks::rows(field));
    rows.extend(wire::rows(field));
    rows.extend(rest::rows(field));
    rows.extend(policies::rows(field));
    rows
}

/// piton, with and without digests, and every peer.
fn everyone(field: &Field) -> Vec<Contender> {
    let mut all = vec![piton(), Contender::piton(BARE, &["--chunk-digest=none"])];
    all.extend_from_slice(field.peers());
    all
}

/// piton and every peer, where digests make no difference.
fn piton_and_peers(field: &Field) -> Vec<Contender> {
    let mut all = vec![piton()];
    all.extend_from_slice(field.peers());
    all
}

fn piton() -> Contender {
    Contender::piton(PITON, &[])
}

/// The same work by each of them.
fn entries(
    contenders: &[Contender],
    work: impl Fn(&Server) -> Sample + Clone + 'static,
) -> Vec<Entry> {
    contenders.iter().map(|contender| Entry::of(contender, work.clone())).collect()
}
