//! The background work of the service: it starts due runs, and removes connections for good a day after their deletion.
//!
//! Several services may serve the schedules of one store: the service that claims a due run starts it. The claim comes
//! before the start, so a service that is killed in between skips a run and repeats none.

use std::{sync::Arc, time::Duration};

use headwater_core::{Error, Result, Timestamp};
use headwater_store::{Actor, ScheduledRun, Store};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    app::App,
    notes::service,
    runs::{self, Order},
    times::Times,
};

/// The time between two queries for due runs.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The time between two removals of deleted connections.
const PURGE_EVERY: Duration = Duration::from_secs(60 * 60);
/// How long a stop waits for starting runs.
const LONGEST_STOP: Duration = Duration::from_secs(8);

/// A run that this service has claimed.
struct ClaimedRun {
    scheduled: ScheduledRun,
    /// The due time of the next run.
    next: Timestamp,
}

/// Works until `stop` turns true.
pub(crate) async fn keep(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let (mut looks, mut purges) = (interval(LOOK_EVERY), interval(PURGE_EVERY));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    purges.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut starting = JoinSet::new();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            _ = looks.tick(), if app.options.schedules => start_due(&app, &mut starting).await,
            _ = purges.tick() => purge(&app).await,
        }
    }
    let started = async { while starting.join_next().await.is_some() {} };
    let _ = timeout(LONGEST_STOP, started).await;
}

/// Starts due runs while there are free slots; the others stay due.
async fn start_due(app: &Arc<App>, starting: &mut JoinSet<()>) {
    while starting.try_join_next().is_some() {}
    let free = app.runs.free_slots();
    if free == 0 {
        return;
    }
    // While the store is out of reach, due runs stay due.
    let claimed = app.store(move |store| {
        let due = store.due(free)?;
        Ok::<_, Error>(claim(store, due))
    });
    for claimed in claimed.await.unwrap_or_default() {
        starting.spawn(start(Arc::clone(app), claimed));
    }
}

/// Claims the runs that no other service has claimed.
fn claim(store: &mut Store, due: Vec<ScheduledRun>) -> Vec<ClaimedRun> {
    let mut claimed = Vec::new();
    for scheduled in due {
        // The store decides about due runs by a clock that may be ahead of this one.
        let now = Timestamp::now().max(scheduled.due);
        let times = Times::of(&scheduled.schedule.when, now).ok();
        let next = times.and_then(|times| times.after(&scheduled.connection, scheduled.due, now));
        let is_ours = match next {
            Some(next) => store.claim(&scheduled, next),
            // Another build wrote this schedule.
            None => store.postpone(&scheduled).map(|()| false),
        };
        match (is_ours, next) {
            (Ok(true), Some(next)) => claimed.push(ClaimedRun { scheduled, next }),
            (Ok(_), _) => {}
            // Runs that are claimed already start all the same.
            (Err(_), _) => break,
        }
    }
    claimed
}

fn note(store: &mut Store, scheduled: &ScheduledRun, outcome: &str) -> Result<()> {
    store.note(
        &Actor::schedule(),
        "scheduled run",
        Some(&scheduled.connection),
        outcome,
    )
}

async fn start(app: Arc<App>, claimed: ClaimedRun) {
    let ClaimedRun { scheduled, next } = claimed;
    let order = Order {
        connection: scheduled.connection.clone(),
        streams: scheduled.schedule.streams.clone(),
        destination: scheduled.schedule.destination.clone(),
        redact: scheduled.schedule.is_redacted,
        same_account: false,
        actor: Actor::schedule(),
    };
    let Err(problem) = runs::start(&app, order).await else {
        return;
    };
    let noted = app.store(move |store| {
        if problem.code != runs::BUSY {
            // Usually still running. The next run is due at its time.
            return note(store, &scheduled, problem.code);
        }
        // Another run took the last slot, or the service is stopping. The run stays due.
        let taken = ScheduledRun {
            due: next,
            ..scheduled.clone()
        };
        store.claim(&taken, scheduled.due).map(drop)
    });
    // If the store does not answer, there is no way to report it.
    let _: Result<()> = noted.await;
}

async fn purge(app: &App) {
    let before = Timestamp::now() - Store::RESTORE;
    let purged = app.store(move |store| store.purge_deleted(before, &service()));
    // The next round tries again.
    let _: Result<usize> = purged.await;
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Barrier, thread};

    use headwater_core::{FormModel, SignedDuration};
    use headwater_store::{Label, NewConnection, Schedule, StoreLocation, When};
    use serde_json::json;

    use super::*;

    fn open(folder: &Path) -> Store {
        Store::open(&StoreLocation::File(folder.join("store.db")), None).unwrap()
    }

    /// Saves a connection that was due an hour ago.
    fn add(store: &mut Store, name: &str, when: When) -> Timestamp {
        let schema = json!({ "type": "object", "properties": {} });
        let form = FormModel::from_schema("Test", &[], &schema).unwrap();
        let new = NewConnection {
            name,
            label: Label::default(),
            connector: "test",
            answer: &json!({}),
        };
        store.add(&form, &new, &Actor::schedule()).unwrap();
        let schedule = Schedule {
            when,
            streams: Vec::new(),
            destination: "default".to_owned(),
            is_redacted: false,
            is_paused: false,
        };
        let due = Timestamp::now() - SignedDuration::from_hours(1);
        store
            .set_schedule(name, &schedule, due, None, &Actor::schedule())
            .unwrap();
        due
    }

    #[test]
    fn of_several_who_see_the_same_runs_due_each_run_is_claimed_by_one() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        let names: Vec<String> = (10..30).map(|number| format!("calls-{number}")).collect();
        for name in &names {
            add(&mut store, name, When::Every(600));
        }
        let seen = Barrier::new(4);
        let claim_all = || {
            let mut store = open(folder.path());
            let due = store.due(100).unwrap();
            assert_eq!(due.len(), names.len());
            seen.wait();
            claim(&mut store, due)
        };
        let claimed = thread::scope(|scope| {
            let several: Vec<_> = (0..4).map(|_| scope.spawn(claim_all)).collect();
            let several = several.into_iter();
            several
                .flat_map(|one| one.join().unwrap())
                .collect::<Vec<_>>()
        });
        let now = Timestamp::now();
        assert!(claimed.iter().all(|one| one.next > now));
        let mut all: Vec<_> = claimed
            .iter()
            .map(|one| &one.scheduled.connection)
            .collect();
        all.sort();
        assert_eq!(all, names.iter().collect::<Vec<_>>());
        assert_eq!(store.due(100).unwrap(), []);
    }

    #[test]
    fn a_schedule_that_cannot_be_kept_hides_no_other_and_is_noted_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path());
        let zone = "Mars/Olympus".to_owned();
        let expression = "0 6 * * *".to_owned();
        add(&mut store, "odd", When::Cron { expression, zone });
        add(&mut store, "calls", When::Every(600));
        for expected in [vec!["calls"], vec![]] {
            let due = store.due(100).unwrap();
            let claimed = claim(&mut store, due);
            let names: Vec<_> = claimed
                .iter()
                .map(|one| &*one.scheduled.connection)
                .collect();
            assert_eq!(names, expected);
        }
        let noted = store.audit(None, 100, Some("odd")).unwrap();
        let noted = noted.iter().filter(|row| row.what == "scheduled run");
        let outcomes: Vec<_> = noted.map(|row| &*row.outcome).collect();
        assert_eq!(outcomes, ["schedule_unusable"]);
    }
}
