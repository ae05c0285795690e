//! Everything at once, and then the end of the process or of the power: what was told stays, what
//! was not proven never counts, and no wrong byte is served.
//!
//! Several [`client::Client`]s mix both dialects on one server. Each knows all bytes of its
//! uploads, and keeps in [`oracle::Known`] what it was told of each, and what the server can have
//! of it at most. Whatever is under way when the server ends may have happened or not. Behind each
//! restart everything is compared, then the clients go on with the same uploads.

mod acts;
mod client;
mod house;
mod indexes;
mod kill;
mod offsets;
mod oracle;
mod power;
mod tally;
