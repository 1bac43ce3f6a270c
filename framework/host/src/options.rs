//! The options of a run.

use std::{path::PathBuf, sync::Arc, time::Duration};

use headwater_core::{Error, Kind, Meter, Position, Result, Source};
use tokio::sync::watch;

use crate::{
    Redaction,
    drift::{DeadLetters, DriftPolicy, DriftRule},
    guarantee::Level,
};

/// The options of a run: [`RunOptions::new`], with the fields set that differ.
#[derive(Debug)]
#[non_exhaustive]
pub struct RunOptions {
    /// Maximum number of records of each stream. With it, the run reads one page after the other.
    pub limit: Option<u64>,
    /// The file of the state, unless the sink keeps the state; without either, the run forgets it at the end.
    pub state_path: Option<PathBuf>,
    /// Maximum time between two commits; `None` uses that of the sink. Zero commits after every page: for sinks that
    /// cannot be cut back.
    pub commit_every: Option<Duration>,
    /// Becomes true when the user stops the run, which then commits and ends. Without its sender, the run cannot be
    /// stopped.
    pub stop: watch::Receiver<bool>,
    /// Cancel the export jobs that a stopped run leaves running. Otherwise, a later run resumes them.
    pub release: bool,
    /// The counters of the client.
    pub meter: Arc<Meter>,
    /// Whether and how personal data is replaced before it gets to the sink.
    pub redaction: Option<Redaction>,
    /// Pages fetched at once, over all streams.
    pub concurrency: usize,
    /// Maximum bytes of fetched pages that wait for the sink. The last page may exceed it.
    pub memory: usize,
    /// Wait where the service asks to come back later, instead of ending the run.
    pub stay: bool,
    /// Read only this partition of the wanted stream, or of a group of streams that are read together. Their bookmark
    /// does not move.
    pub only: Option<Position>,
    /// Continue although the state seems to belong to another account.
    pub same_account: bool,
    /// Whether to compare records with their schemas, and the policies for those that differ.
    pub drift: Option<DriftOptions>,
    /// Refuse to run with a lower guarantee.
    pub guarantee: Option<Level>,
}

/// Policies for records that break their schema.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DriftOptions {
    /// The policies by stream.
    pub rules: Vec<DriftRule>,
    /// The file for rejected records; without one, no policy may reject.
    pub dead_letters: Option<PathBuf>,
}

impl DriftOptions {
    /// Follows these rules. Without a file for rejected records, no policy may reject.
    pub fn new(rules: Vec<DriftRule>, dead_letters: Option<PathBuf>) -> Self {
        Self {
            rules,
            dead_letters,
        }
    }

    /// Refuses rules that cannot be followed.
    pub(crate) fn check(&self, source: &dyn Source) -> Result<Option<DeadLetters>> {
        for stream in self.rules.iter().filter_map(|rule| rule.stream.as_deref()) {
            source.stream(stream)?;
        }
        let rejects = self
            .rules
            .iter()
            .any(|rule| rule.policy == DriftPolicy::Reject);
        if rejects && self.dead_letters.is_none() {
            let text = "rejected records need a file to go to; name one for the dead letters";
            return Err(Error::new(Kind::ConfigInvalid, text));
        }
        let path = self.dead_letters.as_deref();
        path.map(DeadLetters::new).transpose()
    }
}

impl RunOptions {
    /// Reads everything, eight pages at once, commits as often as the sink wants, and has no state but the sink's.
    pub fn new(meter: Arc<Meter>, stop: watch::Receiver<bool>) -> Self {
        Self {
            limit: None,
            state_path: None,
            commit_every: None,
            stop,
            release: false,
            meter,
            redaction: None,
            concurrency: 8,
            memory: 6 << 20,
            stay: false,
            only: None,
            same_account: false,
            drift: None,
            guarantee: None,
        }
    }
}
