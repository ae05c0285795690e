//! CORS (section 16 of the page).

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[];
