//! Rows on their way to a table.

use std::{error::Error as StdError, io::Write, ops::Range};

use bytes::BytesMut;
use headwater_core::{Error, Kind, Result, sink::WriteCounts};
use headwater_json::canonical::{digest, key_part};
use headwater_json::for_each_field;
use postgres::{
    Client, Statement,
    types::{IsNull, ToSql, Type, to_sql_checked},
};

use super::{
    fates::{Fate, Fates, StoredKey},
    table::Table,
    value::{fields, push, push_bytes, push_null},
};
use crate::{
    columns::ColumnKind,
    relational::{TablePlan, push_overflow},
};

/// The header of a COPY stream: a mark, no flags, no extension.
const COPY_START: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// The end of a COPY stream, in the place of another row.
const COPY_END: &[u8] = &(-1_i16).to_be_bytes();
/// Bytes of one message.
const MESSAGE: usize = 1 << 20;
/// What one field can hold.
const LONGEST_FIELD: usize = (1 << 30) - 1_024;

/// The statements of a table. They can be prepared once it is there.
pub(super) struct Statements {
    copy: Statement,
    /// None where rows are appended.
    replace: Option<Replace>,
}

struct Replace {
    look_up: Statement,
    examine: Statement,
    update: Statement,
}

impl Statements {
    pub(super) fn prepare(client: &mut Client, table: &Table) -> Result<Self, postgres::Error> {
        let copy = client.prepare(&table.copy())?;
        let mut replace = None;
        if table.plan.is_keyed() {
            let look_up = client.prepare(&table.look_up())?;
            let examine = client.prepare(&table.examine())?;
            let update = client.prepare(&table.update())?;
            replace = Some(Replace {
                look_up,
                examine,
                update,
            });
        }
        Ok(Self { copy, replace })
    }
}

/// Rows in the form of COPY.
#[derive(Default)]
pub(super) struct Rows {
    bytes: Vec<u8>,
    rows: Vec<Row>,
    overflow: Vec<u8>,
}

struct Row {
    /// Its fields; COPY's count of them precedes the span.
    span: Range<usize>,
    /// The record as it was sent.
    record: Range<usize>,
    has_overflow: bool,
    has_key: bool,
}

impl Rows {
    /// Bytes that are held.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Makes a row of a record.
    pub(super) fn push(&mut self, table: &Table, mark: Option<i64>, record: &[u8]) -> Result<()> {
        let plan = &table.plan;
        let stream = plan.stream;
        if str::from_utf8(record).is_err() || record.contains(&0) {
            let text = format!("a record of the stream {stream} is not text in UTF-8");
            return Err(Error::new(Kind::DataInvalid, text));
        }
        if record.len() > LONGEST_FIELD {
            let text = format!(
                "a record of the stream {stream} is larger than the 1 GiB that PostgreSQL takes; choose another \
                 destination"
            );
            return Err(Error::new(Kind::OutputFailed, text));
        }
        // A field that comes twice counts as the last one says, as JSON readers have it.
        let mut values: Vec<Option<&[u8]>> = vec![None; plan.columns.len()];
        for_each_field(record, |name, value| {
            if let Some(at) = plan.column(name) {
                values[at] = (value != b"null").then_some(value);
            }
        })
        .map_err(|error| Error::new(Kind::DataInvalid, error.to_string()).with("stream", stream))?;

        let own = own_columns(plan);
        let count = u16::try_from(values.len() + own).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&count.to_be_bytes());
        let start = self.bytes.len();
        self.overflow.clear();
        let mut has_key = true;
        for (column, value) in plan.columns.iter().zip(&values) {
            let Some(value) = value else {
                has_key &= !column.is_key;
                push_null(&mut self.bytes);
                continue;
            };
            let before = self.bytes.len();
            // Two spellings of one id are one key.
            let mut fits = if column.is_key && column.kind == ColumnKind::Json {
                push(&mut self.bytes, column.kind, &key_part(value))
            } else {
                push(&mut self.bytes, column.kind, value)
            };
            if fits && column.is_key && !table.has_room_in_key(self.bytes.len() - before) {
                self.bytes.truncate(before);
                fits = false;
            }
            if !fits {
                has_key &= !column.is_key;
                push_null(&mut self.bytes);
                push_overflow(&mut self.overflow, &column.field, value);
            }
        }
        push_bytes(&mut self.bytes, record);
        let end = self.bytes.len();
        let has_overflow = !self.overflow.is_empty();
        if has_overflow {
            self.overflow.push(b'}');
            push_bytes(&mut self.bytes, &self.overflow);
        } else {
            push_null(&mut self.bytes);
        }
        if plan.is_keyed() {
            match mark {
                Some(mark) => drop(push_bytes(&mut self.bytes, &mark.to_be_bytes())),
                None => push_null(&mut self.bytes),
            }
        }
        if plan.has_digests {
            push_bytes(&mut self.bytes, digest(record).as_bytes());
        } else if plan.has_digest {
            push_bytes(&mut self.bytes, b"");
        }
        self.rows.push(Row {
            span: start..self.bytes.len(),
            record: end - record.len()..end,
            has_overflow,
            has_key,
        });
        Ok(())
    }

    /// Stores the rows in their table, counts them, and clears them.
    pub(super) fn store(
        &mut self,
        client: &mut Client,
        table: &Table,
        mark: Option<i64>,
        statements: &Statements,
        written: &mut WriteCounts,
    ) -> Result<(), postgres::Error> {
        let fates = match &statements.replace {
            Some(replace) => self.fates(client, table, mark, replace)?,
            None => Fates {
                rows: vec![Fate::New; self.rows.len()],
                ..Fates::default()
            },
        };
        if fates.rows.contains(&Fate::New) {
            self.copy(client, &statements.copy, &fates)?;
        }
        if let Some(replace) = &statements.replace
            && fates.rows.contains(&Fate::Known)
        {
            self.update(client, table, &replace.update, &fates)?;
        }
        for (row, fate) in self.rows.iter().zip(&fates.rows) {
            match fate {
                Fate::New => written.records += 1,
                Fate::Known | Fate::Superseded => written.deduplicated += 1,
            }
            let is_stored = *fate != Fate::Superseded;
            written.overflowed += u64::from(is_stored && row.has_overflow);
        }
        written.collisions += fates.collisions;
        written.merged += fates.merged;
        self.bytes.clear();
        self.rows.clear();
        Ok(())
    }

    /// Asks the server, whose notion of equal keys is the one that counts.
    fn fates(
        &self,
        client: &mut Client,
        table: &Table,
        mark: Option<i64>,
        replace: &Replace,
    ) -> Result<Fates, postgres::Error> {
        let with_key: Vec<usize> = (0..self.rows.len())
            .filter(|at| self.rows[*at].has_key)
            .collect();
        let mut fates = Fates {
            rows: self.rows.iter().map(Row::fate_without_key).collect(),
            ..Fates::default()
        };
        let keys = self.keys(table, &with_key);
        let mut given = parameters(&keys);
        given.push(&mark);
        let record = |row: usize| &self.bytes[self.rows[row].record.clone()];
        // Keys with rows that have to be looked at.
        let mut suspects: Vec<Vec<usize>> = Vec::new();
        for answer in client.query(&replace.look_up, &given)? {
            let (places, is_known): (Vec<i64>, bool) = (answer.get(0), answer.get(1));
            let (is_current, has_others): (bool, bool) = (answer.get(2), answer.get(3));
            // Places count from one, and come once for each row of the table.
            let mut places: Vec<usize> = places
                .into_iter()
                .filter_map(|place| with_key.get(usize::try_from(place - 1).ok()?).copied())
                .collect();
            places.dedup();
            if !table.plan.has_digests && (is_current || has_others) {
                suspects.push(places);
                continue;
            }
            let found = is_known.then(|| StoredKey {
                digest: String::new(),
                is_current,
                record: None,
            });
            let found = found.into_iter().collect();
            fates.decide(&table.plan, mark.is_some(), &places, found, record);
        }
        if suspects.is_empty() {
            return Ok(fates);
        }
        let firsts: Vec<usize> = suspects
            .iter()
            .filter_map(|rows| rows.first().copied())
            .collect();
        let keys = self.keys(table, &firsts);
        let mut given = parameters(&keys);
        given.push(&mark);
        let mut found: Vec<Vec<StoredKey>> = vec![Vec::new(); suspects.len()];
        for answer in client.query(&replace.examine, &given)? {
            let place: i64 = answer.get(0);
            let place = usize::try_from(place - 1).ok();
            if let Some(rows) = place.and_then(|place| found.get_mut(place)) {
                rows.push(StoredKey {
                    digest: answer.get(1),
                    is_current: answer.get(2),
                    record: Some(answer.get::<_, String>(3).into_bytes()),
                });
            }
        }
        for (places, found) in suspects.iter().zip(found) {
            fates.decide(&table.plan, mark.is_some(), places, found, record);
        }
        Ok(fates)
    }

    /// The keys of rows, as one array per column.
    fn keys(&self, table: &Table, rows: &[usize]) -> Vec<Vec<Field<'_>>> {
        let plan = &table.plan;
        let mut columns = plan.key.clone();
        if plan.has_digests {
            columns.push(plan.columns.len() + 3);
        }
        let mut keys: Vec<Vec<Field>> = vec![Vec::with_capacity(rows.len()); columns.len()];
        for at in rows {
            let row: Vec<Field> = self.fields(*at).collect();
            for (column, values) in columns.iter().zip(&mut keys) {
                values.push(row[*column]);
            }
        }
        keys
    }

    fn copy(
        &self,
        client: &mut Client,
        copy: &Statement,
        fates: &Fates,
    ) -> Result<(), postgres::Error> {
        let mut writer = client.copy_in(copy)?;
        // What fails here fails again, and says why, at the end.
        let _ = self.send(&mut writer, fates);
        writer.finish()?;
        Ok(())
    }

    fn send(&self, writer: &mut impl Write, fates: &Fates) -> std::io::Result<()> {
        writer.write_all(COPY_START)?;
        if fates.digests.is_empty() && fates.rows.iter().all(|fate| *fate == Fate::New) {
            send_bytes(writer, &self.bytes)?;
        } else {
            let rows = self.rows.iter().zip(&fates.rows).enumerate();
            for (at, (row, _)) in rows.filter(|(_, (_, fate))| **fate == Fate::New) {
                // With the count of fields in front.
                let start = row.span.start - 2;
                let Some(digest) = fates.digests.get(&at) else {
                    send_bytes(writer, &self.bytes[start..row.span.end])?;
                    continue;
                };
                // In the place of the empty one at the end.
                send_bytes(writer, &self.bytes[start..row.span.end - size_of::<i32>()])?;
                let mut field = Vec::new();
                push_bytes(&mut field, digest.as_bytes());
                send_bytes(writer, &field)?;
            }
        }
        writer.write_all(COPY_END)
    }

    fn update(
        &self,
        client: &mut Client,
        table: &Table,
        update: &Statement,
        fates: &Fates,
    ) -> Result<(), postgres::Error> {
        let plan = &table.plan;
        let own = own_columns(plan);
        let mut columns: Vec<Vec<Field>> = vec![Vec::new(); plan.columns.len() + own];
        let known = (0..self.rows.len()).filter(|at| fates.rows[*at] == Fate::Known);
        for at in known {
            for (values, field) in columns.iter_mut().zip(self.fields(at)) {
                values.push(field);
            }
            if let (Some(digest), Some(values)) = (fates.digests.get(&at), columns.last_mut()) {
                values.pop();
                values.push(Field(Some(digest.as_bytes())));
            }
        }
        client.execute(update, &parameters(&columns))?;
        Ok(())
    }

    fn fields(&self, row: usize) -> impl Iterator<Item = Field<'_>> {
        fields(&self.bytes[self.rows[row].span.clone()]).map(Field)
    }
}

impl Row {
    /// Until the server says otherwise, a row with a key has one that comes again.
    fn fate_without_key(&self) -> Fate {
        if self.has_key {
            Fate::Superseded
        } else {
            Fate::New
        }
    }
}

/// The columns of a row that hold no field: the record, the overflow, the mark, the digest.
fn own_columns(plan: &TablePlan) -> usize {
    2 + usize::from(plan.is_keyed()) + usize::from(plan.has_digest)
}

fn send_bytes(writer: &mut impl Write, bytes: &[u8]) -> std::io::Result<()> {
    bytes
        .chunks(MESSAGE)
        .try_for_each(|message| writer.write_all(message))
}

fn parameters<'a>(arrays: &'a [Vec<Field<'a>>]) -> Vec<&'a (dyn ToSql + Sync)> {
    let parameter = |array: &'a Vec<Field<'a>>| array as &(dyn ToSql + Sync);
    arrays.iter().map(parameter).collect()
}

/// A field that is in PostgreSQL's binary form already.
#[derive(Clone, Copy, Debug)]
struct Field<'a>(Option<&'a [u8]>);

impl ToSql for Field<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        let Some(bytes) = self.0 else {
            return Ok(IsNull::Yes);
        };
        out.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    /// Whatever the column takes: the field was made for it.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
