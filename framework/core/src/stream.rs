//! Streams: planned into partitions, read page by page. Typed for authors, erased for hosts.

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    error::{Error, Kind, Result},
    form::NAMESPACE,
    page::Page,
    position::Position,
    scope::Scope,
};

/// The column of a record's digest in sinks, for keys that do not identify every record.
pub const DIGEST: &str = "_digest";

/// The description of a stream, known without credentials.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StreamSpec {
    /// Stable name, snake case.
    pub name: &'static str,
    /// The meaning of one record.
    pub description: &'static str,
    /// The top-level fields that identify a record.
    pub key: &'static [&'static str],
    /// The field with the time of the last change, where records have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<&'static str>,
    /// Whether a later pass reads only changed records.
    pub incremental: bool,
    /// The JSON Schema of a record.
    #[serde(skip)]
    pub schema: fn() -> Value,
}

impl StreamSpec {
    /// Returns whether the connector composed the key and the vendor does not guarantee that it is unique. The record
    /// schema states this: `"x-headwater": {"key": "composed"}`. A digest of the record is then part of the key, so
    /// that two records with equal key fields stay two; sinks compute it.
    pub fn has_digest(&self) -> bool {
        let schema = (self.schema)();
        schema[NAMESPACE]["key"] == "composed"
    }
}

/// A set of records, read in passes. Each pass starts at the end of the last one.
///
/// The host owns the loop, the waiting and the checkpoint; a stream returns the page at a position. `fetch` is a
/// function of its arguments: dropping it, or calling it twice, is always safe.
///
/// The JSON of a partition, token or bookmark holds all of it. Within a run the host passes the values on as they are; the
/// next run gets what the JSON holds.
#[async_trait]
pub trait Stream: Send + Sync + 'static {
    /// An independent part of a pass: a time window, a batch of parents.
    type Partition: Serialize + DeserializeOwned + Clone + Send + Sync;
    /// A position inside a partition.
    type Token: Serialize + DeserializeOwned + Clone + Send + Sync;
    /// The start of the next pass.
    type Bookmark: Serialize + DeserializeOwned + Clone + Send + Sync;
    /// The version of the three types above. Raise it when old states become invalid.
    const VERSION: u32 = 1;

    /// Returns the description of the stream.
    fn spec(&self) -> &StreamSpec;

    /// Returns the secondary streams: their records arrive in the same responses as those of this stream, such as
    /// several tables of one export. They are read, stored and planned with this stream, never on their own.
    fn companions(&self) -> &[StreamSpec] {
        &[]
    }

    /// Returns whether a complete pass reads every existing record, so that a row missing from the pass belongs to a
    /// deleted record. Pure.
    fn sees_all(&self) -> bool {
        !self.spec().incremental
    }

    /// Splits a pass, from the bookmark to `now`, into partitions. Pure. In this order, the bookmark of a later
    /// partition replaces that of an earlier one.
    ///
    /// # Errors
    ///
    /// Fails if no pass can start from the bookmark.
    fn plan(
        &self,
        bookmark: Option<Self::Bookmark>,
        now: Timestamp,
    ) -> Result<Vec<Self::Partition>>;

    /// Fetches one page of a partition: the first page without a token, otherwise the page of the token.
    async fn fetch(
        &self,
        partition: Self::Partition,
        token: Option<Self::Token>,
    ) -> Result<Page<Self::Token, Self::Bookmark>>;

    /// Returns the range of a partition. Pure.
    fn range(&self, _partition: &Self::Partition) -> PartitionRange {
        PartitionRange::default()
    }

    /// Returns the watermark of a bookmark. Pure.
    fn watermark(&self, _bookmark: &Self::Bookmark) -> Watermark {
        Watermark::default()
    }

    /// Returns the bookmark that makes the next pass read everything since this time again. Pure.
    ///
    /// # Errors
    ///
    /// Fails if the stream is not read by time.
    fn rewind(&self, _to: Timestamp) -> Result<Self::Bookmark> {
        let text = format!(
            "the stream {} is not read by time; reset it to read it from the start",
            self.spec().name
        );
        Err(Error::new(Kind::Unsupported, text))
    }

    /// Returns the options that decide which records a pass planned at `now` without a bookmark reads. Pure. Where
    /// `since` moves back, `plan` without a bookmark and with the old start as `now` returns the missing partitions.
    fn scope(&self, _now: Timestamp) -> Scope {
        Scope::default()
    }

    /// Returns whether the service has records before the first moment of the [scope](Stream::scope); `None` where no
    /// cheap request answers this.
    async fn has_earlier(&self) -> Result<Option<bool>> {
        Ok(None)
    }

    /// Asks the service for the size of a partition and splits it into parts, each a partition of its own. Costs a few
    /// requests and changes nothing.
    async fn survey(&self, partition: Self::Partition) -> Result<Vec<Part<Self::Partition>>> {
        Ok(vec![Part::unknown(partition)])
    }

    /// Returns the number of export jobs that reading a partition from this position still orders. Pure.
    fn jobs(&self, _partition: &Self::Partition, _token: Option<&Self::Token>) -> u64 {
        0
    }

    /// Stops the work of a position at the service, such as a running export job: the partition restarts. Returns true
    /// if there was such work.
    async fn release(&self, _partition: Self::Partition, _token: Self::Token) -> Result<bool> {
        Ok(false)
    }
}

/// The range of a partition, for plans and receipts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PartitionRange {
    /// A few words where the times are not enough: "forecast 4711, Q3 2026". Empty for a whole list.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The first moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The moment after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

/// How far a bookmark reaches.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Watermark {
    /// Every change before this moment was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The start of the next pass, if it is earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again_from: Option<Timestamp>,
    /// Why records are read again, or another fact of the bookmark; one sentence, lower case, no full stop.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A part of a partition and its size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part<Partition> {
    /// The partition, readable on its own.
    pub partition: Partition,
    /// The number of records, where the service states it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// The number of requests without retries; `None` where it is known only after the read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
}

impl<Partition> Part<Partition> {
    /// Makes a part of unknown size.
    pub const fn unknown(partition: Partition) -> Self {
        Self {
            partition,
            records: None,
            requests: None,
        }
    }
}

/// The object-safe form of [`Stream`], implemented for every stream.
#[async_trait]
pub trait AnyStream: Send + Sync {
    /// Returns the description of the stream.
    fn spec(&self) -> &StreamSpec;

    /// See [`Stream::companions`].
    fn companions(&self) -> &[StreamSpec];

    /// See [`Stream::sees_all`].
    fn sees_all(&self) -> bool;

    /// Checks that the positions of an earlier run can be decoded: the bookmark, and partitions with their tokens.
    /// Pure.
    ///
    /// # Errors
    ///
    /// Fails if the stream cannot decode one of them.
    fn verify(
        &self,
        bookmark: Option<&Position>,
        positions: &[(&Position, Option<&Position>)],
    ) -> Result<()>;

    /// See [`Stream::plan`].
    ///
    /// # Errors
    ///
    /// Fails if the bookmark cannot be decoded, or as [`Stream::plan`].
    fn plan(&self, bookmark: Option<Position>, now: Timestamp) -> Result<Vec<Position>>;

    /// See [`Stream::fetch`].
    async fn fetch(
        &self,
        partition: Position,
        token: Option<Position>,
    ) -> Result<Page<Position, Position>>;

    /// See [`Stream::range`].
    ///
    /// # Errors
    ///
    /// Fails if the partition cannot be decoded.
    fn range(&self, partition: &Position) -> Result<PartitionRange>;

    /// See [`Stream::watermark`].
    ///
    /// # Errors
    ///
    /// Fails if the bookmark cannot be decoded.
    fn watermark(&self, bookmark: &Position) -> Result<Watermark>;

    /// See [`Stream::rewind`].
    ///
    /// # Errors
    ///
    /// Fails as [`Stream::rewind`].
    fn rewind(&self, to: Timestamp) -> Result<Position>;

    /// See [`Stream::scope`].
    fn scope(&self, now: Timestamp) -> Scope;

    /// See [`Stream::has_earlier`].
    async fn has_earlier(&self) -> Result<Option<bool>>;

    /// See [`Stream::survey`].
    async fn survey(&self, partition: Position) -> Result<Vec<Part<Position>>>;

    /// See [`Stream::jobs`].
    ///
    /// # Errors
    ///
    /// Fails if the partition or the token cannot be decoded.
    fn jobs(&self, partition: &Position, token: Option<&Position>) -> Result<u64>;

    /// See [`Stream::release`].
    async fn release(&self, partition: Position, token: Position) -> Result<bool>;

    /// Returns its own name, then those of its secondary streams.
    fn names(&self) -> Vec<&'static str> {
        let companions = self.companions().iter().map(|spec| spec.name);
        std::iter::once(self.spec().name)
            .chain(companions)
            .collect()
    }
}

#[async_trait]
impl<S: Stream> AnyStream for S {
    fn spec(&self) -> &StreamSpec {
        Stream::spec(self)
    }

    fn companions(&self) -> &[StreamSpec] {
        Stream::companions(self)
    }

    fn sees_all(&self) -> bool {
        Stream::sees_all(self)
    }

    fn verify(
        &self,
        bookmark: Option<&Position>,
        positions: &[(&Position, Option<&Position>)],
    ) -> Result<()> {
        let name = Stream::spec(self).name;
        if let Some(bookmark) = bookmark {
            bookmark.get::<S::Bookmark>(S::VERSION, name)?;
        }
        for (partition, token) in positions {
            partition.get::<S::Partition>(S::VERSION, name)?;
            if let Some(token) = token {
                token.get::<S::Token>(S::VERSION, name)?;
            }
        }
        Ok(())
    }

    fn plan(&self, bookmark: Option<Position>, now: Timestamp) -> Result<Vec<Position>> {
        let name = Stream::spec(self).name;
        let bookmark = bookmark
            .map(|bookmark| bookmark.get(S::VERSION, name))
            .transpose()?;
        let partitions = Stream::plan(self, bookmark, now)?;
        Ok(positions::<S, _>(partitions))
    }

    async fn fetch(
        &self,
        partition: Position,
        token: Option<Position>,
    ) -> Result<Page<Position, Position>> {
        let name = Stream::spec(self).name;
        let partition = partition.get(S::VERSION, name)?;
        let token = token.map(|token| token.get(S::VERSION, name)).transpose()?;
        let page = Stream::fetch(self, partition, token).await?;
        Ok(Page {
            body: page.body,
            records: page.records,
            companions: page.companions,
            next: page.next.map(|next| Position::new(S::VERSION, next)),
            beside: positions::<S, _>(page.beside),
            total: page.total,
            bookmark: page
                .bookmark
                .map(|bookmark| Position::new(S::VERSION, bookmark)),
            notes: page.notes,
            gaps: page.gaps,
            wait: page.wait,
        })
    }

    fn range(&self, partition: &Position) -> Result<PartitionRange> {
        let partition = partition.get(S::VERSION, Stream::spec(self).name)?;
        Ok(Stream::range(self, &partition))
    }

    fn watermark(&self, bookmark: &Position) -> Result<Watermark> {
        let bookmark = bookmark.get(S::VERSION, Stream::spec(self).name)?;
        Ok(Stream::watermark(self, &bookmark))
    }

    fn rewind(&self, to: Timestamp) -> Result<Position> {
        Ok(Position::new(S::VERSION, Stream::rewind(self, to)?))
    }

    fn scope(&self, now: Timestamp) -> Scope {
        Stream::scope(self, now)
    }

    async fn has_earlier(&self) -> Result<Option<bool>> {
        Stream::has_earlier(self).await
    }

    async fn survey(&self, partition: Position) -> Result<Vec<Part<Position>>> {
        let partition = partition.get(S::VERSION, Stream::spec(self).name)?;
        let parts = Stream::survey(self, partition).await?;
        let parts = parts.into_iter().map(|part| Part {
            partition: Position::new(S::VERSION, part.partition),
            records: part.records,
            requests: part.requests,
        });
        Ok(parts.collect())
    }

    fn jobs(&self, partition: &Position, token: Option<&Position>) -> Result<u64> {
        let name = Stream::spec(self).name;
        let partition = partition.get(S::VERSION, name)?;
        let token = token.map(|token| token.get(S::VERSION, name)).transpose()?;
        Ok(Stream::jobs(self, &partition, token.as_ref()))
    }

    async fn release(&self, partition: Position, token: Position) -> Result<bool> {
        let name = Stream::spec(self).name;
        let partition = partition.get(S::VERSION, name)?;
        let token = token.get(S::VERSION, name)?;
        Stream::release(self, partition, token).await
    }
}

fn positions<S: Stream, T>(values: Vec<T>) -> Vec<Position>
where
    T: Serialize + Send + Sync + 'static,
{
    let values = values.into_iter();
    values
        .map(|value| Position::new(S::VERSION, value))
        .collect()
}
