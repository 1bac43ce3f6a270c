//! The end of a run, after its last fetch.

use headwater_core::{Error, Kind, Position, Result};

use super::{Running, blocking};
use crate::{
    receipt::{Ending, StreamReceipt},
    stream_run::StreamRun,
    writer::Writer,
};

impl Running {
    /// Flags first passes that are empty although the service has records before their start.
    async fn look_before_the_start(&mut self) {
        for run in &self.runs {
            let mut receipts = run.outputs.iter().map(|output| output.receipt);
            let receipt = run.outputs[0].receipt;
            let has_read = receipts.any(|one| self.receipts[one].read > 0);
            let is_complete = matches!(self.receipts[receipt].ending, Ending::Complete);
            let Some(since) = run.first_since.filter(|_| is_complete && !has_read) else {
                continue;
            };
            // The read itself succeeded, so an error here does not matter.
            if let Ok(Some(true)) = run.stream.has_earlier().await {
                let text = format!(
                    "there is nothing since the start, {since}, and the service has records before it; an earlier start \
                     date reads them with the next run"
                );
                self.receipts[receipt].flag("nothing_since_start", text);
            }
        }
    }

    /// Finishes the run after the last fetch.
    pub(super) async fn conclude(mut self) -> Result<(Vec<StreamReceipt>, u64)> {
        let Some(mut writer) = self.writer.take() else {
            return Err(Error::new(Kind::Unexpected, "the run lost its writer"));
        };
        let mut cancelled = 0;
        // Cancelled jobs must get into the state; pages that a broken sink has not stored must not.
        if !self.is_sink_broken && self.options.release && *self.options.stop.borrow() {
            (writer, cancelled) = release(&self.runs, writer).await?;
        }
        if !self.is_over {
            self.look_before_the_start().await;
        }
        let is_sink_broken = self.is_sink_broken;
        let is_over = self.is_over;
        blocking(move || {
            // A stream that keeps failing for a reason of its own does not hold the others back for ever.
            if !is_over {
                writer.end_run()?;
            }
            if !is_sink_broken {
                writer.write_deferred()?;
            }
            // Dropped here, since a sink may block while it closes.
            drop(writer);
            Ok(())
        })
        .await?;
        Ok((self.receipts, cancelled))
    }
}

/// Cancels the server-side work of a stopped run.
async fn release(runs: &[StreamRun], mut writer: Box<Writer>) -> Result<(Box<Writer>, u64)> {
    let mut released = 0;
    for run in runs {
        let positions: Vec<(usize, Position, Position)> = writer
            .state
            .pass(run.name)
            .into_iter()
            .flat_map(|pass| &pass.partitions)
            .filter_map(|one| Some((one.number, one.partition.clone(), one.token.clone()?)))
            .collect();
        for (number, partition, token) in positions {
            if !run.stream.release(partition, token).await? {
                continue;
            }
            released += 1;
            let name = run.name;
            writer = blocking(move || {
                writer.restart(name, number)?;
                Ok(writer)
            })
            .await?;
        }
    }
    Ok((writer, released))
}
