//! `cargo bench --bench density`: many connections in one process, each kept at the limit of its own credential.
//!
//! Clari Copilot allows 10 requests of 100 records a second for a key. A service on loopback, a process of its own,
//! answers the list of calls with pages that were made before, counts the requests of each key, and refuses with 429 what
//! is above ten in any second. A request counts when the kernel received it: a service that got no core for a moment would
//! count the requests of that moment late, and so see the next ones too soon. Another process opens one source for each key and runs all of them
//! as tasks of one runtime, into sinks that look at every byte's length and keep nothing. A minute of each key counts, from
//! its first request on.
//!
//! `HEADWATER_BENCH_CONNECTIONS` is the number of connections, 200 without it; `HEADWATER_BENCH_RECORD` the bytes of a
//! record, 2,000 without it.

use std::{
    collections::{HashMap, VecDeque},
    env,
    io::{self, BufRead, BufReader, IoSliceMut, Read},
    ops::Range,
    os::fd::AsRawFd,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use acceptance::{
    connector,
    cost::{Cost, measure, own_cpu},
};
use headwater_core::{Egress, StreamSpec, Timestamp};
use headwater_host::{Delivery, Ending, RunOptions, Sink, SinkState, State, WriteCounts};
use nix::sys::{
    socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns},
    time::TimeSpec,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncWriteExt, Interest},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
};

/// Set for the process that is the service.
const SERVICE: &str = "HEADWATER_BENCH_SERVICE";
/// Set for the process that reads, to the address of the service.
const READER: &str = "HEADWATER_BENCH_READER";
const ID: &str = "clari-copilot";
const STREAM: &str = "calls";
const PER_SECOND: usize = 10;
const SECOND: Duration = Duration::from_secs(1);
const COUNTED: Duration = Duration::from_secs(60);
/// Longer than what counts, since not all keys begin at the same moment.
const RUN: Duration = Duration::from_secs(66);
const PAGE: usize = 100;
/// Pages that differ in their first record, since a list whose pages are all the same is not trusted.
const PAGES: usize = 4;
/// One call in so many seconds since the start date: more than a minute can read, in windows that have to be split.
const SECONDS_PER_CALL: i64 = 100;

fn main() {
    let connections = number("HEADWATER_BENCH_CONNECTIONS", 200);
    let record = number("HEADWATER_BENCH_RECORD", 2_000);
    if env::var_os(SERVICE).is_some() {
        return serve(record);
    }
    if let Ok(base_url) = env::var(READER) {
        return read(&base_url, connections);
    }
    let mut service = Command::new(env::current_exe().unwrap())
        .env(SERVICE, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(service.stdout.take().unwrap());
    let mut base_url = String::new();
    said.read_line(&mut base_url).unwrap();
    let mut reader = Command::new(env::current_exe().unwrap());
    let cost = measure(reader.env(READER, base_url.trim()), b"");
    // The end of its input is the end of the service.
    drop(service.stdin.take());
    let mut counts = String::new();
    said.read_to_string(&mut counts).unwrap();
    assert!(service.wait().unwrap().success());
    let counts: Value = serde_json::from_str(&counts).unwrap();
    show(connections, record, cost, &counts);
}

fn number(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn show(connections: usize, record: usize, cost: Cost, counts: &Value) {
    let mut requests: Vec<u64> = counts["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|count| count.as_u64().unwrap())
        .collect();
    assert_eq!(requests.len(), connections, "every key was used");
    requests.sort();
    let allowed = PER_SECOND as u64 * COUNTED.as_secs();
    let share = |requests: u64| 100.0 * requests as f64 / allowed as f64;
    let cores = |cpu: f64| cpu / cost.wall.as_secs_f64();
    println!(
        "{connections} connections at {PER_SECOND} requests a second, pages of {} kB, {} s counted",
        PAGE * record / 1000,
        COUNTED.as_secs()
    );
    println!(
        "slowest connection  {:.1} % of its limit",
        share(requests[0])
    );
    println!(
        "median connection   {:.1} %",
        share(requests[requests.len() / 2])
    );
    println!("answers 429         {}", counts["throttled"]);
    println!(
        "reader              {:.2} cores, {:.1} MiB peak",
        cores(cost.cpu.as_secs_f64()),
        cost.peak_kib as f64 / 1024.0
    );
    println!(
        "service             {:.2} cores",
        cores(counts["cpu"].as_f64().unwrap())
    );
}

/// Opens a source for each connection and runs all of them side by side.
fn read(base_url: &str, connections: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let context = headwater_http::context(&Egress::Anywhere).unwrap();
    let (stop, stopped) = watch::channel(false);
    let mut runs = JoinSet::new();
    for number in 0..connections {
        let connector = connector(ID);
        let answer = json!({
            "api_key": format!("key-{number}"),
            "api_password": "password",
            "base_url": base_url,
            "start_date": "2025-01-01",
        });
        let config = connector.validate(answer).unwrap();
        let source = connector.open(&config, &context).unwrap();
        let options = RunOptions::new(Arc::clone(&context.meter), stopped.clone());
        let run = async move {
            let wanted = [STREAM.to_owned()];
            let (state, sink) = (State::new(ID), Box::new(Counting::default()));
            let receipt =
                headwater_host::run(&*source, &wanted, state, sink, options, &mut |_| {}).await;
            receipt.unwrap()
        };
        runs.spawn_on(run, runtime.handle());
    }
    runtime.block_on(async {
        tokio::time::sleep(RUN).await;
        stop.send(true).unwrap();
        let mut records = 0;
        for receipt in runs.join_all().await {
            assert!(matches!(receipt.streams[0].ending, Ending::Stopped));
            records += receipt.streams[0].records;
        }
        println!(
            "records             {:.0} a second, {} retries",
            records as f64 / RUN.as_secs_f64(),
            context.meter.retries()
        );
    });
}

/// A sink that keeps nothing.
#[derive(Default)]
struct Counting {
    bytes: u64,
}

impl Sink for Counting {
    fn delivery(&self) -> Delivery {
        Delivery::RecordsFirst
    }

    fn restore(&mut self, _: &[StreamSpec], _: &dyn SinkState) -> headwater_core::Result<()> {
        Ok(())
    }

    fn write(
        &mut self,
        _: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> headwater_core::Result<WriteCounts> {
        let mut written = WriteCounts::default();
        for record in records {
            self.bytes += record.len() as u64;
            written.records += 1;
        }
        Ok(written)
    }

    fn commit(&mut self, _: &mut dyn SinkState) -> headwater_core::Result<()> {
        Ok(())
    }
}

/// The service, until its input ends; then it says what it counted.
fn serve(record: usize) {
    let answers = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let answering = answers.handle().clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let keys = Arc::new(Mutex::new(HashMap::new()));
    let pages: Arc<Vec<Records>> =
        Arc::new((0..PAGES).map(|page| Records::new(page, record)).collect());
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}", listener.local_addr().unwrap());
        let served = Arc::clone(&keys);
        tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                connection.set_nodelay(true).unwrap();
                setsockopt(&connection, ReceiveTimestampns, &true).unwrap();
                let (requests, answers) = connection.into_split();
                let (allowed, asked) = mpsc::channel(1);
                tokio::spawn(admit(requests, Arc::clone(&served), allowed));
                answering.spawn(answer(answers, Arc::clone(&pages), asked));
            }
        });
        let end = tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new()));
        end.await.unwrap().unwrap();
    });
    let keys = keys.lock().unwrap();
    let requests: Vec<u64> = keys.values().map(|key: &Key| key.counted).collect();
    let throttled: u64 = keys.values().map(|key| key.throttled).sum();
    println!(
        "{}",
        json!({"requests": requests, "throttled": throttled, "cpu": own_cpu().as_secs_f64()})
    );
}

/// What is counted of a key.
struct Key {
    first: Duration,
    counted: u64,
    throttled: u64,
    latest: VecDeque<Duration>,
}

impl Key {
    fn new(now: Duration) -> Self {
        Self {
            first: now,
            counted: 0,
            throttled: 0,
            latest: VecDeque::new(),
        }
    }

    /// Counts a request, and says whether it is allowed.
    fn admit(&mut self, now: Duration) -> bool {
        while self.latest.front().is_some_and(|one| now - *one >= SECOND) {
            self.latest.pop_front();
        }
        if self.latest.len() == PER_SECOND {
            self.throttled += 1;
            return false;
        }
        self.latest.push_back(now);
        self.counted += u64::from(now - self.first < COUNTED);
        true
    }
}

/// The records of two pages as they stand in an answer, and where each of them begins and ends.
struct Records {
    text: Vec<u8>,
    places: Vec<Range<usize>>,
}

impl Records {
    fn new(page: usize, bytes: usize) -> Self {
        let (mut text, mut places) = (Vec::new(), Vec::new());
        for number in 0..2 * PAGE {
            if number > 0 {
                text.push(b',');
            }
            let start = text.len();
            text.extend_from_slice(call(page * PAGE + number, bytes).as_bytes());
            places.push(start..text.len());
        }
        Self { text, places }
    }

    /// So many records from this one on.
    fn given(&self, first: usize, records: usize) -> &[u8] {
        let places = &self.places[first..first + records];
        match (places.first(), places.last()) {
            (Some(first), Some(last)) => &self.text[first.start..last.end],
            _ => b"",
        }
    }
}

/// A call as the service gives it, filled up with people who took part.
fn call(number: usize, bytes: usize) -> String {
    let mut call = json!({
        "id": format!("{number:08x}-5b8e-4c1d-9c5a-7f3f2f4d0001"),
        "source_id": "988aebfc",
        "title": "Quarterly review \u{2013} next steps & pricing",
        "users": [],
        "externalParticipants": [],
        "status": "POST_PROCESSING_DONE",
        "time": "2025-05-22T15:00:00.000Z",
        "last_modified_time": "2025-05-22T16:03:12.482Z",
        "metrics": {"talk_listen_ratio": 0.5714, "num_questions_asked": 11, "call_duration": 1803.0},
        "crm_info": {"source_crm": "Salesforce", "deal_id": "0065g00000abcDEF", "account_id": "0015g00000abcDEF"},
        "bot_not_join_reason": [],
        "is_private": false,
    });
    while call.to_string().len() < bytes {
        let person = json!({
            "name": "Ada Example",
            "email": format!("ada.{number}@example.com"),
            "phone": null,
            "personId": number,
            "isOrganizer": false,
        });
        call["externalParticipants"]
            .as_array_mut()
            .unwrap()
            .push(person);
    }
    call.to_string()
}

/// Counts the requests of one connection, and passes on what they ask for; none where that is too much.
async fn admit(
    connection: OwnedReadHalf,
    keys: Arc<Mutex<HashMap<String, Key>>>,
    allowed: mpsc::Sender<Option<Asked>>,
) -> io::Result<()> {
    let mut received = Vec::new();
    loop {
        received.clear();
        let mut now = Duration::ZERO;
        while !received.ends_with(b"\r\n\r\n") {
            match receive(&connection, &mut received).await? {
                Some(at) => now = at,
                None => return Ok(()),
            }
        }
        let head = std::str::from_utf8(&received).unwrap();
        let key = between(head, "x-api-key: ", "\r\n");
        let is_allowed = {
            let mut keys = keys.lock().unwrap();
            let key = keys.entry(key.to_owned()).or_insert_with(|| Key::new(now));
            key.admit(now)
        };
        let asked = is_allowed.then(|| Asked::of(head));
        if allowed.send(asked).await.is_err() {
            return Ok(());
        }
    }
}

/// Appends what has arrived and says when the kernel received it; none at the end of the connection.
async fn receive(connection: &OwnedReadHalf, into: &mut Vec<u8>) -> io::Result<Option<Duration>> {
    let connection: &TcpStream = connection.as_ref();
    let (mut part, mut extra) = ([0; 4096], nix::cmsg_space!(TimeSpec));
    connection
        .async_io(Interest::READABLE, || {
            let mut parts = [IoSliceMut::new(&mut part)];
            let flags = MsgFlags::MSG_DONTWAIT;
            let message =
                recvmsg::<()>(connection.as_raw_fd(), &mut parts, Some(&mut extra), flags)?;
            let at = message.cmsgs()?.find_map(|one| match one {
                ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
                _ => None,
            });
            // What came before the connection was accepted has none.
            let at = at.or_else(|| SystemTime::UNIX_EPOCH.elapsed().ok());
            let bytes = message.bytes;
            into.extend_from_slice(&part[..bytes]);
            Ok(at.filter(|_| bytes > 0))
        })
        .await
}

/// Answers the requests of one connection.
async fn answer(
    mut connection: OwnedWriteHalf,
    pages: Arc<Vec<Records>>,
    mut asked: mpsc::Receiver<Option<Asked>>,
) -> io::Result<()> {
    while let Some(asked) = asked.recv().await {
        let Some(Asked {
            skip,
            limit,
            matched,
        }) = asked
        else {
            let refusal = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n";
            connection.write_all(refusal).await?;
            continue;
        };
        let page = &pages[skip / PAGE % PAGES];
        let given = matched.saturating_sub(skip).min(limit);
        let records = page.given(skip % PAGE, given);
        let start = "{\"calls\":[";
        let end = format!("],\"pagination\":{{\"matched\":{matched}}}}}");
        let length = start.len() + records.len() + end.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{start}"
        );
        connection.write_all(head.as_bytes()).await?;
        connection.write_all(records).await?;
        connection.write_all(end.as_bytes()).await?;
    }
    Ok(())
}

/// Offset, page size and the number of calls of the window that a request asks for.
struct Asked {
    skip: usize,
    limit: usize,
    matched: usize,
}

impl Asked {
    fn of(head: &str) -> Self {
        let parameter = |name: &str| {
            let rest = head.split_once(name).unwrap().1;
            rest.split(['&', ' ']).next().unwrap()
        };
        let call = |name: &str| {
            let at: Timestamp = parameter(name).replace("%3A", ":").parse().unwrap();
            at.as_second().div_euclid(SECONDS_PER_CALL)
        };
        let matched = call("filterModifiedLt=") - call("filterModifiedGt=");
        Self {
            skip: parameter("skip=").parse().unwrap(),
            limit: parameter("limit=").parse().unwrap(),
            matched: usize::try_from(matched).unwrap(),
        }
    }
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> &'t str {
    let rest = text.split_once(start).unwrap().1;
    rest.split_once(end).unwrap().0
}
