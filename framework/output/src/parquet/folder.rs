//! A local folder of Parquet files.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use headwater_core::{Error, Kind, Result, sink::busy};
use headwater_files::{
    Locked,
    create::{self, Access, ReplacementFile, make_new, open_or_make_lock},
    read_regular,
};

#[cfg(test)]
use super::faults::step;
use super::{
    manifest::{is_part, manifest_name, manifest_sequence},
    storage::{FileStorage, Part},
};

/// The folder of everything that is not rows. No stream is called so.
const OURS: &str = "_headwater";
/// The ending of a file's name until it is finished. Patterns such as `*.parquet` do not find it.
const UNFINISHED: &str = ".tmp";
/// Some millions of files.
const LARGEST_MANIFEST: u64 = 1 << 30;

/// Precedes every call to the disk, so that tests can make it fail there.
#[cfg(not(test))]
const fn step(_what: &str) -> io::Result<()> {
    Ok(())
}

/// A folder.
pub(crate) struct Folder {
    root: PathBuf,
    /// Held until the process ends, however it ends.
    lock: Option<Locked>,
}

impl Folder {
    pub fn new(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).map_err(|error| failed(root, &error))?;
        Ok(Self { root, lock: None })
    }

    fn ours(&self) -> PathBuf {
        self.root.join(OURS)
    }

    fn manifest(&self, sequence: u64) -> PathBuf {
        self.ours().join(manifest_name(sequence))
    }
}

impl FileStorage for Folder {
    fn name(&self) -> String {
        self.root.display().to_string()
    }

    fn destination(&self) -> String {
        format!("parquet:{}", self.root.display())
    }

    fn manifest_name(&self, sequence: u64) -> String {
        self.manifest(sequence).display().to_string()
    }

    fn take(&mut self) -> Result<()> {
        let ours = self.ours();
        make_folder(&ours).map_err(|error| failed(&ours, &error))?;
        let path = ours.join("lock");
        let file = Access::of_records().and_then(|access| open_or_make_lock(&path, access));
        self.lock = file
            .and_then(Locked::take)
            .map_err(|error| failed(&path, &error))?;
        if self.lock.is_none() {
            return Err(busy(self.name(), None));
        }
        make_names_durable(&self.root)
    }

    fn manifests(&mut self) -> Result<BTreeMap<u64, u64>> {
        let mut found = BTreeMap::new();
        for (name, entry) in entries(&self.ours())? {
            if let Some(sequence) = manifest_sequence(&name) {
                found.insert(sequence, length(&entry)?);
            }
        }
        Ok(found)
    }

    fn read_manifest(&mut self, sequence: u64) -> Result<Vec<u8>> {
        let path = self.manifest(sequence);
        let text = step("read").and_then(|()| read_regular(&path, LARGEST_MANIFEST));
        text.map_err(|error| unreadable(&path, &error))
    }

    fn publish(&mut self, sequence: u64, text: &[u8]) -> Result<bool> {
        let path = self.manifest(sequence);
        put(&path, text).map_err(|error| failed(&path, &error))
    }

    fn remove_manifest(&mut self, sequence: u64) -> Result<()> {
        remove(&self.manifest(sequence))
    }

    fn parts(&mut self) -> Result<BTreeMap<String, u64>> {
        let mut found = BTreeMap::new();
        for (stream, folder) in entries(&self.root)? {
            let is_folder = folder.file_type().is_ok_and(|kind| kind.is_dir());
            if stream == OURS || !is_folder {
                continue;
            }
            for (name, entry) in entries(&folder.path())? {
                if is_part(finished_name(&name)) {
                    found.insert(format!("{stream}/{name}"), length(&entry)?);
                }
            }
        }
        Ok(found)
    }

    fn remove_part(&mut self, path: &str) -> Result<()> {
        remove(&self.root.join(path))
    }

    fn prepare(&mut self, stream: &str) -> Result<()> {
        let folder = self.root.join(stream);
        make_folder(&folder).map_err(|error| failed(&folder, &error))?;
        make_names_durable(&self.root)
    }

    fn create(&mut self, path: &str) -> Result<Box<dyn Part>> {
        let path = self.root.join(path);
        let unfinished = unfinished(&path);
        let file = step("create").and_then(|()| make_new(&unfinished, Access::of_records()?));
        let file = file.map_err(|error| failed(&path, &error))?;
        Ok(Box::new(OpenFile {
            path,
            unfinished,
            file,
            written: 0,
        }))
    }

    fn settle(&mut self, streams: &[&str]) -> Result<()> {
        streams
            .iter()
            .try_for_each(|stream| make_names_durable(&self.root.join(stream)))
    }
}

struct OpenFile {
    path: PathBuf,
    unfinished: PathBuf,
    file: File,
    written: u64,
}

impl Write for OpenFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        step("write")?;
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Part for OpenFile {
    fn finish(self: Box<Self>) -> io::Result<u64> {
        step("sync")?;
        self.file.sync_all()?;
        step("rename")?;
        fs::rename(&self.unfinished, &self.path)?;
        Ok(self.written)
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    step("make folder")?;
    create::make_folder(folder, Access::of_records()?)
}

/// Puts a whole document where there is none. False where there is one.
fn put(path: &Path, text: &[u8]) -> io::Result<bool> {
    step("create")?;
    let mut unfinished = ReplacementFile::new(path, Access::of_records()?)?;
    step("write")?;
    unfinished.fill(text)?;
    step("sync")?;
    if path.try_exists()? {
        return Ok(false);
    }
    step("rename")?;
    unfinished.replace(path)?;
    step("sync folder")?;
    Ok(true)
}

/// `.NAME.tmp` in the same folder.
fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{UNFINISHED}"))
}

/// The name that a file has or will have.
fn finished_name(name: &str) -> &str {
    let inside = name
        .strip_prefix('.')
        .and_then(|rest| rest.strip_suffix(UNFINISHED));
    inside.unwrap_or(name)
}

/// The entries of a folder by name; none where it does not exist. Files of ours have Unicode names.
fn entries(folder: &Path) -> Result<Vec<(String, fs::DirEntry)>> {
    let found = match step("list").and_then(|()| fs::read_dir(folder)) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(folder, &error)),
    };
    let mut entries = Vec::new();
    for entry in found {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        if let Ok(name) = entry.file_name().into_string() {
            entries.push((name, entry));
        }
    }
    Ok(entries)
}

fn length(entry: &fs::DirEntry) -> Result<u64> {
    let about = entry
        .metadata()
        .map_err(|error| unreadable(&entry.path(), &error))?;
    Ok(about.len())
}

fn remove(path: &Path) -> Result<()> {
    match step("remove").and_then(|()| fs::remove_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let text = format!("{} cannot be removed: {error}", path.display());
            Err(Error::new(Kind::OutputFailed, text))
        }
        _ => Ok(()),
    }
}

/// A new name outlives a power cut once its folder is durable, too.
fn make_names_durable(folder: &Path) -> Result<()> {
    let synced = step("sync folder").and_then(|()| create::make_names_durable(folder));
    synced.map_err(|error| failed(folder, &error))
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::new(
        Kind::OutputFailed,
        format!("{} cannot be read: {error}", path.display()),
    )
}

fn failed(path: &Path, error: &io::Error) -> Error {
    Error::new(
        Kind::OutputFailed,
        format!("{} cannot be written: {error}", path.display()),
    )
}
