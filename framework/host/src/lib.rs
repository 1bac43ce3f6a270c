//! What a host does with a source: fetch pages, hand their records to a sink, remember how far both got.
//!
//! The order is fixed and is the promise: records are written, the sink makes them durable, then the [`State`] is
//! replaced in one step. A crash at any moment leaves a state that is never ahead of the sink, so a later run reads
//! something again rather than losing it. A folder of JSON lines is cut back to what the state vouches for before
//! it grows again, so there nothing is repeated either.

mod afford;
pub mod drift;
pub mod fields;
mod json;
mod jsonl;
mod lane;
mod reader;
mod redact;
pub mod references;
mod state;
mod summary;

pub use jsonl::{JsonLinesFolder, JsonLinesWriter};
pub use reader::{ReadOptions, read};
pub use redact::{Action, Redacted, RedactedField, Redaction, Redactor};
pub use state::State;
pub use summary::{Ending, Event, StreamSummary, Summary};

use headwater_core::Result;

/// Where records go.
pub trait Sink {
    /// Takes one page of records; they may stay in a buffer until [`Sink::commit`].
    fn write(&mut self, stream: &str, records: &mut dyn Iterator<Item = &[u8]>) -> Result<()>;

    /// Makes everything written so far durable and notes in the state what a resumed run needs to know.
    fn commit(&mut self, state: &mut State) -> Result<()>;

    /// Prepares for the first write: goes back to where the state says that this sink was.
    fn restore(&mut self, streams: &[&str], state: &State) -> Result<()>;
}
