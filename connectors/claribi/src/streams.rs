//! The five streams, and how details are read in the place of list records.
//!
//! Lists are read page after page, since they shift while they are read. The details of a page are read side by side.

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
    details::{Details, MISSES_THAT_TELL, id_of, spread},
    list::{List, ListPosition},
    records::{AccountStatus, BillingUsage, Dashboard, DataSource, Report},
};

// The slash at the end is part of each path: without it, the answer is a redirect.
pub(crate) const DATA_SOURCES: &str = "/api/data-sources/";
pub(crate) const REPORTS: &str = "/api/reports/";
pub(crate) const DASHBOARDS: &str = "/api/dashboards/";
pub(crate) const STATUS: &str = "/api/auth/status/";
pub(crate) const USAGE: &str = "/api/billing/usage/";

/// Statuses by which the service says that an item, or the details of any, is not there.
const NOT_THERE: &[u16] = &[404, 405, 410];

/// The streams as known without credentials, in the order they are read.
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
            "A connected data source and how its sync goes.",
            &["id"],
            Some("updated_at"),
            record_schema::<DataSource>,
        ),
        full(
            "reports",
            "A generated report.",
            &["id"],
            Some("updated_at"),
            record_schema::<Report>,
        ),
        full(
            "dashboards",
            "A dashboard.",
            &["id"],
            Some("updated_at"),
            record_schema::<Dashboard>,
        ),
        full(
            "account_status",
            "The user and the organization, as of now.",
            &["fetched_at"],
            None,
            record_schema::<AccountStatus>,
        ),
        full(
            "billing_usage",
            "The use of the plan's limits, as of now.",
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

/// A list, or the details of what it lists.
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

/// A place in the list: the next page, or items still to ask for.
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
        let (place, details) = match token {
            Some(token) => (token.page.unwrap_or_default(), token.details),
            None if self.read_details => (ListPosition::default(), Details::Unknown),
            None => (ListPosition::default(), Details::Absent),
        };
        let client = self.list.client();
        let name = self.spec.name;
        let request = self.list.request(&place);
        let response = client.send(&request).await?;
        let is_past_the_end = self.list.is_past_the_end(&response);
        if !is_past_the_end && !response.status.is_success() {
            return Err(client.refusal(&request, &response));
        }
        let mut cut = match is_past_the_end {
            true => self.list.cut_short(place, name),
            false => self.list.cut(place, &response, name)?,
        };
        if is_past_the_end {
            let what = "became fewer while they were read; some may have been passed over, and come with the next read";
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

    /// Details in the place of a page of the list, where there are any.
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

    /// Asks for details one by one until one is there. What is missing may have been deleted, so nothing follows from it
    /// alone: only where items from all over the page have no details, and the list shows some of these still, are
    /// details not served. The records of the list are then what there is.
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
        for (number, batch) in order.chunks(MISSES_THAT_TELL).enumerate() {
            for (asked, index) in batch.iter().enumerate() {
                let Some(detail) = self.detail(&ids[*index]).await? else {
                    continue;
                };
                let misses = number * MISSES_THAT_TELL + asked;
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
            if !without.is_empty() && batch.len() == MISSES_THAT_TELL {
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
            let what = "have no details here; they were read as the list shows them";
            page.notes.push(self.note("no_details", what));
        }
        Ok(self.with_gap(page, without.len()))
    }

    /// The ids that a page of the list shows now.
    async fn listed(&self, request: &Request) -> Result<HashSet<String>> {
        let client = self.list.client();
        let response = client.send(request).await?;
        if self.list.is_past_the_end(&response) {
            return Ok(HashSet::new());
        }
        let records = self.list.records(&response)?.into_iter();
        records.map(|span| id_of(&response.body[span])).collect()
    }

    /// The page, with the gap of the records that lack their details.
    fn with_gap(&self, mut page: Page<Token, ()>, without: usize) -> Page<Token, ()> {
        if without > 0 {
            page.gaps.push(Gap {
                code: "no_details",
                message: format!(
                    "{} are in the list, but could not be read one by one, so their details are missing",
                    self.spec.name
                ),
                at_most: Some(without as u64),
                mend: Mend::Run,
            });
        }
        page
    }

    /// One item by itself; none where it is not there.
    async fn detail(&self, id: &str) -> Result<Option<Page<Token, ()>>> {
        let client = self.list.client();
        let request = self.list.item(id).accept(NOT_THERE);
        let Response { status, body, .. } = client.send(&request).await?;
        if !status.is_success() || body.trim_ascii().is_empty() {
            return Ok(None);
        }
        let cut = client.split(&body, Records::One(""), &[])?;
        // Any object looks like a record, an error message too: only a record has an id.
        if id_of(&body).is_err() {
            let text = format!(
                "the answer is no record of {}: it has no id",
                self.spec.name
            );
            let error = Error::new(Kind::DataInvalid, text).with("bytes", body.len());
            return Err(match client.said(&body) {
                Some(said) => error.with("it says", said),
                None => error,
            });
        }
        Ok(Some(Page::new(body, cut.records)))
    }

    fn missing(&self) -> Note {
        let what = "were deleted between their listing and the reading of their details, and were left out";
        self.note("missing", what)
    }

    fn note(&self, code: &'static str, what: &str) -> Note {
        Note {
            code,
            message: format!("{} {what}", self.spec.name),
        }
    }
}

/// The page with the places of the details that are left, and then the next page of the list.
fn finish(token: Token, page: Page<Token, ()>) -> Page<Token, ()> {
    let details = token.details;
    let detail = |id| Token {
        page: None,
        pending: VecDeque::from([id]),
        details,
    };
    Page {
        beside: token.pending.into_iter().map(detail).collect(),
        next: token.page.map(|place| Token {
            page: Some(place),
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
