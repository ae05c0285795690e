//! Power loss under mixed load.
