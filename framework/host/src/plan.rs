//! What a run would read, what that takes, and whether it can be had; worked out without reading anything.

use headwater_core::{Allowance, Part, PartitionRange, Position, Result, Source};
use serde::Serialize;

use crate::{
    Delivery, State, groups,
    guarantee::Guarantee,
    identity,
    runner::is_stream_scoped,
    stream_run::{StreamRun, outlets, select},
};

/// What a run would read.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// Stream by stream, in the source's order.
    pub streams: Vec<StreamPlan>,
    /// What the service says is left of what reading uses up: export jobs.
    pub allowances: Vec<Allowance>,
}

/// What a run would read of a stream.
#[derive(Debug, Serialize)]
pub struct StreamPlan {
    /// Its name, and those of the streams that come along with it and are wanted.
    pub streams: Vec<&'static str>,
    /// Whether an earlier run left it half way.
    pub resumed: bool,
    /// What is promised of it.
    pub guarantee: Guarantee,
    /// What would be read side by side.
    pub partitions: Vec<PlannedPartition>,
    /// Why the service was not asked how much there is, if it was to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// A partition, or a part of one, that a run would read.
#[derive(Debug, Serialize)]
pub struct PlannedPartition {
    /// What it covers.
    #[serde(flatten)]
    pub range: PartitionRange,
    /// Its records, where the service tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// The requests that it takes, where that shows beforehand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
    /// Export jobs that it orders.
    pub jobs: u64,
    /// Reads exactly this, in any process.
    pub partition: Position,
}

impl Plan {
    /// Requests in all; none where some of them show only while reading.
    pub fn requests(&self) -> Option<u64> {
        self.partitions().map(|partition| partition.requests).sum()
    }

    /// Requests that are known beforehand.
    pub fn known_requests(&self) -> u64 {
        self.partitions()
            .filter_map(|partition| partition.requests)
            .sum()
    }

    /// Export jobs in all.
    pub fn jobs(&self) -> u64 {
        self.partitions().map(|partition| partition.jobs).sum()
    }

    fn partitions(&self) -> impl Iterator<Item = &PlannedPartition> {
        self.streams.iter().flat_map(|stream| &stream.partitions)
    }
}

/// Plans a run over the wanted streams; none means all. With `survey`, the service is asked how much there is, which
/// takes a few requests.
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
        let lane = StreamRun::new(stream, state, wanted, None)?;
        let guarantee = Guarantee::of(lane.stream.spec(), delivery, keeps_position);
        let mut partitions = Vec::new();
        let mut unknown = None;
        for progress in &lane.pass.partitions {
            let partition = &progress.partition;
            let is_begun = progress.token.is_some() || !progress.beside.is_empty();
            let asked = if survey && !is_begun && unknown.is_none() {
                lane.stream.survey(partition.clone()).await
            } else {
                Ok(vec![Part::unknown(partition.clone())])
            };
            let parts = match asked {
                Ok(parts) => parts,
                // Of a stream that may not be read, for example, the plan is still worth seeing.
                Err(error) if is_stream_scoped(error.kind()) => {
                    unknown = Some(error.to_string());
                    vec![Part::unknown(partition.clone())]
                }
                Err(error) => return Err(error.during(format!("survey {}", lane.name))),
            };
            for part in parts {
                partitions.push(PlannedPartition {
                    range: lane.stream.range(&part.partition)?,
                    records: part.records,
                    requests: part.requests,
                    jobs: lane.stream.jobs(&part.partition, progress.token.as_ref())?,
                    partition: part.partition,
                });
            }
        }
        let names = outlets(&*lane.stream, wanted).map(|spec| spec.name);
        streams.push(StreamPlan {
            streams: names.collect(),
            resumed: lane.is_resumed,
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
        Err(error) => return Err(error.during("ask what is left of the allowance")),
    };
    Ok(Plan {
        streams,
        allowances,
    })
}
