//! Connections and early answers (section 18 of the page).

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[];
