//! The one refusal of a location that another run is writing to.

use std::fmt::Display;

use headwater_core::{Error, Kind};

/// The error for a location that another run is writing to: temporary, since that run ends. The error names the
/// connection where runs of other connections may write there meanwhile.
pub fn busy(location: impl Display, connection: Option<&str>) -> Error {
    let of = connection.map_or_else(String::new, |name| format!(" of the connection {name}"));
    Error::new(
        Kind::Unavailable,
        format!(
            "{location} is being written by another run{of}; wait for it to end, and run again"
        ),
    )
}
