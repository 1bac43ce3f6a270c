//! What a host does with a source: fetch pages, hand their records to a sink, remember how far both got.
//!
//! The order is fixed and is the promise: records are written, the sink makes them durable, then the [`State`] is
//! replaced in one step. A crash at any moment leaves a state that is never ahead of the sink, so a later run reads
//! something again rather than losing it. A folder of JSON lines is cut back to what the state vouches for before
//! it grows again, so there nothing is repeated either.

#![warn(clippy::missing_errors_doc)]

mod check_quota;
mod clock;
mod counts;
pub mod drift;
mod explain;
mod groups;
mod guarantee;
mod identity;
mod log;
mod options;
mod pass;
mod plan;
mod receipt;
mod redact;
pub mod references;
mod rounds;
mod runner;
mod state;
mod stream_run;
pub mod summaries;
mod wait_streak;
mod writer;

pub use explain::{Explanation, StreamDifference, StreamStatus};
pub use guarantee::{Guarantee, Level};
pub use headwater_core::sink::{Deletes, Delivery, Sink, SinkState, UnseenRows, WriteCounts};
pub use options::{DriftOptions, RunOptions};
pub use plan::{Plan, PlannedPartition, StreamPlan, plan};
pub use receipt::{Ending, Event, EventRecord, Flag, Outcome, PassRange, Receipt, StreamReceipt};
pub use redact::{Action, RedactedField, Redaction, RedactionReport, Redactor};
pub use runner::run;
pub use state::State;
