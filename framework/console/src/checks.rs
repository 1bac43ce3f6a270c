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
pub struct Tested {
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
pub(crate) fn tested(tested: Option<&Tested>, text: &Messages) -> Markup {
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
pub(crate) fn verdict_link(tested: &Tested, text: &Messages) -> Markup {
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

fn after(tested: &Tested, text: &Messages) -> Markup {
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
            (own.tested_at) " " (moment(tested.at)) " · " (fill(&own.took, &[("seconds", &format!("{:.1}", tested.seconds))]))
            @if let Some(id) = &tested.request_id { " · " (fill(&own.request, &[("id", id)])) }
        }
    }
}
