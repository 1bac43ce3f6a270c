//! Decides on each row of a batch: a new row, one in the place of an earlier one, or none.

use std::collections::BTreeMap;

use headwater_json::canonical::digest;

use crate::relational::{self, Kept, Relation, TablePlan, relation, rule};

/// The decision on a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    New,
    /// Replaces the one with its key and its digest.
    Known,
    /// Another row of the batch or the table is equal or newer.
    Superseded,
}

/// The decisions on the rows of a batch.
#[derive(Debug, Default)]
pub(super) struct Fates {
    pub rows: Vec<Fate>,
    /// Digests of rows that are not the first ones of their keys.
    pub digests: BTreeMap<usize, String>,
    pub collisions: u64,
    pub merged: u64,
}

/// A row in the table that has a key of the batch.
#[derive(Clone, Debug)]
pub(super) struct StoredKey {
    pub digest: String,
    pub is_current: bool,
    /// Read only where it matters.
    pub record: Option<Vec<u8>>,
}

/// A row as it will be in the table.
struct Slot {
    found: StoredKey,
    /// The row of the batch that takes this place.
    row: Option<usize>,
}

impl Fates {
    /// Decides on rows with one key, in their order; `found` are the rows that the table has.
    pub(super) fn decide<'a>(
        &mut self,
        table: &TablePlan,
        has_mark: bool,
        places: &[usize],
        found: Vec<StoredKey>,
        record: impl Fn(usize) -> &'a [u8],
    ) {
        let mut slots: Vec<Slot> = found
            .into_iter()
            .map(|found| Slot { found, row: None })
            .collect();
        for &place in places {
            let came = record(place);
            let kept: Vec<Kept> = slots
                .iter()
                .map(|slot| {
                    let before = slot.row.map(&record).or(slot.found.record.as_deref());
                    let is_current = slot.found.is_current;
                    let relation = match before {
                        _ if table.has_digests => Relation::Same,
                        Some(before) if is_current => relation(table.cursor, before, came),
                        Some(before) if before == came => Relation::Same,
                        _ => Relation::Other,
                    };
                    Kept {
                        is_current,
                        digest: slot.found.digest.clone(),
                        relation,
                    }
                })
                .collect();
            let (fate, is_collision) = rule(&kept, || digest(came));
            self.collisions += u64::from(is_collision);
            let taken = match fate {
                relational::Fate::Touch(at) if kept[at].is_current => None,
                relational::Fate::Touch(at) | relational::Fate::Replace(at) => Some(at),
                relational::Fate::Insert if slots.is_empty() || table.has_digest => {
                    let mut own = String::new();
                    if !slots.is_empty() {
                        own = digest(came);
                        while slots.iter().any(|slot| slot.found.digest == own) {
                            own.push('+');
                        }
                    }
                    self.rows[place] = Fate::New;
                    if !own.is_empty() {
                        self.digests.insert(place, own.clone());
                    }
                    slots.push(Slot {
                        found: StoredKey {
                            digest: own,
                            is_current: has_mark,
                            record: None,
                        },
                        row: Some(place),
                    });
                    continue;
                }
                relational::Fate::Insert => {
                    self.merged += 1;
                    Some(0)
                }
            };
            let Some(at) = taken else {
                self.rows[place] = Fate::Superseded;
                continue;
            };
            let slot = &mut slots[at];
            self.rows[place] = match slot.row.replace(place) {
                None => Fate::Known,
                Some(before) => {
                    self.digests.remove(&before);
                    std::mem::replace(&mut self.rows[before], Fate::Superseded)
                }
            };
            if !slot.found.digest.is_empty() && !table.has_digests {
                self.digests.insert(place, slot.found.digest.clone());
            }
            slot.found.is_current = has_mark;
        }
    }
}
