//! Many bytes: CPU and wall time of a GiB.

use super::{BARE, PITON, everyone};
use crate::{
    GIB, MIB,
    contender::Field,
    floor::{self, Receipt},
    row::{Entry, Figure, Goal, Row, Times, Unit},
    server::{Sample, Server},
};

const RECEIVED: &str = "floor: recv";
const HASHED: &str = "floor: SHA-256";
const WRITTEN: &str = "floor: pwrite";
const KEPT: &str = "floor: recv + pwrite";
const PROVEN: &str = "floor: recv + SHA-256 + pwrite";

pub fn rows(field: &Field) -> Vec<Row> {
    let size = field.stream();
    let row = |id, title: &str, count: usize, step: usize| {
        let work = move |server: &Server| upload(server, count, size / count, step);
        let mut entries = floors(size);
        for contender in everyone(field) {
            let entry = Entry::of(&contender, work);
            entries.push(match contender.name.as_str() {
                PITON => entry.above(PROVEN),
                BARE => entry.above(KEPT),
                _ => entry,
            });
        }
        let title = format!("{title}, {} MiB in all", size / MIB);
        Row::new(id, title, Unit::PerGib, entries)
    };
    let mut one = row("stream", "one upload in one PATCH", 1, size);
    one.entries.extend([
        Entry::floor(RECEIVED, move |folder| floor::receive(folder, size, Receipt::Forget)),
        Entry::floor(HASHED, move |_| floor::hash(size)),
        Entry::floor(WRITTEN, move |folder| floor::write(folder, size)),
    ]);
    let tusd = Times::Of("tusd");
    let one = one
        .goal(Goal { of: PITON, figure: Figure::Cpu, at_most: 1.25, times: Times::Of(PROVEN) })
        .goal(Goal { of: PITON, figure: Figure::Cost, at_most: 1.0, times: tusd })
        .goal(Goal { of: BARE, figure: Figure::Cpu, at_most: 0.6, times: tusd })
        .goal(Goal { of: BARE, figure: Figure::Cost, at_most: 0.8, times: tusd });
    let lanes = Goal { of: PITON, figure: Figure::Cpu, at_most: 1.0, times: Times::Of(PROVEN) };
    vec![
        one,
        row("patches-8m", "one upload in PATCHes of 8 MiB", 1, 8 * MIB),
        row("uploads-4", "4 uploads at once", 4, size).goal(lanes),
        row("uploads-32", "32 uploads at once", 32, size).goal(lanes),
    ]
}

/// What piton's work is compared with; one lane, whatever is done at once.
fn floors(size: usize) -> Vec<Entry> {
    vec![
        Entry::floor(PROVEN, move |folder| floor::receive(folder, size, Receipt::HashAndWrite)),
        Entry::floor(KEPT, move |folder| floor::receive(folder, size, Receipt::Write)),
    ]
}

/// Sends `count` uploads of `size` bytes at once, `step` in each PATCH; to remove them again is
/// not counted.
pub fn upload(server: &Server, count: usize, size: usize, step: usize) -> Sample {
    let mut urls = Vec::new();
    let sample = server.cost((count * size) as f64 / GIB as f64, || {
        urls = server.at_once(count, |conn| server.send(conn, size, step));
    });
    server.delete(&urls);
    sample
}
