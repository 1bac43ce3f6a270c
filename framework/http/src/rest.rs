//! A stream that is one paged list.
//!
//! It is read page after page, also where pages have numbers: nothing holds such a list still, and a record that moves
//! from a page that is still to come into one that was read at the same time would be lost without a trace.

use std::fmt;

use async_trait::async_trait;
use headwater_core::{Page, Part, Result, Stream, StreamSpec, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    client::{Client, Request},
    envelope::Records,
    paging::{Paging, Place},
    seen::Seen,
};

/// A list that is read in full each time.
pub struct RestStream {
    client: Client,
    spec: StreamSpec,
    path: &'static str,
    records: Records,
    paging: Paging,
    query: Vec<(&'static str, String)>,
}

impl fmt::Debug for RestStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RestStream({} at {})", self.spec.name, self.path)
    }
}

/// A place in the list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestToken(Place);

impl RestStream {
    /// The list at a path, its records at the given place, everything in one answer.
    pub fn new(client: &Client, spec: StreamSpec, path: &'static str, records: Records) -> Self {
        Self {
            client: client.clone(),
            spec,
            path,
            records,
            paging: Paging::Single,
            query: Vec::new(),
        }
    }

    /// How the list pages.
    #[must_use]
    pub fn paging(mut self, paging: Paging) -> Self {
        self.paging = paging;
        self
    }

    /// A parameter sent with the first request and with every page that is not a link.
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
        let place = token.map(|RestToken(place)| place);
        let first = self
            .query
            .iter()
            .fold(Request::get(self.path), |request, (name, value)| {
                request.query(name, value)
            });
        let request = self.paging.request(first, place.as_ref());
        let response = self.client.send(&request).await?;
        let wanted: Vec<&str> = self.paging.wanted().into_iter().collect();
        let cut = self.client.split(&response.body, self.records, &wanted)?;
        let first_record = cut
            .records
            .first()
            .map(|span| Seen::fingerprint(&response.body[span.clone()]));
        let found = cut.found.first().and_then(Option::as_ref);
        let next = self.paging.next(
            place,
            cut.records.len(),
            first_record,
            found,
            &response.headers,
        )?;
        let mut page = Page::new(response.body, cut.records);
        page.next = next.map(RestToken);
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
