//! Lies of lists that become shorter while they are read.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{Dice, Fate, Lie};
use crate::exchange::{About, Answer, Ask};

/// As many items as a page holds, the first ones, vanish between two pages.
#[derive(Debug, Default)]
pub struct Vanishing {
    /// By path: the rows of the first page, until they vanish.
    first: HashMap<String, Vec<(String, String)>>,
    /// By path: how many have vanished.
    gone: HashMap<String, u64>,
    deleted: Vec<(String, String)>,
}

impl Vanishing {
    pub fn draw(_: &mut Dice) -> Box<dyn Lie> {
        Box::<Self>::default()
    }

    fn size(ask: &Ask) -> u64 {
        let size = ask.parameter("page_size").or(ask.parameter("limit"));
        size.and_then(|size| size.parse().ok()).unwrap_or(20)
    }
}

impl Lie for Vanishing {
    fn name(&self) -> &'static str {
        "vanishing items"
    }

    fn applies_to(&self, connector: &str) -> bool {
        connector == "claribi"
    }

    fn is_of_data(&self) -> bool {
        true
    }

    fn ask(&mut self, ask: &mut Ask, _: &mut Dice) -> Option<Fate> {
        if !ask.is_list() || ask.parameter("cursor").is_some() {
            return None;
        }
        let path = ask.path().to_owned();
        let number = |name: &str| {
            ask.parameter(name)
                .and_then(|value| value.parse::<u64>().ok())
        };
        let (page, offset) = (number("page"), number("offset"));
        let is_later = page.is_some_and(|page| page > 1) || offset.is_some_and(|offset| offset > 0);
        if is_later
            && !self.gone.contains_key(&path)
            && let Some(rows) = self.first.get(&path)
        {
            self.gone.insert(path.clone(), rows.len() as u64);
            self.deleted.extend(rows.iter().cloned());
        }
        let gone = self.gone.get(&path).copied()?;
        match offset {
            Some(offset) => ask.set("offset", &(offset + gone).to_string()),
            // Other sizes than the one of the page that vanished are not asked for.
            None if gone == Self::size(ask) => {
                ask.set("page", &(page.unwrap_or(1) + 1).to_string());
            }
            None => {}
        }
        None
    }

    fn answer(&mut self, ask: &Ask, answer: &mut Answer, _: &mut Dice) -> bool {
        let About::List(stream) = ask.about else {
            return false;
        };
        let path = ask.path().to_owned();
        let size = Self::size(ask);
        let Some(gone) = self.gone.get(&path).copied() else {
            let has_more = answer
                .json
                .as_ref()
                .is_some_and(|json| json["next"].is_string() || json["offset"] == 0);
            let rows = answer
                .records()
                .map(|rows| rows.clone())
                .unwrap_or_default();
            // A page that is not full is the last one, and nothing comes after it.
            if has_more && rows.len() as u64 == size {
                let ids = rows.iter().map(|row| {
                    let id = match &row["id"] {
                        Value::String(id) => id.clone(),
                        id => id.to_string(),
                    };
                    (stream.to_owned(), id)
                });
                self.first.entry(path).or_insert_with(|| ids.collect());
            }
            return false;
        };
        let Some(Value::Object(fields)) = &mut answer.json else {
            return false;
        };
        for name in ["count", "total"] {
            if let Some(total) = fields.get_mut(name) {
                *total = json!(total.as_u64().unwrap_or(0).saturating_sub(gone));
            }
        }
        if let Some(offset) = fields.get_mut("offset") {
            *offset = json!(offset.as_u64().unwrap_or(0).saturating_sub(gone));
        }
        if let Some(Value::String(next)) = fields.get_mut("next") {
            *next = earlier_page(next);
        }
        true
    }

    fn deleted(&self) -> Vec<(String, String)> {
        self.deleted.clone()
    }
}

/// The link to the page before the one that a link leads to.
fn earlier_page(link: &str) -> String {
    let Some((head, query)) = link.split_once('?') else {
        return link.to_owned();
    };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.strip_prefix("page=") {
            Some(number) => format!("page={}", number.parse().unwrap_or(1_u64).saturating_sub(1)),
            None => pair.to_owned(),
        })
        .collect();
    format!("{head}?{}", pairs.join("&"))
}
