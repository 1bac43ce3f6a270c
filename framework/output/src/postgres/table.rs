//! A table in PostgreSQL, and the statements for its rows.

use headwater_core::Result;

use crate::{
    columns::RECORD,
    relational::{DELETED_AT, DIGEST, SEEN, TableColumn, TablePlan, quoted},
};

/// The room for a key in a page of an index, less the server's own part of it.
const LONGEST_KEY: usize = 2_600;

/// A stream's table.
#[derive(Debug)]
pub(super) struct Table {
    pub plan: TablePlan,
    /// With its schema, ready for statements.
    pub qualified: String,
    /// The key's fields and the columns, as `_headwater_tables` remembers them.
    pub key_json: String,
    pub columns_json: String,
}

impl Table {
    pub fn new(schema: &str, plan: TablePlan) -> Result<Self> {
        Ok(Self {
            qualified: qualified(schema, &plan.name),
            key_json: plan.key_json()?,
            columns_json: plan.columns_json()?,
            plan,
        })
    }

    /// Whether a value is short enough for the index of the key.
    pub fn has_room_in_key(&self, length: usize) -> bool {
        length <= LONGEST_KEY / self.plan.key.len().max(1)
    }

    fn type_name(&self, column: &TableColumn) -> &'static str {
        self.plan.dialect.type_name(column.kind, column.is_key)
    }

    /// Copies rows into all columns.
    pub fn copy(&self) -> String {
        format!(
            "COPY {} ({}) FROM STDIN (FORMAT binary)",
            self.qualified,
            self.plan.row_names().join(", ")
        )
    }

    /// Looks up keys, given as one array per column and then the mark of the pass: the positions of each, whether the table
    /// has it, whether the pass has seen it, and whether a second row has it.
    pub fn look_up(&self) -> String {
        let (keys, given, arrays) = self.given_keys();
        let of_given = of(&given);
        let mark = arrays.len() + 1;
        let other = match self.plan.has_digest && !self.plan.has_digests {
            true => format!("kept.{} <> ''", quoted(DIGEST)),
            false => "false".to_owned(),
        };
        format!(
            "SELECT array_agg(given.place ORDER BY given.place), bool_or(kept.{} IS NOT NULL), \
             coalesce(bool_or(kept.{seen} = ${mark}::bigint), false), coalesce(bool_or({other}), false) \
             FROM unnest({}) WITH ORDINALITY AS given({}, place) \
             LEFT JOIN {} AS kept ON {} GROUP BY {}",
            keys[0],
            parameters(arrays.into_iter()),
            given.join(", "),
            self.qualified,
            equal("kept", &keys, &of_given),
            of_given.join(", "),
            seen = quoted(SEEN),
        )
    }

    /// The rows of keys that are given like those of [`look_up`](Self::look_up): which of the keys, the digest, whether
    /// the pass has seen it, and the record.
    pub fn examine(&self) -> String {
        let (keys, given, arrays) = self.given_keys();
        let mark = arrays.len() + 1;
        let digest = match self.plan.has_digest {
            true => format!("kept.{}", quoted(DIGEST)),
            false => "''::text".to_owned(),
        };
        format!(
            "SELECT given.place, {digest}, coalesce(kept.{} = ${mark}::bigint, false), kept.{} \
             FROM unnest({}) WITH ORDINALITY AS given({}, place) JOIN {} AS kept ON {}",
            quoted(SEEN),
            quoted(RECORD),
            parameters(arrays.into_iter()),
            given.join(", "),
            self.qualified,
            equal("kept", &keys, &of(&given)),
        )
    }

    /// The columns that rows are looked up by, the names of the parameters, and their types.
    fn given_keys(&self) -> (Vec<String>, Vec<String>, Vec<&'static str>) {
        let mut keys = self.plan.key_names();
        let mut arrays: Vec<&str> = self
            .plan
            .key
            .iter()
            .map(|at| self.type_name(&self.plan.columns[*at]))
            .collect();
        if self.plan.has_digests {
            keys.push(quoted(DIGEST));
            arrays.push("text");
        }
        let given = (0..keys.len()).map(|at| format!("k{at}")).collect();
        (keys, given, arrays)
    }

    /// Replaces rows whose keys the table has, given as one array per column.
    pub fn update(&self) -> String {
        let names = self.plan.row_names();
        let given: Vec<String> = (0..names.len()).map(|at| format!("c{at}")).collect();
        let mut set: Vec<String> = names
            .iter()
            .zip(&given)
            .map(|(name, given)| format!("{name} = given.{given}"))
            .collect();
        if self.plan.has_deleted_at {
            set.push(format!("{} = NULL", quoted(DELETED_AT)));
        }
        let mut keys = self.plan.key_names();
        let mut values: Vec<String> = self
            .plan
            .key
            .iter()
            .map(|at| format!("given.c{at}"))
            .collect();
        if self.plan.has_digest {
            keys.push(quoted(DIGEST));
            values.push(format!("given.c{}", names.len() - 1));
        }
        let mut types: Vec<&str> = self
            .plan
            .columns
            .iter()
            .map(|column| self.type_name(column))
            .collect();
        types.extend(["text", "text", "bigint", "text"]);
        types.truncate(names.len());
        format!(
            "UPDATE {} AS kept SET {} FROM unnest({}) AS given({}) WHERE {}",
            self.qualified,
            set.join(", "),
            parameters(types.into_iter()),
            given.join(", "),
            equal("kept", &keys, &values)
        )
    }
}

/// A table with its schema.
pub(super) fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(table))
}

/// `$1::text[], $2::bigint[]`
fn parameters<'a>(types: impl Iterator<Item = &'a str>) -> String {
    let parameters = types.enumerate();
    let parameters = parameters.map(|(at, name)| format!("${}::{name}[]", at + 1));
    parameters.collect::<Vec<_>>().join(", ")
}

fn of(given: &[String]) -> Vec<String> {
    given.iter().map(|name| format!("given.{name}")).collect()
}

fn equal(table: &str, names: &[String], values: &[String]) -> String {
    let pairs = names.iter().zip(values);
    let equal = pairs.map(|(name, value)| format!("{table}.{name} = {value}"));
    equal.collect::<Vec<_>>().join(" AND ")
}
