//! Files that a run writes: how they are created, locked and replaced.
//!
//! Everything here is the same for records, states, the store and the command line, so that one place decides who may
//! read a new file and which file of another user is refused.

pub mod create;
mod line;
mod locked;
mod regular;
mod replace;

pub use line::push_line;
pub use locked::Locked;
pub use regular::{open_regular, read_regular};
pub use replace::replace_file;
