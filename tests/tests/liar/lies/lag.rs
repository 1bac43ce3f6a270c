//! Lies of lag: what was written, or is there, shows later.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::{Dice, Fate, Honesty, Lie, chance};
use crate::exchange::{About, Answer, Ask};

/// The answer for an export job that does not exist.
fn unknown_job(as_400: bool) -> Answer {
    let status = if as_400 { 400 } else { 404 };
    Answer::json(
        status,
        json!({
            "errorCode": "exports:invalid_jobId",
            "errorMessage": "There is no job with this id.",
            "code": "invalid_jobId",
            "message": "There is no job with this id, or it has no result.",
        }),
    )
}

/// An export job that was just ordered is not there yet.
#[derive(Debug)]
pub struct LateJob {
    polls: u64,
    as_400: bool,
}

impl LateJob {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        Box::new(Self {
            polls: dice.u64(1..=4),
            as_400: dice.bool(),
        })
    }
}

impl Lie for LateJob {
    fn name(&self) -> &'static str {
        "late job"
    }

    fn applies_to(&self, connector: &str) -> bool {
        connector == "clari-revenue"
    }

    fn waits(&self) -> bool {
        true
    }

    fn ask(&mut self, ask: &mut Ask, _: &mut Dice) -> Option<Fate> {
        let is_late = ask.about == About::Job && ask.nth < self.polls;
        is_late.then(|| Fate::Instead(unknown_job(self.as_400)))
    }
}

/// The result of a job that is done is not there yet.
#[derive(Debug)]
pub struct LateResult {
    asks: u64,
    as_400: bool,
}

impl LateResult {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        Box::new(Self {
            asks: dice.u64(1..=3),
            as_400: dice.bool(),
        })
    }
}

impl Lie for LateResult {
    fn name(&self) -> &'static str {
        "late result"
    }

    fn applies_to(&self, connector: &str) -> bool {
        connector == "clari-revenue"
    }

    fn waits(&self) -> bool {
        true
    }

    fn ask(&mut self, ask: &mut Ask, _: &mut Dice) -> Option<Fate> {
        let is_late = ask.about == About::Results && ask.nth < self.asks;
        is_late.then(|| Fate::Instead(unknown_job(self.as_400)))
    }
}

/// New export jobs show late in their list.
#[derive(Debug)]
pub struct LateInList {
    asks: u64,
    seen: HashMap<String, u64>,
}

impl LateInList {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        Box::new(Self {
            asks: dice.u64(1..=3),
            seen: HashMap::new(),
        })
    }
}

impl Lie for LateInList {
    fn name(&self) -> &'static str {
        "late in the list of jobs"
    }

    fn applies_to(&self, connector: &str) -> bool {
        connector == "clari-revenue"
    }

    fn answer(&mut self, ask: &Ask, answer: &mut Answer, _: &mut Dice) -> bool {
        if ask.about != About::Jobs {
            return false;
        }
        let Some(jobs) = answer.records() else {
            return false;
        };
        let before = jobs.len();
        jobs.retain(|job| {
            let seen = self.seen.entry(job["jobId"].to_string()).or_default();
            *seen += 1;
            *seen > self.asks
        });
        before > jobs.len()
    }
}

/// Single records are not there when they are asked for, the first times.
#[derive(Debug)]
pub struct LateDetail {
    percent: u8,
    asks: u64,
    late: HashMap<String, bool>,
}

impl LateDetail {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        Box::new(Self {
            percent: dice.u8(3..=50),
            asks: dice.u64(1..=2),
            late: HashMap::new(),
        })
    }
}

impl Lie for LateDetail {
    fn name(&self) -> &'static str {
        "late detail"
    }

    fn applies_to(&self, connector: &str) -> bool {
        connector != "clari-revenue"
    }

    fn honesty(&self) -> Honesty {
        Honesty::MayFlag
    }

    fn ask(&mut self, ask: &mut Ask, dice: &mut Dice) -> Option<Fate> {
        if !matches!(ask.about, About::Detail(_)) || ask.nth >= self.asks {
            return None;
        }
        let percent = self.percent;
        let is_late = self.late.entry(ask.target.clone());
        let is_late = *is_late.or_insert_with(|| chance(dice, percent));
        is_late.then(|| Fate::Instead(Answer::json(404, json!({ "detail": "Not found." }))))
    }
}

/// Rows of a list that is read as a whole show late.
#[derive(Debug)]
pub struct LateRows {
    percent: u8,
    late: HashSet<String>,
    shown: HashMap<String, u64>,
}

impl LateRows {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        Box::new(Self {
            percent: dice.u8(3..=30),
            late: HashSet::new(),
            shown: HashMap::new(),
        })
    }
}

impl Lie for LateRows {
    fn name(&self) -> &'static str {
        "late rows"
    }

    fn applies_to(&self, connector: &str) -> bool {
        connector != "clari-revenue"
    }

    fn honesty(&self) -> Honesty {
        Honesty::MayFlag
    }

    fn answer(&mut self, ask: &Ask, answer: &mut Answer, dice: &mut Dice) -> bool {
        let About::List(stream) = ask.about else {
            return false;
        };
        // What is read by the time of its change is lost to everybody where it shows later than a read overlaps.
        if ["calls", "topics", "scorecards"].contains(&stream) {
            return false;
        }
        let Some(rows) = answer.records() else {
            return false;
        };
        let before = rows.len();
        rows.retain(|row: &Value| {
            let id = format!("{stream} {}", row["id"]);
            let shown = self.shown.entry(id.clone()).or_default();
            *shown += 1;
            if *shown == 1 && chance(dice, self.percent) {
                self.late.insert(id.clone());
            }
            *shown > 2 || !self.late.contains(&id)
        });
        before > rows.len()
    }
}
