//! Syncs of this process: under way, and for a while after their end.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use headwater_core::{Error, Timestamp};
use headwater_host::{Redaction, RunOptions, Sink, State, run};
use headwater_output::Destination;
use headwater_store::{Actor, Lease};
use http::StatusCode;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::{app::App, probing::open_saved, problem::Problem};

/// How many syncs may run at once.
const MOST_RUNNING: usize = 64;
/// The code of the refusal beyond that.
pub(crate) const BUSY: &str = "busy";
/// How many ended ones are remembered with their events.
const MOST_ENDED: usize = 256;
/// How many events of a sync are kept for those who come later.
const EVENTS_KEPT: usize = 512;
/// Between two events of one stream's progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// How many samples of a sync are kept. Of more, every second one goes.
const MOST_SAMPLES: usize = 256;

/// All syncs that this process knows, by id.
#[derive(Default)]
pub(crate) struct Runs(Mutex<BTreeMap<String, Arc<Sync>>>);

/// One sync.
pub(crate) struct Sync {
    /// The connection and the number of its run.
    pub id: String,
    pub connection: String,
    /// What people called the connection when it began.
    pub title: String,
    pub connector: &'static str,
    /// The name of the destination.
    pub destination: String,
    pub started: Timestamp,
    pub by: String,
    told: Mutex<Told>,
    /// The number of the last event.
    last: watch::Sender<u64>,
    stop: watch::Sender<bool>,
}

#[derive(Default)]
struct Told {
    events: VecDeque<(u64, Value)>,
    /// What is known of each stream, as its events said it.
    streams: BTreeMap<String, Value>,
    samples: Vec<Sample>,
    receipt: Option<Value>,
}

/// What was known of a sync at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Seconds since it began.
    pub second: f64,
    /// Records of all streams until then.
    pub records: u64,
    /// Seconds that its requests had waited for the service's limit.
    pub wait_seconds: f64,
}

/// What a sync is to do.
pub(crate) struct Order {
    pub connection: String,
    pub streams: Vec<String>,
    pub destination: String,
    /// Whether personal data is replaced before it is written.
    pub redact: bool,
    pub actor: Actor,
}

impl Runs {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Sync>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<Sync>> {
        self.all().get(id).cloned()
    }

    /// All of them, the newest first.
    pub(crate) fn list(&self) -> Vec<Arc<Sync>> {
        let mut all: Vec<_> = self.all().values().cloned().collect();
        all.sort_by(|one, other| (other.started, &other.id).cmp(&(one.started, &one.id)));
        all
    }

    fn begin(&self, sync: Arc<Sync>) {
        let mut all = self.all();
        let ended = all.values().filter(|sync| sync.receipt().is_some());
        if ended.count() >= MOST_ENDED {
            let ended = all.values().filter(|sync| sync.receipt().is_some());
            let oldest = ended.min_by_key(|sync| sync.started);
            let oldest = oldest.map(|sync| sync.id.clone());
            oldest.map(|id| all.remove(&id));
        }
        all.insert(sync.id.clone(), sync);
    }

    fn running(&self) -> usize {
        let all = self.all();
        all.values().filter(|one| one.receipt().is_none()).count()
    }

    /// How many more may run.
    pub(crate) fn places(&self) -> usize {
        MOST_RUNNING.saturating_sub(self.running())
    }

    /// Stops all and waits, not longer than this, until they have kept what they have.
    pub(crate) async fn stop_all(&self, longest: Duration) {
        let running = self.list();
        for sync in &running {
            sync.stop();
        }
        let all_ended = async {
            for sync in &running {
                sync.ended().await;
            }
        };
        let _ = tokio::time::timeout(longest, all_ended).await;
    }
}

impl Told {
    /// The last that an event said of each field of its stream, and how the whole grows.
    fn remember(&mut self, event: &Value, second: f64) {
        if event["event"] == "done" {
            let receipt = &event["receipt"];
            let records = receipt["streams"].as_array().into_iter().flatten();
            let records = records.filter_map(|one| one["records"].as_u64()).sum();
            return self.sample(second, records, &receipt["limit_wait_seconds"]);
        }
        let (Some(stream), Some(fields)) = (event["stream"].as_str(), event.as_object()) else {
            return;
        };
        let known = self.streams.entry(stream.to_owned());
        let known = known.or_insert_with(|| Value::Object(Map::new()));
        if let Some(known) = known.as_object_mut() {
            known.extend(fields.clone());
        }
        if event["event"] == "progress" {
            let streams = self.streams.values();
            let records = streams.filter_map(|one| one["records"].as_u64()).sum();
            self.sample(second, records, &event["limit_wait_seconds"]);
        }
    }

    fn sample(&mut self, second: f64, records: u64, wait_seconds: &Value) {
        if self.samples.len() >= MOST_SAMPLES {
            let mut is_kept = false;
            self.samples.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
        }
        self.samples.push(Sample {
            second,
            records,
            wait_seconds: wait_seconds.as_f64().unwrap_or_default(),
        });
    }
}

impl Sync {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it said of itself at its end.
    pub(crate) fn receipt(&self) -> Option<Value> {
        self.told().receipt.clone()
    }

    /// Its streams as far as they have begun, each with what its events said last.
    pub(crate) fn streams(&self) -> Vec<Value> {
        self.told().streams.values().cloned().collect()
    }

    /// How its records and waits grew.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.told().samples.clone()
    }

    /// Seconds since it began.
    pub(crate) fn seconds(&self) -> f64 {
        let milliseconds = Timestamp::now().as_millisecond() - self.started.as_millisecond();
        milliseconds as f64 / 1000.0
    }

    /// Asks it to keep what it has and to end.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    fn tell(&self, event: Value) {
        self.last.send_modify(|last| {
            *last += 1;
            let mut told = self.told();
            told.remember(&event, self.seconds());
            told.events.push_back((*last, event));
            if told.events.len() > EVENTS_KEPT {
                told.events.pop_front();
            }
        });
    }

    fn end(&self, receipt: Value) {
        self.told().receipt = Some(receipt.clone());
        self.tell(json!({ "event": "done", "receipt": receipt }));
    }

    /// The events after one, as far as they are kept.
    pub(crate) fn events_after(&self, last: u64) -> Vec<(u64, Value)> {
        let told = self.told();
        let later = told.events.iter().filter(|(number, _)| *number > last);
        later.cloned().collect()
    }

    /// Tells when there are more events.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    async fn ended(&self) {
        let mut news = self.news();
        while self.receipt().is_none() && news.changed().await.is_ok() {}
    }
}

/// Starts a sync and returns as soon as it holds its connection.
pub(crate) async fn start(app: &Arc<App>, order: Order) -> Result<Arc<Sync>, Problem> {
    if app.runs.places() == 0 {
        let text = format!("{MOST_RUNNING} syncs are under way; wait until one has ended");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, BUSY, text).retry_after(60));
    }
    let Some(place) = app.options.destinations.get(&order.destination) else {
        let known: Vec<&str> = app
            .options
            .destinations
            .keys()
            .map(String::as_str)
            .collect();
        let text = format!(
            "there is no destination {:?}; there are {}",
            order.destination,
            known.join(", ")
        );
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "destination_unknown",
            text,
        ));
    };
    let destination = Destination::parse(&place.replace("{connection}", &order.connection))?;
    let opened = open_saved(app, &order.connection).await?;
    let (connector, source) = (opened.connector, opened.source);
    for stream in &order.streams {
        source.stream(stream)?;
    }
    let id = connector.about().id;
    let known: Vec<&str> = connector
        .catalog()
        .iter()
        .map(|stream| stream.name)
        .collect();
    let state_path = destination.state_file();
    let state = match &state_path {
        Some(path) => State::load(path, id, &known)?,
        None => State::new(id),
    };
    let (begun, sink) = begin(app, &order.connection, destination).await?;
    let (stop, stopped) = watch::channel(false);
    let sync = Arc::new(Sync {
        id: format!("{}.{}", order.connection, begun.epoch()),
        connection: order.connection,
        title: opened.connection.title,
        connector: id,
        destination: order.destination,
        started: Timestamp::now(),
        by: order.actor.who.clone(),
        told: Mutex::default(),
        last: watch::Sender::new(0),
        stop: stop.clone(),
    });
    begun.on_loss(move || {
        stop.send_replace(true);
    });
    app.runs.begin(Arc::clone(&sync));
    app.metrics.running.inc();
    let (app, told) = (Arc::clone(app), Arc::clone(&sync));
    let options = RunOptions {
        state_path,
        redaction: order.redact.then(Redaction::default),
        ..RunOptions::new(Arc::clone(&opened.meter), stopped)
    };
    tokio::spawn(async move {
        let mut shown = BTreeMap::new();
        let meter = Arc::clone(&opened.meter);
        let mut on_event = |event: headwater_host::Event<'_>| {
            if let headwater_host::Event::Progress(receipt) = &event {
                let now = tokio::time::Instant::now();
                let last = shown.insert(receipt.stream.clone(), now);
                if let Some(last) = last.filter(|last| now - *last < PROGRESS_EVERY) {
                    shown.insert(receipt.stream.clone(), last);
                    return;
                }
            }
            told.tell(event.to_json(&meter));
        };
        let ended = run(
            &*source,
            &order.streams,
            state,
            sink,
            options,
            &mut on_event,
        )
        .await;
        let (receipt, records) = match ended {
            Ok(receipt) => {
                let records = receipt.streams.iter().map(|stream| stream.records).sum();
                (json!(receipt), records)
            }
            Err(error) => (refused(&error), 0),
        };
        let kept = receipt.clone();
        let ended = tokio::task::spawn_blocking(move || begun.end(&kept, None, &order.actor)).await;
        let receipt = match ended {
            Ok(Err(error)) => refused(&error),
            _ => receipt,
        };
        let outcome = match receipt["outcome"].as_str() {
            Some("complete") => "complete",
            Some("partial") => "partial",
            Some("suspended") => "suspended",
            Some("stopped") => "stopped",
            _ => "failed",
        };
        app.metrics.sync(told.connector, outcome, records);
        app.metrics.running.dec();
        told.end(receipt);
    });
    Ok(sync)
}

fn refused(error: &Error) -> Value {
    json!({ "outcome": "failed", "message": error.to_string(), "streams": [] })
}

/// Opens the sink and takes the connection; both block.
async fn begin(
    app: &App,
    connection: &str,
    destination: Destination,
) -> Result<(Lease, Box<dyn Sink>), Problem> {
    let (open, name) = (Arc::clone(&app.open_store), connection.to_owned());
    let begun = tokio::task::spawn_blocking(move || {
        let sink = destination.open(&name)?;
        let lease = Lease::begin(open()?, &name)?;
        Ok::<_, Error>((lease, sink))
    });
    let text = "the sync broke down before it began";
    let broken = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected", text);
    begun.await.map_err(broken)?.map_err(Problem::of_store)
}
