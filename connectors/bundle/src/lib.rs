//! The only crate that names all connectors, and the shipped binary.
//!
//! Depend on it and name it in code (`use headwater_connectors as _;`) to have every connector in a
//! `Registry`. To ship your own set, copy these few lines.
#![deny(
    unused_crate_dependencies,
    reason = "a connector in the manifest without its line here is not linked"
)]

use std::process::ExitCode;

use headwater_connector_clari_copilot as _;
use headwater_connector_clari_revenue as _;
use headwater_connector_claribi as _;

/// The command line with all connectors.
pub fn main() -> ExitCode {
    headwater_cli::main(headwater_http::context)
}
