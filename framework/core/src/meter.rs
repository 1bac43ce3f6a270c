//! Counts requests and waits: those of a client, and those of one future apart from others.

use std::{
    cell::RefCell,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use crate::waits::Waits;

/// Counters of a client's requests and waits, readable while it works.
#[derive(Debug, Default)]
pub struct Meter {
    requests: AtomicU64,
    retries: AtomicU64,
    limit_wait_micros: AtomicU64,
    backoff_wait_micros: AtomicU64,
    limit_waits: Waits,
    backoff_waits: Waits,
}

impl Meter {
    /// Counts one sent request; `is_retry` when it repeats an earlier one.
    pub fn count_request(&self, is_retry: bool) {
        let count = |meter: &Self| {
            meter.requests.fetch_add(1, Relaxed);
            meter.retries.fetch_add(u64::from(is_retry), Relaxed);
        };
        count(self);
        record_for_current_stream(self, count);
    }

    /// Adds time spent waiting for the service's documented limit, until this moment.
    pub fn count_limit_wait(&self, waited: Duration, until: Instant) {
        if waited.is_zero() {
            return;
        }
        let count = |meter: &Self| {
            meter.limit_wait_micros.fetch_add(micros(waited), Relaxed);
            if let Some(from) = until.checked_sub(waited) {
                meter.limit_waits.add(from, until);
            }
        };
        count(self);
        record_for_current_stream(self, count);
    }

    /// Adds time spent waiting before a retry, from this moment on.
    pub fn count_backoff_wait(&self, waits: Duration, from: Instant) {
        let count = |meter: &Self| {
            meter.backoff_wait_micros.fetch_add(micros(waits), Relaxed);
            if let Some(until) = from.checked_add(waits) {
                meter.backoff_waits.add(from, until);
            }
        };
        count(self);
        record_for_current_stream(self, count);
    }

    /// Returns the number of requests sent, retries included.
    pub fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Returns the number of retries.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Returns the time waited for the service's documented limit, summed over concurrent requests.
    pub fn limit_wait(&self) -> Duration {
        Duration::from_micros(self.limit_wait_micros.load(Relaxed))
    }

    /// Returns the time waited before retries, summed over concurrent requests.
    pub fn backoff_wait(&self) -> Duration {
        Duration::from_micros(self.backoff_wait_micros.load(Relaxed))
    }

    /// Returns the time during which at least one request waited for the service's documented limit.
    pub fn limit_pause(&self) -> Duration {
        self.limit_waits.total()
    }

    /// Returns the time during which at least one request waited before a retry.
    pub fn backoff_pause(&self) -> Duration {
        self.backoff_waits.total()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

thread_local! {
    /// The meter of the future that is being polled on this thread.
    static CURRENT: RefCell<Option<Arc<Meter>>> = const { RefCell::new(None) };
}

/// A future whose requests and waits are also counted in a meter of its own.
///
/// Streams of one source share a client and its meter; this separates the figures of streams read at once.
pub struct CountedFuture<F> {
    future: Pin<Box<F>>,
    meter: Arc<Meter>,
}

impl<F> std::fmt::Debug for CountedFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CountedFuture")
            .field("meter", &self.meter)
            .finish_non_exhaustive()
    }
}

impl<F: Future> CountedFuture<F> {
    /// Counts the requests and waits of `future` in `meter` as well.
    pub fn new(future: F, meter: Arc<Meter>) -> Self {
        Self {
            future: Box::pin(future),
            meter,
        }
    }
}

impl<F: Future> Future for CountedFuture<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let outer = CURRENT.replace(Some(Arc::clone(&self.meter)));
        let _restore = Restore(outer);
        self.future.as_mut().poll(context)
    }
}

/// Puts the outer meter back, however polling ends.
struct Restore(Option<Arc<Meter>>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

/// Counts in the current future's meter, unless `counting` is that meter.
fn record_for_current_stream(counting: &Meter, count: impl FnOnce(&Meter)) {
    CURRENT.with_borrow(|current| {
        if let Some(meter) = current
            .as_deref()
            .filter(|meter| !std::ptr::eq(*meter, counting))
        {
            count(meter);
        }
    });
}
