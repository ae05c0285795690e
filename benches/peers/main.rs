//! What piton costs beside other upload servers, and beside what the machine itself takes.
//!
//! ```text
//! cargo bench --bench peers -- [--quick] [--only ROW]... [--rounds N] [--dir DIR]
//!     [--peer NAME=LAUNCHER]... [--list] [--write] [--growth [--most N]]
//! ```
//!
//! All servers of a row run at the same time and are asked in turn, round after round, on the same
//! disk, by the same client; the first round warms up and is not counted. CPU is that of the
//! server's processes alone, as the kernel counts it. `docs/benchmarks.md` tells more, and is where
//! `--write` puts tables and charts. Nothing here fails on a slow machine: the figures are for
//! people.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement may fail loudly, tell the time, and clean up after itself"
)]

mod chart;
mod client;
mod contender;
mod floor;
mod growth;
mod hello;
mod options;
mod paper;
#[allow(dead_code, reason = "each benchmark takes its part of it")]
#[path = "../program/mod.rs"]
mod program;
mod row;
mod rows;
#[allow(dead_code, reason = "shared with the count of calls")]
mod server;

use std::panic::{AssertUnwindSafe, catch_unwind};

use self::{
    contender::Field,
    hello::ASKED,
    options::{Options, Task},
    paper::Paper,
    program::machine,
    row::measure,
};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

fn main() {
    if std::env::args().any(|arg| arg == ASKED) {
        return hello::serve();
    }
    let options = Options::from_args();
    raise_limit_of_files();
    let field = Field::new(&options);
    if options.task == Task::List {
        for row in rows::all(&field) {
            println!("{:<16} {}", row.id, row.title);
        }
        return;
    }
    let paper = Paper::new(&machine(&options.dir), &field, options.rounds);
    println!("{}", paper.about());
    if options.task == Task::Growth {
        let curves = growth::curves(&field, options.most);
        if options.write {
            paper.write_growth(&curves);
        }
        return;
    }
    let mut measured = Vec::new();
    for row in rows::all(&field) {
        if !options.wants(row.id) {
            continue;
        }
        let id = row.id;
        // The others are worth having all the same.
        match catch_unwind(AssertUnwindSafe(|| measure(row, &field, options.rounds))) {
            Ok(row) => {
                print!("{}", paper::text(&row));
                measured.push(row);
            }
            Err(_) => println!("\n{id} could not be measured"),
        }
    }
    print!("{}", paper::goals(&measured));
    if options.write {
        paper.write_rows(&measured);
    }
}

/// Thousands of connections are opened, on both sides; whoever we start inherits the limit.
fn raise_limit_of_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
