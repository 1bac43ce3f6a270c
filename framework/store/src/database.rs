//! The database of a store. Both databases get the same statements, written in the common part of their dialects: texts
//! and whole numbers only, and `?1` for a parameter.

use headwater_core::{Date, Error, Kind, Result};

/// A parameter, or a value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Text(String),
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        number.map_or(Self::Null, Self::Integer)
    }
}

impl From<Option<&str>> for Value {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Self::Null, Self::from)
    }
}

impl From<Option<Date>> for Value {
    fn from(day: Option<Date>) -> Self {
        day.map_or(Self::Null, |day| Self::Text(day.to_string()))
    }
}

/// The values of a row, in the order of the columns of the statement.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row(pub Vec<Value>);

impl Row {
    pub(crate) fn text(&self, column: usize) -> Result<String> {
        match self.0.get(column) {
            Some(Value::Text(text)) => Ok(text.clone()),
            _ => Err(damaged()),
        }
    }

    pub(crate) fn integer(&self, column: usize) -> Result<i64> {
        match self.0.get(column) {
            Some(Value::Integer(number)) => Ok(*number),
            _ => Err(damaged()),
        }
    }

    pub(crate) fn optional_text(&self, column: usize) -> Result<Option<String>> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.text(column).map(Some),
        }
    }

    pub(crate) fn optional_integer(&self, column: usize) -> Result<Option<i64>> {
        match self.0.get(column) {
            Some(Value::Null) => Ok(None),
            _ => self.integer(column).map(Some),
        }
    }

    pub(crate) fn optional_date(&self, column: usize) -> Result<Option<Date>> {
        let text = self.optional_text(column)?;
        text.map(|text| text.parse().map_err(|_| damaged()))
            .transpose()
    }
}

fn damaged() -> Error {
    Error::new(
        Kind::DataInvalid,
        "the store contains a row that headwater did not write",
    )
}

/// A connection to a database, with at most one transaction at a time.
pub(crate) trait Database: Send {
    /// Runs one statement and returns its rows.
    fn query(&mut self, statement: &str, parameters: &[Value]) -> Result<Vec<Row>>;

    /// Runs one statement and returns how many rows it changed.
    fn execute(&mut self, statement: &str, parameters: &[Value]) -> Result<u64>;

    /// Starts a transaction. Other writers of the same rows wait for it.
    fn begin(&mut self) -> Result<()>;

    /// Starts a transaction that keeps others from creating or upgrading the same store.
    fn begin_alone(&mut self) -> Result<()>;

    /// Milliseconds since 1970, by the clock that all users of the store share.
    fn now(&mut self) -> Result<i64>;

    /// The names of the tables.
    fn tables(&mut self) -> Result<Vec<String>>;

    /// Whether the database may contain tables of other programs.
    fn is_shared(&self) -> bool;

    /// Removes deleted rows also from the log of the latest changes, as far as that is possible now. Not in a
    /// transaction.
    fn forget_deleted(&mut self);
}

/// Runs some work as a whole or not at all.
pub(crate) fn transaction<T>(
    database: &mut dyn Database,
    work: impl FnOnce(&mut dyn Database) -> Result<T>,
) -> Result<T> {
    database.begin()?;
    end(database, work)
}

/// Ends the transaction that has begun with some work: with all of it, or with none of it.
pub(crate) fn end<T>(
    database: &mut dyn Database,
    work: impl FnOnce(&mut dyn Database) -> Result<T>,
) -> Result<T> {
    let done = work(database).and_then(|done| {
        database.execute("COMMIT", &[])?;
        Ok(done)
    });
    if done.is_err() {
        // The failed statement may have ended the transaction already.
        let _ = database.execute("ROLLBACK", &[]);
    }
    done
}

/// The first row of an answer, if any.
pub(crate) fn first(rows: Vec<Row>) -> Option<Row> {
    rows.into_iter().next()
}
