//! The problems of forms, their previews and their dialects.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected shall fail"
)]

mod dialects;
mod lint;
#[path = "../../../core/tests/it/sample/mod.rs"]
mod sample;
