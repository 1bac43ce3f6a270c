//! The simulators as clients see them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected shall fail"
)]

mod calls;
mod claribi;
mod faults;
mod gate;
mod revenue;
mod streams;
mod support;
mod vendor_document;
