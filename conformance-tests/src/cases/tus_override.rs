//! X-HTTP-Method-Override (section 8 of the page).

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[];
