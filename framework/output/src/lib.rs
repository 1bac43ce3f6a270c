//! Where records land: tables in a database, columns in files.
//!
//! Each sink keeps the position where it keeps the records, and commits both in one step, so that a run that is killed
//! at any moment loses nothing and repeats nothing. One module, [`columns`], derives the columns of a
//! table from the stream's JSON Schema: a typed column for each field, and one for the whole record as it was sent. A value
//! that does not fit its column's type is never dropped and never converted: the overflow column holds it, and the
//! counts name it.

#![warn(clippy::missing_errors_doc)]

#[cfg(feature = "parquet")]
mod arrow;
#[cfg(feature = "parquet")]
mod arrow_stream;
pub mod columns;
mod destination;
mod jsonl;
#[cfg(any(feature = "parquet", feature = "postgres", feature = "sqlite"))]
mod moment;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod relational;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "parquet")]
pub use self::parquet::ParquetSink;
#[cfg(feature = "postgres")]
pub use self::postgres::PostgresSink;
#[cfg(feature = "parquet")]
pub use arrow_stream::ArrowStream;
pub use destination::{Destination, Mode, TableOptions};
pub use jsonl::{JsonLinesFolder, JsonLinesWriter};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteSink;
