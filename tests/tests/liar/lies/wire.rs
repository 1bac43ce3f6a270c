//! Lies of the wire: encodings, connections, clocks.

use std::time::SystemTime;

use serde_json::json;

use super::{Dice, Fate, Lie, chance};
use crate::exchange::{About, Answer, Ask, Gzip};

/// Bodies are compressed, in one of the spellings that there are, and in several members.
#[derive(Debug)]
pub struct Compressed {
    percent: u8,
}

impl Compressed {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        let percent = dice.u8(20..=100);
        Box::new(Self { percent })
    }
}

impl Lie for Compressed {
    fn name(&self) -> &'static str {
        "compressed"
    }

    fn answer(&mut self, ask: &Ask, answer: &mut Answer, dice: &mut Dice) -> bool {
        let is_accepted = ask.headers.iter().any(|(name, value)| {
            name == "accept-encoding" && value.to_ascii_lowercase().contains("gzip")
        });
        if !is_accepted || !chance(dice, self.percent) {
            return false;
        }
        answer.gzip = Some(Gzip {
            spelling: ["gzip", "GZIP", "x-gzip", "X-Gzip"][dice.usize(..4)],
            members: dice.usize(1..4),
        });
        true
    }
}

/// A byte order mark before the JSON.
#[derive(Debug)]
pub struct Marked {
    percent: u8,
}

impl Marked {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        let percent = dice.u8(5..=100);
        Box::new(Self { percent })
    }
}

impl Lie for Marked {
    fn name(&self) -> &'static str {
        "byte order mark"
    }

    fn answer(&mut self, ask: &Ask, answer: &mut Answer, dice: &mut Dice) -> bool {
        answer.bom =
            ask.about != About::Order && answer.json.is_some() && chance(dice, self.percent);
        answer.bom
    }
}

/// Texts, ids among them, are written with other escapes in each answer.
#[derive(Debug)]
pub struct Escaped;

impl Escaped {
    pub fn draw(_: &mut Dice) -> Box<dyn Lie> {
        Box::new(Self)
    }
}

impl Lie for Escaped {
    fn name(&self) -> &'static str {
        "other escapes"
    }

    fn answer(&mut self, _: &Ask, answer: &mut Answer, dice: &mut Dice) -> bool {
        answer.escapes = Some(dice.u64(..));
        answer.json.is_some()
    }
}

/// Connections that were used before break without an answer.
#[derive(Debug)]
pub struct Reused {
    percent: u8,
}

impl Reused {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        let percent = dice.u8(5..=100);
        Box::new(Self { percent })
    }
}

impl Lie for Reused {
    fn name(&self) -> &'static str {
        "reused connections break"
    }

    fn ask(&mut self, ask: &mut Ask, dice: &mut Dice) -> Option<Fate> {
        // What is not a GET may have arrived, for all that a client can know.
        let breaks = ask.on_connection > 0 && ask.method == "GET" && chance(dice, self.percent);
        breaks.then_some(Fate::Drop)
    }
}

/// The `Date` header is wrong, is no date, or is not there.
#[derive(Debug)]
pub struct Dated {
    seconds: i64,
    percent_missing: u8,
    percent_garbage: u8,
}

impl Dated {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        Box::new(Self {
            seconds: [-3_600, -60, 60, 3_600][dice.usize(..4)],
            percent_missing: if dice.bool() { 0 } else { dice.u8(..100) },
            percent_garbage: if dice.bool() { 0 } else { dice.u8(..60) },
        })
    }
}

impl Lie for Dated {
    fn name(&self) -> &'static str {
        "clock off"
    }

    fn answer(&mut self, _: &Ask, answer: &mut Answer, dice: &mut Dice) -> bool {
        // An answer that names a time counts from its own date: with another one it would ask for a wait of an hour.
        let names_a_time = ["retry-after", "x-ratelimit-reset"];
        let names_a_time = answer
            .headers
            .iter()
            .any(|(name, _)| names_a_time.contains(&name.as_str()));
        if names_a_time {
            return false;
        }
        answer.headers.retain(|(name, _)| name != "date");
        if chance(dice, self.percent_missing) {
            return true;
        }
        let date = if chance(dice, self.percent_garbage) {
            [
                "yesterday",
                "",
                "0",
                "2026-13-45",
                "Thu, 99 Foo 2026 25:61:61 GMT",
            ][dice.usize(..5)]
            .to_owned()
        } else {
            http_date(now() + self.seconds)
        };
        answer.set_header("date", date);
        true
    }
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs()).cast_signed()
}

/// A time as HTTP writes it.
pub fn http_date(seconds: i64) -> String {
    let time = headwater_core::Timestamp::from_second(seconds).expect("a time of today");
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Some requests fail as services do at times.
#[derive(Debug)]
pub struct Stumbles {
    percent: u8,
}

impl Stumbles {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        let percent = dice.u8(1..=6);
        Box::new(Self { percent })
    }
}

impl Lie for Stumbles {
    fn name(&self) -> &'static str {
        "stumbles"
    }

    fn ask(&mut self, ask: &mut Ask, dice: &mut Dice) -> Option<Fate> {
        if ask.method != "GET" || !chance(dice, self.percent) {
            return None;
        }
        let status = [500, 502, 503, 504][dice.usize(..4)];
        Some(Fate::Instead(Answer::json(
            status,
            json!({ "message": "try again" }),
        )))
    }
}
