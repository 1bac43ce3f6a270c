//! `check`: ask the service whether the credentials work.

use headwater_core::{Check, Context, Kind, Outcome as Grade, ProbeReport, Registry};
use serde_json::json;

use crate::{
    Failure, Outcome,
    answers::gather,
    args::Config,
    terminal::{Terminal, Tone},
};

pub(crate) fn check(
    registry: &Registry,
    options: &Config,
    context: fn() -> headwater_core::Result<Context>,
    terminal: &Terminal,
) -> Outcome {
    let (connector, config) = gather(registry, options)?;
    let source = connector.open(&config, &context()?)?;
    let report = crate::read::runtime()?.block_on(source.probe());
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
