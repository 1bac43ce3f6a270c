//! Rows of the audit about actions that change nothing in the store: tests of drafts, wrong tokens, ends of sessions.
//!
//! No request waits for them. They are collected and written together, many in one transaction; if there are too many,
//! one row counts the ones left out.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use headwater_core::Error;
use headwater_store::{Actor, AuditNote};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::app::App;

/// The time between two writes.
const WRITE_EVERY: Duration = Duration::from_millis(200);
/// The most rows that wait to be written.
const MAX: usize = 10_000;

/// Rows that wait to be written.
#[derive(Default)]
pub(crate) struct Notes(Mutex<PendingRows>);

#[derive(Default)]
struct PendingRows {
    rows: Vec<AuditNote>,
    left_out: u64,
}

impl Notes {
    pub(crate) fn add(&self, row: AuditNote) {
        let mut waiting = self.waiting();
        match waiting.rows.len() < MAX {
            true => waiting.rows.push(row),
            false => waiting.left_out += 1,
        }
    }

    fn take(&self) -> Vec<AuditNote> {
        let PendingRows { mut rows, left_out } = mem::take(&mut *self.waiting());
        if left_out > 0 {
            rows.push(AuditNote {
                actor: service(),
                what: "rows left out",
                connection: None,
                outcome: left_out.to_string(),
            });
        }
        rows
    }

    fn waiting(&self) -> MutexGuard<'_, PendingRows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The actor for the service itself.
pub(crate) fn service() -> Actor {
    Actor {
        who: "service".to_owned(),
        request_id: None,
    }
}

/// Writes the waiting rows, until `stop` turns true and all are written.
pub(crate) async fn keep(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let mut turns = interval(WRITE_EVERY);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_over = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => true,
            _ = turns.tick() => false,
        };
        write(&app).await;
        if is_over {
            return;
        }
    }
}

/// Writes the waiting rows.
pub(crate) async fn write(app: &App) {
    let rows = app.notes.take();
    if rows.is_empty() {
        return;
    }
    let saved = rows.clone();
    let written: Result<(), Error> = app.store(move |store| store.note_all(&saved)).await;
    if written.is_err() {
        // The store is out of reach; the next write tries again.
        rows.into_iter().for_each(|row| app.notes.add(row));
    }
}
