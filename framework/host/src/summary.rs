//! What is told of a read: while it goes on, and at its end.

use std::{collections::BTreeMap, ops::Range};

use headwater_core::{Allowance, Error, Kind, Note};
use serde::Serialize;

use crate::{Redacted, Redactor};

/// What happens during a read, for progress.
#[derive(Debug)]
pub enum Event<'a> {
    /// The read will order export jobs, and the service allows them.
    Jobs {
        /// How many.
        jobs: u64,
        /// What they are counted against.
        allowance: &'a Allowance,
    },
    /// A stream begins; `resumed` when an earlier run left it half way.
    Started {
        /// Its name.
        stream: &'a str,
        /// Whether an earlier run left it half way.
        resumed: bool,
    },
    /// A page was written.
    Progress(&'a StreamSummary),
    /// A stream waits for the service; others are read meanwhile.
    Waiting {
        /// Its name.
        stream: &'a str,
        /// What for.
        reason: &'a str,
    },
    /// A stream ended.
    Ended(&'a StreamSummary),
}

/// How a stream ended.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Ending {
    /// Everything was read.
    Complete,
    /// `--limit` ended it.
    Limited,
    /// The user ended it, or another stream's error did, half way.
    Stopped,
    /// An error ended it.
    Failed {
        /// What kind of error.
        kind: Kind,
        /// The sentence.
        message: String,
        /// Seconds until trying again makes sense, where that is known.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_seconds: Option<u64>,
    },
    /// The run that this one goes on with had read it.
    ReadBefore,
    /// An earlier stream's error made it pointless to begin.
    NotRead,
}

/// What was read of a stream.
#[derive(Clone, Debug, Serialize)]
pub struct StreamSummary {
    /// Its name.
    pub stream: String,
    /// How it ended.
    #[serde(flatten)]
    pub ending: Ending,
    /// Records written.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Pages that had records.
    pub pages: u64,
    /// What should not be silent: how often, and the sentence, by code.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<&'static str, (u64, String)>,
    /// What was done with personal data, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Redacted>,
}

/// What was read.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Stream by stream, in the order they were read.
    pub streams: Vec<StreamSummary>,
    /// Requests sent, retries included.
    pub requests: u64,
    /// How many of them were retries.
    pub retries: u64,
    /// Seconds in all.
    pub seconds: f64,
    /// Seconds waited for the service's limit.
    pub limit_wait_seconds: f64,
    /// Seconds waited before retries.
    pub backoff_wait_seconds: f64,
    /// Export jobs that were cancelled because the read was stopped.
    #[serde(skip_serializing_if = "is_zero")]
    pub cancelled_jobs: u64,
}

impl Summary {
    /// The kind of error that decides the exit code: the first stream's that failed, or a stop by the user.
    pub fn failure(&self) -> Option<Kind> {
        let failed = self.streams.iter().find_map(|stream| match stream.ending {
            Ending::Failed { kind, .. } => Some(kind),
            _ => None,
        });
        let is_stopped = self
            .streams
            .iter()
            .any(|stream| matches!(stream.ending, Ending::Stopped));
        failed.or(is_stopped.then_some(Kind::Cancelled))
    }
}

impl Ending {
    pub(crate) fn failed(error: &Error) -> Self {
        Self::Failed {
            kind: error.kind(),
            message: error.to_string(),
            retry_after_seconds: error.delay().map(|delay| delay.as_secs()),
        }
    }
}

impl StreamSummary {
    pub(crate) fn new(stream: &str) -> Self {
        Self {
            stream: stream.to_owned(),
            ending: Ending::NotRead,
            records: 0,
            bytes: 0,
            pages: 0,
            notes: BTreeMap::new(),
            redaction: None,
        }
    }

    pub(crate) fn tell(&mut self, redactor: Option<&Redactor>) {
        self.redaction = redactor.map(Redactor::report);
        if let Some(note) = redactor.and_then(Redactor::unclassed_email) {
            self.notes.insert("unclassed_email", note);
        }
    }

    pub(crate) fn count(&mut self, records: &[Range<usize>]) {
        self.records += records.len() as u64;
        self.bytes += records.iter().map(|span| span.len() as u64).sum::<u64>();
        self.pages += u64::from(!records.is_empty());
    }

    pub(crate) fn note(&mut self, notes: Vec<Note>) {
        for note in notes {
            self.notes
                .entry(note.code)
                .or_insert_with(|| (0, note.message))
                .0 += 1;
        }
    }
}

const fn is_zero(count: &u64) -> bool {
    *count == 0
}
