//! The outside tests: the real program, asked over real sockets.
//!
//! Nothing here links the library. A test starts `piton` on a folder of its own, speaks HTTP to it
//! with the hand-written client of [`client`], and looks at the folder with [`disk`]. Comments
//! name the conformance rows that a test stands for.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::format_collect,
    clippy::needless_pass_by_value,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, tell the time, and clean up after itself"
)]

mod chunks;
mod client;
mod clock_steps;
mod digest;
mod disk;
mod h2;
mod hostile;
mod mount;
mod random;
mod rounds;
mod secure;
mod server;
mod session;
mod strace;
mod tus;

mod chunk_flow;
mod connections;
mod connections_clients;
mod connections_cut;
mod connections_early;
mod connections_h2;
mod connections_idle;
mod cors;
mod crash;
mod crash_concat;
mod cross;
mod disk_faults;
mod drain;
mod fair;
mod linear;
mod load;
mod mixed;
mod model;
mod names;
mod openapi;
mod overload;
mod page;
mod papers;
mod papers_chunks;
mod papers_verify;
mod proxies;
mod races;
mod same_bytes;
mod takeover;
mod tidy;
mod tls;
mod tus_checksum;
mod tus_concat;
mod tus_core;
mod tus_create;
mod tus_defer;
mod tus_expire;
mod tus_get;
mod tus_get_load;
mod tus_get_range;
mod tus_head;
mod tus_keep;
mod tus_metadata;
mod tus_override;
mod tus_patch;
mod tus_table;
mod tus_term;
mod tus_trailer;
mod verify;
