//! A pass under way: its partitions, and the positions in each of them from which reading continues.

use std::collections::{BTreeSet, VecDeque};

use headwater_core::{Position, Scope, Timestamp};
use serde::{Deserialize, Serialize};

/// The rest of a pass.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pass {
    /// Partitions still to read, in the order of the plan.
    pub partitions: VecDeque<Progress>,
    /// The bookmark that this pass leaves at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bookmark: Option<Position>,
    /// The number of the partition that the bookmark is from: a bookmark of an earlier partition does not replace it.
    #[serde(default)]
    pub bookmark_from: usize,
    /// The streams of the group that this pass reads; `None` in a pass of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlets: Option<BTreeSet<String>>,
    /// The scope that the bookmark will cover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The moment of its plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
}

/// The rest of a partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Progress {
    /// The partition's index in the plan.
    #[serde(default)]
    pub number: usize,
    pub partition: Position,
    /// The token to continue from; `None` is the partition's beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Position>,
    /// Positions to read before `token`.
    #[serde(default, rename = "beside", skip_serializing_if = "Vec::is_empty")]
    pub concurrent: Vec<PassPosition>,
    /// Runs in a row that failed at this position.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// Whether it comes from an earlier pass, for example out of quarantine: the bookmark is past it already.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_of_earlier_pass: bool,
    /// The streams that its records go to; `None` is all of the pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlets: Option<BTreeSet<String>>,
    /// Whether it begins only after the partitions before it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_in_turn: bool,
    /// The last id of a position. The partition itself is 0.
    #[serde(skip)]
    pub last_id: u64,
}

/// A position inside a partition, read concurrently with its siblings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PassPosition {
    /// Unique within its partition, in this run.
    #[serde(skip)]
    pub id: u64,
    /// The token to continue from; `None` where only `concurrent` is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Position>,
    /// Positions to read before `token`.
    #[serde(default, rename = "beside", skip_serializing_if = "Vec::is_empty")]
    pub concurrent: Vec<Self>,
    /// Runs in a row that failed at this position.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failures: u32,
}

/// A position that can be fetched now: its id and its token.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub number: usize,
    pub id: u64,
    pub partition: Position,
    pub token: Option<Position>,
}

/// How a partition continues after a fetched page.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The partition and the position of the page.
    pub position: (usize, u64),
    pub next: Option<Position>,
    pub concurrent: Vec<Position>,
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
                    concurrent: Vec::new(),
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

    /// Numbers the positions, whose ids the state does not hold, and the partitions of a pass that an earlier version
    /// wrote without numbers. All of those are 0, and a step that ends one partition would end all.
    pub fn number(&mut self) {
        if self.partitions.iter().all(|one| one.number == 0) {
            let numbered = self.partitions.iter_mut().enumerate();
            numbered.for_each(|(number, progress)| progress.number = number);
        }
        for progress in &mut self.partitions {
            progress.last_id = 0;
            number_positions(&mut progress.concurrent, &mut progress.last_id);
        }
    }

    /// Advances past a page. Two passes that take the same steps stay the same, ids included.
    pub fn advance(&mut self, step: Step) {
        let (number, id) = step.position;
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
        let concurrent: Vec<PassPosition> = step
            .concurrent
            .into_iter()
            .map(|token| {
                *last_id += 1;
                PassPosition {
                    id: *last_id,
                    token: Some(token),
                    concurrent: Vec::new(),
                    failures: 0,
                }
            })
            .collect();
        if id == 0 {
            progress.failures = 0;
            progress.token = step.next;
            progress.concurrent = concurrent;
        } else if let Some(position) = find(&mut progress.concurrent, id) {
            position.failures = 0;
            position.token = step.next;
            position.concurrent = concurrent;
        }
        self.tidy(number);
    }

    /// Whether a run has read a part of it.
    pub fn has_begun(&self) -> bool {
        let has_advanced = |one: &Progress| one.token.is_some() || !one.concurrent.is_empty();
        self.bookmark.is_some() || self.partitions.iter().any(has_advanced)
    }

    /// Records a failed run at this position. Returns true once it reached `max`.
    pub fn fail(&mut self, (number, id): (usize, u64), max: u32) -> bool {
        let Some(progress) = self.partition(number) else {
            return false;
        };
        let failures = if id == 0 {
            &mut progress.failures
        } else if let Some(position) = find(&mut progress.concurrent, id) {
            &mut position.failures
        } else {
            return false;
        };
        *failures += 1;
        *failures >= max
    }

    /// Takes a position out of the pass and returns its partition and its token.
    pub fn quarantine(
        &mut self,
        (number, id): (usize, u64),
    ) -> Option<(Position, Option<Position>)> {
        let progress = self.partition(number)?;
        let partition = progress.partition.clone();
        let token = if id == 0 {
            progress.concurrent.clear();
            progress.token.take()
        } else {
            find(&mut progress.concurrent, id)?.token.take()
        };
        self.tidy(number);
        Some((partition, token))
    }

    /// Appends a range before the bookmark: a position out of quarantine, or a range that earlier passes left out.
    pub fn put_back(&mut self, partition: Position, token: Option<Position>) -> &mut Progress {
        let numbers = self.partitions.iter().map(|one| one.number + 1);
        let number = numbers.max().unwrap_or(0).max(self.bookmark_from + 1);
        self.partitions.push_back(Progress {
            number,
            partition,
            token,
            concurrent: Vec::new(),
            failures: 0,
            is_of_earlier_pass: true,
            outlets: None,
            is_in_turn: false,
            last_id: 0,
        });
        let last = self.partitions.len() - 1;
        &mut self.partitions[last]
    }

    /// Restarts a partition after its server-side work was cancelled.
    pub fn restart(&mut self, number: usize) {
        if let Some(progress) = self.partition(number) {
            progress.token = None;
            progress.concurrent.clear();
        }
    }

    /// Whether a part of this partition is left.
    pub fn has(&self, number: usize) -> bool {
        self.partitions.iter().any(|one| one.number == number)
    }

    pub fn partition(&mut self, number: usize) -> Option<&mut Progress> {
        self.partitions.iter_mut().find(|one| one.number == number)
    }

    /// The positions that can be fetched now, in the order of the plan: partition and id.
    pub fn leaves(&self) -> Vec<(usize, u64)> {
        let mut leaves = Vec::new();
        for progress in &self.partitions {
            if progress.concurrent.is_empty() {
                leaves.push((progress.number, 0));
            } else {
                collect(&progress.concurrent, progress.number, &mut leaves);
            }
        }
        leaves
    }

    /// Whether a partition begins only after those before it.
    pub fn is_in_turn(&self, number: usize) -> bool {
        let progress = self.partitions.iter().find(|one| one.number == number);
        progress.is_some_and(|progress| progress.is_in_turn)
    }

    /// Runs in a row that failed at a position.
    pub fn failures(&self, (number, id): (usize, u64)) -> u32 {
        let progress = self.partitions.iter().find(|one| one.number == number);
        progress.map_or(0, |progress| match id {
            0 => progress.failures,
            id => search(&progress.concurrent, id).map_or(0, |position| position.failures),
        })
    }

    /// The fetch for a position.
    pub fn leaf(&self, (number, id): (usize, u64)) -> Option<Leaf> {
        let progress = self.partitions.iter().find(|one| one.number == number)?;
        let token = if id == 0 {
            progress.token.clone()
        } else {
            search(&progress.concurrent, id)?.token.clone()
        };
        Some(Leaf {
            number,
            id,
            partition: progress.partition.clone(),
            token,
        })
    }

    /// All tokens of a partition.
    pub fn tokens(progress: &Progress) -> Vec<&Position> {
        fn walk<'a>(positions: &'a [PassPosition], tokens: &mut Vec<&'a Position>) {
            for position in positions {
                tokens.extend(&position.token);
                walk(&position.concurrent, tokens);
            }
        }
        let mut tokens: Vec<&Position> = progress.token.iter().collect();
        walk(&progress.concurrent, &mut tokens);
        tokens
    }

    /// Drops finished positions, and the partition once it is finished.
    fn tidy(&mut self, number: usize) {
        if let Some(progress) = self.partition(number) {
            prune(&mut progress.concurrent);
        }
        self.partitions.retain(|one| {
            one.number != number || one.token.is_some() || !one.concurrent.is_empty()
        });
    }
}

fn prune(positions: &mut Vec<PassPosition>) {
    for position in positions.iter_mut() {
        prune(&mut position.concurrent);
    }
    positions.retain(|position| position.token.is_some() || !position.concurrent.is_empty());
}

fn find(positions: &mut [PassPosition], id: u64) -> Option<&mut PassPosition> {
    for position in positions {
        if position.id == id {
            return Some(position);
        }
        if let Some(found) = find(&mut position.concurrent, id) {
            return Some(found);
        }
    }
    None
}

fn search(positions: &[PassPosition], id: u64) -> Option<&PassPosition> {
    positions.iter().find_map(|position| {
        if position.id == id {
            return Some(position);
        }
        search(&position.concurrent, id)
    })
}

fn collect(positions: &[PassPosition], number: usize, leaves: &mut Vec<(usize, u64)>) {
    for position in positions {
        if position.concurrent.is_empty() {
            leaves.push((number, position.id));
        } else {
            collect(&position.concurrent, number, leaves);
        }
    }
}

fn number_positions(positions: &mut [PassPosition], last: &mut u64) {
    for position in positions {
        *last += 1;
        position.id = *last;
        number_positions(&mut position.concurrent, last);
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
