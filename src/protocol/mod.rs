//! The dialects, free of IO: a request head becomes a value, an outcome becomes an answer.
//!
//! Nothing here sees a body (but for small JSON that was collected already), and nothing awaits. A
//! refusal is a [`Problem`]; [`problem`] holds the one matrix that says how each of them looks on
//! the wire.

pub mod address;
pub mod chunks;
pub mod cors;
pub mod download;
pub mod forwarded;
pub mod headers;
pub mod owner;
pub mod page;
pub mod problem;
pub mod tus;

pub use address::{BasePath, Links, ParseAddressError, PublicUrl};
pub use cors::{Cors, OriginPattern};
pub use forwarded::Proxies;
pub use headers::BodyLength;
pub use owner::OwnerHeader;
pub use page::Page;
pub use problem::{DigestAlgorithm, Parameter, Problem};

/// An answer whose body, where it has one, is small and whole.
pub type Answer = http::Response<Vec<u8>>;
