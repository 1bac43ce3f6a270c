//! What a store promises, asked of both databases: seals, keys, leases, history, audit.

mod changes;
mod rows;
mod service;
mod stage;
mod tampering;

use std::{collections::BTreeSet, fs, path::Path, process::Command, thread};

use acceptance::binary::files;
use headwater_core::{Kind, Secret};
use headwater_store::{Actor, Keyring, Lease, Run, Store, StoreLocation};

use serde_json::json;
use stage::*;

#[test]
fn a_connection_comes_back_as_it_was_saved() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "copilot");
        let with_reference = json!({ "api_key": "env:KEY", "api_password": CANARY });
        try_add(&mut store, "other", &with_reference).unwrap();
        drop(store);
        let mut store = stage.open();
        assert_eq!(revealed(&mut store, "copilot").unwrap(), answer());
        assert_eq!(revealed(&mut store, "other").unwrap(), with_reference);
        let connection = store.get("copilot").unwrap();
        assert_eq!(
            connection.config,
            json!({ "base_url": "https://example.com/v1" })
        );
        assert_eq!(connection.sealed, ["/api_key", "/api_password"]);
        assert!(!format!("{connection:?}").contains(CANARY));
        let other = store.get("other").unwrap();
        assert_eq!(other.config, json!({ "api_key": "env:KEY" }));
        assert_eq!(other.sealed, ["/api_password"]);
        assert_eq!(names(&mut store), ["copilot", "other"]);
    });
}

#[test]
fn names_are_plain_and_taken_once() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "a");
        let refused = try_add(&mut store, "a", &answer()).unwrap_err();
        assert!(refused.to_string().contains("already"), "{refused}");
        let long = "a".repeat(64);
        for name in ["", "-a", "A", "a b", "a/b", "ä", "a'; DROP TABLE x", &long] {
            let refused = try_add(&mut store, name, &answer()).unwrap_err();
            assert_eq!(refused.kind(), Kind::ConfigInvalid, "{name}");
        }
        let missing = store.get("b").unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
        assert_eq!(names(&mut store).len(), 1);
    });
}

#[test]
fn a_changed_config_keeps_its_secrets_and_counts_its_versions() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "copilot");
        let before = store.get("copilot").unwrap();
        let mut changed = before.config.clone();
        changed["api_key"] = "another key".into();
        changed["base_url"] = "https://EXAMPLE.com:443/v1/".into();
        store.unseal(&form(), &before, &mut changed).unwrap();
        assert_eq!(changed["api_password"], format!("{CANARY}-password"));
        replace(&mut store, &before, &changed).unwrap();
        assert_eq!(revealed(&mut store, "copilot").unwrap(), changed);
        assert_eq!(store.get("copilot").unwrap().version, 2);
        // Who read the connection before that does not undo it.
        let refused = replace(&mut store, &before, &answer()).unwrap_err();
        assert!(
            refused.to_string().contains("changed meanwhile"),
            "{refused}"
        );
        assert_eq!(revealed(&mut store, "copilot").unwrap(), changed);
    });
}

#[test]
fn a_secret_is_not_sent_to_another_address_than_it_was_given_for() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "copilot");
        let connection = store.get("copilot").unwrap();
        for elsewhere in [
            "https://example.org/v1",
            "https://example.com/v2",
            "https://example.com:8443/v1",
        ] {
            let mut changed = json!({ "base_url": elsewhere, "api_key": "given again" });
            let refused = store
                .unseal(&form(), &connection, &mut changed)
                .unwrap_err();
            let said = refused.to_string();
            assert!(
                said.contains("API Password was saved for another address"),
                "{said}"
            );
            assert_eq!(changed.get("api_password"), None);
        }
        let mut all_given =
            json!({ "base_url": "https://example.org", "api_key": "a", "api_password": "b" });
        store.unseal(&form(), &connection, &mut all_given).unwrap();
        replace(&mut store, &connection, &all_given).unwrap();
        assert_eq!(revealed(&mut store, "copilot").unwrap(), all_given);
    });
}

/// Each is refused with a sentence, and hides no other connection.
#[test]
fn nothing_opens_in_another_place_or_changed() {
    let connections = "headwater_connections";
    let secrets = "headwater_secrets";
    let of_a = "(SELECT id FROM headwater_connections WHERE name = 'a')";
    let of_b = "(SELECT id FROM headwater_connections WHERE name = 'b')";
    let statements = [
        // A seal of another field, and one of another row.
        format!(
            "UPDATE {secrets} SET sealed = (SELECT sealed FROM {secrets} o WHERE o.connection = {of_a} AND \
             o.pointer = '/api_password') WHERE connection = {of_a} AND pointer = '/api_key'"
        ),
        format!(
            "UPDATE {secrets} SET sealed = (SELECT sealed FROM {secrets} o WHERE o.connection = {of_b} AND \
             o.pointer = '/api_key') WHERE connection = {of_a} AND pointer = '/api_key'"
        ),
        // What stands in clear.
        format!(
            "UPDATE {connections} SET config = '{{\"base_url\":\"https://evil.example\"}}' WHERE name = 'a'"
        ),
        format!(
            "UPDATE {connections} SET identity = (SELECT identity FROM {connections} WHERE name = 'b') || ' ' WHERE name = 'a'"
        ),
        format!("UPDATE {connections} SET connector = 'claribi' WHERE name = 'a'"),
        format!("UPDATE {connections} SET version = version + 1 WHERE name = 'a'"),
        format!(
            "UPDATE {connections} SET name = 'moved' WHERE name = 'a'; UPDATE {connections} SET name = 'a' WHERE name = 'b'; \
                 UPDATE {connections} SET name = 'b' WHERE name = 'moved'"
        ),
        // A secret that is gone, so that a reference could take its place.
        format!("DELETE FROM {secrets} WHERE connection = {of_a} AND pointer = '/api_key'"),
        format!("DELETE FROM {secrets} WHERE connection = {of_a}"),
        format!(
            "UPDATE {secrets} SET key_id = '0123456789abcdef' WHERE connection = {of_a} AND pointer = '/api_key'"
        ),
        format!(
            "UPDATE {secrets} SET sealed = 'nonsense' WHERE connection = {of_a} AND pointer = '/api_key'"
        ),
        format!(
            "UPDATE {connections} SET created = 9223372036854775807, updated = 9223372036854775807 WHERE name = 'a'"
        ),
    ];
    for statement in statements {
        let stage = Sqlite::new();
        let mut store = stage.open();
        for name in ["a", "b", "c"] {
            add(&mut store, name);
        }
        stage.tamper(&statement);
        let refused = revealed(&mut store, "a").unwrap_err();
        assert!(!refused.to_string().contains(CANARY), "{refused}");
        let listed = store.list(None, 100, None).unwrap();
        assert_eq!(listed.len(), 3, "{statement}");
        assert!(listed[0].problem.is_some(), "{statement}");
        assert!(listed[2].problem.is_none(), "{statement}");
        revealed(&mut store, "c").unwrap();
        remove(&mut store, "a").unwrap();
    }
}

#[test]
fn what_was_sealed_before_a_change_does_not_open_after_it() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "a");
        stage.tamper("CREATE TABLE old AS SELECT * FROM headwater_secrets");
        let before = store.get("a").unwrap();
        replace(&mut store, &before, &answer()).unwrap();
        stage.tamper(
            "DELETE FROM headwater_secrets; INSERT INTO headwater_secrets SELECT * FROM old",
        );
        revealed(&mut store, "a").unwrap_err();
        assert!(store.list(None, 100, None).unwrap()[0].problem.is_some());
    });
}

#[test]
fn every_byte_of_a_seal_counts() {
    let stage = Sqlite::new();
    let mut store = stage.open();
    add(&mut store, "a");
    let database = rusqlite::Connection::open(stage.path()).unwrap();
    let read = "SELECT sealed FROM headwater_secrets WHERE pointer = '/api_key'";
    let sealed: String = database.query_row(read, [], |row| row.get(0)).unwrap();
    let write = "UPDATE headwater_secrets SET sealed = ?1 WHERE pointer = '/api_key'";
    for index in 0..sealed.len() {
        let mut bytes = sealed.clone().into_bytes();
        bytes[index] ^= 1;
        let changed = String::from_utf8(bytes).unwrap();
        database.execute(write, [changed]).unwrap();
        revealed(&mut store, "a").unwrap_err();
    }
    database.execute(write, [sealed]).unwrap();
    revealed(&mut store, "a").unwrap();
}

#[test]
fn another_key_is_refused_when_the_store_is_opened() {
    let stage = Sqlite::new();
    add(&mut stage.open(), "a");
    let before = fs::read(stage.path()).unwrap();
    let other = Secret::new("cd".repeat(32));
    let refused = Store::open(&stage.place(), Some(&other))
        .map(|_| ())
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("the key is not that of the store"),
        "{refused}"
    );
    // A lost key file is not replaced by another key.
    let key = fs::read(stage.key_file()).unwrap();
    fs::remove_file(stage.key_file()).unwrap();
    let refused = stage.try_open().map(|_| ()).unwrap_err();
    assert!(
        refused.to_string().contains("restore the file"),
        "{refused}"
    );
    assert!(!stage.key_file().exists());
    assert_eq!(fs::read(stage.path()).unwrap(), before);
    // The right one may also be given.
    let key = Secret::new(String::from_utf8(key).unwrap());
    revealed(&mut Store::open(&stage.place(), Some(&key)).unwrap(), "a").unwrap();
    assert!(Keyring::parse(&key).is_ok());

    if let Some(server) = Server::new() {
        add(&mut server.open(), "a");
        let place = StoreLocation::parse(&server.url).unwrap();
        let refused = Store::open(&place, Some(&other)).map(|_| ()).unwrap_err();
        assert!(
            refused
                .to_string()
                .starts_with("the key is not that of the store"),
            "{refused}"
        );
        let refused = Store::open(&place, None).map(|_| ()).unwrap_err();
        assert!(
            refused.to_string().contains("one key for all hosts"),
            "{refused}"
        );
    }
}

#[test]
fn a_newer_store_is_refused() {
    of_both(|stage| {
        add(&mut stage.open(), "a");
        stage.tamper("UPDATE headwater_store SET format = 5");
        let refused = stage.try_open().map(|_| ()).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("was written by a newer version (format 5)"),
            "{refused}"
        );
    });
}

#[test]
fn a_file_that_is_no_store_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for text in ["records", &"not a database ".repeat(1000)] {
        fs::write(&path, text).unwrap();
        let refused = Store::open(&StoreLocation::File(path.clone()), None)
            .map(|_| ())
            .unwrap_err();
        assert!(
            refused.to_string().contains("is not a SQLite database"),
            "{refused}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    let other = tempfile::tempdir().unwrap();
    let below = other.path().join("folder");
    fs::create_dir(&below).unwrap();
    let refused = Store::open(&StoreLocation::File(below), None)
        .map(|_| ())
        .unwrap_err();
    assert!(
        refused.to_string().contains("cannot be opened"),
        "{refused}"
    );
    assert_eq!(files(folder.path()), ["file"]);
}

#[test]
fn a_server_that_is_not_there_is_told_without_the_password() {
    let url = format!("postgres://me:{CANARY}@127.0.0.1:1/db");
    let key = Secret::new("ab".repeat(32));
    let refused = Store::open(&StoreLocation::parse(&url).unwrap(), Some(&key))
        .map(|_| ())
        .unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable);
    assert!(!format!("{refused:?}").contains(CANARY), "{refused:?}");
}

#[test]
fn a_store_made_by_many_at_once_is_one_store() {
    of_both(|stage| {
        let names: Vec<String> = (0..6).map(|number| format!("c{number}")).collect();
        thread::scope(|scope| {
            for name in &names {
                scope.spawn(move || add(&mut stage.open(), name));
            }
        });
        let listed = stage.open().list(None, 100, None).unwrap();
        assert!(listed.iter().all(|one| one.problem.is_none()));
        assert_eq!(listed.len(), names.len());
    });
}

#[test]
fn two_runs_of_a_connection_are_not_under_way_at_once() {
    of_both(|stage| {
        let (mut here, mut there) = (stage.open(), stage.open());
        add(&mut here, "a");
        add(&mut here, "b");
        let run = here.begin_run("a").unwrap();
        let refused = there.begin_run("a").unwrap_err();
        assert_eq!(refused.kind(), Kind::Unavailable);
        let process = format!("process {} on ", std::process::id());
        assert!(refused.to_string().contains(&process), "{refused}");
        assert!(refused.to_string().contains("holds it until"), "{refused}");
        remove(&mut there, "a").unwrap_err();
        assert!(there.get("a").unwrap().holder.is_some());
        // Another connection is none of its business.
        let other = there.begin_run("b").unwrap();
        here.renew(&run).unwrap();
        here.fence(&run).unwrap();
        here.finish_run(run, &json!({ "records": 3 })).unwrap();
        there.finish_run(other, &json!({})).unwrap();
        let run = there.begin_run("a").unwrap();
        assert_eq!(run.epoch(), 2);
        let history = there.history("a", 10).unwrap();
        assert_eq!(
            history.iter().map(|run| run.epoch).collect::<Vec<_>>(),
            [2, 1]
        );
        assert_eq!(history[0].ended, None);
        assert_eq!(history[1].receipt, Some(json!({ "records": 3 })));
        assert!(history[1].ended.unwrap() >= history[1].started);
    });
}

/// As after a kill: on one host the process is gone, between hosts the time is over.
fn outlive(stage: &dyn Stage, run: Run) -> Option<Run> {
    if stage
        .try_open()
        .unwrap()
        .place()
        .to_string()
        .starts_with("postgres")
    {
        stage.tamper("UPDATE headwater_connections SET until = 1");
        return Some(run);
    }
    drop(run);
    None
}

#[test]
fn who_lost_the_lease_changes_nothing_any_more() {
    of_both(|stage| {
        let (mut here, mut there) = (stage.open(), stage.open());
        add(&mut here, "a");
        let run = here.begin_run("a").unwrap();
        let stale = outlive(stage, run);
        let run = there.begin_run("a").unwrap();
        if let Some(stale) = stale {
            for lost in [
                here.renew(&stale).map(drop),
                here.fence(&stale),
                here.finish_run(stale, &json!({ "stale": true })),
            ] {
                assert!(
                    lost.unwrap_err()
                        .to_string()
                        .contains("another run took over")
                );
            }
        }
        there.finish_run(run, &json!({})).unwrap();
        assert!(
            there
                .history("a", 10)
                .unwrap()
                .iter()
                .all(|run| run.receipt != Some(json!({ "stale": true })))
        );
        assert_eq!(there.get("a").unwrap().holder, None);
    });
}

/// The lock of a file can be removed by hand; then the epoch still tells.
#[test]
fn without_its_lock_a_lease_still_has_its_epoch() {
    let stage = Sqlite::new();
    let (mut here, mut there) = (stage.open(), stage.open());
    add(&mut here, "a");
    let stale = here.begin_run("a").unwrap();
    fs::remove_dir_all(stage.0.path().join("store.db-locks")).unwrap();
    let run = there.begin_run("a").unwrap();
    here.renew(&stale).unwrap_err();
    here.finish_run(stale, &json!({ "stale": true }))
        .unwrap_err();
    there.finish_run(run, &json!({ "good": true })).unwrap();
    let history = here.history("a", 10).unwrap();
    assert_eq!(history[0].receipt, Some(json!({ "good": true })));
    assert_eq!(history[1].receipt, None);
}

#[test]
fn a_clock_that_went_back_blocks_nobody() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "a");
        let run = store.begin_run("a").unwrap();
        // Made a year ahead of the clock of today.
        stage.tamper("UPDATE headwater_connections SET since = since + 31536000000, until = until + 31536000000");
        store.renew(&run).unwrap();
        stage.tamper("UPDATE headwater_connections SET since = since + 31536000000, until = until + 31536000000");
        drop(run);
        let mut other = stage.open();
        other.begin_run("a").unwrap();
    });
}

#[test]
fn many_who_start_at_once_get_one_run() {
    of_both(|stage| {
        add(&mut stage.open(), "a");
        let stores: Vec<Store> = (0..8).map(|_| stage.open()).collect();
        let started = thread::scope(|scope| {
            let starts = stores
                .into_iter()
                .map(|mut store| scope.spawn(move || store.begin_run("a").map(|run| (store, run))));
            let starts: Vec<_> = starts.collect();
            starts
                .into_iter()
                .map(|start| start.join().unwrap())
                .collect::<Vec<_>>()
        });
        assert_eq!(started.iter().filter(|start| start.is_ok()).count(), 1);
    });
}

#[test]
fn the_history_is_bounded() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "a");
        for _ in 0..105 {
            let run = store.begin_run("a").unwrap();
            store.finish_run(run, &json!({})).unwrap();
        }
        assert_eq!(store.contents("a").unwrap().runs, 100);
        let epochs: Vec<i64> = store
            .history("a", 3)
            .unwrap()
            .iter()
            .map(|run| run.epoch)
            .collect();
        assert_eq!(epochs, [105, 104, 103]);
    });
}

#[test]
fn a_connection_is_removed_with_everything_of_it() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "a");
        store
            .set_destination("a", "sqlite:records.db", &Actor::local())
            .unwrap();
        assert_eq!(
            store.get("a").unwrap().destination.as_deref(),
            Some("sqlite:records.db")
        );
        let run = store.begin_run("a").unwrap();
        store.finish_run(run, &json!({})).unwrap();
        let contents = store.contents("a").unwrap();
        assert_eq!((contents.secrets, contents.runs), (2, 1));
        remove(&mut store, "a").unwrap();
        assert_eq!(remove(&mut store, "a").unwrap_err().kind(), Kind::NotFound);
        assert_eq!(store.contents("a").unwrap_err().kind(), Kind::NotFound);
        // Another one of the same name starts from nothing.
        add(&mut store, "a");
        let contents = store.contents("a").unwrap();
        assert_eq!((contents.secrets, contents.runs), (2, 0));
    });
}

/// Every file below a folder.
fn everything(folder: &Path) -> Vec<u8> {
    let output = Command::new("find")
        .arg(folder)
        .args(["-type", "f", "-exec", "cat", "{}", "+"])
        .output();
    output.unwrap().stdout
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[test]
fn no_file_of_a_store_holds_a_secret() {
    let stage = Sqlite::new();
    let mut store = stage.open();
    add(&mut store, "a");
    // With the log of the latest changes, while it is open.
    assert!(files(stage.0.path()).contains(&"store.db-wal".to_owned()));
    assert!(!has(&everything(stage.0.path()), CANARY));
    let sealed: Vec<String> = {
        let database = rusqlite::Connection::open(stage.path()).unwrap();
        let mut read = database
            .prepare("SELECT sealed FROM headwater_secrets")
            .unwrap();
        read.query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    assert!(
        sealed
            .iter()
            .all(|sealed| has(&everything(stage.0.path()), sealed))
    );
    remove(&mut store, "a").unwrap();
    drop(store);
    // What is removed is overwritten.
    let left = everything(stage.0.path());
    assert!(!sealed.iter().any(|sealed| has(&left, sealed)));
    // A copy without the key opens nothing.
    add(&mut stage.open(), "b");
    let copy = Sqlite::new();
    fs::copy(stage.path(), copy.path()).unwrap();
    copy.try_open().map(|_| ()).unwrap_err();
    assert_eq!(
        files(copy.0.path())
            .iter()
            .filter(|name| name.ends_with(".key"))
            .count(),
        0
    );
}

#[test]
fn what_a_store_makes_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let place = StoreLocation::File(folder.path().join("new/folder/store.db"));
    let mut store = Store::open(&place, None).unwrap();
    add(&mut store, "a");
    let _run = store.begin_run("a").unwrap();
    let listed = Command::new("find")
        .arg(folder.path().join("new"))
        .output()
        .unwrap()
        .stdout;
    let listed = String::from_utf8(listed).unwrap();
    assert!(listed.lines().count() >= 6, "{listed}");
    for path in listed.lines() {
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{path}");
    }
}

#[test]
fn a_new_key_takes_over_from_the_old_one() {
    let stage = Sqlite::new();
    let mut store = stage.open();
    for name in ["a", "b", "c"] {
        add(&mut store, name);
    }
    let old = fs::read_to_string(stage.key_file()).unwrap();
    let rekeyed = store.rekey(&Actor::local()).unwrap();
    assert_eq!((rekeyed.resealed, rekeyed.unreadable.len()), (3, 0));
    let new = fs::read_to_string(stage.key_file()).unwrap();
    assert!(new.lines().count() == 1 && new != old);
    assert_eq!(revealed(&mut store, "a").unwrap(), answer());
    assert_eq!(revealed(&mut stage.open(), "b").unwrap(), answer());
    fs::write(stage.key_file(), old).unwrap();
    stage.try_open().map(|_| ()).unwrap_err();
}

/// A service that goes on while somebody else rotates the key in its file.
#[test]
fn whoever_has_a_store_open_follows_a_rotation_of_its_key() {
    let stage = Sqlite::new();
    let mut running = stage.open();
    for name in ["a", "b", "c"] {
        add(&mut running, name);
    }
    let read_before = running.get("c").unwrap();
    stage.open().rekey(&Actor::local()).unwrap();
    assert!(running.list(None, 10, None).unwrap()[0].problem.is_none());
    assert_eq!(revealed(&mut running, "a").unwrap(), answer());
    let connection = running.get("b").unwrap();
    replace(&mut running, &connection, &answer()).unwrap();
    add(&mut running, "d");
    // What it had read under the old key is still readable.
    let mut shown = read_before.config.clone();
    running.unseal(&form(), &read_before, &mut shown).unwrap();
    assert_eq!(shown, answer());
    // Again, and everything is sealed with the one key that is left.
    stage.open().rekey(&Actor::local()).unwrap();
    running.undo("b", None, &Actor::local()).unwrap_err();
    for name in ["a", "b", "c", "d"] {
        assert_eq!(revealed(&mut running, name).unwrap(), answer());
        assert_eq!(revealed(&mut stage.open(), name).unwrap(), answer());
    }
}

#[test]
fn a_key_that_is_given_is_rotated_with_the_new_one_before_it() {
    of_both(|stage| {
        drop(stage.open());
    });
    let Some(server) = Server::new() else { return };
    add(&mut server.open(), "a");
    let refused = server.open().rekey(&Actor::local()).unwrap_err();
    assert!(refused.to_string().contains("NEW,OLD"), "{refused}");
    let both = Server {
        url: server.url.clone(),
        keys: Secret::new(format!("{},{}", "cd".repeat(32), "ab".repeat(32))),
    };
    // Until the rotation, both hosts write with the old key, and read each other.
    add(&mut both.open(), "b");
    assert_eq!(revealed(&mut server.open(), "b").unwrap(), answer());
    let mut late = server.open();
    assert_eq!(both.open().rekey(&Actor::local()).unwrap().resealed, 2);
    // Who still has the old key only adds nothing that nobody could read later.
    let refused = try_add(&mut late, "c", &answer()).unwrap_err();
    assert!(refused.to_string().contains("another key"), "{refused}");
    server.try_open().map(|_| ()).unwrap_err();
    let new = Server {
        url: server.url.clone(),
        keys: Secret::new("cd".repeat(32)),
    };
    assert_eq!(revealed(&mut new.open(), "a").unwrap(), answer());
}

#[test]
fn a_connection_that_cannot_be_read_keeps_the_old_key_and_stops_no_rotation() {
    let stage = Sqlite::new();
    let mut store = stage.open();
    for name in ["a", "b"] {
        add(&mut store, name);
    }
    stage.tamper("UPDATE headwater_connections SET config = '{}' WHERE name = 'a'");
    let rekeyed = store.rekey(&Actor::local()).unwrap();
    assert_eq!(rekeyed.resealed, 1);
    assert_eq!(rekeyed.unreadable[0].0, "a");
    assert_eq!(
        fs::read_to_string(stage.key_file())
            .unwrap()
            .lines()
            .count(),
        2
    );
    assert_eq!(revealed(&mut stage.open(), "b").unwrap(), answer());
    // Once it is out of the way, the same rotation comes to its end.
    let mut store = stage.open();
    remove(&mut store, "a").unwrap();
    let ended = store.rekey(&Actor::local()).unwrap();
    assert_eq!((ended.key_id, ended.resealed), (rekeyed.key_id, 0));
    assert_eq!(
        fs::read_to_string(stage.key_file())
            .unwrap()
            .lines()
            .count(),
        1
    );
}

/// The rotation ends after so many of its writes to the database, as a full disk or a kill would end it.
#[test]
fn a_rotation_that_ends_at_any_connection_goes_on() {
    let names: BTreeSet<String> = (0..4).map(|number| format!("c{number}")).collect();
    for stop in &names {
        let stage = Sqlite::new();
        let mut store = stage.open();
        for name in &names {
            add(&mut store, name);
        }
        stage.tamper(&format!(
            "CREATE TRIGGER stop BEFORE DELETE ON headwater_secrets WHEN old.connection = \
             (SELECT id FROM headwater_connections WHERE name = '{stop}') BEGIN SELECT RAISE(ABORT, 'stop'); END"
        ));
        store.rekey(&Actor::local()).unwrap_err();
        drop(store);
        for name in &names {
            assert_eq!(
                revealed(&mut stage.open(), name).unwrap(),
                answer(),
                "{name} at {stop}"
            );
        }
        assert_eq!(
            fs::read_to_string(stage.key_file())
                .unwrap()
                .lines()
                .count(),
            2
        );
        stage.tamper("DROP TRIGGER stop");
        // Opening the store ends the rotation, and forgets the old key.
        drop(stage.open());
        assert_eq!(
            fs::read_to_string(stage.key_file())
                .unwrap()
                .lines()
                .count(),
            1
        );
        for name in &names {
            assert_eq!(revealed(&mut stage.open(), name).unwrap(), answer());
        }
    }
}

/// The client of the database has a runtime inside, which must not be a problem where there is one already.
#[tokio::test]
async fn a_store_can_be_used_within_a_runtime() {
    of_both(|stage| {
        let mut store = stage.open();
        add(&mut store, "a");
        assert_eq!(revealed(&mut store, "a").unwrap(), answer());
    });
}

/// A restart of the server costs the transaction that was under way, and no other.
#[test]
fn a_store_finds_its_server_again() {
    let Some(server) = Server::new() else { return };
    let mut store = server.open();
    add(&mut store, "a");
    let run = store.begin_run("a").unwrap();
    for _ in 0..10 {
        server.end_connections();
        store.renew(&run).unwrap();
    }
    server.end_connections();
    store.finish_run(run, &json!({ "records": 3 })).unwrap();
    assert_eq!(
        store.history("a", 1).unwrap()[0].receipt,
        Some(json!({ "records": 3 }))
    );
}

#[test]
fn a_run_whose_server_was_restarted_before_its_end_ends_in_the_history() {
    let Some(server) = Server::new() else { return };
    let mut store = server.open();
    add(&mut store, "a");
    let lease = Lease::begin(store, "a").unwrap();
    server.end_connections();
    let receipt = json!({ "outcome": "complete" });
    lease
        .end(&receipt, Some("sqlite:records.db"), &Actor::local())
        .unwrap();
    let mut store = server.open();
    assert_eq!(store.history("a", 1).unwrap()[0].receipt, Some(receipt));
    let connection = store.get("a").unwrap();
    assert_eq!(connection.destination.as_deref(), Some("sqlite:records.db"));
    store.begin_run("a").unwrap();
}
