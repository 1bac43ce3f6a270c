//! The id of a record, and whether the service serves single records.

use headwater::prelude::*;
use serde::{Deserialize, Serialize};

use crate::records::Id;

/// The number of items without details, spread over a page, after which the connector reads the list again.
pub(crate) const MISSES_BEFORE_LIST: usize = 10;

/// The knowledge of a pass about details.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Details {
    /// Not requested yet.
    #[default]
    Unknown,
    /// At least one was read: a missing one was deleted meanwhile.
    There,
    /// The form turns them off.
    Absent,
    /// The service does not serve them.
    Unserved,
}

/// Returns the indices of a list of this length in an order without a period that spreads neighbours over the whole
/// list.
pub(crate) fn spread(items: usize) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..items).collect();
    // Multiples of the golden ratio spread evenly over the numbers.
    indices.sort_by_key(|index| (*index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    indices
}

/// Returns the id of a record, parsed without its other fields.
pub(crate) fn id_of(record: &[u8]) -> Result<String> {
    #[derive(Deserialize)]
    struct RecordId {
        id: Option<Id>,
    }
    let bad = |what: &str| Error::new(Kind::DataInvalid, format!("a record {what}"));
    let record: RecordId = serde_json::from_slice(record)
        .map_err(|_| bad("has an id that is neither text nor a number"))?;
    let id = match record.id {
        Some(Id::Text(text)) => text,
        Some(Id::Number(number)) => number.to_string(),
        None => String::new(),
    };
    // As a path segment, dots alone would change the path.
    if id.is_empty() || id.bytes().all(|byte| byte == b'.') {
        return Err(bad("has no id, so its details cannot be requested"));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_spread_and_none_is_left_out() {
        assert_eq!(spread(0), [0; 0]);
        for every in 2..20 {
            for from in 0..every {
                let first = &spread(120)[..MISSES_BEFORE_LIST];
                let is_hit = |index: &usize| index % every == from;
                assert!(
                    !first.iter().all(is_hit),
                    "each {every} from {from}: {first:?}"
                );
            }
        }
        for items in 0..250 {
            let mut indices = spread(items);
            indices.sort_unstable();
            assert_eq!(indices, (0..items).collect::<Vec<_>>());
        }
    }

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
