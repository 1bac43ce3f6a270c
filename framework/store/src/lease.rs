//! Holding a connection during a run of it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use headwater_core::{Error, Kind, Result, Status};
use serde_json::Value;

use crate::{audit::Actor, runs::Run, store::Store};

/// The callback for a lost connection, called once.
type OnLoss = Box<dyn FnOnce() + Send>;

/// A run of a connection with a thread that renews its lease. Losing the connection stops the run. Dropping it leaves a
/// run without an end in the history.
pub struct Lease {
    end: mpsc::Sender<()>,
    on_loss: Arc<Mutex<Option<OnLoss>>>,
    epoch: i64,
    renewing: JoinHandle<(Store, Run)>,
}

impl Lease {
    /// Begins a run of a connection; refused during another run. The store moves to a thread of its own.
    ///
    /// # Errors
    ///
    /// Fails if there is no such connection, or if another run of it is under way.
    pub fn begin(store: Store, name: &str) -> Result<Self> {
        Self::begin_for(store, name, Run::LEASE)
    }

    /// Begins a run with a lease that lasts this long without renewal.
    fn begin_for(mut store: Store, name: &str, lasts: Duration) -> Result<Self> {
        let begun = Instant::now();
        let run = store.begin_run(name)?;
        let epoch = run.epoch();
        let (end, ended) = mpsc::channel();
        let on_loss: Arc<Mutex<Option<OnLoss>>> = Arc::default();
        let stops = Arc::clone(&on_loss);
        let renewing = thread::spawn(move || {
            if !is_kept(&mut store, &run, begun, lasts, &ended) {
                let stop = stops.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(stop) = stop {
                    stop();
                }
            }
            (store, run)
        });
        Ok(Self {
            end,
            on_loss,
            epoch,
            renewing,
        })
    }

    /// The number of the run: it grows with each run of a connection.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Sets the callback that stops the run when its connection is lost.
    pub fn on_loss(&self, stop: impl FnOnce() + Send + 'static) {
        *self.on_loss.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(stop));
    }

    /// Ends the run with its receipt, and saves the destination of its records. This also works after a time without
    /// the store.
    ///
    /// # Errors
    ///
    /// Fails if another run took over, or if the store cannot be written now.
    pub fn end(self, receipt: &Value, destination: Option<&str>, actor: &Actor) -> Result<()> {
        let _ = self.end.send(());
        let Ok((mut store, run)) = self.renewing.join() else {
            let text = "the thread that renews the lease panicked";
            return Err(Error::new(Kind::Unexpected, text));
        };
        if let Some(destination) = destination {
            store.fence(&run)?;
            store.set_destination(run.name(), destination, actor)?;
        }
        store.finish_run(run, receipt)
    }
}

/// Renews a lease until its run ends; false if the lease is lost before. `begun` is the time before the lease was
/// taken.
fn is_kept(
    store: &mut Store,
    run: &Run,
    begun: Instant,
    lasts: Duration,
    ended: &Receiver<()>,
) -> bool {
    let (mut renewed, mut pause) = (begun, lasts / 3);
    while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        let begun = Instant::now();
        match store.renew(run) {
            Ok(_) => (renewed, pause) = (begun, lasts / 3),
            Err(error) if is_superseded(&error) => return false,
            // The lease outlives a store that is out of reach for a while.
            Err(_) if renewed.elapsed() < lasts => pause = lasts / 12,
            Err(_) => return false,
        }
    }
    true
}

/// Whether another run took over. Any other error of a store may be temporary.
fn is_superseded(error: &Error) -> bool {
    (error.kind(), error.status()) == (Kind::Unavailable, Status::Permanent)
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    };

    use headwater_core::FormModel;
    use serde_json::json;

    use super::*;
    use crate::{
        connections::{Label, NewConnection},
        database::{Database, Row, Value as Cell},
        location::StoreLocation,
    };

    /// A database that can be out of reach.
    struct Remote {
        database: Box<dyn Database>,
        line: Arc<Line>,
    }

    #[derive(Default)]
    struct Line {
        is_cut: AtomicBool,
        refused: AtomicUsize,
        /// How many times its clock was read: every renewal begins with that.
        calls: AtomicUsize,
    }

    impl Line {
        fn cut(&self, is_cut: bool) {
            self.is_cut.store(is_cut, Ordering::SeqCst);
        }

        fn check(&self) -> Result<()> {
            if !self.is_cut.load(Ordering::SeqCst) {
                return Ok(());
            }
            self.refused.fetch_add(1, Ordering::SeqCst);
            Err(Error::new(Kind::Unavailable, "connection refused"))
        }

        /// Waits until this number of further calls found the line cut.
        fn wait_for_refusals(&self, more: usize) {
            let enough = self.refused.load(Ordering::SeqCst) + more;
            wait_until(|| self.refused.load(Ordering::SeqCst) >= enough);
        }
    }

    impl Database for Remote {
        fn query(&mut self, statement: &str, parameters: &[Cell]) -> Result<Vec<Row>> {
            self.line.check()?;
            self.database.query(statement, parameters)
        }
        fn execute(&mut self, statement: &str, parameters: &[Cell]) -> Result<u64> {
            self.line.check()?;
            self.database.execute(statement, parameters)
        }
        fn begin(&mut self) -> Result<()> {
            self.line.check()?;
            self.database.begin()
        }
        fn begin_alone(&mut self) -> Result<()> {
            self.database.begin_alone()
        }
        fn now(&mut self) -> Result<i64> {
            self.line.calls.fetch_add(1, Ordering::SeqCst);
            self.line.check()?;
            self.database.now()
        }
        fn tables(&mut self) -> Result<Vec<String>> {
            self.database.tables()
        }
        fn is_shared(&self) -> bool {
            self.database.is_shared()
        }
        fn forget_deleted(&mut self) {
            self.database.forget_deleted();
        }
    }

    /// A store with a connection called `a`.
    fn store(folder: &Path) -> Store {
        let mut store = open(folder);
        let schema = json!({ "type": "object", "properties": {} });
        let form = FormModel::from_schema("Test", &[], &schema).unwrap();
        let new = NewConnection {
            name: "a",
            label: Label::default(),
            connector: "test",
            answer: &json!({}),
        };
        store.add(&form, &new, &Actor::local()).unwrap();
        store
    }

    fn open(folder: &Path) -> Store {
        Store::open(&StoreLocation::File(folder.join("store.db")), None).unwrap()
    }

    fn remote(store: Store) -> (Store, Arc<Line>) {
        let line = Arc::new(Line::default());
        let database = Box::new(Remote {
            database: store.database,
            line: Arc::clone(&line),
        });
        (Store { database, ..store }, line)
    }

    fn wait_until(is_so: impl Fn() -> bool) {
        let patience = Instant::now();
        while !is_so() {
            assert!(patience.elapsed() < Duration::from_secs(60), "it never is");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// A run whose lease lasts so long, and whether it was stopped.
    fn begin(store: Store, lasts: Duration) -> (Lease, Arc<AtomicBool>) {
        let lease = Lease::begin_for(store, "a", lasts).unwrap();
        let stopped = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stopped);
        lease.on_loss(move || stops.store(true, Ordering::SeqCst));
        (lease, stopped)
    }

    #[test]
    fn a_store_that_is_out_of_reach_for_less_than_the_lease_stops_no_run() {
        let folder = tempfile::tempdir().unwrap();
        let (store, line) = remote(store(folder.path()));
        let (lease, stopped) = begin(store, Duration::from_secs(6));
        line.cut(true);
        line.wait_for_refusals(2);
        line.cut(false);
        assert!(!stopped.load(Ordering::SeqCst));
        lease
            .end(&json!({ "records": 3 }), None, &Actor::local())
            .unwrap();
        let run = open(folder.path()).history("a", 1).unwrap().remove(0);
        assert_eq!(run.receipt, Some(json!({ "records": 3 })));
        assert!(!stopped.load(Ordering::SeqCst));
    }

    #[test]
    fn a_run_whose_lease_has_run_out_is_stopped_and_still_ends_in_the_history() {
        let folder = tempfile::tempdir().unwrap();
        let (store, line) = remote(store(folder.path()));
        let (lease, stopped) = begin(store, Duration::from_millis(60));
        line.cut(true);
        wait_until(|| stopped.load(Ordering::SeqCst));
        line.cut(false);
        lease
            .end(&json!({ "outcome": "stopped" }), None, &Actor::local())
            .unwrap();
        let mut store = open(folder.path());
        let run = store.history("a", 1).unwrap().remove(0);
        assert_eq!(run.receipt, Some(json!({ "outcome": "stopped" })));
        assert!(run.ended.is_some());
        assert_eq!(store.get("a").unwrap().holder, None);
    }

    #[test]
    fn a_run_that_another_one_took_over_from_is_stopped_at_once_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut other = store(folder.path());
        let (store, line) = remote(open(folder.path()));
        let (lease, stopped) = begin(store, Duration::from_secs(3));
        let raised = "UPDATE headwater_connections SET epoch = epoch + 1 WHERE name = 'a'";
        other.database.execute(raised, &[]).unwrap();
        let calls = line.calls.load(Ordering::SeqCst);
        wait_until(|| stopped.load(Ordering::SeqCst));
        assert_eq!(line.calls.load(Ordering::SeqCst), calls + 1);
        let refused = lease
            .end(&json!({}), Some("sqlite:elsewhere.db"), &Actor::local())
            .unwrap_err();
        assert!(refused.to_string().contains("another run took over"));
        assert_eq!(other.history("a", 1).unwrap()[0].ended, None);
        assert_eq!(other.get("a").unwrap().destination, None);
    }
}
