//! The runner with streams and sinks of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected shall fail"
)]

mod passes;
mod redaction;
mod runner;
mod side_by_side;
