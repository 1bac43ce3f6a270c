//! Where records land: tables in a database, columns in files.
//!
//! Each sink keeps the position where it keeps the records, and commits both in one step, so that a run that is killed
//! at any moment loses nothing and repeats nothing. What a table looks like is decided in one place, [`columns`], from
//! the stream's JSON Schema: a typed column for each field, and the whole record as it was sent beside them. A value
//! that does not fit its column's type is never dropped and never bent: it stands in the overflow column and is
//! counted.

pub mod columns;
mod destination;

pub use destination::{Destination, Mode, TableOptions};
