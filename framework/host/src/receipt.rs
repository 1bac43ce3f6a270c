//! The report of a run: events while it is under way, and a receipt at its end.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use headwater_core::{
    Allowance, DIGEST, Error, Gap, Kind, LONGEST_RECORD, Mend, Meter, Note, PartitionRange,
    SignedDuration, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{RedactionReport, UnseenRows, counts::Counts, drift::DriftEvent, guarantee::Guarantee};

/// An event of a run, for progress.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run will order export jobs, and the service allows them.
    Jobs {
        /// How many.
        jobs: u64,
        /// The limit that counts them.
        allowance: &'a Allowance,
    },
    /// A stream begins; `resumed` when an earlier run left it half way.
    Started {
        /// Its name.
        stream: &'a str,
        /// Whether an earlier run left it half way.
        resumed: bool,
    },
    /// Records were written.
    Progress(&'a StreamReceipt),
    /// A stream waits for the service; others are read meanwhile.
    Waiting {
        /// Its name.
        stream: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// Everything up to here is durable, and so is the position.
    Committed,
    /// The records of a stream differ from their schema.
    Drift {
        /// Its name.
        stream: &'a str,
        /// How they differ.
        event: &'a DriftEvent,
    },
    /// A stream ended.
    Ended(&'a StreamReceipt),
}

impl Event<'_> {
    /// Returns the event for machines. `meter` is that of the run.
    pub fn record(&self, meter: &Meter) -> EventRecord {
        let owned = |stream: &str| stream.to_owned();
        match self {
            Self::Jobs { jobs, allowance } => EventRecord::Jobs {
                jobs: *jobs,
                allowance: (*allowance).clone(),
            },
            Self::Started { stream, resumed } => EventRecord::Started {
                stream: owned(stream),
                resumed: *resumed,
            },
            Self::Progress(receipt) => EventRecord::Progress {
                stream: receipt.stream.clone(),
                records: receipt.records,
                pages: receipt.pages,
                bytes: receipt.bytes,
                requests: receipt.requests,
                retries: receipt.retries,
                limit_wait_seconds: meter.limit_pause().as_secs_f64(),
                expected: receipt.expected(),
            },
            Self::Waiting { stream, reason } => EventRecord::Waiting {
                stream: owned(stream),
                reason: owned(reason),
            },
            Self::Committed => EventRecord::Committed,
            Self::Drift { stream, event } => EventRecord::Drift {
                stream: owned(stream),
                drift: (*event).clone(),
            },
            Self::Ended(receipt) => EventRecord::Ended(Box::new((*receipt).clone())),
        }
    }

    /// Returns the event for machines as one JSON object.
    pub fn to_json(&self, meter: &Meter) -> Value {
        json!(self.record(meter))
    }
}

/// An [`Event`] as machines write and read it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventRecord {
    /// The run will order export jobs.
    Jobs {
        /// How many.
        jobs: u64,
        /// The limit that counts them.
        allowance: Allowance,
    },
    /// A stream begins.
    Started {
        /// Its name.
        stream: String,
        /// Whether an earlier run left it half way.
        resumed: bool,
    },
    /// Records were written. The numbers are totals of the stream so far.
    Progress {
        /// Its name.
        stream: String,
        /// Records.
        records: u64,
        /// Pages that had records.
        pages: u64,
        /// Bytes of the records.
        bytes: u64,
        /// Requests, retries included.
        requests: u64,
        /// Retries.
        retries: u64,
        /// Seconds during which at least one request of the run waited for the service's limit.
        limit_wait_seconds: f64,
        /// The expected records, where the service or an earlier run states them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected: Option<u64>,
    },
    /// A stream waits for the service.
    Waiting {
        /// Its name.
        stream: String,
        /// Why.
        reason: String,
    },
    /// Everything up to here is durable.
    Committed,
    /// The records of a stream differ from their schema.
    Drift {
        /// Its name.
        stream: String,
        /// How they differ.
        drift: DriftEvent,
    },
    /// A stream ended.
    Ended(Box<StreamReceipt>),
}

/// How a stream ended.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ending {
    /// Everything was read.
    Complete,
    /// Everything was read but the quarantined positions.
    Partial,
    /// `--limit` ended it.
    Limited,
    /// The user ended it, or another stream's error did, half way.
    Stopped,
    /// The service asked to come back later; the state has the position.
    Suspended {
        /// Which of its limits.
        kind: Kind,
        /// The sentence.
        message: String,
        /// The earliest sensible moment to continue.
        until: Timestamp,
        /// The same in seconds from the end of the run.
        retry_after_seconds: u64,
    },
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
    /// The interrupted run that this one resumes had read it, too recently to read all of it again.
    ReadBefore,
    /// An earlier stream's error made it pointless to begin, or the user ended the run before that.
    NotRead,
}

/// The receipt of a stream.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StreamReceipt {
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
    /// Records that came from the service.
    pub read: u64,
    /// Records whose key the sink knew already.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub deduplicated: u64,
    /// Records with a value that did not fit its column and is in the overflow column.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub overflowed: u64,
    /// Records that differ from another one of the same pass and the same key.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub collisions: u64,
    /// Collisions in which one record replaced the other, in a table of an earlier version that cannot keep both.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub merged: u64,
    /// Rows that a complete pass did not see, since their records were deleted at the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unseen: Option<UnseenRows>,
    /// Records that went to the dead letters instead of the sink.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rejected: u64,
    /// Records that were left out because they exceed the maximum length.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub oversized: u64,
    /// The length of the longest of them.
    #[serde(skip)]
    pub(crate) longest: u64,
    /// Positions that are missing because this run or an earlier one quarantined them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub places_missing: u64,
    /// The records of the partitions whose total is known so far.
    #[serde(skip)]
    pub(crate) total: Option<u64>,
    /// The expected records where no partition has a total: the limit, or the number of the last pass.
    #[serde(skip)]
    pub(crate) estimate: Option<u64>,
    /// Whether every partition has reported its total.
    #[serde(skip)]
    pub(crate) is_total_complete: bool,
    /// Requests sent for this stream, retries included. 0 for secondary streams.
    pub requests: u64,
    /// How many of them were retries.
    pub retries: u64,
    /// Seconds during which at least one of its requests waited for the service's limit.
    pub limit_wait_seconds: f64,
    /// The time that the pass covers, where the stream is read by time.
    #[serde(flatten)]
    pub covered: PassRange,
    /// The delivery guarantee, and its reason.
    pub guarantee: Guarantee,
    /// How records differ from their schema, where the run compared them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drift: Vec<DriftEvent>,
    /// Findings that deserve a look, by code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<Flag>,
    /// Gaps of the pages so far.
    #[serde(skip)]
    pub(crate) gaps: Vec<Gap>,
    /// Notes by code: how often, and the sentence.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub notes: BTreeMap<Cow<'static, str>, (u64, String)>,
    /// The treatment of personal data, if redaction was on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redaction: Option<RedactionReport>,
}

/// The time that a pass covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct PassRange {
    /// The first moment.
    #[serde(rename = "covered_from", skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The moment after the last.
    #[serde(rename = "covered_to", skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

impl PassRange {
    /// Adds the range of another pass.
    pub(crate) fn join(&mut self, other: Self) {
        self.extend(&PartitionRange {
            from: other.from,
            to: other.to,
            ..PartitionRange::default()
        });
    }

    /// Adds the range of a partition.
    pub(crate) fn extend(&mut self, range: &PartitionRange) {
        self.from = match (self.from, range.from) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.to = self.to.max(range.to);
    }
}

/// A finding about a stream that deserves a look although nothing failed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Flag {
    /// Stable, for machines.
    pub code: Cow<'static, str>,
    /// One sentence for people, with the maximum number of records and the command that mends it.
    pub message: String,
    /// The maximum number of records, where the flag is about records and the number is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u64>,
    /// The command that mends it before the next run; `None` where the next run mends it, or no command can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// The receipt of a run.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Receipt {
    /// How the whole run ended.
    pub outcome: Outcome,
    /// Stream by stream, in the source's order.
    pub streams: Vec<StreamReceipt>,
    /// Requests sent, retries included.
    pub requests: u64,
    /// How many of them were retries.
    pub retries: u64,
    /// When the run began.
    pub started_at: Timestamp,
    /// Seconds in all.
    pub seconds: f64,
    /// Seconds during which at least one request waited for the service's limit.
    pub limit_wait_seconds: f64,
    /// Seconds during which at least one request waited before a retry.
    pub backoff_wait_seconds: f64,
    /// Export jobs that were cancelled because the run was stopped.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cancelled_jobs: u64,
}

/// How a whole run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// Every wanted record is there.
    Complete,
    /// Some streams or positions are missing.
    Partial,
    /// No stream was read to its end.
    Failed,
    /// The service asked to come back later.
    Suspended,
    /// The user stopped it.
    Stopped,
}

impl Receipt {
    /// The kind of error that decides the exit code: the first stream's that failed, or a stop by the user.
    pub fn failure(&self) -> Option<Kind> {
        let failed = self.streams.iter().find_map(|stream| match stream.ending {
            Ending::Failed { kind, .. } | Ending::Suspended { kind, .. } => Some(kind),
            _ => None,
        });
        let is_stopped = self.outcome == Outcome::Stopped;
        failed.or(is_stopped.then_some(Kind::Cancelled))
    }

    pub(crate) fn outcome(streams: &[StreamReceipt]) -> Outcome {
        let any = |wanted: fn(&Ending) -> bool| streams.iter().any(|one| wanted(&one.ending));
        let has_failed = any(|ending| matches!(ending, Ending::Failed { .. }));
        let has_more = any(|ending| {
            matches!(
                ending,
                Ending::Complete | Ending::Partial | Ending::Limited | Ending::ReadBefore
            )
        });
        if any(|ending| matches!(ending, Ending::Suspended { .. })) {
            return Outcome::Suspended;
        }
        if !has_failed && any(|ending| matches!(ending, Ending::Stopped | Ending::NotRead)) {
            return Outcome::Stopped;
        }
        match (has_failed, has_more) {
            (true, false) => Outcome::Failed,
            (true, true) => Outcome::Partial,
            _ if any(|ending| matches!(ending, Ending::Partial))
                || streams
                    .iter()
                    .any(|one| one.rejected + one.oversized + one.places_missing > 0) =>
            {
                Outcome::Partial
            }
            _ => Outcome::Complete,
        }
    }
}

impl Ending {
    pub(crate) fn failed(error: &Error) -> Self {
        let message = error.to_string();
        let delay = error.delay();
        match (error.kind(), delay) {
            (kind @ (Kind::RateLimited | Kind::QuotaExhausted), Some(delay)) => Self::Suspended {
                kind,
                message,
                until: later(delay),
                retry_after_seconds: delay.as_secs(),
            },
            (kind, delay) => Self::Failed {
                kind,
                message,
                retry_after_seconds: delay.map(|delay| delay.as_secs()),
            },
        }
    }
}

/// The command that mends a gap, without the location of the state, which this crate does not know.
pub(crate) fn command(mend: &Mend, stream: &str) -> Option<String> {
    match mend {
        Mend::Run => None,
        Mend::Reset => Some(format!("headwater state reset --stream {stream}")),
        Mend::Rewind(to) => Some(format!(
            "headwater state rewind --stream {stream} --to {to}"
        )),
        Mend::Retry => Some(format!("headwater state retry --stream {stream}")),
    }
}

/// The end of a flag's message: the remedy that brings the records.
fn remedy(command: Option<&str>) -> String {
    command.map_or_else(
        || "; the next run reads them again".to_owned(),
        |command| format!("; `{command}`, then a run, reads them again"),
    )
}

/// The whole second after now plus a delay.
fn later(delay: Duration) -> Timestamp {
    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
    let until = Timestamp::now()
        .saturating_add(delay)
        .unwrap_or(Timestamp::MAX);
    Timestamp::from_second(until.as_second().saturating_add(1)).unwrap_or(until)
}

impl StreamReceipt {
    pub(crate) fn new(stream: &str, guarantee: Guarantee) -> Self {
        Self {
            stream: stream.to_owned(),
            ending: Ending::NotRead,
            records: 0,
            bytes: 0,
            pages: 0,
            read: 0,
            deduplicated: 0,
            overflowed: 0,
            collisions: 0,
            merged: 0,
            unseen: None,
            rejected: 0,
            oversized: 0,
            longest: 0,
            places_missing: 0,
            total: None,
            estimate: None,
            is_total_complete: false,
            requests: 0,
            retries: 0,
            limit_wait_seconds: 0.0,
            covered: PassRange::default(),
            guarantee,
            drift: Vec::new(),
            flags: Vec::new(),
            gaps: Vec::new(),
            notes: BTreeMap::new(),
            redaction: None,
        }
    }

    /// The expected number of records; `None` before every partition has reported its total, and `None` once the total
    /// has turned out wrong.
    pub fn expected(&self) -> Option<u64> {
        let expected = match self.total {
            Some(total) => Some(total).filter(|_| self.is_total_complete),
            None => self.estimate,
        };
        expected.filter(|expected| *expected >= self.read)
    }

    pub(crate) fn count(&mut self, counts: Counts) {
        self.records += counts.records;
        self.bytes += counts.bytes;
        self.deduplicated += counts.deduplicated;
        self.overflowed += counts.overflowed;
        self.collisions += counts.collisions;
        self.merged += counts.merged;
        self.rejected += counts.rejected;
        self.oversized += counts.oversized;
        self.longest = self.longest.max(counts.longest);
    }

    pub(crate) fn measure(&mut self, meter: &Meter) {
        self.requests = meter.requests();
        self.retries = meter.retries();
        self.limit_wait_seconds = meter.limit_pause().as_secs_f64();
    }

    pub(crate) fn note(&mut self, notes: Vec<Note>) {
        for note in notes {
            self.notes
                .entry(note.code.into())
                .or_insert_with(|| (0, note.message))
                .0 += 1;
        }
    }

    /// Counts and flags the positions that earlier runs quarantined. `stream` is the one that the state knows.
    pub(crate) fn flag_earlier_quarantine(&mut self, positions: usize, stream: &str) {
        if positions == 0 {
            return;
        }
        self.places_missing += positions as u64;
        let mend = command(&Mend::Retry, stream);
        self.flags.push(Flag {
            code: Cow::Borrowed("missing"),
            message: format!(
                "{} that earlier runs quarantined {} missing{}",
                counted(positions, "position"),
                if positions == 1 { "is" } else { "are" },
                remedy(mend.as_deref()),
            ),
            at_most: None,
            mend,
        });
    }

    /// Counts and flags a position that this run quarantines. `stream` is the one that the state knows.
    pub(crate) fn flag_quarantine(&mut self, stream: &str, runs: u32, message: &str) {
        self.places_missing += 1;
        let mend = command(&Mend::Retry, stream);
        self.flags.push(Flag {
            code: Cow::Borrowed("set_aside"),
            message: format!(
                "a position failed in {runs} runs in a row and is quarantined: {message}{}",
                remedy(mend.as_deref()),
            ),
            at_most: None,
            mend,
        });
    }

    pub(crate) fn flag(&mut self, code: &'static str, message: String) {
        self.flags.push(Flag {
            code: code.into(),
            message,
            at_most: None,
            mend: None,
        });
    }

    /// Adds a gap in the records of this stream. Gaps of one code become one flag, their numbers added up.
    pub(crate) fn gap(&mut self, gap: Gap) {
        let Some(known) = self.gaps.iter_mut().find(|known| known.code == gap.code) else {
            self.gaps.push(gap);
            return;
        };
        known.at_most = known
            .at_most
            .zip(gap.at_most)
            .map(|(one, other)| one + other);
    }

    /// Flags different records under one key.
    fn flag_collisions(&mut self) {
        if self.collisions == 0 {
            return;
        }
        let number = |count| usize::try_from(count).unwrap_or(usize::MAX);
        let differed = format!(
            "{} differed from another record with the same key within this pass",
            counted(number(self.collisions), "record")
        );
        let (message, mend) = if self.merged == 0 {
            let kept = format!(
                "both are kept: in a table, the later one has its digest in {DIGEST}; report to the vendor that the key \
                 is not unique"
            );
            (format!("{differed}; {kept}"), None)
        } else {
            let command = format!("headwater state reset --stream {}", self.stream);
            let kept = format!(
                "{} replaced the other one, since the table was made by an earlier version; `{command}`, and dropping \
                 the table, lets the next run keep all",
                counted(number(self.merged), "record")
            );
            (format!("{differed}; {kept}"), Some(command))
        };
        self.flags.push(Flag {
            code: Cow::Borrowed("key_collision"),
            message,
            at_most: Some(self.collisions),
            mend,
        });
    }

    /// Flags records that are too long. No command brings them: they are still too long the next time.
    fn flag_oversized(&mut self) {
        if self.oversized == 0 {
            return;
        }
        let number = usize::try_from(self.oversized).unwrap_or(usize::MAX);
        self.flags.push(Flag {
            code: Cow::Borrowed("record_too_long"),
            message: format!(
                "{} of {} left out for being longer than {} MiB; the longest has {} bytes",
                counted(number, "record"),
                self.stream,
                LONGEST_RECORD >> 20,
                self.longest
            ),
            at_most: Some(self.oversized),
            mend: None,
        });
    }

    /// Turns the gaps and the collisions into flags, once all of them are known.
    pub(crate) fn flag_gaps(&mut self) {
        self.flag_collisions();
        self.flag_oversized();
        for gap in std::mem::take(&mut self.gaps) {
            let mend = command(&gap.mend, &self.stream);
            let mut message = gap.message;
            if let Some(at_most) = gap.at_most {
                let s = if at_most == 1 { "" } else { "s" };
                message.push_str(&format!("; at most {at_most} record{s}"));
            }
            message.push_str(&remedy(mend.as_deref()));
            self.flags.push(Flag {
                code: Cow::Borrowed(gap.code),
                message,
                at_most: gap.at_most,
                mend,
            });
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

pub(crate) fn counted(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("1 {noun}")
    } else {
        format!("{count} {noun}s")
    }
}
