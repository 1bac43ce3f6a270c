//! The pages of the console, as text.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that meets the unexpected shall fail"
)]

mod assets;
mod forms;
mod html;
mod pages;
mod samples;
