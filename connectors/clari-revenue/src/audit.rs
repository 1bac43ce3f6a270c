//! Audit events with the actors that they name: page by page, or by export job for long ranges.

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

/// The vendor's document says `items`; others have seen `activities`.
pub(crate) const EVENTS: Records = Records::Lists(&["/items", "/activities"]);
const ACTORS: &str = "/actors";
const NEXT: &str = "/nextLink";
/// Documented.
const LARGEST_PAGE: u32 = 1000;
/// How far back Clari keeps events, and what a first read takes.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Events younger than this may not all be there yet; the next pass takes them.
const SETTLING: SignedDuration = SignedDuration::from_mins(5);
/// Fingerprints of events in a bookmark. Beyond that they are read twice, not lost.
const MAX_REMEMBERED: usize = 10_000;
/// Whether the bounds belong to the range is not documented, so passes overlap.
const OVERLAP: SignedDuration = SignedDuration::from_secs(2);

/// A range of time.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Span {
    from: Timestamp,
    to: Timestamp,
    by_export: bool,
    /// Events near `from` that the last pass delivered.
    delivered: FingerprintSet,
}

/// Where the next pass starts.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bookmark {
    until: Timestamp,
    /// Events near that.
    delivered: FingerprintSet,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    place: Option<AuditPosition>,
    /// Events near the end of the range.
    delivered: FingerprintSet,
    /// Actors of this pass: every page names its own again.
    actors: FingerprintSet,
    /// Links that an older state says were followed.
    #[serde(default, skip_serializing_if = "FingerprintSet::is_empty")]
    links: FingerprintSet,
    /// Where the next pass starts, if that is before the end of the range: the clock that planned it was ahead.
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
                now.checked_sub(KEPT).map_err(out_of_range)?,
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
                "the last {} seconds are read again, since Clari does not say whether the ends of a range belong to it; \
                 what was read already is left out",
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

/// No range shows in a job; there is one order in a pass, and the kit gives no job to two orders.
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
    /// `specs` are events and actors.
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

    /// One page of events and actors.
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
                .query("limit", LARGEST_PAGE)
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
        token.place = next.map(AuditPosition::Link);
        let actors = split.companions.into_iter().next().unwrap_or_default();
        let mut page = Page::new(response.body, split.records);
        page.notes = notes;
        page.companions = vec![(export.specs[1].name, actors)];
        Ok(page)
    }

    /// Takes out what was delivered before.
    fn look(&self, span: &Span, page: &mut Page<Token, Bookmark>, token: &mut Token) {
        let body = &page.body;
        let until = token.until.unwrap_or(span.to);
        let ends = seconds_up_to(until);
        // What the next pass meets again where the clock was ahead: whatever happened after its start.
        let is_later = |record: &[u8]| token.until.is_some() && happened(record) >= Some(until);
        let has_one_of = |bytes: &[u8], times: &[String]| {
            std::str::from_utf8(bytes)
                .is_ok_and(|text| times.iter().any(|time| text.contains(time)))
        };
        // Most pages of a first pass hold neither.
        let is_near = token.until.is_some() || has_one_of(body, &minutes_of(&ends));
        if !span.delivered.is_empty() || is_near {
            page.records.retain(|place: &Range<usize>| {
                let record = &body[place.clone()];
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
            actors.retain(|place| {
                token
                    .actors
                    .insert(FingerprintSet::fingerprint(&body[place.clone()]))
            });
        }
    }
}

/// Where the next pass starts, if Clari's clock says that it is before the end of the range. Asked after the first answer of
/// the pass.
fn bounded(span: &Span, time: ServiceTime) -> Option<Timestamp> {
    let planned = span.to.checked_add(SETTLING).ok()?;
    let settled = |at: Timestamp| at.checked_sub(SETTLING).unwrap_or(at);
    let end = match (time.bound(planned, SignedDuration::ZERO), time.date()) {
        (BookmarkLimit::Planned, _) => return None,
        // The whole pass comes after this answer.
        (BookmarkLimit::Unknown, Some(date)) => BookmarkLimit::At(settled(date)),
        (BookmarkLimit::At(at), _) => BookmarkLimit::At(settled(at)),
        (BookmarkLimit::Unknown, None) => BookmarkLimit::Unknown,
    };
    let since = span.from.checked_add(OVERLAP).unwrap_or(span.from);
    let end = end.end(span.to, since);
    (end < span.to).then_some(end)
}

/// When an event happened.
fn happened(record: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Event {
        #[serde(rename = "eventTimestamp")]
        at: Timestamp,
    }
    let event: Event = serde_json::from_slice(record).ok()?;
    Some(event.at)
}

/// The seconds that the overlap with the next pass touches, as events spell them. An event that spells its time in
/// another way is delivered twice, not lost.
fn seconds_up_to(end: Timestamp) -> Vec<String> {
    (0..=OVERLAP.as_secs())
        .filter_map(|back| end.checked_sub(SignedDuration::from_secs(back)).ok())
        .map(|second| second.strftime("%Y-%m-%dT%H:%M:%S").to_string())
        .collect()
}

/// What these seconds have in common, so that a page is looked through once or twice.
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
        let mut page = match (token.place.take(), span.by_export) {
            (None, false) => self.page(&span, None, &mut token).await?,
            (Some(AuditPosition::Link(link)), _) => {
                self.page(&span, Some(link), &mut token).await?
            }
            (place, _) => {
                let place = match place {
                    Some(AuditPosition::Export(place)) => Some(place),
                    _ => None,
                };
                let read = Stream::fetch(&self.export, span.clone(), place).await?;
                token.place = read.next.map(AuditPosition::Export);
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
                // The next pass may meet again also what this one does not reach.
                token.delivered.clone_from(&span.delivered);
            }
            page.notes.extend(time.note());
        }
        self.look(&span, &mut page, &mut token);
        if token.place.is_some() {
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
        match token.and_then(|token| token.place.as_ref()) {
            _ if !span.by_export => 0,
            Some(AuditPosition::Export(place)) => Stream::jobs(&self.export, span, Some(place)),
            Some(AuditPosition::Link(_)) => 0,
            None => 1,
        }
    }

    async fn release(&self, span: Span, token: Token) -> Result<bool> {
        match token.place {
            Some(AuditPosition::Export(place)) => Stream::release(&self.export, span, place).await,
            _ => Ok(false),
        }
    }
}
