//! The contract of sinks: the destinations of records, and the part of the state that they see.
//!
//! A host implements [`SinkState`], a sink implements [`Sink`]; neither sees the other's types. The errors that all
//! sinks have in common are here, too: [`busy`] and [`lost`].

use std::{fmt::Display, time::Duration};

use crate::{Error, Kind, Result, StreamSpec};

/// Where records go.
///
/// A run calls [`load`](Sink::load), then [`restore`](Sink::restore), then [`write`](Sink::write) and
/// [`commit`](Sink::commit) as often as it takes, all from one thread. The next run begins without
/// the records that were not committed: they are gone, or it cuts them off.
pub trait Sink: Send {
    /// The state of the destination after an interrupted run.
    fn delivery(&self) -> Delivery;

    /// The longest time between two commits, unless a run wants them more often. Sinks that make a file of each commit
    /// want few of them.
    fn commit_every(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// The state that the destination holds, as JSON, for a caller that only looks. None where there is none, or where
    /// another place holds it. Changes nothing and waits for no lock.
    ///
    /// # Errors
    ///
    /// Fails if the destination cannot be read.
    fn peek(&mut self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// Takes hold of the destination, and reads the state that it holds into `state`, which is empty and stays so the
    /// first time. False where another place holds the state. From here on, no other run commits to the same
    /// destination for the same connection.
    ///
    /// # Errors
    ///
    /// Fails if the destination cannot be opened, if another run has it, or if its state cannot be read.
    fn load(&mut self, _state: &mut dyn SinkState) -> Result<bool> {
        Ok(false)
    }

    /// Prepares for the first write: goes back to the position that the state has of this sink. Refuses a destination
    /// that cannot be written to, without changing anything.
    ///
    /// # Errors
    ///
    /// Fails if the destination cannot be written to, or does not have what the state says.
    fn restore(&mut self, streams: &[StreamSpec], state: &dyn SinkState) -> Result<()>;

    /// Takes one page of records; they may stay in a buffer until [`Sink::commit`].
    ///
    /// # Errors
    ///
    /// Fails if the destination refuses the records.
    fn write(
        &mut self,
        stream: &str,
        records: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<WriteCounts>;

    /// A pass of a stream begins, or continues after an interruption with the same mark; the marks of one stream grow.
    /// This pass saw all records that are written from here on.
    ///
    /// # Errors
    ///
    /// Fails if the destination cannot be read or written.
    fn begin_pass(&mut self, _stream: &str, _mark: u64) -> Result<()> {
        Ok(())
    }

    /// A pass is over that read every record which the service has: deals with the rows that it did not see, and counts
    /// them. None where the sink does not know.
    ///
    /// # Errors
    ///
    /// Fails if the destination cannot be read or written.
    fn end_pass(&mut self, _stream: &str) -> Result<Option<UnseenRows>> {
        Ok(None)
    }

    /// Makes everything written so far durable. A sink that holds the state stores it in the same step; the others note
    /// in it the lengths of their files.
    ///
    /// # Errors
    ///
    /// Fails if the records or the state cannot be made durable; the state before then stays in force.
    fn commit(&mut self, state: &mut dyn SinkState) -> Result<()>;
}

/// The state of a connector as its sink sees it: a document to store, and what it vouches for.
pub trait SinkState {
    /// The connector that it belongs to.
    fn connector(&self) -> &str;

    /// Becomes the state that a sink has stored. Refuses one that is damaged, newer or of another connector. `place` is
    /// for people: "the state of the connection x in y.db".
    ///
    /// # Errors
    ///
    /// Fails if the state is damaged, newer or of another connector.
    fn read_json(&mut self, json: &[u8], place: &str) -> Result<()>;

    /// The state as it is stored.
    ///
    /// # Errors
    ///
    /// Fails if the state cannot be written as JSON.
    fn to_json(&self) -> Result<Vec<u8>>;

    /// Whether the state says that records of a stream were read, so that the destination must have them.
    fn vouches_for(&self, stream: &str) -> bool;

    /// New rows that a stream has brought since it was last read from the start, as far as the state knows.
    fn rows(&self, stream: &str) -> u64;

    /// The output files that the state vouches for, by path, with their lengths in bytes.
    fn files(&self) -> Vec<(String, u64)>;

    /// Whether the part of a file that the state vouches for ended with `tail`. None where an earlier version wrote the
    /// state, and did not record the end.
    fn is_tail(&self, path: &str, tail: &[u8]) -> Option<bool>;

    /// Vouches for a file up to a length; `tail` are the last bytes before it.
    fn set_file(&mut self, path: &str, bytes: u64, tail: &[u8]);

    /// Forgets an output file that has another name now.
    fn forget_file(&mut self, path: &str);
}

/// The state of a destination after an interrupted run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Records and position are committed in one step: nothing is lost and nothing comes twice.
    Together,
    /// The position is stored after the records: nothing is lost, and what lies between may come twice.
    RecordsFirst,
}

/// The counts of one page's records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteCounts {
    /// Stored as new rows or lines.
    pub records: u64,
    /// Known by their key already: they replaced an earlier row, or were the same.
    pub deduplicated: u64,
    /// Stored with a value in the overflow column that does not fit its column's type.
    pub overflowed: u64,
    /// Records that differ from another one of the same pass and the same key. Where both are kept, they count among
    /// `records`, too.
    pub collisions: u64,
    /// How many of these have replaced the other one, since the table was made before two could be kept.
    pub merged: u64,
}

/// Rows that a complete pass did not see, since their records were deleted at the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct UnseenRows {
    /// How many. With [`Deletes::Mark`], those that were not marked before.
    pub rows: u64,
    /// The treatment that they got.
    pub deletes: Deletes,
}

/// The treatment of rows whose records were deleted at the service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Deletes {
    /// They stay as they are.
    #[default]
    Keep,
    /// They stay, and say since when they are known to be deleted.
    Mark,
    /// They are removed.
    Remove,
}

/// The error for a destination that another run is writing to: temporary, since that run ends. The connection is named
/// where runs of other connections may write to the same destination meanwhile.
pub fn busy(place: impl Display, connection: Option<&str>) -> Error {
    let of = connection.map_or_else(String::new, |name| format!(" of the connection {name}"));
    Error::new(
        Kind::Unavailable,
        format!("{place} is being written by another run{of}; wait for it to end, and run again"),
    )
}

/// The error for records of a stream that the state vouches for and the destination does not have. `what` says which
/// are missing; `place` is what `headwater state` takes for the destination, with its options.
pub fn lost(what: &str, place: &str, stream: &str) -> Error {
    Error::new(
        Kind::ConfigInvalid,
        format!(
            "{what}, and the state says that its records are there; put it back, or let the next run read the stream \
             from the start: `headwater state reset {place} --stream {stream}`"
        ),
    )
}
