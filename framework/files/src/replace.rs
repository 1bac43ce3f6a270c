//! Replacing a file in one step.

use std::{
    fs::{self, Metadata, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{MetadataExt, fchown},
    path::Path,
};

use crate::create::{Access, ReplacementFile, behind_links, refuse_planted};

/// Replaces the content of a file: written to a file next to it, made durable, renamed.
///
/// A link stays a link; the file behind it is replaced. Owner and mode stay those of the file. A file that is a mount
/// point cannot be the target of a rename; it is overwritten once the copy next to it is durable, and that copy stays
/// if the overwriting fails.
///
/// # Errors
///
/// Fails if the file or the one next to it cannot be written, or if another user may have put the file there.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = behind_links(path)?;
    let mut replacement = match fs::symlink_metadata(&path) {
        Ok(before) => {
            refuse_planted(&path, &before)?;
            let replacement = ReplacementFile::new(&path, Access::OWNER)?;
            // Before the first byte: it may hold secrets.
            take_after(&replacement, &before)?;
            replacement
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            ReplacementFile::new(&path, Access::of_records()?)?
        }
        Err(error) => return Err(error),
    };
    replacement.fill(bytes)?;
    match replacement.replace(&path) {
        Err(error) if is_mount_point(&error) => {
            let written = write_over(&path, bytes);
            if written.is_err() {
                replacement.keep();
            }
            written
        }
        replaced => replaced,
    }
}

/// Gives a new file the owner and the mode of the one that it replaces.
fn take_after(replacement: &ReplacementFile, before: &Metadata) -> io::Result<()> {
    let file = replacement.file();
    let made = file.metadata()?;
    if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
        // Not every user may give a file away.
        let _ = fchown(file, Some(before.uid()), Some(before.gid()));
    }
    file.set_permissions(before.permissions())
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

    use crate::create::left_beside;

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
        let mut left = ReplacementFile::new(&path, Access::OWNER).unwrap();
        left.keep();
        drop(left);
        assert_eq!(left_beside(&path).len(), 1);
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
