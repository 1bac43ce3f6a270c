//! The tenant's calendar: fiscal quarters from February on, and weeks from Wednesday on.
//!
//! A fiscal year is named after the calendar year it ends in. Days are counted from the Unix epoch.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

pub(crate) const DAY_MILLISECONDS: i64 = 24 * 3_600 * 1_000;
const DAY_SECONDS: i64 = 24 * 3_600;
const FIRST_MONTH: i64 = 2;

/// A fiscal quarter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quarter {
    /// Quarters since the one before fiscal year 0.
    index: i64,
}

impl Quarter {
    pub(crate) fn of_day(day: i64) -> Self {
        let date = date_of(day);
        let months = i64::from(date.year()) * 12 + i64::from(date.month()) - FIRST_MONTH;
        Self {
            index: (months + 12).div_euclid(3),
        }
    }

    /// Reads `2023_Q4`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (year, number) = text.split_once("_Q")?;
        let (year, number): (i64, i64) = (year.parse().ok()?, number.parse().ok()?);
        let index = year.checked_mul(4)?.checked_add(number.checked_sub(1)?)?;
        let quarter = Self { index };
        (quarter.id() == text).then_some(quarter)
    }

    pub(crate) fn id(self) -> String {
        format!("{}_Q{}", self.fiscal_year(), self.number())
    }

    pub(crate) fn fiscal_year(self) -> i64 {
        self.index.div_euclid(4)
    }

    /// 1 to 4.
    pub(crate) fn number(self) -> i64 {
        self.index.rem_euclid(4) + 1
    }

    pub(crate) fn earlier(self, quarters: i64) -> Self {
        Self {
            index: self.index - quarters,
        }
    }

    pub(crate) fn first_day(self) -> i64 {
        let months = (self.index - 4) * 3 + FIRST_MONTH - 1;
        let year = i16::try_from(months.div_euclid(12)).unwrap_or_default();
        let month = i8::try_from(months.rem_euclid(12) + 1).unwrap_or(1);
        day_of(Date::new(year, month, 1).unwrap_or_default())
    }

    pub(crate) fn last_day(self) -> i64 {
        self.earlier(-1).first_day() - 1
    }

    /// The first days of the weeks that have begun until `today`, in their order. The first one can
    /// begin before the quarter, and is then the last one of the quarter before, too.
    pub(crate) fn weeks(self, today: i64) -> Vec<i64> {
        let first = week_of(self.first_day());
        let last = week_of(self.last_day().min(today).max(self.first_day()));
        (first..=last).step_by(7).collect()
    }
}

/// The first day of the week of a day.
fn week_of(day: i64) -> i64 {
    // The Unix epoch was a Thursday.
    day - (day + 1).rem_euclid(7)
}

pub(crate) fn day_of(date: Date) -> i64 {
    let midnight = jiff::tz::Offset::UTC.to_timestamp(date.to_datetime(jiff::civil::Time::MIN));
    midnight.map_or(0, |instant| instant.as_second().div_euclid(DAY_SECONDS))
}

pub(crate) fn date_of(day: i64) -> Date {
    let epoch = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC).date();
    epoch.checked_add(day.days()).unwrap_or(epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> i64 {
        day_of(text.parse().unwrap())
    }

    #[test]
    fn the_fiscal_year_begins_in_february_and_ends_in_the_year_it_is_named_after() {
        for (date, id) in [
            ("2022-11-01", "2023_Q4"),
            ("2023-01-31", "2023_Q4"),
            ("2023-02-01", "2024_Q1"),
            ("2022-10-31", "2023_Q3"),
        ] {
            assert_eq!(Quarter::of_day(day(date)).id(), id);
            assert_eq!(Quarter::parse(id), Some(Quarter::of_day(day(date))));
        }
        let quarter = Quarter::parse("2023_Q4").unwrap();
        assert_eq!(date_of(quarter.first_day()).to_string(), "2022-11-01");
        assert_eq!(date_of(quarter.last_day()).to_string(), "2023-01-31");
        for text in [
            "2023_Q5",
            "2023_Q0",
            "2023-Q4",
            "Q4",
            "02023_Q4",
            "",
            "9223372036854775807_Q1",
            "1_Q-9223372036854775808",
        ] {
            assert_eq!(Quarter::parse(text), None, "{text}");
        }
    }

    #[test]
    fn weeks_overlap_the_ends_of_the_quarter() {
        let quarter = Quarter::parse("2023_Q4").unwrap();
        let weeks = quarter.weeks(i64::MAX);
        assert_eq!(date_of(weeks[0]).to_string(), "2022-10-26");
        assert_eq!(weeks.len(), 14);
        assert_eq!(
            weeks[0],
            *quarter.earlier(1).weeks(i64::MAX).last().unwrap()
        );
        assert_eq!(quarter.weeks(day("2022-11-01")).len(), 1);
        assert_eq!(quarter.weeks(day("2022-11-02")).len(), 2);
    }
}
