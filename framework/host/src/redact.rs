//! Personal data: replaced between the fetched page and the sink, in the fields that the schema marks.
//!
//! Replacements are stable, so that the same person is the same in every stream and every run, and joins still work.
//! Bytes without a class do not change.

mod replace;
mod replacement;

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use bytes::Bytes;
use headwater_core::{DataClass, Error, Kind, Result, Secret, StreamSpec};
use headwater_json::{Both, ClassError, CompiledSchema, Malformed, Traversal};
use serde::{Deserialize, Serialize};

use crate::{
    drift::{DriftWatch, Verdict, is_object},
    references::{EnvFile, forms, resolve_text},
};
use replace::Pseudonyms;
use replacement::{Counts, Replacement};

/// Minimum length of a key in bytes: too many to try out.
const SHORTEST_KEY: usize = 16;

/// How to redact.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    /// Makes pseudonyms that cannot be found by trying out likely values. The same key gives the same pseudonyms.
    pub key: Option<Secret>,
    /// Keeps free text, which is removed otherwise.
    pub keep_text: bool,
    /// Removes money, which is kept otherwise.
    pub drop_money: bool,
}

impl Redaction {
    /// The key behind a [reference](crate::references).
    ///
    /// # Errors
    ///
    /// Fails if the text is not a reference, if it cannot be followed, or if the key is too short.
    pub async fn key(reference: &str, env_file: &EnvFile) -> Result<Secret> {
        let refuse =
            |why: &str| Error::new(Kind::ConfigInvalid, format!("the redaction key {why}"));
        // The message does not repeat it: it may be the key itself, by mistake.
        let resolved = resolve_text(reference, env_file)
            .await
            .ok_or_else(|| refuse(&format!("is given by reference: {}", forms())))?;
        let key = resolved.map_err(|message| refuse(&message))?;
        if key.len() < SHORTEST_KEY {
            return Err(refuse(&format!(
                "is too short: make one of at least {SHORTEST_KEY} bytes, at random"
            )));
        }
        Ok(Secret::new(key))
    }

    /// The action for the values of a class. Keys and cursors must still find a record.
    const fn action(&self, class: DataClass, is_identifier: bool) -> Action {
        match class {
            DataClass::Email | DataClass::PersonName | DataClass::Phone => Action::Replaced,
            _ if is_identifier => Action::Kept,
            DataClass::SignedUrl => Action::Cut,
            DataClass::FreeText if self.keep_text => Action::Kept,
            DataClass::Money if !self.drop_money => Action::Kept,
            DataClass::FreeText | DataClass::Money => Action::Removed,
        }
    }
}

/// The action on the values of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A pseudonym replaces them.
    Replaced,
    /// Links lost their query and fragment, where the signature is.
    Cut,
    /// Null replaces them.
    Removed,
    /// They do not change.
    Kept,
}

/// The result of redaction on the records of a stream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct RedactionReport {
    /// Whether the pseudonyms were made with a key.
    pub keyed: bool,
    /// Every field that has a class, by path: `[]` for the items of a list, `*` for any name in a map.
    pub fields: Vec<RedactedField>,
    /// The number of values removed because they are not of the schema's type, by path.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unexpected: BTreeMap<String, u64>,
}

/// The result of redaction on a field.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct RedactedField {
    /// Its path in a record.
    pub path: String,
    /// Its class.
    pub class: DataClass,
    /// The action on its values.
    pub action: Action,
    /// The number of values with something to hide: neither null nor empty.
    pub values: u64,
}

/// Redacts the records of one stream.
#[derive(Debug)]
pub struct Redactor {
    stream: &'static str,
    schema: Arc<CompiledSchema>,
    traversal: Traversal,
    fields: Vec<RedactedClass>,
    pseudonyms: Pseudonyms,
    counts: Counts,
}

/// A field with a class.
#[derive(Debug)]
struct RedactedClass {
    path: String,
    class: DataClass,
    action: Action,
}

impl Redactor {
    /// Compiles a stream's schema. Refuses a schema if a class in it cannot be followed, since its values would not be
    /// replaced.
    ///
    /// # Errors
    ///
    /// Fails if a class of the schema is not known or cannot be followed.
    pub fn new(spec: &StreamSpec, redaction: &Redaction) -> Result<Self> {
        let compiled = CompiledSchema::with_classes(&(spec.schema)(), DataClass::of);
        let (schema, fields) = compiled.map_err(|error| {
            let why = match error {
                ClassError::Unknown(name) => {
                    format!("its schema has the class {name}, which is not known")
                }
                ClassError::OutOfReach => {
                    "its schema has classes where redaction does not look, in a definition or a pattern for example"
                        .to_owned()
                }
            };
            let text = format!("the records of {} cannot be redacted: {why}", spec.name);
            Error::new(Kind::Unsupported, text)
        })?;
        let is_identifier = |path: &str| {
            let mut names = spec.key.iter().chain(&spec.cursor);
            names.any(|name| *name == path)
        };
        let fields: Vec<RedactedClass> = fields
            .into_iter()
            .map(|field| RedactedClass {
                action: redaction.action(field.class, is_identifier(&field.path)),
                path: field.path,
                class: field.class,
            })
            .collect();
        let pseudonyms = match &redaction.key {
            None => Pseudonyms::Plain,
            Some(key) => Pseudonyms::keyed(key.expose().as_bytes()).ok_or_else(|| {
                Error::new(Kind::ConfigInvalid, "the redaction key cannot be used")
            })?,
        };
        let counts = Counts {
            values: vec![0; fields.len()],
            ..Counts::default()
        };
        Ok(Self {
            stream: spec.name,
            traversal: Traversal::new(&schema),
            schema: Arc::new(schema),
            fields,
            pseudonyms,
            counts,
        })
    }

    /// Redacts the records in these ranges of a body, into a body of their own.
    ///
    /// # Errors
    ///
    /// Fails if a record is not JSON.
    pub fn records(
        &mut self,
        body: &[u8],
        spans: &[Range<usize>],
    ) -> Result<(Bytes, Vec<Range<usize>>)> {
        let mut redacted = Vec::with_capacity(spans.iter().map(Range::len).sum());
        let mut records = Vec::with_capacity(spans.len());
        for span in spans {
            let start = redacted.len();
            self.record(&body[span.clone()], &mut redacted)?;
            records.push(start..redacted.len());
        }
        Ok((redacted.into(), records))
    }

    /// Appends a record, redacted, to `out`.
    pub(crate) fn record(&mut self, record: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut replacement = Replacement {
            fields: &self.fields,
            pseudonyms: &self.pseudonyms,
            counts: &mut self.counts,
            out,
            copied: 0,
        };
        let read = self.traversal.run(&self.schema, record, &mut replacement);
        replacement
            .end(read, record)
            .map_err(|Malformed| self.not_json())
    }

    /// The same, while the record is compared with its schema in the same pass.
    pub(crate) fn record_compared(
        &mut self,
        watch: &mut DriftWatch,
        record: &[u8],
        out: &mut Vec<u8>,
    ) -> (Result<Verdict>, Result<()>) {
        if !is_object(record) {
            return (watch.observe(record), self.record(record, out));
        }
        let mut comparison = watch.compare();
        let mut replacement = Replacement {
            fields: &self.fields,
            pseudonyms: &self.pseudonyms,
            counts: &mut self.counts,
            out,
            copied: 0,
        };
        let mut both = Both::new(&mut comparison, &mut replacement);
        let read = self.traversal.run(&self.schema, record, &mut both);
        let (compared, replaced) = both.results(read);
        let breach = comparison.end(compared);
        let redacted = replacement.end(replaced, record);
        let redacted = redacted.map_err(|Malformed| self.not_json());
        (watch.judge(breach), redacted)
    }

    fn not_json(&self) -> Error {
        let text = format!(
            "a record of {} is not JSON, so it cannot be redacted",
            self.stream
        );
        Error::new(Kind::DataInvalid, text)
    }

    /// The schema, for whatever else looks at the same records.
    pub(crate) const fn schema(&self) -> &Arc<CompiledSchema> {
        &self.schema
    }

    /// How much was done, to go back to where records do not count after all.
    pub(crate) fn counts(&self) -> Counts {
        self.counts.clone()
    }

    /// Returns to earlier counts.
    pub(crate) fn set_counts(&mut self, counts: Counts) {
        self.counts = counts;
    }

    /// The result so far.
    pub fn report(&self) -> RedactionReport {
        let fields = self.fields.iter().zip(&self.counts.values);
        RedactionReport {
            keyed: matches!(self.pseudonyms, Pseudonyms::Keyed(_)),
            fields: fields
                .map(|(field, values)| RedactedField {
                    path: field.path.clone(),
                    class: field.class,
                    action: field.action,
                    values: *values,
                })
                .collect(),
            unexpected: self.counts.unexpected.clone(),
        }
    }

    /// The number of values without a class that look like e-mail addresses, and the sentence about them.
    pub fn unclassed_email(&self) -> Option<(u64, String)> {
        let found = &self.counts.addresses;
        if found.is_empty() {
            return None;
        }
        let paths: Vec<&str> = found.keys().map(String::as_str).collect();
        let message = format!(
            "fields without a class hold values that look like e-mail addresses: {}",
            paths.join(", ")
        );
        Some((found.values().sum(), message))
    }
}

#[cfg(test)]
mod one_pass_tests;
#[cfg(test)]
mod tests;
