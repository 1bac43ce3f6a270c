//! The one refusal of a destination that no longer has the records of the state.

use headwater_core::{Error, Kind};

/// The error for records of a stream that the state vouches for and the destination does not have. `what` names the
/// missing thing; `location` is the argument of `headwater state` for the destination, with its options.
pub fn lost(what: &str, location: &str, stream: &str) -> Error {
    Error::new(
        Kind::ConfigInvalid,
        format!(
            "{what}, and the state says that its records are there; put it back, or let the next run read the stream \
             from the start: `headwater state reset {location} --stream {stream}`"
        ),
    )
}
