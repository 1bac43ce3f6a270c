//! A pass as a tree of positions, and readers that visit it in any order: a minimal host.

use std::sync::Arc;

use headwater_core::{AnyStream, Page, Position, Result, Wait};
use serde::{Deserialize, Serialize};
use tokio::{task::JoinSet, time::sleep};

/// The rest of a pass. It can be serialised between any two pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PassDriver {
    partitions: Vec<Part>,
    last_id: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Part {
    number: usize,
    partition: Position,
    #[serde(rename = "place")]
    position: DriverPosition,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct DriverPosition {
    id: u64,
    /// The next token; `None` at the start of a partition.
    token: Option<Position>,
    /// Whether only the concurrent positions are left here.
    is_over: bool,
    /// The concurrent positions, which come before the token.
    #[serde(rename = "beside")]
    concurrent: Vec<Self>,
}

/// A position that can be fetched now.
#[derive(Clone, Debug)]
pub struct ReadyPosition {
    /// The id of the position.
    pub id: u64,
    /// The partition's number in the plan.
    pub number: usize,
    /// The partition to fetch.
    pub partition: Position,
    /// The token in the partition.
    pub token: Option<Position>,
}

impl PassDriver {
    /// Makes the driver of a whole plan.
    pub fn new(plan: Vec<Position>) -> Self {
        Self::from_places(plan.into_iter().map(|partition| (partition, None)))
    }

    /// Makes the driver of the rest of some partitions.
    pub fn from_places(positions: impl IntoIterator<Item = (Position, Option<Position>)>) -> Self {
        let mut last_id = 0;
        let part = |(number, (partition, token))| {
            last_id += 1;
            Part {
                number,
                partition,
                position: DriverPosition::new(last_id, token),
            }
        };
        let partitions = positions.into_iter().enumerate().map(part).collect();
        Self {
            partitions,
            last_id,
        }
    }

    /// Returns whether the pass is finished.
    pub fn is_over(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Returns every position that can be fetched now, in the order of a single reader.
    pub fn ready(&self) -> Vec<ReadyPosition> {
        let mut all = Vec::new();
        for part in &self.partitions {
            part.position.collect(part, &mut all);
        }
        all
    }

    /// Returns the first ready position.
    pub fn first(&self) -> Option<ReadyPosition> {
        self.ready().into_iter().next()
    }

    /// Continues after a page of a position.
    pub fn arrived(&mut self, id: u64, page: &Page<Position, Position>) {
        let mut concurrent = Vec::new();
        for token in &page.beside {
            self.last_id += 1;
            concurrent.push(DriverPosition::new(self.last_id, Some(token.clone())));
        }
        for part in &mut self.partitions {
            if let Some(position) = part.position.find(id) {
                position.token = page.next.clone();
                position.is_over = page.next.is_none();
                position.concurrent = concurrent;
                break;
            }
        }
        self.partitions.retain_mut(|part| part.position.is_left());
    }
}

impl DriverPosition {
    const fn new(id: u64, token: Option<Position>) -> Self {
        Self {
            id,
            token,
            is_over: false,
            concurrent: Vec::new(),
        }
    }

    fn collect(&self, part: &Part, all: &mut Vec<ReadyPosition>) {
        if !self.concurrent.is_empty() {
            self.concurrent
                .iter()
                .for_each(|position| position.collect(part, all));
            return;
        }
        all.push(ReadyPosition {
            id: self.id,
            number: part.number,
            partition: part.partition.clone(),
            token: self.token.clone(),
        });
    }

    fn find(&mut self, id: u64) -> Option<&mut Self> {
        if self.id == id {
            return Some(self);
        }
        self.concurrent
            .iter_mut()
            .find_map(|position| position.find(id))
    }

    /// Drops finished positions, and returns whether any is left.
    fn is_left(&mut self) -> bool {
        self.concurrent.retain_mut(Self::is_left);
        !self.is_over || !self.concurrent.is_empty()
    }
}

/// The result of a pass.
#[derive(Debug, Default)]
pub struct PassResult {
    /// The records, in the order of their arrival.
    pub records: Vec<String>,
    /// Codes of the notes.
    pub notes: Vec<&'static str>,
    /// The final bookmark of the pass.
    pub bookmark: Option<Position>,
    /// The number of received pages.
    pub fetches: usize,
    /// The number of simulated kills.
    pub crashes: usize,
    /// The length of the longest serialised driver, in characters.
    pub longest_state: usize,
    bookmark_from: usize,
}

/// A reader of a pass.
#[derive(Clone, Copy, Debug)]
pub struct PassReader {
    /// The maximum number of concurrent fetches.
    pub at_once: usize,
    /// The seed of the random order and of the kills.
    pub seed: u64,
    /// The average number of pages between two kills; `None` for no kills.
    pub crash_every: Option<usize>,
}

impl PassReader {
    /// Reads a plan to its end, in random order. A kill drops all running fetches and continues from the serialised
    /// driver.
    pub async fn all(self, stream: &Arc<dyn AnyStream>, plan: Vec<Position>) -> Result<PassResult> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut driver = PassDriver::new(plan);
        let mut result = PassResult::default();
        let mut running = JoinSet::new();
        let mut started: Vec<u64> = Vec::new();
        while !driver.is_over() {
            let mut waiting = driver.ready();
            waiting.retain(|ready| !started.contains(&ready.id));
            while started.len() < self.at_once && !waiting.is_empty() {
                let ready = waiting.swap_remove(random.usize(..waiting.len()));
                started.push(ready.id);
                let stream = Arc::clone(stream);
                running.spawn(async move {
                    let page = fetch(&*stream, ready.partition, ready.token).await;
                    (ready.id, ready.number, page)
                });
            }
            let Some(Ok((id, number, page))) = running.join_next().await else {
                continue;
            };
            started.retain(|other| *other != id);
            let page = page?;
            let text = serde_json::to_string(&driver).unwrap_or_default();
            result.longest_state = result.longest_state.max(text.len());
            if self
                .crash_every
                .is_some_and(|pages| random.usize(..pages) == 0)
            {
                result.crashes += 1;
                running = JoinSet::new();
                started.clear();
                if let Ok(written) = serde_json::from_str(&text) {
                    driver = written;
                }
                continue;
            }
            result.add(number, &page);
            driver.arrived(id, &page);
        }
        Ok(result)
    }
}

/// Fetches a page and waits as it requests. A partition that ends for this run is an error.
async fn fetch(
    stream: &dyn AnyStream,
    partition: Position,
    token: Option<Position>,
) -> Result<Page<Position, Position>> {
    let mut page = stream.fetch(partition, token).await?;
    match page.wait.take() {
        Some(Wait::For { wait, .. }) => sleep(wait).await,
        Some(Wait::NextRun(error)) => return Err(error),
        None => {}
    }
    Ok(page)
}

impl PassResult {
    fn add(&mut self, number: usize, page: &Page<Position, Position>) {
        self.fetches += 1;
        let records = page.iter();
        self.records
            .extend(records.map(|record| String::from_utf8_lossy(record).into_owned()));
        self.notes.extend(page.notes.iter().map(|note| note.code));
        if page.bookmark.is_some() && number >= self.bookmark_from {
            self.bookmark = page.bookmark.clone();
            self.bookmark_from = number;
        }
    }
}
