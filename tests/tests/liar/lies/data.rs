//! Lies that stand in the records: the truth has them, too.

use serde_json::{Value, json};

use super::{Dice, Honesty, Lie};
use crate::exchange::{About, Answer, Ask};

/// A number that is the same for the same record.
fn number_of(record: &Value, field: &str) -> u64 {
    let text = record[field].to_string();
    text.bytes().fold(7_u64, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    })
}

/// Every record of a list has more members: one with a name that is there in another case, one with a name of ours.
#[derive(Debug)]
pub struct OddMembers;

impl OddMembers {
    pub fn draw(_: &mut Dice) -> Box<dyn Lie> {
        Box::new(Self)
    }
}

impl Lie for OddMembers {
    fn name(&self) -> &'static str {
        "members with odd names"
    }

    fn is_of_data(&self) -> bool {
        true
    }

    fn answer(&mut self, ask: &Ask, answer: &mut Answer, _: &mut Dice) -> bool {
        let Some(rows) = answer.records().filter(|_| ask.is_list()) else {
            return false;
        };
        for row in rows.iter_mut().filter_map(Value::as_object_mut) {
            row.insert("ID".to_owned(), json!("another"));
            row.insert("_record".to_owned(), json!("a name of ours"));
            row.insert("caf\u{e9} \"/".to_owned(), json!(["\u{1f600}", 1e30]));
        }
        true
    }
}

/// Some records changed, or happened, in the year 2999.
#[derive(Debug)]
pub struct Future {
    one_in: u64,
}

impl Future {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        let one_in = dice.u64(2..12);
        Box::new(Self { one_in })
    }
}

impl Lie for Future {
    fn name(&self) -> &'static str {
        "records from the future"
    }

    fn is_of_data(&self) -> bool {
        true
    }

    fn answer(&mut self, ask: &Ask, answer: &mut Answer, _: &mut Dice) -> bool {
        let (id, field) = match ask.about {
            About::List("calls") => ("id", "last_modified_time"),
            About::List("audit_events") => ("correlationID", "eventTimestamp"),
            About::List(_) => ("id", "updated_at"),
            _ => return false,
        };
        let mut is_told = false;
        for row in answer.records().into_iter().flatten() {
            if number_of(row, id).is_multiple_of(self.one_in) && row.get(field).is_some() {
                row[field] = json!("2999-12-31T23:59:59Z");
                is_told = true;
            }
        }
        is_told
    }
}

/// Audit events share all that their key is composed of.
#[derive(Debug)]
pub struct SharedKeys {
    one_in: u64,
}

impl SharedKeys {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        let one_in = dice.u64(1..6);
        Box::new(Self { one_in })
    }
}

impl Lie for SharedKeys {
    fn name(&self) -> &'static str {
        "keys shared by events"
    }

    fn applies_to(&self, connector: &str) -> bool {
        connector == "clari-revenue"
    }

    fn is_of_data(&self) -> bool {
        true
    }

    fn answer(&mut self, ask: &Ask, answer: &mut Answer, _: &mut Dice) -> bool {
        if ask.about != About::List("audit_events") {
            return false;
        }
        let mut is_told = false;
        for row in answer.records().into_iter().flatten() {
            if !number_of(row, "correlationID").is_multiple_of(self.one_in) {
                continue;
            }
            // Of the same hour, so that the order of the events stays about what it was.
            let time = row["eventTimestamp"].as_str().unwrap_or_default();
            let hour = time.get(..13).unwrap_or_default();
            row["eventTimestamp"] = json!(format!("{hour}:00:00Z"));
            row["actorId"] = json!("7");
            row["sessionId"] = json!("0a0a0a0a-0000-4000-8000-000000000000");
            row["event"] = json!("api.accessed");
            row["ipAddress"] = json!("203.0.113.1");
            is_told = true;
        }
        is_told
    }
}

/// Different records of a list have the id that was promised to be one record's.
#[derive(Debug)]
pub struct ReusedIds {
    one_in: u64,
}

impl ReusedIds {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        let one_in = dice.u64(2..10);
        Box::new(Self { one_in })
    }
}

impl Lie for ReusedIds {
    fn name(&self) -> &'static str {
        "reused ids"
    }

    fn applies_to(&self, connector: &str) -> bool {
        connector == "clari-copilot"
    }

    fn honesty(&self) -> Honesty {
        Honesty::MayFlag
    }

    fn is_of_data(&self) -> bool {
        true
    }

    fn answer(&mut self, ask: &Ask, answer: &mut Answer, _: &mut Dice) -> bool {
        if !matches!(
            ask.about,
            About::List("users" | "scorecard_templates" | "scorecards")
        ) {
            return false;
        }
        let mut is_told = false;
        for row in answer.records().into_iter().flatten() {
            if number_of(row, "id").is_multiple_of(self.one_in) {
                row["id"] = json!("00000000-0000-4000-8000-000000000000");
                is_told = true;
            }
        }
        is_told
    }
}
