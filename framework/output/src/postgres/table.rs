//! The tables of streams: their names, columns and statements.

use std::collections::{BTreeMap, HashMap};

use headwater_core::{Error, Kind, Result, StreamSpec, sink::Deletes};

use crate::{
    columns::{Column, ColumnKind, OVERFLOW, RECORD, columns},
    destination::{Mode, TableOptions},
    relational::{DELETED_AT, DIGEST, OURS, SEEN},
};

/// What PostgreSQL would cut off silently.
pub(super) const LONGEST_NAME: usize = 63;
/// PostgreSQL's limit, which counts what is kept beside the fields.
const MAX_COLUMNS: usize = 1_600;
/// What a page of an index has room for, less what it keeps beside the key.
const LONGEST_KEY: usize = 2_600;
/// Columns that every table has already.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// The columns that a table was made with: the kinds by the names of their fields.
pub(super) type Remembered = BTreeMap<String, String>;

/// A stream's table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) stream: &'static str,
    /// As it stands in the schema, without quotes.
    pub(super) name: String,
    /// With its schema, ready for statements.
    qualified: String,
    pub(super) columns: Vec<TableColumn>,
    /// Where the columns of the key are; empty where rows are appended.
    pub(super) key: Vec<usize>,
    /// The field that tells when a record changed.
    pub(super) cursor: Option<&'static str>,
    /// Whether each row has the digest of its record in its key.
    pub(super) has_digests: bool,
    /// Whether rows of one key can be told apart by a digest. Tables of earlier versions cannot.
    pub(super) has_digest: bool,
    /// Whether rows can be marked as deleted.
    has_deleted_at: bool,
    pub(super) deletes: Deletes,
    by_field: HashMap<Vec<u8>, usize>,
}

/// A column and the field that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableColumn {
    pub(super) field: String,
    pub(super) name: String,
    pub(super) kind: ColumnKind,
    pub(super) is_key: bool,
}

impl Table {
    /// The table of a stream. Columns that it was made with stay what they are, whatever the stream says now.
    pub(super) fn new(
        schema: &str,
        spec: &StreamSpec,
        options: &TableOptions,
        remembered: &Remembered,
    ) -> Result<Self> {
        let name = format!("{}{}", options.prefix, spec.name);
        if name.len() > LONGEST_NAME {
            return Err(invalid(format!(
                "the table {name:?} would have a name of more than {LONGEST_NAME} bytes; choose a shorter ?prefix="
            )));
        }
        if name.starts_with("_headwater") {
            return Err(invalid(format!(
                "the name {name:?} is reserved; choose a ?prefix= for the tables"
            )));
        }
        let is_keyed = match options.mode {
            Some(Mode::Append) => false,
            Some(Mode::Upsert) if spec.key.is_empty() => {
                return Err(invalid(format!(
                    "the stream {} has no key, so its rows can only be appended; leave out ?mode=upsert",
                    spec.name
                )));
            }
            _ => !spec.key.is_empty(),
        };
        if !is_keyed && options.deletes != Deletes::Keep {
            return Err(invalid(format!(
                "the stream {} is appended, so that no row of it can be told to be deleted; leave out ?deletes=",
                spec.name
            )));
        }
        let fields: Vec<&str> = spec.key.to_vec();
        let key: &[&str] = if is_keyed { &fields } else { &[] };
        let columns = merge(&name, remembered, columns(spec), key)?;
        let ours = if is_keyed { OURS.len() } else { 2 };
        if columns.len() + ours > MAX_COLUMNS {
            return Err(invalid(format!(
                "the stream {} has {} fields, and a table of PostgreSQL takes {} at most; choose another destination",
                spec.name,
                columns.len(),
                MAX_COLUMNS - ours
            )));
        }
        let place = |field: &&str| columns.iter().position(|column| column.field == **field);
        let by_field = columns.iter().enumerate();
        let by_field = by_field.map(|(at, column)| (column.field.clone().into_bytes(), at));
        Ok(Self {
            stream: spec.name,
            qualified: qualified(schema, &name),
            key: key.iter().filter_map(place).collect(),
            cursor: spec.cursor,
            has_digests: is_keyed && spec.has_digest(),
            has_digest: is_keyed,
            has_deleted_at: is_keyed && options.deletes == Deletes::Mark,
            deletes: options.deletes,
            by_field: by_field.collect(),
            name,
            columns,
        })
    }

    /// Takes into account which of our own columns a table of an earlier run has. True where its key has to be given a
    /// digest.
    pub(super) fn know(&mut self, there: &BTreeMap<String, String>) -> bool {
        let is_upgraded = self.has_digests && !there.contains_key(DIGEST);
        self.has_digest &= self.has_digests || there.contains_key(DIGEST);
        self.has_deleted_at |= self.is_keyed() && there.contains_key(DELETED_AT);
        is_upgraded
    }

    /// Whether rows have a key, and so a mark.
    pub(super) fn is_keyed(&self) -> bool {
        !self.key.is_empty()
    }

    pub(super) fn qualified(&self) -> &str {
        &self.qualified
    }

    pub(super) fn key_columns(&self) -> impl Iterator<Item = &str> {
        self.key.iter().map(|at| self.columns[*at].name.as_str())
    }

    /// The column of a field, whose name is spelt as in the record.
    pub(super) fn column(&self, spelt: &[u8]) -> Option<usize> {
        if !spelt.contains(&b'\\') {
            return self.by_field.get(spelt).copied();
        }
        let quoted = [b"\"", spelt, b"\""].concat();
        let field: String = serde_json::from_slice(&quoted).ok()?;
        self.by_field.get(field.as_bytes()).copied()
    }

    /// Whether a value is short enough for the index of the key.
    pub(super) fn has_room_in_key(&self, length: usize) -> bool {
        length <= LONGEST_KEY / self.key.len().max(1)
    }

    /// The fields of the key.
    pub(super) fn key_fields(&self) -> Vec<&str> {
        let field = |at: &usize| self.columns[*at].field.as_str();
        self.key.iter().map(field).collect()
    }

    /// What to remember about the columns.
    pub(super) fn remember(&self) -> Remembered {
        let column =
            |column: &TableColumn| (column.field.clone(), kind_name(column.kind).to_owned());
        self.columns.iter().map(column).collect()
    }

    /// Makes the table.
    pub(super) fn create(&self) -> String {
        let columns = self
            .columns
            .iter()
            .map(|column| format!("{} {}, ", quoted(&column.name), column.type_name()));
        let columns: String = columns.collect();
        let mut own = String::new();
        if self.is_keyed() {
            own.push_str(&format!("{} bigint, ", quoted(SEEN)));
            own.push_str(&format!("{} text NOT NULL DEFAULT '', ", quoted(DIGEST)));
        }
        if self.has_deleted_at {
            own.push_str(&format!("{} timestamptz, ", quoted(DELETED_AT)));
        }
        let unique = match self.is_keyed() {
            true => format!(", {}", self.unique()),
            false => String::new(),
        };
        format!(
            "CREATE TABLE {} ({columns}{own}{} text NOT NULL, {} text{unique})",
            self.qualified,
            quoted(RECORD),
            quoted(OVERFLOW)
        )
    }

    /// The constraint that keeps rows of one key apart.
    pub(super) fn unique(&self) -> String {
        let mut key = self.names(&self.key);
        key.push(quoted(DIGEST));
        format!("UNIQUE ({})", key.join(", "))
    }

    /// Adds the columns that the table was made without.
    pub(super) fn grow(
        &self,
        remembered: &Remembered,
        there: &BTreeMap<String, String>,
    ) -> Option<String> {
        let is_new = |column: &&TableColumn| !remembered.contains_key(&column.field);
        let added = self.columns.iter().filter(is_new);
        let added = added
            .map(|column| format!("ADD COLUMN {} {}", quoted(&column.name), column.type_name()));
        let mut added: Vec<String> = added.collect();
        let ours = [
            (SEEN, "bigint", self.is_keyed()),
            (DELETED_AT, "timestamptz", self.has_deleted_at),
        ];
        for (name, kind, is_wanted) in ours {
            if is_wanted && !there.contains_key(name) {
                added.push(format!("ADD COLUMN {} {kind}", quoted(name)));
            }
        }
        (!added.is_empty()).then(|| format!("ALTER TABLE {} {}", self.qualified, added.join(", ")))
    }

    /// Takes rows as they were made, into all columns.
    pub(super) fn copy(&self) -> String {
        format!(
            "COPY {} ({}) FROM STDIN (FORMAT binary)",
            self.qualified,
            self.all_names().join(", ")
        )
    }

    /// Says, of keys given as one array per column and then the mark of the pass: where each comes, whether the table has
    /// it, whether the pass has seen it, and whether a row has it that is not the first one.
    pub(super) fn look_up(&self) -> String {
        let (keys, given, arrays) = self.given_keys();
        let of_given = of(&given);
        let mark = arrays.len() + 1;
        let other = match self.has_digest && !self.has_digests {
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
    pub(super) fn examine(&self) -> String {
        let (keys, given, arrays) = self.given_keys();
        let mark = arrays.len() + 1;
        let digest = match self.has_digest {
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

    /// The columns of what the keys of rows are looked up by, the names of what is given, and the types.
    fn given_keys(&self) -> (Vec<String>, Vec<String>, Vec<&'static str>) {
        let mut keys = self.names(&self.key);
        let mut arrays: Vec<&str> = self
            .key
            .iter()
            .map(|at| self.columns[*at].type_name())
            .collect();
        if self.has_digests {
            keys.push(quoted(DIGEST));
            arrays.push("text");
        }
        let given = (0..keys.len()).map(|at| format!("k{at}")).collect();
        (keys, given, arrays)
    }

    /// Replaces rows whose keys the table has, given as one array per column.
    pub(super) fn update(&self) -> String {
        let names = self.all_names();
        let given: Vec<String> = (0..names.len()).map(|at| format!("c{at}")).collect();
        let mut set: Vec<String> = names
            .iter()
            .zip(&given)
            .map(|(name, given)| format!("{name} = given.{given}"))
            .collect();
        if self.has_deleted_at {
            set.push(format!("{} = NULL", quoted(DELETED_AT)));
        }
        let mut keys = self.names(&self.key);
        let mut values: Vec<String> = self.key.iter().map(|at| format!("given.c{at}")).collect();
        if self.has_digest {
            keys.push(quoted(DIGEST));
            values.push(format!("given.c{}", names.len() - 1));
        }
        let mut types: Vec<&str> = self.columns.iter().map(TableColumn::type_name).collect();
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

    /// Drops rows that the pass with a mark did not see, where it saw another one with the key: what a record was while an
    /// earlier pass met it twice, and no record that is gone. The mark is the parameter.
    pub(super) fn drop_outdated(&self) -> Option<[String; 2]> {
        if !self.has_digest || self.has_digests {
            return None;
        }
        let (table, seen, digest) = (&self.qualified, quoted(SEEN), quoted(DIGEST));
        let keys = self.columns.iter().filter(|column| column.is_key);
        let equal = keys.map(|column| {
            let name = quoted(&column.name);
            format!("o.{name} = kept.{name}")
        });
        let equal: Vec<String> = equal.collect();
        let beside = format!("SELECT 1 FROM {table} AS o WHERE {}", equal.join(" AND "));
        Some([
            format!(
                "DELETE FROM {table} AS kept WHERE {seen} IS DISTINCT FROM $1::bigint AND EXISTS ({beside} AND o.{seen} = \
                 $1::bigint)"
            ),
            // Rows of a key are found by the one without a digest.
            format!(
                "UPDATE {table} AS kept SET {digest} = '' WHERE {digest} <> '' AND NOT EXISTS ({beside} AND o.{digest} < \
                 kept.{digest})"
            ),
        ])
    }

    /// Deals with the rows that the pass with a mark did not see; the mark is the parameter.
    pub(super) fn sweep(&self) -> String {
        let table = &self.qualified;
        let unseen = format!("{} IS DISTINCT FROM $1::bigint", quoted(SEEN));
        let deleted_at = quoted(DELETED_AT);
        match self.deletes {
            Deletes::Keep => format!("SELECT count(*) FROM {table} WHERE {unseen}"),
            Deletes::Mark => format!(
                "UPDATE {table} SET {deleted_at} = now() WHERE {unseen} AND {deleted_at} IS NULL"
            ),
            Deletes::Remove => format!("DELETE FROM {table} WHERE {unseen}"),
        }
    }

    fn names(&self, columns: &[usize]) -> Vec<String> {
        let name = |at: &usize| quoted(&self.columns[*at].name);
        columns.iter().map(name).collect()
    }

    fn all_names(&self) -> Vec<String> {
        let fields = self.columns.iter().map(|column| column.name.as_str());
        let mut own = vec![RECORD, OVERFLOW];
        own.extend(self.is_keyed().then_some(SEEN));
        own.extend(self.has_digest.then_some(DIGEST));
        fields.chain(own).map(quoted).collect()
    }
}

impl TableColumn {
    fn new(field: &str, kind: ColumnKind, key: &[&str]) -> Self {
        Self {
            field: field.to_owned(),
            name: column_name(field),
            kind,
            is_key: key.contains(&field),
        }
    }

    /// The type in PostgreSQL, as the server itself spells it. JSON cannot be compared, so that a key of it is text.
    pub(super) fn type_name(&self) -> &'static str {
        match self.kind {
            ColumnKind::Text => "text",
            ColumnKind::Integer => "bigint",
            ColumnKind::Number => "numeric",
            ColumnKind::Boolean => "boolean",
            ColumnKind::Time => "timestamp with time zone",
            ColumnKind::Json if self.is_key => "text",
            ColumnKind::Json => "json",
        }
    }
}

/// The columns that are there, then those that the stream has won since.
fn merge(
    table: &str,
    remembered: &Remembered,
    wanted: Vec<Column>,
    key: &[&str],
) -> Result<Vec<TableColumn>> {
    let mut merged = Vec::with_capacity(wanted.len());
    for (field, kind) in remembered {
        let kind = kind_named(kind).ok_or_else(|| {
            invalid(format!(
                "the table {table:?} has a column of the kind {kind:?}, which this version does not know; use the \
                 version that made it"
            ))
        })?;
        merged.push(TableColumn::new(field, kind, key));
    }
    for column in wanted {
        if !remembered.contains_key(&column.name) {
            merged.push(TableColumn::new(&column.name, column.kind, key));
        }
    }
    Ok(merged)
}

/// A name in quotes: with them, any word and any letter is a name.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table with its schema.
pub(super) fn qualified(schema: &str, table: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(table))
}

/// The field's own name wherever PostgreSQL can have it; otherwise as much of it as fits, and a fingerprint of it.
fn column_name(field: &str) -> String {
    let is_taken = SYSTEM_COLUMNS.contains(&field) || OURS.contains(&field);
    let is_possible = !field.is_empty() && field.len() <= LONGEST_NAME && !field.contains('\0');
    if is_possible && !is_taken {
        return field.to_owned();
    }
    let mut name = field.replace('\0', "");
    while name.len() > LONGEST_NAME - "_0123456789abcdef".len() {
        name.pop();
    }
    format!("{name}_{:016x}", fingerprint(field.as_bytes()))
}

/// FNV-1a. It stands in names of columns, so that it must stay what it is.
fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn kind_name(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Text => "text",
        ColumnKind::Integer => "integer",
        ColumnKind::Number => "number",
        ColumnKind::Boolean => "boolean",
        ColumnKind::Time => "time",
        ColumnKind::Json => "json",
    }
}

fn kind_named(name: &str) -> Option<ColumnKind> {
    use ColumnKind::{Boolean, Integer, Json, Number, Text, Time};
    [Text, Integer, Number, Boolean, Time, Json]
        .into_iter()
        .find(|kind| kind_name(*kind) == name)
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

fn invalid(text: String) -> Error {
    Error::new(Kind::ConfigInvalid, text)
}
