//! The result of a probe: its checks, what it offers to change, what the service allows.

use headwater_core::{Check, Outcome, ProbeReport, Timestamp};
use maud::{Markup, html};
use serde_json::json;

use crate::{
    inputs::text_of,
    messages::{Messages, fill},
    parts::{allowances, icon, moment, outcome_label, tone_of},
};

/// A probe that ended.
#[derive(Clone, Debug)]
pub struct ProbeResult {
    /// What it found.
    pub report: ProbeReport,
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub seconds: f64,
    /// The id of the request, to ask an operator with.
    pub request_id: Option<String>,
}

/// The name of a check for people.
pub(crate) fn name_of(name: &str, text: &Messages) -> String {
    if let Some(stream) = name.strip_prefix("access:") {
        return fill(&text.checks.access, &[("stream", stream)]);
    }
    let known = text.checks.names.get(name);
    known.cloned().unwrap_or_else(|| name.replace('_', " "))
}

/// The result of a probe. The script puts the checks of a running one into the same elements.
pub(crate) fn tested(tested: Option<&ProbeResult>, text: &Messages) -> Markup {
    let own = &text.checks;
    let outcome = tested.map(|tested| tested.report.outcome());
    html! {
        section.tested #test-result data-tested hidden[tested.is_none()] aria-label=(own.title) {
            p.verdict data-verdict data-outcome=[outcome.map(tone_of)] {
                @if let Some(outcome) = outcome { (icon(tone_of(outcome))) span { (verdict(outcome, text)) } }
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

/// How a probe ended, in one sentence that leads to the rest.
pub(crate) fn verdict_link(tested: &ProbeResult, text: &Messages) -> Markup {
    let outcome = tested.report.outcome();
    html! {
        span data-outcome=(tone_of(outcome)) { (icon(tone_of(outcome))) }
        a href="#test-result" { (verdict(outcome, text)) }
    }
}

fn verdict(outcome: Outcome, text: &Messages) -> &str {
    match outcome {
        Outcome::Passed => &text.checks.verdict_passed,
        Outcome::Warned => &text.checks.verdict_warned,
        Outcome::Failed => &text.checks.verdict_failed,
        Outcome::Skipped => &text.checks.verdict_skipped,
    }
}

fn check_row(check: &Check, text: &Messages) -> Markup {
    let tone = tone_of(check.outcome);
    html! {
        li.check data-outcome=(tone) {
            (icon(tone))
            div {
                p.name {
                    (name_of(&check.name, text)) " "
                    span.outcome { (outcome_label(check.outcome, text)) }
                    @if let Some(latency) = check.latency { " " span.took { (latency.as_millis()) " ms" } }
                }
                p.message { (check.message) }
                @if let Some(remedy) = &check.remedy { p.remedy { (remedy) } }
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

/// What somebody who helps has to know, as plain text: what was found, when and by which version. No value of the form.
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

/// Text to send to whoever helps. The script adds a button that copies it.
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
                p { (icon("info")) span { (patch.message) } }
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
