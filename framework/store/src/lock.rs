//! Locks between processes of one host. The system gives a lock back when its holder ends, in whatever way, so nobody
//! waits for a run that was killed, and no clock takes part.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use headwater_core::{Error, Kind, Result};
use headwater_host::Locked;

use crate::sqlite::make_folder;

/// The folder of the locks of a store.
#[derive(Clone, Debug)]
pub(crate) struct Locks(pub PathBuf);

impl Locks {
    /// Takes a lock until it is dropped; none where somebody else has it.
    pub(crate) fn take(&self, name: &str) -> Result<Option<Locked>> {
        let path = self.0.join(name);
        let failed = |error: io::Error| {
            let text = format!("the lock {} cannot be taken: {error}", path.display());
            Error::new(Kind::OutputFailed, text)
        };
        open(&self.0, &path).and_then(Locked::take).map_err(failed)
    }

    /// Removes the file of a lock that nobody will take again. What is left behind does no harm.
    pub(crate) fn remove(&self, name: &str) {
        let _ = std::fs::remove_file(self.0.join(name));
    }
}

fn open(folder: &Path, path: &Path) -> io::Result<File> {
    make_folder(folder)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(path)
}
