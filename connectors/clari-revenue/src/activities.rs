//! Activities by export job, and their linked opportunities.

use async_trait::async_trait;
use headwater::{
    Page, Scope,
    http::{
        Client, Export, ExportStream, ExportToken, FingerprintSet, Jobs, Request, Response, Route,
        ServiceTime,
    },
    prelude::*,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Config,
    jobs::{ExportJobs, Job},
    opportunities,
};

/// How far back a first run reads without a start date.
const FIRST_DAYS: i64 = 365;
/// The maximum number of fingerprints of a day's activities in a bookmark. Further activities are read twice, not lost.
const MAX_REMEMBERED: usize = 10_000;

/// Days, including the last one. Clari accepts whole days only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Days {
    from: Date,
    to: Date,
    /// Activities of the first day that the last pass delivered.
    delivered: FingerprintSet,
}

/// The start of the next pass: the last day again, since it was not over.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bookmark {
    day: Date,
    delivered: FingerprintSet,
}

struct ActivityExport {
    spec: StreamSpec,
    companions: Vec<StreamSpec>,
    since: Option<Date>,
    jobs: ExportJobs<Days>,
}

impl ActivityExport {
    /// Returns the first day of a first run.
    fn first(&self, now: Timestamp) -> Date {
        let today = now.to_zoned(TimeZone::UTC).date();
        let days = SignedDuration::from_hours(24 * FIRST_DAYS);
        self.since
            .unwrap_or_else(|| today.checked_sub(days).unwrap_or(today))
    }
}

impl Export for ActivityExport {
    type Order = Days;
    type Bookmark = Bookmark;

    fn client(&self) -> &Client {
        &self.jobs.client
    }

    fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    fn companions(&self) -> &[StreamSpec] {
        &self.companions
    }

    fn lists(&self) -> &'static [(&'static str, usize)] {
        &[
            ("activities", 0),
            ("data", 0),
            ("rows", 0),
            ("records", 0),
            ("results", 0),
            ("", 0),
        ]
    }

    fn plan(&self, bookmark: Option<Bookmark>, now: Timestamp) -> Result<Vec<Days>> {
        let today = now.to_zoned(TimeZone::UTC).date();
        let (from, delivered) = match bookmark {
            Some(bookmark) => (bookmark.day, bookmark.delivered),
            None => (self.first(now), FingerprintSet::default()),
        };
        Ok(vec![Days {
            // A clock that moved back must not make an empty range.
            from: from.min(today),
            to: today,
            delivered,
        }])
    }

    fn route(&self, _: &Days) -> Route {
        Route::Job
    }

    fn range(&self, days: &Days) -> PartitionRange {
        PartitionRange {
            title: String::new(),
            from: midnight(days.from),
            to: days.to.tomorrow().ok().and_then(midnight),
        }
    }

    fn watermark(&self, bookmark: &Bookmark) -> Watermark {
        Watermark {
            until: midnight(bookmark.day),
            again_from: None,
            reason: format!(
                "{} was not over and is read again; known activities are left out",
                bookmark.day
            ),
        }
    }

    fn scope(&self, now: Timestamp) -> Scope {
        Scope {
            since: midnight(self.first(now)),
            ..Scope::default()
        }
    }

    fn rewind(&self, to: Timestamp) -> Option<Bookmark> {
        Some(Bookmark {
            day: to.to_zoned(TimeZone::UTC).date(),
            delivered: FingerprintSet::default(),
        })
    }

    fn jobs(&self) -> &dyn Jobs<Days> {
        &self.jobs
    }
}

/// Returns the first day of the next pass, if Clari's clock puts it before the last day. Called after the first
/// response of the pass.
fn bounded(days: &Days, time: ServiceTime) -> Option<Date> {
    let today = time.date()?.to_zoned(TimeZone::UTC).date();
    let end = today.clamp(days.from, days.to.max(days.from));
    (end < days.to).then_some(end)
}

/// Returns the first moment of a day in Clari's time zone, UTC.
fn midnight(day: Date) -> Option<Timestamp> {
    let zoned = day.to_zoned(TimeZone::UTC).ok()?;
    Some(zoned.timestamp())
}

fn request(days: &Days, _: &Config) -> Request {
    let body = json!({
        "startDate": format!("{}T00:00:00Z", days.from),
        "endDate": format!("{}T00:00:00Z", days.to),
        "exportFormat": "JSON",
    });
    Request::post("/export/activity", &body)
}

/// A job shows neither its range nor its types; a pass has one order, and the kit never assigns a job to two orders.
fn is_ours(_: &Days, job: &Job) -> bool {
    is_about(job, "activit")
}

/// Returns whether module, title or file name contain this subject.
pub(crate) fn is_about(job: &Job, subject: &str) -> bool {
    [&job.module, &job.title, &job.file_name]
        .into_iter()
        .flatten()
        .any(|text| text.to_ascii_lowercase().contains(subject))
}

fn refusal(_: &Days, client: &Client, request: &Request, response: &Response) -> Error {
    match response.status.as_u16() {
        400 => {
            let message = client.said(&response.body).unwrap_or_default();
            let text = format!("Clari does not accept the order for activities: {message}");
            Error::new(Kind::ConfigInvalid, text).with("status", 400)
        }
        _ => client.refusal(request, response),
    }
}

/// The stream of activities, optionally with opportunities as its secondary stream.
pub(crate) struct Activities {
    export: ExportStream<ActivityExport>,
}

/// A position among activities and their linked opportunities.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Token {
    /// `None` after the last activity.
    export: Option<ExportToken>,
    /// Ids of the last page that are not requested yet.
    pending: Vec<String>,
    /// Ids of earlier pages.
    named: FingerprintSet,
    /// Activities of the last day.
    delivered: FingerprintSet,
    /// The first day of the next pass, if it is before the last day, because the planning clock was ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<Date>,
}

impl Activities {
    pub(crate) fn new(
        client: &Client,
        config: &Config,
        spec: StreamSpec,
        companions: Vec<StreamSpec>,
    ) -> Self {
        Self {
            export: ExportStream::new(ActivityExport {
                spec,
                companions,
                since: config.activities_since,
                jobs: ExportJobs::new(client, config, request, is_ours, refusal),
            }),
        }
    }

    fn has_companion(&self) -> bool {
        !self.export.export().companions.is_empty()
    }

    /// Removes activities that the last pass delivered, and records those of the last day for the next pass.
    fn remove_delivered(
        &self,
        days: &Days,
        page: &mut Page<ExportToken, Bookmark>,
        token: &mut Token,
    ) -> Result<()> {
        let mut records = Vec::with_capacity(page.records.len());
        let (until, is_bounded) = (token.until.unwrap_or(days.to), token.until.is_some());
        let is_last_day = |day: Option<Date>| match is_bounded {
            true => day >= Some(until),
            false => day == Some(until),
        };
        for span in std::mem::take(&mut page.records) {
            let record = &page.body[span.clone()];
            let about: About = serde_json::from_slice(record).map_err(|_| {
                let text = "Clari returned an activity in an unknown form";
                Error::new(Kind::DataInvalid, text)
            })?;
            let fingerprint = FingerprintSet::fingerprint(record);
            let day = about.day();
            if is_last_day(day) && token.delivered.len() < MAX_REMEMBERED {
                token.delivered.insert(fingerprint);
            }
            if self.has_companion() {
                for id in about.opportunities() {
                    if token
                        .named
                        .insert(FingerprintSet::fingerprint(id.as_bytes()))
                    {
                        token.pending.push(id);
                    }
                }
            }
            if day >= Some(days.from) && days.delivered.contains(fingerprint) {
                continue;
            }
            records.push(span);
        }
        page.records = records;
        Ok(())
    }

    async fn opportunities(&self, mut token: Token) -> Result<Page<Token, Bookmark>> {
        let batch: Vec<String> = {
            let count = token.pending.len().min(opportunities::BATCH);
            token.pending.drain(..count).collect()
        };
        let export = self.export.export();
        let found = opportunities::fetch(&export.jobs.client, &batch).await?;
        let mut page = Page {
            companions: vec![(export.companions[0].name, found.records)],
            body: found.body,
            notes: found.notes,
            ..Page::empty()
        };
        page.next = Some(token);
        Ok(page)
    }
}

/// The relevant fields of an activity.
#[derive(Deserialize)]
struct About {
    /// Milliseconds; a number in the vendor's schema, text in its example.
    date: Option<Value>,
    opportunities: Option<Vec<OpportunityRef>>,
}

#[derive(Deserialize)]
struct OpportunityRef {
    #[serde(rename = "opportunityId")]
    id: Option<String>,
}

impl About {
    fn day(&self) -> Option<Date> {
        let millis = match self.date.as_ref()? {
            Value::String(text) => text.parse().ok()?,
            number => number.as_i64()?,
        };
        let time = Timestamp::from_millisecond(millis).ok()?;
        Some(time.to_zoned(TimeZone::UTC).date())
    }

    fn opportunities(self) -> impl Iterator<Item = String> {
        let named = self.opportunities.unwrap_or_default();
        named
            .into_iter()
            .filter_map(|named| named.id)
            .filter(|id| !id.is_empty())
    }
}

#[async_trait]
impl Stream for Activities {
    type Partition = Days;
    type Token = Token;
    type Bookmark = Bookmark;

    fn spec(&self) -> &StreamSpec {
        Stream::spec(&self.export)
    }

    fn companions(&self) -> &[StreamSpec] {
        Stream::companions(&self.export)
    }

    fn plan(&self, bookmark: Option<Bookmark>, now: Timestamp) -> Result<Vec<Days>> {
        Stream::plan(&self.export, bookmark, now)
    }

    async fn fetch(&self, days: Days, token: Option<Token>) -> Result<Page<Token, Bookmark>> {
        let bookmark = |token: &Token| Bookmark {
            day: token.until.unwrap_or(days.to),
            delivered: token.delivered.clone(),
        };
        let is_first = token.is_none();
        let mut token = token.unwrap_or(Token {
            export: None,
            pending: Vec::new(),
            named: FingerprintSet::default(),
            delivered: FingerprintSet::default(),
            until: None,
        });
        if !token.pending.is_empty() {
            let mut page = self.opportunities(token).await?;
            if let Some(rest) = page
                .next
                .take_if(|rest| rest.export.is_none() && rest.pending.is_empty())
            {
                page.bookmark = Some(bookmark(&rest));
            }
            return Ok(page);
        }
        let position = token.export.take();
        if position.is_none() && !is_first {
            return Ok(Page {
                bookmark: Some(bookmark(&token)),
                ..Page::empty()
            });
        }
        let mut read = Stream::fetch(&self.export, days.clone(), position).await?;
        if is_first {
            let time = self.export.export().jobs.client.time();
            token.until = bounded(&days, time);
            if token.until.is_some() {
                token.delivered.clone_from(&days.delivered);
            }
            read.notes.extend(time.note());
        }
        self.remove_delivered(&days, &mut read, &mut token)?;
        token.export = read.next;
        let is_over = token.export.is_none() && token.pending.is_empty();
        Ok(Page {
            body: read.body,
            records: read.records,
            // The export itself has no secondary stream.
            companions: Vec::new(),
            notes: read.notes,
            gaps: read.gaps,
            wait: read.wait,
            beside: Vec::new(),
            total: None,
            bookmark: is_over.then(|| bookmark(&token)),
            next: (!is_over).then_some(token),
        })
    }

    fn scope(&self, now: Timestamp) -> Scope {
        Stream::scope(&self.export, now)
    }

    fn range(&self, days: &Days) -> PartitionRange {
        Stream::range(&self.export, days)
    }

    fn watermark(&self, bookmark: &Bookmark) -> Watermark {
        Stream::watermark(&self.export, bookmark)
    }

    fn rewind(&self, to: Timestamp) -> Result<Bookmark> {
        Stream::rewind(&self.export, to)
    }

    fn jobs(&self, days: &Days, token: Option<&Token>) -> u64 {
        match token {
            Some(Token { export: None, .. }) => 0,
            Some(token) => Stream::jobs(&self.export, days, token.export.as_ref()),
            None => 1,
        }
    }

    async fn release(&self, days: Days, token: Token) -> Result<bool> {
        match token.export {
            Some(export) => Stream::release(&self.export, days, export).await,
            None => Ok(false),
        }
    }
}
