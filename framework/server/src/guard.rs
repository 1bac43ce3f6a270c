//! Who may ask what: the name that a browser called, the page that it called from, the token, and its scope.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use headwater_console::EMBED_SCRIPT_PATH;
use headwater_store::{Actor, AuditNote, Scope, TokenHash};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts, uri::Authority};

use crate::{
    app::App,
    embeds::{self, Embed},
    pages,
    problem::Problem,
    request_id::RequestId,
};

/// How many wrong tokens an address may show in a minute.
const MAX_WRONG: usize = 10;
const MINUTE: Duration = Duration::from_secs(60);

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The name of the token, or `local`.
    pub name: String,
    pub scope: Scope,
    /// The id of the request.
    pub request_id: Option<String>,
    /// The form in a frame to which the caller is limited; none for everybody else.
    pub embed: Option<Arc<Embed>>,
}

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub SocketAddr);

/// Who asks, as far as the network tells: the other end of the connection, or the client of a trusted proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client(pub IpAddr);

impl Client {
    fn of(app: &App, request: &Parts) -> Option<Self> {
        let peer = request.extensions.get::<Peer>()?.0.ip();
        Some(Self(client(
            peer,
            &app.options.trusted_proxies,
            &request.headers,
        )))
    }
}

/// The last address before those of trusted proxies: what stands before it was written by the client itself.
fn client(peer: IpAddr, trusted: &[IpAddr], headers: &HeaderMap) -> IpAddr {
    if !trusted.contains(&peer) {
        return peer;
    }
    let all = headers.get_all("x-forwarded-for").iter();
    let passed: Vec<&str> = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    let mut known = peer;
    for text in passed.into_iter().rev() {
        let Some(address) = address(text.trim()) else {
            return known;
        };
        known = address;
        if !trusted.contains(&known) {
            return known;
        }
    }
    known
}

/// An address, also with a port and in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    text.parse()
        .or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip()))
        .or_else(|_| text.trim_start_matches('[').trim_end_matches(']').parse())
        .ok()
}

/// Whether a proxy has passed a request on: its connection comes from this machine, and it does not.
fn is_passed_on(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        matches!(name, "forwarded" | "via" | "x-real-ip") || name.starts_with("x-forwarded-")
    })
}

/// Refuses what no page of ours and no client of ours asks, and finds out who asks.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    if let Some(client) = Client::of(&app, &head) {
        head.extensions.insert(client);
    }
    match admit(&app, &head).await {
        Ok(Some(mut caller)) => {
            let id = head.extensions.get::<RequestId>();
            caller.request_id = id.map(|id| id.0.clone());
            head.extensions.insert(caller);
        }
        Ok(None) => {}
        Err(problem) => return problem.into_response(),
    }
    next.run(Request::from_parts(head, body)).await
}

/// Refuses a request whose caller may not do this.
pub(crate) fn require(request: &Request, scope: Scope) -> Result<(), Problem> {
    let caller = request.extensions().get::<Caller>();
    at_least(caller.ok_or_else(missing_token)?, scope)
}

/// Nobody is asking.
pub(crate) fn missing_token() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "token_missing",
        "send a token in the header Authorization, as in Authorization: Bearer hw_…",
    )
}

/// Refuses a caller whose scope is smaller.
pub(crate) fn at_least(caller: &Caller, scope: Scope) -> Result<(), Problem> {
    if caller.scope < scope {
        let text = format!(
            "this takes a token of the scope {scope}; the token {} has the scope {}",
            caller.name, caller.scope
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, "scope_missing", text));
    }
    Ok(())
}

async fn admit(app: &App, request: &Parts) -> Result<Option<Caller>, Problem> {
    let host = host(app, request)?;
    if !is_embedding(app, request) {
        same_site(request, &host)?;
    }
    if let Some(token) = bearer(&request.headers)? {
        if embeds::is_token(token) {
            // No wrong one is counted as a guess: forms that stand open in many pages behind one address would, after
            // the service has started anew, shut the door to all others there.
            let admitted = app
                .embeds
                .admit(token, &request.method, &request.uri, Instant::now());
            return admitted.map(Some);
        }
        let client = request.extensions.get::<Client>().map(|client| client.0);
        let known = known(app, TokenHash::of(token), client).await;
        return known.map(Some);
    }
    if let Some(token) = app.sessions.token(&request.headers) {
        if let Some(caller) = app.caller(token).await? {
            return Ok(Some(caller));
        }
        app.sessions.end(&request.headers);
    }
    let options = &app.options;
    let is_local = options.is_open || !is_passed_on(&request.headers);
    let is_open = !options.needs_token && is_local;
    Ok(is_open.then(|| Caller {
        name: "local".to_owned(),
        scope: Scope::Admin,
        request_id: None,
        embed: None,
    }))
}

/// The name that the client called. On this machine alone, only its own names are answered: a page elsewhere whose name
/// was made to lead here would be of the same origin as we are otherwise.
fn host(app: &App, request: &Parts) -> Result<Authority, Problem> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().and_then(|host| host.parse().ok()),
        _ => None,
    };
    let Some(host): Option<Authority> = host else {
        return Err(Problem::bad_request(
            "the header Host has to name this service once",
        ));
    };
    let name = host.host();
    let is_named = app
        .options
        .hosts
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name));
    let is_known = match app.options.bind.ip().is_loopback() {
        true => is_loopback(name) || is_named,
        // Everybody needs a token there, and a page elsewhere has none.
        false => is_named || app.options.hosts.is_empty(),
    };
    match is_known {
        true => Ok(host),
        false => Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "host_unknown",
            "this service is not called by that name; add it with --host",
        )),
    }
}

/// Whether a name or address is this machine's own.
pub(crate) fn is_loopback(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>()
        .map_or(bare.eq_ignore_ascii_case("localhost"), |ip| {
            ip.is_loopback()
        })
}

/// Whether a page of another site loads the script that embeds a form, or the empty frame of one. Nothing else is let in
/// from there. Which page may show the frame, the frame's answer says.
fn is_embedding(app: &App, request: &Parts) -> bool {
    let path = request.uri.path();
    let fetched = (
        text(request, "sec-fetch-mode"),
        text(request, "sec-fetch-dest"),
    );
    let is_wanted = match fetched {
        (Some("navigate"), Some("iframe")) => pages::is_frame(path),
        (Some("no-cors"), Some("script")) => path == EMBED_SCRIPT_PATH,
        _ => false,
    };
    is_wanted && request.method == Method::GET && !app.options.embed_origins.is_empty()
}

fn text<'a>(request: &'a Parts, name: &str) -> Option<&'a str> {
    let value: Option<&HeaderValue> = request.headers.get(name);
    value.map(|value| value.to_str().unwrap_or_default())
}

/// Refuses what a page of another site makes a browser send. Programs send none of these headers.
fn same_site(request: &Parts, host: &Authority) -> Result<(), Problem> {
    let text = |name| text(request, name);
    let refused = || {
        Problem::new(
            StatusCode::FORBIDDEN,
            "cross_site",
            "another site's page made this request; use the console, or a program",
        )
    };
    let is_safe = matches!(request.method, Method::GET | Method::HEAD);
    // Following a link from elsewhere to a page is no more than typing its address.
    let is_visit = is_safe
        && text("sec-fetch-mode") == Some("navigate")
        && text("sec-fetch-dest") == Some("document")
        && !request.uri.path().starts_with("/api/");
    if let Some(site) = text("sec-fetch-site") {
        let is_ours = matches!(site, "same-origin" | "none");
        return if is_ours || is_visit {
            Ok(())
        } else {
            Err(refused())
        };
    }
    if let Some(origin) = text("origin") {
        let called = origin.split_once("://").map(|(_, authority)| authority);
        let is_ours = called.is_some_and(|called| called.eq_ignore_ascii_case(host.as_str()));
        return if is_ours { Ok(()) } else { Err(refused()) };
    }
    Ok(())
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (all.next(), all.next());
    if second.is_some() {
        return Err(Problem::bad_request(
            "the header Authorization stands there twice",
        ));
    }
    let Some(value) = first else {
        return Ok(None);
    };
    let token = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    token.map(Some).ok_or_else(wrong_token)
}

fn wrong_token() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "token_unknown",
        "this token is not known here, or is over; make another with `headwater token add`",
    )
}

/// The caller that a token stands for. One that is known is let in whatever came from its address before: many people may
/// share an address, and whoever guesses 256 random bits learns nothing from how the others fare.
pub(crate) async fn known(
    app: &App,
    token: TokenHash,
    client: Option<IpAddr>,
) -> Result<Caller, Problem> {
    if let Some(caller) = app.caller(token).await? {
        return Ok(caller);
    }
    if let Some(client) = client {
        let (number, counted) = WRONG.count(client);
        // The first of a minute, and that of the last one that is looked at.
        if number == 1 || number == MAX_WRONG {
            app.notes.add(AuditNote {
                actor: Actor {
                    who: "anonymous".to_owned(),
                    request_id: None,
                },
                what: "wrong token",
                connection: None,
                outcome: format!("refused, number {number} of a minute from {client}"),
            });
        }
        counted?;
    }
    Err(wrong_token())
}

/// Wrong tokens of the last minute, by address.
static WRONG: LazyLock<Guesses> = LazyLock::new(Guesses::default);

#[derive(Default)]
struct Guesses(Mutex<HashMap<IpAddr, Vec<Instant>>>);

impl Guesses {
    /// Counts a wrong token; refused where there were too many before it. Returns its number as well.
    fn count(&self, peer: IpAddr) -> (usize, Result<(), Problem>) {
        let mut guesses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        guesses.retain(|_, times| {
            times.retain(|time| time.elapsed() < MINUTE);
            !times.is_empty()
        });
        let times = guesses.entry(peer).or_default();
        if times.len() < MAX_WRONG {
            times.push(Instant::now());
            return (times.len(), Ok(()));
        }
        let text = "too many wrong tokens came from this address; wait a minute";
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_wrong_tokens", text);
        (MAX_WRONG + 1, Err(problem.retry_after(60)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_a_trusted_proxy_says_whose_request_it_passes_on() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let proxies = [ip("127.0.0.1"), ip("10.0.0.7")];
        let named = |values: &[(&'static str, &'static str)]| {
            client(ip("127.0.0.1"), &proxies, &headers(values))
        };
        let by = "x-forwarded-for";
        assert_eq!(named(&[(by, "203.0.113.9")]), ip("203.0.113.9"));
        assert_eq!(named(&[(by, "1.2.3.4, 203.0.113.9")]), ip("203.0.113.9"));
        assert_eq!(named(&[(by, "203.0.113.9, 10.0.0.7")]), ip("203.0.113.9"));
        assert_eq!(
            named(&[(by, "1.2.3.4"), (by, "203.0.113.9:4711")]),
            ip("203.0.113.9")
        );
        assert_eq!(named(&[(by, "[2001:db8::1]:443")]), ip("2001:db8::1"));
        assert_eq!(named(&[(by, "203.0.113.9, unknown")]), ip("127.0.0.1"));
        assert_eq!(named(&[]), ip("127.0.0.1"));
        let other = client(ip("192.0.2.1"), &proxies, &headers(&[(by, "127.0.0.1")]));
        assert_eq!(other, ip("192.0.2.1"));
    }

    #[test]
    fn what_a_proxy_adds_is_seen() {
        for name in [
            "forwarded",
            "via",
            "x-real-ip",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-forwarded-by-something",
        ] {
            assert!(is_passed_on(&headers(&[(name, "")])), "{name}");
        }
        assert!(!is_passed_on(&headers(&[
            ("host", "localhost"),
            ("x-request-id", "1")
        ])));
    }
}
