//! The database of a store. Both databases get the same statements, written in the common part of their dialects: texts
//! and whole numbers only, and `?1` for a parameter.

use std::{fmt, marker::PhantomData, sync::Arc};

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

/// A column of an answer, and the type of its values.
pub(crate) struct Column<T> {
    /// Its part of a statement, with its label.
    selected: &'static str,
    label: &'static str,
    values: PhantomData<fn() -> T>,
}

impl<T> Column<T> {
    /// A column that a statement selects as `expression AS "label"`.
    pub(crate) const fn new(selected: &'static str, label: &'static str) -> Self {
        Self {
            selected,
            label,
            values: PhantomData,
        }
    }
}

impl<T> Clone for Column<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Column<T> {}

/// Writes the column as a part of `SELECT` or `RETURNING`.
impl<T> fmt::Display for Column<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.selected)
    }
}

/// Declares the columns that are read of a table. Statements select these constants and rows are read by them, so that no
/// column is forgotten or mistaken for another one.
macro_rules! table {
    ($(#[$about:meta])* $table:ident = $name:literal { $($constant:ident: $type:ty = $column:literal,)+ }) => {
        $(#[$about])*
        pub(crate) enum $table {}

        impl $table {
            $(
                pub(crate) const $constant: $crate::database::Column<$type> = $crate::database::Column::new(
                    concat!($name, ".", $column, " AS \"", $name, ".", $column, "\""),
                    concat!($name, ".", $column),
                );
            )+
            /// All these columns, as a part of `SELECT` or `RETURNING`.
            pub(crate) const ALL: &str = concat!(
                $(", ", $name, ".", $column, " AS \"", $name, ".", $column, "\""),+
            )
            .split_at(", ".len())
            .1;
        }
    };
}
pub(crate) use table;

/// The number of rows that a statement counts.
pub(crate) const COUNT: Column<i64> = Column::new("count(*) AS \"count\"", "count");

/// A row of an answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    labels: Arc<[String]>,
    values: Vec<Value>,
}

impl Row {
    /// A row with the labels of its columns.
    pub(crate) fn new(labels: &Arc<[String]>, values: Vec<Value>) -> Self {
        Self {
            labels: Arc::clone(labels),
            values,
        }
    }

    /// Reads the value of a column. Fails if the value has another type, or if the statement has not selected the
    /// column.
    pub(crate) fn get<T: FromValue>(&self, column: Column<T>) -> Result<T> {
        let mut cells = self.labels.iter().zip(&self.values);
        let Some((_, value)) = cells.find(|(label, _)| *label == column.label) else {
            let text = format!("a statement of the store does not select {}", column.label);
            return Err(Error::new(Kind::Unexpected, text));
        };
        T::from_value(value).ok_or_else(damaged)
    }
}

/// The type of a column's values.
pub(crate) trait FromValue: Sized {
    /// `None` for a value of another type.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text.clone()),
            Value::Null | Value::Integer(_) => None,
        }
    }
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(number) => Some(*number),
            Value::Null | Value::Text(_) => None,
        }
    }
}

impl FromValue for Date {
    fn from_value(value: &Value) -> Option<Self> {
        String::from_value(value)?.parse().ok()
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            _ => T::from_value(value).map(Some),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    table! {
        /// A table of two columns.
        Pair = "pair" {
            LEFT: i64 = "left",
            RIGHT: Option<String> = "right",
        }
    }

    #[test]
    fn a_row_is_read_by_the_names_of_its_columns() {
        assert_eq!(
            Pair::ALL,
            "pair.left AS \"pair.left\", pair.right AS \"pair.right\""
        );
        let row = |labels: &[&str], values: &[Value]| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            Row::new(&labels, values.to_vec())
        };
        let turned = row(&["pair.right", "pair.left"], &["a".into(), 1.into()]);
        assert_eq!(turned.get(Pair::LEFT).unwrap(), 1);
        assert_eq!(turned.get(Pair::RIGHT).unwrap().as_deref(), Some("a"));
        let other = row(&["pair.left"], &[Value::Null]);
        assert_eq!(other.get(Pair::LEFT).unwrap_err().kind(), Kind::DataInvalid);
        let missing = other.get(Pair::RIGHT).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "a statement of the store does not select pair.right"
        );
    }
}
