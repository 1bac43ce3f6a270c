//! Runs that are killed, at random moments and at every step: nothing is lost, nothing comes twice, and no state is ever
//! ahead of its rows.
//!
//! `HEADWATER_KILLS` changes the number of random moments, `HEADWATER_SEED` repeats those of another run.

mod broken;
mod conflicts;
mod judge;
mod place;
mod process;
mod service;
mod steps;

use std::{env, path::Path, sync::Arc, time::Duration};

use acceptance::postgres::Postgres;
use broken::First;
use judge::{Findings, judge, rest};
use place::Place;
use process::{End, Task, jobs_folder};
use service::{Jobs, Service};
use steps::Steps;

/// Kills after which everything begins anew, so that first runs are killed as well, and what is compared stays small.
const KILLS_OF_A_ROUND: usize = 25;
/// More than any run takes here, in steps.
const MAX_STEPS: u64 = 2_000;

/// A place, the service whose records go there, and how they do.
struct Round {
    place: Place,
    task: Task,
    _folder: tempfile::TempDir,
}

impl Round {
    fn new(make: impl FnOnce(&Path) -> Place) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let place = make(folder.path());
        let task = Task {
            destination: place.destination(),
            jobs: jobs_folder(folder.path()),
            now: 1,
            commit_every: Duration::ZERO,
            concurrency: 1,
            slowest: Duration::ZERO,
            last_step: None,
        };
        Self {
            place,
            task,
            _folder: folder,
        }
    }

    /// What the service has, for comparing: its jobs are a copy.
    fn service(&self) -> Arc<Service> {
        Arc::new(Service {
            now: self.task.now,
            jobs: Jobs::copy_of(&self.task.jobs),
            slowest: Duration::ZERO,
            steps: Steps::until(None),
        })
    }

    fn findings(&self) -> Findings {
        let service = self.service();
        assert_eq!(service.jobs.repeated(), [], "a job was ordered again");
        judge(&service, self.place.kept())
    }

    /// Undisturbed runs leave nothing to read.
    fn conclude(&mut self) -> Findings {
        // The first one goes on with what the killed one has begun, the second reads what came since then.
        self.conclude_in(2)
    }

    fn conclude_in(&mut self, runs: usize) -> Findings {
        self.task.last_step = None;
        for _ in 0..runs {
            assert_eq!(self.task.carry_out(), End::Complete);
        }
        let left = rest(&self.service(), self.place.kept().state);
        assert_eq!(left, [], "an undisturbed run left this to read");
        self.findings()
    }
}

/// What a series of kills showed.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    complete_runs: usize,
    /// Kills that left a run half done.
    in_the_middle: usize,
    lost: usize,
    repeated: usize,
}

impl Tally {
    fn add(&mut self, findings: &Findings) {
        self.lost += findings.lost.len();
        self.repeated += findings.repeated.len();
    }
}

/// Kills runs at random moments, in rounds. Stops at the first finding where `is_expected_to_fail`.
fn kill(
    kills: usize,
    seed: u64,
    is_expected_to_fail: bool,
    make: impl Fn(&Path, usize) -> Place,
) -> Tally {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut tally = Tally::default();
    // Grows and shrinks until most runs, and not all of them, are killed.
    let mut longest = Duration::from_millis(40);
    for number in 0.. {
        let mut round = Round::new(|folder| make(folder, number));
        round.task.slowest = Duration::from_micros(random.u64(1..2_000));
        let end = kills.min(tally.kills + KILLS_OF_A_ROUND);
        while tally.kills < end {
            round.task.commit_every = Duration::from_millis([0, 3, 1_000][random.usize(..3)]);
            round.task.concurrency = [1, 4, 8][random.usize(..3)];
            let moment = longest.mul_f64(random.f64());
            let ended = round.task.killed_after(moment);
            if ended == End::Killed {
                tally.kills += 1;
                let kept = round.place.kept();
                let is_begun = !kept.records.is_empty();
                longest = longest.mul_f64(if is_begun { 1.03 } else { 1.1 });
                let left = rest(&round.service(), kept.state).len();
                tally.in_the_middle += usize::from(is_begun && left > 0);
            } else {
                assert_eq!(ended, End::Complete, "seed {seed}");
                tally.complete_runs += 1;
                longest = longest.mul_f64(0.93);
                round.task.now += 1;
            }
            let findings = round.findings();
            tally.add(&findings);
            if is_expected_to_fail && !findings.is_right() {
                return tally;
            }
            assert!(
                findings.is_right(),
                "seed {seed}, kill {}: {findings:?}",
                tally.kills
            );
            // Records change and come in the middle of a pass, too.
            round.task.now += u64::from(random.u8(..8) == 0);
        }
        let findings = round.conclude();
        assert!(
            findings.is_right(),
            "seed {seed}, round {number}: {findings:?}"
        );
        if tally.kills == kills {
            break;
        }
    }
    tally
}

/// Kills as many runs as the suite does, or as it was told to.
fn kill_again_and_again(kills: usize, make: impl Fn(&Path, usize) -> Place) {
    let number = |name: &str| -> Option<u64> { env::var(name).ok()?.parse().ok() };
    let kills = number("HEADWATER_KILLS").map_or(kills, |kills| usize::try_from(kills).unwrap());
    let seed = number("HEADWATER_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}");
    let tally = kill(kills, seed, false, make);
    println!("{tally:?}");
    assert!(tally.complete_runs > 0, "no run came to its end");
    assert!(
        tally.in_the_middle > kills / 10,
        "runs were killed before or after their work: {tally:?}"
    );
}

/// Kills a run at each of its steps, every time in another place.
fn kill_at_every_step(commit_every: Duration, make: impl Fn(&Path, u64) -> Place) {
    for step in 0..MAX_STEPS {
        let mut round = Round::new(|folder| make(folder, step));
        round.task.commit_every = commit_every;
        round.task.last_step = Some(step);
        if round.task.carry_out() == End::Complete {
            println!("{step} steps");
            assert!(step > 100, "{step} steps are no run");
            return;
        }
        let findings = round.findings();
        assert!(findings.is_right(), "step {step}: {findings:?}");
        let findings = round.conclude_in(1);
        assert!(findings.is_right(), "after step {step}: {findings:?}");
    }
    panic!("the run took more than {MAX_STEPS} steps");
}

fn sqlite(folder: &Path) -> Place {
    Place::Sqlite(folder.join("records.db"))
}

fn parquet(folder: &Path) -> Place {
    Place::Parquet(folder.join("records"))
}

/// A schema of its own.
fn postgres(url: &str, what: &str, number: u64) -> Place {
    Place::Postgres {
        url: url.to_owned(),
        schema: format!("{what}_{number}"),
    }
}

#[test]
fn killed_again_and_again_sqlite_loses_and_repeats_nothing() {
    kill_again_and_again(500, |folder, _| sqlite(folder));
}

#[test]
fn killed_again_and_again_parquet_loses_and_repeats_nothing() {
    kill_again_and_again(250, |folder, _| parquet(folder));
}

#[test]
fn killed_again_and_again_postgres_loses_and_repeats_nothing() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    kill_again_and_again(250, |_, number| postgres(&url, "round", number as u64));
}

#[test]
fn killed_at_every_step_sqlite_loses_and_repeats_nothing() {
    kill_at_every_step(Duration::ZERO, |folder, _| sqlite(folder));
}

#[test]
fn killed_at_every_step_parquet_loses_and_repeats_nothing() {
    // Committed where a stream waits or ends: a file for each page would take long.
    kill_at_every_step(Duration::from_secs(60), |folder, _| parquet(folder));
}

#[test]
fn killed_at_every_step_postgres_loses_and_repeats_nothing() {
    let Some(server) = Postgres::shared() else {
        return;
    };
    let url = server.database();
    kill_at_every_step(Duration::from_secs(60), |_, step| {
        postgres(&url, "step", step)
    });
}

/// What the same kills show of a sink of this test.
fn killed(first: First) -> Tally {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let place = |folder: &Path, _| Place::TwoSteps(folder.join("records.db"), first);
    let tally = kill(100, seed, first != First::Neither, place);
    println!("{tally:?}");
    tally
}

#[test]
fn a_sink_that_keeps_its_position_first_is_seen_to_lose_records() {
    let tally = killed(First::State);
    assert!(tally.lost > 0 && tally.repeated == 0, "{tally:?}");
}

#[test]
fn a_sink_that_keeps_its_rows_first_is_seen_to_repeat_records() {
    let tally = killed(First::Rows);
    assert!(tally.repeated > 0 && tally.lost == 0, "{tally:?}");
}

/// So that what the two others are caught at is the order, and nothing else.
#[test]
fn the_same_sink_in_one_step_is_found_right() {
    let tally = killed(First::Neither);
    assert_eq!((tally.lost, tally.repeated), (0, 0));
}
