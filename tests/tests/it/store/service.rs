//! What the store keeps for a service: tokens, requests with a key, schedules.

use std::{collections::BTreeSet, thread};

use headwater_core::{Kind, Timestamp};
use headwater_store::{
    Actor, IdempotencyState, Label, NewConnection, Refusal, Reply, Schedule, Scope, Store, Token,
    TokenHash, When,
};
use serde_json::json;

use crate::store::stage::*;

fn local() -> Actor {
    Actor::local()
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn add_token(store: &mut Store, name: &str, expires: Option<Timestamp>) -> String {
    let token = store
        .add_token(name, Scope::Use, expires, &local())
        .unwrap();
    token.expose().to_owned()
}

#[test]
fn a_token_is_known_by_its_whole_text_until_it_is_removed() {
    of_both(|stage| {
        let mut store = stage.open();
        let text = add_token(&mut store, "ci", None);
        let other = store
            .add_token("ana", Scope::Admin, None, &local())
            .unwrap();
        assert_eq!((text.len(), text.starts_with("hw_")), (46, true));
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(text.chars().all(is_plain), "{text}");
        let found = store.find_token(&TokenHash::of(&text)).unwrap().unwrap();
        assert_eq!(
            (&*found.name, found.scope, found.last_used),
            ("ci", Scope::Use, None)
        );
        let found = store
            .find_token(&TokenHash::of(other.expose()))
            .unwrap()
            .unwrap();
        assert_eq!((&*found.name, found.scope), ("ana", Scope::Admin));
        for wrong in [
            "",
            "hw_",
            &text[..45],
            &format!("{text} "),
            &text.to_uppercase(),
        ] {
            assert_eq!(
                store.find_token(&TokenHash::of(wrong)).unwrap(),
                None,
                "{wrong}"
            );
        }
        let names = |tokens: Vec<Token>| -> Vec<String> {
            tokens.into_iter().map(|token| token.name).collect()
        };
        assert_eq!(names(store.tokens().unwrap()), ["ana", "ci"]);
        store.remove_token("ci", &local()).unwrap();
        assert_eq!(store.find_token(&TokenHash::of(&text)).unwrap(), None);
        assert_eq!(reason(store.remove_token("ci", &local())), Refusal::Missing);
        assert_eq!(names(store.tokens().unwrap()), ["ana"]);
        let told = store.audit(None, 10, Some("ci")).unwrap();
        let told: Vec<&str> = told.iter().map(|row| &*row.what).collect();
        assert_eq!(told, ["token removed", "token added"]);
    });
}

#[test]
fn the_name_of_a_token_is_plain_and_taken_once() {
    of_both(|stage| {
        let mut store = stage.open();
        add_token(&mut store, "ci", None);
        let again = store.add_token("ci", Scope::Read, None, &local());
        assert_eq!(reason(again), Refusal::Taken);
        for name in ["", "A", "a b", "-a"] {
            let refused = store
                .add_token(name, Scope::Read, None, &local())
                .unwrap_err();
            assert!(
                refused.to_string().starts_with("a token cannot be called"),
                "{refused}"
            );
        }
        assert_eq!(store.tokens().unwrap().len(), 1);
        for (text, scope) in [
            ("read", Scope::Read),
            ("use", Scope::Use),
            ("admin", Scope::Admin),
        ] {
            assert_eq!(text.parse::<Scope>().unwrap(), scope);
            assert_eq!(scope.to_string(), text);
        }
        assert!("all".parse::<Scope>().is_err());
        assert!(Scope::Read < Scope::Use && Scope::Use < Scope::Admin);
    });
}

#[test]
fn a_token_ends_when_it_was_to_end() {
    of_both(|stage| {
        let mut store = stage.open();
        let over = add_token(&mut store, "over", Some(seconds(1)));
        let good = add_token(&mut store, "good", Some(seconds(32_503_680_000)));
        assert_eq!(store.find_token(&TokenHash::of(&over)).unwrap(), None);
        assert!(store.find_token(&TokenHash::of(&good)).unwrap().is_some());
        let listed = store.tokens().unwrap();
        assert_eq!(listed[1].expires, Some(seconds(1)));
        assert_eq!(listed[1].last_used, None);
        // Its use is known.
        assert!(listed[0].last_used.is_some());
    });
}

#[test]
fn no_token_is_in_the_store() {
    let stage = Sqlite::new();
    let mut store = stage.open();
    let text = add_token(&mut store, "ci", None);
    store.find_token(&TokenHash::of(&text)).unwrap();
    let secret = text.strip_prefix("hw_").unwrap();
    for file in ["store.db", "store.db-wal"] {
        let bytes = std::fs::read(stage.0.path().join(file)).unwrap();
        let mut windows = bytes.windows(secret.len());
        assert!(!windows.any(|window| window == secret.as_bytes()), "{file}");
    }
}

#[test]
fn tokens_differ() {
    let stage = Sqlite::new();
    let mut store = stage.open();
    let texts: BTreeSet<String> = (0..50)
        .map(|number| add_token(&mut store, &format!("t{number}"), None))
        .collect();
    assert_eq!(texts.len(), 50);
}

#[test]
fn a_request_with_a_key_is_carried_out_once() {
    of_both(|stage| {
        let mut store = stage.open();
        assert_eq!(
            store.begin_request("k", &[b"h"]).unwrap(),
            IdempotencyState::New
        );
        assert_eq!(
            store.begin_request("k", &[b"h"]).unwrap(),
            IdempotencyState::UnderWay
        );
        assert_eq!(
            store.begin_request("k", &[b"other"]).unwrap(),
            IdempotencyState::Another
        );
        let reply = Reply {
            status: 201,
            body: json!({ "name": "a" }),
        };
        store.keep_reply("k", &reply).unwrap();
        drop(store);
        let mut store = stage.open();
        assert_eq!(
            store.begin_request("k", &[b"h"]).unwrap(),
            IdempotencyState::Answered(reply.clone())
        );
        assert_eq!(
            store.begin_request("k", &[b"other"]).unwrap(),
            IdempotencyState::Another
        );
        // What is answered stays answered.
        store.forget_request("k").unwrap();
        store
            .keep_reply(
                "k",
                &Reply {
                    status: 500,
                    body: json!(null),
                },
            )
            .unwrap();
        assert_eq!(
            store.begin_request("k", &[b"h"]).unwrap(),
            IdempotencyState::Answered(reply)
        );
        // What did nothing may be sent again.
        assert_eq!(
            store.begin_request("l", &[b"h"]).unwrap(),
            IdempotencyState::New
        );
        store.forget_request("l").unwrap();
        assert_eq!(
            store.begin_request("l", &[b"h"]).unwrap(),
            IdempotencyState::New
        );
    });
}

#[test]
fn a_connection_and_the_answer_to_its_request_are_there_together_or_not_at_all() {
    of_both(|stage| {
        let mut store = stage.open();
        let answer = answer();
        let reply = Reply {
            status: 201,
            body: json!("calls"),
        };
        let add = |store: &mut Store, name: &str, key: &str| {
            let new = NewConnection {
                name,
                label: Label::default(),
                connector: CONNECTOR,
                answer: &answer,
            };
            store.add_once(&form(), &new, key, &reply, &Actor::local())
        };
        let answered = IdempotencyState::Answered(reply.clone());
        assert_eq!(
            store.begin_request("k", &[b"h"]).unwrap(),
            IdempotencyState::New
        );
        add(&mut store, "calls", "k").unwrap();
        store.forget_request("k").unwrap();
        assert_eq!(store.begin_request("k", &[b"h"]).unwrap(), answered);
        // One that is answered, and one that was given up, save nothing more.
        store.begin_request("l", &[b"h"]).unwrap();
        store.forget_request("l").unwrap();
        for key in ["k", "l"] {
            let refused = add(&mut store, "others", key).unwrap_err();
            assert!(refused.message().contains("has expired"), "{refused}");
        }
        assert_eq!(names(&mut store), ["calls"]);
        // A name that is taken leaves the request as it was.
        store.begin_request("m", &[b"h"]).unwrap();
        let taken = add(&mut store, "calls", "m").unwrap_err();
        assert_eq!(Refusal::of(&taken), Some(&Refusal::Taken));
        assert_eq!(
            store.begin_request("m", &[b"h"]).unwrap(),
            IdempotencyState::UnderWay
        );
    });
}

#[test]
fn an_answer_is_forgotten_after_a_day_and_a_lost_request_sooner() {
    of_both(|stage| {
        let mut store = stage.open();
        let reply = Reply {
            status: 201,
            body: json!(null),
        };
        for key in ["answered", "lost"] {
            store.begin_request(key, &[b"h"]).unwrap();
        }
        store.keep_reply("answered", &reply).unwrap();
        stage.tamper("UPDATE headwater_requests SET began = began - 600000");
        assert_eq!(
            store.begin_request("lost", &[b"h"]).unwrap(),
            IdempotencyState::New
        );
        assert_eq!(
            store.begin_request("answered", &[b"h"]).unwrap(),
            IdempotencyState::Answered(reply)
        );
        stage.tamper("UPDATE headwater_requests SET began = began - 86400000");
        assert_eq!(
            store.begin_request("answered", &[b"h"]).unwrap(),
            IdempotencyState::New
        );
    });
}

/// Without the key of that time the two cannot be compared, and the request is not carried out again.
#[test]
fn a_request_from_before_a_rotation_is_told_to_be_checked() {
    let stage = Sqlite::new();
    let state = stage.open().begin_request("k", &[b"h"]).unwrap();
    assert_eq!(state, IdempotencyState::New);
    stage.open().rekey(&Actor::local()).unwrap();
    let state = stage.open().begin_request("k", &[b"h"]).unwrap();
    assert_eq!(state, IdempotencyState::Unknown);
}

#[test]
fn of_many_who_send_a_request_one_carries_it_out() {
    of_both(|stage| {
        let stores: Vec<Store> = (0..8).map(|_| stage.open()).collect();
        let begun = at_once(stores, |store| store.begin_request("k", &[b"h"]).unwrap());
        assert_eq!(
            begun
                .iter()
                .filter(|one| **one == IdempotencyState::New)
                .count(),
            1,
            "{begun:?}"
        );
    });
}

/// The same with each store, all at once.
fn at_once<T: Send>(stores: Vec<Store>, work: impl Fn(&mut Store) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let work = &work;
        let started: Vec<_> = stores
            .into_iter()
            .map(|mut store| scope.spawn(move || work(&mut store)))
            .collect();
        started.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

fn nightly() -> Schedule {
    Schedule {
        when: When::Cron {
            expression: "0 3 * * *".to_owned(),
            zone: "Europe/Berlin".to_owned(),
        },
        streams: vec!["calls".to_owned()],
        destination: "sqlite:records.db".to_owned(),
        is_redacted: false,
        is_paused: false,
    }
}

fn hourly() -> Schedule {
    Schedule {
        when: When::Every(3600),
        streams: Vec::new(),
        destination: "env:DESTINATION".to_owned(),
        is_redacted: true,
        is_paused: false,
    }
}

#[test]
fn a_schedule_comes_back_as_it_was_given() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "a");
        let revision = store.get("a").unwrap().revision;
        let set = |store: &mut Store, schedule: &Schedule, revision| {
            store.set_schedule("a", schedule, seconds(100), Some(revision), &local())
        };
        set(&mut store, &nightly(), revision).unwrap();
        let connection = store.get("a").unwrap();
        assert_eq!(connection.revision, revision + 1);
        let scheduled = connection.schedule.unwrap();
        assert_eq!(
            (&*scheduled.connection, &scheduled.schedule),
            ("a", &nightly())
        );
        assert_eq!((scheduled.due, scheduled.started), (seconds(100), None));
        assert_eq!(
            reason(set(&mut store, &hourly(), revision)),
            Refusal::Changed
        );
        set(&mut store, &hourly(), revision + 1).unwrap();
        let listed = store.list(None, 1, None).unwrap();
        assert_eq!(listed[0].schedule.as_ref().unwrap().schedule, hourly());
        let never = Schedule {
            when: When::Every(0),
            ..hourly()
        };
        let refused = set(&mut store, &never, revision + 2).unwrap_err();
        assert_eq!(refused.kind(), Kind::ConfigInvalid);
        assert_eq!(
            reason(store.set_schedule("b", &hourly(), seconds(1), None, &local())),
            Refusal::Missing
        );
        store
            .remove_schedule("a", Some(revision + 2), &local())
            .unwrap();
        assert_eq!(store.get("a").unwrap().schedule, None);
        assert_eq!(
            reason(store.remove_schedule("a", None, &local())),
            Refusal::Missing
        );
        // A change of the config leaves the schedule alone.
        set(&mut store, &hourly(), revision + 3).unwrap();
        let read = store.get("a").unwrap();
        replace(&mut store, &read, &answer()).unwrap();
        assert_eq!(store.get("a").unwrap().schedule.unwrap().schedule, hourly());
        remove(&mut store, "a").unwrap();
        add(&mut store, "a");
        assert_eq!(store.get("a").unwrap().schedule, None);
    });
}

#[test]
fn a_damaged_schedule_keeps_no_other_from_its_run() {
    of_both(|stage| {
        let mut store = stage.open();
        let damages = [
            ("streams", "streams = 'no list'"),
            ("interval", "every = -1"),
            ("time", "due = -9000000000000000000"),
        ];
        for name in damages.iter().map(|(name, _)| *name).chain(["whole"]) {
            add(&mut store, name);
            store
                .set_schedule(name, &hourly(), seconds(1000), None, &local())
                .unwrap();
        }
        for (name, damage) in damages {
            stage.tamper(&format!(
                "UPDATE headwater_schedules SET {damage} WHERE connection = \
                 (SELECT id FROM headwater_connections WHERE name = '{name}')"
            ));
        }
        for _ in 0..2 {
            let due = store.due(10).unwrap();
            let names: Vec<_> = due.iter().map(|one| &*one.connection).collect();
            assert_eq!(names, ["whole"]);
        }
        for (name, _) in damages {
            let rows = store.audit(None, 10, Some(name)).unwrap();
            let noted = rows.iter().filter(|row| row.outcome == "schedule_unusable");
            assert_eq!(noted.count(), 1, "{name}");
        }
        assert_eq!(store.due(1).unwrap()[0].connection, "whole");
    });
}

/// SQLite keeps any kind of value in any column.
#[test]
fn a_time_that_is_no_whole_number_takes_no_place_of_what_is_due() {
    let stage = Sqlite::new();
    let mut store = stage.open();
    for name in ["odd", "whole"] {
        add(&mut store, name);
        store
            .set_schedule(name, &hourly(), seconds(1000), None, &local())
            .unwrap();
    }
    stage.tamper(
        "UPDATE headwater_schedules SET due = 1000.5 WHERE connection = \
         (SELECT id FROM headwater_connections WHERE name = 'odd')",
    );
    assert_eq!(store.due(1).unwrap(), []);
    assert_eq!(store.due(1).unwrap()[0].connection, "whole");
    let rows = store.audit(None, 10, Some("odd")).unwrap();
    let noted = rows.iter().filter(|row| row.outcome == "schedule_unusable");
    assert_eq!(noted.count(), 1);
    // It is due again when the day is over.
    assert!(store.get("odd").unwrap().schedule.is_some());
}

#[test]
fn what_is_due_is_what_nobody_paused_or_deleted() {
    of_both(|stage| {
        let mut store = stage.open();
        let now = Timestamp::now().as_second();
        let names = ["late", "later", "paused", "deleted", "tomorrow"];
        for (number, name) in (0i64..).zip(names) {
            add(&mut store, name);
            let due = match name {
                "tomorrow" => seconds(now + 86_400),
                _ => seconds(1000 - number),
            };
            let schedule = Schedule {
                is_paused: name == "paused",
                ..hourly()
            };
            store
                .set_schedule(name, &schedule, due, None, &local())
                .unwrap();
        }
        store.delete("deleted", None, &local()).unwrap();
        let due = |store: &mut Store, most| -> Vec<String> {
            let due = store.due(most).unwrap();
            due.into_iter().map(|one| one.connection).collect()
        };
        assert_eq!(due(&mut store, 10), ["later", "late"]);
        assert_eq!(due(&mut store, 1), ["later"]);
        let first = store.due(1).unwrap().remove(0);
        assert!(store.claim(&first, seconds(now + 3600)).unwrap());
        assert!(!store.claim(&first, seconds(now + 3600)).unwrap());
        assert_eq!(due(&mut store, 10), ["late"]);
        let after = store.get("later").unwrap().schedule.unwrap();
        assert_eq!(after.due, seconds(now + 3600));
        assert!(after.started.unwrap().as_second() >= now - 60);
        // Paused or deleted between the look and the claim.
        let late = store.due(1).unwrap().remove(0);
        let paused = Schedule {
            is_paused: true,
            ..hourly()
        };
        store
            .set_schedule("late", &paused, late.due, None, &local())
            .unwrap();
        assert!(!store.claim(&late, seconds(now)).unwrap());
        store
            .set_schedule("late", &hourly(), late.due, None, &local())
            .unwrap();
        store.delete("late", None, &local()).unwrap();
        assert!(!store.claim(&late, seconds(now)).unwrap());
        store.restore("late", &local()).unwrap();
        assert_eq!(due(&mut store, 10), ["late"]);
    });
}

#[test]
fn of_many_who_claim_a_run_one_gets_it() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "a");
        store
            .set_schedule("a", &hourly(), seconds(1), None, &local())
            .unwrap();
        let due = store.due(1).unwrap().remove(0);
        let stores: Vec<Store> = (0..8).map(|_| stage.open()).collect();
        let claimed = at_once(stores, |store| store.claim(&due, Timestamp::now()).unwrap());
        assert_eq!(claimed.iter().filter(|is_mine| **is_mine).count(), 1);
    });
}
