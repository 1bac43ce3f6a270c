//! The storage of files: a local folder, or a bucket.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use headwater_core::Result;

/// Where the files and manifests are. Paths have a slash between stream and file.
pub(crate) trait FileStorage: Send {
    /// Its name, for people.
    fn name(&self) -> String;

    /// Its name in `--to`.
    fn destination(&self) -> String {
        self.name()
    }

    /// The name of a manifest, for people.
    fn manifest_name(&self, sequence: u64) -> String;

    /// Makes it where it is missing, and keeps other runs out where that can be done beforehand.
    fn take(&mut self) -> Result<()>;

    /// The manifests by their numbers, with their bytes. None where the place does not exist.
    fn manifests(&mut self) -> Result<BTreeMap<u64, u64>>;

    /// The text of a manifest.
    fn read_manifest(&mut self, sequence: u64) -> Result<Vec<u8>>;

    /// Puts a manifest there, all of it or nothing, and durably. False where there is one of this number by another run.
    fn publish(&mut self, sequence: u64, text: &[u8]) -> Result<bool>;

    /// Removes a manifest that does not count any more.
    fn remove_manifest(&mut self, sequence: u64) -> Result<()>;

    /// All files of rows by their paths, with their bytes; also files that were never finished.
    fn parts(&mut self) -> Result<BTreeMap<String, u64>>;

    /// Removes a file of rows that does not count.
    fn remove_part(&mut self, path: &str) -> Result<()>;

    /// Prepares for the files of a stream.
    fn prepare(&mut self, stream: &str) -> Result<()>;

    /// Begins a file of rows.
    fn create(&mut self, path: &str) -> Result<Box<dyn Part>>;

    /// Makes the names of the files that were finished durable.
    fn settle(&mut self, streams: &[&str]) -> Result<()>;
}

/// A file of rows that is being written. It is there under its name once it is finished, and not before.
pub(crate) trait Part: Write + Send {
    /// Makes it durable, and gives its bytes.
    fn finish(self: Box<Self>) -> io::Result<u64>;
}
