//! The calls that a sink gets for passes: their beginning, their mark, and the end of a complete one.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use headwater_core::{
    AnyStream, Error, Gap, Kind, Mend, Meter, Page, Probe, Result, Source, Stream, StreamSpec,
    Timestamp,
};
use headwater_host::{
    Deletes, Delivery, Receipt, RunOptions, Sink, SinkState, State, UnseenRows, WriteCounts,
};
use serde_json::{Value, json};
use tokio::sync::watch;

/// The behaviour of the service in the next run.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// The second page fails.
    fails: bool,
    /// A page has a gap.
    has_gap: bool,
    is_empty: bool,
}

/// Three pages of one record each; `more` is a secondary stream.
struct Things {
    spec: StreamSpec,
    more: Vec<StreamSpec>,
    weather: Arc<Mutex<Weather>>,
}

#[async_trait]
impl Stream for Things {
    type Partition = u32;
    type Token = u32;
    type Bookmark = u32;

    fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    fn companions(&self) -> &[StreamSpec] {
        &self.more
    }

    fn plan(&self, _: Option<u32>, _: Timestamp) -> Result<Vec<u32>> {
        Ok(vec![0])
    }

    async fn fetch(&self, _: u32, token: Option<u32>) -> Result<Page<u32, u32>> {
        let weather = *self.weather.lock().unwrap();
        let token = token.unwrap_or(0);
        if weather.fails && token == 1 {
            return Err(Error::new(Kind::Unavailable, "not now"));
        }
        if weather.is_empty {
            return Ok(Page::empty());
        }
        let body = format!("{{\"id\":{token}}}").repeat(12);
        let length = body.len() / 12;
        let records: Vec<_> = (0..12).map(|n| n * length..(n + 1) * length).collect();
        let mut page = Page::new(Bytes::from(body), records.clone());
        page.companions = vec![("more", records)];
        page.next = (token < 2).then_some(token + 1);
        if weather.has_gap && token == 0 {
            page.gaps.push(Gap {
                code: "lost",
                message: "something was passed over".to_owned(),
                at_most: Some(1),
                mend: Mend::Run,
            });
        }
        Ok(page)
    }
}

struct Service {
    things: Arc<Things>,
    weather: Arc<Mutex<Weather>>,
}

impl Service {
    fn new(incremental: bool) -> Self {
        let spec = |name| StreamSpec {
            name,
            description: "A thing.",
            key: &["id"],
            cursor: None,
            incremental,
            schema: || json!({}),
        };
        let weather: Arc<Mutex<Weather>> = Arc::default();
        let things = Things {
            spec: spec("things"),
            more: vec![spec("more")],
            weather: Arc::clone(&weather),
        };
        Self {
            things: Arc::new(things),
            weather,
        }
    }
}

#[async_trait]
impl Source for Service {
    async fn probe(&self, _: &mut Probe) {}

    fn streams(&self) -> Vec<Arc<dyn AnyStream>> {
        vec![Arc::clone(&self.things) as Arc<dyn AnyStream>]
    }
}

/// Records its calls: `begin STREAM`, then `end STREAM` after a complete pass.
#[derive(Clone, Default)]
struct PassCalls(Arc<Mutex<(Vec<String>, Vec<u64>)>>);

impl Sink for PassCalls {
    fn delivery(&self) -> Delivery {
        Delivery::RecordsFirst
    }

    fn restore(&mut self, _: &[StreamSpec], _: &dyn SinkState) -> Result<()> {
        Ok(())
    }

    fn begin_pass(&mut self, stream: &str, mark: u64) -> Result<()> {
        let mut calls = self.0.lock().unwrap();
        calls.0.push(format!("begin {stream}"));
        calls.1.push(mark);
        Ok(())
    }

    fn end_pass(&mut self, stream: &str) -> Result<Option<UnseenRows>> {
        self.0.lock().unwrap().0.push(format!("end {stream}"));
        Ok(Some(UnseenRows {
            rows: 2,
            deletes: Deletes::Keep,
        }))
    }

    fn write(&mut self, _: &str, records: &mut dyn Iterator<Item = &[u8]>) -> Result<WriteCounts> {
        Ok(WriteCounts {
            records: records.count() as u64,
            collisions: 1,
            ..WriteCounts::default()
        })
    }

    fn commit(&mut self, _: &mut dyn SinkState) -> Result<()> {
        Ok(())
    }
}

/// Runs once from the state; returns the calls of the sink, the marks and the receipt.
async fn run(
    service: &Service,
    state: &Path,
    wanted: &[&str],
    change: impl FnOnce(&mut RunOptions),
) -> (Vec<String>, Vec<u64>, Receipt) {
    let (_stop, stopped) = watch::channel(false);
    let mut options = RunOptions::new(Arc::new(Meter::default()), stopped);
    options.state_path = Some(state.to_owned());
    options.concurrency = 1;
    change(&mut options);
    let calls = PassCalls::default();
    let wanted: Vec<String> = wanted.iter().map(|&name| name.to_owned()).collect();
    let before = State::load(state, "x", &["things", "more"]).unwrap();
    let sink = Box::new(calls.clone());
    let receipt = headwater_host::run(service, &wanted, before, sink, options, &mut |_| {})
        .await
        .unwrap();
    let (said, marks) = std::mem::take(&mut *calls.0.lock().unwrap());
    (said, marks, receipt)
}

fn place() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.json");
    (folder, state)
}

const BOTH: [&str; 4] = ["begin things", "begin more", "end things", "end more"];

#[tokio::test]
async fn a_complete_pass_ends_for_each_stream_and_the_next_one_has_a_greater_mark() {
    let (_folder, state) = place();
    let service = Service::new(false);
    let (said, marks, receipt) = run(&service, &state, &[], |_| {}).await;
    assert_eq!(said, BOTH);
    let stream = &receipt.streams[0];
    assert_eq!(stream.unseen.unwrap().rows, 2);
    assert_eq!(
        (stream.collisions, &*stream.flags[0].code),
        (3, "key_collision")
    );
    let (said, later, _) = run(&service, &state, &[], |_| {}).await;
    assert_eq!(said, BOTH);
    assert!(
        later[0] > marks[0] && marks[0] == marks[1],
        "{marks:?} {later:?}"
    );
}

#[tokio::test]
async fn a_pass_that_may_have_missed_something_does_not_end() {
    for (what, weather) in [
        (
            "gap",
            Weather {
                has_gap: true,
                ..Weather::default()
            },
        ),
        ("limit", Weather::default()),
        ("incremental", Weather::default()),
    ] {
        let (_folder, state) = place();
        let service = Service::new(what == "incremental");
        *service.weather.lock().unwrap() = weather;
        let limit = |options: &mut RunOptions| options.limit = (what == "limit").then_some(3);
        let (said, _, receipt) = run(&service, &state, &[], limit).await;
        assert_eq!(said, BOTH[..2], "{what}");
        assert_eq!(receipt.streams[0].unseen, None, "{what}");
    }
    // A stream that had many records and suddenly has none may be a mistake of the service.
    let (_folder, state) = place();
    let service = Service::new(false);
    run(&service, &state, &[], |_| {}).await;
    service.weather.lock().unwrap().is_empty = true;
    let (said, ..) = run(&service, &state, &[], |_| {}).await;
    assert_eq!(said, BOTH[..2]);
}

#[tokio::test]
async fn a_resumed_pass_keeps_its_mark_and_ends_for_streams_that_it_has_had_from_its_beginning() {
    for (first, has_gap, expected) in [
        (&[][..], false, &BOTH[..]),
        (&["things"][..], false, &BOTH[..3]),
        (&[][..], true, &BOTH[..2]),
    ] {
        let (_folder, state) = place();
        let service = Service::new(false);
        *service.weather.lock().unwrap() = Weather {
            fails: true,
            has_gap,
            is_empty: false,
        };
        let (_, before, _) = run(&service, &state, first, |_| {}).await;
        *service.weather.lock().unwrap() = Weather::default();
        let (said, marks, receipt) = run(&service, &state, &[], |_| {}).await;
        assert_eq!(said, expected, "{receipt:?}");
        assert_eq!(marks[0], before[0]);
        let kept: Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
        assert!(
            kept["streams"]["things"]["mark"]["whole"].is_null(),
            "{kept}"
        );
    }
}
