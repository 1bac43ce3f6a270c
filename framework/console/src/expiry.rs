//! The expiry and the age of a credential: their texts and their urgency.

use headwater_core::Date;
use maud::{Markup, html};

use crate::{
    messages::{Messages, fill},
    parts::icon,
};

/// The day on which the secrets of a credential expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// The day, as entered.
    pub on: Date,
    /// Days from today; negative for a past day.
    pub days: i32,
}

impl Expiry {
    /// `Expires in 9 days, on 2027-01-31`
    pub(crate) fn sentence(self, text: &Messages) -> String {
        let own = &text.expiry;
        let day = self.on.to_string();
        let pattern = match self.days {
            ..=-1 => own.over.clone(),
            0 => own.today.clone(),
            days => own.ahead.count(days.unsigned_abs() as usize),
        };
        fill(&pattern, &[("day", &day)])
    }

    /// A near expiry has a louder tone.
    fn tone(self) -> &'static str {
        match self.days {
            ..=1 => "bad",
            2..=3 => "warn",
            _ => "info",
        }
    }
}

/// The box on the page of a credential that expires soon, with a link to new secrets.
pub(crate) fn banner(expiry: Expiry, path: &str, text: &Messages) -> Markup {
    let own = &text.expiry;
    let tone = expiry.tone();
    let picture = if tone == "info" { "info" } else { "warn" };
    html! {
        p.lead.(tone) data-expiry=(tone) {
            (icon(picture))
            span {
                strong { (expiry.sentence(text)) } " " (own.remedy) " "
                a href={ (path) "/rotate" } data-dialog { (text.connection.rotate) }
            }
        }
    }
}

/// Reasons for new secrets other than an expiry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Age {
    /// Days since the config was saved, if that is long ago.
    pub days: Option<usize>,
    /// The person who saved it, if their access has ended since.
    pub left_by: Option<String>,
}

pub(crate) fn age(age: &Age, text: &Messages) -> Markup {
    let own = &text.expiry;
    html! {
        @if let Some(days) = age.days { p.hint { (icon("info")) " " (own.old.count(days)) } }
        @if let Some(who) = &age.left_by { p.hint { (icon("info")) " " (fill(&own.left_by, &[("who", who)])) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_days(days: i32) -> Expiry {
        Expiry {
            on: Date::constant(2027, 1, 31),
            days,
        }
    }

    #[test]
    fn the_nearer_the_end_the_louder() {
        let tones = [14, 4, 3, 2, 1, 0, -1, -400].map(|days| in_days(days).tone());
        let loud = ["info", "info", "warn", "warn", "bad", "bad", "bad", "bad"];
        assert_eq!(tones, loud);
    }

    #[test]
    fn an_end_is_told_by_its_day_and_how_far_it_is() {
        let text = Messages::english().unwrap();
        let said = [9, 1, 0, -1].map(|days| in_days(days).sentence(&text));
        assert_eq!(
            said,
            [
                "Expires in 9 days, on 2027-01-31.",
                "Expires tomorrow, on 2027-01-31.",
                "Expires today, on 2027-01-31.",
                "Expired on 2027-01-31.",
            ]
        );
    }
}
