//! Every column that the store reads comes back with its own value, from both databases.

use headwater_core::{Date, Outcome, ProbeReport, Timestamp};
use headwater_store::{
    Actor, CheckSummary, IdempotencyState, Label, LastCheck, NewConnection, Reply, Run, Schedule,
    Scope, Store, TokenHash, When,
};
use serde_json::json;

use crate::store::stage::*;

fn actor(who: &str) -> Actor {
    Actor {
        who: who.to_owned(),
        request_id: Some(format!("request of {who}")),
    }
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn schedule() -> Schedule {
    Schedule {
        when: When::Cron {
            expression: "0 3 * * *".to_owned(),
            zone: "Europe/Berlin".to_owned(),
        },
        streams: vec!["calls".to_owned()],
        destination: "sqlite:scheduled.db".to_owned(),
        is_redacted: true,
        is_paused: false,
    }
}

fn check() -> LastCheck {
    LastCheck {
        checked: seconds(1_000),
        said: CheckSummary {
            outcome: Outcome::Warned,
            code: Some("slow".to_owned()),
            message: "the service is slow".to_owned(),
            report: ProbeReport::default(),
        },
    }
}

const LABEL: Label = Label {
    title: "Calls of Ana",
    description: "all calls",
    expires: Some(Date::constant(2127, 1, 31)),
};

/// A connection with a value in every column.
fn add_full(store: &mut Store) {
    let new = NewConnection {
        name: "a",
        label: LABEL,
        connector: CONNECTOR,
        answer: &answer(),
    };
    store.add(&form(), &new, &actor("ana")).unwrap();
    let connection = store.get("a").unwrap();
    store
        .replace(&form(), &connection, &answer(), None, &actor("ben"))
        .unwrap();
    store
        .set_destination("a", "sqlite:records.db", &actor("cleo"))
        .unwrap();
    store
        .set_schedule("a", &schedule(), seconds(2_000), None, &actor("dan"))
        .unwrap();
    let due = store.due(9).unwrap();
    assert!(store.claim(&due[0], seconds(3_000)).unwrap());
    assert!(store.record_check("a", 2, &check(), &actor("eve")).unwrap());
    let run = store.begin_run("a").unwrap();
    let receipt = json!({ "outcome": "complete", "streams": [] });
    store.finish_run(run, &receipt).unwrap();
    // Keeps its holder.
    drop(store.begin_run("a").unwrap());
}

#[test]
fn a_connection_comes_back_with_every_column() {
    of_both(|stage| {
        let earliest = seconds(Timestamp::now().as_second() - 1);
        let latest = seconds(earliest.as_second() + 600);
        let is_now = |time: Timestamp| earliest <= time && time < latest;
        add_full(&mut stage.open());
        let mut store = stage.open();
        let read = store.get("a").unwrap();
        assert_eq!((&*read.name, &*read.connector), ("a", CONNECTOR));
        assert_eq!((read.version, read.revision), (2, 4));
        assert_eq!(read.title, LABEL.title);
        assert_eq!(read.description, LABEL.description);
        assert_eq!(read.expires, LABEL.expires);
        assert_eq!((&*read.created_by, &*read.updated_by), ("ana", "ben"));
        assert!(is_now(read.created) && is_now(read.updated) && read.created <= read.updated);
        assert_eq!(read.destination.as_deref(), Some("sqlite:records.db"));
        assert_eq!(read.sealed, ["/api_key", "/api_password"]);
        assert_eq!(revealed(&mut store, "a").unwrap(), answer());
        assert_eq!(read.last_check, Some(check()));
        let last_sync = read.last_sync.clone().unwrap();
        assert!(is_now(last_sync.ended));
        assert_eq!(last_sync.outcome, "complete");
        assert_eq!(read.undo_until, Some(read.updated + Store::UNDO));
        let scheduled = read.schedule.clone().unwrap();
        assert_eq!(scheduled.connection, "a");
        assert_eq!(scheduled.schedule, schedule());
        assert_eq!(scheduled.due, seconds(3_000));
        assert!(is_now(scheduled.started.unwrap()));
        let holder = read.holder.clone().unwrap();
        assert!(holder.name.starts_with("process "), "{}", holder.name);
        assert!(is_now(holder.since));
        assert_eq!(holder.until, holder.since + Run::LEASE);

        let listed = store.list(None, 9, None).unwrap().remove(0);
        assert_eq!(
            (&listed.name, &listed.connector),
            (&read.name, &read.connector)
        );
        assert_eq!(listed.title, read.title);
        assert_eq!(listed.description, read.description);
        assert_eq!(listed.expires, read.expires);
        assert_eq!(listed.destination, read.destination);
        assert_eq!(listed.created_by, read.created_by);
        assert_eq!(listed.revision, read.revision);
        assert_eq!(listed.updated, Some(read.updated));
        assert_eq!(listed.last_check, read.last_check);
        assert_eq!(listed.last_sync, read.last_sync);
        assert_eq!(listed.schedule, read.schedule);
        assert_eq!((listed.secrets, listed.problem), (2, None));

        let contents = store.contents("a").unwrap();
        assert_eq!((contents.secrets, contents.runs), (2, 2));
        store.undo("a", None, &actor("fay")).unwrap();
        let undone = store.get("a").unwrap();
        assert_eq!((undone.version, undone.undo_until), (3, None));
    });
}

#[test]
fn the_remains_of_a_connection_have_every_column() {
    of_both(|stage| {
        let mut store = stage.open();
        add_full(&mut store);
        let whole = store.get("a").unwrap();
        stage.tamper("UPDATE headwater_connections SET identity = 'another'");
        store.get("a").unwrap_err();
        let remains = store.remains("a").unwrap();
        assert_eq!(
            (remains.name, remains.connector),
            (whole.name, whole.connector)
        );
        assert_eq!(remains.title, whole.title);
        assert_eq!(remains.description, whole.description);
        assert_eq!(remains.expires, whole.expires);
        assert_eq!(remains.config, whole.config);
        assert_eq!(remains.revision, whole.revision);
        assert_eq!(remains.created, Some(whole.created));
        assert_eq!(remains.created_by, whole.created_by);
        assert_eq!(remains.updated, Some(whole.updated));
        assert_eq!(remains.schedule, whole.schedule);
    });
}

#[test]
fn runs_come_back_with_every_column() {
    of_both(|stage| {
        let mut store = stage.open();
        add_full(&mut store);
        let runs = store.runs(None, 9, Some("a")).unwrap();
        let history = store.history("a", 9).unwrap();
        let of_list: Vec<_> = runs.iter().map(|listed| listed.run.clone()).collect();
        assert_eq!(of_list, history);
        let [under_way, ended] = &runs[..] else {
            panic!("{runs:?}");
        };
        for listed in &runs {
            assert_eq!((&*listed.connection, &*listed.title), ("a", "Calls of Ana"));
            assert!(listed.run.holder.starts_with("process "));
        }
        assert_eq!((under_way.run.epoch, ended.run.epoch), (2, 1));
        assert_eq!((under_way.is_running, ended.is_running), (true, false));
        assert_eq!(
            (&under_way.run.ended, &under_way.run.receipt),
            (&None, &None)
        );
        assert!(ended.run.ended.unwrap() >= ended.run.started);
        assert!(under_way.run.started >= ended.run.ended.unwrap());
        let receipt = json!({ "outcome": "complete", "streams": [] });
        assert_eq!(ended.run.receipt, Some(receipt));
    });
}

#[test]
fn rows_of_no_connection_come_back_with_every_column() {
    of_both(|stage| {
        let mut store = stage.open();
        add_full(&mut store);
        let expires = seconds(5_000_000_000);
        let token = store
            .add_token("robot", Scope::Use, Some(expires), &actor("gil"))
            .unwrap();
        let found = store.find_token(&TokenHash::of(token.expose())).unwrap();
        assert_eq!(found.unwrap().last_used, None);
        let listed = store.tokens().unwrap().remove(0);
        assert_eq!((&*listed.name, listed.scope), ("robot", Scope::Use));
        assert_eq!(listed.expires, Some(expires));
        assert!(listed.last_used.unwrap() >= listed.created);

        let created = store.audit(Some(2), 1, None).unwrap().remove(0);
        assert_eq!((created.id, &*created.who), (1, "ana"));
        assert_eq!((&*created.what, &*created.outcome), ("created", "done"));
        assert_eq!(created.connection_id.as_ref().map(String::len), Some(32));
        assert_eq!(created.name.as_deref(), Some("a"));
        assert_eq!(created.version, Some(1));
        assert_eq!(created.request_id.as_deref(), Some("request of ana"));
        assert!(created.time <= store.get("a").unwrap().updated);
        assert_eq!(store.verify_audit().unwrap().broken_at, None);

        let reply = Reply {
            status: 201,
            body: json!({ "name": "a" }),
        };
        let begin = |store: &mut Store| store.begin_request("k", &[b"body"]).unwrap();
        assert_eq!(begin(&mut store), IdempotencyState::New);
        assert_eq!(begin(&mut store), IdempotencyState::UnderWay);
        store.keep_reply("k", &reply).unwrap();
        assert_eq!(begin(&mut store), IdempotencyState::Answered(reply));
    });
}
