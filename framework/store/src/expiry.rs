//! The day on which the secrets of a connection expire, as people enter it.

use headwater_core::{Date, Kind, Result, TimeZone, Timestamp};

use crate::refusal::Refusal;

/// Parses a future day. The `known` day may have passed.
///
/// # Errors
///
/// Fails if the text is not a date, or if the day has passed and is not the known one.
pub fn read_expiry(text: &str, known: Option<Date>) -> Result<Date> {
    let refused = |text: String| Refusal::Field("expires").error(Kind::ConfigInvalid, text);
    // The parser also accepts a time after the day.
    let day = text.parse::<Date>().ok();
    let day = day.filter(|day| day.to_string() == text);
    let day =
        day.ok_or_else(|| refused("this is not a date; write it like 2027-01-31".to_owned()))?;
    // Another time zone may still be at yesterday.
    match known != Some(day) && days_until(day) < -1 {
        true => Err(refused(format!(
            "{day} has passed; enter a future date, or leave it empty"
        ))),
        false => Ok(day),
    }
}

/// How many days from today; negative for a day in the past.
pub fn days_until(day: Date) -> i32 {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    today.until(day).map_or(0, |span| span.get_days())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_day_that_is_to_come_is_one() {
        let next_year = format!(
            "{}-02-28",
            Timestamp::now()
                .strftime("%Y")
                .to_string()
                .parse::<i32>()
                .unwrap()
                + 1
        );
        assert_eq!(
            read_expiry(&next_year, None).unwrap().to_string(),
            next_year
        );
        let time = format!("{next_year}T00:00:00");
        for text in [
            "",
            "soon",
            "2027-02-30",
            "27-02-01",
            "2027-2-1",
            " 2027-02-01",
            &time,
        ] {
            let refused = read_expiry(text, None).unwrap_err();
            assert_eq!(
                refused.message(),
                "this is not a date; write it like 2027-01-31",
                "{text}"
            );
        }
        let refused = read_expiry("2020-05-17", None).unwrap_err();
        assert_eq!(
            refused.message(),
            "2020-05-17 has passed; enter a future date, or leave it empty"
        );
        let known = Date::constant(2020, 5, 17);
        assert_eq!(read_expiry("2020-05-17", Some(known)).unwrap(), known);
    }
}
