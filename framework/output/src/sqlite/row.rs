//! The values of a row, taken out of a raw record.
//!
//! Nothing is rendered: a value is bound as the bytes that were sent, or it is one that has a single spelling.

use std::borrow::Cow;

use headwater_core::{Error, Kind, Result};
use headwater_json::canonical::key_part;
use headwater_json::{decode_string, for_each_field, whole_number};
use rusqlite::{
    Statement,
    types::{ToSqlOutput, Value, ValueRef},
};

use crate::{
    columns::ColumnKind,
    relational::{TablePlan, push_overflow},
};

/// One record after the other, in the same memory.
pub(super) struct Row<'plan, 'record> {
    plan: &'plan TablePlan,
    record: &'record [u8],
    /// The record's value for each column.
    values: Vec<Option<&'record [u8]>>,
}

impl<'plan> Row<'plan, '_> {
    pub fn new(plan: &'plan TablePlan) -> Self {
        Self {
            plan,
            record: b"",
            values: vec![None; plan.columns.len()],
        }
    }
}

impl<'record> Row<'_, 'record> {
    /// Looks at a record. Of a field that it has twice, the last one counts, as for every parser.
    pub fn read(&mut self, record: &'record [u8]) -> Result<()> {
        if str::from_utf8(record).is_err() {
            return Err(Error::new(Kind::DataInvalid, "a record is not UTF-8"));
        }
        self.record = record;
        self.values.fill(None);
        for_each_field(record, |name, value| {
            if let Some(place) = self.plan.column(name) {
                self.values[place] = Some(value);
            }
        })
        .map_err(|error| Error::new(Kind::DataInvalid, error.to_string()))
    }

    /// Binds the row to a statement. Says whether a value did not fit its column.
    pub fn bind(&self, statement: &mut Statement<'_>) -> rusqlite::Result<bool> {
        let mut overflow = Vec::new();
        for (place, (column, value)) in self.plan.columns.iter().zip(&self.values).enumerate() {
            let fitting = match value {
                None => Some(NULL),
                // Two spellings of one id are one key.
                Some(value) if column.kind == ColumnKind::Json && self.is_key(place) => {
                    Some(text_of(key_part(value)))
                }
                Some(value) => fit(column.kind, value),
            };
            let bound = fitting.unwrap_or_else(|| {
                let value = value.unwrap_or_default();
                push_overflow(&mut overflow, &column.field, value);
                self.misfit(place, value)
            });
            statement.raw_bind_parameter(place + 1, bound)?;
        }
        let has_overflow = !overflow.is_empty();
        if has_overflow {
            overflow.push(b'}');
        }
        let overflow = if has_overflow { text(&overflow) } else { NULL };
        let next = self.plan.columns.len() + 1;
        statement.raw_bind_parameter(next, text(self.record))?;
        statement.raw_bind_parameter(next + 1, overflow)?;
        Ok(has_overflow)
    }

    /// The column's value for one that does not fit. A key has to distinguish records all the same: it becomes a blob of
    /// its JSON text, which is equal to no text and no number.
    fn misfit(&self, place: usize, value: &'record [u8]) -> ToSqlOutput<'record> {
        if !self.is_key(place) {
            return NULL;
        }
        match key_part(value) {
            Cow::Borrowed(value) => ToSqlOutput::Borrowed(ValueRef::Blob(value)),
            Cow::Owned(value) => ToSqlOutput::Owned(Value::Blob(value)),
        }
    }

    fn is_key(&self, place: usize) -> bool {
        self.plan.key.contains(&place)
    }

    /// Binds the parts of the key, in their order, as the first parameters.
    pub fn bind_key(&self, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        for (at, place) in self.plan.key.iter().enumerate() {
            let column = &self.plan.columns[*place];
            let bound = match self.values[*place] {
                None => NULL,
                Some(value) if column.kind == ColumnKind::Json => text_of(key_part(value)),
                Some(value) => {
                    fit(column.kind, value).unwrap_or_else(|| self.misfit(*place, value))
                }
            };
            statement.raw_bind_parameter(at + 1, bound)?;
        }
        Ok(())
    }
}

const NULL: ToSqlOutput<'static> = ToSqlOutput::Borrowed(ValueRef::Null);

fn text(bytes: &[u8]) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(bytes))
}

fn text_of(bytes: Cow<'_, [u8]>) -> ToSqlOutput<'_> {
    match bytes {
        Cow::Borrowed(b"null") => NULL,
        Cow::Borrowed(bytes) => text(bytes),
        Cow::Owned(bytes) => ToSqlOutput::Owned(match String::from_utf8(bytes) {
            Ok(string) => Value::Text(string),
            Err(error) => Value::Blob(error.into_bytes()),
        }),
    }
}

/// A value as its column holds it; none where it does not fit.
fn fit(kind: ColumnKind, value: &[u8]) -> Option<ToSqlOutput<'_>> {
    if value == b"null" {
        return Some(NULL);
    }
    let first = value.first().copied()?;
    match kind {
        ColumnKind::Text | ColumnKind::Time => {
            match decode_string(value)? {
                // SQLite's functions take a NUL for the end of a text.
                string if string.contains('\0') => None,
                Cow::Borrowed(string) => Some(text(string.as_bytes())),
                Cow::Owned(string) => Some(ToSqlOutput::Owned(Value::Text(string))),
            }
        }
        ColumnKind::Integer => {
            whole_number(value).map(|number| ToSqlOutput::Owned(Value::Integer(number)))
        }
        ColumnKind::Number => (first == b'-' || first.is_ascii_digit()).then(|| text(value)),
        ColumnKind::Boolean => match value {
            b"true" => Some(ToSqlOutput::Owned(Value::Integer(1))),
            b"false" => Some(ToSqlOutput::Owned(Value::Integer(0))),
            _ => None,
        },
        ColumnKind::Json => Some(text(value)),
    }
}
