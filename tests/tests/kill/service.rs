//! A service without HTTP, and a source that reads it. What it has is a function of its time, which only grows.
//!
//! | stream | what is hard about it |
//! | --- | --- |
//! | `events` | several have one time, which a page or a run may end in the middle of; none has a key |
//! | `orders` | change between runs and in the middle of one, and move to the end of the list then |
//! | `readings` | windows whose pages are read side by side |
//! | `authors` | come in the pages of `readings` |
//! | `exports` | come from jobs: a mark, then an order, then the result; no job may be ordered twice |

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use headwater_core::{
    AnyStream, Error, Kind, Page, Probe, Result, Source, Stream, StreamSpec, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::steps::Steps;

/// What each step of the service's time brings of every kind. No multiple of what has one time.
const OF_A_STEP: u64 = 18;
/// Numbers that have one time.
const TIES: u64 = 5;
/// Orders that there are.
const ORDERS: u64 = 13;
/// The most records of a page of a list.
const PAGE: usize = 7;
/// Readings of a window, and of each place that can be read beside the others.
const WINDOW: u64 = 10;
const PLACE: u64 = 3;
/// Records of a job, and of a page of its result.
const EXPORT: u64 = 12;
const EXPORT_PAGE: u64 = 5;

/// All streams, those that come along included.
pub const STREAMS: [&str; 5] = ["events", "orders", "readings", "authors", "exports"];

/// What the service has at a time.
pub struct Service {
    /// How much time has passed.
    pub now: u64,
    pub jobs: Jobs,
    /// The longest that an answer takes.
    pub slowest: Duration,
    pub steps: Arc<Steps>,
}

impl Service {
    /// Everything that a stream had or has: numbers, oldest first.
    pub fn numbers(&self, stream: &str) -> Vec<u64> {
        let all = 0..self.now * OF_A_STEP;
        if stream != "orders" {
            return all.collect();
        }
        // Only the last change of each order is there.
        let last: BTreeMap<u64, u64> = all.map(|change| (order_of(change), change)).collect();
        let mut changes: Vec<u64> = last.into_values().collect();
        changes.sort_unstable();
        changes
    }

    async fn answer(&self) {
        self.steps.step();
        if !self.slowest.is_zero() {
            let longest = u64::try_from(self.slowest.as_micros()).unwrap();
            tokio::time::sleep(Duration::from_micros(fastrand::u64(..longest))).await;
        }
    }
}

/// The order that a change is of.
fn order_of(change: u64) -> u64 {
    (change * 7 + change / 11) % ORDERS
}

/// A record as the service sends it.
pub fn record(stream: &str, number: u64) -> Value {
    match stream {
        "orders" => json!({"id": order_of(number), "version": number}),
        _ => json!({"id": number, "of": stream}),
    }
}

/// A page of these records.
fn page<Token, Bookmark>(
    stream: &'static str,
    companion: Option<&'static str>,
    numbers: &[u64],
) -> Page<Token, Bookmark> {
    let mut body = String::new();
    let mut spans = |stream: &str| -> Vec<_> {
        let span = |number: &u64| {
            let from = body.len();
            body.push_str(&record(stream, *number).to_string());
            from..body.len()
        };
        numbers.iter().map(span).collect()
    };
    let records = spans(stream);
    let companions = companion.map(|name| (name, spans(name)));
    let mut page = Page::new(Bytes::from(body), records);
    page.companions.extend(companions);
    page
}

fn spec(name: &'static str, key: &'static [&'static str]) -> StreamSpec {
    StreamSpec {
        name,
        description: "A thing.",
        key,
        cursor: None,
        incremental: true,
        schema: || {
            json!({"type": "object", "properties": {
                "id": {"type": "integer"}, "version": {"type": "integer"}, "of": {"type": "string"},
            }})
        },
    }
}

/// The source that reads the service.
pub struct ServiceSource(pub Arc<Service>);

#[async_trait::async_trait]
impl Source for ServiceSource {
    async fn probe(&self, _: &mut Probe) {}

    fn streams(&self) -> Vec<Arc<dyn AnyStream>> {
        let service = || Arc::clone(&self.0);
        vec![
            Arc::new(List {
                service: service(),
                spec: spec("events", &[]),
            }),
            Arc::new(List {
                service: service(),
                spec: spec("orders", &["id"]),
            }),
            Arc::new(Windows {
                service: service(),
                spec: spec("readings", &[]),
                companions: [spec("authors", &[])],
            }),
            Arc::new(Exports {
                service: service(),
                spec: spec("exports", &[]),
            }),
        ]
    }
}

/// A list by time, oldest first.
struct List {
    service: Arc<Service>,
    spec: StreamSpec,
}

/// How far a list was read: to a time, and these of that time.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Mark {
    time: u64,
    seen: Vec<u64>,
}

#[async_trait::async_trait]
impl Stream for List {
    type Partition = Mark;
    type Token = Mark;
    type Bookmark = Mark;

    fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    fn plan(&self, bookmark: Option<Mark>, _: Timestamp) -> Result<Vec<Mark>> {
        Ok(vec![bookmark.unwrap_or_default()])
    }

    async fn fetch(&self, partition: Mark, token: Option<Mark>) -> Result<Page<Mark, Mark>> {
        self.service.answer().await;
        let Mark { time, mut seen } = token.unwrap_or(partition);
        let is_new = |number: &u64| {
            let of = number / TIES;
            of > time || (of == time && !seen.contains(number))
        };
        let name = self.spec.name;
        let numbers = self.service.numbers(name).into_iter();
        let numbers: Vec<u64> = numbers.filter(is_new).take(PAGE).collect();
        let last = numbers.last().map_or(time, |last| last / TIES);
        if last > time {
            seen.clear();
        }
        seen.extend(numbers.iter().filter(|number| *number / TIES == last));
        let reached = Mark { time: last, seen };
        let mut page = page(name, None, &numbers);
        if numbers.len() == PAGE {
            page.next = Some(reached);
        } else {
            page.bookmark = Some(reached);
        }
        self.service.steps.step();
        Ok(page)
    }
}

/// From here to there, without the end.
type Span = (u64, u64);

/// What is there since a bookmark, in spans of the same size.
fn spans(from: Option<u64>, to: u64, size: u64) -> Vec<Span> {
    let starts = (from.unwrap_or(0)..to).step_by(usize::try_from(size).unwrap());
    starts.map(|start| (start, to.min(start + size))).collect()
}

/// Windows, each with places that can be read in any order.
struct Windows {
    service: Arc<Service>,
    spec: StreamSpec,
    companions: [StreamSpec; 1],
}

#[derive(Clone, Serialize, Deserialize)]
enum Place {
    Of(Span),
    /// After all others of the window.
    End,
}

#[async_trait::async_trait]
impl Stream for Windows {
    type Partition = Span;
    type Token = Place;
    type Bookmark = u64;

    fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    fn companions(&self) -> &[StreamSpec] {
        &self.companions
    }

    fn plan(&self, bookmark: Option<u64>, _: Timestamp) -> Result<Vec<Span>> {
        Ok(spans(bookmark, self.service.now * OF_A_STEP, WINDOW))
    }

    async fn fetch(&self, (from, to): Span, place: Option<Place>) -> Result<Page<Place, u64>> {
        self.service.answer().await;
        let page = |numbers: &[u64]| page("readings", Some("authors"), numbers);
        let page = match place {
            // One record, and where the others are.
            None => Page {
                beside: spans(Some(from + 1), to, PLACE)
                    .into_iter()
                    .map(Place::Of)
                    .collect(),
                next: Some(Place::End),
                ..page(&[from])
            },
            Some(Place::Of((first, end))) => Page {
                next: (first + 2 < end).then_some(Place::Of((first + 2, end))),
                ..page(&(first..end.min(first + 2)).collect::<Vec<_>>())
            },
            Some(Place::End) => Page {
                bookmark: Some(to),
                ..Page::empty()
            },
        };
        self.service.steps.step();
        Ok(page)
    }
}

/// Jobs that were ordered. The service does not forget them when its reader is killed.
pub struct Jobs {
    /// None forgets them.
    folder: Option<PathBuf>,
    ordered: Mutex<Vec<Job>>,
}

#[derive(Clone, Copy, PartialEq)]
pub struct Job {
    id: u64,
    of: Span,
}

impl Jobs {
    /// The jobs that a folder has a file of, each.
    pub fn of(folder: &Path) -> Self {
        let mut ordered = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let mut parts = name.split('-').map(|part| part.parse().unwrap());
            let mut part = || parts.next().unwrap();
            ordered.push(Job {
                id: part(),
                of: (part(), part()),
            });
        }
        Self {
            folder: Some(folder.to_owned()),
            ordered: Mutex::new(ordered),
        }
    }

    /// The same, where orders change no file.
    pub fn copy_of(folder: &Path) -> Self {
        Self {
            folder: None,
            ..Self::of(folder)
        }
    }

    fn newest(&self) -> u64 {
        let ordered = self.ordered.lock().unwrap();
        ordered.iter().map(|job| job.id).max().unwrap_or(0)
    }

    /// The job of a span that is newer than this one.
    fn find(&self, of: Span, after: u64) -> Option<u64> {
        let ordered = self.ordered.lock().unwrap();
        let found = ordered.iter().find(|job| job.of == of && job.id > after);
        found.map(|job| job.id)
    }

    fn order(&self, of: Span) -> u64 {
        let id = self.newest() + 1;
        self.ordered.lock().unwrap().push(Job { id, of });
        if let Some(folder) = &self.folder {
            File::create_new(folder.join(format!("{id}-{}-{}", of.0, of.1))).unwrap();
        }
        id
    }

    /// Spans that were ordered more than once.
    pub fn repeated(&self) -> Vec<Span> {
        let ordered = self.ordered.lock().unwrap();
        let is_again =
            |(at, job): &(usize, &Job)| ordered[..*at].iter().any(|one| one.of == job.of);
        let again = ordered.iter().enumerate().filter(is_again);
        again.map(|(_, job)| job.of).collect()
    }
}

/// Spans that a job exports, each.
struct Exports {
    service: Arc<Service>,
    spec: StreamSpec,
}

#[derive(Clone, Serialize, Deserialize)]
enum Export {
    /// This was the newest job before anything was ordered.
    Mark(u64),
    OrderOutcome(u64),
    Reading {
        job: u64,
        from: u64,
    },
}

#[async_trait::async_trait]
impl Stream for Exports {
    type Partition = Span;
    type Token = Export;
    type Bookmark = u64;

    fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    fn plan(&self, bookmark: Option<u64>, _: Timestamp) -> Result<Vec<Span>> {
        Ok(spans(bookmark, self.service.now * OF_A_STEP, EXPORT))
    }

    async fn fetch(&self, span: Span, token: Option<Export>) -> Result<Page<Export, u64>> {
        self.service.answer().await;
        let jobs = &self.service.jobs;
        let wait = |next| Page::wait(next, Duration::ZERO, "a job");
        let (job, from) = match token {
            None => return Ok(wait(Export::Mark(jobs.newest()))),
            Some(Export::Mark(after)) => {
                let job = jobs.find(span, after).unwrap_or_else(|| jobs.order(span));
                self.service.steps.step();
                return Ok(wait(Export::OrderOutcome(job)));
            }
            Some(Export::OrderOutcome(job)) => (job, span.0),
            Some(Export::Reading { job, from }) => (job, from),
        };
        if jobs.find(span, job - 1) != Some(job) {
            return Err(Error::new(Kind::Unexpected, "this job was never ordered"));
        }
        let to = span.1.min(from + EXPORT_PAGE);
        let numbers: Vec<u64> = (from..to).collect();
        let mut page = page("exports", None, &numbers);
        if to == span.1 {
            page.bookmark = Some(to);
        } else {
            page.next = Some(Export::Reading { job, from: to });
        }
        self.service.steps.step();
        Ok(page)
    }
}
