//! Rows on their way to a table.

use std::{error::Error as StdError, io::Write, ops::Range};

use bytes::BytesMut;
use headwater_core::{Error, Kind, Result};
use headwater_host::{Written, fields::for_each_field};
use postgres::{
    Client, Statement,
    types::{IsNull, ToSql, Type, to_sql_checked},
};

use super::{
    table::Table,
    value::{fields, push, push_bytes, push_null},
};

/// What a stream of COPY begins with: a mark, no flags, no extension.
const COPY_START: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands where another row would begin.
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
    update: Statement,
}

impl Statements {
    pub(super) fn prepare(client: &mut Client, table: &Table) -> Result<Self, postgres::Error> {
        let copy = client.prepare(&table.copy())?;
        let mut replace = None;
        if !table.key.is_empty() {
            let look_up = client.prepare(&table.look_up())?;
            let update = client.prepare(&table.update())?;
            replace = Some(Replace { look_up, update });
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
    /// Its fields; COPY's count of them stands in front.
    span: Range<usize>,
    has_overflow: bool,
    has_key: bool,
}

/// What becomes of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    New,
    /// Replaces the one with its key.
    Known,
    /// A later one of the same rows has its key.
    Superseded,
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
    pub(super) fn push(&mut self, table: &Table, record: &[u8]) -> Result<()> {
        let stream = table.stream;
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
        let mut values: Vec<Option<(&[u8], &[u8])>> = vec![None; table.columns.len()];
        for_each_field(record, |name, value| {
            if let Some(at) = table.column(name) {
                values[at] = (value != b"null").then_some((name, value));
            }
        })
        .map_err(|error| error.with("stream", stream))?;

        let count = u16::try_from(values.len() + 2).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&count.to_be_bytes());
        let start = self.bytes.len();
        self.overflow.clear();
        let mut has_key = true;
        for (column, value) in table.columns.iter().zip(&values) {
            let Some((name, value)) = value else {
                has_key &= !column.is_key;
                push_null(&mut self.bytes);
                continue;
            };
            let before = self.bytes.len();
            let mut fits = push(&mut self.bytes, column.kind, value);
            if fits && column.is_key && !table.has_room_in_key(self.bytes.len() - before) {
                self.bytes.truncate(before);
                fits = false;
            }
            if !fits {
                has_key &= !column.is_key;
                push_null(&mut self.bytes);
                push_overflow(&mut self.overflow, name, value);
            }
        }
        push_bytes(&mut self.bytes, record);
        let has_overflow = !self.overflow.is_empty();
        if has_overflow {
            self.overflow.push(b'}');
            push_bytes(&mut self.bytes, &self.overflow);
        } else {
            push_null(&mut self.bytes);
        }
        self.rows.push(Row {
            span: start..self.bytes.len(),
            has_overflow,
            has_key,
        });
        Ok(())
    }

    /// Puts the rows into their table, counts them, and forgets them.
    pub(super) fn store(
        &mut self,
        client: &mut Client,
        table: &Table,
        statements: &Statements,
        written: &mut Written,
    ) -> Result<(), postgres::Error> {
        let fates = match &statements.replace {
            Some(replace) => self.fates(client, table, &replace.look_up)?,
            None => vec![Fate::New; self.rows.len()],
        };
        if fates.contains(&Fate::New) {
            self.copy(client, &statements.copy, &fates)?;
        }
        if let Some(replace) = &statements.replace
            && fates.contains(&Fate::Known)
        {
            self.update(client, table, &replace.update, &fates)?;
        }
        for (row, fate) in self.rows.iter().zip(&fates) {
            match fate {
                Fate::New => written.records += 1,
                Fate::Known | Fate::Superseded => written.deduplicated += 1,
            }
            let is_stored = *fate != Fate::Superseded;
            written.overflowed += u64::from(is_stored && row.has_overflow);
        }
        self.bytes.clear();
        self.rows.clear();
        Ok(())
    }

    /// Asks the server, whose notion of equal keys is the one that counts.
    fn fates(
        &self,
        client: &mut Client,
        table: &Table,
        look_up: &Statement,
    ) -> Result<Vec<Fate>, postgres::Error> {
        let with_key: Vec<usize> = (0..self.rows.len())
            .filter(|at| self.rows[*at].has_key)
            .collect();
        let mut keys: Vec<Vec<Field>> = vec![Vec::new(); table.key.len()];
        for at in &with_key {
            let row: Vec<Field> = self.fields(*at).collect();
            for (column, values) in table.key.iter().zip(&mut keys) {
                values.push(row[*column]);
            }
        }
        let mut fates: Vec<Fate> = self.rows.iter().map(Row::fate_without_key).collect();
        for answer in client.query(look_up, &parameters(&keys))? {
            let (place, is_known): (i64, bool) = (answer.get(0), answer.get(1));
            // Places count from one.
            let place = usize::try_from(place - 1).ok();
            if let Some(at) = place.and_then(|place| with_key.get(place)) {
                fates[*at] = if is_known { Fate::Known } else { Fate::New };
            }
        }
        Ok(fates)
    }

    fn copy(
        &self,
        client: &mut Client,
        copy: &Statement,
        fates: &[Fate],
    ) -> Result<(), postgres::Error> {
        let mut writer = client.copy_in(copy)?;
        // What fails here fails again, and says why, at the end.
        let _ = self.send(&mut writer, fates);
        writer.finish()?;
        Ok(())
    }

    fn send(&self, writer: &mut impl Write, fates: &[Fate]) -> std::io::Result<()> {
        writer.write_all(COPY_START)?;
        if fates.iter().all(|fate| *fate == Fate::New) {
            send_bytes(writer, &self.bytes)?;
        } else {
            let rows = self.rows.iter().zip(fates);
            for (row, _) in rows.filter(|(_, fate)| **fate == Fate::New) {
                // With the count of fields in front.
                send_bytes(writer, &self.bytes[row.span.start - 2..row.span.end])?;
            }
        }
        writer.write_all(COPY_END)
    }

    fn update(
        &self,
        client: &mut Client,
        table: &Table,
        update: &Statement,
        fates: &[Fate],
    ) -> Result<(), postgres::Error> {
        let mut columns: Vec<Vec<Field>> = vec![Vec::new(); table.columns.len() + 2];
        let known = (0..self.rows.len()).filter(|at| fates[*at] == Fate::Known);
        for at in known {
            for (values, field) in columns.iter_mut().zip(self.fields(at)) {
                values.push(field);
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

fn push_overflow(overflow: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    overflow.push(if overflow.is_empty() { b'{' } else { b',' });
    for part in [b"\"", name, b"\":", value] {
        overflow.extend_from_slice(part);
    }
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
