//! The two rounds of a run: first what an interrupted run left, then what is newer.
//!
//! A pass that an earlier run planned ends where that run began. So that its stream is not one interval late, a new pass
//! follows in the same run. The streams that the interrupted run had finished are read in the second round, too: a read
//! that is interrupted again and again gets on with the others first.

use std::sync::Arc;

use headwater_core::{AnyStream, Result, SignedDuration, Source, Timestamp};

use crate::{
    Delivery, RunOptions, State,
    check_quota::check_quota,
    receipt::{Ending, Event, StreamReceipt},
    runner::{Running, is_stopped, is_stream_scoped},
    stream_run::{Stage, StreamRun, outlets},
};

/// A list that an interrupted run began so recently is not read again in full, nor an export of changes ordered again.
const RECENT: SignedDuration = SignedDuration::from_mins(5);
/// The same of an export that gives everything: it takes a job of the month for each order.
const RECENT_EXPORT: SignedDuration = SignedDuration::from_hours(1);

/// Which streams a run reads when.
pub(crate) struct Rounds<'a> {
    state: &'a State,
    /// Whether the run goes on with one that was interrupted: the others of its streams were finished by that. A run over all
    /// streams does so even where all of them were finished and only the end was missing.
    goes_on: bool,
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
            outlets(&**stream, wanted).any(|outlet| !state.is_finished(outlet.name))
        };
        Self {
            state,
            goes_on: wanted.is_empty() || streams.iter().any(is_open),
            is_only: options.only.is_some(),
            delivery,
            now: Timestamp::now(),
        }
    }

    /// Says when a lane is read: at once, at once and once more, in the second round, or not at all.
    pub(crate) fn place(&self, lane: &mut StreamRun, receipts: &mut [StreamReceipt]) -> Result<()> {
        if self.is_only {
            return Ok(());
        }
        if lane.is_resumed {
            lane.is_read_on = self.is_due(lane)?;
        } else if lane.is_finished && (self.goes_on || lane.orders()?) {
            lane.stage = Stage::Later;
            if !self.is_due(lane)? {
                lane.stage = Stage::Ended;
                for outlet in &lane.outlets {
                    receipts[outlet.receipt].ending = Ending::ReadBefore;
                }
            }
        }
        Ok(())
    }

    /// Whether a new pass is worth it after one that an interrupted run began. What changed is always read, except that an
    /// export of a few minutes is not ordered. A whole list is read again where its copies replace each other, or where
    /// it is old by now, and an export that gives everything where it is older still.
    fn is_due(&self, lane: &StreamRun) -> Result<bool> {
        let has_jobs = lane.orders()?;
        let is_incremental = lane.stream.spec().incremental;
        if is_incremental && !has_jobs {
            return Ok(true);
        }
        let began = self.state.began(lane.name);
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
    /// Reads what is newer than the passes that the first round has ended.
    pub(crate) async fn second_round(
        &mut self,
        source: &dyn Source,
        on_event: &mut (dyn FnMut(Event<'_>) + Send),
    ) -> Result<()> {
        let is_later = |lane: &StreamRun| lane.stage == Stage::Later;
        if !self.lanes.iter().any(is_later) {
            return Ok(());
        }
        self.is_over |= *self.options.stop.borrow();
        for index in 0..self.lanes.len() {
            if is_later(&self.lanes[index]) {
                self.again(index, on_event);
            }
        }
        if self.is_over {
            return Ok(());
        }
        let afforded = tokio::select! {
            biased;
            true = is_stopped(&mut self.options.stop) => Ok(()),
            afforded = check_quota(source, &self.lanes, on_event) => afforded,
        };
        if let Err(error) = afforded {
            // What is left of the service's allowance keeps only those back that would use it up.
            for index in 0..self.lanes.len() {
                let lane = &self.lanes[index];
                if lane.stage == Stage::Ready && lane.jobs().is_ok_and(|jobs| jobs > 0) {
                    self.lanes[index].ending = Some(Ending::failed(&error));
                    self.end(index, Vec::new(), on_event);
                }
            }
        }
        self.all(on_event).await
    }

    /// Plans the new pass of a lane; without one, the lane ends here.
    fn again(&mut self, index: usize, on_event: &mut (dyn FnMut(Event<'_>) + Send)) {
        let lane = &mut self.lanes[index];
        lane.is_read_on = false;
        let Some(writer) = self.writer.as_ref().filter(|_| !self.is_over) else {
            lane.ending = Some(Ending::Stopped);
            return self.end(index, Vec::new(), on_event);
        };
        match lane.next_pass(&writer.state) {
            Ok(next) => {
                *lane = next;
                let receipt = &mut self.receipts[lane.outlets[0].receipt];
                for (code, text) in std::mem::take(&mut lane.told) {
                    receipt.notes.insert(code, (1, text));
                }
                for outlet in &mut lane.outlets {
                    let receipt = &mut self.receipts[outlet.receipt];
                    outlet.read_before = receipt.read;
                    (receipt.told, receipt.guessed) = (None, None);
                }
            }
            Err(error) => {
                let error = error.during(format!("plan {}", lane.name));
                lane.ending = Some(Ending::failed(&error));
                self.end(index, Vec::new(), on_event);
                if !is_stream_scoped(error.kind()) {
                    self.stop();
                }
            }
        }
    }
}
