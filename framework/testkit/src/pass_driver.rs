//! A pass as a tree of places, and readers that go over it in any order: what a host does, as small as it gets.

use std::sync::Arc;

use headwater_core::{AnyStream, Page, Position, Result, Wait};
use serde::{Deserialize, Serialize};
use tokio::{task::JoinSet, time::sleep};

/// What is left of a pass. It can be written down between any two pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PassDriver {
    partitions: Vec<Part>,
    last_id: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Part {
    number: usize,
    partition: Position,
    place: DriverPosition,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct DriverPosition {
    id: u64,
    /// Where to go on; none at the beginning of a partition.
    token: Option<Position>,
    /// Whether there is nothing more here but what is beside.
    is_over: bool,
    /// What comes before that.
    beside: Vec<Self>,
}

/// A place that can be fetched now.
#[derive(Clone, Debug)]
pub struct ReadyPosition {
    /// The place.
    pub id: u64,
    /// The partition's number in the plan.
    pub number: usize,
    /// What to fetch.
    pub partition: Position,
    /// Where in it.
    pub token: Option<Position>,
}

impl PassDriver {
    /// All of a plan.
    pub fn new(plan: Vec<Position>) -> Self {
        Self::from_places(plan.into_iter().map(|partition| (partition, None)))
    }

    /// The rest of some partitions.
    pub fn from_places(places: impl IntoIterator<Item = (Position, Option<Position>)>) -> Self {
        let mut last_id = 0;
        let part = |(number, (partition, token))| {
            last_id += 1;
            Part {
                number,
                partition,
                place: DriverPosition::new(last_id, token),
            }
        };
        let partitions = places.into_iter().enumerate().map(part).collect();
        Self {
            partitions,
            last_id,
        }
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.partitions.is_empty()
    }

    /// Every place that can be fetched now, in the order of one reader.
    pub fn ready(&self) -> Vec<ReadyPosition> {
        let mut all = Vec::new();
        for part in &self.partitions {
            part.place.collect(part, &mut all);
        }
        all
    }

    /// The first of them.
    pub fn first(&self) -> Option<ReadyPosition> {
        self.ready().into_iter().next()
    }

    /// Goes on from a page of a place.
    pub fn arrived(&mut self, id: u64, page: &Page<Position, Position>) {
        let mut beside = Vec::new();
        for token in &page.beside {
            self.last_id += 1;
            beside.push(DriverPosition::new(self.last_id, Some(token.clone())));
        }
        for part in &mut self.partitions {
            if let Some(place) = part.place.find(id) {
                place.token = page.next.clone();
                place.is_over = page.next.is_none();
                place.beside = beside;
                break;
            }
        }
        self.partitions.retain_mut(|part| part.place.is_left());
    }
}

impl DriverPosition {
    const fn new(id: u64, token: Option<Position>) -> Self {
        Self {
            id,
            token,
            is_over: false,
            beside: Vec::new(),
        }
    }

    fn collect(&self, part: &Part, all: &mut Vec<ReadyPosition>) {
        if !self.beside.is_empty() {
            self.beside
                .iter()
                .for_each(|place| place.collect(part, all));
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
        self.beside.iter_mut().find_map(|place| place.find(id))
    }

    /// Drops what is over, and says whether anything is left.
    fn is_left(&mut self) -> bool {
        self.beside.retain_mut(Self::is_left);
        !self.is_over || !self.beside.is_empty()
    }
}

/// What a pass gave.
#[derive(Debug, Default)]
pub struct PassResult {
    /// The records, in the order of their arrival.
    pub records: Vec<String>,
    /// Codes of the notes.
    pub notes: Vec<&'static str>,
    /// The bookmark that the pass leaves.
    pub bookmark: Option<Position>,
    /// Pages that arrived.
    pub fetches: usize,
    /// How often the reader was killed.
    pub crashes: usize,
    /// Characters of the longest written form of the walk.
    pub longest_state: usize,
    bookmark_from: usize,
}

/// How a pass is gathered.
#[derive(Clone, Copy, Debug)]
pub struct PassReader {
    /// Places that are fetched at once.
    pub at_once: usize,
    /// What order they are begun in, and when the reader is killed; from this seed.
    pub seed: u64,
    /// Pages between two kills, about. None for never.
    pub crash_every: Option<usize>,
}

impl PassReader {
    /// Reads a plan to its end. Places are begun in random order. A kill forgets all that is under way, and goes on
    /// from the written form of the walk.
    pub async fn all(self, stream: &Arc<dyn AnyStream>, plan: Vec<Position>) -> Result<PassResult> {
        let mut random = fastrand::Rng::with_seed(self.seed);
        let mut walk = PassDriver::new(plan);
        let mut gathered = PassResult::default();
        let mut under_way = JoinSet::new();
        let mut begun: Vec<u64> = Vec::new();
        while !walk.is_over() {
            let mut waiting = walk.ready();
            waiting.retain(|ready| !begun.contains(&ready.id));
            while begun.len() < self.at_once && !waiting.is_empty() {
                let ready = waiting.swap_remove(random.usize(..waiting.len()));
                begun.push(ready.id);
                let stream = Arc::clone(stream);
                under_way.spawn(async move {
                    let page = fetch(&*stream, ready.partition, ready.token).await;
                    (ready.id, ready.number, page)
                });
            }
            let Some(Ok((id, number, page))) = under_way.join_next().await else {
                continue;
            };
            begun.retain(|other| *other != id);
            let page = page?;
            let text = serde_json::to_string(&walk).unwrap_or_default();
            gathered.longest_state = gathered.longest_state.max(text.len());
            if self
                .crash_every
                .is_some_and(|pages| random.usize(..pages) == 0)
            {
                gathered.crashes += 1;
                under_way = JoinSet::new();
                begun.clear();
                if let Ok(written) = serde_json::from_str(&text) {
                    walk = written;
                }
                continue;
            }
            gathered.keep(number, &page);
            walk.arrived(id, &page);
        }
        Ok(gathered)
    }
}

/// A page, once it may be followed. What is over for this run is an error.
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
    fn keep(&mut self, number: usize, page: &Page<Position, Position>) {
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
