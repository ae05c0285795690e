//! The rows as cases, area by area.

mod chunk_check;
mod chunk_limits;
mod chunk_merge;
mod chunk_merge_file;
mod chunk_params;
mod chunk_put;
mod chunk_status;
mod conn;
mod conn_cut;
mod conn_early;
mod cors;
mod cross;
mod fault;
mod fault_chunks;
mod fault_disk;
mod fault_limits;
mod fault_restart;
mod life;
mod race;
mod race_chunks;
mod tus_checksum;
mod tus_concat;
mod tus_concat_edges;
mod tus_core;
mod tus_create;
mod tus_cwu;
mod tus_defer;
mod tus_expire;
mod tus_get;
mod tus_get_load;
mod tus_get_range;
mod tus_head;
mod tus_meta;
mod tus_override;
mod tus_patch;
mod tus_patch_heads;
mod tus_paths;
mod tus_term;
mod tus_trailer;
mod tus_unfinished;

use crate::case::Case;

/// All areas, in the order of the page.
const AREAS: &[&[Case]] = &[
    tus_core::CASES,
    tus_paths::CASES,
    tus_create::CASES,
    tus_cwu::CASES,
    tus_defer::CASES,
    tus_head::CASES,
    tus_patch::CASES,
    tus_override::CASES,
    tus_checksum::CASES,
    tus_trailer::CASES,
    tus_expire::CASES,
    tus_term::CASES,
    tus_concat::CASES,
    tus_unfinished::CASES,
    tus_get::CASES,
    cors::CASES,
    tus_meta::CASES,
    conn::CASES,
    race::CASES,
    fault::CASES,
    chunk_check::CASES,
    chunk_put::CASES,
    chunk_params::CASES,
    chunk_status::CASES,
    chunk_merge::CASES,
    chunk_merge_file::CASES,
    chunk_limits::CASES,
    cross::CASES,
];

/// All cases, in the order of the page.
pub(crate) fn all() -> impl Iterator<Item = &'static Case> {
    AREAS.iter().copied().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::row::{Level, ROWS};

    #[test]
    fn every_row_is_a_case_and_every_case_has_a_row() {
        let cases: BTreeSet<_> = all().map(|case| case.id).collect();
        let rows: BTreeSet<_> = ROWS.keys().map(String::as_str).collect();
        let missing: Vec<_> = rows.difference(&cases).collect();
        let unknown: Vec<_> = cases.difference(&rows).collect();
        assert!(missing.is_empty() && unknown.is_empty(), "missing {missing:?}, odd {unknown:?}");
        assert_eq!(all().count(), cases.len(), "a row is asked twice");
    }

    #[test]
    fn a_must_names_the_sentence_that_it_comes_from() {
        let musts = all().filter(|case| case.row().level == Level::Must);
        let silent: Vec<_> = musts.filter(|case| case.sentence.is_empty()).collect();
        assert!(silent.is_empty(), "{silent:?}");
    }
}
