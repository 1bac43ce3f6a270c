//! The console over HTTP. Its pages read and write through the same code as the API.
//!
//! A handler answers with a page or a problem; this module adds the frame around a page, the headers, and the redirect
//! to the login.

mod author;
mod connection;
mod credential;
mod embed;
mod gallery;
mod login;
mod streams;
mod syncs;

use std::sync::Arc;

use axum::{
    Extension, Router,
    extract::{FromRequest, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use headwater_console::{EMBED_SCRIPT_PATH, Frame, Page, SCRIPT_PATH, STYLE_PATH, Theme};
use headwater_store::Scope;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use self::embed::FramedBy;
pub(crate) use self::embed::is_frame;
use crate::{
    app::App,
    body,
    guard::{self, Caller},
    origin::Origin,
    problem::Problem,
    request_id::RequestId,
};

const THEME_COOKIE: &str = "theme";
/// Every part of a page comes from this service, and forms go nowhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors";

/// The policy if another cannot be written into a header, which no origin causes.
const UNFRAMED: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

/// The routes of the pages.
pub(crate) fn router(app: &Arc<App>) -> Router<Arc<App>> {
    let closed = Router::new()
        .route("/", get(gallery::sources))
        .route(
            "/sources/{source}",
            get(gallery::source).post(gallery::go_on),
        )
        .route(
            "/sources/{source}/add",
            get(credential::open_new).post(credential::post_new),
        )
        .route("/connections", get(gallery::saved).post(gallery::retest))
        .route(
            "/connections/{connection}",
            get(connection::show).post(connection::act),
        )
        .route(
            "/connections/{connection}/edit",
            get(credential::open_edit).post(credential::post_edit),
        )
        .route(
            "/connections/{connection}/rotate",
            get(credential::open_rotate).post(credential::post_rotate),
        )
        .route(
            "/connections/{connection}/streams",
            get(streams::choose).post(streams::chosen),
        )
        .route(
            "/connections/{connection}/preview",
            get(streams::preview).post(streams::reveal),
        )
        .route("/syncs", get(syncs::list))
        .route("/syncs/{sync}", get(syncs::show).post(syncs::cancel))
        .route("/author", get(author::open).post(author::show))
        .route("/author/file", get(author::file))
        .route_layer(middleware::from_fn(signed_in));
    let open = Router::new()
        .route("/login", get(login::show).post(login::enter))
        .route("/logout", axum::routing::post(login::leave))
        .route("/theme", axum::routing::post(login::theme))
        .route(STYLE_PATH, get(login::style))
        .route(SCRIPT_PATH, get(login::script))
        .route(EMBED_SCRIPT_PATH, get(embed::script))
        .route("/embed/{embed}", get(embed::frame))
        .route("/embed/{embed}/form", get(embed::form));
    closed
        .merge(open)
        .route_layer(middleware::from_fn_with_state(Arc::clone(app), dress))
}

/// The caller and the settings of a visit.
#[derive(Clone)]
pub(crate) struct Visit {
    pub app: Arc<App>,
    caller: Option<Caller>,
    request_id: Option<String>,
    frame: Frame,
    /// Whether the script sent the request, which needs only the content.
    is_fragment: bool,
}

impl Visit {
    fn of(app: Arc<App>, request: &Request) -> Self {
        let caller = request.extensions().get::<Caller>().cloned();
        let user = caller.as_ref().filter(|_| app.options.needs_token);
        let path = request.uri().path_and_query();
        Self {
            frame: Frame {
                theme: theme(request.headers()),
                user: user.map(|caller| caller.name.clone()),
                path: path.map_or("/", |path| path.as_str()).to_owned(),
            },
            request_id: request
                .extensions()
                .get::<RequestId>()
                .map(|id| id.0.clone()),
            is_fragment: request.headers().contains_key("headwater-fragment"),
            caller,
            app,
        }
    }

    /// The caller, if the scope suffices.
    fn may(&self, scope: Scope) -> Result<&Caller, Problem> {
        let caller = self.caller.as_ref().ok_or_else(guard::missing_token)?;
        guard::at_least(caller, scope)?;
        Ok(caller)
    }

    fn show(&self, status: StatusCode, page: Page) -> Response {
        let html = match self.is_fragment {
            true => page.fragment(),
            false => page.document(&self.frame, &self.app.texts),
        };
        (status, axum::response::Html(html)).into_response()
    }

    fn problem(&self, problem: &Problem) -> Response {
        let view = headwater_console::Problem {
            status: problem.status().as_u16(),
            title: problem.title.to_owned(),
            detail: problem.detail.clone(),
            request_id: self.request_id.clone(),
            back: "/".to_owned(),
        };
        let page = headwater_console::problem(&view, &self.app.texts);
        self.show(problem.status(), page)
    }
}

/// Redirects unknown callers to the login, and back from there.
async fn signed_in(Extension(visit): Extension<Visit>, request: Request, next: Next) -> Response {
    if visit.caller.is_some() {
        return next.run(request).await;
    }
    see_other(&with_query("/login", &[("next", &visit.frame.path)]))
}

/// Renders problems as pages, and adds the headers of a page to every answer.
async fn dress(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let visit = Visit::of(app, &request);
    request.extensions_mut().insert(visit.clone());
    let mut answer = next.run(request).await;
    if let Some(problem) = answer.extensions_mut().remove::<Problem>() {
        answer = visit.problem(&problem);
    }
    with_headers(answer)
}

fn with_headers(mut answer: Response) -> Response {
    let framed_by = answer.extensions_mut().remove::<FramedBy>();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy(framed_by));
    // Without a referrer a browser would send forms with an unknown origin, which the service refuses as foreign.
    let referrer = HeaderValue::from_static("same-origin");
    headers.insert(header::REFERRER_POLICY, referrer);
    answer
}

fn policy(framed_by: Option<FramedBy>) -> HeaderValue {
    let origin = framed_by.map(|FramedBy(origin)| origin);
    let by = origin.as_ref().map_or("'none'", Origin::as_str);
    let policy = HeaderValue::from_str(&format!("{POLICY} {by}"));
    policy.unwrap_or(UNFRAMED)
}

/// Whether a browser requests a page outside the API.
pub(crate) fn is_wanted(request: &Request) -> bool {
    let accept = request.headers().get(header::ACCEPT);
    let accept = accept.and_then(|accept| accept.to_str().ok());
    let is_html = accept.is_some_and(|accept| accept.contains("text/html"));
    is_html && !request.uri().path().starts_with("/api/")
}

/// The page for an unknown address.
pub(crate) fn unknown(app: Arc<App>, request: &Request) -> Response {
    let text = "page not found";
    let problem = Problem::new(StatusCode::NOT_FOUND, "not_found", text);
    with_headers(Visit::of(app, request).problem(&problem))
}

fn theme(headers: &HeaderMap) -> Theme {
    let all = headers.get_all(header::COOKIE).iter();
    let pairs = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    let mut themes = pairs.filter(|(name, _)| *name == THEME_COOKIE);
    themes
        .next()
        .map_or(Theme::System, |(_, name)| Theme::named(name))
}

/// Redirects to another page, so that reloading it posts nothing again.
fn see_other(path: &str) -> Response {
    match HeaderValue::from_str(path) {
        Ok(path) => (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response(),
        Err(_) => Problem::bad_request("this address cannot be opened").into_response(),
    }
}

/// A path with query parameters.
fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs);
    format!("{path}?{}", query.finish())
}

/// A path of this console; the gallery instead of any path that may lead to another site.
fn local(path: &str) -> &str {
    let is_plain = path
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    match path.strip_prefix('/') {
        Some(rest) if is_plain && !rest.starts_with('/') => path,
        _ => "/",
    }
}

/// The fields of a submitted form.
pub(crate) struct FormBody(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for FormBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        body::expect(&head.headers, "application/x-www-form-urlencoded")?;
        let body = body::read(&head, body).await?;
        Ok(Self(body.pairs()?))
    }
}

impl FormBody {
    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(known, _)| known == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The last value of a name; an empty text without one.
    fn text<'a>(&'a self, name: &'a str) -> &'a str {
        self.all(name).last().unwrap_or_default()
    }

    fn pairs(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().cloned()
    }

    /// The revision that the user saw before the change.
    fn revision(&self) -> Result<i64, Problem> {
        let revision = self.text("version").parse();
        revision.map_err(|_| Problem::changed())
    }
}

#[cfg(test)]
mod tests {
    use super::local;

    #[test]
    fn only_paths_of_this_console_are_gone_to() {
        for path in ["/", "/connections/calls?added=1", "/syncs/a.1#x"] {
            assert_eq!(local(path), path);
        }
        for path in [
            "",
            "https://evil.example",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "javascript:alert(1)",
            "evil",
            "/ä",
            " /",
        ] {
            assert_eq!(local(path), "/", "{path:?}");
        }
    }
}
