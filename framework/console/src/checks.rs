//! The result of a probe: its checks, the change that it offers, the allowances of the service.

use headwater_core::{Check, Outcome, ProbeReport, Timestamp};
use maud::{Markup, html};
use serde_json::json;

use crate::{
    inputs::text_of,
    messages::{Messages, fill},
    parts::{allowances, icon, moment, outcome_label, tone_of},
    sentence::sentence,
};

/// The beginning of the names of checks for the access to a stream.
const ACCESS: &str = "access:";

/// A probe that ended.
#[derive(Clone, Debug)]
pub struct ProbeResult {
    /// Its report.
    pub report: ProbeReport,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// The id of the request, for questions to an operator.
    pub request_id: Option<String>,
}

/// The label of a check.
pub(crate) fn name_of(name: &str, text: &Messages) -> String {
    if let Some(stream) = name.strip_prefix(ACCESS) {
        return fill(&text.checks.access, &[("stream", stream)]);
    }
    let known = text.checks.names.get(name);
    known.cloned().unwrap_or_else(|| name.replace('_', " "))
}

/// The result of a probe. The script fills the same elements during a probe.
pub(crate) fn tested(tested: Option<&ProbeResult>, text: &Messages) -> Markup {
    let own = &text.checks;
    let report = tested.map(|tested| &tested.report);
    let tone = report.map(|report| tone_of(report.outcome()));
    html! {
        section.tested #test-result data-tested hidden[tested.is_none()] aria-label=(own.title) {
            p.verdict data-verdict data-outcome=[tone] {
                @if let (Some(report), Some(tone)) = (report, tone) { (icon(tone)) span { (verdict(report, text)) } }
            }
            ul.checks data-checks {
                @for check in tested.iter().flat_map(|tested| &tested.report.checks) { (check_row(check, text)) }
            }
            div data-after {
                @if let Some(tested) = tested { (after(tested, text)) }
            }
        }
    }
}

/// The verdict of a probe, linked to its checks.
pub(crate) fn verdict_link(tested: &ProbeResult, text: &Messages) -> Markup {
    let tone = tone_of(tested.report.outcome());
    html! {
        span data-outcome=(tone) { (icon(tone)) }
        a href="#test-result" { (verdict(&tested.report, text)) }
    }
}

/// Whether a check is about the access to a stream.
fn is_access(check: &Check) -> bool {
    check.name.starts_with(ACCESS)
}

fn verdict<'t>(report: &ProbeReport, text: &'t Messages) -> &'t str {
    let is_denied = |check: &Check| check.outcome == Outcome::Warned && is_access(check);
    match report.outcome() {
        Outcome::Passed => &text.checks.verdict_passed,
        Outcome::Warned if report.checks.iter().any(is_denied) => &text.checks.verdict_access,
        Outcome::Warned => &text.checks.verdict_warned,
        Outcome::Failed => &text.checks.verdict_failed,
        _ => &text.checks.verdict_skipped,
    }
}

fn check_row(check: &Check, text: &Messages) -> Markup {
    let tone = tone_of(check.outcome);
    // The name of a passed check for access says all of it.
    let has_message = check.outcome != Outcome::Passed || !is_access(check);
    html! {
        li.check data-outcome=(tone) {
            (icon(tone))
            div {
                p.name {
                    (name_of(&check.name, text)) " "
                    span.outcome { (outcome_label(check.outcome, text)) }
                    @if let Some(latency) = check.latency { " " span.took { (latency.as_millis()) " ms" } }
                }
                @if has_message { p.message { (sentence(&check.message)) } }
                @if let Some(remedy) = &check.remedy { p.remedy { (sentence(remedy)) } }
            }
        }
    }
}

fn took(seconds: f64, text: &Messages) -> String {
    let own = &text.checks;
    if seconds < 0.1 {
        return own.took_little.clone();
    }
    fill(&own.took, &[("seconds", &format!("{seconds:.1}"))])
}

/// The result for support, as plain text: checks, time and version. It holds no value of the form.
fn details(tested: &ProbeResult) -> String {
    let mut lines = vec![format!(
        "Headwater {}, {}",
        env!("CARGO_PKG_VERSION"),
        tested.at.strftime("%Y-%m-%dT%H:%M:%SZ")
    )];
    lines.extend(tested.request_id.iter().map(|id| format!("request {id}")));
    lines.extend(tested.report.checks.iter().map(|check| {
        let outcome = json!(check.outcome);
        let outcome = outcome.as_str().unwrap_or_default();
        format!("{}: {outcome}: {}", check.name, check.message)
    }));
    lines.join("\n")
}

/// Text for support. The script adds a button that copies it.
pub(crate) fn to_copy(lines: &str, text: &Messages) -> Markup {
    html! {
        details.to-copy {
            summary { (text.checks.details) }
            pre data-copy tabindex="0" { (lines) }
        }
    }
}

fn after(tested: &ProbeResult, text: &Messages) -> Markup {
    let own = &text.checks;
    html! {
        @if let Some(patch) = &tested.report.patch {
            div.offer {
                p { (icon("info")) span { (sentence(&patch.message)) } }
                ul { @for (pointer, value) in &patch.set { li { code { (pointer) } " → " code { (text_of(value)) } } } }
                input type="hidden" name="patch" value=(json!(patch.set));
                button type="submit" name="action" value="apply" data-apply { (own.apply) }
            }
        }
        @if !tested.report.allowances.is_empty() { (allowances(&tested.report.allowances, text)) }
        p.small {
            (own.tested_at) " " (moment(tested.at)) " · " (took(tested.seconds, text))
            @if let Some(id) = &tested.request_id { " · " (fill(&own.request, &[("id", id)])) }
        }
        (to_copy(&details(tested), text))
    }
}
