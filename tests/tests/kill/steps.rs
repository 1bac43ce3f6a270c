//! A process that ends at a step that has a number: before or after each call of a sink, and in each answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use headwater_core::{Result, StreamSpec};
use headwater_host::{Delivery, Sink, SinkState, WriteCounts};
use rustix::process::{Signal, getpid, kill_process};

/// Counts steps.
#[derive(Default)]
pub struct Steps {
    taken: AtomicU64,
    last: Option<u64>,
}

impl Steps {
    /// Ends the process at this step, if there is one.
    pub fn until(last: Option<u64>) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicU64::new(0),
            last,
        })
    }

    /// Takes one. There is no way back from the last one, and nothing is tidied up.
    pub fn step(&self) {
        if self.last == Some(self.taken.fetch_add(1, Ordering::Relaxed)) {
            kill_process(getpid(), Signal::KILL).unwrap();
        }
    }
}

/// A sink with a step before and after each call.
pub struct Stepping {
    pub sink: Box<dyn Sink>,
    pub steps: Arc<Steps>,
}

impl Stepping {
    fn call<T>(&mut self, call: impl FnOnce(&mut dyn Sink) -> T) -> T {
        self.steps.step();
        let result = call(&mut *self.sink);
        self.steps.step();
        result
    }
}

impl Sink for Stepping {
    fn delivery(&self) -> Delivery {
        self.sink.delivery()
    }

    fn commit_every(&self) -> Duration {
        self.sink.commit_every()
    }

    fn load(&mut self, state: &mut dyn SinkState) -> Result<bool> {
        self.call(|sink| sink.load(state))
    }

    fn restore(&mut self, streams: &[StreamSpec], state: &dyn SinkState) -> Result<()> {
        self.call(|sink| sink.restore(streams, state))
    }

    fn write(
        &mut self,
        stream: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<WriteCounts> {
        self.call(|sink| sink.write(stream, records))
    }

    fn commit(&mut self, state: &mut dyn SinkState) -> Result<()> {
        self.call(|sink| sink.commit(state))
    }
}
