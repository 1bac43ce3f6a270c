//! The five streams, and the details that replace list records.
//!
//! The pages of a list are read one after the other, since a list shifts during the read. The details of a page are
//! read concurrently.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
    sync::Arc,
};

use async_trait::async_trait;
use headwater::{
    Gap, Mend, Note, Scope, ScopeValue,
    http::{Client, Records, Request, Response, Snapshot},
    prelude::*,
};
use serde::{Deserialize, Serialize};

use crate::{
    details::{Details, MISSES_BEFORE_LIST, id_of, spread},
    list::{List, ListPosition},
    records::{AccountStatus, BillingUsage, Dashboard, DataSource, Report},
};

// The slash at the end is part of each path: without it, the response is a redirect.
pub(crate) const DATA_SOURCES: &str = "/api/data-sources/";
pub(crate) const REPORTS: &str = "/api/reports/";
pub(crate) const DASHBOARDS: &str = "/api/dashboards/";
pub(crate) const STATUS: &str = "/api/auth/status/";
pub(crate) const USAGE: &str = "/api/billing/usage/";

/// Statuses of a missing item, or of details that the service does not serve.
const NOT_THERE: &[u16] = &[404, 405, 410];

/// Returns the streams as known without credentials, in the order of reading.
pub(crate) fn specs() -> Vec<StreamSpec> {
    let full = |name, description, key, cursor, schema| StreamSpec {
        name,
        description,
        key,
        cursor,
        incremental: false,
        schema,
    };
    vec![
        full(
            "data_sources",
            "Connected data sources and the state of their sync.",
            &["id"],
            Some("updated_at"),
            record_schema::<DataSource>,
        ),
        full(
            "reports",
            "Generated reports.",
            &["id"],
            Some("updated_at"),
            record_schema::<Report>,
        ),
        full(
            "dashboards",
            "Dashboards.",
            &["id"],
            Some("updated_at"),
            record_schema::<Dashboard>,
        ),
        full(
            "account_status",
            "The current user and organization.",
            &["fetched_at"],
            None,
            record_schema::<AccountStatus>,
        ),
        full(
            "billing_usage",
            "The current use of the plan's limits.",
            &["fetched_at"],
            None,
            record_schema::<BillingUsage>,
        ),
    ]
}

pub(crate) fn open(client: &Client, read_details: bool) -> Vec<Arc<dyn AnyStream>> {
    specs()
        .into_iter()
        .map(|spec| stream(client, read_details, spec))
        .collect()
}

fn stream(client: &Client, read_details: bool, spec: StreamSpec) -> Arc<dyn AnyStream> {
    let path = match spec.name {
        "data_sources" => DATA_SOURCES,
        "reports" => REPORTS,
        "dashboards" => DASHBOARDS,
        "account_status" => return Arc::new(Snapshot::new(client, spec, STATUS, "")),
        _ => return Arc::new(Snapshot::new(client, spec, USAGE, "")),
    };
    Arc::new(ListStream {
        list: List::new(client, path),
        spec,
        read_details,
    })
}

/// A list, or the details of its items.
struct ListStream {
    list: List,
    spec: StreamSpec,
    read_details: bool,
}

impl fmt::Debug for ListStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ListStream({})", self.spec.name)
    }
}

/// A position in the list: the next page, or items still to request.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Token {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page: Option<ListPosition>,
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pending: VecDeque<String>,
    details: Details,
}

impl ListStream {
    async fn page(&self, token: Option<Token>) -> Result<Page<Token, ()>> {
        let (position, details) = match token {
            Some(token) => (token.page.unwrap_or_default(), token.details),
            None if self.read_details => (ListPosition::default(), Details::Unknown),
            None => (ListPosition::default(), Details::Absent),
        };
        let client = self.list.client();
        let name = self.spec.name;
        let request = self.list.request(&position);
        let response = client.send(&request).await?;
        let is_past_the_end = self.list.is_past_the_end(&response);
        if !is_past_the_end && !response.status.is_success() {
            return Err(client.refusal(&request, &response));
        }
        let mut cut = match is_past_the_end {
            true => self.list.cut_short(position, name),
            false => self.list.cut(position, &response, name)?,
        };
        if is_past_the_end {
            let what =
                "became fewer during the read; some may be missing and come with the next read";
            let shrank = cut.next.is_none().then(|| self.note("list_shrank", what));
            cut.notes = shrank.into_iter().collect();
        }
        let token = Token {
            page: cut.next,
            pending: VecDeque::new(),
            details,
        };
        let list_page = Page::new(response.body, cut.records);
        let mut page = self.with_details(token, list_page, &request).await?;
        page.notes.splice(0..0, cut.notes);
        page.gaps.extend(cut.gaps);
        Ok(page)
    }

    /// Replaces the records of a page by their details, where the service has details.
    async fn with_details(
        &self,
        mut token: Token,
        list_page: Page<Token, ()>,
        request: &Request,
    ) -> Result<Page<Token, ()>> {
        match token.details {
            Details::Absent => Ok(finish(token, list_page)),
            Details::Unserved => {
                let without = list_page.records.len();
                Ok(self.with_gap(finish(token, list_page), without))
            }
            Details::There => {
                token.pending = list_page.iter().map(id_of).collect::<Result<_>>()?;
                Ok(finish(token, Page::empty()))
            }
            Details::Unknown => self.look_for_details(token, list_page, request).await,
        }
    }

    /// Requests details one by one until one exists. A missing item may have been deleted, so it proves nothing: only
    /// if items from all over the page have no details and the list still shows some of them does the service not serve
    /// details. The page then keeps the records of the list.
    async fn look_for_details(
        &self,
        mut token: Token,
        list_page: Page<Token, ()>,
        request: &Request,
    ) -> Result<Page<Token, ()>> {
        let ids: Vec<String> = list_page.iter().map(id_of).collect::<Result<_>>()?;
        let order = spread(ids.len());
        let mut gone: HashSet<usize> = HashSet::new();
        let mut without: Vec<usize> = Vec::new();
        for (number, batch) in order.chunks(MISSES_BEFORE_LIST).enumerate() {
            for (tried, index) in batch.iter().enumerate() {
                let Some(detail) = self.detail(&ids[*index]).await? else {
                    continue;
                };
                let misses = number * MISSES_BEFORE_LIST + tried;
                let left = order[misses + 1..].iter();
                token.pending = left.map(|index| ids[*index].clone()).collect();
                token.details = Details::There;
                let mut page = finish(token, detail);
                page.notes.extend((0..misses).map(|_| self.missing()));
                return Ok(page);
            }
            let listed = self.listed(request).await?;
            let is_live = |index: &&usize| listed.contains(&ids[**index]);
            gone.extend(batch.iter().filter(|index| !is_live(index)));
            without = batch.iter().filter(is_live).copied().collect();
            if !without.is_empty() && batch.len() == MISSES_BEFORE_LIST {
                token.details = Details::Unserved;
                without = (0..ids.len())
                    .filter(|index| !gone.contains(index))
                    .collect();
                break;
            }
        }
        let mut page = finish(token, list_page);
        let mut index = 0;
        page.records.retain(|_| {
            index += 1;
            without.contains(&(index - 1))
        });
        page.notes.extend(gone.iter().map(|_| self.missing()));
        if !without.is_empty() {
            let what = "have no details here; their list records were read instead";
            page.notes.push(self.note("no_details", what));
        }
        Ok(self.with_gap(page, without.len()))
    }

    /// Returns the current ids of a page of the list.
    async fn listed(&self, request: &Request) -> Result<HashSet<String>> {
        let client = self.list.client();
        let response = client.send(request).await?;
        if self.list.is_past_the_end(&response) {
            return Ok(HashSet::new());
        }
        let records = self.list.records(&response)?.into_iter();
        records.map(|span| id_of(&response.body[span])).collect()
    }

    /// Adds the gap of the records without details to a page.
    fn with_gap(&self, mut page: Page<Token, ()>, without: usize) -> Page<Token, ()> {
        if without > 0 {
            page.gaps.push(Gap {
                code: "no_details",
                message: format!(
                    "{} are in the list but could not be read one by one, so their details are missing",
                    self.spec.name
                ),
                at_most: Some(without as u64),
                mend: Mend::Run,
            });
        }
        page
    }

    /// Reads one item; `None` where it does not exist.
    async fn detail(&self, id: &str) -> Result<Option<Page<Token, ()>>> {
        let client = self.list.client();
        let request = self.list.item(id).accept(NOT_THERE);
        let Response { status, body, .. } = client.send(&request).await?;
        if !status.is_success() || body.trim_ascii().is_empty() {
            return Ok(None);
        }
        let cut = client.split(&body, Records::One(""), &[])?;
        // Any object looks like a record, even an error message: only a record has an id.
        if id_of(&body).is_err() {
            let text = format!(
                "the response is not a record of {}: it has no id",
                self.spec.name
            );
            let error = Error::new(Kind::DataInvalid, text).with("bytes", body.len());
            return Err(match client.said(&body) {
                Some(message) => error.with("it says", message),
                None => error,
            });
        }
        Ok(Some(Page::new(body, cut.records)))
    }

    fn missing(&self) -> Note {
        let what = "were deleted before their details were read, and were left out";
        self.note("missing", what)
    }

    fn note(&self, code: &'static str, what: &str) -> Note {
        Note {
            code,
            message: format!("{} {what}", self.spec.name),
        }
    }
}

/// Adds the positions of the remaining details to a page, and the next page of the list.
fn finish(token: Token, page: Page<Token, ()>) -> Page<Token, ()> {
    let details = token.details;
    let detail = |id| Token {
        page: None,
        pending: VecDeque::from([id]),
        details,
    };
    Page {
        beside: token.pending.into_iter().map(detail).collect(),
        next: token.page.map(|position| Token {
            page: Some(position),
            pending: VecDeque::new(),
            details,
        }),
        ..page
    }
}

#[async_trait]
impl Stream for ListStream {
    type Partition = ();
    type Token = Token;
    type Bookmark = ();

    fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    fn plan(&self, _: Option<()>, _: Timestamp) -> Result<Vec<()>> {
        Ok(vec![()])
    }

    fn scope(&self, _: Timestamp) -> Scope {
        let details = match self.read_details {
            true => "on",
            false => "off",
        };
        Scope::default().option("read_details", ScopeValue::As(details.to_owned()))
    }

    async fn fetch(&self, (): (), token: Option<Token>) -> Result<Page<Token, ()>> {
        let Some(mut token) = token else {
            return self.page(None).await;
        };
        let Some(id) = token.pending.pop_front() else {
            return self.page(Some(token)).await;
        };
        let page = self.detail(&id).await?.unwrap_or_else(|| Page {
            notes: vec![self.missing()],
            ..Page::empty()
        });
        Ok(finish(token, page))
    }
}
