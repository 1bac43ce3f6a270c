//! The records that a window gave so far, by which a record that takes the place of another one shows.
//!
//! They are kept in this process only: a run that goes on where another was killed knows how many there were.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasher,
    sync::{Mutex, MutexGuard, PoisonError},
};

use foldhash::fast::RandomState;
use headwater_core::Timestamp;

use super::{WindowPage, step::Offset};
use crate::spelling::plain;

type Window = (Timestamp, Timestamp);
type Fingerprints = HashSet<u64, RandomState>;

/// Of all windows that are being read.
#[derive(Default)]
pub(super) struct WindowRecords {
    hasher: RandomState,
    windows: Mutex<HashMap<Window, ChainRecords>>,
}

/// Of one window, which is read whole or in chains.
#[derive(Default)]
struct ChainRecords {
    /// By its floor, each chain that is not done: the place that its records lead up to.
    chains: HashMap<u64, (Option<Offset>, Fingerprints)>,
    /// The chains that are done.
    done: Vec<FinishedChain>,
    /// Records that the window had when it was cut; none where a part of it was read by another process.
    expected: Option<u64>,
    /// Records that have left since.
    left: u64,
}

/// A chain that is done.
struct FinishedChain {
    prints: Fingerprints,
    /// It was read once, in a list that held still: each of its records stood in its place.
    is_single: bool,
}

impl ChainRecords {
    /// Records that are missing, as far as the total and the records themselves tell.
    fn short(&self) -> u64 {
        let union: HashSet<&u64, RandomState> =
            self.done.iter().flat_map(|chain| &chain.prints).collect();
        let expected = self.expected.unwrap_or(0).saturating_sub(self.left);
        let short = expected.saturating_sub(union.len() as u64);
        short.max(self.strangers())
    }

    /// Records of one chain that came in another one, too. In one of them they took the place of others.
    fn strangers(&self) -> u64 {
        let is_still = self.left == 0 && self.expected.is_some();
        let singles = self.done.iter().enumerate();
        let singles = singles.filter(|(_, chain)| is_still && chain.is_single);
        let strangers = singles.flat_map(|(index, chain)| {
            let others = move |print: &&u64| {
                let mut others = self.done.iter().enumerate();
                others.any(|(other, done)| other != index && done.prints.contains(print))
            };
            chain.prints.iter().filter(others)
        });
        strangers.collect::<HashSet<_>>().len() as u64
    }
}

impl WindowRecords {
    /// A window is read in these chains from now on.
    pub(super) fn begin(&self, window: Window, chains: &[Offset]) {
        let places = chains
            .iter()
            .map(|chain| (chain.floor, (Some(*chain), Fingerprints::default())));
        let met = ChainRecords {
            chains: places.collect(),
            expected: chains.first().map(|chain| chain.total),
            ..ChainRecords::default()
        };
        self.windows().insert(window, met);
    }

    /// The place to read on at: the same, unless the records that led up to a second reading are not known here, which
    /// begins anew then.
    pub(super) fn place(&self, window: Window, offset: Offset) -> Offset {
        let mut windows = self.windows();
        let met = windows.entry(window).or_default();
        let (at, prints) = met.chains.entry(offset.floor).or_default();
        if *at == Some(offset) {
            return offset;
        }
        // A page that was given and not kept comes again.
        prints.clear();
        if offset.read > 0 {
            met.expected = None;
        }
        let is_second = offset.is_overlapping || offset.round > 0;
        match is_second && offset.read > 0 {
            true => Offset {
                end: offset.begin(),
                read: 0,
                repeated: 0,
                up: 0,
                recount: false,
                ..offset
            },
            false => offset,
        }
    }

    /// Fingerprints of the records of a page.
    pub(super) fn prints(&self, page: &WindowPage) -> Vec<u64> {
        let prints = page
            .iter()
            .map(|record| self.hasher.hash_one(plain(record)));
        prints.collect()
    }

    /// How many different ones a chain has not met yet.
    pub(super) fn count_new(&self, window: Window, floor: u64, prints: &[u64]) -> u64 {
        let windows = self.windows();
        let met = windows
            .get(&window)
            .and_then(|met| Some(&met.chains.get(&floor)?.1));
        let new = prints
            .iter()
            .filter(|print| met.is_none_or(|met| !met.contains(print)));
        new.collect::<HashSet<_>>().len() as u64
    }

    /// Takes the records of a page of a chain in.
    pub(super) fn add(&self, window: Window, floor: u64, prints: Vec<u64>) {
        let mut windows = self.windows();
        let met = windows.entry(window).or_default();
        met.chains.entry(floor).or_default().1.extend(prints);
    }

    /// Adds the records that a window has beyond its total.
    pub(super) fn grow(&self, window: Window, by: u64) {
        if let Some(met) = self.windows().get_mut(&window) {
            met.expected = met.expected.map(|expected| expected.saturating_add(by));
        }
    }

    /// Notes where a chain goes on.
    pub(super) fn go_on(&self, window: Window, offset: &Offset) {
        let mut windows = self.windows();
        let met = windows.entry(window).or_default();
        met.chains.entry(offset.floor).or_default().0 = Some(*offset);
    }

    /// Notes that a chain goes on in another run, so that this one cannot count the window.
    pub(super) fn leave(&self, window: Window, floor: u64) {
        let mut windows = self.windows();
        if let Some(met) = windows.get_mut(&window) {
            met.expected = None;
            met.chains.remove(&floor);
            if met.chains.is_empty() {
                windows.remove(&window);
            }
        }
    }

    /// Notes that a chain is done. With the last one the window is: how many of its records came in none of them.
    pub(super) fn end(&self, window: Window, at: &Offset) -> u64 {
        let mut windows = self.windows();
        let Some(met) = windows.get_mut(&window) else {
            return 0;
        };
        if let Some((_, prints)) = met.chains.remove(&at.floor) {
            met.done.push(FinishedChain {
                prints,
                is_single: !at.is_overlapping && !at.is_restless && at.round == 0,
            });
        }
        met.left = met.left.max(at.left);
        if !met.chains.is_empty() {
            return 0;
        }
        let short = met.short();
        windows.remove(&window);
        short
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<Window, ChainRecords>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
