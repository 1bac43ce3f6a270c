//! A read with redaction: the records in the sink, and the summary.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{
    AnyStream, Kind, Meter, Page, Probe, Result, Source, Stream, StreamSpec, Timestamp,
};
use headwater_host::{
    Delivery, DriftOptions, Outcome, Receipt, Redaction, RunOptions, Sink, SinkState, State,
    WriteCounts,
};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Two pages of one record each.
struct People(StreamSpec);

const RECORDS: [&str; 2] = [
    r#"{"id":1,"email":"ada@example.com","backup":"ada@example.org"}"#,
    r#"{"id":2,"email":"bob@example.com","backup":null}"#,
];

#[async_trait]
impl Stream for People {
    type Partition = ();
    type Token = usize;
    type Bookmark = ();

    fn spec(&self) -> &StreamSpec {
        &self.0
    }

    fn plan(&self, _: Option<()>, _: Timestamp) -> Result<Vec<()>> {
        Ok(vec![()])
    }

    async fn fetch(&self, (): (), token: Option<usize>) -> Result<Page<usize, ()>> {
        let at = token.unwrap_or(0);
        let record = RECORDS[at];
        let mut page = Page::new(
            Bytes::from_static(record.as_bytes()),
            vec![0..record.len(); 2],
        );
        page.next = (at + 1 < RECORDS.len()).then_some(at + 1);
        Ok(page)
    }
}

struct Only(Arc<People>);

#[async_trait]
impl Source for Only {
    async fn probe(&self, _: &mut Probe) {}

    fn streams(&self) -> Vec<Arc<dyn AnyStream>> {
        vec![Arc::clone(&self.0) as Arc<dyn AnyStream>]
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Sink for Lines {
    fn write(&mut self, _: &str, records: &mut dyn Iterator<Item = &[u8]>) -> Result<WriteCounts> {
        let line = |record: &[u8]| String::from_utf8_lossy(record).into_owned();
        let mut lines = self.0.lock().unwrap();
        let before = lines.len();
        lines.extend(records.map(line));
        Ok(WriteCounts {
            records: (lines.len() - before) as u64,
            ..WriteCounts::default()
        })
    }

    fn commit(&mut self, _: &mut dyn SinkState) -> Result<()> {
        Ok(())
    }

    fn delivery(&self) -> Delivery {
        Delivery::RecordsFirst
    }

    fn restore(&mut self, _: &[StreamSpec], _: &dyn SinkState) -> Result<()> {
        Ok(())
    }
}

async fn run(schema: fn() -> Value, limit: Option<u64>) -> (Result<Receipt>, Vec<String>) {
    run_with(schema, limit, None).await
}

async fn run_with(
    schema: fn() -> Value,
    limit: Option<u64>,
    drift: Option<DriftOptions>,
) -> (Result<Receipt>, Vec<String>) {
    let spec = StreamSpec {
        name: "people",
        description: "A person.",
        key: &["id"],
        cursor: None,
        incremental: false,
        schema,
    };
    let source = Only(Arc::new(People(spec)));
    let (_stop, stopped) = watch::channel(false);
    let mut options = RunOptions::new(Arc::new(Meter::default()), stopped);
    options.limit = limit;
    options.commit_every = Some(Duration::ZERO);
    options.redaction = Some(Redaction::default());
    options.drift = drift;
    let sink = Lines::default();
    let summary = headwater_host::run(
        &source,
        &[],
        State::new("x"),
        Box::new(sink.clone()),
        options,
        &mut |_| {},
    )
    .await;
    let lines = sink.0.lock().unwrap().clone();
    (summary, lines)
}

fn schema() -> Value {
    json!({ "properties": { "email": { "type": "string", "x-headwater": { "class": "email" } } } })
}

const ADA: &str = r#"{"id":1,"email":"b5fc85e55755@redacted","backup":"ada@example.org"}"#;
const BOB: &str = r#"{"id":2,"email":"5ff860bf1190@redacted","backup":null}"#;

#[tokio::test]
async fn the_sink_gets_redacted_records_and_the_summary_tells_of_them() {
    let (summary, lines) = run(schema, None).await;
    assert_eq!(lines, [ADA, ADA, BOB, BOB]);
    let summary = &summary.unwrap().streams[0];
    assert_eq!(summary.records, 4);
    assert_eq!(summary.bytes, lines.concat().len() as u64);
    let redacted = summary.redaction.as_ref().unwrap();
    assert_eq!(redacted.fields[0].values, 4);
    let (count, message) = &summary.notes["unclassed_email"];
    assert_eq!(*count, 2);
    assert!(message.ends_with(": backup"), "{message}");
}

#[tokio::test]
async fn a_page_that_the_limit_cuts_is_redacted_and_counted_as_far_as_it_is_written() {
    let (summary, lines) = run(schema, Some(3)).await;
    assert_eq!(lines, [ADA, ADA, BOB]);
    let redacted = summary.unwrap().streams[0].redaction.clone().unwrap();
    assert_eq!(redacted.fields[0].values, 3);
}

#[tokio::test]
async fn a_schema_that_cannot_be_followed_is_refused_before_anything_is_read() {
    fn schema() -> Value {
        json!({ "$ref": "#/$defs/person", "$defs": { "person": self::schema() } })
    }
    let (refused, lines) = run(schema, None).await;
    assert_eq!(refused.unwrap_err().kind(), Kind::Unsupported);
    assert!(lines.is_empty());
}

/// The backup of the second record is null.
#[tokio::test]
async fn a_record_is_redacted_wherever_its_drift_sends_it() {
    fn schema() -> Value {
        let email = json!({ "type": "string", "x-headwater": { "class": "email" } });
        json!({ "properties": { "id": {}, "email": email, "backup": { "type": "string" } } })
    }
    let folder = tempfile::tempdir().unwrap();
    let letters = folder.path().join("letters.jsonl");
    let with = |policy: &str| {
        Some(DriftOptions::new(
            vec![policy.parse().unwrap()],
            Some(letters.clone()),
        ))
    };
    let values =
        |receipt: &Receipt| receipt.streams[0].redaction.as_ref().unwrap().fields[0].values;
    let drift = |receipt: &Receipt| receipt.streams[0].drift[0].to_string();

    let (receipt, lines) = run_with(schema, None, with("accept")).await;
    let accepted = receipt.unwrap();
    assert_eq!(lines, [ADA, ADA, BOB, BOB]);
    assert_eq!(values(&accepted), 4);
    assert_eq!(accepted.streams[0].drift[0].count, 2);

    let (receipt, lines) = run_with(schema, None, with("reject")).await;
    let receipt = receipt.unwrap();
    assert_eq!(lines, [ADA, ADA]);
    assert_eq!((receipt.streams[0].rejected, values(&receipt)), (2, 4));
    assert_eq!(drift(&receipt), drift(&accepted));
    let text = std::fs::read_to_string(&letters).unwrap();
    let kept = text.lines().map(|line| {
        let letter: Value = serde_json::from_str(line).unwrap();
        letter["record"]["email"].as_str().unwrap().to_owned()
    });
    assert_eq!(kept.collect::<Vec<_>>(), ["5ff860bf1190@redacted"; 2]);

    // Nothing of the page that stops the stream counts as redacted.
    let (receipt, lines) = run_with(schema, None, with("stop")).await;
    let receipt = receipt.unwrap();
    assert_eq!(receipt.outcome, Outcome::Failed);
    assert_eq!(lines, [ADA, ADA]);
    assert_eq!(values(&receipt), 2);
}
