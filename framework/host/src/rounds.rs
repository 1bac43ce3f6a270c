//! The two rounds of a run: first the rest of an interrupted run, then newer records.
//!
//! A pass that an earlier run planned ends where that run began. So that its stream is not one interval late, a new
//! pass follows in the same run. The second round also reads the streams that the interrupted run had finished: a read
//! that is interrupted again and again advances the others first.

use std::sync::Arc;

use headwater_core::{AnyStream, Result, SignedDuration, Timestamp};

use crate::{
    Delivery, RunOptions, State,
    receipt::{Ending, StreamReceipt},
    stream_run::{Stage, StreamRun, outputs},
};

/// A list or an export of changes that an interrupted run began within this time is not read again.
const RECENT: SignedDuration = SignedDuration::from_mins(5);
/// The same for a full export: each order uses up one of the month's jobs.
const RECENT_EXPORT: SignedDuration = SignedDuration::from_hours(1);

/// Assigns streams to the rounds of a run.
pub(crate) struct Rounds<'a> {
    state: &'a State,
    /// Whether the run resumes an interrupted one, which had finished the other streams. A run over all streams does so
    /// even where all of them were finished and only the end was missing.
    resumes: bool,
    is_only: bool,
    delivery: Delivery,
    now: Timestamp,
}

impl<'a> Rounds<'a> {
    pub(crate) fn new(
        state: &'a State,
        streams: &[Arc<dyn AnyStream>],
        wanted: &[String],
        options: &RunOptions,
        delivery: Delivery,
    ) -> Self {
        let is_open = |stream: &Arc<dyn AnyStream>| {
            outputs(&**stream, wanted).any(|output| !state.is_finished(output.name))
        };
        Self {
            state,
            resumes: wanted.is_empty() || streams.iter().any(is_open),
            is_only: options.only.is_some(),
            delivery,
            now: Timestamp::now(),
        }
    }

    /// Decides when to read a stream: in the first round, in both, in the second, or not at all.
    pub(crate) fn assign(&self, run: &mut StreamRun, receipts: &mut [StreamReceipt]) -> Result<()> {
        if self.is_only {
            return Ok(());
        }
        if run.is_resumed {
            run.is_read_on = self.is_due(run)?;
        } else if run.is_finished && (self.resumes || run.orders()?) {
            run.stage = Stage::Later;
            if !self.is_due(run)? {
                run.stage = Stage::Ended;
                for output in &run.outputs {
                    receipts[output.receipt].ending = Ending::ReadBefore;
                }
            }
        }
        Ok(())
    }

    /// Whether to read a new pass after one that an interrupted run began. Changes are always read, except that no
    /// export is ordered for a few minutes. A full list is read again where its copies replace each other, or once it
    /// is old, and a full export once it is older still.
    fn is_due(&self, run: &StreamRun) -> Result<bool> {
        let has_jobs = run.orders()?;
        let is_incremental = run.stream.spec().incremental;
        if is_incremental && !has_jobs {
            return Ok(true);
        }
        let began = self.state.began(run.name);
        let is_within = |limit| began.is_some_and(|began| self.now.duration_since(began) < limit);
        let is_recent = is_within(RECENT);
        Ok(match (is_incremental, has_jobs) {
            (_, false) => self.delivery == Delivery::Together || !is_recent,
            (true, true) => !is_recent,
            (false, true) => !is_within(RECENT_EXPORT),
        })
    }
}
