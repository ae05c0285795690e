//! The tables in protocol-spec.md are the ones that the code holds.

use std::{env, fmt::Write, fs, ops::Range, path::Path};

use crate::{
    protocol::problem,
    upload::{Phase, PhaseEvent},
};

const PAPER: &str = "protocol-spec.md";
const REFRESH: &str = "PITON_REFRESH_PAPERS";

/// Compares what stands between a table's markers with the table, or writes it there when asked to.
fn assert_printed(name: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAPER);
    let paper = fs::read_to_string(&path).unwrap();
    let place = between_markers(&paper, name);
    let printed = &paper[place.clone()];
    if printed == table {
        return;
    }
    let asked = env::var_os(REFRESH).is_some_and(|value| value == "1");
    assert!(
        asked,
        "the table `{name}` of {PAPER} is not the one in the code; look at the difference, then \
         print it anew with\n    {REFRESH}=1 cargo test --lib printed\nit should be\n{table}"
    );
    let mut refreshed = paper.clone();
    refreshed.replace_range(place, table);
    fs::write(&path, refreshed).unwrap();
}

fn between_markers(paper: &str, name: &str) -> Range<usize> {
    let (begin, end) = (format!("<!-- begin: {name} -->\n"), format!("<!-- end: {name} -->"));
    let from = paper.find(&begin).expect("the table has a marker in front") + begin.len();
    let length = paper[from..].find(&end).expect("the table has a marker behind");
    from..from + length
}

/// What happens to an upload in each phase; empty where the law refuses.
fn phases() -> String {
    let mut table = String::from("| phase |");
    for event in PhaseEvent::ALL {
        write!(table, " {event} |").unwrap();
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(PhaseEvent::ALL.len()));
    for phase in Phase::ALL {
        write!(table, "\n| {phase} |").unwrap();
        for event in PhaseEvent::ALL {
            let after = phase.after(event).map(|after| format!(" {after}")).unwrap_or_default();
            write!(table, "{after} |").unwrap();
        }
    }
    table.push('\n');
    table
}

// One test, so that two refreshes do not write over each other.
#[test]
fn the_tables_in_the_specification_are_printed_from_the_code() {
    assert_printed("phases", &phases());
    assert_printed("problems", &problem::matrix());
}

#[test]
fn a_table_stands_between_its_own_markers() {
    let paper = "a\n<!-- begin: x -->\nold\n<!-- end: x -->\n<!-- begin: y -->\n<!-- end: y -->\n";
    assert_eq!(&paper[between_markers(paper, "x")], "old\n");
    assert_eq!(&paper[between_markers(paper, "y")], "");
}
