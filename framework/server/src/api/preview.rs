//! Previews: the first records of a stream, which are shown and not saved.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{Extension, extract::State, response::Response};
use headwater_core::StreamSpec;
use headwater_host::{
    Delivery, Ending, Redaction, RunOptions, Sink, SinkState, State as Position, WriteCounts, run,
};
use headwater_store::Scope;
use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::{
    sync::watch,
    time::{Duration, timeout},
};

use super::connections::actor;
use crate::{
    answer::json,
    app::App,
    body::{Json, Path},
    guard::{Caller, at_least},
    operations::Operation,
    probing::open_saved,
    problem::Problem,
};

/// How many records a preview has at most, and by default.
const MAX_RECORDS: u64 = 100;
const RECORDS: u64 = 20;
/// How long a preview may take, since a person waits for it.
const LONGEST: Duration = Duration::from_secs(60);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::new(
            Method::POST,
            "/api/v1/connections/{connection}/preview",
            "previewRecords",
            Some(Scope::Use),
            preview,
        )
        .summary("The first records of a stream; personal data is masked unless `reveal` is true")
        .body::<PreviewRequest>()
        .answer::<Preview>(200, "The records.")
        .problems([409, 422, 502]),
    ]
}

/// The request for a preview.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "NewPreview")]
#[serde(deny_unknown_fields)]
pub(crate) struct PreviewRequest {
    /// The stream.
    pub stream: String,
    /// The maximum number of records.
    #[schemars(range(min = 1, max = 100))]
    pub limit: Option<u64>,
    /// Show personal data unmasked. Needs the scope admin, and is logged.
    #[serde(default)]
    pub reveal: bool,
}

/// The first records of a stream.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Preview {
    pub stream: String,
    /// The records from the service, with personal data masked unless it was revealed.
    #[schemars(with = "Vec<serde_json::Value>")]
    pub records: Vec<Box<RawValue>>,
    /// Whether personal data is masked.
    pub masked: bool,
    /// The number of requests.
    pub requests: u64,
}

async fn preview(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    Json(request): Json<PreviewRequest>,
) -> Result<Response, Problem> {
    let shown = look(&app, &caller, name, request).await?;
    Ok(json(StatusCode::OK, &shown))
}

/// Reads the first records of a stream.
pub(crate) async fn look(
    app: &Arc<App>,
    caller: &Caller,
    name: String,
    request: PreviewRequest,
) -> Result<Preview, Problem> {
    let limit = request.limit.unwrap_or(RECORDS);
    if !(1..=MAX_RECORDS).contains(&limit) {
        let text = format!("limit has to be from 1 to {MAX_RECORDS}");
        return Err(Problem::bad_request(text));
    }
    if request.reveal {
        at_least(caller, Scope::Admin)?;
    }
    let opened = open_saved(app, &name).await?;
    opened.source.stream(&request.stream)?;
    let what = match request.reveal {
        true => "previewed with personal data",
        false => "previewed",
    };
    let actor = actor(caller);
    app.store(move |store| store.note(&actor, what, Some(&name), "started"))
        .await
        .map_err(Problem::of_store)?;
    let taken = MemorySink::default();
    let (_stop, stopped) = watch::channel(false);
    let mut options = RunOptions::new(Arc::clone(&opened.meter), stopped);
    options.limit = Some(limit);
    options.concurrency = 1;
    options.redaction = (!request.reveal).then(Redaction::default);
    let streams = [request.stream.clone()];
    let position = Position::new(opened.connector.about().id);
    let sink = Box::new(taken.clone());
    let mut ignore_events = |_: headwater_host::Event<'_>| {};
    let run = run(
        &*opened.source,
        &streams,
        position,
        sink,
        options,
        &mut ignore_events,
    );
    let receipt = timeout(LONGEST, run).await.map_err(|_| {
        let text = "the service sent no records within a minute; a sync waits longer";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_slow", text).retry_after(60)
    })??;
    let records = taken.records();
    if let Some(Ending::Failed { kind, message, .. }) = receipt
        .streams
        .first()
        .map(|stream| &stream.ending)
        .filter(|_| records.is_empty())
    {
        return Err(headwater_core::Error::new(*kind, message.clone()).into());
    }
    Ok(Preview {
        stream: request.stream,
        records,
        masked: !request.reveal,
        requests: receipt.requests,
    })
}

/// A sink that keeps records in memory.
#[derive(Clone, Default)]
struct MemorySink(Arc<Mutex<Vec<Box<RawValue>>>>);

impl MemorySink {
    fn records(&self) -> Vec<Box<RawValue>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for MemorySink {
    fn delivery(&self) -> Delivery {
        Delivery::RecordsFirst
    }

    fn restore(&mut self, _: &[StreamSpec], _: &dyn SinkState) -> headwater_core::Result<()> {
        Ok(())
    }

    fn write(
        &mut self,
        _: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> headwater_core::Result<WriteCounts> {
        let mut written = WriteCounts::default();
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for record in records {
            taken.extend(serde_json::from_slice::<Box<RawValue>>(record).ok());
            written.records += 1;
        }
        Ok(written)
    }

    fn commit(&mut self, _: &mut dyn SinkState) -> headwater_core::Result<()> {
        Ok(())
    }
}
