//! Tables in a database: everything that SQLite and PostgreSQL have in common.
//!
//! | module | decides |
//! | --- | --- |
//! | `plan` | which table a stream gets, whether it may be written to, and how it grows |
//! | `table` | the columns of a planned table, and the statements that both databases understand |
//! | `keys` | whether a record is a new row or replaces an earlier one |
//! | `stored` | how the databases remember the columns of a table |
//! | `dialect` | nothing: it names the differences between the databases |
//!
//! A sink adds the transport of rows, and the epoch that ends an earlier run.

mod dialect;
mod keys;
mod plan;
mod stored;
mod table;

pub(crate) use headwater_core::DIGEST;

pub(crate) use dialect::{Dialect, quoted};
pub(crate) use keys::{Fate, Kept, Relation, relation, rule};
pub(crate) use plan::{Catalog, Owner, plan};
pub(crate) use stored::LedgerRow;
#[cfg(feature = "sqlite")]
pub(crate) use stored::{columns_as_list, columns_from_list};
#[cfg(feature = "postgres")]
pub(crate) use stored::{columns_as_map, columns_from_map};
pub(crate) use table::{Change, TableColumn, TablePlan, push_overflow};

use crate::columns::{OVERFLOW, RECORD};

/// The column that holds the mark of the pass that saw the row last.
pub const SEEN: &str = "_seen";
/// The column that holds since when a row's record is known to be deleted; only in tables with `?deletes=mark`.
pub const DELETED_AT: &str = "_deleted_at";
/// The names of headwater's own columns, which no field gets.
pub(crate) const OURS: [&str; 5] = [RECORD, OVERFLOW, SEEN, DIGEST, DELETED_AT];

/// The tables in which headwater remembers states and tables begin with this.
pub(crate) const LEDGER: &str = "_headwater";
