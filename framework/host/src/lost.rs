//! The one refusal of a destination that no longer has what the state says.

use headwater_core::{Error, Kind};

/// The error for records of a stream that the state vouches for and the destination does not have. `what` says what is
/// missing; `place` is what `headwater state` takes for the destination, with its options.
pub fn lost(what: &str, place: &str, stream: &str) -> Error {
    Error::new(
        Kind::ConfigInvalid,
        format!(
            "{what}, and the state says that its records are there; put it back, or let the next run read the stream \
             from the start: `headwater state reset {place} --stream {stream}`"
        ),
    )
}
