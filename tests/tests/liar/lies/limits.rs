//! Lies about limits and tokens.

use std::collections::HashSet;

use serde_json::json;

use super::{
    Dice, Fate, Lie, chance,
    wire::{http_date, now},
};
use crate::exchange::{About, Answer, Ask};

/// A rate limit is answered 403, as GitHub does.
#[derive(Debug)]
pub struct Forbidden {
    percent: u8,
}

impl Forbidden {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        let percent = dice.u8(1..=8);
        Box::new(Self { percent })
    }
}

impl Lie for Forbidden {
    fn name(&self) -> &'static str {
        "403 for a limit"
    }

    /// The client slows down.
    fn waits(&self) -> bool {
        true
    }

    fn ask(&mut self, ask: &mut Ask, dice: &mut Dice) -> Option<Fate> {
        if ask.about == About::Other || !chance(dice, self.percent) {
            return None;
        }
        let answer = Answer::json(403, json!({ "message": "API rate limit exceeded" }))
            .with("date", http_date(now()))
            .with("x-ratelimit-limit", "60")
            .with("x-ratelimit-remaining", "0");
        let answer = match dice.u8(..3) {
            0 => answer.with("retry-after", "1"),
            1 => answer.with("x-ratelimit-reset", (now() + 1).to_string()),
            _ => answer
                .with("retry-after", "1")
                .with("x-ratelimit-reset", (now() + 1).to_string()),
        };
        Some(Fate::Instead(answer))
    }
}

/// Limits are answered with odd spellings of `Retry-After`.
#[derive(Debug)]
pub struct RetryAfter {
    percent: u8,
}

impl RetryAfter {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        let percent = dice.u8(1..=8);
        Box::new(Self { percent })
    }
}

impl Lie for RetryAfter {
    fn name(&self) -> &'static str {
        "odd Retry-After"
    }

    fn ask(&mut self, ask: &mut Ask, dice: &mut Dice) -> Option<Fate> {
        if ask.about == About::Other || !chance(dice, self.percent) {
            return None;
        }
        let status = [429, 503][dice.usize(..2)];
        let date = http_date(now());
        let spelling = match dice.u8(..12) {
            0 => "1".to_owned(),
            1 => "1.5".to_owned(),
            2 => "0".to_owned(),
            3 => "-1".to_owned(),
            4 => String::new(),
            5 => "soon".to_owned(),
            6 => "1s".to_owned(),
            7 => "1 seconds".to_owned(),
            8 => date.clone(),
            9 => http_date(now() + 1),
            10 => http_date(now() - 3_600),
            _ => "+1".to_owned(),
        };
        let answer = Answer::json(status, json!({ "message": "slow down" }))
            .with("date", date)
            .with("retry-after", spelling);
        Some(Fate::Instead(answer))
    }
}

/// A token ends before its time, and is answered 401 or 403 from then on.
#[derive(Debug)]
pub struct EndedToken {
    percent: u8,
    status: u16,
    ended: HashSet<String>,
}

impl EndedToken {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        Box::new(Self {
            percent: dice.u8(1..=10),
            status: if dice.bool() { 401 } else { 403 },
            ended: HashSet::new(),
        })
    }
}

impl Lie for EndedToken {
    fn name(&self) -> &'static str {
        "token ended"
    }

    fn applies_to(&self, connector: &str) -> bool {
        connector == "claribi"
    }

    fn ask(&mut self, ask: &mut Ask, dice: &mut Dice) -> Option<Fate> {
        let sent = ask.headers.iter().find(|(name, _)| name == "authorization");
        // A key is none, and its requests are left alone.
        let token = sent.and_then(|(_, value)| value.strip_prefix("Bearer "))?;
        // One token after the other, not all of them at once.
        if self.ended.len() < 5 && chance(dice, self.percent) {
            self.ended.insert(token.to_owned());
        }
        self.ended.contains(token).then(|| {
            Fate::Instead(Answer::json(
                self.status,
                json!({
                    "detail": "Given token not valid for any token type",
                    "code": "token_not_valid",
                    "messages": [{ "token_class": "AccessToken", "token_type": "access", "message": "Token is expired" }],
                }),
            ))
        })
    }
}
