//! The plan of a run: its partitions, their cost, and the quota that is left; computed without reading a record.

use headwater_core::{Allowance, Part, PartitionRange, Position, Result, Source};
use serde::Serialize;

use crate::{
    Delivery, State, groups,
    guarantee::Guarantee,
    identity,
    stream_run::{StreamRun, is_stream_scoped, outputs, select},
};

/// The plan of a run.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// Stream by stream, in the source's order.
    pub streams: Vec<StreamPlan>,
    /// The allowances of export jobs that the service reports.
    pub allowances: Vec<Allowance>,
}

/// The plan of a stream.
#[derive(Debug, Serialize)]
pub struct StreamPlan {
    /// Its name, and those of its wanted secondary streams.
    pub streams: Vec<&'static str>,
    /// Whether an earlier run left it half way.
    pub resumed: bool,
    /// Its delivery guarantee.
    pub guarantee: Guarantee,
    /// The partitions, which the run would read concurrently.
    pub partitions: Vec<PlannedPartition>,
    /// Why the service gave no estimate, if one was wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// A partition, or a part of one, that a run would read.
#[derive(Debug, Serialize)]
pub struct PlannedPartition {
    /// Its range.
    #[serde(flatten)]
    pub range: PartitionRange,
    /// Its records, where the service reports them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// Its requests, where they are known beforehand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// Its export jobs.
    pub jobs: u64,
    /// The partition itself: any process can read exactly this.
    pub partition: Position,
}

impl Plan {
    /// All requests; `None` where some of them show only while reading.
    pub fn requests(&self) -> Option<u64> {
        self.partitions().map(|partition| partition.requests).sum()
    }

    /// Requests that are known beforehand.
    pub fn known_requests(&self) -> u64 {
        self.partitions()
            .filter_map(|partition| partition.requests)
            .sum()
    }

    /// All export jobs.
    pub fn jobs(&self) -> u64 {
        self.partitions().map(|partition| partition.jobs).sum()
    }

    fn partitions(&self) -> impl Iterator<Item = &PlannedPartition> {
        self.streams.iter().flat_map(|stream| &stream.partitions)
    }
}

/// Plans a run over the wanted streams; an empty list means all. With `survey`, asks the service for estimates, which
/// takes a few requests.
///
/// # Errors
///
/// Fails if a stream does not exist, if the state does not fit the source, or if the service cannot give an estimate
/// for a reason that is not of one stream.
pub async fn plan(
    source: &dyn Source,
    wanted: &[String],
    state: &State,
    delivery: Delivery,
    keeps_position: bool,
    survey: bool,
) -> Result<Plan> {
    let mut streams = Vec::new();
    let selected = select(source, wanted)?;
    groups::check(&selected, state)?;
    if survey {
        identity::check(source, &mut state.clone(), false).await?;
    }
    for stream in selected {
        state.verify(&*stream)?;
        let run = StreamRun::new(stream, state, wanted, None)?;
        let guarantee = Guarantee::of(run.stream.spec(), delivery, keeps_position);
        let mut partitions = Vec::new();
        let mut unknown = None;
        for progress in &run.pass.partitions {
            let partition = &progress.partition;
            let is_begun = progress.token.is_some() || !progress.concurrent.is_empty();
            let estimated = if survey && !is_begun && unknown.is_none() {
                run.stream.survey(partition.clone()).await
            } else {
                Ok(vec![Part::unknown(partition.clone())])
            };
            let parts = match estimated {
                Ok(parts) => parts,
                // The plan is still useful, for example for a stream that these credentials may not read.
                Err(error) if is_stream_scoped(error.kind()) => {
                    unknown = Some(error.to_string());
                    vec![Part::unknown(partition.clone())]
                }
                Err(error) => return Err(error.during(format!("estimate {}", run.name))),
            };
            for part in parts {
                partitions.push(PlannedPartition {
                    range: run.stream.range(&part.partition)?,
                    records: part.records,
                    requests: part.requests,
                    jobs: run.stream.jobs(&part.partition, progress.token.as_ref())?,
                    partition: part.partition,
                });
            }
        }
        let names = outputs(&*run.stream, wanted).map(|spec| spec.name);
        streams.push(StreamPlan {
            streams: names.collect(),
            resumed: run.is_resumed,
            guarantee,
            partitions,
            unknown,
        });
    }
    let allowances = match source.allowances().await {
        Ok(allowances) => allowances
            .into_iter()
            .filter(|allowance| allowance.counts_jobs)
            .collect(),
        Err(error) if is_stream_scoped(error.kind()) => Vec::new(),
        Err(error) => return Err(error.during("read the allowance")),
    };
    Ok(Plan {
        streams,
        allowances,
    })
}
