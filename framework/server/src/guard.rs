//! Access control: the host name of a request, the page that it comes from, the token, and its scope.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
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
    guesses::MAX_WRONG,
    pages,
    problem::Problem,
    request_id::RequestId,
};

/// The caller of a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The name of the token, or `local`.
    pub name: String,
    pub scope: Scope,
    /// The id of the request.
    pub request_id: Option<String>,
    /// The embedded form to which the caller is limited; `None` for all others.
    pub embed: Option<Arc<Embed>>,
}

/// The other end of the connection of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub SocketAddr);

/// The address of the client: the other end of the connection, or the client of a trusted proxy.
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

/// The last address before those of trusted proxies: the client itself may have written any earlier one.
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

/// Parses an address, also with a port and in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches('"');
    text.parse()
        .or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip()))
        .or_else(|_| text.trim_start_matches('[').trim_end_matches(']').parse())
        .ok()
}

/// Whether a proxy forwarded a request: its connection comes from this machine, but its client may not.
fn is_passed_on(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| {
        let name = name.as_str();
        matches!(name, "forwarded" | "via" | "x-real-ip") || name.starts_with("x-forwarded-")
    })
}

/// Refuses requests of foreign pages and with invalid tokens, and adds the caller.
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

/// Refuses a request whose caller lacks the scope.
pub(crate) fn require(request: &Request, scope: Scope) -> Result<(), Problem> {
    let caller = request.extensions().get::<Caller>();
    at_least(caller.ok_or_else(missing_token)?, scope)
}

/// The refusal of a request without a token.
pub(crate) fn missing_token() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "token_missing",
        "send a token in the header Authorization: Bearer hw_…",
    )
}

/// Refuses a caller with a smaller scope.
pub(crate) fn at_least(caller: &Caller, scope: Scope) -> Result<(), Problem> {
    if caller.scope < scope {
        let text = format!(
            "you need {scope} access to do this; the token {} has the scope {}",
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
            // Wrong tokens of embeds do not count as guesses: after a restart of the service, forms open in many pages
            // behind one address would otherwise block all others there.
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

/// The host name of a request. A service for this machine alone answers only its own names: otherwise a foreign page
/// whose name resolves to this machine would have the same origin.
fn host(app: &App, request: &Parts) -> Result<Authority, Problem> {
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().and_then(|host| host.parse().ok()),
        _ => None,
    };
    let Some(host): Option<Authority> = host else {
        return Err(Problem::bad_request(
            "the header Host has to name this service exactly once",
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
        // Every request needs a token there, and a foreign page has none.
        false => is_named || app.options.hosts.is_empty(),
    };
    match is_known {
        true => Ok(host),
        false => Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "host_unknown",
            "this service does not accept that host name; add it with --host",
        )),
    }
}

/// Whether a name or address belongs to this machine.
pub(crate) fn is_loopback(name: &str) -> bool {
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>()
        .map_or(bare.eq_ignore_ascii_case("localhost"), |ip| {
            ip.is_loopback()
        })
}

/// Whether a page of another site loads the embedding script, or the empty frame of a form. Other sites may load
/// nothing else. The headers of the frame name the pages that may show it.
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

/// Refuses requests of pages of other sites. Programs send none of these headers.
fn same_site(request: &Parts, host: &Authority) -> Result<(), Problem> {
    let text = |name| text(request, name);
    let refused = || {
        Problem::new(
            StatusCode::FORBIDDEN,
            "cross_site",
            "a page of another site sent this request; use the console, or a program",
        )
    };
    let is_safe = matches!(request.method, Method::GET | Method::HEAD);
    // Following a foreign link to a page is the same as typing its address.
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
            "the header Authorization is present twice",
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
        "this token is invalid or has expired; ask your administrator for a new one",
    )
}

/// The caller of a token. A valid token is accepted whatever came from its address before: many people may share an
/// address, and guessing 256 random bits gains nothing from it.
pub(crate) async fn known(
    app: &App,
    token: TokenHash,
    client: Option<IpAddr>,
) -> Result<Caller, Problem> {
    if let Some(caller) = app.caller(token).await? {
        return Ok(caller);
    }
    if let Some(client) = client {
        let number = app.guesses.count(client, Instant::now());
        // The first of a minute, and the last one before the limit.
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
        if number > MAX_WRONG {
            let text = "this address sent too many wrong tokens; wait a minute";
            let code = "too_many_wrong_tokens";
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, code, text);
            return Err(problem.retry_after(60));
        }
    }
    Err(wrong_token())
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
