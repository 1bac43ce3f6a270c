//! Whether what a sink holds is right: its records, and those that its state says are still to be read, are together
//! everything that the service has, each once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use headwater_core::{Meter, Result, StreamSpec};
use headwater_host::{Delivery, RunOptions, Sink, SinkState, State, WriteCounts, run};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    place::{Kept, NAME},
    service::{STREAMS, Service, ServiceSource, record},
};

/// What is wrong with a sink.
#[derive(Debug, Default, PartialEq)]
pub struct Findings {
    /// Not there, and not read again by any later run.
    pub lost: Vec<String>,
    /// There more than once, or to be read again although they are there.
    pub repeated: Vec<String>,
}

impl Findings {
    pub fn is_right(&self) -> bool {
        *self == Self::default()
    }
}

/// What the sink holds against what the service has.
pub fn judge(service: &Arc<Service>, kept: Kept) -> Findings {
    let mut records = kept.records;
    records.extend(rest(service, kept.state));
    let mut findings = Findings::default();
    for stream in STREAMS {
        let of_stream = records.iter().filter(|(of, _)| of == stream);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for (_, record) in of_stream {
            *counts.entry(shown(stream, record)).or_default() += 1;
        }
        let repeated = counts.iter().filter(|(_, count)| **count > 1);
        findings
            .repeated
            .extend(repeated.map(|(shown, count)| format!("{shown} {count} times")));
        let expected = service.numbers(stream).into_iter();
        let expected: Vec<String> = expected
            .map(|number| shown(stream, &record(stream, number)))
            .collect();
        let lost = expected.iter().filter(|shown| !counts.contains_key(*shown));
        findings.lost.extend(lost.cloned());
        // An order may have been read before it changed once more.
        if stream != "orders" {
            let unknown = counts.keys().find(|shown| !expected.contains(shown));
            assert_eq!(unknown, None, "the service never had this");
        }
    }
    findings.lost.extend(outdated_orders(service, &records));
    findings
}

/// Orders whose last version is not what stands there last.
fn outdated_orders(service: &Service, records: &[(String, Value)]) -> Vec<String> {
    let orders = records.iter().filter(|(stream, _)| stream == "orders");
    let last: BTreeMap<u64, &Value> = orders
        .map(|(_, order)| (order["id"].as_u64().unwrap(), order))
        .collect();
    let current = service
        .numbers("orders")
        .into_iter()
        .map(|number| record("orders", number));
    current
        .filter(|order| last.get(&order["id"].as_u64().unwrap()) != Some(&order))
        .map(|order| format!("the last version of {}", shown("orders", &order)))
        .collect()
}

fn shown(stream: &str, record: &Value) -> String {
    format!("{stream} {record}")
}

/// What all further runs from a state would read. They order no job that anybody else would see.
pub fn rest(service: &Arc<Service>, mut state: State) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    // The first run ends what the killed one has begun, the second reads what came since that began.
    for _ in 0..2 {
        let memory = Memory::default();
        read(service, state, memory.clone());
        let mut held = memory.0.lock().unwrap();
        all.append(&mut held.records);
        state = held.state.take().unwrap();
    }
    all
}

fn read(service: &Arc<Service>, state: State, sink: Memory) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let (_stop, stopped) = watch::channel(false);
    let options = RunOptions::new(Arc::new(Meter::default()), stopped);
    let source = ServiceSource(Arc::clone(service));
    let receipt = runtime
        .block_on(async { run(&source, &[], state, Box::new(sink), options, &mut |_| {}).await });
    let receipt = receipt.unwrap();
    assert_eq!(receipt.failure(), None, "{receipt:?}");
}

/// Holds what it gets. Clones share it.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    records: Vec<(String, Value)>,
    state: Option<State>,
}

impl Sink for Memory {
    fn delivery(&self) -> Delivery {
        Delivery::RecordsFirst
    }

    fn restore(&mut self, _: &[StreamSpec], _: &dyn SinkState) -> Result<()> {
        Ok(())
    }

    fn write(
        &mut self,
        stream: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<WriteCounts> {
        let mut held = self.0.lock().unwrap();
        let before = held.records.len();
        for record in records {
            let record = serde_json::from_slice(record).unwrap();
            held.records.push((stream.to_owned(), record));
        }
        Ok(WriteCounts {
            records: (held.records.len() - before) as u64,
            ..WriteCounts::default()
        })
    }

    fn commit(&mut self, state: &mut dyn SinkState) -> Result<()> {
        let kept = State::from_json(&state.to_json()?, "the state", NAME)?;
        self.0.lock().unwrap().state = Some(kept);
        Ok(())
    }
}
