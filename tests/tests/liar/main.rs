//! The liar: a simulator that lies in ways drawn at random, and runs of every connector until two in a row bring nothing
//! new. The union in the database is then what the simulator has, or the receipt of some run names the gap.
//!
//! `HEADWATER_LIAR_SEEDS` says how many seeds are tried, `HEADWATER_LIAR_SEED` names one to try again; then every request
//! is printed with what was told of it.

mod exchange;
mod judge;
mod lies;
mod proxy;
mod runs;
mod stage;

use std::{
    collections::BTreeMap,
    env,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use acceptance::postgres::Postgres;

use crate::{
    judge::{Verdict, judge},
    lies::{CATALOGUE, Honesty, Lie, SHORT_PAGES},
    runs::{Place, Run},
    stage::{CONNECTORS, Stage},
};

/// Seeds where nothing else is said.
const SEEDS: u64 = 200;
/// Seeds side by side.
const WORKERS: usize = 4;
/// Lies of a seed.
const MAX_LIES: usize = 6;
/// Runs of a seed. A place that fails in three is set aside, so that many are enough for every ending.
const MAX_RUNS: usize = 12;
/// During the first runs records change.
const STIRRED: usize = 3;
/// Longer than any seed takes on a busy machine.
const WATCHDOG: Duration = Duration::from_secs(240);
/// One seed of so many is read by the shipped binary, in real time.
const BINARY: u64 = 16;
/// One seed of so many goes to PostgreSQL.
const POSTGRES: u64 = 4;

/// What a seed was, and what came of it.
struct Tried {
    seed: u64,
    connector: &'static str,
    described: String,
    lies: Vec<(&'static str, u64)>,
    codes: Vec<u8>,
    verdict: Verdict,
    log: Vec<String>,
}

/// Draws the lies of a seed.
fn draw(
    connector: &str,
    is_binary: bool,
    moves: bool,
    dice: &mut fastrand::Rng,
) -> Vec<Box<dyn Lie>> {
    let count = dice.usize(1..=MAX_LIES);
    let mut all: Vec<Box<dyn Lie>> = CATALOGUE.iter().map(|draw| draw(dice)).collect();
    let short_pages = dice.bool().then(|| SHORT_PAGES(dice));
    let fits = |lie: &dyn Lie| {
        lie.applies_to(connector) && !(is_binary && lie.waits()) && !(moves && lie.keeps_versions())
    };
    if let Ok(only) = env::var("HEADWATER_LIAR_LIES") {
        all.retain(|lie| fits(&**lie) && only.split(',').any(|name| name == lie.name()));
        all.extend(short_pages);
        return all;
    }
    all.retain(|lie| fits(&**lie));
    let mut order: Vec<usize> = (0..all.len()).collect();
    dice.shuffle(&mut order);
    let drawn = &order[..count.min(order.len())];
    let mut index = 0;
    all.retain(|_| {
        index += 1;
        drawn.contains(&(index - 1))
    });
    all.extend(short_pages);
    all
}

async fn try_seed(seed: u64, postgres: Option<String>) -> Tried {
    let mut dice = fastrand::Rng::with_seed(seed);
    let connector = match env::var("HEADWATER_LIAR_CONNECTOR") {
        Ok(name) => CONNECTORS
            .into_iter()
            .find(|id| *id == name)
            .expect("a connector"),
        Err(_) => CONNECTORS[dice.usize(..CONNECTORS.len())],
    };
    let is_binary = seed.is_multiple_of(BINARY);
    let moves = dice.u8(..4) == 0;
    let lies = draw(connector, is_binary, moves, &mut dice);
    // A record that changes while its list is read again is two records of one key, and the receipt says so.
    let is_exact = !moves && lies.iter().all(|lie| lie.honesty() == Honesty::Exact);
    let honesty = if is_exact {
        Honesty::Exact
    } else {
        Honesty::MayFlag
    };
    let stage = Stage::start(connector, seed, moves, &mut dice, lies).await;
    let place = Place::new(postgres, is_binary, &stage);
    let calm = stage.truth().await;
    let streams: Vec<String> = calm.keys().cloned().collect();
    // A run asks for what there is, tries again, and asks the details of what was listed; each record can be a page.
    let records: u64 = calm.values().map(|stream| stream.len() as u64).sum();
    let max_requests = 15 * (stage.proxy.requests() + records) + 300;
    let mut verdict = Verdict::default();
    let mut runs: Vec<Run> = Vec::new();
    let (mut before, mut calm_runs) = (None, 0);
    while runs.len() < MAX_RUNS && calm_runs < 2 {
        if stage.moves && runs.len() < STIRRED {
            stage.stir(&mut dice);
        } else if runs.len() == STIRRED {
            stage.settle();
        }
        let asked = stage.proxy.requests();
        stage.proxy.allow(max_requests + 1);
        let run = place.run(&stage).await;
        let asked = stage.proxy.requests() - asked;
        if asked > max_requests {
            let text = format!(
                "run {}: {asked} requests, at most {max_requests}",
                runs.len()
            );
            verdict.faults.push(text);
        }
        if ![0, 3, 4, 5, 6, 8].contains(&run.code) {
            let text = format!(
                "run {}: exit {}: {} {:?}",
                runs.len(),
                run.code,
                run.said,
                run.receipt
            );
            verdict.faults.push(text);
        }
        let union = place.union(&streams);
        let is_same = before.as_ref().is_some_and(|before| same(before, &union));
        let is_stirred = stage.moves && runs.len() < STIRRED;
        let is_calm = run.code == 0 && is_same && !is_stirred;
        calm_runs = if is_calm { calm_runs + 1 } else { 0 };
        before = Some(union);
        runs.push(run);
    }
    if runs.len() <= STIRRED {
        stage.settle();
    }
    stage.proxy.allow(u64::MAX);
    let truth = stage.truth().await;
    let of_this_moment = stage.audit_events().await;
    let deleted = stage.deleted();
    let union = before.unwrap_or_default();
    let judged = judge(&runs, &union, &truth, &deleted, &of_this_moment, honesty);
    verdict.faults.extend(judged.faults);
    verdict.flagged = judged.flagged;
    Tried {
        seed,
        connector,
        described: format!(
            "{}{}{}",
            stage.described,
            if stage.moves { ", moving" } else { "" },
            if is_binary { ", binary" } else { "" }
        ),
        lies: stage.proxy.counts(),
        codes: runs.iter().map(|run| run.code).collect(),
        verdict,
        log: stage.proxy.log(),
    }
}

/// Whether a run brought nothing new, snapshots of the moment aside.
fn same(before: &stage::Union, after: &stage::Union) -> bool {
    before
        .iter()
        .filter(|(stream, _)| !stage::OF_THE_MOMENT.contains(&stream.as_str()))
        .all(|(stream, records)| after.get(stream) == Some(records))
}

/// Tries a seed on a thread and with a clock of its own. The clock is virtual, but for the shipped binary.
fn try_alone(seed: u64) -> Result<Tried, String> {
    let (done, tried) = mpsc::channel();
    let alone = thread::Builder::new().name(format!("seed {seed}"));
    let thread = alone.spawn(move || {
        let postgres = (seed % POSTGRES == 1)
            .then(|| Postgres::shared().map(|server| server.database()))
            .flatten();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let _ = done.send(runtime.block_on(try_seed(seed, postgres)));
    });
    let thread = thread.expect("a thread");
    match tried.recv_timeout(WATCHDOG) {
        Ok(tried) => {
            let _ = thread.join();
            Ok(tried)
        }
        Err(mpsc::RecvTimeoutError::Timeout) => Err(format!("seed {seed}: does not end")),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            let panic = thread.join().err();
            let said = panic.and_then(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            });
            Err(format!("seed {seed}: {}", said.unwrap_or_default()))
        }
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

#[test]
fn whatever_a_service_says_nothing_is_silently_missing() {
    let one = number("HEADWATER_LIAR_SEED");
    let count = one.map_or_else(|| number("HEADWATER_LIAR_SEEDS").unwrap_or(SEEDS), |_| 1);
    // Short enough to be typed.
    let first = one
        .or(number("HEADWATER_LIAR_FIRST"))
        .unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("seeds {first} to {}", first + count - 1);
    let begun = Instant::now();
    let next = AtomicU64::new(first);
    let (failed, flagged) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let faults: Mutex<Vec<String>> = Mutex::default();
    let told: Mutex<BTreeMap<&str, (u64, u64)>> = Mutex::default();
    thread::scope(|scope| {
        for _ in 0..WORKERS.min(usize::try_from(count).unwrap_or(WORKERS)) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let text = match try_alone(seed) {
                        Err(text) => text,
                        Ok(tried) => {
                            let mut told = told.lock().unwrap();
                            for (name, times) in &tried.lies {
                                let entry = told.entry(name).or_default();
                                entry.0 += 1;
                                entry.1 += times;
                            }
                            flagged.fetch_add(tried.verdict.flagged, Ordering::Relaxed);
                            if one.is_some() {
                                println!("{}", tried.log.join("\n"));
                                println!("{}", describe(&tried));
                            }
                            if tried.verdict.faults.is_empty() {
                                continue;
                            }
                            describe(&tried)
                        }
                    };
                    failed.fetch_add(1, Ordering::Relaxed);
                    println!("{text}");
                    faults.lock().unwrap().push(text);
                }
            });
        }
    });
    for (name, (seeds, times)) in told.into_inner().unwrap() {
        println!("{name}: in {seeds} seeds, told {times} times");
    }
    println!(
        "{count} seeds in {:.0} s; {} streams differed and said so",
        begun.elapsed().as_secs_f64(),
        flagged.into_inner()
    );
    let faults = faults.into_inner().unwrap();
    assert!(
        faults.is_empty(),
        "{} of {count} seeds failed; HEADWATER_LIAR_SEED=N tries one again:\n{}",
        faults.len(),
        faults[..faults.len().min(5)].join("\n")
    );
}

fn describe(tried: &Tried) -> String {
    format!(
        "seed {}: {} ({}), lies {:?}, exit codes {:?}\n  {}",
        tried.seed,
        tried.connector,
        tried.described,
        tried.lies,
        tried.codes,
        tried.verdict.faults.join("\n  ")
    )
}
