//! Instants as text.

use jiff::{Timestamp, civil};

/// Reads an ISO 8601 date-time: with `Z`, `+00:00` or `+0000`, without an offset (taken as UTC),
/// or a date alone (midnight UTC).
pub(crate) fn parse_instant(text: &str) -> Option<Timestamp> {
    // jiff also reads a blank between date and time, and zone names in brackets; ISO 8601 does not.
    if text.contains([' ', '[', '_']) {
        return None;
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant);
    }
    let local: civil::DateTime = text.parse().ok()?;
    jiff::tz::Offset::UTC.to_timestamp(local).ok()
}

/// Writes milliseconds since the Unix epoch the way the API does: `2025-06-11T14:25:00.000Z`.
pub(crate) fn iso(milliseconds: i64) -> String {
    let instant = Timestamp::from_millisecond(milliseconds).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{instant:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_dates_are_read_in_every_documented_form() {
        for text in [
            "2020-01-01T00:00:00Z",
            "2020-01-01T00:00:00.000Z",
            "2020-01-01T00:00:00+0000",
            "2020-01-01T00:00:00+00:00",
            "2020-01-01T05:30:00+05:30",
            "2020-01-01T00:00:00",
            "2020-01-01",
        ] {
            let instant = parse_instant(text).expect(text);
            assert_eq!(instant.as_second(), 1_577_836_800, "{text}");
        }
    }

    #[test]
    fn other_texts_are_not_dates() {
        for text in [
            "",
            "yesterday",
            "1577836800",
            "2020-13-01T00:00:00Z",
            "2020-01-01T00:00:00 0000",
            "2020-01-01 00:00:00Z",
            "2020-01-01T00:00:00+00:00[UTC]",
        ] {
            assert_eq!(parse_instant(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_written_with_three_fraction_digits() {
        assert_eq!(iso(1_749_651_900_000), "2025-06-11T14:25:00.000Z");
    }
}
