//! An HTTP/1.1 server whose responses come from a closure, byte for byte.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};

/// The time of a stalled connection: longer than any test waits.
const STALL: Duration = Duration::from_secs(3600);

/// The maximum number of connections that wait to be accepted: more than any test opens at once.
const MAX_WAITING: u32 = 4096;

/// A received request.
#[derive(Clone, Debug)]
pub struct Request {
    /// Counts from 0 over all connections.
    pub index: usize,
    /// Counts from 0 on its connection.
    pub on_connection: usize,
    /// Path and query, as sent.
    pub target: String,
    /// The head, as sent.
    pub head: String,
    /// The body, as sent, with the length of its `content-length`.
    pub body: Vec<u8>,
}

impl Request {
    /// Returns the method.
    pub fn method(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }

    /// Returns the value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Returns the value of a query parameter, as sent.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }
}

/// The state of the connection after the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It stays open for the next request.
    KeepOpen,
    /// It is closed in order.
    Close,
    /// It is reset.
    Reset,
    /// It stays open and silent.
    Stall,
}

/// A response: bytes, then an ending.
#[derive(Clone, Debug)]
pub struct Reply {
    bytes: Vec<u8>,
    ending: Ending,
    delay: Duration,
}

impl Reply {
    /// Makes a complete response with a JSON body.
    pub fn json(status: u16, body: &str) -> Self {
        Self::full(
            status,
            &[("content-type", "application/json")],
            body.as_bytes(),
        )
    }

    /// Makes a complete response.
    pub fn full(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        Self::raw(bytes, Ending::KeepOpen)
    }

    /// Makes a reply of any bytes.
    pub fn raw(bytes: impl Into<Vec<u8>>, ending: Ending) -> Self {
        Self {
            bytes: bytes.into(),
            ending,
            delay: Duration::ZERO,
        }
    }

    /// Cuts off the last bytes of this reply and sets the ending.
    #[must_use]
    pub fn cut(mut self, missing: usize, ending: Ending) -> Self {
        self.bytes
            .truncate(self.bytes.len().saturating_sub(missing));
        self.ending = ending;
        self
    }

    /// Delays this reply.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

/// The server. Stops when dropped.
#[derive(Debug)]
pub struct Script {
    address: std::net::SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Script {
    /// Starts on a free loopback port of the current runtime.
    pub async fn start(
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(MAX_WAITING)?;
        let address = listener.local_addr()?;
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let answer: Arc<Answer> = Arc::new(answer);
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                open.spawn(async move { serve(stream, &log, &*answer).await });
            }
        });
        Ok(Self {
            address,
            requests,
            connections,
            accepting,
        })
    }

    /// Returns `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns the number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Returns the requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Request>>,
    answer: &Answer,
) -> io::Result<()> {
    let mut received = Vec::new();
    for on_connection in 0.. {
        let end = loop {
            if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        received.drain(..end + 4);
        let mut request = Request {
            index: 0,
            on_connection,
            target: head.split(' ').nth(1).unwrap_or_default().to_owned(),
            head,
            body: Vec::new(),
        };
        let length = request.header("content-length");
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        while received.len() < length {
            if stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        }
        request.body = received.drain(..length).collect();
        {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            request.index = log.len();
            log.push(request.clone());
        }
        let reply = answer(&request);
        tokio::time::sleep(reply.delay).await;
        stream.write_all(&reply.bytes).await?;
        stream.flush().await?;
        match reply.ending {
            Ending::KeepOpen => {}
            Ending::Close => return stream.shutdown().await,
            Ending::Reset => {
                return socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
            Ending::Stall => tokio::time::sleep(STALL).await,
        }
    }
    Ok(())
}
