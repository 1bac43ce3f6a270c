//! The five streams, and how details are read in the place of list records.
//!
//! Lists are read page after page, since they shift while they are read. The details of a page are read side by side.

use std::{collections::VecDeque, fmt, sync::Arc};

use async_trait::async_trait;
use headwater::{
    Chosen, Note, Scope,
    http::{Client, Records, Response, Snapshot},
    prelude::*,
};
use serde::{Deserialize, Serialize};

use crate::{
    details::{Details, MISSES_THAT_TELL, id_of},
    list::{List, Place},
    records::{AccountStatus, BillingUsage, Dashboard, DataSource, Report},
};

// The slash at the end is part of each path: without it, the answer is a redirect.
pub(crate) const DATA_SOURCES: &str = "/api/data-sources/";
pub(crate) const REPORTS: &str = "/api/reports/";
pub(crate) const DASHBOARDS: &str = "/api/dashboards/";
pub(crate) const STATUS: &str = "/api/auth/status/";
pub(crate) const USAGE: &str = "/api/billing/usage/";

/// The streams as known without credentials, in the order they are read.
pub(crate) fn specs() -> Vec<StreamSpec> {
    let full = |name, description, key, schema| StreamSpec {
        name,
        description,
        key,
        cursor: None,
        incremental: false,
        schema,
    };
    vec![
        full(
            "data_sources",
            "A connected data source and how its sync goes.",
            &["id"],
            record_schema::<DataSource>,
        ),
        full(
            "reports",
            "A generated report.",
            &["id"],
            record_schema::<Report>,
        ),
        full(
            "dashboards",
            "A dashboard.",
            &["id"],
            record_schema::<Dashboard>,
        ),
        full(
            "account_status",
            "The user and the organization, as of now.",
            &["fetched_at"],
            record_schema::<AccountStatus>,
        ),
        full(
            "billing_usage",
            "The use of the plan's limits, as of now.",
            &["fetched_at"],
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
    page: Option<Place>,
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pending: VecDeque<String>,
    details: Details,
}

impl ListStream {
    async fn page(&self, token: Option<Token>) -> Result<Page<Token, ()>> {
        let (place, details) = match token {
            Some(token) => (token.page, token.details),
            None if self.read_details => (None, Details::Unknown),
            None => (None, Details::Absent),
        };
        let client = self.list.client();
        let request = self.list.request(place.as_ref());
        let response = client.send(&request).await?;
        if self.list.is_past_the_end(&response) {
            let mut page = Page::empty();
            page.notes.push(self.note(
                "list_shrank",
                "became fewer while they were read; some may have been passed over, and come with the next read",
            ));
            return Ok(page);
        }
        if !response.status.is_success() {
            return Err(client.refusal(&request, &response));
        }
        let cut = self.list.cut(place, &response.body)?;
        let mut notes = Vec::new();
        if cut.is_miscounted {
            let what = "were listed in another number than the list says; it was read to its end";
            notes.push(self.note("count_differs", what));
        }
        let token = Token {
            page: cut.next,
            pending: VecDeque::new(),
            details,
        };
        let list_page = Page::new(response.body, cut.records);
        let mut page = if details == Details::Absent {
            finish(token, list_page)
        } else {
            self.with_details(token, list_page).await?
        };
        notes.append(&mut page.notes);
        Ok(Page { notes, ..page })
    }

    /// Details in the place of a page of the list. Until one was found, they are looked for at once, since the records of
    /// the list are what there is without them.
    async fn with_details(
        &self,
        mut token: Token,
        list_page: Page<Token, ()>,
    ) -> Result<Page<Token, ()>> {
        token.pending = list_page.iter().map(id_of).collect::<Result<_>>()?;
        if token.details == Details::There {
            return Ok(finish(token, Page::empty()));
        }
        let ids = token.pending.clone();
        for (missed, id) in ids.iter().take(MISSES_THAT_TELL).enumerate() {
            token.pending.pop_front();
            if let Some(mut page) = self.detail(id).await? {
                token.details = Details::There;
                page.notes.extend((0..missed).map(|_| self.missing()));
                return Ok(finish(token, page));
            }
        }
        token.pending.clear();
        if ids.len() >= MISSES_THAT_TELL {
            token.details = Details::Absent;
        }
        let mut page = finish(token, list_page);
        if !ids.is_empty() {
            let what = "have no details here; they were read as the list shows them";
            page.notes.push(self.note("no_details", what));
        }
        Ok(page)
    }

    /// One item by itself; none where it is not there.
    async fn detail(&self, id: &str) -> Result<Option<Page<Token, ()>>> {
        let client = self.list.client();
        let request = self.list.item(id).accept(&[404]);
        let Response { status, body, .. } = client.send(&request).await?;
        if !status.is_success() {
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
        Scope::default().option("read_details", Chosen::As(details.to_owned()))
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
