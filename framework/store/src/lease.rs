//! Holding a connection while a run of it goes on.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
};

use headwater_core::{Error, Kind, Result};
use serde_json::Value;

use crate::{audit::Actor, runs::Run, store::Store};

/// What is called once where a connection is lost.
type OnLoss = Box<dyn FnOnce() + Send>;

/// A run of a connection that is renewed until it ends. A run that loses its connection is stopped. Dropping it leaves a
/// run without an end in the history.
pub struct Lease {
    end: mpsc::Sender<()>,
    on_loss: Arc<Mutex<Option<OnLoss>>>,
    epoch: i64,
    renewing: JoinHandle<(Store, Run, Option<Error>)>,
}

impl Lease {
    /// Begins a run of a connection; refused while there is another one. The store is used from a thread of its own.
    pub fn begin(mut store: Store, name: &str) -> Result<Self> {
        let run = store.begin_run(name)?;
        let epoch = run.epoch();
        let (end, ended) = mpsc::channel();
        let on_loss: Arc<Mutex<Option<OnLoss>>> = Arc::default();
        let stops = Arc::clone(&on_loss);
        let renewing = thread::spawn(move || {
            while ended.recv_timeout(Run::LEASE / 3) == Err(RecvTimeoutError::Timeout) {
                let Err(error) = store.renew(&run) else {
                    continue;
                };
                // A store that is out of reach for a moment takes nothing away.
                if store.fence(&run).is_ok() {
                    continue;
                }
                let stop = stops.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(stop) = stop {
                    stop();
                }
                return (store, run, Some(error));
            }
            (store, run, None)
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

    /// Says what stops the run where its connection is lost.
    pub fn on_loss(&self, stop: impl FnOnce() + Send + 'static) {
        *self.on_loss.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(stop));
    }

    /// Ends the run, with what it says of itself, and remembers where its records went.
    pub fn end(self, receipt: &Value, destination: Option<&str>, actor: &Actor) -> Result<()> {
        let _ = self.end.send(());
        let Ok((mut store, run, lost)) = self.renewing.join() else {
            let text = "what holds the connection broke down";
            return Err(Error::new(Kind::Unexpected, text));
        };
        if let Some(error) = lost {
            return Err(error);
        }
        if let Some(destination) = destination {
            store.set_destination(run.name(), destination, actor)?;
        }
        store.finish_run(run, receipt)
    }
}
