//! What the tests of this crate share.

pub mod windows;

use std::{
    collections::VecDeque,
    future::Future,
    net::Ipv4Addr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{self, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{
    AnyStream, BaseUrl, Body, Context, Egress, Failure, Page, Position, Result, Secret, StreamSpec,
    Timestamp, Transport, TransportError, Wait,
};
use headwater_http::{Client, ClientBuilder, RetryPolicy, context};
use headwater_testkit::{PassDriver, Script};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket},
    time::{Instant, Sleep, sleep},
};
use tokio_rustls::{TlsAcceptor, rustls};

/// The secret of every test. No text may show it.
pub const SECRET: &str = "canary-5c1f";

/// The policy for reading, without its waits.
pub const QUICK: RetryPolicy = RetryPolicy {
    base: Duration::from_millis(1),
    deadline: Duration::from_secs(30),
    ..RetryPolicy::READ
};

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub fn spec(name: &'static str) -> StreamSpec {
    StreamSpec {
        name,
        description: "A thing.",
        key: &["id"],
        cursor: None,
        incremental: false,
        schema: || serde_json::json!({}),
    }
}

pub fn builder(base: &str, context: &Context) -> ClientBuilder {
    let base = BaseUrl::parse(base).unwrap();
    Client::builder("Sample", &base, context)
        .secret_header("x-key", &Secret::new(SECRET))
        .retry(QUICK)
}

pub fn client(script: &Script) -> Client {
    let context = context(&Egress::Anywhere).unwrap();
    builder(&script.base_url(), &context).build().unwrap()
}

/// A position after being written down and read again, as between two runs of a host.
pub fn kept(position: &Position) -> Position {
    let text = serde_json::to_string(position).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The pages of a partition, from a token to the end, by one reader.
pub async fn pages(
    stream: &Arc<dyn AnyStream>,
    partition: &Position,
    token: Option<Position>,
) -> Result<Vec<Page<Position, Position>>> {
    let mut walk = PassDriver::from_places([(kept(partition), token)]);
    let mut pages = Vec::new();
    while let Some(ready) = walk.first() {
        assert!(pages.len() < 5_000, "reading does not end");
        let mut page = stream.fetch(ready.partition, ready.token).await?;
        if let Some(Wait::NextRun(error)) = page.wait.take() {
            return Err(error);
        }
        walk.arrived(ready.id, &page);
        walk = again(&walk);
        pages.push(page);
    }
    Ok(pages)
}

/// The rest of a pass after being written down and read again.
pub fn again(walk: &PassDriver) -> PassDriver {
    serde_json::from_str(&serde_json::to_string(walk).unwrap()).unwrap()
}

/// The bookmark that some pages leave.
pub fn bookmark(pages: &[Page<Position, Position>]) -> Option<Position> {
    let mut bookmarks = pages.iter().filter_map(|page| page.bookmark.as_ref());
    bookmarks.next_back().map(kept)
}

/// The records of some pages as text.
pub fn texts(pages: &[Page<Position, Position>]) -> Vec<String> {
    let records = pages.iter().flat_map(Page::iter);
    records
        .map(|record| String::from_utf8(record.to_vec()).unwrap())
        .collect()
}

/// A port of this machine on which nobody listens. It stays taken, or another test might get it for a server.
pub fn closed_port() -> u16 {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = socket.local_addr().unwrap().port();
    std::mem::forget(socket);
    port
}

/// The port of a server whose certificate nobody trusts. It never gets to read a request.
pub async fn self_signed_server() -> u16 {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let shaken = acceptor.accept(stream).await;
            assert!(shaken.is_err(), "the certificate was trusted");
        }
    });
    port
}

/// The port of a server that speaks plain HTTP with whoever comes.
pub async fn plain_server() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut received = [0; 4096];
            let length = stream.read(&mut received).await.unwrap();
            let text = String::from_utf8_lossy(&received[..length]);
            assert!(!text.contains(SECRET), "the secret was sent in the clear");
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    port
}

/// What a wire answers.
pub type Answer = Result<http::Response<Body>, TransportError>;

type Answers = dyn Fn(usize, &http::Request<Bytes>) -> Answer + Send + Sync;

type Sent = (Instant, http::Request<Bytes>);

/// A network inside of the process, for tests with a paused clock: nothing on it takes time unless it says so.
#[derive(Clone)]
pub struct Wire {
    answer: Arc<Answers>,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Wire {
    /// Answers each request by its number, from 0, and what it is.
    pub fn new(
        answer: impl Fn(usize, &http::Request<Bytes>) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self {
            answer: Arc::new(answer),
            sent: Arc::default(),
        }
    }

    pub fn context(&self) -> Context {
        Context::new(self.clone())
    }

    pub fn client(&self) -> Client {
        builder("https://sample.test", &self.context())
            .build()
            .unwrap()
    }

    /// When each request was sent.
    pub fn times(&self) -> Vec<Instant> {
        let sent = self.sent.lock().unwrap();
        sent.iter().map(|(at, _)| *at).collect()
    }

    /// What was asked for, path and query.
    pub fn targets(&self) -> Vec<String> {
        let sent = self.sent.lock().unwrap();
        sent.iter()
            .map(|(_, request)| request.uri().path_and_query().unwrap().to_string())
            .collect()
    }

    /// A whole answer.
    pub fn reply(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
        let pieces = vec![Piece::Data(Bytes::copy_from_slice(body.as_bytes()))];
        Self::pieces(status, headers, pieces)
    }

    /// An answer whose body comes like this.
    pub fn pieces(status: u16, headers: &[(&'static str, &str)], pieces: Vec<Piece>) -> Answer {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let body = Pieces {
            left: pieces.into(),
            pause: None,
        };
        Ok(response.body(Box::pin(body) as Body).unwrap())
    }
}

#[async_trait]
impl Transport for Wire {
    async fn send(&self, request: http::Request<Bytes>) -> Answer {
        let number = {
            let mut sent = self.sent.lock().unwrap();
            sent.push((Instant::now(), request.clone()));
            sent.len() - 1
        };
        (self.answer)(number, &request)
    }
}

/// A part of a body.
#[derive(Clone)]
pub enum Piece {
    Data(Bytes),
    /// Nothing for so long.
    Pause(Duration),
    /// The connection breaks off.
    Broken,
}

struct Pieces {
    left: VecDeque<Piece>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl futures_core::Stream for Pieces {
    type Item = Result<Bytes, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.pause = None;
            }
            match self.left.pop_front() {
                None => return Poll::Ready(None),
                Some(Piece::Data(data)) => return Poll::Ready(Some(Ok(data))),
                Some(Piece::Pause(length)) => self.pause = Some(Box::pin(sleep(length))),
                Some(Piece::Broken) => return Poll::Ready(Some(Err(broken_off()))),
            }
        }
    }
}

/// A connection that broke off after the request was sent.
pub fn broken_off() -> TransportError {
    TransportError {
        failure: Failure::Interrupted,
        before_send: false,
        detail: "the connection broke off".to_owned(),
    }
}
