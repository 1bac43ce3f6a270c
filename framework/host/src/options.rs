//! What to read and how.

use std::{path::PathBuf, sync::Arc, time::Duration};

use headwater_core::{Error, Kind, Meter, Position, Result, Source};
use tokio::sync::watch;

use crate::{
    Redaction,
    drift::{DeadLetters, DriftPolicy, DriftRule},
    guarantee::Level,
};

/// What to read and how.
#[derive(Debug)]
pub struct RunOptions {
    /// At most so many records of each stream. Read one page after the other then.
    pub limit: Option<u64>,
    /// Where the state is kept, unless the sink keeps it; without either, it is forgotten at the end.
    pub state_path: Option<PathBuf>,
    /// The longest time between two commits; what the sink wants, without one. Zero commits after every page: for
    /// sinks that cannot be cut back.
    pub commit_every: Option<Duration>,
    /// Becomes true when the user wants to stop: the run commits and ends. Nobody stops it once the sender is gone.
    pub stop: watch::Receiver<bool>,
    /// Cancel the export jobs that a stopped run leaves running. Without it, a later run goes on with them.
    pub release: bool,
    /// What the client counts.
    pub meter: Arc<Meter>,
    /// Whether and how personal data is replaced before it gets to the sink.
    pub redaction: Option<Redaction>,
    /// Pages fetched at once, over all streams.
    pub concurrency: usize,
    /// Bytes of fetched pages that may wait for the sink. One more page than fits is let in.
    pub memory: usize,
    /// Wait where the service asks to come back later, however long that is, instead of ending the run.
    pub stay: bool,
    /// Read this one partition of the stream that is wanted, or of several that are read together. Their bookmark stays
    /// where it is.
    pub only: Option<Position>,
    /// Go on although the state seems to be about another account.
    pub same_account: bool,
    /// Whether records are compared with their schemas, and what becomes of those that differ.
    pub drift: Option<DriftOptions>,
    /// Refuse to run where less than this can be promised.
    pub guarantee: Option<Level>,
}

/// What becomes of records that are not what their schema says.
#[derive(Clone, Debug, Default)]
pub struct DriftOptions {
    /// Which policy holds for which stream.
    pub rules: Vec<DriftRule>,
    /// The file for records that are rejected; without one, no policy may reject.
    pub dead_letters: Option<PathBuf>,
}

impl DriftOptions {
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
    /// Everything, eight pages at once, committed as often as the sink wants, with no state but the sink's.
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
