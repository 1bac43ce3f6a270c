//! Saved connections: configs with sealed secrets, their runs, who runs them and when, and who did what.
//!
//! A [`Store`] is a SQLite file, or a PostgreSQL database that several hosts share. Secrets are sealed one by one with
//! a key that is never in the store. Everything else that a run obeys is in clear under a seal of its own, so a change
//! by another program shows. `connection_row.rs` binds the seals, `ledger.rs` distinguishes a row from an older copy of
//! it, and `rekey.rs` replaces one key with another.
//!
//! A run holds a lease with an epoch: a number that grows with each run of a connection. The store refuses every write
//! of a run whose epoch is over, so two runs of one connection cannot both commit.
//!
//! Every change of a connection raises its revision in the transaction of the change, which also writes who made it.

#![warn(clippy::missing_errors_doc)]

mod audit;
mod checks;
mod connection_row;
mod connections;
mod corrupt;
mod database;
mod deletion;
mod expiry;
mod health;
mod key;
mod lease;
mod ledger;
mod location;
mod lock;
mod names;
#[cfg(feature = "postgres")]
mod postgres;
mod refusal;
mod rekey;
mod requests;
mod runs;
mod schedules;
mod schema;
mod seal;
mod secrets;
mod sqlite;
mod store;
mod tokens;
mod undo;

pub use audit::{Actor, AuditNote, AuditProof, AuditRow};
pub use checks::{CheckSummary, LastCheck};
pub use connections::{Connection, ConnectionSummary, Label, NewConnection};
pub use corrupt::CorruptConnection;
pub use deletion::Contents;
pub use expiry::{days_until, read_expiry};
pub use health::{Health, LastSync, SOON_DAYS};
pub use key::{Keyring, key_text};
pub use lease::Lease;
pub use location::StoreLocation;
pub use refusal::Refusal;
pub use rekey::RekeyReport;
pub use requests::{IdempotencyState, Reply};
pub use runs::{ListedRun, PastRun, Run, RunHolder, RunsAfter};
pub use schedules::{Schedule, ScheduledRun, When};
pub use store::Store;
pub use tokens::{Scope, Token, TokenHash};
