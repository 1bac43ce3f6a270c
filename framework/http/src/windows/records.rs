//! The records of a window so far. They reveal a record that replaced another one.
//!
//! They exist in this process only: a run that resumes a killed one knows only their number.

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

/// The records of all windows in progress.
#[derive(Default)]
pub(super) struct WindowRecords {
    hasher: RandomState,
    windows: Mutex<HashMap<Window, ChainRecords>>,
}

/// The records of one window, which is read whole or in chains.
#[derive(Default)]
struct ChainRecords {
    /// The unfinished chains by floor: the position after their records, and the records.
    chains: HashMap<u64, (Option<Offset>, Fingerprints)>,
    /// The finished chains.
    done: Vec<FinishedChain>,
    /// The number of records when the window was cut; `None` if another process read a part of it.
    expected: Option<u64>,
    /// The number of records that left since.
    left: u64,
}

/// A finished chain.
struct FinishedChain {
    prints: Fingerprints,
    /// Whether it was read once in an unchanged list, so that each record had its own offset.
    is_single: bool,
}

impl ChainRecords {
    /// Returns the number of missing records, by the total and by the records themselves.
    fn short(&self) -> u64 {
        let all: usize = self.done.iter().map(|chain| chain.prints.len()).sum();
        let mut union = HashMap::with_capacity_and_hasher(all, RandomState::default());
        for chain in &self.done {
            for print in &chain.prints {
                let chains: &mut Deliveries = union.entry(*print).or_default();
                chains.count += 1;
                chains.has_single |= chain.is_single;
            }
        }
        let expected = self.expected.unwrap_or(0).saturating_sub(self.left);
        let short = expected.saturating_sub(union.len() as u64);
        // In one of several chains a record replaced another one.
        let is_still = self.left == 0 && self.expected.is_some();
        let is_stranger = |chains: &&Deliveries| is_still && chains.has_single && chains.count > 1;
        short.max(union.values().filter(is_stranger).count() as u64)
    }
}

/// The chains that delivered one record.
#[derive(Default)]
struct Deliveries {
    count: u32,
    has_single: bool,
}

impl WindowRecords {
    /// Starts to read a window in these chains.
    pub(super) fn begin(&self, window: Window, chains: &[Offset]) {
        let unfinished = chains
            .iter()
            .map(|chain| (chain.floor, (Some(*chain), Fingerprints::default())));
        let seen = ChainRecords {
            chains: unfinished.collect(),
            expected: chains.first().map(|chain| chain.total),
            ..ChainRecords::default()
        };
        self.windows().insert(window, seen);
    }

    /// Returns the position to continue at: the same one, unless this process lacks the records before it in a second
    /// reading, which then restarts.
    pub(super) fn position(&self, window: Window, offset: Offset) -> Offset {
        let mut windows = self.windows();
        let seen = windows.entry(window).or_default();
        let (at, prints) = seen.chains.entry(offset.floor).or_default();
        if *at == Some(offset) {
            return offset;
        }
        // A page that was delivered but not committed comes again.
        prints.clear();
        if offset.read > 0 {
            seen.expected = None;
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

    /// Returns the fingerprints of the records of a page.
    pub(super) fn prints(&self, page: &WindowPage) -> Vec<u64> {
        let prints = page
            .iter()
            .map(|record| self.hasher.hash_one(plain(record)));
        prints.collect()
    }

    /// Returns the number of distinct records that are new to a chain.
    pub(super) fn count_new(&self, window: Window, floor: u64, prints: &[u64]) -> u64 {
        let windows = self.windows();
        let seen = windows
            .get(&window)
            .and_then(|seen| Some(&seen.chains.get(&floor)?.1));
        let new = prints
            .iter()
            .filter(|print| seen.is_none_or(|seen| !seen.contains(print)));
        new.collect::<HashSet<_, RandomState>>().len() as u64
    }

    /// Adds the records of a page to a chain.
    pub(super) fn add(&self, window: Window, floor: u64, prints: Vec<u64>) {
        let mut windows = self.windows();
        let seen = windows.entry(window).or_default();
        seen.chains.entry(floor).or_default().1.extend(prints);
    }

    /// Adds records beyond the total of a window.
    pub(super) fn grow(&self, window: Window, by: u64) {
        if let Some(seen) = self.windows().get_mut(&window) {
            seen.expected = seen.expected.map(|expected| expected.saturating_add(by));
        }
    }

    /// Records where a chain continues.
    pub(super) fn continue_at(&self, window: Window, offset: &Offset) {
        let mut windows = self.windows();
        let seen = windows.entry(window).or_default();
        seen.chains.entry(offset.floor).or_default().0 = Some(*offset);
    }

    /// Records that a chain continues in another run, so that this run cannot count the window.
    pub(super) fn leave(&self, window: Window, floor: u64) {
        let mut windows = self.windows();
        if let Some(seen) = windows.get_mut(&window) {
            seen.expected = None;
            seen.chains.remove(&floor);
            if seen.chains.is_empty() {
                windows.remove(&window);
            }
        }
    }

    /// Finishes a chain. Returns the number of missing records of the window after its last chain.
    pub(super) fn end(&self, window: Window, at: &Offset) -> u64 {
        let mut windows = self.windows();
        let Some(seen) = windows.get_mut(&window) else {
            return 0;
        };
        if let Some((_, prints)) = seen.chains.remove(&at.floor) {
            seen.done.push(FinishedChain {
                prints,
                is_single: !at.is_overlapping && !at.is_restless && at.round == 0,
            });
        }
        seen.left = seen.left.max(at.left);
        if !seen.chains.is_empty() {
            return 0;
        }
        let short = seen.short();
        windows.remove(&window);
        short
    }

    fn windows(&self) -> MutexGuard<'_, HashMap<Window, ChainRecords>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
