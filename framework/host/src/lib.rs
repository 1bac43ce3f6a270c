//! What a host does with a source: fetch pages, hand their records to a sink, remember how far both got.
//!
//! The order is fixed and is the promise: records are written, the sink makes them durable, then the [`State`] is
//! replaced in one step. A crash at any moment leaves a state that is never ahead of the sink, so a later run reads
//! something again rather than losing it. A folder of JSON lines is cut back to what the state vouches for before
//! it grows again, so there nothing is repeated either.

mod busy;
pub mod canonical;
mod check_quota;
mod clock;
pub mod create;
pub mod drift;
mod explain;
pub mod fields;
pub mod files;
mod groups;
mod guarantee;
mod identity;
mod json;
mod jsonl;
mod line_key;
mod locked;
mod log;
mod lost;
mod options;
mod outputs;
mod pass;
mod plan;
mod receipt;
mod redact;
pub mod references;
mod replace;
mod rounds;
mod runner;
mod state;
mod stream_run;
mod wait_streak;
mod writer;

pub use busy::busy;
pub use explain::{Explanation, StreamDifference, StreamStatus};
pub use guarantee::{Guarantee, Level};
pub use jsonl::{JsonLinesFolder, JsonLinesWriter};
pub use locked::Locked;
pub use lost::lost;
pub use options::{DriftOptions, RunOptions};
pub use plan::{Plan, PlannedPartition, StreamPlan, plan};
pub use receipt::{Ending, Event, Flag, Outcome, PassRange, Receipt, StreamReceipt};
pub use redact::{Action, RedactedField, Redaction, RedactionReport, Redactor};
pub use replace::replace_file;
pub use runner::run;
pub use state::State;

use std::time::Duration;

use headwater_core::{Result, StreamSpec};

/// Where records go.
///
/// A run calls [`load`](Sink::load), then [`restore`](Sink::restore), then [`write`](Sink::write) and
/// [`commit`](Sink::commit) as often as it takes, all from one thread. What was written and not committed is gone, or
/// is cut away, when the next run begins.
pub trait Sink: Send {
    /// What an interrupted run leaves here.
    fn delivery(&self) -> Delivery;

    /// The longest time between two commits, unless a run wants them more often. Sinks that make a file of each commit
    /// want few of them.
    fn commit_every(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// The state that is kept in the place, as JSON, for those who only want to look. None where there is none, or where
    /// it is kept elsewhere. Changes nothing and waits for nobody.
    fn peek(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// Gets hold of the place, and gives the state that is kept in it, an empty one the first time. None where the
    /// state is kept elsewhere. From here on, no other run commits to the same place for the same connection.
    fn load(&mut self, _connector: &str) -> Result<Option<State>> {
        Ok(None)
    }

    /// Prepares for the first write: goes back to where the state says that this sink was. Refuses what cannot be
    /// written to, without changing anything.
    fn restore(&mut self, streams: &[StreamSpec], state: &State) -> Result<()>;

    /// Takes one page of records; they may stay in a buffer until [`Sink::commit`].
    fn write(
        &mut self,
        stream: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<WriteCounts>;

    /// A pass of a stream begins, or goes on after an interruption with the same mark; the marks of one stream grow. What
    /// is written from here on was seen by this pass.
    fn begin_pass(&mut self, _stream: &str, _mark: u64) -> Result<()> {
        Ok(())
    }

    /// A pass is over that read every record which the service has: deals with the rows that it did not see, and counts
    /// them. None where the sink cannot tell.
    fn end_pass(&mut self, _stream: &str) -> Result<Option<UnseenRows>> {
        Ok(None)
    }

    /// Makes everything written so far durable. A sink that keeps the state stores it in the same step; the others note
    /// in it what a resumed run needs to know.
    fn commit(&mut self, state: &mut State) -> Result<()>;
}

/// What an interrupted run leaves in a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Records and position are committed in one step: nothing is lost and nothing comes twice.
    Together,
    /// The position is kept after the records: nothing is lost, and what lies between may come twice.
    RecordsFirst,
}

/// What became of the records of one page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteCounts {
    /// Stored as new rows or lines.
    pub records: u64,
    /// Known by their key already: they replaced what was there, or were the same.
    pub deduplicated: u64,
    /// Stored, but with a value that did not fit its column's type and stands in the overflow column.
    pub overflowed: u64,
    /// Records that differ from another one of the same pass and the same key. Where both are kept, they count among
    /// `records`, too.
    pub collisions: u64,
    /// How many of these have replaced the other one, since the table was made before two could be kept.
    pub merged: u64,
}

/// Rows that a complete pass did not see, since their records were deleted at the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct UnseenRows {
    /// How many. With [`Deletes::Mark`], those that were not marked before.
    pub rows: u64,
    /// What became of them.
    pub deletes: Deletes,
}

/// What becomes of rows whose records were deleted at the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Deletes {
    /// They stay as they are.
    #[default]
    Keep,
    /// They stay, and say since when they are known to be deleted.
    Mark,
    /// They are removed.
    Remove,
}
