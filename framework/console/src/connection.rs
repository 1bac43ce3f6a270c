//! One saved connection: its status, access, uses and history.

use std::collections::BTreeMap;

use headwater_core::{Allowance, Date, FormModel, Outcome, Timestamp};
use maud::{Markup, html};
use serde_json::Value;

use crate::{
    checks::{ProbeResult, tested},
    command,
    credential::Source,
    expiry::{Age, age, banner},
    fields::{SavedSecret, in_words},
    gallery::{Tile, nothing},
    messages::{Messages, fill},
    page::{Page, Section},
    parts::{Status, allowances, badge, icon, logo, moment, outcome_label, status_badge, tone_of},
    run::{RunRow, run_table},
    sentence::sentence,
};

/// Whether a stream may be read.
#[derive(Clone, Debug)]
pub struct Access {
    /// The stream.
    pub stream: String,
    /// The outcome of the last probe.
    pub outcome: Outcome,
    /// In words.
    pub message: String,
}

/// Something that uses a connection.
#[derive(Clone, Debug)]
pub struct Use {
    /// Its title.
    pub title: String,
    /// Its page.
    pub path: String,
}

/// One entry of a connection's history.
#[derive(Clone, Debug)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub who: String,
    /// The action as a sentence, without any value.
    pub what: String,
    /// The id of the request.
    pub request_id: Option<String>,
}

/// Everything about one connection but its secrets.
#[derive(Clone, Debug)]
pub struct ConnectionDetail<'a> {
    /// Its name, title and status.
    pub tile: Tile,
    /// Its source.
    pub source: &'a Source,
    /// The connector's form.
    pub form: &'a FormModel,
    /// Its config, without secrets.
    pub config: Value,
    /// Its secrets, by pointer.
    pub saved: BTreeMap<String, SavedSecret>,
    /// Its version, which detects concurrent changes.
    pub version: String,
    /// When it was created, if known.
    pub created: Option<Timestamp>,
    /// When it was last changed, if known.
    pub updated: Option<Timestamp>,
    /// Why it cannot be read.
    pub problem: Option<String>,
    /// Whether an unreadable one can be entered again.
    pub can_be_entered: bool,
    /// Its last probe.
    pub tested: Option<ProbeResult>,
    /// The message of its last sync, if that did not read everything.
    pub last_sync: Option<String>,
    /// The day on which its secrets expire, as entered.
    pub expires: Option<Date>,
    /// Reasons for new secrets other than an expiry.
    pub age: Age,
    /// The streams that it may read.
    pub access: Vec<Access>,
    /// The allowances of the service; shown if the last probe has none.
    pub allowances: Vec<Allowance>,
    /// Its uses.
    pub used_by: Vec<Use>,
    /// Its history, the newest entry first.
    pub history: Vec<Change>,
    /// Its runs, the newest first.
    pub runs: Vec<RunRow>,
    /// Until when the last change of its secrets can be undone.
    pub undo_until: Option<Timestamp>,
    /// The action that has just succeeded.
    pub done: Option<String>,
    /// Why the last action was refused.
    pub refused: Option<String>,
}

/// The page of one connection.
pub fn connection(view: &ConnectionDetail<'_>, text: &Messages) -> Page {
    let own = &text.connection;
    let path = format!("/connections/{}", view.tile.name);
    let has_allowances = view
        .tested
        .as_ref()
        .is_some_and(|tested| !tested.report.allowances.is_empty());
    let is_readable = view.tile.status != Status::Unreadable;
    let main = html! {
        nav.crumbs aria-label=(text.page.crumbs) {
            a href="/connections" { (text.page.connections) } " / " bdi aria-current="page" { (view.tile.title) }
        }
        header.page-top {
            div.with-logo {
                (logo(&view.source.id, &view.source.name))
                div {
                    h1 data-refresh="status" { bdi { (view.tile.title) } " " (status_badge(view.tile.status, text)) }
                    p.lead-text {
                        (view.source.name)
                        @if !view.tile.description.is_empty() { " · " bdi { (view.tile.description) } }
                    }
                }
            }
            @if is_readable {
                div.buttons {
                    a.button href={ (path) "/edit" } data-dialog { (own.edit) }
                    a.button href={ (path) "/rotate" } data-dialog { (own.rotate) }
                    a.button href={ "/sources/" (view.source.id) "/add?from=" (view.tile.name) } data-dialog { (own.duplicate) }
                    a.button.primary href={ (path) "/streams" } { (own.streams) }
                }
            }
        }
        @if let Some(done) = &view.done { p.done role="status" { (icon("good")) span { (done) } } }
        @if let Some(refused) = &view.refused { p.refused role="alert" { (icon("bad")) span { (sentence(refused)) } } }
        div data-refresh="attention" { (attention(view, &path, text)) }
        @if let Some(expiry) = view.tile.expiry.filter(|_| is_readable) { (banner(expiry, &path, text)) }
        @if let Some(until) = view.undo_until {
            form.undo method="post" action=(path) {
                input type="hidden" name="version" value=(view.version);
                p { (icon("info")) span { (own.undo_until) " " (moment(until)) } }
                button type="submit" name="action" value="undo" { (own.undo) }
            }
        }
        div.detail {
            div {
                @if is_readable {
                    (check(view, &path, text))
                    (access(view, text))
                }
                section.panel aria-labelledby="runs-title" {
                    h2 #runs-title { (own.runs) }
                    @if view.runs.is_empty() { (nothing(&own.no_runs)) } @else { (run_table(&view.runs, false, text)) }
                }
                (history(view, text))
            }
            div {
                (overview(view, text))
                @if !view.allowances.is_empty() && !has_allowances {
                    section.panel aria-labelledby="allowances-title" { h2 #allowances-title { (own.allowances) } (allowances(&view.allowances, text)) }
                }
                section.panel aria-labelledby="used-title" {
                    h2 #used-title { (own.used_by) }
                    @if view.used_by.is_empty() { (nothing(&own.unused)) }
                    @else { ul.plain { @for one in &view.used_by { li { a href=(one.path) { (one.title) } } } } }
                }
                @if is_readable { (at_a_shell(view, text)) }
                (deletion(view, &path, text))
            }
        }
    };
    Page {
        title: view.tile.title.clone(),
        section: Section::Connections,
        main,
    }
}

/// The problem and its remedy.
fn attention(view: &ConnectionDetail<'_>, path: &str, text: &Messages) -> Markup {
    let own = &text.connection;
    let failure = view
        .tested
        .as_ref()
        .and_then(|tested| tested.report.failure());
    match (view.tile.status, &view.problem, failure) {
        (Status::Unreadable, problem, _) => html! {
            div.attention-box {
                (icon("bad"))
                div {
                    p { strong { (problem.as_deref().map_or_else(|| own.unreadable.clone(), sentence)) } }
                    @if view.can_be_entered { p { a.button href={ (path) "/edit" } data-dialog { (own.enter_again) } } }
                }
            }
        },
        (Status::NeedsAttention, _, Some(check)) => html! {
            div.attention-box {
                (icon("warn"))
                div {
                    p { strong { (sentence(&check.message)) } }
                    @if let Some(remedy) = &check.remedy { p { (sentence(remedy)) } }
                    p { a.button href={ (path) "/edit?repair=1" } data-dialog { (own.fix) } }
                    @if let Some(message) = &view.last_sync { (last_sync(message, text)) }
                }
            }
        },
        _ => html! {
            @if let Some(message) = &view.last_sync {
                div.attention-box {
                    (icon("warn"))
                    div {
                        (last_sync(message, text))
                        @if view.tile.status == Status::NeedsAttention {
                            p { a.button href={ (path) "/edit?repair=1" } data-dialog { (own.fix) } }
                        }
                    }
                }
            }
        },
    }
}

fn last_sync(message: &str, text: &Messages) -> Markup {
    html! { p { (text.connection.last_sync) " " strong { (sentence(message)) } } }
}

fn check(view: &ConnectionDetail<'_>, path: &str, text: &Messages) -> Markup {
    let own = &text.connection;
    html! {
        section.panel aria-labelledby="check-title" {
            form method="post" action=(path) data-check=(view.tile.name) {
                input type="hidden" name="version" value=(view.version);
                header.panel-top {
                    h2 #check-title { (own.check) }
                    button type="submit" name="action" value="test" { (text.credential.test) }
                }
                p.progress role="status" data-progress {}
                @if view.tested.is_none() { p.nothing data-untested { (own.untested) } }
                (tested(view.tested.as_ref(), text))
            }
        }
    }
}

fn access(view: &ConnectionDetail<'_>, text: &Messages) -> Markup {
    let own = &text.connection;
    html! {
        section.panel data-refresh="access" aria-labelledby="access-title" {
            h2 #access-title { (own.access) }
            @if view.access.is_empty() { (nothing(&own.no_access)) }
            @else {
                ul.access {
                    @for one in &view.access {
                        li {
                            code { (one.stream) }
                            @if one.outcome == Outcome::Passed { (badge(tone_of(one.outcome), &text.streams.readable)) }
                            @else {
                                (badge(tone_of(one.outcome), outcome_label(one.outcome, text)))
                                span.message { (sentence(&one.message)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn overview(view: &ConnectionDetail<'_>, text: &Messages) -> Markup {
    let own = &text.connection;
    html! {
        section.panel aria-labelledby="overview-title" {
            h2 #overview-title { (own.overview) }
            dl.facts {
                div { dt { (own.name) } dd { code { (view.tile.name) } } }
                @if let Some(owner) = &view.tile.owner { div { dt { (own.owner) } dd { (owner) } } }
                @if let Some(at) = view.created { div { dt { (own.created) } dd { (moment(at)) } } }
                @if let Some(at) = view.updated { div { dt { (own.updated) } dd { (moment(at)) } } }
                @if let Some(day) = view.expires { div { dt { (text.credential.expires) } dd { (day) } } }
                @for field in view.form.inputs_of(&view.config) {
                    @if let Some(secret) = view.saved.get(&field.pointer) {
                        div { dt { (field.title) } dd { (icon("lock")) (text.secret.saved) " " (moment(secret.at)) } }
                    } @else if let Some(value) = view.config.pointer(&field.pointer) {
                        div { dt { (field.title) } dd { (in_words(&field.kind, value, text)) } }
                    }
                }
            }
            (age(&view.age, text))
        }
    }
}

fn at_a_shell(view: &ConnectionDetail<'_>, text: &Messages) -> Markup {
    let own = &text.connection;
    html! {
        section.panel aria-labelledby="shell-title" {
            h2 #shell-title { (own.shell) }
            p { (own.shell_text) }
            div.to-copy { pre data-copy=(own.copy) tabindex="0" { (command::add(&view.tile.name, &view.source.id, view.form, &view.config)) } }
        }
    }
}

fn history(view: &ConnectionDetail<'_>, text: &Messages) -> Markup {
    let own = &text.connection;
    html! {
        section.panel aria-labelledby="history-title" {
            h2 #history-title { (own.history) }
            @if view.history.is_empty() { (nothing(&own.no_history)) }
            @else {
                ol.history {
                    @for change in &view.history {
                        li {
                            p { (change.what) }
                            p.small {
                                (moment(change.at)) " · " (change.who)
                                @if let Some(id) = &change.request_id { " · " (fill(&text.checks.request, &[("id", id)])) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn deletion(view: &ConnectionDetail<'_>, path: &str, text: &Messages) -> Markup {
    let own = &text.connection;
    let is_used = !view.used_by.is_empty();
    html! {
        section.panel.danger aria-labelledby="delete-title" {
            h2 #delete-title { (own.delete) }
            p { @if is_used { (own.delete_used.count(view.used_by.len())) } @else { (own.delete_text) } }
            form method="post" action=(path) {
                input type="hidden" name="version" value=(view.version);
                @if is_used {
                    div.field {
                        label for="confirm" { (fill(&own.delete_confirm, &[("name", &view.tile.name)])) }
                        input #confirm name="confirm" type="text" autocomplete="off" required
                            aria-invalid=[view.refused.as_ref().map(|_| "true")];
                    }
                }
                button.danger type="submit" name="action" value="delete" { (own.delete_now) }
            }
        }
    }
}
