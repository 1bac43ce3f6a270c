//! What is to be read, where it goes and when; and the first records of it.

use headwater_core::{FieldError, Outcome, Timestamp};
use maud::{Markup, html};

use crate::{
    messages::{Messages, fill},
    page::{Page, Section},
    parts::{badge, icon, moment, outcome_label, tone_of},
};

/// A stream that can be chosen.
#[derive(Clone, Debug)]
pub struct StreamRow {
    /// Its name.
    pub name: String,
    /// What one record is.
    pub description: String,
    /// Whether a later run reads only what changed.
    pub is_incremental: bool,
    /// Whether its records hold personal data.
    pub is_personal: bool,
    /// What the last check said of it; none where that is not known.
    pub access: Option<Outcome>,
    /// In words.
    pub message: String,
    /// Whether it is chosen.
    pub is_chosen: bool,
}

/// How often something runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// When somebody starts it.
    #[default]
    Manual,
    /// Every so many minutes.
    Every(u32),
    /// By a cron expression.
    Cron(String),
}

/// The streams of a connection, and what is to be done with them.
#[derive(Clone, Debug)]
pub struct StreamChoice {
    /// The connection's name.
    pub connection: String,
    /// What people call it.
    pub title: String,
    /// Its streams.
    pub streams: Vec<StreamRow>,
    /// Where records go: the name of a destination of the service.
    pub destination: String,
    /// When.
    pub schedule: Schedule,
    /// Whether this installation starts runs by itself at all.
    pub can_schedule: bool,
    /// Whether personal data is replaced before it is written.
    pub is_redacted: bool,
    /// What is wrong: at `/streams`, `/destination`, `/schedule` or `/cron`.
    pub errors: Vec<FieldError>,
}

/// The step at which streams are chosen.
pub fn streams(view: &StreamChoice, text: &Messages) -> Page {
    let own = &text.streams;
    let path = format!("/connections/{}", view.connection);
    let title = fill(&own.title, &[("title", &view.title)]);
    let main = html! {
        (crumbs(&path, &view.title, &own.crumb, text))
        header.page-top { div { h1 { (title) } p.lead-text { (own.lead) } } }
        form.streams method="post" action={ (path) "/streams" } {
            @if !view.errors.is_empty() {
                div.summary role="group" tabindex="-1" aria-labelledby="summary-title" {
                    h2 #summary-title { (text.credential.errors.count(view.errors.len())) }
                    ul {
                        @for error in &view.errors {
                            li { a href={ "#" (error.pointer.trim_start_matches('/')) } { (error.message) } }
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
                div.field {
                    label for="destination" { (own.destination) }
                    p.hint #destination-hint { (own.destination_hint) }
                    (error_at(view, "/destination"))
                    input #destination name="destination" type="text" value=(view.destination) autocomplete="off" spellcheck="false"
                        aria-describedby=(described(view, "destination")) aria-invalid=[invalid(view, "/destination")];
                }
                div.field.switch {
                    label for="redact" {
                        input #redact type="checkbox" name="redact" value="true" checked[view.is_redacted] aria-describedby="redact-hint";
                        span { (own.redact) }
                    }
                    p.hint #redact-hint { (own.redact_hint) }
                }
            }
            @if view.can_schedule { (schedule(view, text)) }
            p.after.buttons {
                button.primary type="submit" name="action" value="run" { (own.run) }
                @if view.can_schedule { button type="submit" name="action" value="save" { (own.save) } }
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
            a href="/connections" { (text.page.connections) } " / " a href=(path) { (title) } " / "
            span aria-current="page" { (last) }
        }
    }
}

fn stream_row(stream: &StreamRow, number: usize, path: &str, text: &Messages) -> Markup {
    let own = &text.streams;
    let id = format!("stream-{number}");
    let access = stream.access.unwrap_or(Outcome::Skipped);
    let label = match stream.access {
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
                @if !stream.message.is_empty() && access != Outcome::Passed { p.small { (stream.message) } }
            }
            a href={ (path) "/preview?stream=" (stream.name) } { (own.preview) span.vh { " " (stream.name) } }
        }
    }
}

fn schedule(view: &StreamChoice, text: &Messages) -> Markup {
    let own = &text.streams;
    let every = [
        (15, &own.every_15_minutes),
        (60, &own.every_hour),
        (360, &own.every_6_hours),
        (1440, &own.every_day),
    ];
    let other = match view.schedule {
        Schedule::Every(minutes) if every.iter().all(|(known, _)| *known != minutes) => {
            Some(minutes)
        }
        _ => None,
    };
    let cron = match &view.schedule {
        Schedule::Cron(expression) => expression.as_str(),
        _ => "",
    };
    html! {
        fieldset.panel {
            legend { (own.when) }
            div.field {
                label for="schedule" { (own.schedule) }
                (error_at(view, "/schedule"))
                select #schedule name="schedule" {
                    option value="manual" selected[view.schedule == Schedule::Manual] { (own.manual) }
                    @for (minutes, label) in every {
                        option value=(minutes) selected[view.schedule == Schedule::Every(minutes)] { (label) }
                    }
                    @if let Some(minutes) = other {
                        option value=(minutes) selected { (fill(&own.every_minutes, &[("minutes", &minutes.to_string())])) }
                    }
                    option value="cron" selected[matches!(view.schedule, Schedule::Cron(_))] { (own.cron) }
                }
            }
            div.field data-cron {
                label for="cron" { (own.cron_expression) }
                p.hint #cron-hint { (own.cron_hint) }
                (error_at(view, "/cron"))
                input #cron name="cron" type="text" value=(cron) autocomplete="off" spellcheck="false"
                    aria-describedby=(described(view, "cron")) aria-invalid=[invalid(view, "/cron")];
            }
        }
    }
}

fn find<'a>(view: &'a StreamChoice, pointer: &str) -> Option<&'a FieldError> {
    view.errors.iter().find(|error| error.pointer == pointer)
}

fn error_at(view: &StreamChoice, pointer: &str) -> Markup {
    let id = format!("{}-error", pointer.trim_start_matches('/'));
    html! {
        @if let Some(error) = find(view, pointer) { p.error id=(id) { (icon("bad")) span { (error.message) } } }
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
    /// What people call it.
    pub title: String,
    /// The stream that is shown.
    pub stream: String,
    /// All streams.
    pub streams: Vec<String>,
    /// The columns.
    pub columns: Vec<String>,
    /// For each record, its values in the order of the columns.
    pub rows: Vec<Vec<String>>,
    /// Whether personal data is masked.
    pub is_masked: bool,
    /// When it was read.
    pub at: Timestamp,
    /// Why there is nothing to see.
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
        @if let Some(problem) = &view.problem { p.refused role="alert" { (icon("bad")) span { (problem) } } }
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
