//! Bytes in by offset, by number and by both, as seen from outside.

mod abreast;
mod append;
mod bracket;
mod durability;
mod faults;
mod found;
mod mixed;
mod model;
mod put;
mod stuck;
mod whole;
