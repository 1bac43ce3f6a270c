//! The runtimes of the commands.

use headwater_core::{Error, Kind};
use tokio::runtime::{Builder, Runtime};

use crate::signals::outlive_file_limits;

/// One thread, for a command that ends by itself.
pub(crate) fn runtime() -> Result<Runtime, Error> {
    build(Builder::new_current_thread())
}

/// A thread per core, for servers.
pub(crate) fn server_runtime() -> Result<Runtime, Error> {
    build(Builder::new_multi_thread())
}

fn build(mut builder: Builder) -> Result<Runtime, Error> {
    let runtime = builder.enable_all().build().map_err(|error| {
        Error::new(Kind::Unexpected, "the runtime cannot start").caused_by(error)
    })?;
    let entered = runtime.enter();
    outlive_file_limits();
    drop(entered);
    Ok(runtime)
}
