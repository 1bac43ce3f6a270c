//! Runs that must not be: two at once, and one on what a newer version has written.

use std::{fs, path::Path, thread};

use acceptance::postgres::{Postgres, execute};
use headwater_host::State;
use rusqlite::Connection;

use crate::{
    Round,
    place::{NAME, Place, open},
    process::End,
};

/// Where two runs begin at the same moment, they do so more than once.
const RACES: usize = 8;

/// One round for each sink that there is.
fn rounds(schema: &str) -> Vec<Round> {
    let mut rounds = vec![Round::new(crate::sqlite), Round::new(crate::parquet)];
    if let Some(server) = Postgres::shared() {
        let url = server.database();
        rounds.push(Round::new(|_| crate::postgres(&url, schema, 0)));
    }
    rounds
}

/// The one sentence that a run was refused with.
fn refusal(ended: End) -> String {
    let End::Refused(said) = ended else {
        panic!("{ended:?}");
    };
    let said = said.trim_end().to_owned();
    assert!(!said.contains('\n') && !said.ends_with('.'), "{said}");
    said
}

#[test]
fn while_one_run_has_a_place_another_is_refused_and_the_first_one_commits() {
    for mut round in rounds("held") {
        // The first one is this process.
        let mut sink = open(&round.task.destination).unwrap();
        let mut state = State::held_by(&mut *sink, NAME).unwrap().unwrap();
        sink.restore(&[], &state).unwrap();
        let said = refusal(round.task.carry_out());
        assert!(said.contains("wait for"), "{said}");
        sink.commit(&mut state).unwrap();
        drop(sink);
        assert!(round.conclude().is_right(), "{said}");
    }
}

#[test]
fn of_two_runs_that_begin_at_once_what_both_read_is_there_once() {
    for mut round in rounds("race") {
        let mut refused = 0;
        for _ in 0..RACES {
            let other = round.task.clone();
            let other = thread::spawn(move || other.carry_out());
            let ended = [round.task.carry_out(), other.join().unwrap()];
            assert!(ended.contains(&End::Complete), "{ended:?}");
            for end in ended.into_iter().filter(|end| *end != End::Complete) {
                refusal(end);
                refused += 1;
            }
            let findings = round.findings();
            assert!(findings.is_right(), "{findings:?}");
            round.task.now += 1;
        }
        println!("{}: {refused} of {RACES} refused", round.task.destination);
        assert!(round.conclude().is_right());
    }
}

#[test]
fn a_state_of_a_newer_version_is_refused_and_stays_as_it_is() {
    for mut round in rounds("newer") {
        assert_eq!(round.task.carry_out(), End::Complete);
        let before = round.place.kept().records.len();
        let replace = |from: &str, to: &str| replace_in_state(&round.place, from, to);
        replace("\"headwater_state\":4", "\"headwater_state\":99");
        round.task.now += 1;
        let said = refusal(round.task.carry_out());
        assert!(
            said.contains("newer version (format 99); use that version"),
            "{said}"
        );
        let replace = |from: &str, to: &str| replace_in_state(&round.place, from, to);
        replace("\"headwater_state\":99", "\"headwater_state\":4");
        assert_eq!(round.place.kept().records.len(), before, "{said}");
        assert!(round.conclude().is_right(), "{said}");
    }
}

/// Changes the text of the state where it is kept.
fn replace_in_state(place: &Place, from: &str, to: &str) {
    let update = format!("SET state = replace(state, '{from}', '{to}')");
    match place {
        Place::Sqlite(path) | Place::TwoSteps(path, _) => {
            let connection = Connection::open(path).unwrap();
            let statement = format!("UPDATE _headwater_state {update}");
            assert_eq!(connection.execute(&statement, []).unwrap(), 1);
        }
        Place::Postgres { url, schema } => {
            execute(url, &format!("UPDATE {schema}._headwater_state {update}"));
        }
        Place::Parquet(folder) => {
            let newest = newest_manifest(folder);
            let text = fs::read_to_string(&newest).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(newest, text.replace(from, to)).unwrap();
        }
    }
}

fn newest_manifest(folder: &Path) -> std::path::PathBuf {
    let ours = folder.join("_headwater");
    let names = acceptance::binary::files(&ours);
    let newest = names.iter().rfind(|name| name.ends_with(".json")).unwrap();
    ours.join(newest)
}

/// A service whose time goes back has nothing new; what it has later is read then.
#[test]
fn a_time_that_goes_back_loses_nothing() {
    for mut round in rounds("back") {
        round.task.now = 4;
        assert_eq!(round.task.carry_out(), End::Complete);
        round.task.now = 2;
        assert_eq!(round.task.carry_out(), End::Complete);
        let kept = round.place.kept().state;
        assert_ne!(kept, State::new(NAME));
        round.task.now = 6;
        assert!(round.conclude().is_right());
    }
}
