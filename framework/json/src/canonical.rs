//! Canonical JSON: two spellings of one value have one canonical text, and one digest.
//!
//! Blanks are left out, the members of an object are in the order of their names (the last member of a repeated name
//! counts), and texts have one way to be escaped. Numbers keep their spelling.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write};

use sha2::{Digest, Sha256};

use crate::cursor::{JsonCursor, Malformed};

/// Bytes of a digest.
const DIGEST: usize = 16;
/// Values below this depth keep their spelling.
const DEEPEST: usize = 128;

/// The canonical text of a value. Text that is not JSON does not change.
pub fn canonical(value: &[u8]) -> Cow<'_, [u8]> {
    let is_simple = !matches!(value.first(), Some(b'{' | b'[')) && !value.contains(&b'\\');
    if is_simple {
        return Cow::Borrowed(value);
    }
    let mut cursor = JsonCursor::new(value);
    let mut text = Vec::with_capacity(value.len());
    match push(&mut cursor, &mut text, 0) {
        Ok(()) if cursor.is_at_end() => Cow::Owned(text),
        _ => Cow::Borrowed(value),
    }
}

/// A canonical part of a key: a text becomes canonical; any other value keeps its spelling.
pub fn key_part(value: &[u8]) -> Cow<'_, [u8]> {
    if value.starts_with(b"\"") {
        canonical(value)
    } else {
        Cow::Borrowed(value)
    }
}

/// The identity of a record: the beginning of the SHA-256 of its canonical text, in hexadecimal digits.
pub fn digest(record: &[u8]) -> String {
    let hash = Sha256::digest(canonical(record.trim_ascii()));
    let mut text = String::with_capacity(2 * DIGEST);
    for byte in &hash[..DIGEST] {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Whether two records have the same canonical text.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    one == other || canonical(one.trim_ascii()) == canonical(other.trim_ascii())
}

fn push(cursor: &mut JsonCursor<'_>, text: &mut Vec<u8>, depth: usize) -> Result<(), Malformed> {
    match cursor.peek()? {
        b'"' => {
            let spelt = cursor.text()?;
            match cursor.decode(&spelt).filter(|_| spelt.has_escapes) {
                Some(decoded) => push_text(text, &decoded),
                None => {
                    let quoted = spelt.span.start - 1..=spelt.span.end;
                    text.extend_from_slice(&cursor.input()[quoted]);
                }
            }
        }
        b'{' | b'[' if depth >= DEEPEST => {
            let start = cursor.at();
            cursor.skip_value()?;
            text.extend_from_slice(&cursor.input()[start..cursor.at()]);
        }
        b'{' => push_object(cursor, text, depth)?,
        b'[' => push_list(cursor, text, depth)?,
        _ => text.extend_from_slice(cursor.token()?),
    }
    Ok(())
}

fn push_list(
    cursor: &mut JsonCursor<'_>,
    text: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Malformed> {
    text.push(b'[');
    cursor.advance();
    cursor.skip_space();
    if cursor.peek()? == b']' {
        cursor.advance();
        text.push(b']');
        return Ok(());
    }
    loop {
        push(cursor, text, depth + 1)?;
        cursor.skip_space();
        let after = cursor.peek()?;
        cursor.advance();
        text.push(after);
        match after {
            b',' => cursor.skip_space(),
            b']' => return Ok(()),
            _ => return Err(Malformed),
        }
    }
}

fn push_object(
    cursor: &mut JsonCursor<'_>,
    text: &mut Vec<u8>,
    depth: usize,
) -> Result<(), Malformed> {
    let mut members: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    cursor.advance();
    cursor.skip_space();
    if cursor.peek()? == b'}' {
        cursor.advance();
    } else {
        loop {
            let spelt = cursor.name()?;
            let mut name = Vec::new();
            match cursor.decode(&spelt) {
                Some(decoded) => push_text(&mut name, &decoded),
                None => {
                    name.extend_from_slice(&cursor.input()[spelt.span.start - 1..=spelt.span.end]);
                }
            }
            let mut value = Vec::new();
            push(cursor, &mut value, depth + 1)?;
            members.insert(name, value);
            cursor.skip_space();
            let after = cursor.peek()?;
            cursor.advance();
            match after {
                b',' => cursor.skip_space(),
                b'}' => break,
                _ => return Err(Malformed),
            }
        }
    }
    text.push(b'{');
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        text.extend_from_slice(name);
        text.push(b':');
        text.extend_from_slice(value);
    }
    text.push(b'}');
    Ok(())
}

fn push_text(text: &mut Vec<u8>, value: &str) {
    // A text always serialises into memory.
    let _ = serde_json::to_writer(text, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(value: &str) -> String {
        String::from_utf8(canonical(value.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn spellings_of_one_value_have_one_text() {
        for (spelt, expected) in [
            (r#""a\/b""#, r#""a/b""#),
            (r#""caf\u00e9""#, r#""café""#),
            (r#""caf\u00E9""#, r#""café""#),
            (r#""\ud83d\ude00\t""#, r#""😀\t""#),
            (r#""\ud800""#, r#""\ud800""#),
            (
                r#"{ "b" : [ 1.0 , 1e5 ], "a":{"\u0061":null} }"#,
                r#"{"a":{"a":null},"b":[1.0,1e5]}"#,
            ),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            ("[]", "[]"),
            ("[ ]", "[]"),
            ("{ }", "{}"),
            ("1.50", "1.50"),
            ("{\"a\":", "{\"a\":"),
        ] {
            assert_eq!(said(spelt), expected, "{spelt}");
        }
    }

    #[test]
    fn records_that_say_the_same_have_one_digest() {
        let (one, other) = (br#"{"id":"a/b","n":1}"#, br#" {"n":1, "id":"a\/b"}"#);
        assert!(is_same(one, other));
        assert_eq!(digest(one), digest(other));
        assert_eq!(digest(one).len(), 2 * DIGEST);
        assert_ne!(digest(one), digest(br#"{"id":"a/b","n":1.0}"#));
        assert!(!is_same(one, b"{}"));
    }

    #[test]
    fn depth_has_no_limit() {
        let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        assert_eq!(said(&deep), deep);
    }

    /// Compared as trees: the canonical text has the same value, and is its own canonical text.
    #[test]
    fn random_values_keep_what_they_say() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..2_000 {
            let value = random_value(&mut random, 0);
            let text = said(&value);
            let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            assert_eq!(parse(&text), parse(&value), "{value}");
            assert_eq!(said(&text), text, "{value}");
        }
    }

    fn random_value(random: &mut fastrand::Rng, depth: usize) -> String {
        const TOKENS: [&str; 4] = ["null", "true", "-0.5e3", "12"];
        const TEXTS: [&str; 5] = [r#""a""#, r#""\u00e9""#, r#""\"\\/\/""#, r#""é""#, r#"" {""#];
        let space = [" ", "", "\n"][random.usize(..3)];
        let count = random.usize(..4);
        match random.usize(..if depth > 3 { 2 } else { 4 }) {
            0 => TOKENS[random.usize(..TOKENS.len())].to_owned(),
            1 => TEXTS[random.usize(..TEXTS.len())].to_owned(),
            2 => {
                let member = |_| {
                    let name = TEXTS[random.usize(..TEXTS.len())];
                    format!(
                        "{space}{name}{space}:{space}{}{space}",
                        random_value(random, depth + 1)
                    )
                };
                let members: Vec<String> = (0..count).map(member).collect();
                format!("{{{}{space}}}", members.join(","))
            }
            _ => {
                let item = |_| format!("{space}{}{space}", random_value(random, depth + 1));
                let items: Vec<String> = (0..count).map(item).collect();
                format!("[{}{space}]", items.join(","))
            }
        }
    }
}
