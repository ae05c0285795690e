//! The verdicts, as a table.
#![allow(clippy::print_stdout, reason = "the table is what the program is for")]

use crate::cases::{Case, Outcome};

/// How many rows had which verdict.
#[derive(Debug, Default)]
pub(crate) struct Report {
    passed: usize,
    failed: usize,
}

impl Report {
    /// Prints the verdict on a row and counts it; `None` stands for a row that was not judged.
    pub(crate) fn add(&mut self, case: &Case, outcome: Option<Outcome>) {
        let (verdict, remark) = match outcome {
            None => ("skip", format!("no {}", case.extension)),
            Some(Ok(())) => ("pass", String::new()),
            Some(Err(what)) if case.must => ("FAIL", what),
            Some(Err(what)) => ("advice", what),
        };
        self.passed = self.passed.saturating_add(usize::from(verdict == "pass"));
        self.failed = self.failed.saturating_add(usize::from(verdict == "FAIL"));
        let line = format!("{:<14} {:<22} {verdict:<7} {remark}", case.id, case.clause);
        println!("{}", line.trim_end());
    }

    /// Prints the sum. True if no MUST failed and something passed.
    pub(crate) fn close(&self) -> bool {
        println!("{} passed, {} failed", self.passed, self.failed);
        self.failed == 0 && self.passed > 0
    }
}

#[test]
fn only_a_must_can_fail() {
    let verdict = |must, outcome| {
        let mut report = Report { passed: 1, failed: 0 };
        let case = Case { id: "X-1", clause: "x", must, extension: "", run: |_| Ok(()) };
        report.add(&case, outcome);
        report.close()
    };
    assert!(!verdict(true, Some(Err("no".to_owned()))));
    assert!(verdict(false, Some(Err("no".to_owned()))));
    assert!(verdict(true, Some(Ok(()))) && verdict(true, None));
    assert!(!Report::default().close());
}
