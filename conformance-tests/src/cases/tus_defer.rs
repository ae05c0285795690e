//! Deferred length (section 5 of the page).

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[];
