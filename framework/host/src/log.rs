//! Events of a run in the log, where a program has subscribed to `tracing`. They hold names and counts, never a value.

use tracing::{debug, info, warn};

use crate::receipt::Event;

/// Logs an event of a run.
pub(crate) fn event(event: &Event<'_>) {
    match event {
        Event::Jobs { jobs, .. } => info!(jobs, "orders export jobs"),
        Event::Started { stream, resumed } => info!(stream, resumed, "stream begins"),
        Event::Progress(receipt) => debug!(
            stream = receipt.stream,
            pages = receipt.pages,
            records = receipt.records,
            bytes = receipt.bytes,
            "page"
        ),
        Event::Waiting { stream, reason } => debug!(stream, reason, "waits"),
        Event::Committed => debug!("commit"),
        Event::Drift { stream, event } => warn!(stream, %event, "records differ from their schema"),
        Event::Ended(receipt) => info!(
            stream = receipt.stream,
            pages = receipt.pages,
            records = receipt.records,
            requests = receipt.requests,
            retries = receipt.retries,
            "stream ends"
        ),
    }
}
