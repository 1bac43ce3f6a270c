//! The id of a record, and whether single records can be read at all.

use headwater::prelude::*;
use serde::{Deserialize, Serialize};

use crate::records::Id;

/// How many items without a detail, from all over a page, let the list be asked whether it still shows them.
pub(crate) const MISSES_THAT_TELL: usize = 10;

/// What a pass knows of details.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Details {
    /// Nobody asked yet.
    #[default]
    Unknown,
    /// One was read: from now on, one that is not there was deleted meanwhile.
    There,
    /// They are not wanted.
    Absent,
    /// They are not served.
    Unserved,
}

/// Returns the indices of a list of this length in an order that spreads any few neighbours over the whole list, and that
/// has no period.
pub(crate) fn spread(items: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..items).collect();
    // Multiples of the golden ratio spread evenly over the numbers.
    places.sort_by_key(|place| (*place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    places
}

/// The id of a record, read without the rest of it.
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
    fn places_are_spread_and_none_is_left_out() {
        assert_eq!(spread(0), [0; 0]);
        for every in 2..20 {
            for from in 0..every {
                let first = &spread(120)[..MISSES_THAT_TELL];
                let is_hit = |place: &usize| place % every == from;
                assert!(
                    !first.iter().all(is_hit),
                    "each {every} from {from}: {first:?}"
                );
            }
        }
        for items in 0..250 {
            let mut places = spread(items);
            places.sort_unstable();
            assert_eq!(places, (0..items).collect::<Vec<_>>());
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
