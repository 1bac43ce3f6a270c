//! Making files, in folders that others may write to as well.
//!
//! A run writes personal data, so a new file is for its owner only, unless `HEADWATER_FILE_MODE` says otherwise. An
//! existing file keeps its owner and mode.
//!
//! In a folder that every user may write to, such as `/tmp`, another user may have put a link or a file where this one
//! is about to write. Such a name is refused, unless it belongs to this user, to root or to the owner of the folder. In
//! other folders a link of any user is followed.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::{fs::OFlags, io::Errno};

pub use crate::access::Access;
use crate::{Locked, refuse_untrusted_database, trust::folder_of};

/// Links that may lead to each other.
const MAX_LINKS: usize = 40;
/// Attempts when names are taken, or when files vanish between two looks.
const MAX_TRIES: usize = 100;
/// Names that the process remembers as swept.
const MAX_SWEPT: usize = 1_000;
/// Bytes of a name that the name of its replacement repeats, since no name has more than 255.
const LONGEST_NAME: usize = 200;
/// Random bytes in a name.
const RANDOM: usize = 8;
/// The end of a replacement's name.
const ENDING: &str = ".new";

/// Opens a file for reading and writing, and makes it where it is missing. A link is followed, unless another user may
/// have put it there.
///
/// # Errors
///
/// Fails if the file cannot be opened or made, or if another user may have put it or a link to it there.
pub fn open_or_make(path: &Path, access: Access) -> io::Result<File> {
    open_itself(&behind_links(path)?, access)
}

/// The same for a file with a name of ours, such as a lock file, which is never a link.
///
/// # Errors
///
/// Fails if the file cannot be opened or made, if it is a link, or if another user may have put it there.
pub fn open_or_make_lock(path: &Path, access: Access) -> io::Result<File> {
    open_itself(path, access)
}

/// Makes the empty file of a SQLite database if it is missing, before SQLite does, which would let every user read it:
/// the files of its log take its permissions. An existing file is not opened, since closing it would release the locks
/// that SQLite has on it in this process. One that another user may change is refused, as is such a log.
///
/// # Errors
///
/// Fails if the file cannot be made, or if another user may change it or its log.
pub fn make_database(path: &Path, access: Access) -> io::Result<()> {
    let path = behind_links(path)?;
    match make_new(&path, access) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => refuse_untrusted_database(&path),
    }
}

/// Makes a file that is not there yet.
///
/// # Errors
///
/// Fails if a file has the name, or if the file cannot be made.
pub fn make_new(path: &Path, access: Access) -> io::Result<File> {
    // Of its own, this follows no link.
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    options.mode(access.0).open(path)
}

/// Makes a folder and its missing ancestors. A folder that another user may have put there is refused, as is one below
/// it.
///
/// # Errors
///
/// Fails if a folder cannot be made, or if another user may have put one of them there.
pub fn make_folder(folder: &Path, access: Access) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(access.of_folder());
    // Without a slash at its end, which would lead through a link.
    let folder: PathBuf = folder.components().collect();
    let is_there = |above: &&Path| fs::symlink_metadata(above).is_ok();
    for above in folder.ancestors().filter(is_there) {
        refuse_planted(above, &fs::symlink_metadata(above)?)?;
    }
    builder.create(&folder)?;
    behind_links(&folder).and_then(|folder| refuse_planted(&folder, &fs::metadata(&folder)?))
}

/// Makes a folder that is not there yet.
///
/// # Errors
///
/// Fails if the name is taken, or if the folder cannot be made.
pub fn make_new_folder(folder: &Path, access: Access) -> io::Result<()> {
    DirBuilder::new().mode(access.of_folder()).create(folder)
}

/// A new name outlives a power cut once its folder is durable, too. Not every file system can do that.
///
/// # Errors
///
/// Fails if the folder cannot be opened, or if the system cannot write it.
pub fn make_names_durable(folder: &Path) -> io::Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.or_else(|error| match error.kind() {
        ErrorKind::InvalidInput
        | ErrorKind::Unsupported
        // A user who may enter a folder and not list it may still have files in it.
        | ErrorKind::PermissionDenied => Ok(()),
        _ => Err(error),
    })
}

fn open_itself(path: &Path, access: Access) -> io::Result<File> {
    // Without the second flag, opening a pipe may wait for another process.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(flags);
    for _ in 0..MAX_TRIES {
        match make_new(path, access) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made,
        }
        match options.open(path) {
            Ok(file) => {
                refuse_planted(path, &file.metadata()?)?;
                return Ok(file);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                return Err(refused("it is a link; remove it"));
            }
            Err(error) => return Err(error),
        }
    }
    Err(refused("it appears and vanishes"))
}

/// The file that a path leads to, there or not.
///
/// # Errors
///
/// Fails if the links form a circle, or if another user may have put one of them there.
pub fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(to) = fs::read_link(&path) else {
            return Ok(path);
        };
        refuse_planted(&path, &fs::symlink_metadata(&path)?)?;
        path = match path.parent() {
            Some(folder) => folder.join(to),
            None => to,
        };
    }
    Err(io::Error::new(
        ErrorKind::InvalidInput,
        "its links form a circle",
    ))
}

/// Refuses what another user may have put there for this one to write to.
///
/// # Errors
///
/// Fails if the folder cannot be read, or if every user may write to it and another user owns the file.
pub fn refuse_planted(path: &Path, about: &Metadata) -> io::Result<()> {
    let Some(folder) = folder_of(path) else {
        return Ok(());
    };
    let folder = fs::metadata(folder)?;
    let is_shared = folder.mode() & 0o002 != 0;
    let trusted = [rustix::process::geteuid().as_raw(), 0, folder.uid()];
    if is_shared && !trusted.contains(&about.uid()) {
        return Err(refused(
            "it belongs to another user, in a folder that every user may write to; remove it, or choose another folder",
        ));
    }
    Ok(())
}

fn refused(what: &str) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, what)
}

/// A new file next to another one, to take its name once it is complete. Dropping it removes the file.
///
/// It is locked until then: a file without a lock is the leftover of a killed process.
#[derive(Debug)]
pub struct ReplacementFile {
    path: PathBuf,
    file: Locked,
    is_kept: bool,
}

impl ReplacementFile {
    /// Makes `.NAME.RANDOM.new`.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be made or locked.
    pub fn new(target: &Path, access: Access) -> io::Result<Self> {
        for _ in 0..MAX_TRIES {
            let mut random = [0; RANDOM];
            getrandom::fill(&mut random).map_err(io::Error::from)?;
            let (before, after) = around_random(target);
            let mut name = before;
            random
                .iter()
                .for_each(|byte| name.push(format!("{byte:02x}")));
            name.push(after);
            let path = target.with_file_name(name);
            let file = match make_new(&path, access) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                made => made?,
            };
            let locked = Locked::take_if_possible(file);
            // Another process may have taken it for a leftover before it was locked.
            let is_there = |file: &Locked| file.metadata().is_ok_and(|about| about.nlink() > 0);
            match locked {
                Ok(Some(file)) if is_there(&file) => {
                    let is_kept = false;
                    return Ok(Self {
                        path,
                        file,
                        is_kept,
                    });
                }
                other => {
                    let _ = fs::remove_file(&path);
                    other?;
                }
            }
        }
        Err(refused("no name next to it is free"))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Writes all of it, durably.
    ///
    /// # Errors
    ///
    /// Fails if the bytes cannot be written or made durable.
    pub fn fill(&self, bytes: &[u8]) -> io::Result<()> {
        self.file().write_all(bytes)?;
        self.file().sync_all()
    }

    /// Replaces another file, in one step.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be renamed, or if the folder cannot be made durable.
    pub fn replace(&mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.is_kept = true;
        remove_leftovers(target);
        folder_of(target).map_or(Ok(()), make_names_durable)
    }

    /// Takes a free name.
    ///
    /// # Errors
    ///
    /// Fails if a file has the name, or if the folder cannot be made durable.
    pub fn appear(self, target: &Path) -> io::Result<()> {
        fs::hard_link(&self.path, target)?;
        remove_leftovers(target);
        folder_of(target).map_or(Ok(()), make_names_durable)
    }

    /// Keeps the file when this is dropped, for people to find.
    pub(crate) const fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for ReplacementFile {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The text before and after the random part of a name.
fn around_random(target: &Path) -> (OsString, &'static str) {
    let name = target.file_name().unwrap_or_default().as_bytes();
    let mut before = OsString::from(".");
    before.push(OsStr::from_bytes(&name[..name.len().min(LONGEST_NAME)]));
    before.push(".");
    (before, ENDING)
}

/// Leftover replacements of a file.
pub fn left_beside(target: &Path) -> Vec<PathBuf> {
    let (before, after) = around_random(target);
    let is_one = |name: &OsStr| {
        let random = name.as_bytes().strip_prefix(before.as_bytes());
        let random = random.and_then(|rest| rest.strip_suffix(after.as_bytes()));
        random.is_some_and(|random| {
            random.len() == 2 * RANDOM && random.iter().all(u8::is_ascii_hexdigit)
        })
    };
    let entries = folder_of(target).and_then(|folder| fs::read_dir(folder).ok());
    let names = entries.into_iter().flatten().flatten();
    let names = names.map(|entry| entry.file_name());
    names
        .filter(|name| is_one(name))
        .map(|name| target.with_file_name(name))
        .collect()
}

/// Removes replacements that killed processes left, once in a process, since a folder may hold many names.
pub fn remove_leftovers(target: &Path) {
    static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut swept = SWEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if !swept.insert(target.to_owned()) {
        return;
    }
    if swept.len() > MAX_SWEPT {
        swept.clear();
    }
    for left in left_beside(target) {
        // Another process writes to a locked one, and may write to one that cannot be locked.
        if let Ok(file) = crate::open_regular(&left)
            && let Ok(Some(_locked)) = Locked::take(file)
        {
            let _ = fs::remove_file(&left);
        }
    }
}

#[cfg(test)]
mod tests;
