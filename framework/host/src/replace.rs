//! Replacing a file in one step.

use std::{
    ffi::OsString,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, fchown},
    path::{Path, PathBuf},
};

/// Links that may lead to each other.
const MOST_LINKS: usize = 40;

/// Replaces what a file holds: written beside it, made durable, renamed.
///
/// A link stays a link; the file that it leads to is replaced. Owner and mode stay those of the file. A file that is a
/// mount point cannot be renamed to; it is written over once the copy beside it is durable, and that copy is left where
/// the writing fails.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = behind_links(path)?;
    let before = match fs::metadata(&path) {
        Ok(before) => Some(before),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let beside = beside(&path);
    let written = write(&beside, before.as_ref(), bytes);
    match written.and_then(|()| fs::rename(&beside, &path)) {
        Ok(()) => {}
        Err(error) if is_mount_point(&error) => {
            write_over(&path, bytes)?;
            fs::remove_file(&beside)?;
        }
        Err(error) => {
            let _ = fs::remove_file(&beside);
            return Err(error);
        }
    }
    // The rename itself is durable once its folder is.
    let folder = path.parent();
    folder
        .filter(|folder| !folder.as_os_str().is_empty())
        .map_or(Ok(()), make_names_durable)
}

/// A new name outlives a power cut once its folder is durable, too. Not every file system can do that.
pub(crate) fn make_names_durable(folder: &Path) -> io::Result<()> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.or_else(|error| match error.kind() {
        ErrorKind::InvalidInput
        | ErrorKind::Unsupported
        // Who may enter a folder and not list it may still have files in it.
        | ErrorKind::PermissionDenied => Ok(()),
        _ => Err(error),
    })
}

/// The file that a path leads to, there or not.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(to) = fs::read_link(&path) else {
            return Ok(path);
        };
        path = match path.parent() {
            Some(folder) => folder.join(to),
            None => to,
        };
    }
    Err(io::Error::new(
        ErrorKind::InvalidInput,
        "its links lead round in a circle",
    ))
}

/// Where the next content of a file is written first.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn write(beside: &Path, before: Option<&Metadata>, bytes: &[u8]) -> io::Result<()> {
    // What an earlier write left; a new file is never somebody else's.
    match fs::remove_file(beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mode = before.map_or(0o666, |before| before.mode() & 0o777);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut file = options.open(beside)?;
    // Before the first byte: it may hold secrets.
    if let Some(before) = before {
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
            // Not everybody may give a file away.
            let _ = fchown(&file, Some(before.uid()), Some(before.gid()));
        }
        file.set_permissions(before.permissions())?;
    }
    file.write_all(bytes)?;
    file.sync_data()
}

fn is_mount_point(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ResourceBusy | ErrorKind::CrossesDevices
    )
}

fn write_over(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_link_stays_a_link_wherever_it_leads() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("deep")).unwrap();
        fs::write(at("deep/target"), "old").unwrap();
        symlink("deep/target", at("one")).unwrap();
        symlink(at("one"), at("two")).unwrap();
        symlink("deep/missing", at("dangling")).unwrap();
        for (link, target) in [
            ("one", "deep/target"),
            ("two", "deep/target"),
            ("dangling", "deep/missing"),
        ] {
            replace_file(&at(link), link.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(at(target)).unwrap(), link);
            assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink());
        }
        symlink("round", at("round")).unwrap();
        assert!(replace_file(&at("round"), b"x").is_err());
    }

    #[test]
    fn owner_and_mode_stay_and_nothing_is_left_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        fs::write(beside(&path), "left over").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        // Only a superuser can give a file away.
        let is_given = std::os::unix::fs::chown(&path, Some(4711), Some(4712)).is_ok();
        replace_file(&path, b"new").unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_eq!(after.mode() & 0o777, 0o640);
        if is_given {
            assert_eq!((after.uid(), after.gid()), (4711, 4712));
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_shorter_content_leaves_nothing_of_a_longer_one_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "something long").unwrap();
        write_over(&path, b"short").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "short");
    }
}
