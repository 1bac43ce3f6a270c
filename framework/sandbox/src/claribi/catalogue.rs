//! The records: how many of each kind, their ids and when they were created.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use jiff::Timestamp;
use serde_json::Value;

use super::options::{ClaribiOptions, Ids};
use crate::ids::{uuid, uuid_index};
use crate::random::{Purpose, draw, draw_below, pick_at};

const MAX_DATA_SOURCES: u64 = 1_000_000;

const REPORTS_PER_DATA_SOURCE: u64 = 3;

/// The average distance between the ids of two records: real tables have gaps.
const ID_STRIDE: u64 = 3;

/// Two years in milliseconds: nothing is older.
const SPAN: i64 = 730 * 24 * 3_600_000;

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    DataSource,
    Report,
    Dashboard,
}

impl Kind {
    /// The last part of the path of its list.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::DataSource => "data-sources",
            Self::Report => "reports",
            Self::Dashboard => "dashboards",
        }
    }

    /// Its name in messages.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::DataSource => "Data source",
            Self::Report => "Report",
            Self::Dashboard => "Dashboard",
        }
    }

    pub(crate) fn purpose(self) -> Purpose {
        match self {
            Self::DataSource => Purpose::DataSource,
            Self::Report => Purpose::Report,
            Self::Dashboard => Purpose::Dashboard,
        }
    }
}

/// All records. They are numbered from the oldest, and all but the added reports are computed on
/// access.
#[derive(Debug)]
pub(crate) struct Catalogue {
    pub(crate) seed: u64,
    data_sources: u64,
    as_of: i64,
    /// When each report was added, in milliseconds since the Unix epoch.
    added_reports: RwLock<Vec<i64>>,
}

impl Catalogue {
    pub(crate) fn new(options: &ClaribiOptions) -> Self {
        Self {
            seed: options.seed,
            data_sources: options.data_sources.min(MAX_DATA_SOURCES),
            as_of: options.as_of.as_millisecond(),
            added_reports: RwLock::default(),
        }
    }

    /// How many records of a kind there are now.
    pub(crate) fn count(&self, kind: Kind) -> u64 {
        let added = match kind {
            Kind::Report => self.added_reports().len() as u64,
            Kind::DataSource | Kind::Dashboard => 0,
        };
        self.generated(kind) + added
    }

    fn generated(&self, kind: Kind) -> u64 {
        match kind {
            Kind::DataSource => self.data_sources,
            Kind::Report => self.data_sources * REPORTS_PER_DATA_SOURCE,
            Kind::Dashboard => self.data_sources - self.data_sources / 10,
        }
    }

    // Times are only ever appended, so a thread that panicked with the lock has left valid data.
    fn added_reports(&self) -> RwLockReadGuard<'_, Vec<i64>> {
        let added = self.added_reports.read();
        added.unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds reports, as of now, and returns the number of the last one.
    pub(crate) fn add_reports(&self, count: u64) -> u64 {
        let now = Timestamp::now().as_millisecond();
        let added = self.added_reports.write();
        let mut added = added.unwrap_or_else(PoisonError::into_inner);
        added.extend((0..count).map(|_| now));
        (self.generated(Kind::Report) + added.len() as u64).saturating_sub(1)
    }

    /// When a report was added; `None` for one that was there from the start.
    pub(crate) fn report_added(&self, index: u64) -> Option<i64> {
        let position = index.checked_sub(self.generated(Kind::Report))?;
        let position = usize::try_from(position).ok()?;
        self.added_reports().get(position).copied()
    }

    /// The time that the generated records look back from, in milliseconds since the Unix epoch.
    pub(crate) fn as_of(&self) -> i64 {
        self.as_of
    }

    /// When a record was created, in milliseconds since the Unix epoch. Newer records have higher
    /// numbers.
    pub(crate) fn created(&self, kind: Kind, index: u64) -> i64 {
        if kind == Kind::Report
            && let Some(added) = self.report_added(index)
        {
            return added;
        }
        let count = i128::from(self.generated(kind).max(1));
        let slot = |number: u64| i128::from(number) * i128::from(SPAN) / count;
        let start = slot(index);
        let width = u64::try_from(slot(index + 1) - start).unwrap_or_default();
        let offset = draw_below(self.seed, kind.purpose(), index, width);
        let since_first = start + i128::from(offset);
        let created = self.as_of - SPAN + i64::try_from(since_first).unwrap_or(SPAN);
        match index % 2 {
            0 => created - created.rem_euclid(1_000),
            _ => created,
        }
    }

    /// A choice that takes all its values within a few records in a row.
    pub(crate) fn pick_in_turn(
        &self,
        kind: Kind,
        index: u64,
        choices: &[&'static str],
    ) -> &'static str {
        let phase = draw(self.seed, kind.purpose(), u64::MAX) >> 32;
        pick_at(choices, phase + index)
    }

    pub(crate) fn id(&self, kind: Kind, index: u64, ids: Ids) -> Value {
        match ids {
            Ids::Int => self.number(kind, index).into(),
            Ids::Uuid => uuid(self.seed, kind.purpose(), index).into(),
        }
    }

    /// The id as it is written in a path.
    pub(crate) fn id_text(&self, kind: Kind, index: u64, ids: Ids) -> String {
        match ids {
            Ids::Int => self.number(kind, index).to_string(),
            Ids::Uuid => uuid(self.seed, kind.purpose(), index),
        }
    }

    /// The number of the record that has an id.
    pub(crate) fn find(&self, kind: Kind, id: &str, ids: Ids) -> Option<u64> {
        let index = match ids {
            Ids::Int => {
                let number: u64 = id.parse().ok()?;
                let index = number.checked_sub(1)? / ID_STRIDE;
                (self.number(kind, index) == number).then_some(index)?
            }
            Ids::Uuid => uuid_index(self.seed, kind.purpose(), id)?,
        };
        (index < self.count(kind)).then_some(index)
    }

    fn number(&self, kind: Kind, index: u64) -> u64 {
        let gap = draw(self.seed, kind.purpose(), index.wrapping_add(1 << 48)) % ID_STRIDE;
        1 + index.saturating_mul(ID_STRIDE) + gap
    }
}

/// Writes a time the way Django REST Framework does: with six digits after the second, or none.
pub(crate) fn instant(milliseconds: i64) -> String {
    let instant = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH);
    match milliseconds.rem_euclid(1_000) {
        0 => format!("{instant:.0}"),
        _ => format!("{instant:.6}"),
    }
}

/// Writes the day of a time, in UTC.
pub(crate) fn day(milliseconds: i64) -> String {
    let mut text = instant(milliseconds);
    text.truncate("2025-07-15".len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_both_kinds_read_back() {
        let catalogue = Catalogue::new(&ClaribiOptions::default());
        for ids in [Ids::Int, Ids::Uuid] {
            for kind in [Kind::DataSource, Kind::Report, Kind::Dashboard] {
                for index in 0..catalogue.count(kind) {
                    let id = catalogue.id_text(kind, index, ids);
                    assert_eq!(catalogue.find(kind, &id, ids), Some(index));
                }
                for foreign in ["", "0", "x", "-1", "99999999", "18446744073709551615"] {
                    assert_eq!(catalogue.find(kind, foreign, ids), None, "{foreign}");
                }
            }
        }
    }

    #[test]
    fn newer_records_have_higher_numbers_and_none_is_from_the_future() {
        for data_sources in [1, 40, 100_000] {
            let options = ClaribiOptions {
                data_sources,
                ..ClaribiOptions::default()
            };
            let catalogue = Catalogue::new(&options);
            let count = catalogue.count(Kind::Report);
            let mut previous = catalogue.created(Kind::Report, 0);
            for index in (1..count).step_by(1 + data_sources as usize / 40) {
                let created = catalogue.created(Kind::Report, index);
                assert!(created > previous);
                previous = created;
            }
            assert!(previous <= catalogue.as_of());
        }
    }

    #[test]
    fn times_have_six_digits_or_none() {
        assert_eq!(instant(1_752_566_400_000), "2025-07-15T08:00:00Z");
        assert_eq!(instant(1_752_566_400_120), "2025-07-15T08:00:00.120000Z");
        assert_eq!(day(1_752_566_400_120), "2025-07-15");
    }
}
