//! Tools for the form of a connector: for its author, and for platforms that render it themselves.
//!
//! | task | here |
//! | --- | --- |
//! | report the problems of a form | [`lint`], [`Finding`] |
//! | show the result of a probe without a request | [`simulate`], [`ProbeClass`] |
//! | export a form to another platform | [`Dialect`] |
//!
//! All are pure functions of the form. A connector or a host needs none of them, so they are not in the contract.

#![warn(clippy::missing_errors_doc)]

mod dialect;
mod lint;
mod simulate;

pub use dialect::Dialect;
pub use lint::{Finding, lint};
pub use simulate::{ProbeClass, simulate};
