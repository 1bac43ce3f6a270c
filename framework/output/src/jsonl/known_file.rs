//! Finds a file of lines in the state, also where the file was moved.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::Path,
};

use headwater_core::sink::SinkState;

/// Written bytes at the end of a file that distinguish it from others of its name.
const TAIL: usize = 4096;

/// A file that the state knows.
#[derive(Debug)]
pub(crate) struct KnownFile {
    /// The length that the state vouches for.
    pub bytes: u64,
    /// The name of the file in the state, if it differs from its current name.
    pub known_as: Option<String>,
}

/// The length that the state has for a path.
pub(crate) fn length_in(state: &dyn SinkState, path: &Path) -> Option<u64> {
    let path = path.to_string_lossy();
    let mut files = state.files().into_iter();
    files
        .find(|(known, _)| *known == path)
        .map(|(_, bytes)| bytes)
}

/// Finds an open file in the state: by its name; or, if it was moved, mounted elsewhere or is reached by a link now, by
/// its inode or its last bytes.
pub(crate) fn known_file(
    state: &dyn SinkState,
    path: &Path,
    file: &File,
) -> io::Result<Option<KnownFile>> {
    if let Some(bytes) = length_in(state, path) {
        return Ok(Some(KnownFile {
            bytes,
            known_as: None,
        }));
    }
    let about = file.metadata()?;
    for (known_as, bytes) in state.files() {
        let other = Path::new(&known_as);
        if other.file_name() != path.file_name() {
            continue;
        }
        let there = fs::metadata(other);
        let is_same = there
            .as_ref()
            .is_ok_and(|there| (there.dev(), there.ino()) == (about.dev(), about.ino()));
        let has_tail = || {
            if bytes == 0 || bytes > about.len() {
                return Ok(false);
            }
            let tail = tail(file, bytes)?;
            // Without a recorded end, of an earlier version, any whole line will do once the other file is gone.
            let is_tail = state.is_tail(&known_as, &tail);
            io::Result::Ok(is_tail.unwrap_or_else(|| there.is_err() && tail.ends_with(b"\n")))
        };
        if is_same || has_tail()? {
            return Ok(Some(KnownFile {
                bytes,
                known_as: Some(known_as),
            }));
        }
    }
    Ok(None)
}

/// The bytes before an offset in a file, enough to distinguish it from others.
pub(crate) fn tail(mut file: &File, until: u64) -> io::Result<Vec<u8>> {
    let length = until.min(TAIL as u64);
    file.seek(SeekFrom::Start(until - length))?;
    let mut tail = Vec::new();
    file.take(length).read_to_end(&mut tail)?;
    Ok(tail)
}

/// Updates the tail of a file after a write.
pub(crate) fn extend(tail: &mut Vec<u8>, written: &[u8]) {
    let rest = TAIL.saturating_sub(written.len());
    tail.drain(..tail.len().saturating_sub(rest));
    tail.extend_from_slice(&written[written.len().saturating_sub(TAIL)..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_that_grew_is_that_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let (mut all, mut grown) = (Vec::new(), Vec::new());
        for size in [0, 1, 100, 4000, 4095, 4096, 4097, 10_000, 3] {
            let piece: Vec<u8> = (0..size).map(|_| fastrand::u8(..)).collect();
            extend(&mut grown, &piece);
            all.extend_from_slice(&piece);
            fs::write(&path, &all).unwrap();
            let file = File::open(&path).unwrap();
            assert_eq!(tail(&file, all.len() as u64).unwrap(), grown);
        }
    }
}
