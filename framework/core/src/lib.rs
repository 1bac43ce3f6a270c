//! The contract between connectors and hosts.
//!
//! A *connector* declares a credential form, a probe and paged streams; a *host* loads connectors from a
//! [`Registry`], renders their [`FormModel`], validates answers, opens a [`Source`] and reads its streams.
//! This crate is what both sides agree on. It does no I/O and has no runtime in its tree: the host hands the
//! transport to [`Connector::open`] in a [`Context`].
//!
//! | step | promise | here |
//! | --- | --- | --- |
//! | load | const entries, sorted, duplicates refused | [`Registry`], [`register!`] |
//! | show | one reader of the JSON Schema, every renderer uses it | [`FormModel`] |
//! | validate | pure; every error, each with a JSON Pointer | [`AnyConnector::validate`], [`FieldError`] |
//! | open | pure | [`Connector::open`] |
//! | probe | I/O without side effects; named, graded checks | [`Source::probe`], [`Probe`], [`ProbeReport`] |
//! | read | pull: `fetch(partition, token) -> page` | [`Stream`], [`Page`] |
//! | write | records and position in one step where the destination can | [`sink::Sink`] |
//!
//! Authors write against the typed traits ([`Connector`], [`Stream`]); hosts hold their object-safe twins
//! ([`AnyConnector`], [`AnyStream`]), which blanket implementations provide. Records are never parsed into a tree:
//! a [`Page`] is one buffer and the spans of its records.

#![warn(clippy::missing_errors_doc)]

mod base_url;
mod class;
mod connector;
mod egress;
mod error;
mod fnv;
mod form;
mod identity;
mod meter;
mod page;
mod position;
mod probe;
mod probe_messages;
mod registry;
mod schema;
mod scope;
mod secret;
pub mod sink;
mod stream;
mod suggest;
mod text;
mod transport;
mod validate;
mod waits;

pub use base_url::BaseUrl;
pub use class::DataClass;
pub use connector::{About, AnyConnector, Connector, Source, ValidConfig};
pub use egress::{AllowedHost, Egress, Guard};
pub use error::{Error, Kind, Result, Status};
pub use fnv::fnv1a;
pub use form::{
    Choice, Field, FieldKind, FormModel, GuideStep, NAMESPACE, ProfileViolation, escape_pointer,
    tag_of,
};
pub use identity::Identity;
pub use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
pub use meter::{CountedFuture, Meter};
pub use page::{Gap, LONGEST_RECORD, Mend, Note, Page, Wait};
pub use position::Position;
pub use probe::{Allowance, Check, ConfigPatch, Outcome, Probe, ProbeReport, put};
pub use probe_messages::Target;
pub use registry::{Registration, Registry};
pub use schema::{Hint, form_schema, record_schema};
pub use scope::{Scope, ScopeChange, ScopeValue};
pub use secret::{Secret, wipe};
pub use stream::{AnyStream, DIGEST, Part, PartitionRange, Stream, StreamSpec, Watermark};
pub use suggest::nearest;
pub use text::{bare, is_hidden, one_line};
pub use transport::{Body, Context, Failure, NewConnection, Transport, TransportError};
pub use validate::{FieldError, Notice, tidy, validate};

/// Used by the expansion of [`register!`]; not meant for direct use.
#[doc(hidden)]
pub mod __private {
    pub use inventory;
}
