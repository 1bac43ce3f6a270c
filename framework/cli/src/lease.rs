//! A run of a saved connection: one at a time, and remembered.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
};

use headwater_core::{Error, Kind};
use headwater_store::{Connection, Run, Store};
use serde_json::Value;
use tokio::sync::watch;

/// Holds a connection while a run of it goes on. A run that loses it is stopped.
pub(crate) struct Lease {
    end: mpsc::Sender<()>,
    stop: Arc<Mutex<Option<watch::Sender<bool>>>>,
    renewing: JoinHandle<(Store, Run, Option<Error>)>,
}

impl Lease {
    /// Begins a run of a connection; refused while there is another one.
    pub(crate) fn begin(mut store: Store, connection: &Connection) -> Result<Self, Error> {
        let run = store.begin_run(&connection.name)?;
        let (end, ended) = mpsc::channel();
        let stop: Arc<Mutex<Option<watch::Sender<bool>>>> = Arc::default();
        let stops = Arc::clone(&stop);
        let renewing = thread::spawn(move || {
            while ended.recv_timeout(Run::LEASE / 3) == Err(RecvTimeoutError::Timeout) {
                let Err(error) = store.renew(&run) else {
                    continue;
                };
                // A store that is out of reach for a moment takes nothing away.
                if store.fence(&run).is_ok() {
                    continue;
                }
                let stop = stops.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(stop) = stop.as_ref() {
                    stop.send_replace(true);
                }
                return (store, run, Some(error));
            }
            (store, run, None)
        });
        Ok(Self {
            end,
            stop,
            renewing,
        })
    }

    /// What a loss of the connection stops.
    pub(crate) fn stops(&self, stop: watch::Sender<bool>) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop);
    }

    /// Ends the run, with what it says of itself, and remembers where its records went.
    pub(crate) fn end(self, receipt: &Value, destination: Option<&str>) -> Result<(), Error> {
        let _ = self.end.send(());
        let Ok((mut store, run, lost)) = self.renewing.join() else {
            let text = "what holds the connection broke down";
            return Err(Error::new(Kind::Unexpected, text));
        };
        if let Some(error) = lost {
            return Err(error);
        }
        if let Some(destination) = destination {
            store.set_destination(run.name(), destination)?;
        }
        store.finish_run(run, receipt)
    }
}
