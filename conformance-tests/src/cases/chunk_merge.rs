//! Chunk flow: merge (section 24 of the page).

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[];
