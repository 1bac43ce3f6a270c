//! The day on which the secrets of a connection end, as people say it.

use headwater_core::{Date, Kind, Result, TimeZone, Timestamp};

use crate::refusal::Refusal;

/// Reads a day that is to come. The one that is `known` already may have passed.
pub fn read_expiry(text: &str, known: Option<Date>) -> Result<Date> {
    let refused = |text: String| Refusal::Field("expires").error(Kind::ConfigInvalid, text);
    // The parser takes a time behind the day as well.
    let day = text.parse::<Date>().ok();
    let day = day.filter(|day| day.to_string() == text);
    let day = day.ok_or_else(|| refused("this is no day; write it as in 2027-01-31".to_owned()))?;
    // It may still be yesterday where this was typed.
    match known != Some(day) && days_until(day) < -1 {
        true => Err(refused(format!(
            "{day} has passed; give a day to come, or none"
        ))),
        false => Ok(day),
    }
}

/// How many days from today on; negative for a day that has passed.
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
                "this is no day; write it as in 2027-01-31",
                "{text}"
            );
        }
        let refused = read_expiry("2020-05-17", None).unwrap_err();
        assert_eq!(
            refused.message(),
            "2020-05-17 has passed; give a day to come, or none"
        );
        let known = Date::constant(2020, 5, 17);
        assert_eq!(read_expiry("2020-05-17", Some(known)).unwrap(), known);
    }
}
