//! Concatenation of unfinished uploads (section 14 of the page).

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[];
