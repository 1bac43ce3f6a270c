//! Reports of drift: kinds, paths and counts, never a value.

use std::fmt;

use headwater_json::JsonType;
use serde::{Deserialize, Serialize};

/// How records differ from the schema of their stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DriftKind {
    /// A field that the schema does not name.
    NewField,
    /// An object with many fields that the schema does not name: their names look like data.
    ManyNewFields,
    /// More fields that the schema does not name than are reported one by one. Its path is the record's.
    TooMany,
    /// A field that the schema requires is missing, or this run has no object with a field that every earlier one had.
    MissingField,
    /// A value of a type that the schema does not have.
    Widened,
    /// Null where the schema does not allow it.
    NewlyNull,
    /// A value that the schema does not list.
    NewEnumMember,
    /// A record that is not a JSON object, or not JSON.
    NotAnObject,
}

impl DriftKind {
    /// The name in output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NewField => "new_field",
            Self::ManyNewFields => "many_new_fields",
            Self::TooMany => "too_many",
            Self::MissingField => "missing_field",
            Self::Widened => "widened",
            Self::NewlyNull => "newly_null",
            Self::NewEnumMember => "new_enum_member",
            Self::NotAnObject => "not_an_object",
        }
    }

    /// Whether a record with it breaks what its schema declares. New fields and new members are what every service
    /// adds in time.
    pub const fn is_breaking(self) -> bool {
        matches!(
            self,
            Self::MissingField | Self::Widened | Self::NewlyNull | Self::NotAnObject
        )
    }
}

impl fmt::Display for DriftKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One way in which the records of a run differ from the schema of their stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftEvent {
    /// The kind of difference.
    pub kind: DriftKind,
    /// The field: `crm_info.account_id`, `participants[].email`. Empty for the record itself.
    pub path: String,
    /// The types in the schema, if the difference is one of type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expected: Vec<JsonType>,
    /// The type in the record, if the difference is one of type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saw: Option<JsonType>,
    /// The number of times: a field in a list may differ many times in a record.
    pub count: u64,
    /// The first record with it, counted from 1 in the order of this run.
    pub first_record: u64,
    /// Whether an earlier run has reported it.
    pub is_known: bool,
}

impl fmt::Display for DriftEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match self.path.as_str() {
            "" => "the record",
            path => path,
        };
        match self.kind {
            DriftKind::NewField => write!(f, "{path} is a new field"),
            DriftKind::ManyNewFields => write!(f, "{path} has new fields of many names"),
            DriftKind::TooMany => f.write_str("there are more new fields than are reported"),
            DriftKind::MissingField => write!(f, "{path} is missing"),
            DriftKind::Widened | DriftKind::NewlyNull => {
                let expected: Vec<&str> = self.expected.iter().map(|one| one.name()).collect();
                let saw = self.saw.map_or("something else", JsonType::name);
                let expected = expected.join(" or ");
                write!(f, "{path} is {saw} where {expected} was expected")
            }
            DriftKind::NewEnumMember => write!(f, "{path} has a value that is not listed"),
            DriftKind::NotAnObject => f.write_str("a record is not a JSON object"),
        }
    }
}
