//! The simulation of clariBI.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod credentials;
mod errors;
mod external;
mod limits;
mod lists;
mod pages;
mod records;
mod support;
