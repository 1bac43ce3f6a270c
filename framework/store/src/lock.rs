//! Locks between processes of one host. The system releases a lock when its holder ends, however it ends, so no process
//! waits for a killed run, and no clock takes part.

use std::{io, path::PathBuf};

use headwater_core::{Error, Kind, Result};
use headwater_files::{
    Locked,
    create::{Access, make_folder, open_or_make_lock},
};

/// The folder of the locks of a store.
#[derive(Clone, Debug)]
pub(crate) struct Locks(pub PathBuf);

impl Locks {
    /// Takes a lock until it is dropped; `None` while another holder has it.
    pub(crate) fn take(&self, name: &str) -> Result<Option<Locked>> {
        let path = self.0.join(name);
        let failed = |error: io::Error| {
            let text = format!("the lock {} cannot be taken: {error}", path.display());
            Error::new(Kind::OutputFailed, text)
        };
        make_folder(&self.0, Access::OWNER)
            .and_then(|()| open_or_make_lock(&path, Access::OWNER))
            .and_then(Locked::take)
            .map_err(failed)
    }

    /// Removes the file of a lock that is never taken again. A file left behind does no harm.
    pub(crate) fn remove(&self, name: &str) {
        let _ = std::fs::remove_file(self.0.join(name));
    }
}
