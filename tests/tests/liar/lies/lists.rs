//! Lies of lists: totals, rows and links.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use super::{Dice, Fate, Honesty, Lie, chance};
use crate::exchange::{About, Answer, Ask};

/// Totals are wrong, always in the same way or in another one each time. They are never the number of different rows that a
/// page happens to have: together with short pages no client could tell that from the end of a list.
#[derive(Debug)]
pub struct WrongTotal {
    by: i64,
    moves: bool,
}

impl WrongTotal {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        Box::new(Self {
            by: dice.i64(-20..=40),
            moves: dice.bool(),
        })
    }
}

impl Lie for WrongTotal {
    fn name(&self) -> &'static str {
        "wrong total"
    }

    fn honesty(&self) -> Honesty {
        Honesty::MayFlag
    }

    fn answer(&mut self, ask: &Ask, answer: &mut Answer, dice: &mut Dice) -> bool {
        let by = if self.moves {
            dice.i64(-20..=40)
        } else {
            self.by
        };
        let rows = answer.records().map_or(0, |rows| different(rows));
        let Some(total) = answer.total().filter(|_| ask.is_list()) else {
            return false;
        };
        let real = total.as_i64().unwrap_or(0);
        let mut told = (real + by).max(0);
        if told < real && told == i64::try_from(rows).unwrap_or(0) {
            told += 1;
        }
        *total = json!(told);
        told != real
    }
}

/// How many different rows there are.
fn different(rows: &[Value]) -> usize {
    let texts: HashSet<String> = rows.iter().map(Value::to_string).collect();
    texts.len()
}

/// Totals are texts.
#[derive(Debug)]
pub struct TextTotal;

impl TextTotal {
    pub fn draw(_: &mut Dice) -> Box<dyn Lie> {
        Box::new(Self)
    }
}

impl Lie for TextTotal {
    fn name(&self) -> &'static str {
        "total as text"
    }

    fn answer(&mut self, ask: &Ask, answer: &mut Answer, _: &mut Dice) -> bool {
        let Some(total) = answer.total().filter(|_| ask.is_list()) else {
            return false;
        };
        *total = json!(total.to_string().trim_matches('"'));
        true
    }
}

/// Rows of earlier answers come again among those of a page.
#[derive(Debug)]
pub struct Repeats {
    percent: u8,
    seen: HashMap<String, Vec<Value>>,
}

impl Repeats {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        Box::new(Self {
            percent: dice.u8(10..=60),
            seen: HashMap::new(),
        })
    }
}

impl Lie for Repeats {
    fn name(&self) -> &'static str {
        "repeated rows"
    }

    fn keeps_versions(&self) -> bool {
        true
    }

    fn honesty(&self) -> Honesty {
        Honesty::MayFlag
    }

    fn answer(&mut self, ask: &Ask, answer: &mut Answer, dice: &mut Dice) -> bool {
        let Some(rows) = answer.records().filter(|_| ask.is_list()) else {
            return false;
        };
        let seen = self.seen.entry(ask.path().to_owned()).or_default();
        let page = rows.clone();
        let has_begun = !seen.is_empty() && !rows.is_empty();
        if has_begun && chance(dice, self.percent) {
            for _ in 0..dice.usize(1..4) {
                let row = seen[dice.usize(..seen.len())].clone();
                rows.insert(dice.usize(..=rows.len()), row);
            }
        }
        for row in page {
            if !seen.contains(&row) && seen.len() < 200 {
                seen.push(row);
            }
        }
        has_begun
    }
}

/// One row leads every page of a list.
#[derive(Debug)]
pub struct Pinned {
    rows: HashMap<String, Value>,
}

impl Pinned {
    pub fn draw(_: &mut Dice) -> Box<dyn Lie> {
        Box::new(Self {
            rows: HashMap::new(),
        })
    }
}

impl Lie for Pinned {
    fn name(&self) -> &'static str {
        "pinned row"
    }

    fn keeps_versions(&self) -> bool {
        true
    }

    fn honesty(&self) -> Honesty {
        Honesty::MayFlag
    }

    fn answer(&mut self, ask: &Ask, answer: &mut Answer, _: &mut Dice) -> bool {
        let Some(rows) = answer.records().filter(|_| ask.is_list()) else {
            return false;
        };
        let Some(first) = rows.first().cloned() else {
            return false;
        };
        let pinned = self
            .rows
            .entry(ask.path().to_owned())
            .or_insert_with(|| first.clone());
        if *pinned == first {
            return false;
        }
        rows.insert(0, pinned.clone());
        true
    }
}

/// Behind the last page there is always one more, an empty one.
#[derive(Debug)]
pub struct Endless;

/// What a link or cursor behind the end holds.
const BEHIND: &str = "behind-the-end-";

impl Endless {
    pub fn draw(_: &mut Dice) -> Box<dyn Lie> {
        Box::new(Self)
    }

    /// The page after this one, behind the end.
    fn next(ask: &Ask) -> String {
        let number = ask
            .target
            .split_once(BEHIND)
            .map_or("", |(_, rest)| rest.split('&').next().unwrap_or_default());
        format!("{BEHIND}{}", number.parse().unwrap_or(0_u32) + 1)
    }
}

impl Lie for Endless {
    fn name(&self) -> &'static str {
        "endless next"
    }

    fn applies_to(&self, connector: &str) -> bool {
        connector != "clari-copilot"
    }

    fn honesty(&self) -> Honesty {
        Honesty::MayFlag
    }

    fn ask(&mut self, ask: &mut Ask, _: &mut Dice) -> Option<Fate> {
        if !ask.is_list() || !ask.target.contains(BEHIND) {
            return None;
        }
        let next = Self::next(ask);
        let link = format!("{}{}?page={next}", ask.origin, ask.path());
        let json = if ask.path().ends_with("/audit/events") {
            json!({ "items": [], "actors": [], "nextLink": link })
        } else if ask.parameter("cursor").is_some() {
            json!({ "data": [], "next_cursor": next })
        } else {
            json!({ "count": 0, "next": link, "previous": null, "results": [] })
        };
        Some(Fate::Instead(Answer::json(200, json)))
    }

    fn answer(&mut self, ask: &Ask, answer: &mut Answer, _: &mut Dice) -> bool {
        if !ask.is_list() || !answer.is_success() {
            return false;
        }
        let Some(Value::Object(fields)) = &mut answer.json else {
            return false;
        };
        let is_audit = ask.path().ends_with("/audit/events");
        let name = ["next", "next_cursor", "nextLink"]
            .into_iter()
            .find(|name| fields.contains_key(*name) || (is_audit && *name == "nextLink"));
        let Some(name) = name else {
            return false;
        };
        if fields.get(name).is_some_and(|value| !value.is_null()) {
            return false;
        }
        let next = Self::next(ask);
        let value = match name {
            "next_cursor" => next,
            _ => format!("{}{}?page={next}", ask.origin, ask.path()),
        };
        fields.insert(name.to_owned(), value.into());
        true
    }
}

/// A list without records is null.
#[derive(Debug)]
pub struct NullForNothing;

impl NullForNothing {
    pub fn draw(_: &mut Dice) -> Box<dyn Lie> {
        Box::new(Self)
    }
}

impl Lie for NullForNothing {
    fn name(&self) -> &'static str {
        "null for an empty list"
    }

    fn answer(&mut self, ask: &Ask, answer: &mut Answer, _: &mut Dice) -> bool {
        let is_empty = answer.records().is_some_and(|rows| rows.is_empty());
        if !is_empty || !(ask.is_list() || ask.about == About::Jobs) {
            return false;
        }
        let Some(list) = answer.list() else {
            return false;
        };
        *list = Value::Null;
        true
    }
}

/// A list without records is 204.
#[derive(Debug)]
pub struct NoContent {
    percent: u8,
}

impl NoContent {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        let percent = dice.u8(20..=100);
        Box::new(Self { percent })
    }
}

impl Lie for NoContent {
    fn name(&self) -> &'static str {
        "204 for an empty list"
    }

    fn answer(&mut self, ask: &Ask, answer: &mut Answer, dice: &mut Dice) -> bool {
        let is_empty = answer.records().is_some_and(|rows| rows.is_empty());
        let is_last = answer.json.as_ref().is_some_and(|json| {
            let links = ["next", "next_cursor", "nextLink"];
            links
                .iter()
                .all(|name| json.get(name).is_none_or(Value::is_null))
        });
        if !is_empty || !is_last || !ask.is_list() || !chance(dice, self.percent) {
            return false;
        }
        answer.status = 204;
        answer.json = None;
        answer.body.clear();
        true
    }
}

/// Pages hold fewer records than were asked for.
#[derive(Debug)]
pub struct ShortPages {
    size: u32,
}

impl ShortPages {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        let size = dice.u32(3..=12);
        Box::new(Self { size })
    }
}

impl Lie for ShortPages {
    fn name(&self) -> &'static str {
        "short pages"
    }

    /// The truth is read in the same pages, which is no harm to it.
    fn is_of_data(&self) -> bool {
        false
    }

    fn ask(&mut self, ask: &mut Ask, _: &mut Dice) -> Option<Fate> {
        if ask.is_list() {
            // A log that is filtered after it is cut has empty pages, and more than ten in a row are taken for no end.
            let size = match ask.about {
                About::List("audit_events") => self.size + 12,
                _ => self.size,
            };
            for name in ["limit", "page_size"] {
                let asked = ask.parameter(name).and_then(|value| value.parse().ok());
                if asked.is_some_and(|asked: u32| asked > size) {
                    ask.set(name, &size.to_string());
                }
            }
        }
        None
    }
}

/// Where to go on is ignored at times: the first page comes again.
#[derive(Debug)]
pub struct SamePage {
    percent: u8,
}

impl SamePage {
    pub fn draw(dice: &mut Dice) -> Box<dyn Lie> {
        let percent = [5, 20, 100][dice.usize(..3)];
        Box::new(Self { percent })
    }
}

impl Lie for SamePage {
    fn name(&self) -> &'static str {
        "same page"
    }

    fn honesty(&self) -> Honesty {
        Honesty::MayFlag
    }

    fn ask(&mut self, ask: &mut Ask, dice: &mut Dice) -> Option<Fate> {
        let later = [("skip", "0"), ("offset", "0"), ("page", "1")];
        for (name, first) in later {
            let is_later = ask.parameter(name).is_some_and(|value| value != first);
            if ask.is_list() && is_later && chance(dice, self.percent) {
                ask.set(name, first);
            }
        }
        None
    }
}
