//! Small parts that several pages show: icons, badges, moments, checks.

use headwater_core::{Allowance, Outcome, Timestamp};
use maud::{Markup, html};

use crate::messages::{Messages, fill};

/// A moment in UTC; the script shows it in the reader's own time zone.
pub(crate) fn moment(at: Timestamp) -> Markup {
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%SZ")) { (at.strftime("%Y-%m-%d %H:%M UTC")) } }
}

/// A duration in its two largest units.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..10 => format!("{:.1} s", seconds.max(0.0)),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A sentence with a title, which may have another writing direction.
pub(crate) fn about(sentence: &str, title: &str) -> Markup {
    match sentence.split_once("{title}") {
        Some((before, after)) => html! { (before) bdi { (title) } (after) },
        None => html! { (sentence) },
    }
}

/// The status of a saved connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Its last probe passed, and its last sync read everything.
    Working,
    /// Its last probe or its last sync failed.
    NeedsAttention,
    /// Its last sync did not finish; the next one may.
    Unfinished,
    /// Its last sync left out some streams or positions.
    Incomplete,
    /// Its secrets expire soon.
    Expiring,
    /// It was saved without a probe.
    NotTested,
    /// Its secrets cannot be opened, or it was changed in the store.
    Unreadable,
}

impl Status {
    /// All statuses, in the order of filters.
    pub const ALL: [Self; 7] = [
        Self::Working,
        Self::NeedsAttention,
        Self::Unfinished,
        Self::Incomplete,
        Self::Expiring,
        Self::NotTested,
        Self::Unreadable,
    ];

    /// The name in a URL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::NeedsAttention => "attention",
            Self::Unfinished => "unfinished",
            Self::Incomplete => "incomplete",
            Self::Expiring => "expiring",
            Self::NotTested => "untested",
            Self::Unreadable => "unreadable",
        }
    }

    pub(crate) fn label(self, text: &Messages) -> &str {
        match self {
            Self::Working => &text.status.working,
            Self::NeedsAttention => &text.status.attention,
            Self::Unfinished => &text.status.unfinished,
            Self::Incomplete => &text.status.incomplete,
            Self::Expiring => &text.status.expiring,
            Self::NotTested => &text.status.untested,
            Self::Unreadable => &text.status.unreadable,
        }
    }

    fn tone(self) -> &'static str {
        match self {
            Self::Working => "good",
            Self::NeedsAttention | Self::Unfinished | Self::Incomplete | Self::Expiring => "warn",
            Self::NotTested => "idle",
            Self::Unreadable => "bad",
        }
    }
}

/// A badge with an icon and a word.
pub(crate) fn badge(tone: &str, label: &str) -> Markup {
    html! { span class={ "badge " (tone) } { (icon(tone)) (label) } }
}

pub(crate) fn status_badge(status: Status, text: &Messages) -> Markup {
    badge(status.tone(), status.label(text))
}

/// The tone of a check's outcome.
pub(crate) fn tone_of(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "good",
        Outcome::Warned => "warn",
        Outcome::Failed => "bad",
        _ => "idle",
    }
}

pub(crate) fn outcome_label(outcome: Outcome, text: &Messages) -> &str {
    match outcome {
        Outcome::Passed => &text.checks.passed,
        Outcome::Warned => &text.checks.warned,
        Outcome::Failed => &text.checks.failed,
        _ => &text.checks.skipped,
    }
}

/// A picture for a source: the first letters of its name on a colour of its own.
pub(crate) fn logo(id: &str, name: &str) -> Markup {
    let sum = id.bytes().fold(0x811c_9dc5_u32, |sum, byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    let hue = (sum >> 8) % 8;
    let mut words = name
        .split_whitespace()
        .filter_map(|word| word.chars().next());
    let letters: String = words.by_ref().take(2).collect();
    html! { span class={ "logo hue-" (hue) } aria-hidden="true" { (letters) } }
}

/// The allowances of a service and their use, as a list of bars.
pub(crate) fn allowances(allowances: &[Allowance], text: &Messages) -> Markup {
    html! {
        ul.allowances {
            @for one in allowances {
                @let limit = text.number(one.limit);
                @let left = text.number(one.left());
                li {
                    span.name { (one.title) }
                    meter min="0" max="100" low="60" high="85" optimum="0"
                        value=(one.used_percent().unwrap_or(0.0).clamp(0.0, 100.0).round())
                        aria-label=(one.title) {}
                    span.figures {
                        (fill(&text.checks.left, &[("left", &left), ("limit", &limit)]))
                        @if let Some(at) = one.resets_at { " · " (text.checks.resets) " " (moment(at)) }
                    }
                }
            }
        }
    }
}

/// One of the console's icons. A text next to it repeats its meaning.
pub(crate) fn icon(name: &str) -> Markup {
    let path = match name {
        "good" => "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm3.2 5.2-3.9 4.3-2.4-2.3 1-1 1.3 1.3 2.9-3.2z",
        "bad" => {
            "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm2.9 8.9-1 1L8 9l-1.9 1.9-1-1L7 8 5.1 6.1l1-1L8 7l1.9-1.9 1 1L9 8z"
        }
        "warn" => "M8 1.2 15.2 14H.8zM7.3 6v4h1.4V6zm0 5v1.4h1.4V11z",
        "busy" => "M8 1v2a5 5 0 1 1-5 5H1a7 7 0 1 0 7-7z",
        "lock" => "M4 7V5a4 4 0 0 1 8 0v2h1v8H3V7zm1.6 0h4.8V5a2.4 2.4 0 0 0-4.8 0z",
        "plus" => "M7.2 2h1.6v5.2H14v1.6H8.8V14H7.2V8.8H2V7.2h5.2z",
        "close" => {
            "M3.5 2.4 8 6.9l4.5-4.5 1.1 1.1L9.1 8l4.5 4.5-1.1 1.1L8 9.1l-4.5 4.5-1.1-1.1L6.9 8 2.4 3.5z"
        }
        "info" => "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zm-.8 2.8h1.6v1.6H7.2zm0 3h1.6v5.4H7.2z",
        "drop" => "M8 .8c3 3.5 5 6 5 8.6a5 5 0 0 1-10 0C3 6.8 5 4.3 8 .8z",
        _ => "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zM4.5 7.2h7v1.6h-7z",
    };
    html! {
        svg class={ "icon icon-" (name) } viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" {
            path d=(path) fill="currentColor" fill-rule="evenodd" {}
        }
    }
}
