//! Chunk flow: status (section 23 of the page).

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[];
