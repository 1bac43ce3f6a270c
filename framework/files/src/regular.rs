//! Opening files whose paths come from outside.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::fs::OFlags;

use crate::refuse_untrusted;

/// Opens a regular file for reading. Refuses a pipe, a device or a folder without waiting for it, and a file that
/// another user may change.
///
/// # Errors
///
/// Fails if the file cannot be opened, is not a regular file, or may be changed by another user.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Without this flag, opening a pipe waits until another process writes into it.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    refuse_untrusted(path, &about)?;
    Ok(file)
}

/// Opens a file or a pipe for reading, and refuses a file that another user may change.
///
/// # Errors
///
/// Fails if the file cannot be opened, or may be changed by another user.
pub fn open_trusted(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    let about = file.metadata()?;
    if about.is_file() {
        refuse_untrusted(path, &about)?;
    }
    Ok(file)
}

/// Reads a regular file of at most `max` bytes.
///
/// # Errors
///
/// Fails as [`open_regular`], if the file cannot be read, or if it is larger.
pub fn read_regular(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = open_regular(path)?.take(max + 1);
    file.read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max {
        let text = format!("it is larger than {max} bytes");
        return Err(io::Error::new(ErrorKind::FileTooLarge, text));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for path in [
            &*pipe,
            folder.path(),
            Path::new("/dev/zero"),
            Path::new("/dev/tty"),
        ] {
            open_regular(path).unwrap_err();
        }
        let path = folder.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_regular(&path, 5).unwrap(), b"12345");
        assert!(read_regular(&path, 4).is_err());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(read_regular(&link, 5).unwrap(), b"12345");
        std::os::unix::fs::symlink(&pipe, folder.path().join("to-pipe")).unwrap();
        open_regular(&folder.path().join("to-pipe")).unwrap_err();
    }
}
