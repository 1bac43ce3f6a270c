//! Audit events with their actors: page by page, or by export job for long ranges.

use std::ops::Range;

use async_trait::async_trait;
use headwater::{
    Page,
    http::{
        BookmarkLimit, Client, Export, ExportStream, ExportToken, FingerprintSet, Jobs, Progress,
        Records, Request, Response, Route, ServiceTime,
    },
    prelude::*,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Config,
    activities::is_about,
    jobs::{ExportJobs, Job},
};

/// The vendor's document names `items`; others have observed `activities`.
pub(crate) const EVENTS: Records = Records::Lists(&["/items", "/activities"]);
const ACTORS: &str = "/actors";
const NEXT: &str = "/nextLink";
/// The documented maximum.
const MAX_PAGE: u32 = 1000;
/// How long Clari keeps events; a first run reads all of them.
const RETENTION: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Younger events may be incomplete; the next pass reads them.
const SETTLING: SignedDuration = SignedDuration::from_mins(5);
/// The maximum number of event fingerprints in a bookmark. Further events are read twice, not lost.
const MAX_REMEMBERED: usize = 10_000;
/// The document does not say whether the bounds belong to the range, so passes overlap.
const OVERLAP: SignedDuration = SignedDuration::from_secs(2);

/// A time range.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Span {
    from: Timestamp,
    to: Timestamp,
    by_export: bool,
    /// Events near `from` that the last pass delivered.
    delivered: FingerprintSet,
}

/// The start of the next pass.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bookmark {
    until: Timestamp,
    /// Events near that time.
    delivered: FingerprintSet,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    #[serde(rename = "place")]
    position: Option<AuditPosition>,
    /// Events near the end of the range.
    delivered: FingerprintSet,
    /// Actors of this pass: every page repeats them.
    actors: FingerprintSet,
    /// Followed links in an older state.
    #[serde(default, skip_serializing_if = "FingerprintSet::is_empty")]
    links: FingerprintSet,
    /// The start of the next pass, if it is before the end of the range, because the planning clock was ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    /// The pages of this pass.
    #[serde(default)]
    pages: Progress,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AuditPosition {
    Link(String),
    Export(ExportToken),
}

struct AuditExport {
    specs: Vec<StreamSpec>,
    export_after: Option<SignedDuration>,
    jobs: ExportJobs<Span>,
}

impl Export for AuditExport {
    type Order = Span;
    type Bookmark = Bookmark;

    fn client(&self) -> &Client {
        &self.jobs.client
    }

    fn spec(&self) -> &StreamSpec {
        &self.specs[0]
    }

    fn companions(&self) -> &[StreamSpec] {
        &self.specs[1..]
    }

    fn lists(&self) -> &'static [(&'static str, usize)] {
        &[("items", 0), ("activities", 0), ("actors", 1)]
    }

    fn plan(&self, bookmark: Option<Bookmark>, now: Timestamp) -> Result<Vec<Span>> {
        let out_of_range = |error| {
            Error::new(Kind::Unexpected, "the time of the read is out of range").caused_by(error)
        };
        let to = now.checked_sub(SETTLING).map_err(out_of_range)?;
        let (from, delivered) = match bookmark {
            Some(bookmark) => {
                let from = bookmark.until.checked_sub(OVERLAP).map_err(out_of_range)?;
                (from, bookmark.delivered)
            }
            None => (
                now.checked_sub(RETENTION).map_err(out_of_range)?,
                FingerprintSet::default(),
            ),
        };
        if to.duration_since(from) <= OVERLAP {
            return Ok(Vec::new());
        }
        let by_export = self
            .export_after
            .is_some_and(|longest| to.duration_since(from) > longest);
        Ok(vec![Span {
            from,
            to,
            by_export,
            delivered,
        }])
    }

    fn route(&self, _: &Span) -> Route {
        Route::Job
    }

    fn range(&self, span: &Span) -> PartitionRange {
        PartitionRange {
            title: String::new(),
            from: Some(span.from),
            to: Some(span.to),
        }
    }

    fn watermark(&self, bookmark: &Bookmark) -> Watermark {
        Watermark {
            until: Some(bookmark.until),
            again_from: bookmark.until.checked_sub(OVERLAP).ok(),
            reason: format!(
                "the last {} seconds are read again, since Clari does not document whether a range includes its ends; \
                 known events are left out",
                OVERLAP.as_secs()
            ),
        }
    }

    fn rewind(&self, to: Timestamp) -> Option<Bookmark> {
        Some(Bookmark {
            until: to,
            delivered: FingerprintSet::default(),
        })
    }

    fn jobs(&self) -> &dyn Jobs<Span> {
        &self.jobs
    }
}

fn order(span: &Span, _: &Config) -> Request {
    let body = json!({ "dateFrom": span.from.to_string(), "dateTo": span.to.to_string() });
    Request::post("/export/audit/events", &body)
}

/// A job does not show its range; a pass has one order, and the kit never assigns a job to two orders.
fn is_ours(_: &Span, job: &Job) -> bool {
    is_about(job, "audit")
}

fn refusal(_: &Span, client: &Client, request: &Request, response: &Response) -> Error {
    client.refusal(request, response)
}

/// The stream of audit events, with their actors.
pub(crate) struct Audit {
    export: ExportStream<AuditExport>,
}

impl Audit {
    /// Expects the specs of events and actors.
    pub(crate) fn new(client: &Client, config: &Config, specs: Vec<StreamSpec>) -> Self {
        let days = i64::from(config.audit_export_days);
        Self {
            export: ExportStream::new(AuditExport {
                specs,
                export_after: (days > 0).then(|| SignedDuration::from_hours(days * 24)),
                jobs: ExportJobs::new(client, config, order, is_ours, refusal),
            }),
        }
    }

    /// Reads one page of events and actors.
    async fn page(
        &self,
        span: &Span,
        link: Option<String>,
        token: &mut Token,
    ) -> Result<Page<Token, Bookmark>> {
        let export = self.export.export();
        let client = &export.jobs.client;
        let request = match link {
            Some(link) => Request::link(link),
            None => Request::get("/audit/events")
                .query("limit", MAX_PAGE)
                .query("dateFrom", span.from)
                .query("dateTo", span.to),
        };
        let response = client.send(&request).await?;
        let mut split = client.cut(&response, EVENTS, &[ACTORS], &[NEXT])?;
        let notes = split.notes(export.specs[0].name);
        if !token.links.is_empty() {
            token.pages = Progress::after(std::mem::take(&mut token.links));
        }
        let pages = &mut token.pages;
        pages.take(&response.body, &mut split.records, None, false);
        let next = match split.found.into_iter().next().flatten() {
            None | Some(Value::Null) => None,
            Some(Value::String(link)) if link.is_empty() => None,
            Some(Value::String(link)) => pages.goes_on(Some(&link))?.then_some(link),
            Some(_) => {
                let text = "the link to the next page of audit events is not text";
                return Err(Error::new(Kind::DataInvalid, text));
            }
        };
        token.position = next.map(AuditPosition::Link);
        let actors = split.companions.into_iter().next().unwrap_or_default();
        let mut page = Page::new(response.body, split.records);
        page.notes = notes;
        page.companions = vec![(export.specs[1].name, actors)];
        Ok(page)
    }

    /// Removes delivered events.
    fn remove_delivered(&self, span: &Span, page: &mut Page<Token, Bookmark>, token: &mut Token) {
        let body = &page.body;
        let until = token.until.unwrap_or(span.to);
        let ends = seconds_up_to(until);
        // If the clock was ahead, the next pass reads every event after its start again.
        let is_later = |record: &[u8]| token.until.is_some() && happened(record) >= Some(until);
        let has_one_of = |bytes: &[u8], times: &[String]| {
            std::str::from_utf8(bytes)
                .is_ok_and(|text| times.iter().any(|time| text.contains(time)))
        };
        // Most pages of a first pass contain neither.
        let is_near = token.until.is_some() || has_one_of(body, &minutes_of(&ends));
        if !span.delivered.is_empty() || is_near {
            page.records.retain(|event: &Range<usize>| {
                let record = &body[event.clone()];
                if token.delivered.len() < MAX_REMEMBERED
                    && (has_one_of(record, &ends) || is_later(record))
                {
                    token.delivered.insert(FingerprintSet::fingerprint(record));
                }
                span.delivered.is_empty()
                    || !span.delivered.contains(FingerprintSet::fingerprint(record))
            });
        }
        for (_, actors) in &mut page.companions {
            actors.retain(|actor| {
                token
                    .actors
                    .insert(FingerprintSet::fingerprint(&body[actor.clone()]))
            });
        }
    }
}

/// Returns the start of the next pass, if Clari's clock puts it before the end of the range. Called after the first
/// response of the pass.
fn bounded(span: &Span, time: ServiceTime) -> Option<Timestamp> {
    let planned = span.to.checked_add(SETTLING).ok()?;
    let settled = |at: Timestamp| at.checked_sub(SETTLING).unwrap_or(at);
    let end = match (time.bound(planned, SignedDuration::ZERO), time.date()) {
        (BookmarkLimit::Planned, _) => return None,
        // The whole pass comes after this response.
        (BookmarkLimit::Unknown, Some(date)) => BookmarkLimit::At(settled(date)),
        (BookmarkLimit::At(at), _) => BookmarkLimit::At(settled(at)),
        (BookmarkLimit::Unknown, None) => BookmarkLimit::Unknown,
    };
    let since = span.from.checked_add(OVERLAP).unwrap_or(span.from);
    let end = end.end(span.to, since);
    (end < span.to).then_some(end)
}

/// Returns the time of an event.
fn happened(record: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "eventTimestamp")]
        at: Timestamp,
    }
    let event: Event = serde_json::from_slice(record).ok()?;
    Some(event.at)
}

/// Returns the seconds of the overlap with the next pass, in the spelling of events. An event with another spelling of
/// its time is delivered twice, not lost.
fn seconds_up_to(end: Timestamp) -> Vec<String> {
    (0..=OVERLAP.as_secs())
        .filter_map(|back| end.checked_sub(SignedDuration::from_secs(back)).ok())
        .map(|second| second.strftime("%Y-%m-%dT%H:%M:%S").to_string())
        .collect()
}

/// Returns the common minutes of these seconds, so that a page is searched once or twice.
fn minutes_of(seconds: &[String]) -> Vec<String> {
    const MINUTE: usize = "2026-01-01T00:00".len();
    let mut minutes: Vec<String> = seconds
        .iter()
        .filter_map(|second| second.get(..MINUTE).map(str::to_owned))
        .collect();
    minutes.dedup();
    minutes
}

#[async_trait]
impl Stream for Audit {
    type Partition = Span;
    type Token = Token;
    type Bookmark = Bookmark;

    fn spec(&self) -> &StreamSpec {
        Stream::spec(&self.export)
    }

    fn companions(&self) -> &[StreamSpec] {
        Stream::companions(&self.export)
    }

    fn plan(&self, bookmark: Option<Bookmark>, now: Timestamp) -> Result<Vec<Span>> {
        Stream::plan(&self.export, bookmark, now)
    }

    async fn fetch(&self, span: Span, token: Option<Token>) -> Result<Page<Token, Bookmark>> {
        let is_first = token.is_none();
        let mut token = token.unwrap_or_default();
        let mut page = match (token.position.take(), span.by_export) {
            (None, false) => self.page(&span, None, &mut token).await?,
            (Some(AuditPosition::Link(link)), _) => {
                self.page(&span, Some(link), &mut token).await?
            }
            (position, _) => {
                let export = match position {
                    Some(AuditPosition::Export(export)) => Some(export),
                    _ => None,
                };
                let read = Stream::fetch(&self.export, span.clone(), export).await?;
                token.position = read.next.map(AuditPosition::Export);
                Page {
                    body: read.body,
                    records: read.records,
                    companions: read.companions,
                    notes: read.notes,
                    gaps: read.gaps,
                    wait: read.wait,
                    beside: Vec::new(),
                    total: None,
                    next: None,
                    bookmark: None,
                }
            }
        };
        if is_first {
            let time = self.export.export().jobs.client.time();
            token.until = bounded(&span, time);
            if token.until.is_some() {
                // The next pass may also read events again that this pass does not reach.
                token.delivered.clone_from(&span.delivered);
            }
            page.notes.extend(time.note());
        }
        self.remove_delivered(&span, &mut page, &mut token);
        if token.position.is_some() {
            page.next = Some(token);
        } else {
            page.bookmark = Some(Bookmark {
                until: token.until.unwrap_or(span.to),
                delivered: token.delivered,
            });
        }
        Ok(page)
    }

    fn range(&self, span: &Span) -> PartitionRange {
        Stream::range(&self.export, span)
    }

    fn watermark(&self, bookmark: &Bookmark) -> Watermark {
        Stream::watermark(&self.export, bookmark)
    }

    fn rewind(&self, to: Timestamp) -> Result<Bookmark> {
        Stream::rewind(&self.export, to)
    }

    fn jobs(&self, span: &Span, token: Option<&Token>) -> u64 {
        match token.and_then(|token| token.position.as_ref()) {
            _ if !span.by_export => 0,
            Some(AuditPosition::Export(export)) => Stream::jobs(&self.export, span, Some(export)),
            Some(AuditPosition::Link(_)) => 0,
            None => 1,
        }
    }

    async fn release(&self, span: Span, token: Token) -> Result<bool> {
        match token.position {
            Some(AuditPosition::Export(export)) => {
                Stream::release(&self.export, span, export).await
            }
            _ => Ok(false),
        }
    }
}
