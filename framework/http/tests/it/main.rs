//! The kit against scripted services.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that meets the unexpected shall fail"
)]

mod answers;
mod children;
mod client;
mod common;
mod connections;
mod download;
mod egress;
mod encodings;
mod export;
mod limits;
mod lying_windows;
mod paging;
mod probe;
mod tokens;
mod windows;
mod writes;
