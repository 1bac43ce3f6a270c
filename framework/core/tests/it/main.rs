//! The contract: forms, validation, probes, the registry, the rules of egress.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected shall fail"
)]

mod egress;
mod form;
mod probe;
mod registry;
mod sample;
mod validation;
