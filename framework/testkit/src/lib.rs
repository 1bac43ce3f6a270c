//! What tests of clients and connectors need.
//!
//! [`Script`] is a real HTTP server on loopback whose every answer is written by the test, down to the bytes: it can
//! send too little, too much, nothing, or break the connection. [`conformance`] holds the rules that every
//! registered connector keeps; the workspace's tests walk the registry through them.

pub mod conformance;
mod script;

pub use script::{Ending, Reply, Request, Script};
