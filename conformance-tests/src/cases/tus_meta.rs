//! Metadata (section 17 of the page).

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[];
