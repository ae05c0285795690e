//! Across the dialects (section 26 of the page).

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[];
