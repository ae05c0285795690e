//! Checksum as a trailer (section 10 of the page).

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[];
