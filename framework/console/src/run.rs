//! One run, during and after it, and the list of all runs.

use headwater_core::Timestamp;
use maud::{Markup, html};

use crate::{
    chart::{Sample, chart},
    gallery::nothing,
    messages::{Messages, fill},
    page::{Page, Section},
    parts::{about, badge, duration, icon, moment},
    sentence::sentence,
};

/// The state of a run or of one of its streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It has not started.
    Waiting,
    /// It is running.
    Running,
    /// Everything was read.
    Complete,
    /// Something is missing.
    Partial,
    /// An error ended it.
    Failed,
    /// It waits for the service's limit.
    Suspended,
    /// It was stopped on request.
    Stopped,
}

impl RunState {
    fn label(self, text: &Messages) -> &str {
        let own = &text.run;
        match self {
            Self::Waiting => &own.waiting,
            Self::Running => &own.running,
            Self::Complete => &own.complete,
            Self::Partial => &own.partial,
            Self::Failed => &own.failed,
            Self::Suspended => &own.suspended,
            Self::Stopped => &own.stopped,
        }
    }

    fn tone(self) -> &'static str {
        match self {
            Self::Waiting | Self::Stopped => "idle",
            Self::Running => "busy",
            Self::Complete => "good",
            Self::Partial | Self::Suspended => "warn",
            Self::Failed => "bad",
        }
    }

    fn is_over(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}

/// A run as a line of a list.
#[derive(Clone, Debug)]
pub struct RunRow {
    /// Its id.
    pub id: String,
    /// The connection's name.
    pub connection: String,
    /// The connection's title.
    pub title: String,
    /// Its state.
    pub state: RunState,
    /// When it started.
    pub started: Timestamp,
    /// Its duration so far, in seconds.
    pub seconds: f64,
    /// Written records.
    pub records: u64,
}

/// A list of runs.
#[derive(Clone, Debug)]
pub struct RunList {
    /// The runs, the newest first.
    pub runs: Vec<RunRow>,
    /// The address of the next page.
    pub next: Option<String>,
}

/// One stream of a run.
#[derive(Clone, Debug)]
pub struct StreamProgress {
    /// Its name.
    pub stream: String,
    /// Its state.
    pub state: RunState,
    /// Written records.
    pub records: u64,
    /// Expected records, if known.
    pub expected: Option<u64>,
    /// Their bytes.
    pub bytes: u64,
    /// Requests sent, retries included.
    pub requests: u64,
    /// Retries among them.
    pub retries: u64,
    /// Seconds that its requests waited for the service's limit.
    pub wait_seconds: f64,
    /// The reason of a wait, of its end or of a flag.
    pub message: Option<String>,
}

/// A run and its progress.
#[derive(Clone, Debug)]
pub struct RunView {
    /// Its line in a list.
    pub row: RunRow,
    /// The destination of its records.
    pub destination: String,
    /// Its streams.
    pub streams: Vec<StreamProgress>,
    /// Records and waits over time.
    pub samples: Vec<Sample>,
    /// The reason of its end.
    pub message: Option<String>,
}

/// The page of one run. During the run the script replaces the part marked as live.
pub fn run(view: &RunView, text: &Messages) -> Page {
    let own = &text.run;
    let row = &view.row;
    let is_over = row.state.is_over();
    let title = fill(&own.title, &[("title", &row.title)]);
    let main = html! {
        nav.crumbs aria-label=(text.page.crumbs) { a href="/syncs" { (text.page.runs) } " / " span aria-current="page" { (row.id) } }
        div data-run=[(!is_over).then_some(&row.id)] {
            header.page-top {
                div {
                    h1 { (about(&own.title, &row.title)) }
                    p.lead-text {
                        a href={ "/connections/" (row.connection) } { bdi { bdi { (row.title) } } } " → " code { (view.destination) }
                    }
                }
                @if !is_over {
                    form.buttons method="post" action={ "/syncs/" (row.id) } {
                        a.button.no-script href={ "/syncs/" (row.id) } { (own.refresh) }
                        button type="submit" name="action" value="cancel" { (own.cancel) }
                    }
                }
            }
            p.vh role="status" data-said { (row.state.label(text)) }
            div data-live {
                (figures(view, text))
                @if let Some(message) = &view.message {
                    p class={ "lead " (row.state.tone()) } { (icon(row.state.tone())) span { (sentence(message)) } }
                }
                @if view.samples.len() > 1 { (chart(&view.samples, text)) }
                (receipt(view, text))
            }
        }
    };
    Page {
        title,
        section: Section::Runs,
        main,
    }
}

/// Amounts with their units are isolated, so that a page from right to left keeps their order.
fn figures(view: &RunView, text: &Messages) -> Markup {
    let own = &text.run;
    let row = &view.row;
    let sum = |of: fn(&StreamProgress) -> u64| view.streams.iter().map(of).sum::<u64>();
    let requests = sum(|stream| stream.requests);
    let bytes = sum(|stream| stream.bytes);
    html! {
        dl.figures-row {
            div { dt { (own.state) } dd { (badge(row.state.tone(), row.state.label(text))) } }
            div { dt { (own.records) } dd { (text.whole(row.records)) } }
            div { dt { (own.size) } dd { bdi { (size(bytes)) } } }
            div { dt { (own.requests) } dd { (text.whole(requests)) } }
            div { dt { (own.time) } dd { bdi { (duration(row.seconds)) } } }
            div { dt { (own.started) } dd { (moment(row.started)) } }
        }
    }
}

fn receipt(view: &RunView, text: &Messages) -> Markup {
    let own = &text.run;
    html! {
        div.table-scroll tabindex="0" role="group" aria-label=(own.receipt) {
            table.receipt {
                caption { (own.receipt) }
                thead {
                    tr {
                        th scope="col" { (own.stream) }
                        th scope="col" { (own.state) }
                        th.number scope="col" { (own.records) }
                        th.number scope="col" { (own.size) }
                        th.number scope="col" { (own.requests) }
                        th.number scope="col" { (own.waited) }
                    }
                }
                tbody {
                    @for stream in &view.streams { (stream_row(stream, text)) }
                }
            }
        }
    }
}

fn stream_row(stream: &StreamProgress, text: &Messages) -> Markup {
    let own = &text.run;
    html! {
        tr {
            th scope="row" {
                code { (stream.stream) }
                @if let Some(message) = &stream.message { span.small { (sentence(message)) } }
            }
            td { (badge(stream.state.tone(), stream.state.label(text))) }
            td.number {
                (text.whole(stream.records))
                @if let Some(expected) = stream.expected.filter(|expected| *expected > 0 && !stream.state.is_over()) {
                    span.small { (fill(&own.of, &[("expected", &text.whole(expected))])) }
                    progress max=(expected) value=(stream.records.min(expected)) aria-label=(stream.stream) {}
                }
            }
            td.number { bdi { (size(stream.bytes)) } }
            td.number {
                (text.whole(stream.requests))
                @if stream.retries > 0 { span.small { (own.retries.count(usize::try_from(stream.retries).unwrap_or(usize::MAX))) } }
            }
            td.number { @if stream.wait_seconds > 0.0 { bdi { (duration(stream.wait_seconds)) } } }
        }
    }
}

/// Runs as a table.
pub(crate) fn run_table(runs: &[RunRow], has_connection: bool, text: &Messages) -> Markup {
    let own = &text.run;
    html! {
        div.table-scroll tabindex="0" role="group" aria-label=(own.list) {
            table {
                thead {
                    tr {
                        th scope="col" { (own.started) }
                        @if has_connection { th scope="col" { (own.connection) } }
                        th scope="col" { (own.state) }
                        th.number scope="col" { (own.records) }
                        th.number scope="col" { (own.time) }
                    }
                }
                tbody {
                    @for row in runs {
                        tr {
                            th scope="row" { a href={ "/syncs/" (row.id) } { (moment(row.started)) } }
                            @if has_connection { td { a href={ "/connections/" (row.connection) } { bdi { (row.title) } } } }
                            td { (badge(row.state.tone(), row.state.label(text))) }
                            td.number { (text.whole(row.records)) }
                            td.number { bdi { (duration(row.seconds)) } }
                        }
                    }
                }
            }
        }
    }
}

/// The list of all runs.
pub fn runs(view: &RunList, text: &Messages) -> Page {
    let own = &text.run;
    let main = html! {
        header.page-top { div { h1 { (own.list) } p.lead-text { (own.list_lead) } } }
        @if view.runs.is_empty() { (nothing(&own.none)) } @else { (run_table(&view.runs, true, text)) }
        @if let Some(next) = &view.next { p.after { a.button href=(next) rel="next" { (text.connections.more) } } }
    };
    Page {
        title: own.list.clone(),
        section: Section::Runs,
        main,
    }
}

fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1000.0 && unit + 1 < units.len() {
        amount /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && amount < 100.0);
    format!("{amount:.digits$} {}", units[unit])
}
