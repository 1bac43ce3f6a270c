//! Streams of children: one request for each id in the records of a parent list.
//!
//! Each child of a page of parents has its own position and is read concurrently; the next page of parents follows, so
//! there are never many more positions than parents in a page. If a pass requests each child once, the token carries
//! the requested ids along the pages of parents, which are then read in order.

use std::{collections::VecDeque, fmt};

use async_trait::async_trait;
use headwater_core::{
    Error, Gap, Kind, Mend, Note, Page, Part, PartitionRange, Result, Scope, Stream, StreamSpec,
    Timestamp, Watermark,
};
use serde::{Deserialize, Serialize};

use crate::{
    client::Request,
    envelope::{Records, places},
    fingerprints::FingerprintSet,
    windows::{Window, WindowBookmark, WindowToken, WindowedList},
};

/// Chains of pages of parents in a window: enough that children are available while a page of parents is on its way,
/// and few enough for a small state.
const CHAINS: u64 = 2;

/// Reads the parents of a [`WindowedList`] and requests each of their children.
pub struct ChildStream {
    parents: WindowedList,
    spec: StreamSpec,
    ids: fn(&[u8]) -> Result<Vec<String>>,
    request: fn(&str) -> Request,
    records: Records,
    once: bool,
    is_one_at_most: bool,
}

impl fmt::Debug for ChildStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChildStream({} of {:?})", self.spec.name, self.parents)
    }
}

/// A position among the children: the next page of parents, or the ids still to request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChildToken {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parents: Option<WindowToken>,
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pending: VecDeque<String>,
    #[serde(
        rename = "asked",
        default,
        skip_serializing_if = "FingerprintSet::is_empty"
    )]
    requested: FingerprintSet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bookmark: Option<WindowBookmark>,
}

impl ChildStream {
    /// Makes the stream of the children that `ids` finds in each parent record and `request` requests.
    pub fn new(
        parents: WindowedList,
        spec: StreamSpec,
        ids: fn(&[u8]) -> Result<Vec<String>>,
        request: fn(&str) -> Request,
        records: Records,
    ) -> Self {
        Self {
            parents: parents.chains(CHAINS),
            spec,
            ids,
            request,
            records,
            once: false,
            is_one_at_most: false,
        }
    }

    /// Requests each id once in a pass, for any number of parents with it.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.once = true;
        self.parents = self.parents.in_one_partition();
        self
    }

    /// Names the parents' member with the time of their last change. The next pass requests the child of a known parent
    /// again unless that time precedes the last pass. Without it, a parent with the same bytes counts as unchanged.
    #[must_use]
    pub fn changed_at(mut self, member: &'static str) -> Self {
        self.parents = self.parents.changed_at(member);
        self
    }

    /// States that a parent has at most one child, so that a survey knows an upper bound of the requests.
    #[must_use]
    pub fn one_at_most(mut self) -> Self {
        self.is_one_at_most = true;
        self
    }

    async fn parents(
        &self,
        window: Window,
        token: Option<ChildToken>,
    ) -> Result<Page<ChildToken, WindowBookmark>> {
        let (position, mut requested) =
            token.map_or_else(Default::default, |token| (token.parents, token.requested));
        let parents = self.parents.fetch(window, position).await?;
        let mut pending = Vec::new();
        for record in parents.iter() {
            for id in (self.ids)(record)? {
                if !self.once || requested.insert(FingerprintSet::fingerprint(id.as_bytes())) {
                    pending.push(id);
                }
            }
        }
        let other_parents = parents.beside.into_iter().map(ChildToken::parents);
        let children = pending.into_iter().map(ChildToken::child);
        Ok(Page {
            beside: other_parents.chain(children).collect(),
            next: parents.next.map(|position| ChildToken {
                requested,
                ..ChildToken::parents(position)
            }),
            bookmark: parents.bookmark,
            // One child per parent, unless parents share a child.
            total: parents.total.filter(|_| !self.once),
            notes: parents.notes,
            gaps: parents.gaps,
            wait: parents.wait,
            ..Page::empty()
        })
    }

    async fn child(
        &self,
        mut token: ChildToken,
        id: &str,
    ) -> Result<Page<ChildToken, WindowBookmark>> {
        token.pending.pop_front();
        // Some services answer 400 for a deleted id; an id from the service itself is not malformed.
        let request = (self.request)(id).accept(&[400, 404, 410]);
        let response = self.parents.client().send(&request).await?;
        if !response.status.is_success() || response.has_no_content() {
            let mut page = Page::empty();
            page.notes.push(Note {
                code: "missing",
                message: format!(
                    "{} of some parent records no longer exist and were left out",
                    self.spec.name
                ),
            });
            // One response does not distinguish a deleted record from one that the service does not show yet.
            page.gaps.push(Gap {
                code: "missing",
                message: format!(
                    "the service lists {} but returns no records for them",
                    self.spec.name
                ),
                at_most: Some(1),
                mend: Mend::Reset,
            });
            return Ok(finish(token, page));
        }
        let cut = self
            .parents
            .client()
            .split(&response.body, self.records, &[])?;
        if let Records::One("") = self.records {
            self.require_key(&response.body)?;
        }
        Ok(finish(token, Page::new(response.body, cut.records)))
    }

    /// Checks the key of a body that is the record itself: any object looks like a record, even an error message.
    fn require_key(&self, body: &[u8]) -> Result<()> {
        let is_missing = |key: &&&str| places(body, &[**key]).is_ok_and(|found| found.is_empty());
        let missing = self.spec.key.iter().find(is_missing);
        let Some(key) = missing else {
            return Ok(());
        };
        let text = format!(
            "the response is not a record of {}: it has no {key}",
            self.spec.name
        );
        let error = Error::new(Kind::DataInvalid, text).with("bytes", body.len());
        Err(match self.parents.client().said(body) {
            Some(message) => error.with("it says", message),
            None => error,
        })
    }
}

impl ChildToken {
    fn parents(position: WindowToken) -> Self {
        Self {
            parents: Some(position),
            pending: VecDeque::new(),
            requested: FingerprintSet::default(),
            bookmark: None,
        }
    }

    fn child(id: String) -> Self {
        Self {
            parents: None,
            pending: VecDeque::from([id]),
            requested: FingerprintSet::default(),
            bookmark: None,
        }
    }
}

/// Adds the next position to the page, or the bookmark at the end.
fn finish(
    token: ChildToken,
    page: Page<ChildToken, WindowBookmark>,
) -> Page<ChildToken, WindowBookmark> {
    if token.pending.is_empty() && token.parents.is_none() {
        return Page {
            bookmark: token.bookmark,
            ..page
        };
    }
    Page {
        next: Some(token),
        ..page
    }
}

#[async_trait]
impl Stream for ChildStream {
    type Partition = Window;
    type Token = ChildToken;
    type Bookmark = WindowBookmark;

    fn spec(&self) -> &StreamSpec {
        &self.spec
    }

    fn plan(&self, bookmark: Option<WindowBookmark>, now: Timestamp) -> Result<Vec<Window>> {
        self.parents.plan(bookmark, now)
    }

    async fn fetch(
        &self,
        window: Window,
        token: Option<ChildToken>,
    ) -> Result<Page<ChildToken, WindowBookmark>> {
        match token {
            Some(token) if !token.pending.is_empty() => {
                let id = token.pending[0].clone();
                self.child(token, &id).await
            }
            token => self.parents(window, token).await,
        }
    }

    fn range(&self, window: &Window) -> PartitionRange {
        self.parents.range(window)
    }

    fn watermark(&self, bookmark: &WindowBookmark) -> Watermark {
        self.parents.watermark(bookmark)
    }

    fn rewind(&self, to: Timestamp) -> Result<WindowBookmark> {
        self.parents.rewind(to)
    }

    fn scope(&self, now: Timestamp) -> Scope {
        Stream::scope(&self.parents, now)
    }

    async fn has_earlier(&self) -> Result<Option<bool>> {
        self.parents.has_earlier().await
    }

    /// Counts the parents. The requests for children are known only if a parent has at most one child, as an upper
    /// bound.
    async fn survey(&self, window: Window) -> Result<Vec<Part<Window>>> {
        let parts = self.parents.survey(window).await?.into_iter();
        let of_children = |part: Part<Window>| {
            let max = part.records.filter(|_| self.is_one_at_most);
            Part {
                partition: part.partition,
                records: max.filter(|_| !self.once),
                requests: max.and_then(|children| Some(part.requests? + children)),
            }
        };
        Ok(parts.map(of_children).collect())
    }
}
