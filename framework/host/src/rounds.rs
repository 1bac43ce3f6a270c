//! The two rounds of a run: first the rest of an interrupted run, then newer records.
//!
//! A pass that an earlier run planned ends where that run began. So that its stream is not one interval late, a new
//! pass follows in the same run. The second round also reads the streams that the interrupted run had finished: a read
//! that is interrupted again and again advances the others first.

use std::sync::Arc;

use headwater_core::{AnyStream, Result, SignedDuration, Source, Timestamp};

use crate::{
    Delivery, RunOptions, State,
    check_quota::check_quota,
    receipt::{Ending, Event, StreamReceipt},
    runner::{Running, is_stopped, is_stream_scoped},
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

impl Running {
    /// Reads the records that are newer than the passes of the first round.
    pub(crate) async fn second_round(
        &mut self,
        source: &dyn Source,
        on_event: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Result<()> {
        let is_later = |run: &StreamRun| run.stage == Stage::Later;
        if !self.runs.iter().any(is_later) {
            return Ok(());
        }
        self.is_over |= *self.options.stop.borrow();
        for index in 0..self.runs.len() {
            if is_later(&self.runs[index]) {
                self.again(index, on_event);
            }
        }
        if self.is_over {
            return Ok(());
        }
        let checked = tokio::select! {
            biased;
            true = is_stopped(&mut self.options.stop) => Ok(()),
            checked = check_quota(source, &self.runs, on_event) => checked,
        };
        if let Err(error) = checked {
            // An exhausted allowance ends only the streams that would use it.
            for index in 0..self.runs.len() {
                let run = &self.runs[index];
                if run.stage == Stage::Ready && run.jobs().is_ok_and(|jobs| jobs > 0) {
                    self.runs[index].ending = Some(Ending::failed(&error));
                    self.end(index, Vec::new(), on_event);
                }
            }
        }
        self.all(on_event).await
    }

    /// Plans the new pass of a stream run, or ends it.
    fn again(&mut self, index: usize, on_event: &mut (dyn FnMut(Event<'_>) + Send)) {
        let run = &mut self.runs[index];
        run.is_read_on = false;
        let Some(writer) = self.writer.as_ref().filter(|_| !self.is_over) else {
            run.ending = Some(Ending::Stopped);
            return self.end(index, Vec::new(), on_event);
        };
        match run.next_pass(&writer.state) {
            Ok(next) => {
                *run = next;
                let receipt = &mut self.receipts[run.outputs[0].receipt];
                for (code, text) in std::mem::take(&mut run.notes) {
                    receipt.notes.insert(code.into(), (1, text));
                }
                for output in &mut run.outputs {
                    let receipt = &mut self.receipts[output.receipt];
                    output.read_before = receipt.read;
                    (receipt.total, receipt.estimate) = (None, None);
                }
            }
            Err(error) => {
                let error = error.during(format!("plan {}", run.name));
                run.ending = Some(Ending::failed(&error));
                self.end(index, Vec::new(), on_event);
                if !is_stream_scoped(error.kind()) {
                    self.stop();
                }
            }
        }
    }
}
