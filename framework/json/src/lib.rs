//! The one reader of JSON bytes. It builds no tree, does no I/O, and depends on nothing else of the framework.
//!
//! [`JsonCursor`] steps over a text that is there as a whole, [`StreamSplitter`] splits a document into records while it
//! arrives; both look at 64 bytes at a time where they can. A [`Traversal`] shows a record to [`Visitor`]s with the
//! [`CompiledSchema`] of its stream.

#![warn(clippy::missing_errors_doc)]

mod blocks;
pub mod canonical;
mod cursor;
mod fields;
mod grammar;
mod marks;
mod number;
mod schema;
mod shape;
mod splitter;
mod text;
mod traversal;
mod types;

pub use cursor::{JsonCursor, Malformed, Text, is_deeper_than};
pub use fields::{NotAnObject, for_each_field, is_name};
pub use number::{is_number, whole_number};
pub use schema::{ClassError, ClassRules, ClassedField, CompiledSchema, NodeId, TypeId, TypeRules};
pub use splitter::{BYTE_ORDER_MARK, Lists, SplitError, SplitRecords, StreamSplitter};
pub use text::{decode, decode_string, join_path};
pub use traversal::{Both, Frame, Resume, Traversal, TraversalPosition, Value, ValueKind, Visitor};
pub use types::{JsonType, TypeSet};
