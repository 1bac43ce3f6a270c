//! The part of receipts and events that pages, metrics and lists show. Receipts in the store may be of an earlier version,
//! so every member but the name of a stream may be missing.

use headwater_host::{Ending, EventRecord, StreamReceipt};
use serde::Deserialize;
use serde_json::Value;

/// A receipt, as far as it is shown.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ReceiptSummary {
    pub outcome: Option<String>,
    pub message: Option<String>,
    pub seconds: f64,
    pub limit_wait_seconds: f64,
    pub streams: Vec<StreamSummary>,
}

impl ReceiptSummary {
    pub(crate) fn of(receipt: &Value) -> Self {
        Self::deserialize(receipt).unwrap_or_default()
    }

    pub(crate) fn records(&self) -> u64 {
        self.streams.iter().map(|stream| stream.records).sum()
    }
}

/// A stream of a receipt, or the last values of its events.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct StreamSummary {
    pub stream: String,
    #[serde(default)]
    pub status: StreamStatus,
    #[serde(default)]
    pub records: u64,
    #[serde(default)]
    pub bytes: u64,
    #[serde(default)]
    pub requests: u64,
    #[serde(default)]
    pub retries: u64,
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
pub(crate) enum StreamStatus {
    #[default]
    Running,
    Waiting,
    Complete,
    Limited,
    ReadBefore,
    Partial,
    Suspended,
    Stopped,
    NotRead,
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
    pub(crate) fn stream_of(event: &EventRecord) -> Option<&str> {
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
    pub(crate) fn update(&mut self, event: &EventRecord) {
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
