//! For authors of connectors: a form as people will see it, its problems, and each outcome of its test. Nothing of it is
//! kept.

use headwater_core::{FieldError, FieldKind, Timestamp};
use headwater_forms::{Finding, ProbeClass};
use maud::{Markup, html};

use crate::{
    credential::{CredentialForm, Purpose, overlay},
    fields::SavedSecret,
    messages::{Messages, fill},
    page::{Page, Section},
    parts::{badge, icon},
    sentence::sentence,
};

/// The form that an author edits.
#[derive(Clone, Debug)]
pub struct Author<'a> {
    /// The schema as typed.
    pub schema: String,
    /// Why it cannot be read.
    pub problem: Option<String>,
    /// The connectors to start from: id and name.
    pub connectors: Vec<(String, String)>,
    /// The id of the connector whose name, guide and streams are taken.
    pub connector: String,
    /// The outcome of the test.
    pub class: Option<ProbeClass>,
    /// The problems of the form.
    pub findings: Vec<Finding>,
    /// The form, where it can be shown.
    pub form: Option<CredentialForm<'a>>,
    /// The form model as JSON, where there is one.
    pub model: String,
    /// The name of the file that holds the schema and is watched for changes.
    pub file: Option<String>,
}

/// The page for authors.
pub fn author(view: Author<'_>, text: &Messages) -> Page {
    let own = &text.author;
    let main = html! {
        header.page-top { div { h1 { (own.title) } p.lead-text { (own.lead) } } }
        div.author {
            (editor(&view, text))
            div data-author { (result(view, text)) }
        }
    };
    Page {
        title: own.title.clone(),
        section: Section::None,
        main,
    }
}

fn editor(view: &Author<'_>, text: &Messages) -> Markup {
    let own = &text.author;
    let is_wrong = view.problem.is_some();
    html! {
        form.panel.author-editor method="post" action="/author" data-author-editor data-watch=[view.file.as_ref()] {
            p.author-start {
                (own.start) " "
                @for (id, name) in &view.connectors {
                    a href={ "/author?connector=" (id) } aria-current=[(*id == view.connector).then_some("true")] { (name) } " "
                }
            }
            input type="hidden" name="connector" value=(view.connector);
            div.field {
                label for="author-schema" { (own.schema) }
                p.hint #author-schema-hint {
                    @match &view.file {
                        Some(file) => (fill(&own.watched, &[("file", file)])),
                        None => (own.schema_hint),
                    }
                }
                // A parser drops a line break at the beginning of the text.
                textarea.code #author-schema name="schema" rows="24" spellcheck="false" autocomplete="off"
                    autocapitalize="off" aria-describedby="author-schema-hint author-said"
                    aria-invalid=[is_wrong.then_some("true")] { "\n" (view.schema) }
            }
            div.field {
                label for="author-class" { (own.class) }
                select #author-class name="class" {
                    option value="" selected[view.class.is_none()] { (own.no_class) }
                    @for class in ProbeClass::ALL {
                        option value=(class.name()) selected[view.class == Some(class)] { (class_label(class, text)) }
                    }
                }
            }
            p.author-said #author-said role="status" data-said { (summary(view, text)) }
            button.primary type="submit" { (own.show) }
        }
    }
}

fn class_label(class: ProbeClass, text: &Messages) -> &str {
    let known = text.author.classes.get(class.name());
    known.map_or(class.name(), String::as_str)
}

/// The state of the schema in one sentence.
fn summary(view: &Author<'_>, text: &Messages) -> String {
    let own = &text.author;
    match (&view.problem, view.findings.len()) {
        (Some(problem), _) => sentence(problem),
        (None, 0) => own.sound.clone(),
        (None, count) => own.findings.count(count),
    }
}

/// The findings and the form. The script replaces this part after each change of the schema.
fn result(mut view: Author<'_>, text: &Messages) -> Markup {
    let form = view.form.take();
    let own = &text.author;
    if let Some(problem) = &view.problem {
        return html! { p.error data-author-problem { (icon("bad")) span { (sentence(problem)) } } };
    }
    html! {
        section.panel aria-labelledby="author-findings" {
            h2 #author-findings data-author-findings { (summary(&view, text)) }
            @if !view.findings.is_empty() { ul.author-findings {
                @for finding in &view.findings {
                    li {
                        @if finding.is_refused { (badge("bad", &own.refused)) } @else { (badge("warn", &own.conformance)) }
                        " "
                        @if finding.pointer.is_empty() { span { (own.whole) } } @else { code { (finding.pointer) } }
                        p.message { (sentence(&finding.message)) }
                        p.remedy { (sentence(&finding.remedy)) }
                        p.small { (finding.rule) }
                    }
                }
            } }
        }
        @match form {
            Some(form) => (preview(form, &view, text)),
            None => p.nothing { (own.no_form) },
        }
        @if !view.model.is_empty() {
            details.panel.author-model {
                summary { (own.model) }
                pre tabindex="0" { code { (view.model) } }
            }
        }
    }
}

/// The form as it opens for people, with hidden inputs that are needed to show it again.
fn preview(form: CredentialForm<'_>, view: &Author<'_>, text: &Messages) -> Markup {
    let form = match view.class {
        Some(ProbeClass::Unreadable) => unreadable(form, text),
        _ => form,
    };
    let carried = html! {
        input type="hidden" name="schema" value=(view.schema);
        input type="hidden" name="connector" value=(view.connector);
        input type="hidden" name="class" value=(view.class.map_or("", ProbeClass::name));
    };
    overlay(&form, &carried, text)
}

/// A saved credential whose secrets cannot be opened and have to be entered again.
fn unreadable<'a>(mut form: CredentialForm<'a>, text: &Messages) -> CredentialForm<'a> {
    form.purpose = Purpose::Rotate;
    form.title.clone_from(&form.source.name);
    let secrets = form.form.inputs().into_iter();
    let secrets = secrets.filter(|field| field.kind == FieldKind::Secret);
    let saved = SavedSecret {
        at: Timestamp::UNIX_EPOCH,
        by: None,
        ending: None,
    };
    form.saved = secrets
        .map(|field| (field.pointer.clone(), saved.clone()))
        .collect();
    form.errors.push(FieldError {
        pointer: String::new(),
        code: "unreadable".into(),
        message: text.connection.unreadable.clone(),
    });
    form
}
