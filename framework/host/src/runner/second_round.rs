//! The second round of a run: the records that are newer than the passes of the first round.

use headwater_core::{Result, Source};

use super::{Running, is_stopped};
use crate::{
    check_quota::check_quota,
    receipt::{Ending, Event},
    stream_run::{Stage, StreamRun, is_stream_scoped},
};

impl Running {
    /// Reads the records that are newer than the passes of the first round.
    pub(super) async fn second_round(
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
