//! Files that a run writes or obeys: how they are created, locked, replaced and trusted.
//!
//! Everything here is the same for records, states, the store and the command line, so that one place decides who may
//! read a new file and which file of another user is refused.

#![warn(clippy::missing_errors_doc)]

mod access;
pub mod create;
mod line;
mod locked;
mod regular;
mod replace;
mod trust;

pub use line::push_line;
pub use locked::Locked;
pub use regular::{open_regular, open_trusted, read_regular};
pub use replace::replace_file;
pub use trust::{refuse_untrusted, refuse_untrusted_database, refuse_untrusted_folder};
