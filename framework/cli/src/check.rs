//! `check`: ask the service whether the credentials work.

use headwater_core::{Check, Context, Kind, Outcome as Grade, ProbeReport, Registry};
use serde_json::json;

use crate::{
    Failure, Outcome,
    answers::{examine, gather},
    args,
    terminal::{Terminal, Tone, until_stopped},
};

pub(crate) fn check(
    registry: &Registry,
    options: &args::Check,
    context: fn() -> headwater_core::Result<Context>,
    terminal: &Terminal,
) -> Outcome {
    if options.offline {
        return offline(registry, options, terminal);
    }
    let (connector, config) = gather(registry, &options.config)?;
    let source = connector.open(&config, &context()?)?;
    let report = crate::read::runtime()?.block_on(until_stopped(source.probe()))?;
    if terminal.json {
        let outcome = report.outcome();
        let id = connector.about().id;
        terminal
            .print_json(&json!({ "connector": id, "outcome": outcome, "checks": report.checks }))?;
    } else {
        show(&report, terminal)?;
    }
    match report.failure() {
        Some(check) => Err(Failure::Said(check.kind.unwrap_or(Kind::Unexpected))),
        None => Ok(()),
    }
}

/// The form alone. An error in it is told as it would be by every command that takes a config.
fn offline(registry: &Registry, options: &args::Check, terminal: &Terminal) -> Outcome {
    let (connector, references) = examine(registry, &options.config)?;
    let mut checks = vec![Check::passed("form", "the answers fit the form")];
    checks.extend(references.into_iter().map(|reference| Check {
        message: format!("not followed: {}", reference.target),
        ..Check::skipped(format!("reference:{}", reference.pointer))
    }));
    checks.push(Check {
        message: "not asked: this check is offline".to_owned(),
        ..Check::skipped("service")
    });
    let report = ProbeReport::from(checks);
    if terminal.json {
        let id = connector.about().id;
        return terminal.print_json(
            &json!({ "connector": id, "outcome": report.outcome(), "checks": report.checks }),
        );
    }
    show(&report, terminal)
}

/// The checks, one a line, each with what to do.
pub(crate) fn show(report: &ProbeReport, terminal: &Terminal) -> Outcome {
    let width = report
        .checks
        .iter()
        .map(|check| check.name.len())
        .max()
        .unwrap_or(0);
    for check in &report.checks {
        let (mark, tone) = match check.outcome {
            Grade::Passed => ("✓", Tone::Good),
            Grade::Warned => ("!", Tone::Warning),
            Grade::Failed => ("✗", Tone::Bad),
            Grade::Skipped => ("-", Tone::Faint),
        };
        let latency = check
            .latency
            .map(|latency| format!("{} ms", latency.as_millis()))
            .unwrap_or_default();
        let line = format!(
            "{} {:width$}  {:>8}  {}",
            terminal.paint(tone, mark),
            check.name,
            terminal.paint(Tone::Faint, &latency),
            check.message
        );
        terminal.print(&line)?;
        for advice in advice(check) {
            terminal.print(&format!("  {:width$}  {:>8}  → {advice}", "", ""))?;
        }
    }
    Ok(())
}

fn advice(check: &Check) -> Vec<String> {
    let fields: Vec<&str> = check
        .pointers
        .iter()
        .map(|pointer| pointer.trim_start_matches('/'))
        .collect();
    let fields = (!fields.is_empty()).then(|| format!("look at {}", fields.join(" and ")));
    fields.into_iter().chain(check.remedy.clone()).collect()
}
