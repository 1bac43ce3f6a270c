//! Changing connections: labels, revisions, checks, undo, deletion; and stores of the format before.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use headwater_core::{Kind, Outcome, ProbeReport, Timestamp};
use headwater_store::{
    Actor, AuditRow, CheckSummary, Health, Label, LastCheck, NewConnection, Refusal, Store,
    TokenHash,
};
use serde_json::{Value, json};

use crate::store::stage::*;

fn actor() -> Actor {
    Actor {
        who: "ana".to_owned(),
        request_id: Some("request-1".to_owned()),
    }
}

fn label(title: &'static str) -> Label<'static> {
    Label {
        title,
        description: "Read at night.",
        expires: None,
    }
}

fn all_audited(store: &mut Store) -> Vec<AuditRow> {
    store.audit(None, 1000, None).unwrap()
}

/// Every row of the seals, through a second connection to a file.
fn seals(stage: &Sqlite) -> Vec<(String, String)> {
    let database = rusqlite::Connection::open(stage.path()).unwrap();
    let mut read = database
        .prepare("SELECT pointer, sealed FROM headwater_secrets ORDER BY pointer")
        .unwrap();
    let rows = read.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

fn said(outcome: Outcome) -> CheckSummary {
    CheckSummary {
        outcome,
        code: Some("unauthenticated".to_owned()),
        message: "the service did not accept this key".to_owned(),
        report: ProbeReport::default(),
    }
}

fn check(outcome: Outcome, seconds: i64) -> LastCheck {
    LastCheck {
        checked: Timestamp::from_second(seconds).unwrap(),
        said: said(outcome),
    }
}

fn upgrade(stage: &dyn Stage) {
    stage.tamper(include_str!("../../../fixtures/store_format_1.sql"));
    let mut store = stage.open();
    assert_eq!(names(&mut store), ["copilot", "other"]);
    assert_eq!(revealed(&mut store, "copilot").unwrap(), answer());
    assert_eq!(
        revealed(&mut store, "other").unwrap(),
        json!({ "api_key": "env:OTHER_KEY", "api_password": CANARY })
    );
    let copilot = store.get("copilot").unwrap();
    assert_eq!((&*copilot.title, &*copilot.description), ("copilot", ""));
    assert_eq!((&*copilot.created_by, copilot.revision), ("local", 1));
    assert_eq!(copilot.destination.as_deref(), Some("sqlite:records.db"));
    assert!(copilot.last_check.is_none() && copilot.undo_until.is_none());
    let history = store.history("copilot", 10).unwrap();
    assert_eq!(history[0].receipt, Some(json!({ "records": 3 })));
    // And it is changed as any other.
    let other = store.get("other").unwrap();
    assert_eq!(other.version, 2);
    replace(&mut store, &other, &answer()).unwrap();
    let run = store.begin_run("other").unwrap();
    assert_eq!(run.epoch(), 2);
    drop(store);
    assert_eq!(revealed(&mut stage.open(), "other").unwrap(), answer());
}

fn upgrade_second(stage: &dyn Stage) {
    stage.tamper(include_str!("../../../fixtures/store_format_2.sql"));
    let mut store = stage.open();
    let copilot = store.get("copilot").unwrap();
    assert_eq!(copilot.title, "Copilot – Ana");
    assert_eq!(copilot.expires.unwrap().to_string(), "2999-01-31");
    assert!(copilot.schedule.unwrap().schedule.is_redacted);
    assert_eq!(revealed(&mut store, "copilot").unwrap(), answer());
    let token = TokenHash::of("hw_19_vahK4BUCLLh_WuevPe-ONgalAeO1ttzsjhs1ZXRg");
    assert_eq!(store.find_token(&token).unwrap().unwrap().name, "ci");
    let proof = store.verify_audit().unwrap();
    assert_eq!((proof.rows, proof.broken_at), (3, None));
    store
        .set_destination("copilot", "sqlite:other.db", &actor())
        .unwrap();
    assert_eq!(store.verify_audit().unwrap().broken_at, None);
    // What an upgrade vouched for cannot be changed any more.
    stage.tamper("UPDATE headwater_connections SET destination = 'sqlite:records.db'");
    let refused = stage.open().get("copilot").map(drop);
    assert_eq!(reason(refused), Refusal::Unreadable);
}

/// Upgrades a store in SQLite and one in PostgreSQL, whose key is that of the fixtures.
fn of_fixtures(upgrade: fn(&dyn Stage)) {
    let stage = Sqlite::new();
    fs::write(stage.key_file(), "ab".repeat(32)).unwrap();
    fs::set_permissions(stage.key_file(), Permissions::from_mode(0o600)).unwrap();
    upgrade(&stage);
    if let Some(server) = Server::new() {
        upgrade(&server);
    }
}

#[test]
fn a_store_of_the_first_format_is_upgraded_with_everything_in_it() {
    of_fixtures(upgrade);
}

#[test]
fn a_store_of_the_second_format_is_upgraded_with_everything_in_it() {
    of_fixtures(upgrade_second);
}

#[test]
fn a_label_changes_without_its_secrets() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "a");
        let before = store.get("a").unwrap();
        assert_eq!((&*before.title, &*before.description), ("a", ""));
        store
            .describe(&before, label("  Copilot – Ana "), &actor())
            .unwrap();
        let after = store.get("a").unwrap();
        assert_eq!(after.title, "Copilot – Ana");
        assert_eq!(after.description, "Read at night.");
        assert_eq!((after.version, after.revision), (1, before.revision + 1));
        assert_eq!(after.updated, before.updated);
        assert_eq!(store.list(None, 1, None).unwrap()[0].title, "Copilot – Ana");
        // Another connection may have the same title, and none is another way to say the name.
        let twin = NewConnection {
            name: "b",
            label: label("Copilot – Ana"),
            connector: CONNECTOR,
            answer: &answer(),
        };
        store.add(&form(), &twin, &actor()).unwrap();
        assert_eq!(store.get("b").unwrap().created_by, "ana");
        store.describe(&after, label(""), &actor()).unwrap();
        assert_eq!(store.get("a").unwrap().title, "a");
        assert_eq!(
            reason(store.describe(&after, label("x"), &actor())),
            Refusal::Changed
        );
        let long = "x".repeat(81);
        let now = store.get("a").unwrap();
        for title in [&*long, "two\nlines", "\0"] {
            let label = Label {
                title,
                ..Label::default()
            };
            let refused = store.describe(&now, label, &actor());
            assert_eq!(refused.unwrap_err().kind(), Kind::ConfigInvalid);
        }
    });
}

#[test]
fn a_change_of_the_label_leaves_the_seal_of_every_secret_as_it_is() {
    let stage = Sqlite::new();
    let mut store = stage.open();
    add(&mut store, "a");
    // The first one is that of what stands in clear.
    let before = seals(&stage).split_off(1);
    assert_eq!(before.len(), 2);
    let connection = store.get("a").unwrap();
    store
        .describe(&connection, label("Other"), &actor())
        .unwrap();
    store
        .set_destination("a", "sqlite:records.db", &actor())
        .unwrap();
    assert_eq!(seals(&stage).split_off(1), before);
}

#[test]
fn a_free_name_is_made_of_a_title() {
    of_both(|stage| {
        let mut store = stage.open();
        let long = "x".repeat(80);
        for (title, name) in [
            ("Clari Copilot - Ana", "clari-copilot-ana"),
            ("Clari Copilot: Ana", "clari-copilot-ana-2"),
            ("clari copilot ana", "clari-copilot-ana-3"),
            ("日本", "connection"),
            (&long, &long[..63]),
            (&long, &format!("{}-2", &long[..61])),
        ] {
            assert_eq!(store.free_name(title).unwrap(), name);
            add(&mut store, name);
        }
        // The name of a deleted one is not free.
        store.delete("connection", None, &actor()).unwrap();
        assert_eq!(store.free_name("").unwrap(), "connection-2");
    });
}

#[test]
fn of_two_who_change_a_connection_the_second_is_told() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "a");
        let read = store.get("a").unwrap();
        store
            .set_destination("a", "sqlite:records.db", &actor())
            .unwrap();
        let now = store.get("a").unwrap();
        assert_eq!(now.revision, read.revision + 1);
        // The same destination again changes nothing.
        store
            .set_destination("a", "sqlite:records.db", &actor())
            .unwrap();
        assert_eq!(store.get("a").unwrap().revision, now.revision);
        let stale = Some(read.revision);
        assert_eq!(
            reason(replace(&mut store, &read, &answer())),
            Refusal::Changed
        );
        assert_eq!(reason(store.delete("a", stale, &actor())), Refusal::Changed);
        replace(&mut store, &now, &answer()).unwrap();
        assert_eq!(reason(store.undo("a", stale, &actor())), Refusal::Changed);
        store.undo("a", Some(now.revision + 1), &actor()).unwrap();
        // Another connection of the same name is another connection, whatever its revision.
        remove(&mut store, "a").unwrap();
        add(&mut store, "a");
        assert_eq!(
            reason(replace(&mut store, &read, &answer())),
            Refusal::Changed
        );
        remove(&mut store, "a").unwrap();
        assert_eq!(
            reason(replace(&mut store, &read, &answer())),
            Refusal::Missing
        );
        assert_eq!(reason(store.get("a")), Refusal::Missing);
    });
}

#[test]
fn a_config_and_its_label_change_as_one() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "a");
        let read = store.get("a").unwrap();
        let mut changed = answer();
        changed["api_key"] = "another".into();
        store
            .replace(&form(), &read, &changed, Some(label("Other")), &actor())
            .unwrap();
        let now = store.get("a").unwrap();
        assert_eq!(
            (&*now.title, now.version, now.revision),
            ("Other", 2, read.revision + 1)
        );
        let refused = store.replace(&form(), &now, &answer(), Some(label("\t")), &actor());
        refused.unwrap_err();
        assert_eq!(revealed(&mut store, "a").unwrap(), changed);
    });
}

#[test]
fn the_secrets_that_are_to_be_given_again_are_named_by_their_pointers() {
    let stage = Sqlite::new();
    let mut store = stage.open();
    add(&mut store, "a");
    let connection = store.get("a").unwrap();
    let mut elsewhere = json!({ "base_url": "https://example.org" });
    let refused = store.unseal(&form(), &connection, &mut elsewhere);
    let pointers = ["/api_key", "/api_password"].map(str::to_owned);
    assert_eq!(reason(refused), Refusal::GiveAgain(pointers.to_vec()));
}

#[test]
fn the_last_check_is_that_of_the_config_as_it_is() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "a");
        let revision = store.get("a").unwrap().revision;
        let mut record = |version, outcome, seconds| {
            store
                .record_check("a", version, &check(outcome, seconds), &actor())
                .unwrap()
        };
        assert!(record(1, Outcome::Failed, 200));
        assert!(!record(1, Outcome::Passed, 100));
        assert!(!record(2, Outcome::Passed, 300));
        let connection = store.get("a").unwrap();
        assert_eq!(connection.last_check, Some(check(Outcome::Failed, 200)));
        assert_eq!(connection.revision, revision);
        let listed = store.list(None, 1, None).unwrap();
        assert_eq!(listed[0].last_check, Some(check(Outcome::Failed, 200)));
        replace(&mut store, &connection, &answer()).unwrap();
        assert_eq!(store.get("a").unwrap().last_check, None);
        assert!(
            !store
                .record_check("a", 1, &check(Outcome::Passed, 400), &actor())
                .unwrap()
        );
        assert!(
            !store
                .record_check("gone", 1, &check(Outcome::Passed, 400), &actor())
                .unwrap()
        );
        assert_eq!(store.get("a").unwrap().last_check, None);
        // What a service says may be anything.
        let mut odd = check(Outcome::Failed, 500);
        odd.said.message = "a\0b".to_owned();
        assert!(store.record_check("a", 2, &odd, &actor()).unwrap());
        assert_eq!(store.get("a").unwrap().last_check, Some(odd));
    });
}

#[test]
fn the_last_sync_is_that_of_the_config_as_it_is_and_the_worse_fact_shows() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "a");
        add(&mut store, "b");
        let is = |store: &mut Store, health| {
            let connection = store.get("a").unwrap();
            assert_eq!(connection.health(), health);
            let listed = store.list(None, 9, None).unwrap();
            assert_eq!(listed[0].health(), health);
            assert_eq!(listed[0].last_sync, connection.last_sync);
            // Another connection has its own facts.
            assert_eq!(listed[1].health(), Health::NotTested);
            connection
        };
        let sync = |store: &mut Store, receipt: Value| {
            let run = store.begin_run("a").unwrap();
            store.finish_run(run, &receipt).unwrap();
        };
        let refused = json!({ "outcome": "failed", "streams": [
            { "stream": "calls", "status": "failed", "kind": "unauthenticated", "message": "not this key" },
        ] });
        is(&mut store, Health::NotTested);
        store
            .record_check("a", 1, &check(Outcome::Passed, 100), &actor())
            .unwrap();
        is(&mut store, Health::Working);
        sync(&mut store, refused.clone());
        let told = is(&mut store, Health::NeedsAttention).last_sync.unwrap();
        assert_eq!(told.outcome, "failed");
        assert_eq!(told.code.as_deref(), Some("unauthenticated"));
        assert_eq!(told.message, "calls: not this key");
        // A test clears its own fact only, and so does a sync.
        store
            .record_check("a", 1, &check(Outcome::Passed, 200), &actor())
            .unwrap();
        is(&mut store, Health::NeedsAttention);
        sync(&mut store, json!({ "outcome": "partial", "streams": [] }));
        is(&mut store, Health::Incomplete);
        // A run that is under way says nothing yet.
        let run = store.begin_run("a").unwrap();
        is(&mut store, Health::Incomplete);
        store
            .finish_run(run, &json!({ "outcome": "suspended", "streams": [] }))
            .unwrap();
        is(&mut store, Health::Unfinished);
        sync(&mut store, json!({ "outcome": "complete", "streams": [] }));
        is(&mut store, Health::Working);
        store
            .record_check("a", 1, &check(Outcome::Failed, 300), &actor())
            .unwrap();
        sync(&mut store, json!({ "outcome": "complete", "streams": [] }));
        is(&mut store, Health::NeedsAttention);
        sync(&mut store, refused.clone());
        // Nothing is known of another config, and a run with the old one says nothing about it.
        let run = store.begin_run("a").unwrap();
        let connection = store.get("a").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(2));
        replace(&mut store, &connection, &answer()).unwrap();
        store.finish_run(run, &refused).unwrap();
        assert_eq!(is(&mut store, Health::NotTested).last_sync, None);
    });
}

#[test]
fn the_config_before_comes_back_once() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "a");
        assert_eq!(
            reason(store.undo("a", None, &actor())),
            Refusal::NothingToUndo
        );
        let mut second = answer();
        second["api_key"] = "second".into();
        second["base_url"] = "https://example.org".into();
        let read = store.get("a").unwrap();
        replace(&mut store, &read, &second).unwrap();
        assert!(store.get("a").unwrap().undo_until > Some(Timestamp::now()));
        drop(store);
        let mut store = stage.open();
        store.undo("a", None, &actor()).unwrap();
        assert_eq!(revealed(&mut store, "a").unwrap(), answer());
        let back = store.get("a").unwrap();
        // A version that never was before.
        assert_eq!((back.version, back.undo_until), (3, None));
        assert_eq!(
            reason(store.undo("a", None, &actor())),
            Refusal::NothingToUndo
        );
        // Only the last step.
        replace(&mut store, &back, &second).unwrap();
        let read = store.get("a").unwrap();
        replace(
            &mut store,
            &read,
            &json!({ "api_key": "k", "api_password": "p" }),
        )
        .unwrap();
        store.undo("a", None, &actor()).unwrap();
        assert_eq!(revealed(&mut store, "a").unwrap(), second);
    });
}

#[test]
fn the_end_of_secrets_goes_and_comes_with_them() {
    of_both(|stage| {
        let mut store = stage.open();
        let day = |text: &str| Some(text.parse().unwrap());
        let ends = |expires| Label {
            expires,
            ..Label::default()
        };
        let new = NewConnection {
            name: "a",
            label: ends(day("2031-05-17")),
            connector: CONNECTOR,
            answer: &answer(),
        };
        store.add(&form(), &new, &actor()).unwrap();
        let read = store.get("a").unwrap();
        assert_eq!(read.expires, day("2031-05-17"));
        assert_eq!(store.list(None, 1, None).unwrap()[0].expires, read.expires);
        let later = Some(ends(day("2032-05-17")));
        store
            .replace(&form(), &read, &answer(), later, &actor())
            .unwrap();
        assert_eq!(store.get("a").unwrap().expires, day("2032-05-17"));
        store.undo("a", None, &actor()).unwrap();
        let back = store.get("a").unwrap();
        assert_eq!(back.expires, day("2031-05-17"));
        store.describe(&back, ends(None), &actor()).unwrap();
        assert_eq!(store.get("a").unwrap().expires, None);
        // What is no day makes one connection unreadable and no other.
        add(&mut store, "b");
        stage.tamper("UPDATE headwater_connections SET expires = 'soon' WHERE name = 'a'");
        let listed = store.list(None, 2, None).unwrap();
        let problems = listed.iter().map(|one| one.problem.is_some());
        assert_eq!(problems.collect::<Vec<_>>(), [true, false]);
        assert_eq!(store.remains("a").unwrap().expires, None);
    });
}

#[test]
fn what_is_too_old_to_be_brought_back_is_forgotten() {
    of_both(|stage| {
        let mut store = stage.open();
        for name in ["a", "b"] {
            add(&mut store, name);
            let read = store.get(name).unwrap();
            replace(&mut store, &read, &answer()).unwrap();
        }
        stage.tamper(
            "UPDATE headwater_previous SET replaced = replaced - 1800000 WHERE connection = \
             (SELECT id FROM headwater_connections WHERE name = 'a')",
        );
        assert_eq!(
            reason(store.undo("a", None, &actor())),
            Refusal::NothingToUndo
        );
        store
            .purge_deleted(Timestamp::UNIX_EPOCH, &actor())
            .unwrap();
        assert_eq!(store.get("a").unwrap().undo_until, None);
        assert!(store.get("b").unwrap().undo_until.is_some());
        store.undo("b", None, &actor()).unwrap();
    });
}

#[test]
fn an_earlier_config_that_somebody_changed_does_not_come_back() {
    for statement in [
        "UPDATE headwater_previous SET sealed = 'nonsense'",
        "UPDATE headwater_previous SET sealed = substr(sealed, 1, 40) || 'AAAA' || substr(sealed, 45)",
        "UPDATE headwater_previous SET sealed = (SELECT sealed FROM headwater_secrets LIMIT 1)",
        "UPDATE headwater_previous SET key_id = '0123456789abcdef'",
    ] {
        let stage = Sqlite::new();
        let mut store = stage.open();
        add(&mut store, "a");
        let read = store.get("a").unwrap();
        let second = json!({ "api_key": "k", "api_password": "p" });
        replace(&mut store, &read, &second).unwrap();
        stage.tamper(statement);
        assert_eq!(
            reason(store.undo("a", None, &actor())),
            Refusal::Unreadable,
            "{statement}"
        );
        assert_eq!(revealed(&mut store, "a").unwrap(), second);
    }
}

#[test]
fn a_new_key_forgets_the_config_before() {
    let stage = Sqlite::new();
    let mut store = stage.open();
    add(&mut store, "a");
    let read = store.get("a").unwrap();
    replace(&mut store, &read, &answer()).unwrap();
    store.rekey(&Actor::local()).unwrap();
    assert_eq!(
        reason(store.undo("a", None, &actor())),
        Refusal::NothingToUndo
    );
    let keys = fs::read_to_string(stage.key_file()).unwrap();
    assert_eq!(keys.lines().count(), 1);
    assert_eq!(revealed(&mut store, "a").unwrap(), answer());
}

#[test]
fn a_deleted_connection_is_hidden_until_it_is_restored() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "a");
        add(&mut store, "b");
        let before = store.get("a").unwrap();
        store.delete("a", Some(before.revision), &actor()).unwrap();
        assert_eq!(names(&mut store), ["b"]);
        assert_eq!(reason(store.get("a")), Refusal::Missing);
        assert_eq!(reason(store.begin_run("a").map(drop)), Refusal::Missing);
        assert_eq!(reason(store.history("a", 1)), Refusal::Missing);
        assert_eq!(
            reason(replace(&mut store, &before, &answer())),
            Refusal::Missing
        );
        assert_eq!(reason(store.delete("a", None, &actor())), Refusal::Missing);
        assert_eq!(reason(store.undo("a", None, &actor())), Refusal::Missing);
        assert!(
            !store
                .record_check("a", 1, &check(Outcome::Passed, 1), &actor())
                .unwrap()
        );
        // The name stays taken.
        assert_eq!(reason(try_add(&mut store, "a", &answer())), Refusal::Taken);
        assert_eq!(reason(store.check_new_name("a")), Refusal::Taken);
        store.restore("a", &actor()).unwrap();
        assert_eq!(reason(store.restore("a", &actor())), Refusal::Missing);
        assert_eq!(names(&mut store), ["a", "b"]);
        assert_eq!(revealed(&mut store, "a").unwrap(), answer());
        assert!(store.get("a").unwrap().revision > before.revision);
        store.begin_run("a").unwrap();
    });
}

#[test]
fn what_was_deleted_long_ago_is_gone_for_good() {
    of_both(|stage| {
        let mut store = stage.open();
        for name in ["a", "b", "c"] {
            add(&mut store, name);
        }
        store.delete("a", None, &actor()).unwrap();
        store.delete("b", None, &actor()).unwrap();
        stage.tamper("UPDATE headwater_connections SET deleted = 1000 WHERE name = 'a'");
        let before = Timestamp::from_second(2).unwrap();
        assert_eq!(store.purge_deleted(before, &actor()).unwrap(), 1);
        assert_eq!(reason(store.restore("a", &actor())), Refusal::Missing);
        add(&mut store, "a");
        store.restore("b", &actor()).unwrap();
        // The command line removes for good, also what was deleted.
        store.delete("b", None, &actor()).unwrap();
        remove(&mut store, "b").unwrap();
        assert_eq!(names(&mut store), ["a", "c"]);
    });
}

#[test]
fn a_connection_that_runs_is_not_deleted() {
    of_both(|stage| {
        let (mut here, mut there) = (stage.open(), stage.open());
        add(&mut here, "a");
        let run = here.begin_run("a").unwrap();
        let revision = here.get("a").unwrap().revision;
        assert_eq!(reason(there.delete("a", None, &actor())), Refusal::InUse);
        assert_eq!(reason(there.remove("a", &actor())), Refusal::InUse);
        assert_eq!(there.get("a").unwrap().revision, revision);
        here.finish_run(run, &json!({})).unwrap();
        there.delete("a", None, &actor()).unwrap();
    });
}

#[test]
fn a_deleted_connection_gets_the_new_key_as_well() {
    let stage = Sqlite::new();
    let mut store = stage.open();
    add(&mut store, "a");
    store.delete("a", None, &actor()).unwrap();
    assert_eq!(store.rekey(&Actor::local()).unwrap().resealed, 1);
    store.restore("a", &actor()).unwrap();
    assert_eq!(revealed(&mut stage.open(), "a").unwrap(), answer());
}

#[test]
fn a_list_comes_page_by_page() {
    of_both(|stage| {
        let mut store = stage.open();
        for number in 0..7 {
            add(&mut store, &format!("c{number}"));
        }
        stage.tamper(
            "UPDATE headwater_connections SET connector = 'other' WHERE name IN ('c1', 'c4')",
        );
        store.delete("c2", None, &actor()).unwrap();
        let mut page = |after, most, connector| -> Vec<String> {
            let listed = store.list(after, most, connector).unwrap();
            listed.into_iter().map(|one| one.name).collect()
        };
        assert_eq!(page(None, 3, None), ["c0", "c1", "c3"]);
        assert_eq!(page(Some("c3"), 3, None), ["c4", "c5", "c6"]);
        assert_eq!(page(Some("c6"), 3, None), [""; 0]);
        assert_eq!(page(Some("c0"), 2, Some(CONNECTOR)), ["c3", "c5"]);
        assert_eq!(page(None, 9, Some("other")), ["c1", "c4"]);
        assert_eq!(page(None, 0, None), [""; 0]);
    });
}

#[test]
fn every_change_is_told_with_who_made_it_and_nothing_else_is() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "a");
        let read = store.get("a").unwrap();
        store.describe(&read, label("Other"), &actor()).unwrap();
        let now = store.get("a").unwrap();
        store
            .replace(&form(), &now, &answer(), None, &actor())
            .unwrap();
        reason(store.replace(&form(), &now, &answer(), None, &actor()));
        store
            .record_check("a", 2, &check(Outcome::Failed, 1), &actor())
            .unwrap();
        store.undo("a", None, &actor()).unwrap();
        store
            .set_destination("a", "sqlite:records.db", &actor())
            .unwrap();
        store
            .note(&actor(), "previewed", Some("a"), "done")
            .unwrap();
        store.delete("a", None, &actor()).unwrap();
        store.restore("a", &actor()).unwrap();
        remove(&mut store, "a").unwrap();
        let rows = all_audited(&mut store);
        let told: Vec<(&str, &str, Option<i64>)> = rows
            .iter()
            .rev()
            .map(|row| (&*row.what, &*row.outcome, row.version))
            .collect();
        assert_eq!(
            told,
            [
                ("created", "done", Some(1)),
                ("described", "done", Some(1)),
                ("replaced", "done", Some(2)),
                ("checked", "failed", Some(2)),
                ("undone", "done", Some(3)),
                ("sent elsewhere", "done", Some(3)),
                ("previewed", "done", Some(3)),
                ("deleted", "done", Some(3)),
                ("restored", "done", Some(3)),
                ("removed", "done", None),
            ]
        );
        assert_eq!(
            rows.iter().map(|row| row.id).rev().collect::<Vec<_>>(),
            (1..=10).collect::<Vec<_>>()
        );
        assert_eq!((&*rows[9].who, &rows[9].request_id), ("local", &None));
        assert_eq!(
            (&*rows[8].who, rows[8].request_id.as_deref()),
            ("ana", Some("request-1"))
        );
        assert!(rows.iter().all(|row| row.name.as_deref() == Some("a")));
        let id = rows[0].connection_id.clone();
        assert!(id.is_some() && rows.iter().all(|row| row.connection_id == id));
        // Page by page, and of one name.
        let page = store.audit(Some(rows[3].id), 2, Some("a")).unwrap();
        assert_eq!(page, rows[4..6]);
        assert_eq!(store.audit(None, 5, Some("b")).unwrap(), []);
        let told: Value = format!("{rows:?}").into();
        assert!(!told.to_string().contains(CANARY) && !told.to_string().contains("records.db"));
    });
}

#[test]
fn what_cannot_be_told_is_not_done() {
    let stage = Sqlite::new();
    let mut store = stage.open();
    add(&mut store, "a");
    stage.tamper(
        "CREATE TRIGGER full BEFORE INSERT ON headwater_audit BEGIN SELECT RAISE(ABORT, 'full'); END",
    );
    let read = store.get("a").unwrap();
    replace(
        &mut store,
        &read,
        &json!({ "api_key": "k", "api_password": "p" }),
    )
    .unwrap_err();
    store.describe(&read, label("Other"), &actor()).unwrap_err();
    store.delete("a", None, &actor()).unwrap_err();
    remove(&mut store, "a").unwrap_err();
    try_add(&mut store, "b", &answer()).unwrap_err();
    assert_eq!(names(&mut store), ["a"]);
    assert_eq!(revealed(&mut store, "a").unwrap(), answer());
    assert_eq!(store.get("a").unwrap().revision, read.revision);
}
