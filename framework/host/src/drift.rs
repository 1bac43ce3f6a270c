//! Schema drift, seen at the source: where the records of a stream differ from the schema that its connector declares.
//!
//! The bytes of every record are compared with the compiled schema, before they go to a sink. The report has kinds,
//! paths and counts, never a value, so that a receipt can show it. Only [`DeadLetters`] does I/O here.

mod baseline;
mod dead_letters;
mod event;
mod ledger;
mod plan;
mod policy;
mod scan;
mod shape;
mod types;

use headwater_core::{Error, Kind, Result, StreamSpec};
use serde::Serialize;

pub use baseline::Baseline;
pub use dead_letters::DeadLetters;
pub use event::{DriftEvent, DriftKind};
pub use policy::{DriftPolicy, DriftRule};
pub use types::JsonType;

use ledger::Ledger;
use plan::Plan;
use scan::{Breach, Frame, scan};

/// Where a record goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the sink.
    Keep,
    /// It goes to the dead letters.
    Reject(RejectReason),
}

/// Why a record goes to the dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejectReason {
    /// How the record differs from its schema.
    pub kind: DriftKind,
    /// The first field that differs. Empty for the record itself.
    pub field: String,
}

/// Watches the records of one stream during a run.
#[derive(Debug)]
pub struct DriftWatch {
    stream: &'static str,
    policy: DriftPolicy,
    plan: Plan,
    earlier: Baseline,
    ledger: Ledger,
    /// Reused from record to record for its memory only.
    open: Vec<Frame>,
}

impl DriftWatch {
    /// Compiles a stream's schema. `earlier` is the baseline of earlier runs, so that their drift is known.
    pub fn new(spec: &StreamSpec, policy: DriftPolicy, earlier: Option<&Baseline>) -> Self {
        let plan = Plan::new(&(spec.schema)());
        let earlier = earlier.cloned().unwrap_or_default();
        let ledger = Ledger::new(&plan, &earlier);
        Self {
            stream: spec.name,
            policy,
            plan,
            earlier,
            ledger,
            open: Vec::new(),
        }
    }

    /// Compares the next record, as the service sent it. Fails where the policy is to stop: its page must not be
    /// committed then.
    pub fn observe(&mut self, record: &[u8]) -> Result<Verdict> {
        self.ledger.records += 1;
        let breach = scan(&self.plan, &mut self.ledger, &mut self.open, record);
        let Some(breach) = breach else {
            return Ok(Verdict::Keep);
        };
        match self.policy {
            DriftPolicy::Accept => Ok(Verdict::Keep),
            DriftPolicy::Reject => Ok(Verdict::Reject(RejectReason {
                kind: breach.kind,
                field: self.plan.nodes[breach.at].path.clone(),
            })),
            DriftPolicy::Stop => Err(self.stopped(breach)),
        }
    }

    fn stopped(&self, breach: Breach) -> Error {
        let node = &self.plan.nodes[breach.at];
        let event = DriftEvent {
            kind: breach.kind,
            path: node.path.clone(),
            expected: node.types.list(),
            saw: breach.saw,
            count: 1,
            first_record: self.ledger.records,
            is_known: false,
        };
        let text = format!(
            "{} drifts from its schema in record {} of this run: {event}; to continue, read it with the drift policy \
             accept or reject",
            self.stream, self.ledger.records,
        );
        Error::new(Kind::DataInvalid, text)
    }

    /// All drift of this run so far, by path.
    pub fn report(&self) -> Vec<DriftEvent> {
        self.ledger.events(&self.plan, &self.earlier)
    }

    /// The baseline for the next run: that of earlier runs and the drift of this one. Save it after the report, since
    /// reported drift counts as known from then on.
    pub fn baseline(&self) -> Baseline {
        self.ledger.baseline(&self.plan, &self.earlier)
    }
}

#[cfg(test)]
mod tests;
