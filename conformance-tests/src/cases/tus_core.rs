//! OPTIONS, the version check, routes and path tricks (sections 1 and 2 of the page).

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[];
