//! The pages outside of the flow: the login and problems.

use maud::html;

use crate::{
    checks::to_copy,
    messages::{Messages, fill},
    page::{Page, Section},
    parts::icon,
    sentence::sentence,
};

/// The login with a token.
#[derive(Clone, Debug, Default)]
pub struct Login {
    /// The page after the login.
    pub next: String,
    /// Why the last try was refused.
    pub error: Option<String>,
}

/// A problem of a whole request.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The status of the answer.
    pub status: u16,
    /// A few words.
    pub title: String,
    /// The problem and its remedy.
    pub detail: String,
    /// The id of the request.
    pub request_id: Option<String>,
    /// The target of "Go back".
    pub back: String,
}

/// The page for logging in.
pub fn login(view: &Login, text: &Messages) -> Page {
    let own = &text.login;
    let described = match &view.error {
        Some(_) => "token-error token-hint",
        None => "token-hint",
    };
    let main = html! {
        div.narrow {
            h1 { (own.title) }
            form.panel method="post" action="/login" {
                input type="hidden" name="next" value=(view.next);
                div.field {
                    label for="token" { (own.token) }
                    p.hint #token-hint { (own.hint) }
                    @if let Some(error) = &view.error { p.error #token-error { (icon("bad")) span { (sentence(error)) } } }
                    input #token name="token" type="password" required autocomplete="current-password"
                        aria-describedby=(described) aria-invalid=[view.error.as_ref().map(|_| "true")];
                }
                button.primary type="submit" { (own.go) }
            }
        }
    };
    Page {
        title: own.title.clone(),
        section: Section::Login,
        main,
    }
}

/// The problem for support, as plain text.
fn details(view: &Problem) -> String {
    let mut lines = vec![
        format!("Headwater {}", env!("CARGO_PKG_VERSION")),
        format!("{} {}: {}", view.status, view.title, view.detail),
    ];
    lines.extend(view.request_id.iter().map(|id| format!("request {id}")));
    lines.join("\n")
}

/// The page of a problem.
pub fn problem(view: &Problem, text: &Messages) -> Page {
    let own = &text.problem;
    let main = html! {
        div.narrow {
            h1 { (view.title) }
            p { (sentence(&view.detail)) }
            p.small {
                (own.status) " " (view.status)
                @if let Some(id) = &view.request_id { " · " (fill(&text.checks.request, &[("id", id)])) }
            }
            (to_copy(&details(view), text))
            p.after { a.button href=(view.back) { (own.back) } }
        }
    };
    Page {
        title: view.title.clone(),
        section: Section::None,
        main,
    }
}
