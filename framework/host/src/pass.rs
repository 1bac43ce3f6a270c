//! A pass under way: its partitions, and the places in each of them from which reading goes on.

use std::collections::{BTreeSet, VecDeque};

use headwater_core::{Position, Scope, Timestamp};
use serde::{Deserialize, Serialize};

/// What is left of a pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pass {
    /// Partitions still to read, in the order of the plan.
    pub partitions: VecDeque<Progress>,
    /// The bookmark that this pass will leave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bookmark: Option<Position>,
    /// The number of the partition that the bookmark is from: one from further back in the plan does not replace it.
    #[serde(default)]
    pub bookmark_from: usize,
    /// The streams of the group that it is read for; a pass of an earlier version does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlets: Option<BTreeSet<String>>,
    /// What the bookmark will cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The moment that it was planned for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
}

/// What is left of a partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// The partition's place in the plan.
    #[serde(default)]
    pub number: usize,
    pub partition: Position,
    /// The place to go on from; the partition's beginning without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Position>,
    /// What is to be read before that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<PassPosition>,
    /// Runs in a row that ended at this place.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// Whether it was set aside by an earlier pass: the bookmark is past it already.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_of_earlier_pass: bool,
    /// The streams that its records go to; all of the pass without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlets: Option<BTreeSet<String>>,
    /// Whether it begins only once the partitions before it are over.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_in_turn: bool,
    /// The last id given to a place. The partition itself is 0.
    #[serde(skip)]
    pub last_id: u64,
}

/// A place inside a partition that others do not depend on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PassPosition {
    /// Tells it from the others of its partition, in this run.
    #[serde(skip)]
    pub id: u64,
    /// Where to go on; none where only `beside` is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Position>,
    /// What is to be read before that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Self>,
    /// Runs in a row that ended at this place.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
}

/// What can be fetched now: a place by its id, and its token.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub number: usize,
    pub id: u64,
    pub partition: Position,
    pub token: Option<Position>,
}

/// What a fetched page says about where its partition goes on.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The partition and the place that the page was fetched for.
    pub place: (usize, u64),
    pub next: Option<Position>,
    pub beside: Vec<Position>,
    pub bookmark: Option<Position>,
}

impl Pass {
    /// A pass over planned partitions.
    pub fn new(partitions: Vec<Position>) -> Self {
        let partitions = partitions.into_iter().enumerate();
        Self {
            partitions: partitions
                .map(|(number, partition)| Progress {
                    number,
                    partition,
                    token: None,
                    beside: Vec::new(),
                    failures: 0,
                    is_of_earlier_pass: false,
                    outlets: None,
                    is_in_turn: false,
                    last_id: 0,
                })
                .collect(),
            ..Self::default()
        }
    }

    /// Numbers what is not written: the places; and the partitions of a pass that was written before those had numbers.
    /// All of them are 0 then, and what ends one would end all.
    pub fn number(&mut self) {
        if self.partitions.iter().all(|one| one.number == 0) {
            let numbered = self.partitions.iter_mut().enumerate();
            numbered.for_each(|(number, progress)| progress.number = number);
        }
        for progress in &mut self.partitions {
            progress.last_id = 0;
            number_places(&mut progress.beside, &mut progress.last_id);
        }
    }

    /// Goes on from a page. Two passes that take the same steps stay the same, ids included.
    pub fn advance(&mut self, step: Step) {
        let (number, id) = step.place;
        let Some(progress) = self.partitions.iter_mut().find(|one| one.number == number) else {
            return;
        };
        if let Some(bookmark) = step.bookmark
            && !progress.is_of_earlier_pass
            && (self.bookmark.is_none() || number >= self.bookmark_from)
        {
            self.bookmark = Some(bookmark);
            self.bookmark_from = number;
        }
        let last_id = &mut progress.last_id;
        let beside: Vec<PassPosition> = step
            .beside
            .into_iter()
            .map(|token| {
                *last_id += 1;
                PassPosition {
                    id: *last_id,
                    token: Some(token),
                    beside: Vec::new(),
                    failures: 0,
                }
            })
            .collect();
        if id == 0 {
            progress.failures = 0;
            progress.token = step.next;
            progress.beside = beside;
        } else if let Some(place) = find(&mut progress.beside, id) {
            place.failures = 0;
            place.token = step.next;
            place.beside = beside;
        }
        self.tidy(number);
    }

    /// Whether something of it was read.
    pub fn has_begun(&self) -> bool {
        let has_gone_on = |one: &Progress| one.token.is_some() || !one.beside.is_empty();
        self.bookmark.is_some() || self.partitions.iter().any(has_gone_on)
    }

    /// Counts a run that ended at a place; true when that was one too many.
    pub fn fail(&mut self, (number, id): (usize, u64), most: u32) -> bool {
        let Some(progress) = self.partition(number) else {
            return false;
        };
        let failures = if id == 0 {
            &mut progress.failures
        } else if let Some(place) = find(&mut progress.beside, id) {
            &mut place.failures
        } else {
            return false;
        };
        *failures += 1;
        *failures >= most
    }

    /// Takes a place out of the pass: its partition and its token.
    pub fn set_aside(
        &mut self,
        (number, id): (usize, u64),
    ) -> Option<(Position, Option<Position>)> {
        let progress = self.partition(number)?;
        let partition = progress.partition.clone();
        let token = if id == 0 {
            progress.beside.clear();
            progress.token.take()
        } else {
            find(&mut progress.beside, id)?.token.take()
        };
        self.tidy(number);
        Some((partition, token))
    }

    /// Reads what lies before the bookmark: a place that was set aside once more, or what was left out.
    pub fn put_back(&mut self, partition: Position, token: Option<Position>) -> &mut Progress {
        let numbers = self.partitions.iter().map(|one| one.number + 1);
        let number = numbers.max().unwrap_or(0).max(self.bookmark_from + 1);
        self.partitions.push_back(Progress {
            number,
            partition,
            token,
            beside: Vec::new(),
            failures: 0,
            is_of_earlier_pass: true,
            outlets: None,
            is_in_turn: false,
            last_id: 0,
        });
        let last = self.partitions.len() - 1;
        &mut self.partitions[last]
    }

    /// Begins a place anew: what it held at the service is let go of.
    pub fn begin_anew(&mut self, number: usize) {
        if let Some(progress) = self.partition(number) {
            progress.token = None;
            progress.beside.clear();
        }
    }

    /// Whether something of a partition is left.
    pub fn has(&self, number: usize) -> bool {
        self.partitions.iter().any(|one| one.number == number)
    }

    pub fn partition(&mut self, number: usize) -> Option<&mut Progress> {
        self.partitions.iter_mut().find(|one| one.number == number)
    }

    /// What can be fetched now, in the order of the plan: partitions and places.
    pub fn leaves(&self) -> Vec<(usize, u64)> {
        let mut leaves = Vec::new();
        for progress in &self.partitions {
            if progress.beside.is_empty() {
                leaves.push((progress.number, 0));
            } else {
                collect(&progress.beside, progress.number, &mut leaves);
            }
        }
        leaves
    }

    /// Whether a partition begins only once those before it are over.
    pub fn is_in_turn(&self, number: usize) -> bool {
        let progress = self.partitions.iter().find(|one| one.number == number);
        progress.is_some_and(|progress| progress.is_in_turn)
    }

    /// Runs in a row that ended at a place.
    pub fn failures(&self, (number, id): (usize, u64)) -> u32 {
        let progress = self.partitions.iter().find(|one| one.number == number);
        progress.map_or(0, |progress| match id {
            0 => progress.failures,
            id => search(&progress.beside, id).map_or(0, |place| place.failures),
        })
    }

    /// What to fetch for a place.
    pub fn leaf(&self, (number, id): (usize, u64)) -> Option<Leaf> {
        let progress = self.partitions.iter().find(|one| one.number == number)?;
        let token = if id == 0 {
            progress.token.clone()
        } else {
            search(&progress.beside, id)?.token.clone()
        };
        Some(Leaf {
            number,
            id,
            partition: progress.partition.clone(),
            token,
        })
    }

    /// Every place of a partition with a token.
    pub fn tokens(progress: &Progress) -> Vec<&Position> {
        fn walk<'a>(places: &'a [PassPosition], tokens: &mut Vec<&'a Position>) {
            for place in places {
                tokens.extend(&place.token);
                walk(&place.beside, tokens);
            }
        }
        let mut tokens: Vec<&Position> = progress.token.iter().collect();
        walk(&progress.beside, &mut tokens);
        tokens
    }

    /// Drops the places that have nothing left, and the partition if it is one of them.
    fn tidy(&mut self, number: usize) {
        if let Some(progress) = self.partition(number) {
            prune(&mut progress.beside);
        }
        self.partitions
            .retain(|one| one.number != number || one.token.is_some() || !one.beside.is_empty());
    }
}

fn prune(places: &mut Vec<PassPosition>) {
    for place in places.iter_mut() {
        prune(&mut place.beside);
    }
    places.retain(|place| place.token.is_some() || !place.beside.is_empty());
}

fn find(places: &mut [PassPosition], id: u64) -> Option<&mut PassPosition> {
    for place in places {
        if place.id == id {
            return Some(place);
        }
        if let Some(found) = find(&mut place.beside, id) {
            return Some(found);
        }
    }
    None
}

fn search(places: &[PassPosition], id: u64) -> Option<&PassPosition> {
    places.iter().find_map(|place| {
        if place.id == id {
            return Some(place);
        }
        search(&place.beside, id)
    })
}

fn collect(places: &[PassPosition], number: usize, leaves: &mut Vec<(usize, u64)>) {
    for place in places {
        if place.beside.is_empty() {
            leaves.push((number, place.id));
        } else {
            collect(&place.beside, number, leaves);
        }
    }
}

fn number_places(places: &mut [PassPosition], last: &mut u64) {
    for place in places {
        *last += 1;
        place.id = *last;
        number_places(&mut place.beside, last);
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}
