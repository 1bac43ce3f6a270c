//! Lists: filters, pages and envelopes.

use std::collections::BTreeMap;

use super::catalogue::{Catalogue, Kind};
use super::data_source;
use super::options::{ClaribiOptions, NextLinks, Paging};
use super::problem::Problem;
use super::record::{Record, array};
use super::report;
use super::route::Surface;
use crate::query::Query;

const DEFAULT_PAGE_SIZE: u64 = 20;
const LARGEST_PAGE_SIZE: u64 = 100;

/// The beginning of a cursor; the rest is the position to continue from.
const CURSOR_MARK: &str = "cD0";

/// The filters of a list.
#[derive(Debug)]
struct Filter {
    kind: Kind,
    status: Option<String>,
    source_type: Option<String>,
    /// In lower case.
    search: Option<String>,
}

impl Filter {
    /// Reads the filters that a list has; the parameters of others are ignored. An undocumented status
    /// or type is refused, as the framework's filters do (proposed).
    fn parse(query: &Query, kind: Kind, surface: Surface) -> Result<Self, Problem> {
        let mut filter = Self {
            kind,
            status: None,
            source_type: None,
            search: None,
        };
        match kind {
            Kind::DataSource => {
                filter.status = choice(query, "status", data_source::STATUSES)?;
                filter.source_type = choice(query, "type", data_source::TYPES)?;
                if surface == Surface::External {
                    // The external interface shows active sources only.
                    filter.status = Some("active".to_owned());
                }
            }
            Kind::Report => filter.status = choice(query, "status", report::STATUSES)?,
            Kind::Dashboard => {
                let search = query.first("search").filter(|text| !text.is_empty());
                filter.search = search.map(str::to_lowercase);
            }
        }
        Ok(filter)
    }

    fn is_open(&self) -> bool {
        self.status.is_none() && self.source_type.is_none() && self.search.is_none()
    }

    fn matches(&self, catalogue: &Catalogue, index: u64) -> bool {
        let status = self.status.as_ref().is_none_or(|status| {
            status
                == match self.kind {
                    Kind::Report => report::status(catalogue, index),
                    _ => data_source::status(catalogue, index),
                }
        });
        status
            && self
                .source_type
                .as_ref()
                .is_none_or(|wanted| wanted == data_source::source_type(catalogue, index))
            && self.search.as_ref().is_none_or(|search| {
                super::dashboard::name(catalogue, index)
                    .to_lowercase()
                    .contains(search)
            })
    }
}

fn choice(query: &Query, name: &'static str, choices: &[&str]) -> Result<Option<String>, Problem> {
    let Some(value) = query.first(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    if !choices.contains(&value) {
        return Err(Problem::Invalid {
            field: name,
            reason: format!("Select a valid choice. {value} is not one of the available choices."),
        });
    }
    Ok(Some(value.to_owned()))
}

/// One request for a list.
#[derive(Debug)]
pub(crate) struct ListRequest<'a> {
    pub(crate) catalogue: &'a Catalogue,
    pub(crate) options: &'a ClaribiOptions,
    pub(crate) kind: Kind,
    pub(crate) surface: Surface,
    pub(crate) path: &'a str,
    pub(crate) query: &'a Query,
    /// The scheme and host that the request named.
    pub(crate) base_url: &'a str,
}

impl ListRequest<'_> {
    /// Answers the list, newest record first (proposed). `render` makes the record of an index.
    pub(crate) fn answer(&self, render: impl Fn(u64) -> Record) -> Result<String, Problem> {
        let filter = Filter::parse(self.query, self.kind, self.surface)?;
        // Reports that are added while this runs belong to the next answer.
        let count = self.catalogue.count(self.kind);
        let render = |indexes: Vec<u64>| {
            let records: Vec<Record> = indexes.into_iter().map(&render).collect();
            array(&records)
        };
        match self.options.paging {
            Paging::Drf => self.numbered_page(&filter, count, render),
            Paging::Array => {
                let (_, indexes) = self.select(&filter, count, 0, u64::MAX);
                Ok(render(indexes))
            }
            Paging::Items => {
                let limit = page_size(self.query, &["limit"]);
                let offset = positive(self.query, "offset").unwrap_or_default();
                let (total, indexes) = self.select(&filter, count, offset, limit);
                Ok(Record::default()
                    .with_json("items", &render(indexes))
                    .with("total", total)
                    .with("limit", limit)
                    .with("offset", offset)
                    .to_json())
            }
            Paging::Cursor => {
                let count = match self.query.first("cursor") {
                    Some(cursor) => read_cursor(cursor)
                        .ok_or(Problem::InvalidCursor)?
                        .min(count),
                    None => count,
                };
                let limit = page_size(self.query, &["limit", "page_size"]);
                let (total, indexes) = self.select(&filter, count, 0, limit);
                let next = indexes
                    .last()
                    .filter(|_| total > limit)
                    .map(|last| format!("{CURSOR_MARK}{last:x}"));
                Ok(Record::default()
                    .with_json("data", &render(indexes))
                    .with("next_cursor", next)
                    .to_json())
            }
        }
    }

    /// A page as Django REST Framework cuts it.
    fn numbered_page(
        &self,
        filter: &Filter,
        count: u64,
        render: impl Fn(Vec<u64>) -> String,
    ) -> Result<String, Problem> {
        let size = page_size(self.query, &["page_size"]);
        let number = self.query.first("page").filter(|text| !text.is_empty());
        let number = number.unwrap_or("1");
        let (total, indexes, number) = if number == "last" {
            let (total, _) = self.select(filter, count, 0, 0);
            let number = total.div_ceil(size).max(1);
            let (_, indexes) = self.select(filter, count, (number - 1) * size, size);
            (total, indexes, number)
        } else {
            let number: u64 = number.parse().map_err(|_| Problem::InvalidPage)?;
            let skip = number.checked_sub(1).ok_or(Problem::InvalidPage)?;
            let (total, indexes) = self.select(filter, count, skip.saturating_mul(size), size);
            // The first page is there even when it is empty.
            if indexes.is_empty() && number > 1 {
                return Err(Problem::InvalidPage);
            }
            (total, indexes, number)
        };
        let next = (number < total.div_ceil(size)).then(|| self.link(number + 1));
        let previous = (number > 1).then(|| self.link(number - 1));
        let shown_count = match self.options.count_lies {
            true => total / 2,
            false => total,
        };
        Ok(Record::default()
            .with("count", shown_count)
            .with("next", next)
            .with("previous", previous)
            .with_json("results", &render(indexes))
            .to_json())
    }

    /// How many of the first `count` records match, and a part of those, newest first.
    fn select(&self, filter: &Filter, count: u64, skip: u64, limit: u64) -> (u64, Vec<u64>) {
        if filter.is_open() {
            let newest = count.saturating_sub(skip);
            let oldest = newest.saturating_sub(limit);
            return (count, (oldest..newest).rev().collect());
        }
        let mut total = 0;
        let mut indexes = Vec::new();
        for index in (0..count).rev() {
            if !filter.matches(self.catalogue, index) {
                continue;
            }
            if total >= skip && (indexes.len() as u64) < limit {
                indexes.push(index);
            }
            total += 1;
        }
        (total, indexes)
    }

    /// The link to another page. As the framework does it: parameters in the order of their names,
    /// and no number for the first page.
    fn link(&self, number: u64) -> String {
        let mut parameters: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, value) in self.query.pairs() {
            parameters.entry(name).or_default().push(value);
        }
        let number_text = number.to_string();
        parameters.remove("page");
        if number > 1 {
            parameters.insert("page", vec![&number_text]);
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, values) in &parameters {
            for value in values {
                query.append_pair(name, value);
            }
        }
        let query = query.finish();
        let separator = if query.is_empty() { "" } else { "?" };
        let path = self.path;
        let base_url = match self.options.next_links {
            NextLinks::Absolute => self.base_url.to_owned(),
            NextLinks::Relative => String::new(),
            NextLinks::OtherScheme => self.base_url.replacen("http://", "https://", 1),
        };
        format!("{base_url}{path}{separator}{query}")
    }
}

/// The size of a page: the first of the parameters that holds a positive number, at most 100. As
/// in the framework, any other value counts as absent.
fn page_size(query: &Query, names: &[&str]) -> u64 {
    names
        .iter()
        .find_map(|name| positive(query, name))
        .unwrap_or(DEFAULT_PAGE_SIZE)
        .min(LARGEST_PAGE_SIZE)
}

fn positive(query: &Query, name: &str) -> Option<u64> {
    let number: u64 = query.first(name)?.parse().ok()?;
    (number > 0).then_some(number)
}

/// The number of the record that the last page ended with. Records that are added later have
/// higher numbers, and so do not move the page.
fn read_cursor(cursor: &str) -> Option<u64> {
    u64::from_str_radix(cursor.strip_prefix(CURSOR_MARK)?, 16).ok()
}
