//! Decides whether a record is a new row or replaces an earlier one.

use std::cmp::Ordering;

use headwater_json::{canonical::is_same, for_each_field, is_name};

use crate::moment::microseconds;

/// How a record relates to a row with its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Relation {
    /// It is equal.
    Same,
    /// It is another version, by its time of change. Of two answers the later one counts, also where its time is earlier:
    /// services keep the time of a change that shows late.
    Version,
    /// No field says which: of two passes a later version, of one pass another record.
    Other,
}

/// A row that has the key of a record.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    /// Whether the pass under way has seen it.
    pub is_current: bool,
    /// Empty for the first row of a key.
    pub digest: String,
    pub relation: Relation,
}

/// The decision on a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// This row is the record.
    Touch(usize),
    /// This row becomes the record.
    Replace(usize),
    /// One more row, with its digest.
    Insert,
}

/// Decides on a record whose key these rows have, and whether it is one of two different records under one key within one
/// pass.
pub(crate) fn rule(kept: &[Kept], digest: impl FnOnce() -> String) -> (Fate, bool) {
    let find = |wanted: &dyn Fn(&Kept) -> bool| kept.iter().position(wanted);
    let differs_from_current = || {
        kept.iter()
            .any(|row| row.is_current && row.relation == Relation::Other)
    };
    if let Some(same) = find(&|row| row.relation == Relation::Same) {
        return (
            Fate::Touch(same),
            !kept[same].is_current && differs_from_current(),
        );
    }
    if let Some(earlier) = find(&|row| row.is_current && row.relation == Relation::Version) {
        return (Fate::Replace(earlier), false);
    }
    let is_collision = differs_from_current();
    let Some(outdated) = find(&|row| !row.is_current && row.digest.is_empty())
        .or_else(|| find(&|row| !row.is_current))
    else {
        return (Fate::Insert, is_collision);
    };
    if kept.len() > 1 {
        let digest = digest();
        if let Some(same) = find(&|row| row.digest == digest) {
            return (Fate::Touch(same), is_collision);
        }
    }
    (Fate::Replace(outdated), is_collision)
}

/// How a record relates to another one that the same pass has brought under the same key.
pub(crate) fn relation(cursor: Option<&str>, kept: &[u8], came: &[u8]) -> Relation {
    if is_same(kept, came) {
        return Relation::Same;
    }
    let Some(cursor) = cursor else {
        return Relation::Other;
    };
    let (Some(kept), Some(came)) = (field(kept, cursor), field(came, cursor)) else {
        return Relation::Other;
    };
    match compare(kept, came) {
        Ordering::Equal => Relation::Other,
        Ordering::Less | Ordering::Greater => Relation::Version,
    }
}

fn field<'record>(record: &'record [u8], name: &str) -> Option<&'record [u8]> {
    let mut found = None;
    for_each_field(record, |spelt, value| {
        if is_name(spelt, name) {
            found = Some(value);
        }
    })
    .ok()?;
    found.filter(|value| *value != b"null")
}

/// Compares two times of change: as moments, as numbers, or as texts.
fn compare(one: &[u8], other: &[u8]) -> Ordering {
    let text = |value: &[u8]| match serde_json::from_slice(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::from_utf8_lossy(value).into_owned(),
    };
    let (one, other) = (text(one), text(other));
    if let (Some(one), Some(other)) = (microseconds(&one), microseconds(&other)) {
        return one.cmp(&other);
    }
    if let (Ok(one), Ok(other)) = (one.parse::<f64>(), other.parse::<f64>()) {
        return one.total_cmp(&other);
    }
    one.cmp(&other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(is_current: bool, digest: &str, relation: Relation) -> Kept {
        Kept {
            is_current,
            digest: digest.to_owned(),
            relation,
        }
    }

    fn ruled(rows: &[Kept]) -> (Fate, bool) {
        rule(rows, || "d".to_owned())
    }

    #[test]
    fn a_row_of_an_earlier_pass_becomes_the_record() {
        use Relation::{Other, Same, Version};
        assert_eq!(ruled(&[kept(false, "", Other)]), (Fate::Replace(0), false));
        assert_eq!(ruled(&[kept(false, "", Same)]), (Fate::Touch(0), false));
        assert_eq!(ruled(&[kept(true, "", Same)]), (Fate::Touch(0), false));
        assert_eq!(ruled(&[kept(true, "", Version)]), (Fate::Replace(0), false));
    }

    #[test]
    fn another_record_of_one_pass_is_one_more_row() {
        use Relation::{Other, Same};
        assert_eq!(ruled(&[kept(true, "", Other)]), (Fate::Insert, true));
        // The next pass finds both again, in whatever order, and still says so.
        let (first, second) = (kept(false, "", Other), kept(false, "d", Other));
        assert_eq!(
            ruled(&[first.clone(), second.clone()]),
            (Fate::Touch(1), false)
        );
        assert_eq!(
            ruled(&[kept(true, "", Other), second]),
            (Fate::Touch(1), true)
        );
        let again = [kept(true, "", Other), kept(true, "d", Same)];
        assert_eq!(ruled(&again), (Fate::Touch(1), false));
        // Where it has changed since, it takes the place of what it was.
        let changed = [kept(true, "", Other), kept(false, "e", Other)];
        assert_eq!(ruled(&changed), (Fate::Replace(1), true));
    }

    #[test]
    fn the_time_of_change_tells_versions_from_other_records() {
        let related =
            |cursor, kept: &str, came: &str| relation(cursor, kept.as_bytes(), came.as_bytes());
        let at = Some("at");
        let (old, new) = (
            r#"{"at":"2026-01-31T10:00:00Z"}"#,
            r#"{"at":"2026-01-31T11:30:00+01:00"}"#,
        );
        assert_eq!(related(at, old, new), Relation::Version);
        assert_eq!(related(at, new, old), Relation::Version);
        assert_eq!(
            related(at, old, r#"{"at":"2026-01-31T10:00:00Z","n":1}"#),
            Relation::Other
        );
        assert_eq!(
            related(at, old, r#"{ "at":"2026-01-31T10:00:00\u005a"}"#),
            Relation::Same
        );
        assert_eq!(
            related(at, r#"{"at":999}"#, r#"{"at":"1000"}"#),
            Relation::Version
        );
        assert_eq!(related(None, old, new), Relation::Other);
        assert_eq!(related(at, old, r#"{"at":null}"#), Relation::Other);
    }
}
