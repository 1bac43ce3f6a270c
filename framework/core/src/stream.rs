//! Streams: planned into partitions, read page by page. Typed for authors, erased for hosts.

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    error::{Error, Kind, Result},
    form::NAMESPACE,
    page::Page,
    scope::Scope,
};

/// What sinks call the digest of a record, where its key does not tell all records apart.
pub const DIGEST: &str = "_digest";

/// What a stream is, known without credentials.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StreamSpec {
    /// Stable name, snake case.
    pub name: &'static str,
    /// What one record is.
    pub description: &'static str,
    /// The top-level fields that identify a record.
    pub key: &'static [&'static str],
    /// The field that tells when a record changed, where records have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<&'static str>,
    /// Whether a later pass reads only what changed.
    pub incremental: bool,
    /// The JSON Schema of a record.
    #[serde(skip)]
    pub schema: fn() -> Value,
}

impl StreamSpec {
    /// Whether the connector has composed the key, and the vendor does not promise that it tells all records apart. The schema of
    /// the records says so, `"x-headwater": {"key": "composed"}`. A digest of the record is part of the key then, so that
    /// two records which share all of its fields stay two; sinks compute it.
    pub fn has_digest(&self) -> bool {
        let schema = (self.schema)();
        schema[NAMESPACE]["key"] == "composed"
    }
}

/// A set of records that can be read again and again, each time from where the last pass ended.
///
/// The host owns the loop, the waiting and the checkpoint; a stream answers what is at a position. `fetch` is a
/// function of its arguments: dropping it, or calling it twice, is always safe.
#[async_trait]
pub trait Stream: Send + Sync + 'static {
    /// An independent part of a pass: a time window, a batch of parents.
    type Partition: Serialize + DeserializeOwned + Send + Sync;
    /// A place inside a partition.
    type Token: Serialize + DeserializeOwned + Send + Sync;
    /// Where the next pass starts.
    type Bookmark: Serialize + DeserializeOwned + Send + Sync;
    /// The version of the three types above. Raise it when an old state must not be read any more.
    const VERSION: u32 = 1;

    /// What the stream is.
    fn spec(&self) -> &StreamSpec;

    /// Streams whose records come along with this one's, in the same answers: what one export feeds. They are read,
    /// remembered and planned with this stream, never on their own.
    fn companions(&self) -> &[StreamSpec] {
        &[]
    }

    /// Whether a complete pass reads every record that the service still has, so that a row which it did not see is of a
    /// record that was deleted. Pure.
    fn sees_all(&self) -> bool {
        !self.spec().incremental
    }

    /// Splits a pass, from the bookmark to `now`, into partitions. Pure. Read in this order, a bookmark from a later
    /// partition replaces one from an earlier.
    fn plan(
        &self,
        bookmark: Option<Self::Bookmark>,
        now: Timestamp,
    ) -> Result<Vec<Self::Partition>>;

    /// Fetches one page of a partition: its first without a token, else the one that the token names.
    async fn fetch(
        &self,
        partition: Self::Partition,
        token: Option<Self::Token>,
    ) -> Result<Page<Self::Token, Self::Bookmark>>;

    /// What a partition covers. Pure.
    fn range(&self, _partition: &Self::Partition) -> PartitionRange {
        PartitionRange::default()
    }

    /// How far a bookmark reaches. Pure.
    fn watermark(&self, _bookmark: &Self::Bookmark) -> Watermark {
        Watermark::default()
    }

    /// The bookmark that makes the next pass read everything since this time again. Pure.
    fn rewind(&self, _to: Timestamp) -> Result<Self::Bookmark> {
        let text = format!(
            "the stream {} is not read by time; reset it to read it from the start",
            self.spec().name
        );
        Err(Error::new(Kind::Unsupported, text))
    }

    /// The options that decide which records are read, as a pass planned at `now` without a bookmark would have them.
    /// Pure. Where `since` moves back, `plan` without a bookmark and with the old start as `now` gives what is missing.
    fn scope(&self, _now: Timestamp) -> Scope {
        Scope::default()
    }

    /// Whether the service has records from before the first moment of the [scope](Stream::scope); none where that
    /// cannot be told by a cheap request.
    async fn has_earlier(&self) -> Result<Option<bool>> {
        Ok(None)
    }

    /// Asks the service how much a partition holds, and says in which parts it could be read, each a partition of its
    /// own. Costs a few requests and changes nothing.
    async fn survey(&self, partition: Self::Partition) -> Result<Vec<Part<Self::Partition>>> {
        Ok(vec![Part::unknown(partition)])
    }

    /// Export jobs that reading a partition from this place will still order. Pure.
    fn jobs(&self, _partition: &Self::Partition, _token: Option<&Self::Token>) -> u64 {
        0
    }

    /// Lets go of what a place holds at the service, such as a running export job: the partition will begin anew.
    /// True when there was something.
    async fn release(&self, _partition: Self::Partition, _token: Self::Token) -> Result<bool> {
        Ok(false)
    }
}

/// What a partition covers, for plans and receipts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PartitionRange {
    /// In a few words, where the times do not say it: "forecast 4711, Q3 2026". Empty for a whole list.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The first moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// The moment after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
}

/// How far a bookmark reaches, in words and times.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Watermark {
    /// Everything that changed before this moment was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Where the next pass begins, when that is earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again_from: Option<Timestamp>,
    /// Why something is read again, or what the bookmark says otherwise; one sentence, lower case, no full stop.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// A part of a partition, and what reading it takes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part<Partition> {
    /// The part, readable on its own.
    pub partition: Partition,
    /// Its records, where the service tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// The requests that it takes, retries not counted; none where that shows only while reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<u64>,
}

impl<Partition> Part<Partition> {
    /// A part of which nothing is known beforehand.
    pub const fn unknown(partition: Partition) -> Self {
        Self {
            partition,
            records: None,
            requests: None,
        }
    }
}

/// A partition, page token or bookmark as a host sees it: opaque, versioned, JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    version: u32,
    value: Value,
}

impl Position {
    fn encode<T: Serialize>(version: u32, value: &T) -> Result<Self> {
        let value = serde_json::to_value(value).map_err(|error| {
            Error::new(Kind::Unexpected, "a position does not serialise").caused_by(error)
        })?;
        Ok(Self { version, value })
    }

    fn decode<T: DeserializeOwned>(self, version: u32, stream: &str) -> Result<T> {
        if self.version != version {
            let age = if self.version > version {
                "a newer"
            } else {
                "an older"
            };
            return Err(Error::new(
                Kind::ConfigInvalid,
                format!(
                    "the state of stream {stream} was written by {age} version (format {}, this one reads {version}); \
                     use that version, or remove the stream from the state to read it from the start",
                    self.version
                ),
            ));
        }
        T::deserialize(self.value).map_err(|error| {
            Error::new(
                Kind::ConfigInvalid,
                format!(
                    "the state of stream {stream} is damaged; remove the stream from the state to read it from the start"
                ),
            )
            .caused_by(error)
        })
    }
}

/// The object-safe twin of [`Stream`], implemented for every stream.
#[async_trait]
pub trait AnyStream: Send + Sync {
    /// What the stream is.
    fn spec(&self) -> &StreamSpec;

    /// See [`Stream::companions`].
    fn companions(&self) -> &[StreamSpec];

    /// See [`Stream::sees_all`].
    fn sees_all(&self) -> bool;

    /// Whether these positions, of an earlier run, can be read: the bookmark, and partitions with their tokens. Pure.
    fn verify(
        &self,
        bookmark: Option<&Position>,
        places: &[(&Position, Option<&Position>)],
    ) -> Result<()>;

    /// See [`Stream::plan`].
    fn plan(&self, bookmark: Option<Position>, now: Timestamp) -> Result<Vec<Position>>;

    /// See [`Stream::fetch`].
    async fn fetch(
        &self,
        partition: Position,
        token: Option<Position>,
    ) -> Result<Page<Position, Position>>;

    /// See [`Stream::range`].
    fn range(&self, partition: &Position) -> Result<PartitionRange>;

    /// See [`Stream::watermark`].
    fn watermark(&self, bookmark: &Position) -> Result<Watermark>;

    /// See [`Stream::rewind`].
    fn rewind(&self, to: Timestamp) -> Result<Position>;

    /// See [`Stream::scope`].
    fn scope(&self, now: Timestamp) -> Scope;

    /// See [`Stream::has_earlier`].
    async fn has_earlier(&self) -> Result<Option<bool>>;

    /// See [`Stream::survey`].
    async fn survey(&self, partition: Position) -> Result<Vec<Part<Position>>>;

    /// See [`Stream::jobs`].
    fn jobs(&self, partition: &Position, token: Option<&Position>) -> Result<u64>;

    /// See [`Stream::release`].
    async fn release(&self, partition: Position, token: Position) -> Result<bool>;

    /// Its own name, then those of its companions.
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
        places: &[(&Position, Option<&Position>)],
    ) -> Result<()> {
        let name = Stream::spec(self).name;
        if let Some(bookmark) = bookmark {
            bookmark.clone().decode::<S::Bookmark>(S::VERSION, name)?;
        }
        for (partition, token) in places {
            (*partition)
                .clone()
                .decode::<S::Partition>(S::VERSION, name)?;
            if let Some(token) = *token {
                token.clone().decode::<S::Token>(S::VERSION, name)?;
            }
        }
        Ok(())
    }

    fn plan(&self, bookmark: Option<Position>, now: Timestamp) -> Result<Vec<Position>> {
        let name = Stream::spec(self).name;
        let bookmark = bookmark
            .map(|bookmark| bookmark.decode(S::VERSION, name))
            .transpose()?;
        let partitions = Stream::plan(self, bookmark, now)?;
        partitions
            .iter()
            .map(|partition| Position::encode(S::VERSION, partition))
            .collect()
    }

    async fn fetch(
        &self,
        partition: Position,
        token: Option<Position>,
    ) -> Result<Page<Position, Position>> {
        let name = Stream::spec(self).name;
        let partition = partition.decode(S::VERSION, name)?;
        let token = token
            .map(|token| token.decode(S::VERSION, name))
            .transpose()?;
        let page = Stream::fetch(self, partition, token).await?;
        Ok(Page {
            body: page.body,
            records: page.records,
            companions: page.companions,
            next: page
                .next
                .map(|next| Position::encode(S::VERSION, &next))
                .transpose()?,
            beside: page
                .beside
                .iter()
                .map(|token| Position::encode(S::VERSION, token))
                .collect::<Result<_>>()?,
            total: page.total,
            bookmark: page
                .bookmark
                .map(|bookmark| Position::encode(S::VERSION, &bookmark))
                .transpose()?,
            notes: page.notes,
            gaps: page.gaps,
            wait: page.wait,
        })
    }

    fn range(&self, partition: &Position) -> Result<PartitionRange> {
        let partition = partition
            .clone()
            .decode(S::VERSION, Stream::spec(self).name)?;
        Ok(Stream::range(self, &partition))
    }

    fn watermark(&self, bookmark: &Position) -> Result<Watermark> {
        let bookmark = bookmark
            .clone()
            .decode(S::VERSION, Stream::spec(self).name)?;
        Ok(Stream::watermark(self, &bookmark))
    }

    fn rewind(&self, to: Timestamp) -> Result<Position> {
        Position::encode(S::VERSION, &Stream::rewind(self, to)?)
    }

    fn scope(&self, now: Timestamp) -> Scope {
        Stream::scope(self, now)
    }

    async fn has_earlier(&self) -> Result<Option<bool>> {
        Stream::has_earlier(self).await
    }

    async fn survey(&self, partition: Position) -> Result<Vec<Part<Position>>> {
        let partition = partition.decode(S::VERSION, Stream::spec(self).name)?;
        let parts = Stream::survey(self, partition).await?;
        parts
            .into_iter()
            .map(|part| {
                Ok(Part {
                    partition: Position::encode(S::VERSION, &part.partition)?,
                    records: part.records,
                    requests: part.requests,
                })
            })
            .collect()
    }

    fn jobs(&self, partition: &Position, token: Option<&Position>) -> Result<u64> {
        let name = Stream::spec(self).name;
        let partition = partition.clone().decode(S::VERSION, name)?;
        let token = token
            .map(|token| token.clone().decode(S::VERSION, name))
            .transpose()?;
        Ok(Stream::jobs(self, &partition, token.as_ref()))
    }

    async fn release(&self, partition: Position, token: Position) -> Result<bool> {
        let name = Stream::spec(self).name;
        let partition = partition.decode(S::VERSION, name)?;
        let token = token.decode(S::VERSION, name)?;
        Stream::release(self, partition, token).await
    }
}
