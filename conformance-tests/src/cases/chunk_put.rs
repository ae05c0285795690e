//! Chunk flow: upload (section 22 of the page).

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[];
