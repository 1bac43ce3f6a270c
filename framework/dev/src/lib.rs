//! Generators and tidy checks, behind `cargo dev`.
//!
//! | command | does |
//! | --- | --- |
//! | `cargo dev schemas` | writes `schemas/`: each connector's form and each stream's records |
//! | `cargo dev schemas --check` | says which files are not current, and writes nothing |
//! | `cargo dev tidy` | checks the divisions that the compiler does not see |

pub mod schemas;
pub mod tidy;

use std::path::PathBuf;

use headwater_connectors as _;

/// The top folder of the workspace.
pub fn workspace() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
