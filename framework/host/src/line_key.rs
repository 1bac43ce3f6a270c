//! The key of a record in a line: what a reader tells repeats by.

use headwater_core::Result;
use sha2::{Digest, Sha256};

use crate::fields::{for_each_field, is_name};

/// Characters of a digest: 128 bits.
const DIGEST: usize = 32;

/// Appends the key of a record as JSON: the list of its key fields, as they were sent. A record of a stream without a
/// key, or without its whole key, has the beginning of its SHA-256 as a text.
pub(crate) fn push_key(buffer: &mut Vec<u8>, key: &[&str], record: &[u8]) -> Result<()> {
    let mut values: Vec<Option<&[u8]>> = vec![None; key.len()];
    for_each_field(record, |name, value| {
        if let Some(at) = key.iter().position(|field| is_name(name, field)) {
            values[at] = Some(value);
        }
    })?;
    let whole: Option<Vec<&[u8]>> = values
        .into_iter()
        .map(|value| value.filter(|value| *value != b"null"))
        .collect();
    let Some(whole) = whole.filter(|values| !values.is_empty()) else {
        let digest: String = Sha256::digest(record)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        buffer.push(b'"');
        buffer.extend_from_slice(&digest.as_bytes()[..DIGEST]);
        buffer.push(b'"');
        return Ok(());
    };
    buffer.push(b'[');
    buffer.extend_from_slice(&whole.join(&b','));
    buffer.push(b']');
    Ok(())
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
    fn a_key_is_the_fields_as_they_were_sent_in_their_order() {
        let record = r#"{"week":1e2, "id":"a\"b","n":{"id":7}}"#;
        assert_eq!(key(&["id", "week"], record), r#"["a\"b",1e2]"#);
    }

    #[test]
    fn without_its_whole_key_a_record_is_told_by_its_digest() {
        let digest = key(&[], r#"{"id":1}"#);
        assert_eq!(digest.len(), DIGEST + 2);
        assert_eq!(key(&["other"], r#"{"id":1}"#), digest);
        assert_ne!(key(&["other"], r#"{"id":2}"#), digest);
        assert_eq!(key(&["id"], r#"{"id":null}"#).len(), DIGEST + 2);
        assert!(push_key(&mut Vec::new(), &["id"], b"[1]").is_err());
    }
}
