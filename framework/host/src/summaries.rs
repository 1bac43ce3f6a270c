//! The part of receipts and events that stores, pages, metrics and lists use. A stored receipt may be of an earlier
//! version, so every member but the name of a stream may be missing.

use serde::Deserialize;
use serde_json::Value;

use crate::receipt::{Ending, EventRecord, StreamReceipt};

/// A receipt, as far as it is used.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ReceiptSummary {
    /// `complete`, `partial`, `suspended`, `stopped` or `failed`.
    pub outcome: Option<String>,
    /// The kind of error that ended the run before its streams.
    pub kind: Option<String>,
    /// The sentence of that error.
    pub message: Option<String>,
    /// Seconds in all.
    pub seconds: f64,
    /// Seconds during which at least one request waited for the service's limit.
    pub limit_wait_seconds: f64,
    /// Stream by stream.
    pub streams: Vec<StreamSummary>,
}

impl ReceiptSummary {
    /// Reads a receipt; an empty summary if it cannot be read.
    pub fn of(receipt: &Value) -> Self {
        Self::deserialize(receipt).unwrap_or_default()
    }

    /// The records of all streams.
    pub fn records(&self) -> u64 {
        self.streams.iter().map(|stream| stream.records).sum()
    }
}

/// A stream of a receipt, or the last values of its events.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct StreamSummary {
    /// Its name.
    pub stream: String,
    /// How it ended.
    #[serde(default)]
    pub status: StreamStatus,
    /// The kind of error that ended it.
    #[serde(default)]
    pub kind: Option<String>,
    /// Written records.
    #[serde(default)]
    pub records: u64,
    /// Rejected records.
    #[serde(default)]
    pub rejected: u64,
    /// Bytes of its records.
    #[serde(default)]
    pub bytes: u64,
    /// Requests sent, retries included.
    #[serde(default)]
    pub requests: u64,
    /// How many of them were retries.
    #[serde(default)]
    pub retries: u64,
    /// The number of records that the service announced.
    #[serde(default)]
    pub expected: Option<u64>,
    /// 0 before its end: until then, events report the wait of the whole sync.
    #[serde(default)]
    pub limit_wait_seconds: f64,
    /// Why it waits or failed.
    #[serde(default)]
    pub message: Option<String>,
}

/// The status of a stream: while it is read, or how it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamStatus {
    /// It is being read.
    #[default]
    Running,
    /// It waits for the service.
    Waiting,
    /// All of it was read.
    Complete,
    /// Its part up to a limit was read.
    Limited,
    /// It was read in an earlier run.
    ReadBefore,
    /// Some of its records or positions are missing.
    Partial,
    /// A later run continues it.
    Suspended,
    /// It was stopped.
    Stopped,
    /// It was not read.
    NotRead,
    /// It failed, or ended in a way of a later version.
    #[serde(other)]
    Failed,
}

impl StreamStatus {
    const fn of(ending: &Ending) -> Self {
        match ending {
            Ending::Complete => Self::Complete,
            Ending::Partial => Self::Partial,
            Ending::Limited => Self::Limited,
            Ending::Stopped => Self::Stopped,
            Ending::Suspended { .. } => Self::Suspended,
            Ending::ReadBefore => Self::ReadBefore,
            Ending::NotRead => Self::NotRead,
            _ => Self::Failed,
        }
    }
}

impl StreamSummary {
    /// The stream of an event, if it is about one.
    pub fn stream_of(event: &EventRecord) -> Option<&str> {
        match event {
            EventRecord::Started { stream, .. }
            | EventRecord::Progress { stream, .. }
            | EventRecord::Waiting { stream, .. }
            | EventRecord::Drift { stream, .. } => Some(stream),
            EventRecord::Ended(receipt) => Some(&receipt.stream),
            _ => None,
        }
    }

    /// Takes the values of an event of this stream.
    pub fn update(&mut self, event: &EventRecord) {
        (self.status, self.message) = (StreamStatus::Running, None);
        match event {
            EventRecord::Progress {
                records,
                bytes,
                requests,
                retries,
                expected,
                ..
            } => {
                self.records = *records;
                self.bytes = *bytes;
                self.requests = *requests;
                self.retries = *retries;
                self.expected = expected.or(self.expected);
            }
            EventRecord::Waiting { reason, .. } => {
                self.status = StreamStatus::Waiting;
                self.message = Some(reason.clone());
            }
            EventRecord::Ended(receipt) => self.end(receipt),
            _ => {}
        }
    }

    fn end(&mut self, receipt: &StreamReceipt) {
        self.status = StreamStatus::of(&receipt.ending);
        self.records = receipt.records;
        self.bytes = receipt.bytes;
        self.requests = receipt.requests;
        self.retries = receipt.retries;
        self.limit_wait_seconds = receipt.limit_wait_seconds;
        self.message = match &receipt.ending {
            Ending::Failed { message, .. } | Ending::Suspended { message, .. } => {
                Some(message.clone())
            }
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_receipt_of_any_version_has_a_summary() {
        let receipt = ReceiptSummary::of(&json!({
            "outcome": "partial", "seconds": 2.5, "requests": 3,
            "streams": [
                { "stream": "calls", "status": "complete", "records": 3, "key": ["id"] },
                { "stream": "users", "status": "of_a_later_version", "message": "why", "records": 4 },
                { "stream": "teams" },
            ],
        }));
        assert_eq!(receipt.outcome.as_deref(), Some("partial"));
        assert_eq!(receipt.records(), 7);
        let statuses: Vec<StreamStatus> = receipt.streams.iter().map(|one| one.status).collect();
        assert_eq!(
            statuses,
            [
                StreamStatus::Complete,
                StreamStatus::Failed,
                StreamStatus::Running
            ]
        );
        assert_eq!(receipt.streams[1].message.as_deref(), Some("why"));
        assert!(ReceiptSummary::of(&json!("damaged")).streams.is_empty());
    }

    #[test]
    fn events_of_a_stream_add_up() {
        let mut stream = StreamSummary::default();
        let mut take = |event: Value| {
            stream.update(&serde_json::from_value(event).unwrap());
            (stream.status, stream.records, stream.message.clone())
        };
        let progress = json!({
            "event": "progress", "stream": "calls", "records": 5, "pages": 1, "bytes": 9, "requests": 1, "retries": 0,
            "limit_wait_seconds": 0.5, "expected": 7,
        });
        assert_eq!(take(progress), (StreamStatus::Running, 5, None));
        let waiting = json!({ "event": "waiting", "stream": "calls", "reason": "the limit" });
        let reason = Some("the limit".to_owned());
        assert_eq!(take(waiting), (StreamStatus::Waiting, 5, reason));
        assert_eq!((stream.expected, stream.limit_wait_seconds), (Some(7), 0.0));
    }
}
