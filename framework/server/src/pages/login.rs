//! Signing in and out, the theme, the script and the stylesheet.

use axum::{
    Extension,
    response::{IntoResponse, Response},
};
use headwater_console::{Login, SCRIPT, STYLE, Theme, login};
use headwater_store::{AuditNote, TokenHash};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

use super::{FormBody, THEME_COOKIE, Visit, local, see_other};
use crate::{
    api::connections::actor,
    app::App,
    body::Query,
    guard::{Caller, Client, known},
    problem::Problem,
};

/// The page after the login.
#[derive(Deserialize)]
pub(super) struct LoginQuery {
    #[serde(default)]
    next: String,
}

pub(super) async fn show(
    Extension(visit): Extension<Visit>,
    Query(query): Query<LoginQuery>,
) -> Response {
    let view = Login {
        next: local(&query.next).to_owned(),
        error: None,
    };
    visit.show(StatusCode::OK, login(&view, &visit.app.texts))
}

/// Exchanges a token for a session.
pub(super) async fn enter(
    Extension(visit): Extension<Visit>,
    client: Option<Extension<Client>>,
    posted: FormBody,
) -> Result<Response, Problem> {
    let next = local(posted.text("next"));
    let client = client.map(|Extension(client)| client.0);
    let app = &visit.app;
    let token = TokenHash::of(posted.text("token").trim());
    let caller = match known(app, token.clone(), client).await {
        Ok(caller) => caller,
        Err(problem) => {
            let view = Login {
                next: next.to_owned(),
                error: Some(problem.detail.clone()),
            };
            return Ok(visit.show(problem.status(), login(&view, &app.texts)));
        }
    };
    note(app, &caller, "signed in");
    let cookie = app.sessions.begin(token)?;
    Ok(with_cookie(see_other(next), &cookie))
}

pub(super) async fn leave(Extension(visit): Extension<Visit>, headers: HeaderMap) -> Response {
    let app = &visit.app;
    if app.sessions.token(&headers).is_some()
        && let Some(caller) = &visit.caller
    {
        note(app, caller, "signed out");
    }
    let answer = see_other("/login");
    match visit.app.sessions.end(&headers) {
        Some(cookie) => with_cookie(answer, &cookie),
        None => answer,
    }
}

fn note(app: &App, caller: &Caller, what: &'static str) {
    app.notes.add(AuditNote {
        actor: actor(caller),
        what,
        connection: None,
        outcome: "done".to_owned(),
    });
}

pub(super) async fn theme(Extension(visit): Extension<Visit>, posted: FormBody) -> Response {
    let theme = Theme::named(posted.text("theme")).name();
    let secure = match visit.app.options.tls {
        Some(_) => "; Secure",
        None => "",
    };
    let cookie = format!("{THEME_COOKIE}={theme}; Path=/; Max-Age=31536000; SameSite=Lax{secure}");
    with_cookie(see_other(local(posted.text("back"))), &cookie)
}

fn with_cookie(mut answer: Response, cookie: &str) -> Response {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}

pub(super) async fn style() -> Response {
    asset("text/css; charset=utf-8", STYLE)
}

pub(super) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", SCRIPT)
}

/// The URL has a fingerprint of the content, so the asset never changes.
fn asset(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, text).into_response()
}
