//! What SQLite complains about, in one sentence that says what to do.

use std::path::Path;

use headwater_core::{Error, Kind};
use rusqlite::ErrorCode;

/// The error for a complaint of SQLite about a file.
pub(super) fn problem(path: &Path, error: rusqlite::Error) -> Error {
    let (kind, what) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => (
            Kind::OutputFailed,
            "cannot be written: the disk is full; make room and run again".to_owned(),
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (Kind::OutputFailed, READ_ONLY.to_owned()),
        Some(ErrorCode::CannotOpen) => (
            Kind::OutputFailed,
            "cannot be opened; it has to be a file, in a folder that is there and that this user may write to"
                .to_owned(),
        ),
        Some(ErrorCode::NotADatabase) => (
            Kind::ConfigInvalid,
            "is not an SQLite file; name another one".to_owned(),
        ),
        Some(ErrorCode::DatabaseCorrupt) => (
            Kind::OutputFailed,
            "is damaged; put a sound copy in its place, or name another file".to_owned(),
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            Kind::Unavailable,
            "is being written by another program; run again once that has ended".to_owned(),
        ),
        Some(ErrorCode::SystemIoFailure) => (
            Kind::OutputFailed,
            "cannot be written or read: the disk reports an error; look at the disk and run again".to_owned(),
        ),
        Some(ErrorCode::TooBig) => (
            Kind::OutputFailed,
            "cannot hold a record of this size; SQLite's limit is 1 GB".to_owned(),
        ),
        _ => {
            // Without the statement, which may have a thousand columns.
            let said = match &error {
                rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
                other => other.to_string(),
            };
            (Kind::OutputFailed, format!("cannot be used: {said}"))
        }
    };
    Error::new(kind, format!("{} {what}", path.display())).caused_by(error)
}

/// Said of a file that can only be read.
pub(super) const READ_ONLY: &str =
    "is read-only; let this user write to the file and to its folder";
