//! `check`: probes the credentials at the service.

use headwater_core::{
    Allowance, Check, ConfigPatch, Egress, Kind, Outcome as Grade, ProbeReport, Registry,
};
use serde_json::{Value, json};

use crate::{
    Failure, NewContext, Outcome,
    answers::{examine, gather},
    args, patch,
    terminal::{Terminal, Tone, say, table, until_stopped},
};

pub(crate) fn check(
    registry: &Registry,
    options: &args::Check,
    context: NewContext,
    terminal: &Terminal,
) -> Outcome {
    // Checked first, so that no probe runs for a result that cannot be written.
    let file = options
        .apply
        .then(|| patch::file(options.config.config.as_deref()))
        .transpose()?;
    if options.offline {
        return offline(registry, options, terminal);
    }
    let (connector, config) = gather(registry, &options.config)?;
    let source = connector.open(&config, &context(&Egress::Anywhere)?)?;
    let report = crate::runtime::runtime()?.block_on(until_stopped(ProbeReport::of(&*source)))?;
    if terminal.json {
        terminal.print_json(&machine(connector.about().id, &report))?;
    } else {
        show(&report, terminal)?;
    }
    if let (Some(file), Some(change)) = (file, &report.patch) {
        patch::apply(change, file)?;
        say(&format!("{} was changed; check again", file.display()));
    }
    verdict(&report)
}

/// The report for machines.
pub(crate) fn machine(connector: &str, report: &ProbeReport) -> Value {
    let allowances: Vec<Value> = report.allowances.iter().map(measured).collect();
    json!({
        "connector": connector,
        "outcome": report.outcome(),
        "checks": report.checks,
        "allowances": allowances,
        "patch": report.patch,
    })
}

/// The exit code of a shown report.
pub(crate) fn verdict(report: &ProbeReport) -> Outcome {
    match report.failure() {
        Some(check) => Err(Failure::Reported(check.kind.unwrap_or(Kind::Unexpected))),
        None => Ok(()),
    }
}

/// Validates the form alone. Its errors look as in every command that takes a config.
fn offline(registry: &Registry, options: &args::Check, terminal: &Terminal) -> Outcome {
    let (connector, references) = examine(registry, &options.config)?;
    let mut checks = vec![Check::passed("form", "the answers fit the form")];
    checks.extend(references.into_iter().map(|reference| Check {
        message: format!("not followed: {}", reference.target),
        ..Check::skipped(format!("reference:{}", reference.pointer))
    }));
    checks.push(Check {
        message: "not tested: this check is offline".to_owned(),
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

/// An allowance with derived numbers.
fn measured(allowance: &Allowance) -> Value {
    let mut shown = json!(allowance);
    shown["left"] = number(allowance.left());
    shown["used_percent"] = allowance.used_percent().map_or(Value::Null, number);
    shown
}

/// At most two decimals, and none for a whole number: 0.1 + 0.2 has more than people want to read.
fn number(number: f64) -> Value {
    let rounded = (number * 100.0).round() / 100.0;
    if rounded.fract() == 0.0 && rounded.abs() < 9e15 {
        json!(rounded as i64)
    } else {
        json!(rounded)
    }
}

/// Shows the checks, one a line, each with its remedy, then the service's allowances and the config patch.
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
            _ => ("-", Tone::Faint),
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
    show_allowances(&report.allowances, terminal)?;
    match &report.patch {
        Some(patch) => show_patch(patch, terminal),
        None => Ok(()),
    }
}

fn show_allowances(allowances: &[Allowance], terminal: &Terminal) -> Outcome {
    if allowances.is_empty() {
        return Ok(());
    }
    let mut rows = vec![
        ["allowance", "used", "limit", "left", "used %", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(allowances.iter().map(|allowance| {
        let numbers = [allowance.used, allowance.limit, allowance.left()];
        let resets = allowance
            .resets_at
            .map(|time| format!("resets at {time}"))
            .unwrap_or_default();
        std::iter::once(allowance.title.to_string())
            .chain(numbers.map(|value| number(value).to_string()))
            .chain([
                allowance
                    .used_percent()
                    .map(|percent| format!("{percent:.0}"))
                    .unwrap_or_default(),
                resets,
            ])
            .collect()
    }));
    terminal.print("")?;
    table(&rows).iter().try_for_each(|row| terminal.print(row))
}

fn show_patch(patch: &ConfigPatch, terminal: &Terminal) -> Outcome {
    terminal.print("")?;
    terminal.print(&patch.message)?;
    for (pointer, value) in &patch.set {
        let field = pointer.trim_start_matches('/').replace('/', ".");
        terminal.print(&format!("  set {field} to {value}"))?;
    }
    terminal.print("  or use check --apply, which writes it into the config file")
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
