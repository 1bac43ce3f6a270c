//! The length of a file of lines that a state vouches for, also after the file was moved.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::State;

/// Bytes at the end of the written lines that distinguish a file from others of its name.
const TAIL: usize = 4096;

/// A length that a state vouches for.
#[derive(Debug)]
pub(crate) struct KeptLength {
    /// The length.
    pub bytes: u64,
    /// The name of the file in the state, if it differs from its current name.
    pub known_as: Option<String>,
}

/// The length of an open file that a state vouches for. The file is found by its name; or, if it was moved, mounted
/// elsewhere or is reached by a link now, by its inode or its content.
pub(crate) fn vouched(state: &State, path: &Path, file: &File) -> io::Result<Option<KeptLength>> {
    if let Some(bytes) = state.output(path) {
        return Ok(Some(KeptLength {
            bytes,
            known_as: None,
        }));
    }
    let about = file.metadata()?;
    for (known_as, bytes) in state.outputs() {
        let other = Path::new(known_as);
        if other.file_name() != path.file_name() {
            continue;
        }
        let there = fs::metadata(other);
        let is_same = there
            .as_ref()
            .is_ok_and(|there| (there.dev(), there.ino()) == (about.dev(), about.ino()));
        let is_known = is_same
            || match state.end(known_as) {
                _ if bytes == 0 || bytes > about.len() => false,
                Some(end) => digest(&tail(file, bytes)?) == end,
                // A state of an earlier version.
                None => there.is_err() && tail(file, bytes)?.ends_with(b"\n"),
            };
        if is_known {
            return Ok(Some(KeptLength {
                bytes,
                known_as: Some(known_as.to_owned()),
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

/// The digest of a tail in a state, and of a state in itself.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
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
