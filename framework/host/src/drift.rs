//! Schema drift, seen at the source: where the records of a stream differ from the schema that its connector declares.
//!
//! The bytes of every record are compared with the compiled schema, before they go to a sink. The report has kinds,
//! paths and counts, never a value, so that a receipt can show it. Only [`DeadLetters`] does I/O here.

mod baseline;
mod comparison;
mod dead_letters;
mod event;
mod ledger;
mod policy;

use std::sync::Arc;

use headwater_core::{Error, Kind, Result, StreamSpec};
use headwater_json::{CompiledSchema, Malformed, Traversal};
use serde::Serialize;

pub use baseline::Baseline;
pub use dead_letters::DeadLetters;
pub use event::{DriftEvent, DriftKind};
pub use headwater_json::JsonType;
pub use policy::{DriftPolicy, DriftRule};

use comparison::{Breach, Comparison};
use ledger::Ledger;

/// Where a record goes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    schema: Arc<CompiledSchema>,
    traversal: Traversal,
    earlier: Baseline,
    ledger: Ledger,
    /// Reused from record to record for its memory only.
    numbers: Vec<u64>,
}

impl DriftWatch {
    /// Compiles a stream's schema. `earlier` is the baseline of earlier runs, so that their drift is known.
    pub fn new(spec: &StreamSpec, policy: DriftPolicy, earlier: Option<&Baseline>) -> Self {
        let schema = CompiledSchema::of_types(&(spec.schema)());
        Self::with_schema(&Arc::new(schema), spec, policy, earlier)
    }

    /// The same beside a schema that is compiled already.
    pub(crate) fn with_schema(
        schema: &Arc<CompiledSchema>,
        spec: &StreamSpec,
        policy: DriftPolicy,
        earlier: Option<&Baseline>,
    ) -> Self {
        let earlier = earlier.cloned().unwrap_or_default();
        let ledger = Ledger::new(schema.types(), &earlier);
        Self {
            stream: spec.name,
            policy,
            schema: Arc::clone(schema),
            traversal: Traversal::new(schema),
            earlier,
            ledger,
            numbers: Vec::new(),
        }
    }

    /// Compares the next record, as the service sent it.
    ///
    /// # Errors
    ///
    /// Fails if the record differs from its schema and the policy is to stop. Its page must not be committed then.
    pub fn observe(&mut self, record: &[u8]) -> Result<Verdict> {
        let mut comparison = Comparison::begin(&mut self.ledger, &mut self.numbers);
        let read = if is_object(record) {
            self.traversal.run(&self.schema, record, &mut comparison)
        } else {
            Err(Malformed)
        };
        let breach = comparison.end(read);
        self.judge(breach)
    }

    /// The comparison of the next record, which another traversal makes. Its result is to be judged.
    pub(crate) fn compare(&mut self) -> Comparison<'_> {
        Comparison::begin(&mut self.ledger, &mut self.numbers)
    }

    /// What becomes of the record that was compared last.
    pub(crate) fn judge(&self, breach: Option<Breach>) -> Result<Verdict> {
        let Some(breach) = breach else {
            return Ok(Verdict::Keep);
        };
        match self.policy {
            DriftPolicy::Accept => Ok(Verdict::Keep),
            DriftPolicy::Reject => Ok(Verdict::Reject(RejectReason {
                kind: breach.kind,
                field: self.schema.types()[breach.at].path.clone(),
            })),
            DriftPolicy::Stop => Err(self.stopped(breach)),
        }
    }

    fn stopped(&self, breach: Breach) -> Error {
        let node = &self.schema.types()[breach.at];
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

    /// What happens to records that drift.
    pub(crate) const fn policy(&self) -> DriftPolicy {
        self.policy
    }

    /// All drift of this run so far, by path.
    pub fn report(&self) -> Vec<DriftEvent> {
        self.ledger.events(self.schema.types(), &self.earlier)
    }

    /// The baseline for the next run: that of earlier runs and the drift of this one. Save it after the report, since
    /// reported drift counts as known from then on.
    pub fn baseline(&self) -> Baseline {
        self.ledger.baseline(self.schema.types(), &self.earlier)
    }
}

/// Whether a record can be compared at all.
pub(crate) fn is_object(record: &[u8]) -> bool {
    record.trim_ascii_start().first() == Some(&b'{')
}

#[cfg(test)]
mod tests;
