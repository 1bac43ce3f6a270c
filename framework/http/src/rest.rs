//! A stream that is one paged list.
//!
//! Its pages are read one after the other, even numbered pages: the list may change, and a record that moves from an
//! unread page to one read at the same time would be lost unnoticed.

use std::fmt;

use async_trait::async_trait;
use headwater_core::{Page, Part, Result, Stream, StreamSpec, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    client::{Client, Request},
    envelope::Records,
    paging::{ListPosition, Paging},
    progress::total,
};

/// A list that every pass reads in full.
pub struct RestStream {
    client: Client,
    spec: StreamSpec,
    path: &'static str,
    records: Records,
    paging: Paging,
    query: Vec<(&'static str, String)>,
    total: Option<&'static str>,
}

impl fmt::Debug for RestStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RestStream({} at {})", self.spec.name, self.path)
    }
}

/// A position in the list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestToken(ListPosition);

impl RestStream {
    /// Makes the stream of the list at a path, with its records at the given pointers, all in one response.
    pub fn new(client: &Client, spec: StreamSpec, path: &'static str, records: Records) -> Self {
        Self {
            client: client.clone(),
            spec,
            path,
            records,
            paging: Paging::Single,
            query: Vec::new(),
            total: None,
        }
    }

    /// Sets the JSON Pointer of the list's total in the body. A list whose total changes during the read, or exceeds
    /// the received records, is read once more; a gap reports the records that may still be missing.
    #[must_use]
    pub fn total(mut self, pointer: &'static str) -> Self {
        self.total = Some(pointer);
        self
    }

    /// Sets the paging of the list.
    #[must_use]
    pub fn paging(mut self, paging: Paging) -> Self {
        self.paging = paging;
        self
    }

    /// Adds a parameter to the first request and to every page that is not a link.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.query.push((name, value.to_string()));
        self
    }
}

#[async_trait]
impl Stream for RestStream {
    type Partition = ();
    type Token = RestToken;
    type Bookmark = ();

    fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    fn plan(&self, _: Option<()>, _: Timestamp) -> Result<Vec<()>> {
        Ok(vec![()])
    }

    async fn fetch(&self, (): (), token: Option<RestToken>) -> Result<Page<RestToken, ()>> {
        let mut position = token
            .map(|RestToken(position)| position)
            .unwrap_or_default();
        let first = self
            .query
            .iter()
            .fold(Request::get(self.path), |request, (name, value)| {
                request.query(name, value)
            });
        let request = self.paging.request(first, &position);
        let response = self.client.send(&request).await?;
        let wanted: Vec<&str> = self.total.into_iter().chain(self.paging.wanted()).collect();
        let mut cut = self.client.cut(&response, self.records, &[], &wanted)?;
        let name = self.spec.name;
        let mut notes = cut.notes(name);
        let mut found = cut.found.iter().map(Option::as_ref);
        let total = match self.total {
            Some(_) => total(found.next().flatten(), name, &mut notes),
            None => None,
        };
        let next = found.next().flatten();
        let count = cut.records.len();
        position.progress.require_list(&cut, total)?;
        let has_key = !self.spec.key.is_empty();
        let is_guarded = self.total.is_some() || !matches!(self.paging, Paging::Single);
        if is_guarded {
            let progress = &mut position.progress;
            progress.take(&response.body, &mut cut.records, total, has_key);
        }
        let next = self
            .paging
            .next(&mut position, count, next, &response.headers)?;
        let mut page = Page::new(response.body, cut.records);
        page.notes = notes;
        page.next = next.map(RestToken);
        if page.next.is_none() && is_guarded {
            let ending = position.progress.end(name, false);
            page.notes.extend(ending.notes);
            page.gaps = ending.gaps;
            page.next = ending
                .again
                .map(|progress| RestToken(ListPosition::start(progress)));
        }
        Ok(page)
    }

    async fn survey(&self, (): ()) -> Result<Vec<Part<()>>> {
        let is_single = matches!(self.paging, Paging::Single);
        Ok(vec![Part {
            partition: (),
            records: None,
            requests: is_single.then_some(1),
        }])
    }
}
