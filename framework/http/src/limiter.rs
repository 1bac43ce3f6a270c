//! Permits at a service: one queue per credential and origin in the process, since the service counts by credential;
//! and one budget for the retries.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::{BuildHasher, Hash, Hasher, RandomState},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use headwater_core::{BaseUrl, Error, Kind, Result, Secret, Status};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    limit::{Quota, RateLimit},
    pace::Pace,
    retry::RetryBudget,
};

/// The priority of a waiting request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// One of the few requests of a probe, while a person waits.
    Probe,
    /// One of many requests of a read.
    Read,
}

/// Limiters in use, by service, origin and fingerprint of the credential.
static LIMITERS: LazyLock<Mutex<HashMap<Key, Weak<Limiter>>>> = LazyLock::new(Mutex::default);
/// Makes fingerprints that are meaningless outside of this process.
static FINGERPRINTS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The maximum delay behind the even spacing that turns catch up. A longer one is idle time, which does not accumulate.
const CATCH_UP: Duration = Duration::from_millis(50);

type Key = (&'static str, String, u64);

/// A client's share in the limiter of its credential.
#[derive(Debug)]
pub(crate) struct SharedLimiter {
    limiter: Arc<Limiter>,
    service: &'static str,
    limit: Option<RateLimit>,
}

impl SharedLimiter {
    /// Joins the limiter of a credential and origin. Of several declared limits the strictest applies to all.
    pub(crate) fn join(
        service: &'static str,
        base: &BaseUrl,
        credential: &[Secret],
        limit: Option<RateLimit>,
    ) -> Self {
        let limiter = limiter_of((
            service,
            base.as_url().origin().ascii_serialization(),
            fingerprint(credential),
        ));
        limiter.turns().limits.extend(limit);
        Self {
            limiter,
            service,
            limit,
        }
    }

    /// Waits for a turn and returns the waiting time. Dropping the future returns the turn.
    pub(crate) async fn turn(&self, priority: Priority) -> Duration {
        let started = Instant::now();
        let slot = self.limiter.line_up(priority);
        loop {
            match slot.take() {
                PermitState::Taken => return started.elapsed(),
                // Notified earlier when a stricter limit ends.
                PermitState::At(time) => {
                    let _ = timeout_at(time, slot.called.notified()).await;
                }
                PermitState::BehindOthers => slot.called.notified().await,
            }
        }
    }

    /// Waits for the reset of a used-up count and returns the waiting time; an error with the delay if the reset is
    /// beyond the deadline.
    pub(crate) async fn until_open(&self, deadline: Instant) -> Result<Duration> {
        let started = Instant::now();
        let closed = self.limiter.turns().closed_until;
        let Some(until) = closed.filter(|until| *until > started) else {
            return Ok(Duration::ZERO);
        };
        if until > deadline {
            let service = self.service;
            let text = format!("{service} allows no more requests until its count resets");
            return Err(Error::new(Kind::RateLimited, text)
                .with_status(Status::Persistent)
                .retry_after(until - started));
        }
        sleep_until(until).await;
        Ok(started.elapsed())
    }

    /// Counts a served request: the pace may grow again.
    pub(crate) fn served(&self) {
        let mut turns = self.limiter.turns();
        let declared = turns.strictest().map(RateLimit::requests);
        if turns.pace.served(declared, SystemTime::now()) {
            turns.call_first();
        }
    }

    /// Counts the refusal of a request sent at a time: all clients of this limiter slow down.
    pub(crate) fn refused(&self, sent: Instant) {
        let mut turns = self.limiter.turns();
        let declared = turns.strictest().map(RateLimit::requests);
        turns.pace.refused(sent, Instant::now(), declared);
    }

    /// Returns the error for a used-up allowance, if the refusals so far permit no other conclusion.
    pub(crate) fn used_up(&self, quota: Quota) -> Option<Error> {
        let turns = self.limiter.turns();
        let (now, today) = (Instant::now(), SystemTime::now());
        turns.pace.used_up(self.service, quota, now, today)
    }

    /// Returns the common budget for retries.
    pub(crate) fn budget(&self) -> &RetryBudget {
        &self.limiter.budget
    }

    /// Closes the limiter for a time. A response with remaining requests does not reopen it: it was already on its way.
    pub(crate) fn close_for(&self, delay: Duration) {
        self.limiter.turns().closed_until = Some(Instant::now() + delay);
    }
}

impl Drop for SharedLimiter {
    fn drop(&mut self) {
        let mut turns = self.limiter.turns();
        let mine = turns.limits.iter().position(|one| Some(*one) == self.limit);
        if let Some(mine) = mine {
            turns.limits.swap_remove(mine);
            turns.call_first();
        }
    }
}

fn limiter_of(key: Key) -> Arc<Limiter> {
    let mut limiters = LIMITERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(limiter) = limiters.get(&key).and_then(Weak::upgrade) {
        return limiter;
    }
    limiters.retain(|_, limiter| limiter.strong_count() > 0);
    let limiter = Arc::new(Limiter {
        turns: Mutex::default(),
        budget: RetryBudget::full(),
    });
    limiters.insert(key, Arc::downgrade(&limiter));
    limiter
}

fn fingerprint(credential: &[Secret]) -> u64 {
    let mut hasher = FINGERPRINTS.build_hasher();
    for secret in credential {
        secret.expose().hash(&mut hasher);
    }
    hasher.finish()
}

/// The shared state of all clients with the same credential in the process.
#[derive(Debug)]
struct Limiter {
    turns: Mutex<Permits>,
    /// An outage affects all of them, so they share one budget for retries.
    budget: RetryBudget,
}

impl Limiter {
    fn turns(&self) -> MutexGuard<'_, Permits> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line_up(&self, priority: Priority) -> QueueSlot<'_> {
        let called = Arc::new(Notify::new());
        let mut turns = self.turns();
        turns.tickets += 1;
        let ticket = (priority, turns.tickets);
        turns.waiting.insert(ticket, Arc::clone(&called));
        QueueSlot {
            limiter: self,
            ticket,
            started: Instant::now(),
            called,
        }
    }
}

#[derive(Debug, Default)]
struct Permits {
    /// The declared limits of all clients.
    limits: Vec<RateLimit>,
    /// The due time of the last turn.
    due: Option<Instant>,
    /// The latest send times of the last requests, up to the highest limit per second.
    left: VecDeque<Instant>,
    closed_until: Option<Instant>,
    /// The pace after the service's refusals.
    pace: Pace,
    /// The waiting requests. Only the first has a timer; the others are notified.
    waiting: BTreeMap<Ticket, Arc<Notify>>,
    /// The number of issued tickets.
    tickets: u64,
}

/// Ordered by priority, then by arrival.
type Ticket = (Priority, u64);

impl Permits {
    /// Returns the time of the next turn; `None` for now.
    fn next(&self, priority: Priority) -> Option<Instant> {
        let even = self.due? + self.spacing(priority)?;
        let full = self
            .strictest()
            .and_then(|limit| self.left.len().checked_sub(limit.requests()));
        let first_of_full = full.map(|first| self.left[first] + RateLimit::window());
        Some(first_of_full.map_or(even, |first| first.max(even)))
    }

    /// Returns the time between two turns. A person waits for the few requests of a probe, so they keep only the
    /// declared limit.
    fn spacing(&self, priority: Priority) -> Option<Duration> {
        let slowed = match priority {
            Priority::Probe => None,
            Priority::Read => self.pace.spacing(),
        };
        self.strictest().map(RateLimit::spacing).max(slowed)
    }

    fn strictest(&self) -> Option<RateLimit> {
        let by_requests = |limit: &&RateLimit| limit.requests();
        self.limits.iter().min_by_key(by_requests).copied()
    }

    /// Takes a turn, with the start of its wait.
    fn take(&mut self, priority: Priority, started: Instant, now: Instant) {
        let Some(spacing) = self.spacing(priority) else {
            return;
        };
        // A busy process takes its turn late, and its request leaves late by the same time again.
        let due = self
            .next(priority)
            .map_or(started, |next| next.max(started));
        let late = now.saturating_duration_since(due);
        self.left.push_back(now + late.min(CATCH_UP));
        let max = self.limits.iter().map(|limit| limit.requests()).max();
        while self.left.len() > max.unwrap_or_default() {
            self.left.pop_front();
        }
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        let even = self.due.map_or(now, |due| due + spacing);
        self.due = Some(even.clamp(earliest, now));
    }

    fn is_first(&self, ticket: Ticket) -> bool {
        let first = self.waiting.first_key_value();
        first.is_some_and(|(first, _)| *first == ticket)
    }

    fn call_first(&self) {
        if let Some((_, called)) = self.waiting.first_key_value() {
            called.notify_one();
        }
    }
}

/// A slot in the queue, released on drop.
struct QueueSlot<'l> {
    limiter: &'l Limiter,
    ticket: Ticket,
    started: Instant,
    called: Arc<Notify>,
}

enum PermitState {
    Taken,
    /// Not before this time.
    At(Instant),
    BehindOthers,
}

impl QueueSlot<'_> {
    fn take(&self) -> PermitState {
        let mut turns = self.limiter.turns();
        if !turns.is_first(self.ticket) {
            return PermitState::BehindOthers;
        }
        let now = Instant::now();
        let (priority, _) = self.ticket;
        let next = turns.next(priority).unwrap_or(now);
        if next > now {
            return PermitState::At(next);
        }
        turns.take(priority, self.started, now);
        PermitState::Taken
    }
}

impl Drop for QueueSlot<'_> {
    fn drop(&mut self) {
        let mut turns = self.limiter.turns();
        let was_first = turns.is_first(self.ticket);
        turns.waiting.remove(&self.ticket);
        if was_first {
            turns.call_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

    use super::*;

    /// An origin of its own for each test: they run at the same time, each on a clock of its own.
    fn origin() -> BaseUrl {
        static LAST: AtomicU16 = AtomicU16::new(0);
        let number = LAST.fetch_add(1, Relaxed);
        BaseUrl::parse(&format!("https://limiter-{number}.test/v1")).unwrap()
    }

    fn share(base: &BaseUrl, secret: &str, per_second: u32) -> Arc<SharedLimiter> {
        let limit = Some(RateLimit::per_second(per_second));
        Arc::new(SharedLimiter::join(
            "Sample",
            base,
            &[Secret::new(secret)],
            limit,
        ))
    }

    /// Returns the milliseconds for a number of turns.
    async fn time_of(turns: usize, share: &SharedLimiter) -> u128 {
        let start = Instant::now();
        for _ in 0..turns {
            share.turn(Priority::Read).await;
        }
        start.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn eleven_requests_never_fit_into_one_second() {
        let limit = share(&origin(), "a", 10);
        let mut sent = Vec::new();
        for _ in 0..50 {
            limit.turn(Priority::Read).await;
            sent.push(Instant::now());
        }
        let closest = sent
            .windows(11)
            .map(|eleven| eleven[10] - eleven[0])
            .min()
            .unwrap();
        assert!(closest > Duration::from_millis(1005), "{closest:?}");
        let total = sent[49] - sent[0];
        assert!(total < Duration::from_millis(4900 * 103 / 100), "{total:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_limit_does_not_save_up_a_burst() {
        let limit = share(&origin(), "a", 10);
        limit.turn(Priority::Read).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(time_of(11, &limit).await > 1000);
    }

    #[test]
    fn what_comes_late_to_its_turn_is_caught_up_but_never_eleven_in_a_second() {
        // The first turn is late with this one.
        for seed in [16_201_385_088_268_320_471, fastrand::u64(..)] {
            println!("seed {seed}");
            turns_that_are_late(seed);
        }
    }

    fn turns_that_are_late(seed: u64) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut turns = Permits {
            limits: vec![RateLimit::per_second(10)],
            ..Permits::default()
        };
        let start = Instant::now();
        let (mut now, mut left) = (start, Vec::new());
        for _ in 0..600 {
            // One in ten is late by up to 40 ms, and its request leaves late by the same time again.
            let late = match rng.u8(..10) {
                0 => Duration::from_millis(rng.u64(..40)),
                _ => Duration::ZERO,
            };
            let started = now;
            now = turns.next(Priority::Read).unwrap_or(now).max(now) + late;
            turns.take(Priority::Read, started, now);
            left.push(now + late);
        }
        let eleven = left.windows(11).map(|eleven| eleven[10] - eleven[0]);
        let closest = eleven.min().unwrap();
        assert!(closest > Duration::from_secs(1), "{closest:?}");
        let took = now - start;
        assert!(took < Duration::from_secs(60).mul_f64(1.03), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_wait_gives_its_turn_back() {
        let limit = share(&origin(), "a", 1);
        limit.turn(Priority::Read).await;
        let start = Instant::now();
        let first = tokio::time::timeout(Duration::from_millis(10), limit.turn(Priority::Read));
        // Behind the one that gives up, and then first without an earlier first place.
        let (gave_up, waited) = tokio::join!(first, limit.turn(Priority::Read));
        assert!(gave_up.is_err());
        assert!(waited < Duration::from_millis(1100), "{waited:?}");
        assert!(start.elapsed() < Duration::from_millis(1100));
    }

    #[tokio::test(start_paused = true)]
    async fn one_credential_has_one_limit_whoever_uses_it() {
        let base = origin();
        let other_path = BaseUrl::parse(&format!("{}/other", base.as_url())).unwrap();
        let (one, two) = (share(&base, "a", 10), share(&other_path, "a", 10));
        let (a, b) = tokio::join!(time_of(10, &one), time_of(10, &two));
        assert!(a.max(b) > 1900, "twenty turns in {a} and {b} ms");
    }

    #[tokio::test(start_paused = true)]
    async fn other_credentials_origins_and_services_have_limits_of_their_own() {
        let base = origin();
        let one = share(&base, "a", 10);
        let limit = Some(RateLimit::per_second(10));
        let secret = || [Secret::new("a")];
        let others = [
            SharedLimiter::join("Sample", &base, &[Secret::new("b")], limit),
            SharedLimiter::join("Sample", &base, &[Secret::new(""), Secret::new("a")], limit),
            SharedLimiter::join("Sample", &origin(), &secret(), limit),
            SharedLimiter::join("Example", &base, &secret(), limit),
        ];
        for other in others {
            let (a, b) = tokio::join!(time_of(10, &one), time_of(10, &other));
            assert!(a.max(b) < 1100, "each its ten turns in {a} and {b} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_strictest_limit_holds_while_it_lives() {
        let base = origin();
        let fast = share(&base, "a", 10);
        assert!(time_of(11, &fast).await < 1100);
        let slow = share(&base, "a", 1);
        assert!(time_of(3, &fast).await > 2900);
        // A waiting request is notified as soon as the strict limit ends.
        let waiting = Arc::clone(&fast);
        let waiting = tokio::spawn(async move { waiting.turn(Priority::Read).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(slow);
        let waited = waiting.await.unwrap();
        assert!(waited < Duration::from_millis(310), "{waited:?}");
        assert!(time_of(10, &fast).await < 1100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_goes_before_reads_and_each_of_them_in_its_order() {
        let limit = share(&origin(), "a", 10);
        limit.turn(Priority::Read).await;
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut all = tokio::task::JoinSet::new();
        let names = ["read 1", "read 2", "read 3", "probe 1", "probe 2"];
        for name in names {
            let (limit, order) = (Arc::clone(&limit), Arc::clone(&order));
            all.spawn(async move {
                let is_probe = name.starts_with("probe");
                let priority = if is_probe {
                    Priority::Probe
                } else {
                    Priority::Read
                };
                limit.turn(priority).await;
                order.lock().unwrap().push(name);
            });
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        all.join_all().await;
        let order = order.lock().unwrap();
        assert_eq!(*order, ["probe 1", "probe 2", "read 1", "read 2", "read 3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever_however_many_come_and_go() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let limit = share(&origin(), "a", 100);
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..500 {
            let limit = Arc::clone(&limit);
            let priority = if rng.u32(..10) == 0 {
                Priority::Probe
            } else {
                Priority::Read
            };
            let (start, patience) = (rng.u64(..5_000), rng.u64(1..3_000));
            all.spawn(async move {
                tokio::time::sleep(Duration::from_millis(start)).await;
                let patience = Duration::from_millis(patience);
                tokio::time::timeout(patience, limit.turn(priority))
                    .await
                    .is_ok()
            });
        }
        let served = all.join_all().await.into_iter().filter(|served| *served);
        assert!(served.count() > 300);
        assert!(limit.limiter.turns().waiting.is_empty());
        assert!(time_of(1, &limit).await < 20, "the queue continues");
    }

    #[test]
    fn a_limiter_is_forgotten_with_the_last_who_uses_it() {
        let base = origin();
        let key = |share: &SharedLimiter| {
            let origin = base.as_url().origin().ascii_serialization();
            (share.service, origin, fingerprint(&[Secret::new("a")]))
        };
        let one = share(&base, "a", 10);
        let key = key(&one);
        let two = share(&base, "a", 10);
        assert!(Arc::ptr_eq(&one.limiter, &two.limiter));
        drop((one, two));
        let _another = share(&origin(), "a", 10);
        assert!(!LIMITERS.lock().unwrap().contains_key(&key));
    }

    #[test]
    fn no_secret_is_kept() {
        let share = share(&origin(), "canary-7f3a", 10);
        let registry = format!("{:?} {share:?}", LIMITERS.lock().unwrap());
        assert!(!registry.contains("canary"), "{registry}");
    }
}
