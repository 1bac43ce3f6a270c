//! Records as Arrow columns, built from their raw bytes.
//!
//! The columns come from the stream's declared schema, never from the records. Each field's bytes go straight
//! into the builder of its column, or into the overflow column as they were sent.

use std::{collections::HashMap, fmt::Write as _, sync::Arc};

use arrow_array::{
    ArrayRef, RecordBatch,
    builder::{
        ArrayBuilder, BooleanBuilder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
    },
};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use headwater_core::{DIGEST, Error, Kind, Result, StreamSpec, fnv1a};
use headwater_json::canonical::digest;
use headwater_json::{decode, decode_string, for_each_field, is_number, whole_number};

use crate::{
    columns::{Column, ColumnKind, OVERFLOW, RECORD, columns},
    moment,
};

/// Bytes of records after which the rows become a batch.
pub(crate) const BATCH: usize = 4 << 20;
/// A column of texts counts their bytes with 31 bits. One batch and one record stay far below that.
const LARGEST_RECORD: usize = 1 << 30;
/// The spelling of UTC that every reader knows; some look up the name "UTC" in a table which they do not have.
const UTC: &str = "+00:00";
/// The metadata of a column whose text is JSON, or a number: which of the two.
const MARK: &str = "headwater";

/// Rows of one stream on their way into a batch.
pub(crate) struct Rows {
    stream: String,
    schema: SchemaRef,
    columns: Vec<ColumnRows>,
    /// Where each field goes.
    places: HashMap<String, usize>,
    record: StringBuilder,
    overflow: StringBuilder,
    /// Of streams whose keys have a digest.
    digests: Option<StringBuilder>,
    bytes: usize,
}

struct ColumnRows {
    /// The name with quotes and escapes, as in a JSON object.
    quoted_name: String,
    values: Values,
}

/// The builder of a column, by the values that fit it.
enum Values {
    Text(StringBuilder),
    Integer(Int64Builder),
    Number(StringBuilder),
    Boolean(BooleanBuilder),
    Time(TimestampMicrosecondBuilder),
    Json(StringBuilder),
}

/// Records of a page, of which each can be taken whole.
pub(crate) struct Checked<'records>(Vec<&'records str>);

impl<'records> Checked<'records> {
    pub fn iter(&self) -> impl Iterator<Item = &'records str> + '_ {
        self.0.iter().copied()
    }
}

impl Rows {
    /// No rows yet. Refuses a stream with a field that has the name of a column of ours.
    pub fn new(spec: &StreamSpec) -> Result<Self> {
        let columns = columns(spec);
        if let Some(reserved) = columns
            .iter()
            .find(|column| [RECORD, OVERFLOW, DIGEST].contains(&column.name.as_str()))
        {
            let text = format!(
                "the stream {} has a field {}, which is the name of a column of its own here; write it as JSON lines",
                spec.name, reserved.name
            );
            return Err(Error::new(Kind::Unsupported, text));
        }
        let mut fields: Vec<Field> = columns.iter().map(field).collect();
        fields.push(Field::new(RECORD, DataType::Utf8, false).with_metadata(mark("json")));
        fields.push(Field::new(OVERFLOW, DataType::Utf8, true).with_metadata(mark("json")));
        let mut key = spec.key.to_vec();
        if spec.has_digest() {
            key.push(DIGEST);
            fields.push(Field::new(DIGEST, DataType::Utf8, false));
        }
        let about = HashMap::from([
            ("headwater:stream".to_owned(), spec.name.to_owned()),
            ("headwater:key".to_owned(), key.join(",")),
        ]);
        let places = columns.iter().enumerate();
        Ok(Self {
            stream: spec.name.to_owned(),
            schema: Arc::new(Schema::new_with_metadata(fields, about)),
            places: places
                .map(|(place, column)| (column.name.clone(), place))
                .collect(),
            columns: columns.iter().map(ColumnRows::new).collect(),
            record: StringBuilder::new(),
            overflow: StringBuilder::new(),
            digests: spec.has_digest().then(StringBuilder::new),
            bytes: 0,
        })
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Names and types of the columns as a number that stays the same as long as they do (FNV-1a).
    pub fn fingerprint(&self) -> u64 {
        let fields = self.schema.fields().iter();
        let text: String = fields
            .map(|field| format!("{}\t{}\n", field.name(), field.data_type()))
            .collect();
        fnv1a(text.as_bytes())
    }

    /// Bytes of the records in these rows.
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Looks at all records of a page before the first is taken, so that a page is taken whole or not at all.
    pub fn check<'records>(
        &self,
        records: &mut dyn Iterator<Item = &'records [u8]>,
    ) -> Result<Checked<'records>> {
        let invalid = |what: &str| {
            let text = format!("a record of the stream {} {what}", self.stream);
            Error::new(Kind::DataInvalid, text)
        };
        let mut checked = Vec::new();
        for record in records {
            if record.len() > LARGEST_RECORD {
                return Err(invalid("is larger than 1 GiB, which no column holds"));
            }
            let text = str::from_utf8(record).map_err(|_| invalid("is not UTF-8"))?;
            for_each_field(record, |_, _| {}).map_err(|_| invalid("is not a JSON object"))?;
            checked.push(text);
        }
        Ok(Checked(checked))
    }

    /// Adds a record that was checked; true when one of its values did not fit its column.
    pub fn push(&mut self, record: &str) -> Result<bool> {
        let mut found: Vec<Option<&[u8]>> = vec![None; self.columns.len()];
        for_each_field(record.as_bytes(), |name, value| {
            if let Some(place) = place(&self.places, name) {
                found[place] = Some(value);
            }
        })
        .map_err(|error| Error::new(Kind::DataInvalid, error.to_string()))?;
        let mut overflow = String::new();
        for (column, value) in self.columns.iter_mut().zip(found) {
            let value = value.and_then(|value| str::from_utf8(value).ok());
            let value = value.filter(|value| *value != "null");
            if let Some(value) = value
                && !column.values.push(value)
            {
                let separator = if overflow.is_empty() { '{' } else { ',' };
                // Writing to a String does not fail.
                let _ = write!(overflow, "{separator}{}:{value}", column.quoted_name);
                column.values.push_null();
            } else if value.is_none() {
                column.values.push_null();
            }
        }
        let has_overflow = !overflow.is_empty();
        if has_overflow {
            overflow.push('}');
        }
        self.overflow
            .append_option(has_overflow.then_some(overflow));
        self.record.append_value(record);
        if let Some(digests) = &mut self.digests {
            digests.append_value(digest(record.as_bytes()));
        }
        self.bytes += record.len();
        Ok(has_overflow)
    }

    /// The rows as a batch; none are left. None where there are none.
    pub fn take(&mut self) -> Result<Option<RecordBatch>> {
        if self.record.is_empty() {
            return Ok(None);
        }
        self.bytes = 0;
        let mut arrays: Vec<ArrayRef> = self
            .columns
            .iter_mut()
            .map(|column| column.values.take())
            .collect();
        arrays.push(Arc::new(self.record.finish()));
        arrays.push(Arc::new(self.overflow.finish()));
        if let Some(digests) = &mut self.digests {
            arrays.push(Arc::new(digests.finish()));
        }
        let batch = RecordBatch::try_new(self.schema(), arrays);
        batch.map(Some).map_err(|error| {
            Error::new(
                Kind::Unexpected,
                "the columns of a stream are not of one length",
            )
            .caused_by(error)
        })
    }
}

/// The column of a field, by its name as it is spelt between the quotes.
fn place(places: &HashMap<String, usize>, spelt: &[u8]) -> Option<usize> {
    places.get(&*decode(spelt)?).copied()
}

fn field(column: &Column) -> Field {
    let data_type = match column.kind {
        ColumnKind::Text | ColumnKind::Number | ColumnKind::Json => DataType::Utf8,
        ColumnKind::Integer => DataType::Int64,
        ColumnKind::Boolean => DataType::Boolean,
        ColumnKind::Time => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
    };
    // Never required: a value that does not fit is null here.
    let field = Field::new(&column.name, data_type, true);
    match column.kind {
        ColumnKind::Number => field.with_metadata(mark("number")),
        ColumnKind::Json => field.with_metadata(mark("json")),
        _ => field,
    }
}

fn mark(what: &str) -> HashMap<String, String> {
    [(MARK.to_owned(), what.to_owned())].into()
}

impl ColumnRows {
    fn new(column: &Column) -> Self {
        let values = match column.kind {
            ColumnKind::Text => Values::Text(StringBuilder::new()),
            ColumnKind::Integer => Values::Integer(Int64Builder::new()),
            ColumnKind::Number => Values::Number(StringBuilder::new()),
            ColumnKind::Boolean => Values::Boolean(BooleanBuilder::new()),
            ColumnKind::Time => Values::Time(TimestampMicrosecondBuilder::new().with_timezone(UTC)),
            ColumnKind::Json => Values::Json(StringBuilder::new()),
        };
        Self {
            quoted_name: serde_json::Value::from(column.name.as_str()).to_string(),
            values,
        }
    }
}

impl Values {
    /// Adds a value other than null; false, and nothing added, where it does not fit.
    fn push(&mut self, value: &str) -> bool {
        match self {
            Self::Text(values) => {
                let Some(text) = decode_string(value.as_bytes()) else {
                    return false;
                };
                values.append_value(text);
            }
            Self::Integer(values) => {
                let Some(integer) = whole_number(value.as_bytes()) else {
                    return false;
                };
                values.append_value(integer);
            }
            Self::Number(values) => {
                if !is_number(value.as_bytes()) {
                    return false;
                }
                values.append_value(value);
            }
            Self::Boolean(values) => match value {
                "true" => values.append_value(true),
                "false" => values.append_value(false),
                _ => return false,
            },
            Self::Time(values) => {
                let Some(time) = inside_quotes(value).and_then(microseconds) else {
                    return false;
                };
                values.append_value(time);
            }
            Self::Json(values) => values.append_value(value),
        }
        true
    }

    fn push_null(&mut self) {
        match self {
            Self::Text(values) | Self::Number(values) | Self::Json(values) => values.append_null(),
            Self::Integer(values) => values.append_null(),
            Self::Boolean(values) => values.append_null(),
            Self::Time(values) => values.append_null(),
        }
    }

    fn take(&mut self) -> ArrayRef {
        match self {
            Self::Text(values) | Self::Number(values) | Self::Json(values) => {
                Arc::new(values.finish())
            }
            Self::Integer(values) => Arc::new(values.finish()),
            Self::Boolean(values) => Arc::new(values.finish()),
            Self::Time(values) => Arc::new(values.finish()),
        }
    }
}

fn inside_quotes(value: &str) -> Option<&str> {
    value.strip_prefix('"')?.strip_suffix('"')
}

/// A moment by RFC 3339, where microseconds say all of it.
fn microseconds(text: &str) -> Option<i64> {
    let has_seconds = text.as_bytes().get(16) == Some(&b':');
    has_seconds.then(|| moment::microseconds(text))?
}
