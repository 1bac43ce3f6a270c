//! `headwater token`, as people and scripts use it.

use acceptance::binary::{Ran, command};
use headwater_store::{Scope, Store, StoreLocation, TokenHash};

const HEADWATER: &str = env!("CARGO_BIN_EXE_headwater-under-test");

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = command(HEADWATER);
        command
            .arg("token")
            .args(arguments)
            .env("HEADWATER_HOME", self.0.path());
        command.output().unwrap().into()
    }

    fn good(&self, arguments: &[&str]) -> Ran {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.all());
        ran
    }

    fn refused(&self, arguments: &[&str], code: i32, says: &str) {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(code), "{arguments:?}: {}", ran.all());
        assert!(ran.err.contains(says), "{arguments:?}: {}", ran.err);
    }

    fn store(&self) -> Store {
        let place = StoreLocation::File(self.0.path().join("store.db"));
        Store::open(&place, None).unwrap()
    }
}

#[test]
fn a_token_is_shown_once_and_works_until_it_is_removed() {
    let home = Home::new();
    let added = home.good(&["add", "ci", "--scope", "use"]);
    let text = added.out.trim_end();
    assert_eq!(added.out, format!("{text}\n"));
    assert_eq!(added.err, "save it now; it is not shown again\n");
    let found = home
        .store()
        .find_token(&TokenHash::of(text))
        .unwrap()
        .unwrap();
    assert_eq!(
        (&*found.name, found.scope, found.expires),
        ("ci", Scope::Use, None)
    );
    let machine = home
        .good(&["add", "ana", "--scope", "admin", "--days", "1", "--json"])
        .json();
    assert_eq!(
        (&machine["token"], &machine["scope"]),
        (&"ana".into(), &"admin".into())
    );
    let found = home
        .store()
        .find_token(&TokenHash::of(machine["text"].as_str().unwrap()))
        .unwrap()
        .unwrap();
    let lasts = found.expires.unwrap().as_second() - found.created.as_second();
    assert!((86_300..=86_500).contains(&lasts), "{lasts}");

    let listed = home.good(&["list"]);
    assert!(listed.out.contains("ana    admin"), "{}", listed.out);
    assert!(!listed.all().contains(text), "{}", listed.all());
    let listed = home.good(&["list", "--json"]).json();
    assert_eq!(listed[1]["token"], "ci");
    assert!(listed[1]["last_used"].is_string());

    assert_eq!(home.good(&["remove", "ci"]).out, "removed ci\n");
    assert_eq!(home.store().find_token(&TokenHash::of(text)).unwrap(), None);
}

#[test]
fn bad_calls_are_refused_and_make_no_token() {
    let home = Home::new();
    home.good(&["add", "ci", "--scope", "read"]);
    home.refused(
        &["add", "ci", "--scope", "read"],
        2,
        "the token ci exists already",
    );
    home.refused(
        &["add", "two words", "--scope", "read"],
        2,
        "a token cannot be called",
    );
    home.refused(
        &["add", "b", "--scope", "all"],
        2,
        "the scope read, use or admin",
    );
    home.refused(&["add", "b"], 2, "--scope <SCOPE>");
    home.refused(&["add", "b", "--scope", "use", "--days", "0"], 2, "--days");
    home.refused(&["remove", "b"], 4, "there is no token \"b\"");
    assert_eq!(home.store().tokens().unwrap().len(), 1);
}
