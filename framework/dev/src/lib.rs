//! Generators, tidy checks and the preview of forms, behind `cargo dev`.
//!
//! | command | does |
//! | --- | --- |
//! | `cargo dev schemas` | writes `schemas/`: each connector's form, also for other platforms, and each stream's records |
//! | `cargo dev schemas --check` | says which files are not current, and writes nothing |
//! | `cargo dev preview` | serves the page on which authors of connectors try out their forms |
//! | `cargo dev preview FILE` | the same with the schema in a file, and follows its changes |
//! | `cargo dev tidy` | checks the divisions that the compiler does not see |

pub mod preview;
pub mod schemas;
pub mod tidy;

use std::path::PathBuf;

use headwater_connectors as _;

/// The top folder of the workspace.
pub fn workspace() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
