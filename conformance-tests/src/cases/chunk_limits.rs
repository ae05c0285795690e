//! Chunk flow: delete and limits (section 25 of the page).

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[];
