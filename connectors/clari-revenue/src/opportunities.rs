//! Opportunities by id, at most 100 per request.

use async_trait::async_trait;
use headwater::{
    Note, Page, Scope, ScopeValue,
    http::{Client, Records, Request},
    prelude::*,
};

/// The documented maximum.
pub(crate) const BATCH: usize = 100;
/// A bare list in the vendor's document, a wrapped list in the observations of others.
const OPPORTUNITIES: Records = Records::Lists(&["", "/opportunities"]);

pub(crate) fn request(ids: &[String]) -> Request {
    ids.iter()
        .fold(Request::get("/opportunity"), |request, id| {
            request.query("oppId", id)
        })
}

pub(crate) fn records() -> Records {
    OPPORTUNITIES
}

/// Requests a batch of ids.
pub(crate) async fn fetch(client: &Client, ids: &[String]) -> Result<Page<(), ()>> {
    let response = client.send(&request(ids)).await?;
    let split = client.cut(&response, OPPORTUNITIES, &[], &[])?;
    let notes = split.notes("opportunities");
    let mut page = Page::new(response.body, split.records);
    page.notes = notes;
    if page.records.len() < ids.len() {
        page.notes.push(Note {
            code: "missing",
            message:
                "some requested opportunities are unknown to Clari or not visible to the key's user"
                    .to_owned(),
        });
    }
    Ok(page)
}

/// The opportunities of the ids in the form.
pub(crate) struct Opportunities {
    client: Client,
    spec: StreamSpec,
    ids: Vec<String>,
}

impl Opportunities {
    pub(crate) fn new(client: &Client, spec: StreamSpec, ids: &[String]) -> Self {
        let mut unique: Vec<String> = Vec::new();
        for id in ids {
            if !unique.contains(id) {
                unique.push(id.clone());
            }
        }
        Self {
            client: client.clone(),
            spec,
            ids: unique,
        }
    }
}

#[async_trait]
impl Stream for Opportunities {
    /// Ids of one request; empty for the note that no ids are set.
    type Partition = Vec<String>;
    type Token = ();
    type Bookmark = ();

    fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    /// A pass reads only the opportunities of the form.
    fn sees_all(&self) -> bool {
        false
    }

    fn plan(&self, _: Option<()>, _: Timestamp) -> Result<Vec<Vec<String>>> {
        if self.ids.is_empty() {
            return Ok(vec![Vec::new()]);
        }
        Ok(self.ids.chunks(BATCH).map(<[String]>::to_vec).collect())
    }

    fn scope(&self, _: Timestamp) -> Scope {
        Scope::default().option(
            "opportunity_ids",
            ScopeValue::these(self.ids.iter().cloned()),
        )
    }

    async fn fetch(&self, ids: Vec<String>, _: Option<()>) -> Result<Page<(), ()>> {
        if ids.is_empty() {
            return Ok(Page {
                notes: vec![no_opportunities()],
                ..Page::empty()
            });
        }
        fetch(&self.client, &ids).await
    }

    fn range(&self, ids: &Vec<String>) -> PartitionRange {
        let title = match ids.as_slice() {
            [] => "no opportunities".to_owned(),
            [id] => format!("opportunity {id}"),
            [first, .., last] => format!("{} opportunities, {first} to {last}", ids.len()),
        };
        PartitionRange {
            title,
            ..PartitionRange::default()
        }
    }

    async fn survey(&self, ids: Vec<String>) -> Result<Vec<Part<Vec<String>>>> {
        let requests = u64::from(!ids.is_empty());
        Ok(vec![Part {
            partition: ids,
            records: None,
            requests: Some(requests),
        }])
    }
}

/// Returns the note of a read without opportunity ids.
fn no_opportunities() -> Note {
    Note {
        code: "no_opportunity_ids",
        message: "no opportunity was read, since Clari cannot list them: enter ids, or turn on the opportunities of activities"
            .to_owned(),
    }
}
