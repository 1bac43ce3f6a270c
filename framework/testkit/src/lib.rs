//! What tests of clients and connectors need.
//!
//! [`Script`] is a real HTTP server on loopback whose every answer is written by the test, down to the bytes: it can
//! send too little, too much, nothing, or break the connection. [`conformance`] holds the rules that every
//! registered connector keeps; the workspace's tests walk the registry through them. [`PassDriver`] reads a pass in any order,
//! and [`PassReader`] reads it with several requests at once and is killed now and then.

pub mod conformance;
mod pass_driver;
mod script;

pub use pass_driver::{PassDriver, PassReader, PassResult, ReadyPosition};
pub use script::{Ending, Reply, Request, Script};
