//! The key of a record in a line, by which a reader recognises repeats.

use headwater_core::{DIGEST, Error, Kind, Result};
use headwater_json::canonical::{digest, key_part};
use headwater_json::{for_each_field, is_name};

/// Appends the key of a record as JSON: the list of its key fields, each in its canonical spelling, and the digest of
/// the record where that is part of the key. A record of a stream without a key, or without its whole key, has its
/// digest as a text.
pub(crate) fn push_key(buffer: &mut Vec<u8>, key: &[&str], record: &[u8]) -> Result<()> {
    let mut values: Vec<Option<&[u8]>> = vec![None; key.len()];
    for_each_field(record, |name, value| {
        if let Some(at) = key.iter().position(|field| is_name(name, field)) {
            values[at] = Some(value);
        }
    })
    .map_err(|error| Error::new(Kind::DataInvalid, error.to_string()))?;
    let is_whole = |(field, value): (&&str, &Option<&[u8]>)| {
        *field == DIGEST || value.is_some_and(|value| value != b"null")
    };
    if key.is_empty() || !key.iter().zip(&values).all(is_whole) {
        push_text(buffer, &digest(record));
        return Ok(());
    }
    buffer.push(b'[');
    for (at, (field, value)) in key.iter().zip(values).enumerate() {
        if at > 0 {
            buffer.push(b',');
        }
        match value.filter(|_| *field != DIGEST) {
            Some(value) => buffer.extend_from_slice(&key_part(value)),
            None => push_text(buffer, &digest(record)),
        }
    }
    buffer.push(b']');
    Ok(())
}

fn push_text(buffer: &mut Vec<u8>, digits: &str) {
    buffer.push(b'"');
    buffer.extend_from_slice(digits.as_bytes());
    buffer.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fields: &[&str], record: &str) -> String {
        let mut buffer = Vec::new();
        push_key(&mut buffer, fields, record.as_bytes()).unwrap();
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn a_key_is_the_fields_in_their_order() {
        let record = r#"{"week":1e2, "id":"a\"b","n":{"id":7}}"#;
        assert_eq!(key(&["id", "week"], record), r#"["a\"b",1e2]"#);
    }

    #[test]
    fn two_spellings_of_an_id_are_one_key() {
        for (one, other) in [(r"a\/b", "a/b"), (r"caf\u00e9", "café")] {
            let key = |id: &str| key(&["id"], &format!(r#"{{"id":"{id}"}}"#));
            assert_eq!(key(one), key(other));
        }
    }

    #[test]
    fn a_digest_in_the_key_tells_records_with_the_same_fields_apart() {
        let fields = ["id", DIGEST];
        let first = key(&fields, r#"{"id":1,"n":1}"#);
        assert!(
            first.starts_with("[1,\"") && first.len() == 32 + 6,
            "{first}"
        );
        assert_ne!(key(&fields, r#"{"id":1,"n":2}"#), first);
        assert_eq!(key(&fields, r#"{"n":1, "id":1}"#), first);
    }

    #[test]
    fn without_its_whole_key_a_record_is_told_by_its_digest() {
        let digest = key(&[], r#"{"id":1}"#);
        assert_eq!(digest.len(), 32 + 2);
        assert_eq!(key(&["other"], r#"{"id":1}"#), digest);
        assert_ne!(key(&["other"], r#"{"id":2}"#), digest);
        assert_eq!(key(&["id"], r#"{"id":null}"#).len(), 32 + 2);
        assert!(push_key(&mut Vec::new(), &["id"], b"[1]").is_err());
    }
}
