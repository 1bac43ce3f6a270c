//! The syncs of this process: under way, and for a while after their end.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use headwater_core::{Error, Timestamp};
use headwater_host::{
    EventRecord, Redaction, RunOptions, Sink, State, run,
    summaries::{ReceiptSummary, StreamSummary},
};
use headwater_output::Destination;
use headwater_store::{Actor, Lease};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::{
    app::App,
    probing::{OpenConnection, open_saved},
    problem::Problem,
};

/// How many syncs may run at once.
const MAX_RUNNING: u32 = 64;
/// The code of the refusal beyond that limit, and of a stopping service.
pub(crate) const BUSY: &str = "busy";
/// How many ended syncs are kept with their events.
const MAX_ENDED: usize = 256;
/// How many events of a sync are kept for later watchers.
const EVENTS_KEPT: usize = 512;
/// The time between two progress events of a stream.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// How many samples of a sync are kept. Beyond that, every second one is dropped.
const MAX_SAMPLES: usize = 256;

/// All syncs of this process.
pub(crate) struct Runs {
    known: Mutex<SyncTable>,
    /// Each sync holds a slot from before it takes its connection until after it has released it.
    slots: Arc<Semaphore>,
}

#[derive(Default)]
struct SyncTable {
    /// By id.
    syncs: BTreeMap<String, Arc<Sync>>,
    /// Whether all syncs are to end, later ones included.
    is_stopping: bool,
}

/// One sync.
pub(crate) struct Sync {
    /// The connection and the number of its run.
    pub id: String,
    pub connection: String,
    /// The title of the connection at the start.
    pub title: String,
    pub connector: &'static str,
    /// The name of the destination.
    pub destination: String,
    pub started: Timestamp,
    pub by: String,
    log: Mutex<RunLog>,
    /// The number of the last event.
    last: watch::Sender<u64>,
    stop: watch::Sender<bool>,
}

#[derive(Default)]
struct RunLog {
    events: VecDeque<(u64, Value)>,
    streams: BTreeMap<String, StreamSummary>,
    samples: Vec<Sample>,
    receipt: Option<Value>,
}

/// The progress of a sync at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Seconds since it began.
    pub second: f64,
    /// Records of all streams so far.
    pub records: u64,
    /// Seconds that its requests have waited for the service's limit.
    pub wait_seconds: f64,
}

/// The order for a sync.
pub(crate) struct Order {
    pub connection: String,
    pub streams: Vec<String>,
    pub destination: String,
    /// Whether personal data is replaced before it is written.
    pub redact: bool,
    /// Whether the caller confirms that the account is the one read before.
    pub same_account: bool,
    pub actor: Actor,
}

impl Default for Runs {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            slots: Arc::new(Semaphore::new(MAX_RUNNING as usize)),
        }
    }
}

impl Runs {
    fn known(&self) -> MutexGuard<'_, SyncTable> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<Sync>> {
        self.known().syncs.get(id).cloned()
    }

    /// Reserves a slot for a new sync.
    fn acquire_slot(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let busy = |text: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, BUSY, text);
        if self.known().is_stopping {
            let text = "the service is stopping; try again when it runs again";
            return Err(busy(text.to_owned()).retry_after(60));
        }
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        slot.map_err(|_| {
            let text = format!("{MAX_RUNNING} syncs are under way; wait until one has ended");
            busy(text).retry_after(60)
        })
    }

    fn begin(&self, sync: Arc<Sync>) {
        let mut known = self.known();
        // It was starting while the others were stopped.
        if known.is_stopping {
            sync.stop();
        }
        let syncs = &mut known.syncs;
        let ended = syncs.values().filter(|sync| sync.receipt().is_some());
        if ended.count() >= MAX_ENDED {
            let ended = syncs.values().filter(|sync| sync.receipt().is_some());
            let oldest = ended.min_by_key(|sync| sync.started);
            let oldest = oldest.map(|sync| sync.id.clone());
            oldest.map(|id| syncs.remove(&id));
        }
        syncs.insert(sync.id.clone(), sync);
    }

    /// The number of free slots.
    pub(crate) fn free_slots(&self) -> usize {
        self.slots.available_permits()
    }

    /// Stops all syncs, starting ones included, and waits at most this long until they have saved their records. No
    /// sync begins after that.
    pub(crate) async fn stop_all(&self, longest: Duration) {
        {
            let mut known = self.known();
            known.is_stopping = true;
            for sync in known.syncs.values() {
                sync.stop();
            }
        }
        let all_slots = self.slots.acquire_many(MAX_RUNNING);
        let _ = tokio::time::timeout(longest, all_slots).await;
    }
}

impl RunLog {
    /// Updates the stream of an event, and adds a sample of the whole.
    fn remember(&mut self, event: &EventRecord, second: f64) {
        let Some(name) = StreamSummary::stream_of(event) else {
            return;
        };
        let known = self.streams.entry(name.to_owned());
        let known = known.or_insert_with(|| StreamSummary {
            stream: name.to_owned(),
            ..StreamSummary::default()
        });
        known.update(event);
        if let EventRecord::Progress {
            limit_wait_seconds, ..
        } = event
        {
            let records = self.streams.values().map(|stream| stream.records).sum();
            self.sample(second, records, *limit_wait_seconds);
        }
    }

    fn sample(&mut self, second: f64, records: u64, wait_seconds: f64) {
        if self.samples.len() >= MAX_SAMPLES {
            let mut is_kept = false;
            self.samples.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
        }
        self.samples.push(Sample {
            second,
            records,
            wait_seconds,
        });
    }
}

impl Sync {
    fn log(&self) -> MutexGuard<'_, RunLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its receipt, once it has ended.
    pub(crate) fn receipt(&self) -> Option<Value> {
        self.log().receipt.clone()
    }

    /// The streams that have begun, each with the last values of its events.
    pub(crate) fn streams(&self) -> Vec<StreamSummary> {
        self.log().streams.values().cloned().collect()
    }

    /// The growth of its records and waits.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        self.log().samples.clone()
    }

    /// Seconds since it began.
    pub(crate) fn seconds(&self) -> f64 {
        let milliseconds = Timestamp::now().as_millisecond() - self.started.as_millisecond();
        milliseconds as f64 / 1000.0
    }

    /// Makes it save its records and end.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    fn record(&self, event: &EventRecord) {
        self.append(json!(event), |log, second| log.remember(event, second));
    }

    /// Sets the last event and the receipt at once, so that a reader of one finds the other.
    fn end(&self, receipt: Value) {
        let done = json!({ "event": "done", "receipt": receipt });
        self.append(done, |log, second| {
            let summary = ReceiptSummary::of(&receipt);
            log.sample(second, summary.records(), summary.limit_wait_seconds);
            log.receipt = Some(receipt);
        });
    }

    /// Adds an event, together with its effect on the log.
    fn append(&self, event: Value, effect: impl FnOnce(&mut RunLog, f64)) {
        self.last.send_modify(|last| {
            *last += 1;
            let mut log = self.log();
            effect(&mut log, self.seconds());
            log.events.push_back((*last, event));
            if log.events.len() > EVENTS_KEPT {
                log.events.pop_front();
            }
        });
    }

    /// The kept events after a number.
    pub(crate) fn events_after(&self, last: u64) -> Vec<(u64, Value)> {
        let log = self.log();
        let later = log.events.iter().filter(|(number, _)| *number > last);
        later.cloned().collect()
    }

    /// Changes whenever there are more events.
    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}

/// A sync ready to begin, before it takes its connection.
struct PreparedSync {
    order: Order,
    destination: Destination,
    opened: OpenConnection,
    state_path: Option<PathBuf>,
    state: State,
    slot: OwnedSemaphorePermit,
}

/// Starts a sync and returns once it holds its connection.
pub(crate) async fn start(app: &Arc<App>, order: Order) -> Result<Arc<Sync>, Problem> {
    let slot = app.runs.acquire_slot()?;
    let Some(template) = app.options.destinations.get(&order.destination) else {
        let known: Vec<&str> = app
            .options
            .destinations
            .keys()
            .map(String::as_str)
            .collect();
        let text = format!(
            "unknown destination {:?}; choose {}",
            order.destination,
            known.join(", ")
        );
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "destination_unknown",
            text,
        ));
    };
    let destination = Destination::parse(&template.replace("{connection}", &order.connection))?;
    let opened = open_saved(app, &order.connection).await?;
    for stream in &order.streams {
        opened.source.stream(stream)?;
    }
    let connector = &opened.connector;
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
    let ready = PreparedSync {
        order,
        destination,
        opened,
        state_path,
        state,
        slot,
    };
    // On a task of its own: the client may leave before the connection is taken, and it still has to be released.
    let begun = app.runtime.spawn(begin(Arc::clone(app), ready));
    begun.await.map_err(|_| broken())?
}

/// Takes the connection and runs the sync.
async fn begin(app: Arc<App>, ready: PreparedSync) -> Result<Arc<Sync>, Problem> {
    let PreparedSync { order, opened, .. } = ready;
    let (begun, sink) = take(&app, &order.connection, ready.destination).await?;
    let (stop, stopped) = watch::channel(false);
    let sync = Arc::new(Sync {
        id: format!("{}.{}", order.connection, begun.epoch()),
        connection: order.connection,
        title: opened.connection.title,
        connector: opened.connector.about().id,
        destination: order.destination,
        started: Timestamp::now(),
        by: order.actor.who.clone(),
        log: Mutex::default(),
        last: watch::Sender::new(0),
        stop: stop.clone(),
    });
    begun.on_loss(move || {
        stop.send_replace(true);
    });
    let (actor, name) = (order.actor.clone(), sync.connection.clone());
    let noted: Result<(), Error> = app
        .store(move |store| store.note(&actor, "sync started", Some(&name), "started"))
        .await;
    if let Err(error) = noted {
        // A sync that the audit cannot record does not run, and releases its connection.
        let (receipt, actor) = (refused(&error), order.actor);
        let ended = tokio::task::spawn_blocking(move || begun.end(&receipt, None, &actor));
        let _ = ended.await;
        return Err(Problem::of_store(error));
    }
    app.runs.begin(Arc::clone(&sync));
    app.metrics.running.inc();
    let syncing = Arc::clone(&sync);
    let mut options = RunOptions::new(Arc::clone(&opened.meter), stopped);
    options.state_path = ready.state_path;
    options.redaction = order.redact.then(Redaction::default);
    options.same_account = order.same_account;
    app.runtime.clone().spawn(async move {
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
            syncing.record(&event.record(&meter));
        };
        let ended = run(
            &*opened.source,
            &order.streams,
            ready.state,
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
        let saved = receipt.clone();
        let ended =
            tokio::task::spawn_blocking(move || begun.end(&saved, None, &order.actor)).await;
        let receipt = match ended {
            Ok(Err(error)) => refused(&error),
            _ => receipt,
        };
        let outcome = match ReceiptSummary::of(&receipt).outcome.as_deref() {
            Some("complete") => "complete",
            Some("partial") => "partial",
            Some("suspended") => "suspended",
            Some("stopped") => "stopped",
            _ => "failed",
        };
        app.metrics.sync(syncing.connector, outcome, records);
        app.metrics.running.dec();
        syncing.end(receipt);
        drop(ready.slot);
    });
    Ok(sync)
}

fn refused(error: &Error) -> Value {
    json!({ "outcome": "failed", "kind": error.kind(), "message": error.to_string(), "streams": [] })
}

fn broken() -> Problem {
    let text = "the sync failed unexpectedly before it began";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unexpected", text)
}

/// Opens the sink and takes the connection; both calls block.
async fn take(
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
    begun
        .await
        .map_err(|_| broken())?
        .map_err(Problem::of_store)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn sync(id: &str) -> Arc<Sync> {
        Arc::new(Sync {
            id: id.to_owned(),
            connection: "calls".to_owned(),
            title: "Calls".to_owned(),
            connector: "test",
            destination: "default".to_owned(),
            started: Timestamp::now(),
            by: "local".to_owned(),
            log: Mutex::default(),
            last: watch::Sender::new(0),
            stop: watch::Sender::new(false),
        })
    }

    fn is_stopped(sync: &Sync) -> bool {
        *sync.stop.borrow()
    }

    #[test]
    fn whoever_sees_the_receipt_of_a_sync_finds_its_last_event() {
        let sync = sync("calls.1");
        let news = sync.news();
        thread::scope(|scope| {
            // Keeps the number of the last event from growing.
            let held = news.borrow();
            let ends = scope.spawn(|| sync.end(json!({ "outcome": "complete" })));
            for _ in 0..100 {
                let is_over = sync.receipt().is_some();
                assert_eq!(is_over, !sync.events_after(0).is_empty());
                thread::sleep(Duration::from_millis(1));
            }
            drop(held);
            ends.join().unwrap();
        });
        let events = sync.events_after(0);
        assert_eq!(events[0].1["event"], "done");
        assert_eq!(events[0].1["receipt"], sync.receipt().unwrap());
    }

    #[test]
    fn a_sync_that_is_being_started_has_its_place() {
        let runs = Runs::default();
        let slots: Vec<_> = (0..MAX_RUNNING)
            .map(|_| runs.acquire_slot().unwrap())
            .collect();
        assert_eq!(runs.free_slots(), 0);
        let refused = runs.acquire_slot().unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.code), (503, BUSY));
        drop(slots);
        assert!(runs.acquire_slot().is_ok());
    }

    #[tokio::test]
    async fn a_stop_waits_for_a_sync_that_was_being_started_and_stops_it() {
        let runs = Arc::new(Runs::default());
        let (running, starting) = (sync("calls.1"), sync("calls.2"));
        let held = runs.acquire_slot().unwrap();
        runs.begin(Arc::clone(&running));
        let slot = runs.acquire_slot().unwrap();
        let all = Arc::clone(&runs);
        let stop = tokio::spawn(async move { all.stop_all(Duration::from_secs(60)).await });
        running
            .stop
            .subscribe()
            .wait_for(|stop| *stop)
            .await
            .unwrap();
        assert_eq!(runs.acquire_slot().unwrap_err().code, BUSY);
        drop(held);
        runs.begin(Arc::clone(&starting));
        assert!(is_stopped(&starting));
        tokio::task::yield_now().await;
        assert!(!stop.is_finished());
        drop(slot);
        stop.await.unwrap();
    }
}
