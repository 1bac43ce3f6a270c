//! Exclusive locks on files.

use std::{
    fs::{self, File, TryLockError},
    io,
    ops::{Deref, DerefMut},
    os::unix::fs::MetadataExt,
};

use rustix::{
    fs::{major, minor},
    io::Errno,
};

/// An open file with an exclusive lock, until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Locked(File);

/// The locking function; tests pass another one.
type TryLock = fn(&File) -> Result<(), TryLockError>;

impl Locked {
    /// Locks a file; returns `None` where another process has it. Refuses a file system without locks, since two runs
    /// would write there at once.
    ///
    /// # Errors
    ///
    /// Fails if the file system has no locks, or if the file cannot be locked.
    pub fn take(file: File) -> io::Result<Option<Self>> {
        Self::take_by(file, File::try_lock)
    }

    fn take_by(file: File, try_lock: TryLock) -> io::Result<Option<Self>> {
        match try_lock(&file) {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) if has_no_locks(&error) => {
                Err(without_locks(&file, &error))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The same for a file that no other process writes to: it counts as locked where a file system has no locks.
    pub(crate) fn take_if_possible(file: File) -> io::Result<Option<Self>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) if has_no_locks(&error) => Ok(Some(Self(file))),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

fn has_no_locks(error: &io::Error) -> bool {
    // The first one has two numbers on some systems; the last one means a network whose locks do not answer.
    let all = [Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOSYS, Errno::NOLCK];
    let all = all.map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| all.contains(&code))
}

fn without_locks(file: &File, error: &io::Error) -> io::Error {
    let which = file_system(file).map_or_else(String::new, |name| format!(" ({name})"));
    let text = format!(
        "its file system{which} has no locks ({error}), so that two runs could write there at once; choose a folder on \
         a local disk, or mount this one with locks"
    );
    io::Error::new(io::ErrorKind::Unsupported, text)
}

/// The kind of a file's file system, if the system reports it.
fn file_system(file: &File) -> Option<String> {
    let device = file.metadata().ok()?.dev();
    let device = format!("{}:{}", major(device), minor(device));
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    kind_of(&mounts, &device)
}

/// The kind of the file system of a device: the word after the lone dash of its line.
fn kind_of(mounts: &str, device: &str) -> Option<String> {
    let mut lines = mounts.lines().map(str::split_ascii_whitespace);
    let mut line = lines.find(|line| line.clone().nth(2) == Some(device))?;
    line.find(|word| *word == "-")?;
    line.next().map(str::to_owned)
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is just being started elsewhere may still have a copy of it.
        let _ = self.0.unlock();
    }
}

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut File {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_given_back_although_somebody_has_a_copy_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let open = || File::create(folder.path().join("lock")).unwrap();
        let locked = Locked::take(open()).unwrap().unwrap();
        // A process that is just being started has such a copy.
        let copy = locked.try_clone().unwrap();
        assert!(Locked::take(open()).unwrap().is_none());
        drop(locked);
        assert!(Locked::take(open()).unwrap().is_some());
        drop(copy);
    }

    #[test]
    fn a_file_system_without_locks_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let open = || File::create(folder.path().join("lock")).unwrap();
        let without: [TryLock; 3] = [
            |_| Err(TryLockError::Error(Errno::OPNOTSUPP.into())),
            |_| Err(TryLockError::Error(Errno::NOSYS.into())),
            |_| Err(TryLockError::Error(Errno::NOLCK.into())),
        ];
        let name = file_system(&open()).unwrap_or_default();
        for try_lock in without {
            let error = Locked::take_by(open(), try_lock).unwrap_err();
            let said = error.to_string();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported, "{said}");
            assert!(said.contains("has no locks"), "{said}");
            assert!(said.contains("choose a folder on a local disk"), "{said}");
            assert!(said.contains(&name), "{said}");
        }
        let broken: TryLock = |_| Err(TryLockError::Error(Errno::IO.into()));
        let error = Locked::take_by(open(), broken).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
        let held: TryLock = |_| Err(TryLockError::WouldBlock);
        assert!(Locked::take_by(open(), held).unwrap().is_none());
    }

    #[test]
    fn the_kind_of_a_file_system_is_read_from_the_list_of_mounts() {
        let mounts = "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
                      40 22 0:35 / /mnt/a\\040b rw shared:2 master:1 - fuse.gcsfuse bucket rw\n";
        assert_eq!(kind_of(mounts, "0:35").as_deref(), Some("fuse.gcsfuse"));
        assert_eq!(kind_of(mounts, "254:1").as_deref(), Some("ext4"));
        assert_eq!(kind_of(mounts, "0:3"), None);
    }
}
