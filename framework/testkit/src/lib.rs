//! Tools for tests of clients and connectors.
//!
//! [`Script`] is a real HTTP server on loopback. The test writes every response, byte for byte: too short, too long,
//! empty, or with a broken connection. [`conformance`] holds the rules for every registered connector; the workspace's
//! tests apply them to the registry. [`PassDriver`] reads a pass in any order, and [`PassReader`] reads it with
//! concurrent requests and simulated kills.

pub mod conformance;
mod pass_driver;
mod script;

pub use pass_driver::{PassDriver, PassReader, PassResult, ReadyPosition};
pub use script::{Ending, Reply, Request, Script};
