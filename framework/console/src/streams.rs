//! The choice of streams, destination and schedule, and the preview of records.

use headwater_core::{FieldError, Outcome, Timestamp};
use maud::{Markup, html};

use crate::{
    messages::{Messages, fill},
    page::{Page, Section},
    parts::{about, badge, icon, moment, outcome_label, tone_of},
    sentence::sentence,
};

/// A stream that can be chosen.
#[derive(Clone, Debug)]
pub struct StreamRow {
    /// Its name.
    pub name: String,
    /// The meaning of one record.
    pub description: String,
    /// Whether a later run reads only what changed.
    pub is_incremental: bool,
    /// Whether its records hold personal data.
    pub is_personal: bool,
    /// The outcome of its check in the last probe, if known.
    pub access: Option<Outcome>,
    /// In words.
    pub message: String,
    /// Whether it is chosen.
    pub is_chosen: bool,
}

/// How often a connection runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Frequency {
    /// On request only.
    #[default]
    Manual,
    /// At an interval in seconds.
    Every(u32),
    /// By a cron expression.
    Cron,
}

/// The schedule of a connection, as saved or entered.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    /// How often.
    pub frequency: Frequency,
    /// The cron expression.
    pub cron: String,
    /// The time zone of the expression.
    pub time_zone: String,
    /// Whether it is paused.
    pub is_paused: bool,
    /// Its next times.
    pub next: Vec<Timestamp>,
}

/// The last change of a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleChange {
    /// It was set or changed.
    Saved,
    /// It was removed.
    Removed,
}

/// The streams of a connection and the settings of its runs.
#[derive(Clone, Debug)]
pub struct StreamChoice {
    /// The connection's name.
    pub connection: String,
    /// Its title.
    pub title: String,
    /// Its streams.
    pub streams: Vec<StreamRow>,
    /// The name of a destination of the service.
    pub destination: String,
    /// The schedule.
    pub schedule: Schedule,
    /// Whether this service runs schedules and the viewer may change them.
    pub can_schedule: bool,
    /// Whether personal data is replaced before it is written.
    pub is_redacted: bool,
    /// Whether the run continues although its position may belong to another account.
    pub is_same_account: bool,
    /// The version of the connection, which detects concurrent changes.
    pub version: String,
    /// The change that has just succeeded.
    pub done: Option<ScheduleChange>,
    /// Errors at `/streams`, `/destination`, `/schedule`, `/cron`, `/time_zone`, or at none of these fields.
    pub errors: Vec<FieldError>,
}

/// The step that chooses streams.
pub fn streams(view: &StreamChoice, text: &Messages) -> Page {
    let own = &text.streams;
    let path = format!("/connections/{}", view.connection);
    let title = fill(&own.title, &[("title", &view.title)]);
    let main = html! {
        (crumbs(&path, &view.title, &own.crumb, text))
        header.page-top { div { h1 { (about(&own.title, &view.title)) } p.lead-text { (own.lead) } } }
        @if let Some(done) = view.done {
            p.done role="status" { (icon("good")) span { (match done { ScheduleChange::Saved => &own.saved, ScheduleChange::Removed => &own.removed }) } }
        }
        form.streams method="post" action={ (path) "/streams" } {
            input type="hidden" name="version" value=(view.version);
            @if !view.errors.is_empty() {
                div.summary role="group" tabindex="-1" aria-labelledby="summary-title" {
                    h2 #summary-title { (text.credential.errors.count(view.errors.len())) }
                    ul {
                        @for error in &view.errors {
                            li {
                                @if error.pointer.is_empty() { (sentence(&error.message)) }
                                @else { a href={ "#" (error.pointer.trim_start_matches('/')) } { (sentence(&error.message)) } }
                            }
                        }
                    }
                }
            }
            fieldset.panel #streams tabindex="-1" {
                legend { (own.legend) }
                (error_at(view, "/streams"))
                ul.stream-list {
                    @for (number, stream) in view.streams.iter().enumerate() { (stream_row(stream, number, &path, text)) }
                }
            }
            fieldset.panel {
                legend { (own.where_to) }
                (line(view, "destination", &own.destination, &own.destination_hint, &view.destination))
                div.field.switch {
                    label for="redact" {
                        input #redact type="checkbox" name="redact" value="true" checked[view.is_redacted] aria-describedby="redact-hint";
                        span { (own.redact) }
                    }
                    p.hint #redact-hint { (own.redact_hint) }
                }
                div.field.switch {
                    label for="same-account" {
                        input #same-account type="checkbox" name="same_account" value="true" checked[view.is_same_account] aria-describedby="same-account-hint";
                        span { (own.same_account) }
                    }
                    p.hint #same-account-hint { (own.same_account_hint) }
                }
            }
            @if view.can_schedule { (schedule(view, text)) }
            p.after.buttons {
                button.primary type="submit" name="action" value="run" { (own.run) }
                @if view.can_schedule {
                    button type="submit" name="action" value="save" { (own.save) }
                    button.quiet type="submit" name="action" value="times" { (own.show_next) }
                }
            }
        }
    };
    Page {
        title,
        section: Section::Connections,
        main,
    }
}

fn crumbs(path: &str, title: &str, last: &str, text: &Messages) -> Markup {
    html! {
        nav.crumbs aria-label=(text.page.crumbs) {
            a href="/connections" { (text.page.connections) } " / " a href=(path) { bdi { (title) } } " / "
            span aria-current="page" { (last) }
        }
    }
}

fn stream_row(stream: &StreamRow, number: usize, path: &str, text: &Messages) -> Markup {
    let own = &text.streams;
    let id = format!("stream-{number}");
    let access = stream.access.unwrap_or(Outcome::Skipped);
    let label = match stream.access {
        Some(Outcome::Passed) => &own.readable,
        Some(outcome) => outcome_label(outcome, text),
        None => &own.not_checked,
    };
    html! {
        li {
            label for=(id) {
                input id=(id) type="checkbox" name="stream" value=(stream.name) checked[stream.is_chosen]
                    aria-describedby={ (id) "-text" };
                code { (stream.name) }
            }
            div.stream-text id={ (id) "-text" } {
                p { (stream.description) }
                p.tags {
                    (badge(tone_of(access), label))
                    @if stream.is_incremental { span.tag { (own.incremental) } }
                    @if stream.is_personal { span.tag { (own.personal) } }
                }
                @if !stream.message.is_empty() && access != Outcome::Passed { p.small { (sentence(&stream.message)) } }
            }
            a href={ (path) "/preview?stream=" (stream.name) } { (own.preview) span.vh { " " (stream.name) } }
        }
    }
}

fn schedule(view: &StreamChoice, text: &Messages) -> Markup {
    let own = &text.streams;
    let schedule = &view.schedule;
    let every = [
        (900, &own.every_15_minutes),
        (3_600, &own.every_hour),
        (21_600, &own.every_6_hours),
        (86_400, &own.every_day),
    ];
    let other = match schedule.frequency {
        Frequency::Every(seconds) if every.iter().all(|(known, _)| *known != seconds) => {
            Some(seconds)
        }
        _ => None,
    };
    html! {
        fieldset.panel {
            legend { (own.when) }
            div.field {
                label for="schedule" { (own.schedule) }
                (error_at(view, "/schedule"))
                select #schedule name="schedule" aria-describedby=[find(view, "/schedule").map(|_| "schedule-error")]
                    aria-invalid=[invalid(view, "/schedule")] {
                    option value="manual" selected[schedule.frequency == Frequency::Manual] { (own.manual) }
                    @for (seconds, label) in every {
                        option value=(seconds) selected[schedule.frequency == Frequency::Every(seconds)] { (label) }
                    }
                    @if let Some(seconds) = other {
                        option value=(seconds) selected { (every_other(seconds, text)) }
                    }
                    option value="cron" selected[schedule.frequency == Frequency::Cron] { (own.cron) }
                }
            }
            div.cron data-cron {
                (line(view, "cron", &own.cron_expression, &own.cron_hint, &schedule.cron))
                (line(view, "time_zone", &own.time_zone, &own.time_zone_hint, &schedule.time_zone))
            }
            div.field.switch {
                label for="paused" {
                    input #paused type="checkbox" name="paused" value="true" checked[schedule.is_paused] aria-describedby="paused-hint";
                    span { (own.paused) }
                }
                p.hint #paused-hint { (own.paused_hint) }
            }
            @if !schedule.next.is_empty() {
                div.next role="group" aria-labelledby="next-title" {
                    p #next-title { (own.next) }
                    ul { @for at in &schedule.next { li { (moment(*at)) } } }
                    p.hint { (own.next_hint) }
                }
            }
        }
    }
}

fn every_other(seconds: u32, text: &Messages) -> String {
    let own = &text.streams;
    match seconds % 60 {
        0 => fill(
            &own.every_minutes,
            &[("minutes", &text.whole((seconds / 60).into()))],
        ),
        _ => fill(
            &own.every_seconds,
            &[("seconds", &text.whole(seconds.into()))],
        ),
    }
}

/// An input of one line with its label and hint.
fn line(view: &StreamChoice, id: &str, label: &str, hint: &str, value: &str) -> Markup {
    let pointer = format!("/{id}");
    html! {
        div.field {
            label for=(id) { (label) }
            p.hint id={ (id) "-hint" } { (hint) }
            (error_at(view, &pointer))
            input id=(id) name=(id) type="text" value=(value) autocomplete="off" spellcheck="false"
                aria-describedby=(described(view, id)) aria-invalid=[invalid(view, &pointer)];
        }
    }
}

fn find<'a>(view: &'a StreamChoice, pointer: &str) -> Option<&'a FieldError> {
    view.errors.iter().find(|error| error.pointer == pointer)
}

fn error_at(view: &StreamChoice, pointer: &str) -> Markup {
    let id = format!("{}-error", pointer.trim_start_matches('/'));
    html! {
        @if let Some(error) = find(view, pointer) { p.error id=(id) { (icon("bad")) span { (sentence(&error.message)) } } }
    }
}

fn described(view: &StreamChoice, id: &str) -> String {
    match find(view, &format!("/{id}")) {
        Some(_) => format!("{id}-error {id}-hint"),
        None => format!("{id}-hint"),
    }
}

fn invalid(view: &StreamChoice, pointer: &str) -> Option<&'static str> {
    find(view, pointer).map(|_| "true")
}

/// The first records of a stream.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The connection's name.
    pub connection: String,
    /// Its title.
    pub title: String,
    /// The shown stream.
    pub stream: String,
    /// All streams.
    pub streams: Vec<String>,
    /// The columns.
    pub columns: Vec<String>,
    /// The values of each record, in the order of the columns.
    pub rows: Vec<Vec<String>>,
    /// Whether personal data is masked.
    pub is_masked: bool,
    /// The time of the read.
    pub at: Timestamp,
    /// The reason of a failed read.
    pub problem: Option<String>,
}

/// The page with the first records.
pub fn preview(view: &Preview, text: &Messages) -> Page {
    let own = &text.preview;
    let path = format!("/connections/{}", view.connection);
    let action = format!("{path}/preview");
    let title = fill(&own.title, &[("stream", &view.stream)]);
    let main = html! {
        (crumbs(&path, &view.title, &own.crumb, text))
        header.page-top {
            div { h1 { (title) } p.lead-text { (own.lead) " " (moment(view.at)) } }
            form.search method="get" action=(action) {
                label for="stream" { (own.stream) }
                select #stream name="stream" {
                    @for stream in &view.streams { option value=(stream) selected[*stream == view.stream] { (stream) } }
                }
                button type="submit" { (own.show) }
            }
        }
        form.masking method="post" action=(action) {
            input type="hidden" name="stream" value=(view.stream);
            @if view.is_masked {
                p { (icon("lock")) span { (own.masked) } }
                button type="submit" name="action" value="reveal" { (own.reveal) }
            } @else {
                p { (icon("warn")) span { (own.revealed) } }
                button type="submit" name="action" value="mask" { (own.mask) }
            }
        }
        @if let Some(problem) = &view.problem { p.refused role="alert" { (icon("bad")) span { (sentence(problem)) } } }
        @else if view.rows.is_empty() { p.nothing { (own.none) } }
        @else {
            div.table-scroll tabindex="0" role="group" aria-label=(title) {
                table {
                    thead { tr { @for column in &view.columns { th scope="col" { (column) } } } }
                    tbody { @for row in &view.rows { tr { @for value in row { td { (value) } } } } }
                }
            }
            p.small { (own.rows.count(view.rows.len())) }
        }
    };
    Page {
        title,
        section: Section::Connections,
        main,
    }
}
