//! The streams and their groups.

use std::sync::Arc;

use async_trait::async_trait;
use headwater::{
    Page,
    http::{Client, ExportStream, Request, Snapshot, without},
    prelude::*,
};

use crate::{
    Config,
    activities::Activities,
    audit::Audit,
    forecasts::Forecasts,
    jobs, limits,
    opportunities::Opportunities,
    records::{
        Activity, AuditActor, AuditEvent, ExportJob, ForecastEntry, ForecastField, ForecastUser,
        LimitsSnapshot, Opportunity, TimeFrame, TimePeriod,
    },
};

/// Links to results, which some accounts have. They are signed and would be secrets in a file.
const LINKS: &[&str] = &["downloadUrl", "download_url", "url"];

fn forecasts() -> Vec<StreamSpec> {
    let spec = |name, description, key, schema| StreamSpec {
        name,
        description,
        key,
        cursor: None,
        incremental: false,
        schema,
    };
    vec![
        spec(
            "forecast_entries",
            "Forecasts per user, field and week, with quota and adjustment.",
            &[
                "forecastId",
                "timePeriodId",
                "timeFrameId",
                "userId",
                "fieldId",
            ],
            record_schema::<ForecastEntry>,
        ),
        spec(
            "forecast_users",
            "Users of the forecasts, with their position in the hierarchy.",
            &["userId"],
            record_schema::<ForecastUser>,
        ),
        spec(
            "forecast_fields",
            "Fields of the forecasts.",
            &["fieldId"],
            record_schema::<ForecastField>,
        ),
        spec(
            "time_periods",
            "Fiscal quarters of the forecasts.",
            &["timePeriodId"],
            record_schema::<TimePeriod>,
        ),
        spec(
            "time_frames",
            "Weeks of the quarters.",
            &["timeFrameId"],
            record_schema::<TimeFrame>,
        ),
    ]
}

fn activities() -> StreamSpec {
    StreamSpec {
        name: "activities",
        description: "Meetings, e-mails and attachments, with linked accounts and opportunities.",
        key: &["activityId"],
        cursor: Some("date"),
        incremental: true,
        schema: record_schema::<Activity>,
    }
}

fn opportunities() -> StreamSpec {
    StreamSpec {
        name: "opportunities",
        description: "Fields of opportunities with their trends: by id, or of opportunities linked to activities.",
        key: &["id"],
        cursor: None,
        incremental: false,
        schema: record_schema::<Opportunity>,
    }
}

fn audit() -> Vec<StreamSpec> {
    vec![
        StreamSpec {
            name: "audit_events",
            description: "Actions of users in Clari during the last 30 days.",
            key: &[
                "eventTimestamp",
                "actorId",
                "sessionId",
                "event",
                "ipAddress",
            ],
            cursor: Some("eventTimestamp"),
            incremental: true,
            schema: record_schema::<AuditEvent>,
        },
        StreamSpec {
            name: "audit_actors",
            description: "Actors of the audit events.",
            key: &["actorId", "actorType"],
            cursor: None,
            incremental: true,
            schema: record_schema::<AuditActor>,
        },
    ]
}

fn export_jobs() -> StreamSpec {
    StreamSpec {
        name: "export_jobs",
        description: "Export jobs of the key's user, without links to results.",
        key: &["jobId"],
        cursor: None,
        incremental: false,
        schema: record_schema::<ExportJob>,
    }
}

fn limits_spec() -> StreamSpec {
    StreamSpec {
        name: "limits",
        description: "The limits of export jobs and the remaining jobs at the time of the read.",
        key: &["fetched_at"],
        cursor: None,
        incremental: false,
        schema: record_schema::<LimitsSnapshot>,
    }
}

/// Returns all streams in the order of reading. Export jobs and limits are last, since other streams change them.
pub(crate) fn catalog() -> Vec<StreamSpec> {
    let mut specs = forecasts();
    specs.push(activities());
    specs.push(opportunities());
    specs.extend(audit());
    specs.push(export_jobs());
    specs.push(limits_spec());
    specs
}

pub(crate) fn open(client: &Client, config: &Config) -> Vec<Arc<dyn AnyStream>> {
    let mut streams: Vec<Arc<dyn AnyStream>> = vec![Arc::new(ExportStream::new(Forecasts::new(
        client,
        config,
        forecasts(),
    )))];
    if with_activities(config) {
        let companions = vec![opportunities()];
        streams.push(Arc::new(Activities::new(
            client,
            config,
            activities(),
            companions,
        )));
    } else {
        streams.push(Arc::new(Activities::new(
            client,
            config,
            activities(),
            Vec::new(),
        )));
        let ids = &config.opportunity_ids;
        streams.push(Arc::new(Opportunities::new(client, opportunities(), ids)));
    }
    streams.push(Arc::new(Audit::new(client, config, audit())));
    streams.push(Arc::new(ExportJobList {
        client: client.clone(),
        spec: export_jobs(),
    }));
    streams.push(Arc::new(Snapshot::new(
        client,
        limits_spec(),
        limits::PATH,
        limits::RECORD,
    )));
    streams
}

/// Returns whether opportunities are read with activities.
fn with_activities(config: &Config) -> bool {
    config.opportunity_ids.is_empty() && config.opportunities_of_activities
}

/// The jobs of the key's user.
struct ExportJobList {
    client: Client,
    spec: StreamSpec,
}

#[async_trait]
impl Stream for ExportJobList {
    type Partition = ();
    type Token = ();
    type Bookmark = ();

    fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    fn plan(&self, _: Option<()>, _: Timestamp) -> Result<Vec<()>> {
        Ok(vec![()])
    }

    async fn fetch(&self, (): (), _: Option<()>) -> Result<Page<(), ()>> {
        let response = self.client.send(&Request::get("/export/jobs")).await?;
        let split = self.client.cut(&response, jobs::JOBS, &[], &[])?;
        let notes = split.notes(self.spec.name);
        let mut body = Vec::with_capacity(response.body.len());
        let mut records = Vec::with_capacity(split.records.len());
        for span in split.records {
            let from = body.len();
            body.extend_from_slice(&without(&response.body[span], LINKS));
            records.push(from..body.len());
        }
        Ok(Page {
            notes,
            ..Page::new(body.into(), records)
        })
    }

    async fn survey(&self, (): ()) -> Result<Vec<Part<()>>> {
        Ok(vec![Part {
            partition: (),
            records: None,
            requests: Some(1),
        }])
    }
}

/// Returns the streams of a key with an unknown profile. They exist, and a read returns the remedy.
pub(crate) fn undecided(config: &Config) -> Vec<Arc<dyn AnyStream>> {
    let alone = |spec: StreamSpec| -> Arc<dyn AnyStream> { Arc::new(UnchosenStream(vec![spec])) };
    let mut streams: Vec<Arc<dyn AnyStream>> = vec![Arc::new(UnchosenStream(forecasts()))];
    if with_activities(config) {
        streams.push(Arc::new(UnchosenStream(vec![
            activities(),
            opportunities(),
        ])));
    } else {
        streams.push(alone(activities()));
        streams.push(alone(opportunities()));
    }
    streams.push(Arc::new(UnchosenStream(audit())));
    streams.push(alone(export_jobs()));
    streams.push(alone(limits_spec()));
    streams
}

struct UnchosenStream(Vec<StreamSpec>);

#[async_trait]
impl Stream for UnchosenStream {
    type Partition = ();
    type Token = ();
    type Bookmark = ();

    fn spec(&self) -> &StreamSpec {
        &self.0[0]
    }

    fn companions(&self) -> &[StreamSpec] {
        &self.0[1..]
    }

    fn plan(&self, _: Option<()>, _: Timestamp) -> Result<Vec<()>> {
        Err(crate::undecided())
    }

    async fn fetch(&self, (): (), _: Option<()>) -> Result<Page<(), ()>> {
        Err(crate::undecided())
    }
}
