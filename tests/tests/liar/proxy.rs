//! A reverse proxy between a connector and the simulator, where the lies are told.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::{
    exchange::{Answer, Ask, about},
    lies::{Dice, Fate, Lie},
};

/// Headers that belong to one connection, or that the proxy writes itself.
const NOT_PASSED_ON: [&str; 6] = [
    "connection",
    "content-length",
    "transfer-encoding",
    "accept-encoding",
    "content-encoding",
    "keep-alive",
];

/// The proxy. Stops when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    connector: &'static str,
    seed: u64,
    /// The simulator.
    upstream: String,
    origin: String,
    client: reqwest::Client,
    requests: AtomicU64,
    /// Beyond so many requests every one is refused, so that a read that would never end does.
    most: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Debug)]
struct Told {
    lies: Vec<Box<dyn Lie>>,
    /// Only what belongs to the data is told.
    is_calm: bool,
    /// How often each target was asked for.
    asked: HashMap<String, u64>,
    /// How often each lie was told.
    counts: Vec<u64>,
    log: Vec<String>,
}

/// A client that decodes nothing and follows nothing.
pub fn plain_client() -> reqwest::Client {
    acceptance::client()
        .no_gzip()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client")
}

impl Proxy {
    /// Starts on a free loopback port of the current runtime.
    pub async fn start(
        connector: &'static str,
        seed: u64,
        upstream: String,
        lies: Vec<Box<dyn Lie>>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            connector,
            seed,
            upstream,
            origin: format!("http://{address}"),
            client: plain_client(),
            requests: AtomicU64::new(0),
            most: AtomicU64::new(u64::MAX),
            told: Mutex::new(Told {
                counts: vec![0; lies.len()],
                lies,
                is_calm: true,
                asked: HashMap::new(),
                log: Vec::new(),
            }),
        });
        let for_all = Arc::clone(&shared);
        let accepting = tokio::spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&for_all);
                open.spawn(async move { serve(stream, &shared).await });
                while open.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests so far.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Refuses every request beyond so many more.
    pub fn allow(&self, more: u64) {
        let most = self.requests().saturating_add(more);
        self.shared.most.store(most, Ordering::Relaxed);
    }

    /// Whether only lies about the data are told.
    pub fn set_calm(&self, is_calm: bool) {
        self.shared.told().is_calm = is_calm;
    }

    /// How often each lie was told.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let told = self.shared.told();
        let names = told.lies.iter().map(|lie| lie.name());
        names.zip(told.counts.iter().copied()).collect()
    }

    /// The requests and what was told, line by line, for a seed that is looked into.
    pub fn log(&self) -> Vec<String> {
        self.shared.told().log.clone()
    }

    /// Lets a lie tell what only it knows, by its name.
    pub fn with_lies<T>(&self, work: impl FnOnce(&mut [Box<dyn Lie>]) -> T) -> T {
        work(&mut self.shared.told().lies)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer; none where the connection is to break instead.
    async fn answer(&self, mut ask: Ask) -> Option<Answer> {
        let asked = self.requests.fetch_add(1, Ordering::Relaxed);
        if asked > self.most.load(Ordering::Relaxed) {
            let json = serde_json::json!({ "message": "the test has seen enough requests" });
            return Some(Answer::json(400, json));
        }
        let mut said = Vec::new();
        let fate = {
            let mut told = self.told();
            let asked = told.asked.entry(ask.target.clone()).or_default();
            ask.nth = *asked;
            *asked += 1;
            self.before(&mut told, &mut ask, &mut said)
        };
        let target = ask.target.clone();
        let mut answer = match fate {
            Some(Fate::Drop) => {
                self.write_down(&ask, &target, "dropped", &said);
                return None;
            }
            Some(Fate::Instead(answer)) => answer,
            None => self.ask_upstream(&ask).await,
        };
        let mut told = self.told();
        let Told {
            lies,
            is_calm,
            counts,
            ..
        } = &mut *told;
        for (index, lie) in lies.iter_mut().enumerate() {
            if *is_calm && !lie.is_of_data() {
                continue;
            }
            if lie.answer(&ask, &mut answer, &mut self.dice(&ask, index, 1)) {
                counts[index] += 1;
                said.push(lie.name());
            }
        }
        drop(told);
        self.write_down(&ask, &target, &answer.status.to_string(), &said);
        Some(answer)
    }

    fn before(&self, told: &mut Told, ask: &mut Ask, said: &mut Vec<&'static str>) -> Option<Fate> {
        for index in 0..told.lies.len() {
            let dice = &mut self.dice(ask, index, 0);
            let lie = &mut told.lies[index];
            if told.is_calm && !lie.is_of_data() {
                continue;
            }
            let target = ask.target.clone();
            let fate = lie.ask(ask, dice);
            if fate.is_some() || ask.target != target {
                told.counts[index] += 1;
                said.push(lie.name());
            }
            if fate.is_some() {
                return fate;
            }
        }
        None
    }

    fn write_down(&self, ask: &Ask, target: &str, what: &str, said: &[&str]) {
        let line = format!("{} {target} {what} {said:?}", ask.method);
        self.told().log.push(line);
    }

    /// The same request, asked for the same time, meets the same lies.
    fn dice(&self, ask: &Ask, index: usize, side: u8) -> Dice {
        let mut hasher = DefaultHasher::new();
        (self.seed, index, side, &ask.method, &ask.target, ask.nth).hash(&mut hasher);
        Dice::with_seed(hasher.finish())
    }

    async fn ask_upstream(&self, ask: &Ask) -> Answer {
        let url = format!("{}{}", self.upstream, ask.target);
        let method = ask.method.parse().expect("a method");
        let mut request = self.client.request(method, url).body(ask.body.clone());
        for (name, value) in &ask.headers {
            if !NOT_PASSED_ON.contains(&name.as_str()) {
                request = request.header(name, value);
            }
        }
        let response = request.send().await.expect("the simulator answers");
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .filter(|(name, _)| !NOT_PASSED_ON.contains(&name.as_str()))
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or("").to_owned()))
            .collect();
        let body = response.bytes().await.expect("the simulator answers");
        // Links of the simulator lead to the proxy.
        let body = match std::str::from_utf8(&body) {
            Ok(text) if text.contains(&self.upstream) => {
                text.replace(&self.upstream, &self.origin).into_bytes()
            }
            _ => body.to_vec(),
        };
        Answer::new(status, headers, body)
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::new();
    let mut on_connection = 0;
    loop {
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
        let mut lines = head.lines();
        let mut first = lines.next().unwrap_or_default().split(' ');
        let method = first.next().unwrap_or_default().to_owned();
        let target = first.next().unwrap_or_default().to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length
            .and_then(|(_, value)| value.parse().ok())
            .unwrap_or(0);
        while received.len() < length {
            if stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        }
        let ask = Ask {
            about: about(shared.connector, &method, &target),
            method,
            target,
            headers,
            body: received.drain(..length).collect(),
            nth: 0,
            on_connection,
            origin: shared.origin.clone(),
        };
        on_connection += 1;
        let Some(answer) = shared.answer(ask).await else {
            return Ok(());
        };
        stream.write_all(&answer.bytes()).await?;
    }
}
