//! Creation with upload (section 4 of the page).

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[];
