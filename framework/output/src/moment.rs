//! Moments of records as the microseconds that typed columns hold.

use headwater_core::{Date, Timestamp};

/// Microseconds since 1970 of a moment by RFC 3339. None for other texts, for leap seconds, and for moments that
/// microseconds do not say in full.
pub(crate) fn microseconds(text: &str) -> Option<i64> {
    // The parser reads a leap second as the second before it, which is another moment.
    if text.contains(":60") {
        return None;
    }
    match text.parse::<Timestamp>() {
        Ok(moment) => (moment.subsec_nanosecond() % 1_000 == 0).then(|| moment.as_microsecond()),
        Err(_) => near_an_end(text.as_bytes()),
    }
}

/// A moment of the first or last days that RFC 3339 can write: [`Timestamp`] ends a day earlier at both ends.
fn near_an_end(text: &[u8]) -> Option<i64> {
    let (date_and_time, rest) = text.split_at_checked(19)?;
    let digits = |from: usize, to: usize| number(&date_and_time[from..to]);
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let has_marks = marks.iter().all(|(at, mark)| text[*at] == *mark);
    if !has_marks || !matches!(text[10], b'T' | b't' | b' ') {
        return None;
    }
    let (month, day) = (
        i8::try_from(digits(5, 7)?).ok()?,
        i8::try_from(digits(8, 10)?).ok()?,
    );
    let date = Date::new(i16::try_from(digits(0, 4)?).ok()?, month, day).ok()?;
    let (hour, minute, second) = (digits(11, 13)?, digits(14, 16)?, digits(17, 19)?);
    let (fraction, zone) = match rest.strip_prefix(b".") {
        Some(rest) => rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_digit()).count()),
        None => (&b"0"[..], rest),
    };
    let is_in_microseconds = fraction.iter().skip(6).all(|digit| *digit == b'0');
    if hour > 23 || minute > 59 || second > 59 || fraction.is_empty() || !is_in_microseconds {
        return None;
    }
    let offset = match zone {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3_600 + minutes * 60;
            if *sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let midnight = date.duration_since(Date::constant(1970, 1, 1)).as_secs();
    let seconds = midnight + hour * 3_600 + minute * 60 + second - offset;
    let micros = number(&fraction[..fraction.len().min(6)])?;
    let scale = 10_i64.pow(6_u32.saturating_sub(u32::try_from(fraction.len()).ok()?));
    Some(seconds * 1_000_000 + micros * scale)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + i64::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_of_rfc_3339_has_its_microseconds() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01T00:00:00.5+01:00", -3_599_500_000),
            ("9999-12-31T00:00:00Z", 253_402_214_400_000_000),
            ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
            ("9999-12-31t23:59:59.999999000z", 253_402_300_799_999_999),
            ("9999-12-31T23:59:59-23:59", 253_402_387_139_000_000),
            ("9999-12-31T00:00:00.5Z", 253_402_214_400_500_000),
            ("0000-01-01T00:00:00Z", -62_167_219_200_000_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
        ] {
            assert_eq!(microseconds(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_moment_or_would_be_another_one_has_none() {
        for text in [
            "9999-12-31",
            "9999-12-31T24:00:00Z",
            "9999-12-31T23:59:60Z",
            "2016-12-31T23:59:60Z",
            "9999-12-31T23:59:59.9999999Z",
            "9999-13-31T00:00:00Z",
            "9999-12-32T00:00:00Z",
            "9999-12-31T00:00:00",
            "9999-12-31T00:00:00.Z",
            "9999-12-31T00:00:00+1:00",
            "10000-01-01T00:00:00Z",
            "infinity",
            "-infinity",
            "",
            "soon",
            "éééééééééééééééééééé",
        ] {
            assert_eq!(microseconds(text), None, "{text}");
        }
    }

    /// Both readers agree wherever both can read.
    #[test]
    fn the_reader_for_the_ends_agrees_with_the_other_one() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..2_000 {
            let second = random.i64(-62_167_219_200..253_402_207_200);
            let moment = Timestamp::new(second, random.i32(0..1_000_000) * 1_000).unwrap();
            let text = moment.to_string();
            assert_eq!(
                near_an_end(text.as_bytes()),
                Some(moment.as_microsecond()),
                "{text}"
            );
        }
    }
}
