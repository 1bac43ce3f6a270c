//! The appearance of the console: pages and forms as pure functions of their data.
//!
//! A host with a server hands plain data to a function such as [`credential`] and gets a [`Page`]: the whole
//! document, or the content alone for the script. Nothing here uses a store or a network. Templates are compiled and
//! escape every text. Every flow works with links and forms; the one script ([`SCRIPT`]) makes them
//! quicker. Pages hold no script and no style of their own, so that a strict Content-Security-Policy can refuse both.
//!
//! The form also opens in a frame of another page: [`embedded`] is the page in the frame, [`EMBED_SCRIPT`] the script of
//! that other page.
//!
//! Secrets go one way: a page never holds one, [`answer`] reads the typed values.

mod answer;
mod author;
mod chart;
mod checks;
mod command;
mod connection;
mod credential;
mod embedded;
mod entry;
mod expiry;
mod fields;
mod gallery;
mod inputs;
mod messages;
mod page;
mod parts;
mod run;
mod sentence;
mod streams;

pub use answer::{answer, left_empty};
pub use author::{Author, author};
pub use chart::Sample;
pub use checks::ProbeResult;
pub use connection::{Access, Change, ConnectionDetail, Use, connection};
pub use credential::{
    CredentialForm, LONGEST_DESCRIPTION, LONGEST_TITLE, Purpose, Source, credential, title_of_copy,
};
pub use embedded::{Embedded, embedded};
pub use entry::{Login, Problem, login, problem};
pub use expiry::{Age, Expiry};
pub use fields::SavedSecret;
pub use gallery::{
    Authenticate, ConnectionList, Gallery, SourceTile, Tile, authenticate, connections, gallery,
};
pub use messages::Messages;
pub use page::{
    EMBED_SCRIPT, EMBED_SCRIPT_PATH, Frame, Page, SCRIPT, SCRIPT_PATH, STYLE, STYLE_PATH, Section,
    Theme,
};
pub use parts::Status;
pub use run::{RunList, RunRow, RunState, RunView, StreamProgress, run, runs};
pub use streams::{
    Frequency, Preview, Schedule, ScheduleChange, StreamChoice, StreamRow, preview, streams,
};
