//! For build servers.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::Verdicts;
use crate::{
    expectations::Standing,
    verdict::{Outcome, Verdict},
};

/// The verdicts as XML of `JUnit`.
pub(crate) fn written(verdicts: &Verdicts) -> Result<String, String> {
    let mut suite = TestSuite::new("conformance-tests");
    for (outcome, standing) in &verdicts.all {
        let mut case = TestCase::new(outcome.id.as_str(), status(outcome, *standing));
        case.set_classname(outcome.area());
        case.set_time(Duration::from_millis(outcome.millis));
        suite.add_test_case(case);
    }
    let mut report = Report::new("conformance-tests");
    report.add_test_suite(suite);
    report.to_string().map_err(|error| error.to_string())
}

fn status(outcome: &Outcome, standing: Standing) -> TestCaseStatus {
    let found: Vec<_> = outcome.findings.iter().map(|finding| finding.what.as_str()).collect();
    if matches!(standing, Standing::Unexpected | Standing::BetterThanKnown) {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
        let message = if found.is_empty() { outcome.remark.clone() } else { found.join("; ") };
        status.set_message(message);
        status.set_description(outcome.sentence.as_str());
        return status;
    }
    if outcome.verdict == Verdict::Skipped {
        let mut status = TestCaseStatus::skipped();
        status.set_message(outcome.remark.as_str());
        return status;
    }
    TestCaseStatus::success()
}
