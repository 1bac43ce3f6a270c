//! The reason of a refusal, for callers that handle each reason in another way.

use std::{error, fmt};

use headwater_core::{Error, Kind};

/// The reason of an error of the store that a caller may act on. The kind and the sentence of the error are for people;
/// [`Refusal::of`] finds the reason in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The name does not exist.
    Missing,
    /// The name is in use, or its deleted connection can still be restored.
    Taken,
    /// The title, the description or the date of expiry is invalid: `title`, `description` or `expires`.
    Field(&'static str),
    /// It changed since it was read.
    Changed,
    /// A run is under way.
    InUse,
    /// Another program changed the saved data, or its key is missing.
    Unreadable,
    /// The secrets of the fields at these JSON Pointers were saved for another address or another way to sign in.
    GiveAgain(Vec<String>),
    /// There is no earlier config, or its time is over.
    NothingToUndo,
}

impl Refusal {
    /// Finds the reason in an error.
    pub fn of(error: &Error) -> Option<&Self> {
        error::Error::source(error)?.downcast_ref()
    }

    pub(crate) fn error(self, kind: Kind, text: impl Into<String>) -> Error {
        Error::new(kind, text).caused_by(self)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "the name does not exist",
            Self::Taken => "the name is taken",
            Self::Field(_) => "a field of the label is invalid",
            Self::Changed => "it was changed meanwhile",
            Self::InUse => "a run is under way",
            Self::Unreadable => "it cannot be read",
            Self::GiveAgain(_) => "secrets have to be entered again",
            Self::NothingToUndo => "there is nothing to undo",
        })
    }
}

impl error::Error for Refusal {}
