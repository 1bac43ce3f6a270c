//! The client of one origin with one set of credentials and one order of rules.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use headwater_core::{
    BaseUrl, Body, Context, Error, Failure, Kind, NewConnection, Result, Secret, Status, Timestamp,
    TransportError, one_line,
};
use http::{HeaderName, HeaderValue, header};
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Instrument, Span, debug, debug_span};
use url::Url;

pub use crate::message::{Download, Request, Response};
use crate::{
    buffers::BufferPool,
    clock::{Clock, ServiceTime},
    error_message::{COMPLAINT_LIMIT, error_message},
    hide::hide,
    limit::{LimitHeaders, Quota, RateLimit},
    limiter::{Priority, SharedLimiter},
    message::{Target, collect, date},
    refusal::{Refusal, leads_elsewhere},
    retry::RetryPolicy,
    room::Room,
    tokens::{TokenSource, Tokens},
    urls,
};

/// The maximum time until the head of a response.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The default limit of one decoded body, in bytes.
const DEFAULT_BODY_LIMIT: usize = 32 << 20;
/// The number of shown characters of its message, and of those searched for secrets.
const MAX_SHOWN: usize = 200;
const MAX_SEARCHED: usize = 4_000;

/// A client of one service with one set of credentials. Clones share the counts; all clients with the same credentials
/// in the process share limits and the budget for retries.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    /// The shared limits of the service.
    turns: Arc<SharedLimiter>,
    priority: Priority,
}

struct Inner {
    context: Context,
    service: &'static str,
    base: BaseUrl,
    credentials: Vec<(HeaderName, HeaderValue)>,
    secrets: Vec<Secret>,
    tokens: Option<Tokens>,
    rate: Option<RateLimit>,
    limit_headers: Option<LimitHeaders>,
    quota: Option<Quota>,
    policy: RetryPolicy,
    body_limit: usize,
    buffers: BufferPool,
    room: Room,
    clock: Clock,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({} at {})", self.inner.service, self.inner.base)
    }
}

/// Builds a [`Client`].
pub struct ClientBuilder(Result<Inner>);

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientBuilder")
    }
}

impl ClientBuilder {
    /// Sends the secret in this header with every request.
    #[must_use]
    pub fn secret_header(self, name: &'static str, secret: &Secret) -> Self {
        self.credential(name, "", secret)
    }

    /// Sends `authorization: SCHEME SECRET` with every request.
    #[must_use]
    pub fn authorization(self, scheme: &'static str, secret: &Secret) -> Self {
        self.credential("authorization", scheme, secret)
    }

    fn credential(self, name: &'static str, scheme: &str, secret: &Secret) -> Self {
        Self(self.0.and_then(|mut inner| {
            let value = sensitive(scheme, secret, name)?;
            inner
                .credentials
                .push((HeaderName::from_static(name), value));
            inner.secrets.push(secret.clone());
            Ok(inner)
        }))
    }

    /// Sends a bearer token with every request. The client obtains it first, and again when the service refuses it.
    /// `secrets` are those of the login: no message contains them.
    #[must_use]
    pub fn tokens(self, source: impl TokenSource, secrets: &[&Secret]) -> Self {
        let sender = self.secrets(secrets);
        Self(sender.0.map(|inner| Inner {
            tokens: Some(Tokens::new(source)),
            ..inner
        }))
    }

    /// Adds secrets that are sent elsewhere, such as in the body of a login: no message contains them.
    #[must_use]
    pub fn secrets(self, secrets: &[&Secret]) -> Self {
        Self(self.0.map(|mut inner| {
            inner
                .secrets
                .extend(secrets.iter().map(|&secret| secret.clone()));
            inner
        }))
    }

    /// Sets the headers with the service's remaining requests.
    #[must_use]
    pub fn limit_headers(self, headers: LimitHeaders) -> Self {
        Self(self.0.map(|inner| Inner {
            limit_headers: Some(headers),
            ..inner
        }))
    }

    /// Sets the service's documented rate.
    #[must_use]
    pub fn rate_limit(self, limit: RateLimit) -> Self {
        Self(self.0.map(|inner| Inner {
            rate: Some(limit),
            ..inner
        }))
    }

    /// Sets the service's allowance over a longer time.
    #[must_use]
    pub fn quota(self, quota: Quota) -> Self {
        Self(self.0.map(|inner| Inner {
            quota: Some(quota),
            ..inner
        }))
    }

    /// Sets the maximum size of one decoded body, in bytes.
    #[must_use]
    pub fn body_limit(self, bytes: usize) -> Self {
        Self(self.0.map(|inner| Inner {
            body_limit: bytes,
            ..inner
        }))
    }

    /// Sets the number and time limits of tries.
    #[must_use]
    pub fn retry(self, policy: RetryPolicy) -> Self {
        Self(self.0.map(|inner| Inner { policy, ..inner }))
    }

    /// Builds the client.
    ///
    /// # Errors
    ///
    /// Fails if a part cannot be used, such as a credential that is no header value.
    pub fn build(self) -> Result<Client> {
        let inner = self.0?;
        let share = SharedLimiter::join(inner.service, &inner.base, &inner.secrets, inner.rate);
        Ok(Client {
            inner: Arc::new(inner),
            turns: Arc::new(share),
            priority: Priority::Read,
        })
    }
}

/// Makes a header value that no formatter shows.
pub(crate) fn sensitive(scheme: &str, secret: &Secret, name: &str) -> Result<HeaderValue> {
    let text = if scheme.is_empty() {
        secret.expose().to_owned()
    } else {
        format!("{scheme} {}", secret.expose())
    };
    // The error of HeaderValue hides the value, but it is not needed.
    let mut value = HeaderValue::from_str(&text).map_err(|_| {
        Error::new(
            Kind::ConfigInvalid,
            format!("the secret for {name} cannot be sent in a header"),
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The part of a body to wait for.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum BodyMode {
    /// The whole body.
    Whole,
    /// No body for a successful status: the caller reads it as it arrives.
    Head,
}

/// The outcome of one try.
pub(crate) enum Attempt {
    /// A response with any status; with its open body if only the head was requested.
    Answered(Response, Option<Body>),
    /// No complete response.
    Failed(TransportError),
    /// A body beyond its limit.
    TooLarge,
}

impl Client {
    /// Starts a client of the named service below the base URL.
    pub fn builder(service: &'static str, base: &BaseUrl, context: &Context) -> ClientBuilder {
        ClientBuilder(Ok(Inner {
            context: context.clone(),
            service,
            base: base.clone(),
            credentials: Vec::new(),
            secrets: Vec::new(),
            tokens: None,
            rate: None,
            limit_headers: None,
            quota: None,
            policy: RetryPolicy::READ,
            body_limit: DEFAULT_BODY_LIMIT,
            buffers: BufferPool::default(),
            room: Room::default(),
            clock: Clock::default(),
        }))
    }

    /// Returns a client whose requests precede others in the queue for the service's limit.
    pub(crate) fn urgent(&self) -> Self {
        Self {
            priority: Priority::Probe,
            ..self.clone()
        }
    }

    /// Returns the service's name, for sentences.
    pub fn service(&self) -> &'static str {
        self.inner.service
    }

    /// Returns the base URL.
    pub fn base(&self) -> &BaseUrl {
        &self.inner.base
    }

    /// Returns the service's clock, from its responses.
    pub fn time(&self) -> ServiceTime {
        self.inner.clock.time(self.inner.service)
    }

    /// Sends a request under all the rules of this crate.
    ///
    /// # Errors
    ///
    /// Fails if the service cannot be reached, refuses the request, or sends a body that is too large or cannot be
    /// decoded.
    pub async fn send(&self, request: &Request) -> Result<Response> {
        let pursued = self.pursue(request, BodyMode::Whole);
        let (response, _) = pursued.instrument(self.span(request)).await?;
        Ok(response)
    }

    /// Sends a request for a response of any size and returns its body as it arrives; or the response itself for an
    /// unsuccessful status that the request accepts.
    ///
    /// # Errors
    ///
    /// Fails if the service cannot be reached or refuses the request.
    pub async fn download(&self, request: &Request) -> Result<Result<Download, Response>> {
        let pursued = self.pursue(request, BodyMode::Head);
        Ok(match pursued.instrument(self.span(request)).await? {
            (_, Some(body)) => Ok(Download::new(self.inner.service, body)),
            (response, None) => Err(response),
        })
    }

    /// Obtains a token, if the service uses tokens.
    ///
    /// # Errors
    ///
    /// Fails if the service refuses the credentials or cannot be reached.
    pub async fn authenticate(&self) -> Result<()> {
        match &self.inner.tokens {
            Some(tokens) => tokens.get().await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// The span of a request in a log: neither its query nor its body, and no secret in its path.
    fn span(&self, request: &Request) -> Span {
        debug_span!(
            "request",
            service = self.inner.service,
            method = %request.method,
            path = self.redacted(request.path().to_owned()),
        )
    }

    async fn pursue(&self, request: &Request, take: BodyMode) -> Result<(Response, Option<Body>)> {
        let inner = &*self.inner;
        let policy = &inner.policy;
        let deadline = Instant::now() + policy.deadline;
        let mut tries = 0;
        loop {
            tries += 1;
            let waited = self.turns.until_open(deadline).await?;
            inner
                .context
                .meter
                .count_limit_wait(waited, Instant::now().into_std());
            self.turn_by(deadline).await?;
            let sent = Instant::now();
            let tried = self.try_once(request, tries > 1, deadline, take).await?;
            let verdict = self.judge(request, tried, tries);
            let (error, wait, throttled) = match verdict {
                Verdict::Good(response, body) => {
                    self.turns.budget().earn();
                    self.turns.served();
                    return Ok((response, body));
                }
                Verdict::Bad(error) => return Err(error),
                Verdict::Again {
                    error,
                    wait,
                    throttled,
                } => (error, wait, throttled),
            };
            let delay = match wait {
                // The service's wait has priority over the backoff.
                Some(requested) if throttled => requested.max(policy.backoff(1, true)),
                Some(requested) => requested.max(policy.backoff(tries, false)),
                None => policy.backoff(tries, throttled),
            };
            let is_late = Instant::now() + delay > deadline;
            if throttled {
                // Others may use the same credential: all its clients here slow down, and requests are sent until the
                // deadline, since a request that waits for its turn is no sign of an outage.
                self.turns.refused(sent);
                if let (None, Some(quota)) = (wait, inner.quota)
                    && let Some(error) = self.turns.used_up(quota)
                {
                    return Err(error.with("tries", tries));
                }
                if is_late {
                    return Err(persistent(error, tries).retry_after(wait.unwrap_or(policy.cap)));
                }
            } else if tries >= policy.tries || is_late || !self.turns.budget().spend() {
                let error = persistent(error, tries);
                return Err(match wait {
                    Some(_) => error.retry_after(delay),
                    None => error,
                });
            }
            debug!(
                seconds = delay.as_secs_f64(),
                throttled, "waits before the next try"
            );
            inner
                .context
                .meter
                .count_backoff_wait(delay, Instant::now().into_std());
            tokio::time::sleep(delay).await;
        }
    }

    /// Waits for the backoff after the given try.
    pub(crate) async fn back_off(&self, failed_try: u32) {
        let delay = self.inner.policy.backoff(failed_try, false);
        self.inner
            .context
            .meter
            .count_backoff_wait(delay, Instant::now().into_std());
        tokio::time::sleep(delay).await;
    }

    /// Waits for the service's rate limit.
    pub(crate) async fn turn(&self) {
        let waited = self.turns.turn(self.priority).await;
        self.inner
            .context
            .meter
            .count_limit_wait(waited, Instant::now().into_std());
    }

    /// Waits for the rate limit, at most until the deadline: many clients may share a reduced rate.
    async fn turn_by(&self, deadline: Instant) -> Result<()> {
        timeout_at(deadline, self.turn()).await.map_err(|_| {
            let service = self.inner.service;
            let text = format!("{service} asks to slow down, and the wait exceeded the deadline");
            Error::new(Kind::RateLimited, text)
                .with_status(Status::Persistent)
                .retry_after(self.inner.policy.cap)
        })
    }

    /// Makes one try with credentials and timeouts, after the caller waited for its turn.
    pub(crate) async fn try_once(
        &self,
        request: &Request,
        is_retry: bool,
        deadline: Instant,
        take: BodyMode,
    ) -> Result<Attempt> {
        let Some(tokens) = &self.inner.tokens else {
            return self.try_with(request, is_retry, deadline, take, None).await;
        };
        let token = tokens.get().await?;
        let tried = self
            .try_with(request, is_retry, deadline, take, Some(&token))
            .await?;
        // The expiry of a token is unknown: after one renewal the response is final.
        match &tried {
            Attempt::Answered(response, _) if self.ends_a_token(response) => {
                let token = tokens.renew(&token).await?;
                self.turn().await;
                self.try_with(request, true, deadline, take, Some(&token))
                    .await
            }
            _ => Ok(tried),
        }
    }

    /// Returns whether a response refuses the sent token.
    fn ends_a_token(&self, response: &Response) -> bool {
        !response.status.is_success() && self.weigh(response).kind == Kind::Unauthenticated
    }

    /// Classifies an unsuccessful response.
    pub(crate) fn weigh(&self, response: &Response) -> Refusal {
        Refusal::of(response, self.inner.limit_headers)
    }

    async fn try_with(
        &self,
        request: &Request,
        is_retry: bool,
        deadline: Instant,
        take: BodyMode,
        token: Option<&Secret>,
    ) -> Result<Attempt> {
        let assembled = self.assemble(request, token)?;
        let is_repeatable = request.is_repeatable;
        let mut tried = self
            .exchange_by(deadline, assembled.clone(), is_retry, take)
            .await;
        // The service closed an idle connection. This is not a failure of the service, so the request is sent again at
        // once, over a new connection.
        let is_stale =
            matches!(&tried, Attempt::Failed(failed) if failed.failure == Failure::Stale);
        if is_stale && is_repeatable {
            let mut again = assembled;
            again.extensions_mut().insert(NewConnection);
            self.turn().await;
            tried = self.exchange_by(deadline, again, true, take).await;
        }
        if let (Attempt::Answered(response, _), Some(headers)) = (&tried, &self.inner.limit_headers)
            && let Some(delay) = headers.closed_for(response)
        {
            self.turns.close_for(delay);
        }
        Ok(tried)
    }

    /// Makes one exchange, at most until the deadline.
    async fn exchange_by(
        &self,
        deadline: Instant,
        request: http::Request<Bytes>,
        is_retry: bool,
        take: BodyMode,
    ) -> Attempt {
        self.inner.context.meter.count_request(is_retry);
        let sent = Instant::now();
        let exchange = self.exchange(request, take);
        let attempt = timeout_at(deadline, exchange).await.unwrap_or_else(|_| {
            Attempt::Failed(TransportError {
                failure: Failure::Timeout,
                before_send: false,
                detail: "no complete response before the deadline".to_owned(),
            })
        });
        let seconds = sent.elapsed().as_secs_f64();
        match &attempt {
            Attempt::Answered(response, _) => {
                let bytes = response.body.len();
                debug!(
                    status = response.status.as_u16(),
                    bytes, seconds, is_retry, "answered"
                );
            }
            Attempt::TooLarge => debug!(seconds, is_retry, "the answer is too large"),
            Attempt::Failed(error) => {
                debug!(failure = ?error.failure, seconds, is_retry, "no answer");
            }
        }
        attempt
    }

    fn assemble(&self, request: &Request, token: Option<&Secret>) -> Result<http::Request<Bytes>> {
        let inner = &*self.inner;
        let url: Url = match &request.target {
            Target::Path { path, query } => urls::join(&inner.base, path, query),
            Target::Link(link) => urls::follow(&inner.base, link)?,
        };
        let mut assembled = http::Request::new(request.body.clone());
        *assembled.method_mut() = request.method.clone();
        // The base URL of a config is short, so the rest is a link, a cursor or an id of the service.
        *assembled.uri_mut() = url.as_str().parse().map_err(|error| {
            let text = "the service gave a link, a cursor or an id that no address can hold";
            let error = Error::new(Kind::DataInvalid, text).caused_by(error);
            error.with("characters", url.as_str().len())
        })?;
        let headers = assembled.headers_mut();
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::ACCEPT, json.clone());
        if !request.body.is_empty() {
            headers.insert(header::CONTENT_TYPE, json);
        }
        for (name, value) in &inner.credentials {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(token) = token {
            let value = sensitive("Bearer", token, "the session")?;
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(assembled)
    }

    async fn exchange(&self, request: http::Request<Bytes>, take: BodyMode) -> Attempt {
        let silent = |what: &str| TransportError {
            failure: Failure::Timeout,
            before_send: false,
            detail: format!("{what} for too long"),
        };
        let requested = Timestamp::now();
        let sent = timeout(HEAD_TIMEOUT, self.inner.context.transport.send(request)).await;
        let (head, body) = match sent.unwrap_or_else(|_| Err(silent("no response"))) {
            Ok(response) => response.into_parts(),
            Err(error) => return Attempt::Failed(error),
        };
        let limit = if head.status.is_success() {
            self.inner.body_limit
        } else {
            COMPLAINT_LIMIT
        };
        let arrived = Timestamp::now();
        let service_time = date(&head.headers);
        self.inner.clock.compare(requested, arrived, service_time);
        let at = service_time.unwrap_or(arrived);
        let answered = |body| Response {
            status: head.status,
            at,
            headers: head.headers.clone(),
            body,
        };
        if take == BodyMode::Head && head.status.is_success() {
            return Attempt::Answered(answered(Bytes::new()), Some(body));
        }
        match collect(
            body,
            &head.headers,
            limit,
            (&self.inner.buffers, &self.inner.room),
        )
        .await
        {
            Ok(Some(body)) => Attempt::Answered(answered(body), None),
            // A refusal is valid without its body.
            Ok(None) if !head.status.is_success() => {
                Attempt::Answered(answered(Bytes::new()), None)
            }
            Err(error) if error.failure == Failure::Undecodable && !head.status.is_success() => {
                Attempt::Answered(answered(Bytes::new()), None)
            }
            Ok(None) => Attempt::TooLarge,
            Err(error) => Attempt::Failed(error),
        }
    }

    fn judge(&self, request: &Request, tried: Attempt, tries: u32) -> Verdict {
        let inner = &*self.inner;
        let service = inner.service;
        let (response, body) = match tried {
            Attempt::Answered(response, body) => (response, body),
            Attempt::TooLarge => {
                let limit = inner.body_limit;
                let text =
                    format!("{service} sent more than the limit of {limit} bytes in one response");
                return Verdict::Bad(
                    Error::new(Kind::DataInvalid, text).with("path", request.path()),
                );
            }
            Attempt::Failed(failed) if failed.failure == Failure::Undecodable => {
                let text = format!("the response of {service} cannot be decompressed: {failed}");
                return Verdict::Bad(
                    Error::new(Kind::DataInvalid, text).with("path", request.path()),
                );
            }
            Attempt::Failed(failed) if failed.failure == Failure::NotAllowed => {
                let text = format!(
                    "no request was sent to {service}: {failed}; its operator can allow the host with --allow-host"
                );
                return Verdict::Bad(Error::new(Kind::ConfigInvalid, text));
            }
            Attempt::Failed(failed) => {
                let text = format!("{service} cannot be reached: {failed}");
                let error = Error::new(Kind::Unavailable, text).with("path", request.path());
                // A retry does not correct a certificate.
                let status = if failed.failure == Failure::Tls {
                    Status::Permanent
                } else {
                    Status::Temporary
                };
                let error = error.with_status(status);
                // A write without a response may have taken effect.
                let may_repeat = request.is_repeatable || failed.before_send;
                return match failed.failure {
                    Failure::Tls => Verdict::Bad(error),
                    _ if !may_repeat => Verdict::Bad(error),
                    _ => Verdict::Again {
                        error,
                        wait: None,
                        throttled: false,
                    },
                };
            }
        };
        let status = response.status;
        if status.is_success() {
            return Verdict::Good(response, body);
        }
        let refusal = self.weigh(&response);
        // A gateway may fail once: an accepted server error counts at the second try, and at once after a write, which
        // may have taken effect.
        let is_meant = !status.is_server_error() || tries > 1 || !request.is_repeatable;
        // A caller that accepts a 403 expects a missing permission.
        let is_limit = refusal.kind == Kind::RateLimited && !refusal.is_by_status(status);
        if is_meant && !is_limit && request.accepts(status) {
            return Verdict::Good(response, body);
        }
        let error = self.explain(request, &response, &refusal);
        let wait = refusal.requested.delay;
        match (refusal.kind, status.as_u16()) {
            (Kind::RateLimited, _) => Verdict::Again {
                error,
                wait,
                throttled: true,
            },
            (_, 503) => Verdict::Again {
                error,
                wait,
                throttled: false,
            },
            (_, 408 | 425 | 500 | 502 | 504) if request.is_repeatable => Verdict::Again {
                error,
                wait,
                throttled: false,
            },
            _ => Verdict::Bad(error),
        }
    }

    /// Returns the error for an unsuccessful status, with the service's message.
    pub fn refusal(&self, request: &Request, response: &Response) -> Error {
        self.explain(request, response, &self.weigh(response))
    }

    fn explain(&self, request: &Request, response: &Response, refusal: &Refusal) -> Error {
        let service = self.inner.service;
        let status = response.status.as_u16();
        let what = match (refusal.kind, status) {
            (Kind::Unauthenticated, _) => format!("{service} does not accept the credentials"),
            (Kind::PermissionDenied, _) => {
                format!("{service} does not allow this with these credentials")
            }
            (Kind::NotFound, _) => format!("{service} has nothing at this address"),
            (Kind::RateLimited, _) => format!("{service} asks to slow down"),
            (Kind::Unavailable, _) => format!("{service} has a problem of its own"),
            (_, status) if leads_elsewhere(status) => format!(
                "{service} returned a redirect, which is not followed: the credentials stay with the base URL"
            ),
            _ => format!("{service} refuses the request"),
        };
        let detail = self
            .said(&response.body)
            .map(|text| format!(": {text}"))
            .unwrap_or_default();
        let error = Error::new(refusal.kind, what + &detail)
            .with("status", status)
            .with("path", request.path());
        match &refusal.requested.unread {
            Some((header, text)) => {
                let text = self.redacted(text.clone());
                error.with(header, format_args!("{text:?} cannot be read"))
            }
            None => error,
        }
    }

    /// Returns the message in a body as one short line, with our secrets removed; `None` for web pages and other bodies
    /// without a message.
    pub fn said(&self, body: &[u8]) -> Option<String> {
        // Before the cut, since no search finds half a secret.
        let text: String = error_message(body)?.chars().take(MAX_SEARCHED).collect();
        let line = one_line(&self.redacted(text), MAX_SHOWN);
        (!line.is_empty()).then_some(line)
    }

    /// Returns a text of the service with our secrets removed, in any encoding.
    pub(crate) fn redacted(&self, text: String) -> String {
        let tokens = self.inner.tokens.iter().flat_map(Tokens::known);
        let secrets: Vec<Secret> = self.inner.secrets.iter().cloned().chain(tokens).collect();
        hide(text, &secrets)
    }
}

/// Returns the error after the last try.
fn persistent(error: Error, tries: u32) -> Error {
    error.with_status(Status::Persistent).with("tries", tries)
}

enum Verdict {
    Good(Response, Option<Body>),
    Bad(Error),
    Again {
        error: Error,
        wait: Option<Duration>,
        throttled: bool,
    },
}
