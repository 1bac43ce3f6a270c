//! Who can write to the database and has no key: what they change is refused, or told by `audit verify`.

use headwater_core::Timestamp;
use headwater_store::{AuditProof, Refusal, Schedule, Scope, Store, TokenHash, When};

use crate::store::stage::*;

const OF_A: &str = "(SELECT id FROM headwater_connections WHERE name = 'a')";

fn actor() -> headwater_store::Actor {
    headwater_store::Actor::local()
}

/// A connection with everything that a run obeys.
fn scheduled(store: &mut Store, name: &str) {
    add(store, name);
    store
        .set_destination(name, "sqlite:records.db", &actor())
        .unwrap();
    let schedule = Schedule {
        when: When::Every(3600),
        streams: vec!["calls".to_owned()],
        destination: "sqlite:records.db".to_owned(),
        is_redacted: true,
        is_paused: false,
    };
    let due = Timestamp::from_second(1000).unwrap();
    store
        .set_schedule(name, &schedule, due, None, &actor())
        .unwrap();
}

/// Copies all rows of the store aside.
fn copy(stage: &dyn Stage) {
    for table in [
        "store",
        "connections",
        "secrets",
        "schedules",
        "tokens",
        "audit",
    ] {
        stage.tamper(&format!(
            "CREATE TABLE old_{table} AS SELECT * FROM headwater_{table}"
        ));
    }
}

/// Puts the copied rows of a connection back.
fn put_back(stage: &dyn Stage) {
    stage.tamper(&format!(
        "UPDATE headwater_connections SET \
         config = (SELECT config FROM old_connections o WHERE o.name = 'a'), \
         identity = (SELECT identity FROM old_connections o WHERE o.name = 'a'), \
         version = (SELECT version FROM old_connections o WHERE o.name = 'a'), \
         revision = (SELECT revision FROM old_connections o WHERE o.name = 'a'), \
         destination = (SELECT destination FROM old_connections o WHERE o.name = 'a'), \
         expires = (SELECT expires FROM old_connections o WHERE o.name = 'a') WHERE name = 'a'; \
         DELETE FROM headwater_secrets WHERE connection = {OF_A}; \
         INSERT INTO headwater_secrets SELECT * FROM old_secrets WHERE connection = {OF_A}; \
         DELETE FROM headwater_schedules WHERE connection = {OF_A}; \
         INSERT INTO headwater_schedules SELECT * FROM old_schedules WHERE connection = {OF_A}"
    ));
}

fn assert_unreadable(store: &mut Store, what: &str) {
    assert_eq!(reason(store.get("a")), Refusal::Unreadable, "{what}");
    let listed = store.list(None, 10, None).unwrap();
    assert!(listed[0].problem.is_some(), "{what}");
    let due = store.due(10).unwrap();
    assert!(due.iter().all(|one| one.connection != "a"), "{what}");
    // A change blesses nothing.
    let refused = store.set_destination("a", "elsewhere", &actor());
    assert_eq!(reason(refused), Refusal::Unreadable, "{what}");
    revealed(store, "b").unwrap();
}

#[test]
fn what_a_run_obeys_cannot_be_changed() {
    let connection = |set: &str| format!("UPDATE headwater_connections SET {set} WHERE name = 'a'");
    let schedule =
        |set: &str| format!("UPDATE headwater_schedules SET {set} WHERE connection = {OF_A}");
    let statements = [
        connection("destination = 'sqlite:elsewhere.db'"),
        connection("destination = NULL"),
        connection("title = 'Another one'"),
        connection("description = 'Another one'"),
        connection("expires = '2999-01-01'"),
        connection("revision = revision + 1"),
        connection("deleted = 1000"),
        schedule("destination = 'sqlite:elsewhere.db'"),
        schedule("redacted = 0"),
        schedule("paused = 1"),
        schedule("streams = '[]'"),
        schedule("every = 60"),
        schedule("every = NULL, cron = '* * * * *', zone = 'UTC'"),
        format!("DELETE FROM headwater_schedules WHERE connection = {OF_A}"),
    ];
    for statement in statements {
        let stage = Sqlite::new();
        let mut store = stage.open();
        scheduled(&mut store, "a");
        scheduled(&mut store, "b");
        stage.tamper(&statement);
        if statement.contains("deleted") {
            // A restored connection keeps the seal that it had.
            store.restore("a", &actor()).unwrap();
        }
        assert_unreadable(&mut store, &statement);
        assert_unreadable(&mut stage.open(), &statement);
    }
}

#[test]
fn a_deleted_connection_cannot_be_made_to_run_again() {
    of_both(|stage| {
        let mut store = stage.open();
        scheduled(&mut store, "a");
        scheduled(&mut store, "b");
        store.delete("a", None, &actor()).unwrap();
        stage.tamper("UPDATE headwater_connections SET deleted = NULL WHERE name = 'a'");
        assert_unreadable(&mut store, "deleted");
    });
}

#[test]
fn an_older_copy_of_a_connection_does_not_come_back() {
    of_both(|stage| {
        let mut store = stage.open();
        scheduled(&mut store, "a");
        scheduled(&mut store, "b");
        copy(stage);
        let read = store.get("a").unwrap();
        let rotated = serde_json::json!({ "api_key": "new", "api_password": "new" });
        replace(&mut store, &read, &rotated).unwrap();
        put_back(stage);
        assert_unreadable(&mut store, "rotated");
        assert_unreadable(&mut stage.open(), "rotated");
    });
    // Nor one whose secrets are the same.
    of_both(|stage| {
        let mut store = stage.open();
        scheduled(&mut store, "a");
        scheduled(&mut store, "b");
        copy(stage);
        store
            .set_destination("a", "sqlite:other.db", &actor())
            .unwrap();
        put_back(stage);
        assert_unreadable(&mut store, "sent elsewhere");
    });
    // Nor one that was removed.
    of_both(|stage| {
        let mut store = stage.open();
        scheduled(&mut store, "a");
        scheduled(&mut store, "b");
        copy(stage);
        remove(&mut store, "a").unwrap();
        stage.tamper(
            "INSERT INTO headwater_connections SELECT * FROM old_connections WHERE name = 'a'",
        );
        put_back(stage);
        assert_unreadable(&mut store, "removed");
    });
}

#[test]
fn an_older_ledger_vouches_for_nothing() {
    of_both(|stage| {
        let mut store = stage.open();
        scheduled(&mut store, "a");
        copy(stage);
        let read = store.get("a").unwrap();
        replace(&mut store, &read, &answer()).unwrap();
        put_back(stage);
        stage.tamper("UPDATE headwater_store SET ledger = (SELECT ledger FROM old_store)");
        // The count of the audit is beside it.
        assert_eq!(reason(store.get("a")), Refusal::Unreadable);
        stage.tamper("UPDATE headwater_store SET audited = (SELECT audited FROM old_store)");
        // A process that has seen the later one knows.
        let refused = store.get("a").unwrap_err();
        assert!(
            refused.to_string().contains("earlier copy of itself"),
            "{refused}"
        );
        // Another one does not, until it looks at the audit.
        let mut other = stage.open();
        other.get("a").unwrap();
        let proof = other.verify_audit().unwrap();
        assert_eq!(proof.broken_at, Some(proof.expected + 1));
    });
}

#[test]
fn a_ledger_that_is_gone_or_changed_vouches_for_nothing() {
    for set in [
        "ledger = NULL",
        "ledger = NULL, audited = 0",
        "ledger = 'nonsense'",
        "ledger = substr(ledger, 1, 40) || 'AAAA' || substr(ledger, 45)",
        "audited = audited + 1",
        "ledger_key = '0123456789abcdef'",
    ] {
        let stage = Sqlite::new();
        let mut store = stage.open();
        scheduled(&mut store, "a");
        let token = store.add_token("ci", Scope::Read, None, &actor()).unwrap();
        stage.tamper(&format!("UPDATE headwater_store SET {set}"));
        let mut other = stage.open();
        other.get("a").unwrap_err();
        let found = other.find_token(&TokenHash::of(token.expose()));
        assert!(found.is_err() || found.unwrap().is_none(), "{set}");
    }
}

#[test]
fn a_token_that_headwater_did_not_write_opens_nothing() {
    /// Of a known text, made by other hands.
    const HASH: &str = "'b5bb9d8014a0f9b1d61e21e796d78dccdf1352f23cd32812f4850b878ae4944c'";
    of_both(|stage| {
        let mut store = stage.open();
        let text = store.add_token("ci", Scope::Read, None, &actor()).unwrap();
        let text = TokenHash::of(text.expose());
        assert!(store.find_token(&text).unwrap().is_some());
        copy(stage);
        for statement in [
            "UPDATE headwater_tokens SET scope = 'admin'".to_owned(),
            "UPDATE headwater_tokens SET expires = 99999999999999".to_owned(),
            "UPDATE headwater_tokens SET name = 'other'".to_owned(),
            format!("UPDATE headwater_tokens SET hash = {HASH}"),
            "DELETE FROM headwater_tokens".to_owned(),
        ] {
            stage.tamper(&statement);
            for store in [&mut store, &mut stage.open()] {
                assert_eq!(store.find_token(&text).unwrap(), None, "{statement}");
                assert_eq!(store.tokens().unwrap(), [], "{statement}");
            }
            stage.tamper(
                "DELETE FROM headwater_tokens; INSERT INTO headwater_tokens SELECT * FROM old_tokens",
            );
            assert!(store.find_token(&text).unwrap().is_some());
        }
        // One that was taken away does not come back.
        store.remove_token("ci", &actor()).unwrap();
        stage.tamper("INSERT INTO headwater_tokens SELECT * FROM old_tokens");
        assert_eq!(store.find_token(&text).unwrap(), None);
        // Nor is a row that was planted one, whatever its name.
        stage.tamper(&format!(
            "INSERT INTO headwater_tokens (name, hash, scope, created) VALUES ('evil', {HASH}, 'admin', 1000)"
        ));
        let planted = TokenHash::of("foo\n");
        assert_eq!(store.find_token(&planted).unwrap(), None);
    });
}

#[test]
fn names_of_headwater_itself_are_no_tokens() {
    let stage = Sqlite::new();
    let mut store = stage.open();
    for name in ["local", "schedule", "service", "anonymous", "embed"] {
        let refused = store.add_token(name, Scope::Read, None, &actor());
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("means headwater itself")
        );
    }
}

#[test]
fn every_change_of_the_audit_shows() {
    fn whole(store: &mut Store) -> (bool, AuditProof) {
        let proof = store.verify_audit().unwrap();
        (proof.broken_at.is_none(), proof)
    }
    of_both(|stage| {
        let mut store = stage.open();
        assert!(whole(&mut store).0);
        for name in ["a", "b", "c"] {
            add(&mut store, name);
        }
        store.note(&actor(), "preview", Some("a"), "done").unwrap();
        // A key that is given is replaced with both given.
        let _ = store.rekey(&actor());
        let (is_whole, proof) = whole(&mut store);
        assert!(is_whole, "{proof:?}");
        assert!(proof.rows >= 4 && proof.rows == proof.expected);
        copy(stage);
        for (statement, at) in [
            ("UPDATE headwater_audit SET who = 'ana' WHERE id = 2", 2),
            ("UPDATE headwater_audit SET time = time + 1 WHERE id = 3", 3),
            (
                "UPDATE headwater_audit SET outcome = 'failed' WHERE id = 4",
                4,
            ),
            ("UPDATE headwater_audit SET name = NULL WHERE id = 1", 1),
            ("UPDATE headwater_audit SET digest = NULL WHERE id = 1", 1),
            ("DELETE FROM headwater_audit WHERE id = 1", 1),
            ("DELETE FROM headwater_audit WHERE id = 2", 2),
            ("DELETE FROM headwater_audit WHERE id >= 4", 4),
            ("DELETE FROM headwater_audit", 1),
            ("UPDATE headwater_audit SET id = id + 10 WHERE id = 3", 3),
            (
                "UPDATE headwater_audit SET id = 99 WHERE id = 2; UPDATE headwater_audit SET id = 2 WHERE id = 3; \
                 UPDATE headwater_audit SET id = 3 WHERE id = 99",
                2,
            ),
        ] {
            stage.tamper(statement);
            let (is_whole, proof) = whole(&mut store);
            assert!(!is_whole, "{statement}");
            assert_eq!(proof.broken_at, Some(at), "{statement}");
            stage.tamper(
                "DELETE FROM headwater_audit; INSERT INTO headwater_audit SELECT * FROM old_audit",
            );
            assert!(whole(&mut store).0, "{statement}");
        }
        let more = "INSERT INTO headwater_audit (id, time, who, what, outcome) VALUES (99, 1, 'ana', 'deleted', 'done')";
        stage.tamper(more);
        assert!(!whole(&mut store).0);
    });
}
