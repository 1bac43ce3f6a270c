//! The id of a record, and whether single records can be read at all.

use headwater::prelude::*;
use serde::{Deserialize, Serialize};

use crate::records::Id;

/// How many items without a detail, the first ones of a list, mean that there are no details.
pub(crate) const MISSES_THAT_TELL: usize = 3;

/// What a pass knows of details.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Details {
    /// Nobody asked yet.
    #[default]
    Unknown,
    /// One was read: from now on, one that is not there was deleted meanwhile.
    There,
    /// They are not served, or not wanted.
    Absent,
}

/// The id of a record, read without the rest of it.
pub(crate) fn id_of(record: &[u8]) -> Result<String> {
    #[derive(Deserialize)]
    struct Identified {
        id: Option<Id>,
    }
    let bad = |what: &str| Error::new(Kind::DataInvalid, format!("a record {what}"));
    let record: Identified = serde_json::from_slice(record)
        .map_err(|_| bad("has an id that is neither text nor a number"))?;
    let id = match record.id {
        Some(Id::Text(text)) => text,
        Some(Id::Number(number)) => number.to_string(),
        None => String::new(),
    };
    // As a segment of a path, dots alone would lead elsewhere.
    if id.is_empty() || id.bytes().all(|byte| byte == b'.') {
        return Err(bad("has no id, so its details cannot be asked for"));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_numbers_or_text() {
        let id = |record: &str| id_of(record.as_bytes()).ok();
        assert_eq!(id(r#"{"id":42}"#).as_deref(), Some("42"));
        assert_eq!(
            id(r#"{"x":{"id":1},"id":12345678901234567890}"#).as_deref(),
            Some("12345678901234567890")
        );
        assert_eq!(id(r#"{"id":"d_7f3a"}"#).as_deref(), Some("d_7f3a"));
        for none in [
            "{}",
            r#"{"id":null}"#,
            r#"{"id":""}"#,
            r#"{"id":".."}"#,
            r#"{"id":[1]}"#,
        ] {
            assert_eq!(id(none), None, "{none}");
        }
    }
}
