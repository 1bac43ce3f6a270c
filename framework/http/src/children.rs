//! Streams of children: one request for each id that the records of a parent list name.
//!
//! The children that a page of parents names are places of their own, one id each, and read side by side; the next page
//! of parents comes after them, so that there are never many more places than a page has parents. Where each child is
//! asked for once in a pass, what was asked for travels along the pages of parents, which are then read in order.

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

/// Chains of pages of parents in a window: enough that children are at hand while a page of parents is on its way, and
/// few enough that the state does not fill with them.
const CHAINS: u64 = 2;

/// Reads the parents of a [`WindowedList`] and asks for each child that they name.
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

/// A place among the children: the next page of parents, or the ids still to ask for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChildToken {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parents: Option<WindowToken>,
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pending: VecDeque<String>,
    #[serde(default, skip_serializing_if = "FingerprintSet::is_empty")]
    asked: FingerprintSet,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bookmark: Option<WindowBookmark>,
}

impl ChildStream {
    /// The children that `ids` finds in each parent record, asked for with `request`.
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

    /// Asks for each id once in a pass, however many parents name it.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.once = true;
        self.parents = self.parents.in_one_partition();
        self
    }

    /// The parents' member that says when they changed. A parent that was read before has its child asked for again
    /// unless this lies before the last pass; without it, a parent that looks the same counts as unchanged.
    #[must_use]
    pub fn changed_at(mut self, member: &'static str) -> Self {
        self.parents = self.parents.changed_at(member);
        self
    }

    /// Says that no parent names more than one child, so that a survey can tell what reading takes at most.
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
        let (place, mut asked) =
            token.map_or_else(Default::default, |token| (token.parents, token.asked));
        let parents = self.parents.fetch(window, place).await?;
        let mut pending = Vec::new();
        for record in parents.iter() {
            for id in (self.ids)(record)? {
                if !self.once || asked.insert(FingerprintSet::fingerprint(id.as_bytes())) {
                    pending.push(id);
                }
            }
        }
        let elsewhere = parents.beside.into_iter().map(ChildToken::parents);
        let children = pending.into_iter().map(ChildToken::child);
        Ok(Page {
            beside: elsewhere.chain(children).collect(),
            next: parents.next.map(|place| ChildToken {
                asked,
                ..ChildToken::parents(place)
            }),
            bookmark: parents.bookmark,
            // One for each parent, unless several name the same one.
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
        // 400 has been seen for an id that is gone; an id that the service named itself is not malformed.
        let request = (self.request)(id).accept(&[400, 404, 410]);
        let response = self.parents.client().send(&request).await?;
        if !response.status.is_success() || response.has_no_content() {
            let mut page = Page::empty();
            page.notes.push(Note {
                code: "missing",
                message: format!(
                    "{} named by a parent record no longer exist and were left out",
                    self.spec.name
                ),
            });
            // One answer does not tell a record that is gone from one that the service does not show yet.
            page.gaps.push(Gap {
                code: "missing",
                message: format!(
                    "the service names {} in its list and answers that they are not there",
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

    /// Where the body itself is the record, any object looks like one, an error message too: only a record has the key.
    fn require_key(&self, body: &[u8]) -> Result<()> {
        let is_missing = |key: &&&str| places(body, &[**key]).is_ok_and(|found| found.is_empty());
        let missing = self.spec.key.iter().find(is_missing);
        let Some(key) = missing else {
            return Ok(());
        };
        let text = format!(
            "the answer is no record of {}: it has no {key}",
            self.spec.name
        );
        let error = Error::new(Kind::DataInvalid, text).with("bytes", body.len());
        Err(match self.parents.client().said(body) {
            Some(said) => error.with("it says", said),
            None => error,
        })
    }
}

impl ChildToken {
    fn parents(place: WindowToken) -> Self {
        Self {
            parents: Some(place),
            pending: VecDeque::new(),
            asked: FingerprintSet::default(),
            bookmark: None,
        }
    }

    fn child(id: String) -> Self {
        Self {
            parents: None,
            pending: VecDeque::from([id]),
            asked: FingerprintSet::default(),
            bookmark: None,
        }
    }
}

/// The page with its next place, or with the bookmark where nothing is left.
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

    /// Counts the parents. What their children take is known only where each parent names one at most, and is then an
    /// upper bound.
    async fn survey(&self, window: Window) -> Result<Vec<Part<Window>>> {
        let parts = self.parents.survey(window).await?.into_iter();
        let of_children = |part: Part<Window>| {
            let most = part.records.filter(|_| self.is_one_at_most);
            Part {
                partition: part.partition,
                records: most.filter(|_| !self.once),
                requests: most.and_then(|children| Some(part.requests? + children)),
            }
        };
        Ok(parts.map(of_children).collect())
    }
}
