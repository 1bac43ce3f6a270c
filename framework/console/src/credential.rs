//! The form that adds, changes or repairs a credential. It opens over a page, and has a page of its own.

use std::collections::{BTreeMap, BTreeSet};

use headwater_core::{Date, FieldError, FieldKind, FormModel, Notice};
use maud::{Markup, html};
use serde_json::Value;

use crate::{
    answer::as_sent,
    checks::{ProbeResult, tested, verdict_link},
    fields::{At, Fields, SavedSecret},
    inputs::{id, name_at},
    messages::{Messages, fill},
    page::{Page, Section},
    parts::{about, icon, logo},
    sentence::sentence,
};

/// The most characters of a credential's name.
pub const LONGEST_TITLE: usize = 80;
/// The most characters of a credential's description.
pub const LONGEST_DESCRIPTION: usize = 500;

/// A source, as the console names it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The connector's id.
    pub id: String,
    /// The product's name.
    pub name: String,
    /// One sentence about its data.
    pub summary: String,
    /// The vendor's documentation.
    pub docs: String,
}

/// The purpose of the form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A new credential.
    Add,
    /// Any change of a saved one.
    Edit,
    /// A change of these fields only, named by their pointers, because the last probe failed at them.
    Repair(Vec<String>),
    /// New secrets; all other values stay.
    Rotate,
    /// All values of an unreadable one.
    Again,
}

/// The form of a credential and its state.
#[derive(Clone, Debug)]
pub struct CredentialForm<'a> {
    /// Its purpose.
    pub purpose: Purpose,
    /// Where it is sent without the script.
    pub path: String,
    /// The page after closing it without saving.
    pub back: String,
    /// The source.
    pub source: &'a Source,
    /// The connector's form.
    pub form: &'a FormModel,
    /// The saved connection's name and version; `None` for a new one.
    pub connection: Option<(String, String)>,
    /// Its title.
    pub title: String,
    /// Its description.
    pub description: String,
    /// The day on which its secrets expire, as typed or saved.
    pub expires: String,
    /// The day on which the secrets to be replaced expire.
    pub expires_before: Option<Date>,
    /// The typed or saved answer, without secrets.
    pub answer: Value,
    /// The saved answer without secrets; null for a new connection.
    pub saved_answer: Value,
    /// The saved secrets, by pointer.
    pub saved: BTreeMap<String, SavedSecret>,
    /// Saved secrets that have to be entered again, by pointer, each with the reason.
    pub asked_again: BTreeMap<String, String>,
    /// Names of the inputs for which "Replace" was pressed.
    pub replacing: BTreeSet<String>,
    /// Errors by field; `/title`, `/description` and `/expires` are fields of the credential itself.
    pub errors: Vec<FieldError>,
    /// Notices about values that were tidied or look odd.
    pub notices: Vec<Notice>,
    /// The last probe of the values in the form.
    pub tested: Option<ProbeResult>,
    /// Whether the form offers to save despite a failed probe.
    pub offers_untested: bool,
    /// After a failed probe: whether saving is allowed nevertheless.
    pub may_save_untested: bool,
    /// Source addresses of requests, for lists of allowed addresses.
    pub egress: Vec<String>,
}

/// The first title of a copied credential.
pub fn title_of_copy(title: &str, text: &Messages) -> String {
    let copy = fill(&text.credential.copy_of, &[("title", title)]);
    copy.chars().take(LONGEST_TITLE).collect()
}

/// The page with the form.
pub fn credential(view: &CredentialForm<'_>, text: &Messages) -> Page {
    let title = heading(view, text);
    Page {
        main: overlay(view, &html! {}, text),
        title,
        section: Section::Sources,
    }
}

fn heading(view: &CredentialForm<'_>, text: &Messages) -> String {
    let values = [
        ("source", view.source.name.as_str()),
        ("title", view.title.as_str()),
    ];
    fill(pattern(view, text), &values)
}

fn pattern<'t>(view: &CredentialForm<'_>, text: &'t Messages) -> &'t str {
    let own = &text.credential;
    match view.purpose {
        Purpose::Add => &own.add,
        Purpose::Edit => &own.edit,
        Purpose::Repair(_) => &own.repair,
        Purpose::Rotate => &own.rotate,
        Purpose::Again => &own.again,
    }
}

/// The form with its guide. `carried` has hidden inputs of the surrounding page.
pub(crate) fn overlay(view: &CredentialForm<'_>, carried: &Markup, text: &Messages) -> Markup {
    let own = &text.credential;
    let title = fill(pattern(view, text), &[("source", &view.source.name)]);
    let name = view.connection.as_ref().map(|(name, _)| name);
    let version = view.connection.as_ref().map(|(_, version)| version);
    let is_unsaved = version.is_some() && view.answer != view.saved_answer;
    let saved = is_unsaved.then(|| as_sent(&view.form.fields, &view.saved_answer));
    html! {
        article.overlay data-overlay aria-labelledby="overlay-title" {
            header.overlay-top {
                (logo(&view.source.id, &view.source.name))
                h1 #overlay-title tabindex="-1" { (about(&title, &view.title)) }
                a.close href=(view.back) data-close { (icon("close")) span.vh { (own.close) } }
            }
            form.credential method="post" action=(view.path) novalidate data-credential
                data-connector=(view.source.id) data-connection=[name] data-version=[version] data-saved=[saved]
                data-back=(view.back) {
                // Enter in a field presses the first button of a form.
                button.vh type="submit" name="action" value="save" tabindex="-1" aria-hidden="true" { (own.save) }
                @if let Some(version) = version { input type="hidden" name="version" value=(version); }
                (carried)
                div.columns {
                    div.inputs {
                        (summary(view, text))
                        @if let Purpose::Repair(_) = view.purpose {
                            p.lead {
                                (icon("info"))
                                span { (own.repair_lead) " " a href={ "/connections/" (name.map_or("", String::as_str)) "/edit" } data-dialog { (own.edit_everything) } }
                            }
                        }
                        @if view.purpose == Purpose::Rotate {
                            p.lead { (icon("info")) span { (own.rotate_lead) } }
                            @if view.form.inputs().iter().any(|field| field.single) { p.lead.warn { (icon("warn")) span { (own.rotate_single) } } }
                        }
                        @if view.purpose == Purpose::Again { p.lead { (icon("warn")) span { (own.again_lead) } } }
                        @if matches!(view.purpose, Purpose::Add | Purpose::Edit | Purpose::Again) { (names(view, text)) }
                        @else {
                            input type="hidden" name="title" value=(view.title);
                            input type="hidden" name="description" value=(view.description);
                        }
                        @if view.purpose == Purpose::Add { (from_file(text)) }
                        (inputs(view, text))
                        @if let Purpose::Repair(_) = view.purpose { input type="hidden" name="expires" value=(view.expires); }
                        @else { (expiry(view, text)) }
                        (tested(view.tested.as_ref(), text))
                    }
                    (guide(view, text))
                }
                footer.overlay-bottom { (actions(view, text)) }
            }
        }
    }
}

fn actions(view: &CredentialForm<'_>, text: &Messages) -> Markup {
    let own = &text.credential;
    let has_failed = view
        .tested
        .as_ref()
        .is_some_and(|tested| tested.report.failure().is_some());
    let may_skip = view.may_save_untested && has_failed;
    html! {
        p.progress role="status" data-progress {
            @if let Some(tested) = &view.tested { (verdict_link(tested, text)) }
        }
        div.buttons {
            @if view.offers_untested {
                button.quiet type="submit" name="action" value="save-untested" hidden[!may_skip] { (own.save_untested) }
            }
            a.button.quiet href=(view.back) data-close { (own.cancel) }
            button type="submit" name="action" value="test" { (own.test) }
            button.primary type="submit" name="action" value="save" { (own.save) }
        }
    }
}

/// Every error once, with a link to its first field, worded as at the field.
fn summary(view: &CredentialForm<'_>, text: &Messages) -> Markup {
    let own = &text.credential;
    let link = |error: &FieldError| match error.pointer.as_str() {
        "/title" => Some("title".to_owned()),
        "/description" => Some("description".to_owned()),
        "/expires" => Some("expires".to_owned()),
        pointer => name_at(&view.form.fields, &view.answer, pointer).map(|name| id(&name)),
    };
    let is_at_field =
        view.errors.iter().any(|error| link(error).is_some()) || view.errors.is_empty();
    html! {
        div.summary data-summary role="group" tabindex="-1" aria-labelledby="summary-title" hidden[view.errors.is_empty()] {
            h2 #summary-title {
                @if is_at_field { (own.errors.count(view.errors.len())) } @else { (text.script.refused) }
            }
            ul {
                @for error in distinct(&view.errors) {
                    li {
                        @if let Some(id) = link(error) { a href={ "#" (id) } { (sentence(&error.message)) } }
                        @else { (sentence(&error.message)) }
                    }
                }
            }
        }
    }
}

/// Errors with distinct messages; a key and its password often share one.
fn distinct(errors: &[FieldError]) -> impl Iterator<Item = &FieldError> {
    let numbered = errors.iter().enumerate();
    let first = numbered.filter(|(index, error)| {
        let mut before = errors.iter().take(*index);
        before.all(|one| one.message != error.message)
    });
    first.map(|(_, error)| error)
}

fn names(view: &CredentialForm<'_>, text: &Messages) -> Markup {
    let own = &text.credential;
    let title = error_at(view, "/title");
    let description = error_at(view, "/description");
    html! {
        div.field data-pointer="/title" data-kind="own" data-title=(own.title) {
            label for="title" { (own.title) " " span.needed { (text.field.required) } }
            p.hint #title-hint { (own.title_hint) }
            @if let Some(error) = title { p.error #title-error { (icon("bad")) span { (sentence(error)) } } }
            input #title name="title" type="text" dir="auto" value=(view.title) maxlength=(LONGEST_TITLE) required autocomplete="off"
                data-1p-ignore data-lpignore="true" data-bwignore data-form-type="other"
                aria-describedby=(described("title", title)) aria-invalid=[title.map(|_| "true")];
        }
        div.field data-pointer="/description" data-kind="own" data-title=(own.description) {
            label for="description" { (own.description) }
            p.hint #description-hint { (own.description_hint) }
            @if let Some(error) = description { p.error #description-error { (icon("bad")) span { (sentence(error)) } } }
            textarea #description name="description" dir="auto" rows="2" maxlength=(LONGEST_DESCRIPTION) data-counter
                autocomplete="off" aria-describedby=(described("description", description))
                aria-invalid=[description.map(|_| "true")] { "\n" (view.description) }
            p.counter aria-hidden="true" data-count-of="description" hidden {}
        }
    }
}

/// An input for a config file. The script reads the file; nothing is sent before the form is.
fn from_file(text: &Messages) -> Markup {
    let own = &text.credential;
    html! {
        details.from-file data-from-file hidden {
            summary { (own.from_file) }
            div.field {
                label for="from-file" { (own.file) }
                p.hint #from-file-hint { (own.from_file_hint) }
                input #from-file type="file" accept=".json,application/json" aria-describedby="from-file-hint from-file-said";
                p.notice #from-file-said role="status" hidden { (icon("info")) span {} }
            }
        }
    }
}

fn expiry(view: &CredentialForm<'_>, text: &Messages) -> Markup {
    let own = &text.credential;
    let error = error_at(view, "/expires");
    html! {
        div.field data-pointer="/expires" data-kind="own" data-title=(own.expires) {
            label for="expires" { (own.expires) }
            p.hint #expires-hint {
                (own.expires_hint)
                @if let Some(day) = view.expires_before { " " (fill(&own.expires_before, &[("day", &day.to_string())])) }
            }
            @if let Some(error) = error { p.error #expires-error { (icon("bad")) span { (sentence(error)) } } }
            input #expires name="expires" type="date" value=(view.expires) autocomplete="off"
                aria-describedby=(described("expires", error)) aria-invalid=[error.map(|_| "true")];
        }
    }
}

fn error_at<'v>(view: &'v CredentialForm<'_>, pointer: &str) -> Option<&'v str> {
    let error = view.errors.iter().find(|error| error.pointer == pointer);
    error.map(|error| error.message.as_str())
}

fn described(id: &str, error: Option<&str>) -> String {
    match error {
        Some(_) => format!("{id}-error {id}-hint"),
        None => format!("{id}-hint"),
    }
}

fn inputs(view: &CredentialForm<'_>, text: &Messages) -> Markup {
    let secrets: Vec<String>;
    let mut replacing = view.replacing.clone();
    let only = match &view.purpose {
        Purpose::Add | Purpose::Edit | Purpose::Again => None,
        Purpose::Repair(pointers) => Some(pointers.as_slice()),
        Purpose::Rotate => {
            let inputs = view.form.inputs_of(&view.answer).into_iter();
            let is_secret = |kind: &FieldKind| *kind == FieldKind::Secret;
            secrets = inputs
                .filter(|field| is_secret(&field.kind))
                .map(|field| field.pointer.clone())
                .collect();
            Some(secrets.as_slice())
        }
    };
    // In these forms the inputs of secrets are open from the start.
    let asked = only.into_iter().flatten();
    replacing.extend(asked.filter_map(|pointer| name_at(&view.form.fields, &view.answer, pointer)));
    let fields = Fields {
        answer: &view.answer,
        saved_answer: &view.saved_answer,
        saved: &view.saved,
        asked_again: &view.asked_again,
        replacing: &replacing,
        errors: &view.errors,
        notices: &view.notices,
        only,
        text,
    };
    fields.all(&view.form.fields, At::TOP)
}

/// The setup guide: next to the form where there is room, otherwise below it or in a drawer.
fn guide(view: &CredentialForm<'_>, text: &Messages) -> Markup {
    let own = &text.credential;
    html! {
        aside.guide #guide aria-labelledby="guide-title" data-guide-pane {
          div.guide-inside {
            header {
                h2 #guide-title { (own.guide) }
                button.quiet type="button" data-guide-close hidden { (icon("close")) span.vh { (own.guide_close) } }
            }
            ol {
                @for (number, step) in view.form.guide.iter().enumerate() {
                    li id={ "guide-" (number + 1) } data-guide-step=(number + 1) {
                        h3 { (step.title) }
                        p { (step.text) }
                    }
                }
            }
            @if !view.egress.is_empty() {
                div.egress {
                    h3 { (own.egress) }
                    p { (own.egress_text) }
                    ul { @for address in &view.egress { li { code { (address) } } } }
                }
            }
            p { a href=(view.source.docs) rel="noopener noreferrer" target="_blank" { (fill(&own.docs, &[("source", &view.source.name)])) } }
          }
        }
        a.guide-link href="#guide" data-guide-open { (own.guide) }
    }
}
