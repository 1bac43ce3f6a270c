//! The bounds of windows: their text forms and splits.

use headwater_core::{Error, Kind, Result, SignedDuration, Timestamp};

use super::Window;

/// Splits a window into equal parts on whole seconds that should each fit: some services drop the fraction of a bound.
pub(super) fn split_window(
    (from, to): (Timestamp, Timestamp),
    total: u64,
    cap: u64,
) -> Result<Vec<(Timestamp, Timestamp)>> {
    let (first, last) = (from.as_second(), to.as_second());
    let seconds = last.saturating_sub(first);
    if seconds < 2 {
        return Err(Error::new(
            Kind::DataInvalid,
            format!(
                "{total} records share the second {from}; the service pages no further than {cap}"
            ),
        ));
    }
    // Four fifths of the cap leave room for an uneven spread.
    let parts = i64::try_from(total.div_ceil((cap * 4 / 5).max(1)))
        .unwrap_or(64)
        .clamp(2, 64)
        .min(seconds);
    let mut bounds = vec![from];
    for part in 1..parts {
        let second = first + seconds * part / parts;
        bounds.push(Timestamp::from_second(second).unwrap_or(to));
    }
    bounds.push(to);
    bounds.dedup();
    Ok(bounds.windows(2).map(|pair| (pair[0], pair[1])).collect())
}

pub(super) fn rfc3339(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Formats a duration in its largest whole unit.
pub(super) fn in_words(length: SignedDuration) -> String {
    const UNITS: [(i64, &str); 3] = [(24 * 60 * 60, "days"), (60 * 60, "hours"), (60, "minutes")];
    let seconds = length.as_secs();
    let unit = UNITS
        .into_iter()
        .find(|(unit, _)| seconds % unit == 0 && seconds / unit > 1);
    let (unit, name) = unit.unwrap_or((1, "seconds"));
    format!("{} {name}", seconds / unit)
}

/// Splits a window at the start of remembering. The part to read first is the last element.
pub(super) fn seams(window: &Window) -> Vec<(Timestamp, Timestamp)> {
    let seam = window.remember_from;
    if window.from < seam && seam < window.to {
        vec![(seam, window.to), (window.from, seam)]
    } else {
        vec![(window.from, window.to)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn parts_touch_and_cover_the_window() {
        let window = (at("2025-01-01T00:00:00.5Z"), at("2026-01-01T00:00:00.25Z"));
        let parts = split_window(window, 200_000, 10_000).unwrap();
        assert_eq!(parts.len(), 25);
        assert_eq!((parts[0].0, parts[24].1), window);
        assert!(parts.windows(2).all(|pair| pair[0].1 == pair[1].0));
        assert!(parts.iter().all(|(from, to)| from < to));
    }

    #[test]
    fn a_full_second_is_an_error_and_not_a_loop() {
        let window = (at("2025-01-01T00:00:00Z"), at("2025-01-01T00:00:01Z"));
        let error = split_window(window, 10_001, 10_000).unwrap_err();
        assert!(
            error
                .message()
                .contains("share the second 2025-01-01T00:00:00Z"),
            "{error}"
        );
        let two = split_window((window.0, at("2025-01-01T00:00:02Z")), 1_000_000, 10_000).unwrap();
        assert_eq!(two.len(), 2);
    }
}
