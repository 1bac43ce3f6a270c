//! Rules and lookups for the reports of probes, for every connector.

use headwater_core::{Check, Outcome, ProbeReport};

/// Asserts the rules of every report: no name twice, a kind for each problem, a remedy for each failure, and none of
/// these texts anywhere.
pub fn keeps_the_rules(report: &ProbeReport, hidden: &[&str]) {
    let shown = format!("{report:?} {}", serde_json::to_string(report).unwrap());
    for text in hidden {
        assert!(!shown.contains(text), "{shown}");
    }
    for check in &report.checks {
        let is_bad = matches!(check.outcome, Outcome::Failed | Outcome::Warned);
        assert_eq!(is_bad, check.kind.is_some(), "{check:?}");
        assert!(!check.message.is_empty(), "{check:?}");
        if check.outcome == Outcome::Failed {
            assert!(
                check.remedy.is_some(),
                "a failure without a remedy: {check:?}"
            );
        }
    }
    let mut names: Vec<&str> = report.checks.iter().map(|check| &*check.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(
        names.len(),
        report.checks.len(),
        "a check twice: {report:?}"
    );
}

/// Returns the check of a name.
pub fn check<'r>(report: &'r ProbeReport, name: &str) -> &'r Check {
    report
        .checks
        .iter()
        .find(|check| check.name == name)
        .unwrap_or_else(|| panic!("no check {name} in {report:?}"))
}

/// Asserts that only this check failed and that all later ones were skipped, and returns it.
pub fn only_failure<'r>(
    report: &'r ProbeReport,
    name: &str,
    code: &str,
    pointers: &[&str],
) -> &'r Check {
    let failed: Vec<&Check> = report
        .checks
        .iter()
        .filter(|check| check.outcome == Outcome::Failed)
        .collect();
    let [failed] = failed[..] else {
        panic!("not one failure: {report:?}")
    };
    assert_eq!((&*failed.name, &*failed.code), (name, code), "{report:?}");
    assert_eq!(failed.pointers, pointers, "{report:?}");
    let at = report.checks.iter().position(|one| one.name == name);
    assert!(
        report.checks[at.unwrap() + 1..]
            .iter()
            .all(|check| check.outcome == Outcome::Skipped),
        "{report:?}"
    );
    assert_eq!(report.outcome(), Outcome::Failed);
    failed
}
