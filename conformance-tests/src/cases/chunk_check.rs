//! Chunk flow: check (section 21 of the page).

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[];
