//! Counts the requests and waits of one future apart from those of others.

use std::{
    cell::RefCell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use crate::transport::Meter;

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
pub(crate) fn record_for_current_stream(counting: &Meter, count: impl FnOnce(&Meter)) {
    CURRENT.with_borrow(|current| {
        if let Some(meter) = current
            .as_deref()
            .filter(|meter| !std::ptr::eq(*meter, counting))
        {
            count(meter);
        }
    });
}
