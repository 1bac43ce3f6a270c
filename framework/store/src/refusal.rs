//! Why the store refused something, for callers that answer each reason in another way.

use std::{error, fmt};

use headwater_core::{Error, Kind};

/// The reason of an error of the store, where it has one that a caller may act on. The kind and the sentence of the
/// error are for people; [`Refusal::of`] finds the reason in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing has this name.
    Missing,
    /// Something has this name already, or had it and can still be restored.
    Taken,
    /// What people call it, or write about it, cannot be shown: `title` or `description`.
    Field(&'static str),
    /// Somebody else changed it since it was read.
    Changed,
    /// A run is under way.
    InUse,
    /// What is saved was changed by something else, or its key is not there.
    Unreadable,
    /// The secrets of the fields at these JSON Pointers were saved for another address or another way to sign in.
    GiveAgain(Vec<String>),
    /// There is no earlier config any more, or there never was one.
    NothingToUndo,
}

impl Refusal {
    /// The reason that an error has.
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
            Self::Missing => "nothing has this name",
            Self::Taken => "the name is taken",
            Self::Field(_) => "it cannot be shown like that",
            Self::Changed => "somebody else changed it",
            Self::InUse => "a run is under way",
            Self::Unreadable => "it cannot be read",
            Self::GiveAgain(_) => "secrets have to be given again",
            Self::NothingToUndo => "there is nothing to undo",
        })
    }
}

impl error::Error for Refusal {}
