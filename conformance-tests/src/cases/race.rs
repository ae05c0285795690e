//! Several at once (section 19 of the page).

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[];
