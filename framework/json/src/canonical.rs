//! Canonical JSON: two spellings of one value have one canonical text, and one digest.
//!
//! Blanks are left out, the members of an object are in the order of their names (the last member of a repeated name
//! counts), and texts have one way to be escaped. Numbers keep their spelling.

use std::{borrow::Cow, ops::Range};

use sha2::{Digest, Sha256};

use crate::cursor::{JsonCursor, Malformed, Text};

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
    let mut writer = CanonicalWriter {
        cursor: JsonCursor::new(value),
        text: Vec::with_capacity(value.len()),
        members: Vec::new(),
        moved: Vec::new(),
    };
    match writer.push(0) {
        Ok(()) if writer.cursor.is_at_end() => Cow::Owned(writer.text),
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
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hash = Sha256::digest(canonical(record.trim_ascii()));
    let bytes = hash[..DIGEST].iter();
    let digits = bytes.flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Whether two records have the same canonical text.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    one == other || canonical(one.trim_ascii()) == canonical(other.trim_ascii())
}

/// Writes the canonical text. All objects of a value share its buffers.
struct CanonicalWriter<'j> {
    cursor: JsonCursor<'j>,
    text: Vec<u8>,
    /// The members of the open objects, in the order of the input.
    members: Vec<Member>,
    /// The members of one object, while they change places.
    moved: Vec<u8>,
}

/// The spans of a member in the text.
#[derive(Clone)]
struct Member {
    name: Range<usize>,
    end: usize,
}

impl CanonicalWriter<'_> {
    fn push(&mut self, depth: usize) -> Result<(), Malformed> {
        match self.cursor.peek()? {
            b'"' => {
                let spelt = self.cursor.text()?;
                self.push_text(&spelt);
            }
            b'{' | b'[' if depth >= DEEPEST => {
                let start = self.cursor.at();
                self.cursor.skip_value()?;
                let value = &self.cursor.input()[start..self.cursor.at()];
                self.text.extend_from_slice(value);
            }
            b'{' => self.push_object(depth)?,
            b'[' => self.push_list(depth)?,
            _ => self.text.extend_from_slice(self.cursor.token()?),
        }
        Ok(())
    }

    fn push_list(&mut self, depth: usize) -> Result<(), Malformed> {
        self.push_items(b']', |writer| writer.push(depth + 1))
    }

    fn push_object(&mut self, depth: usize) -> Result<(), Malformed> {
        let (start, first) = (self.text.len(), self.members.len());
        self.push_items(b'}', |writer| {
            let spelt = writer.cursor.name()?;
            let name = writer.text.len();
            writer.push_text(&spelt);
            let name = name..writer.text.len();
            writer.text.push(b':');
            writer.push(depth + 1)?;
            let end = writer.text.len();
            writer.members.push(Member { name, end });
            Ok(())
        })?;
        self.sort(start, first);
        Ok(())
    }

    /// Writes the items of a list or an object, with its brackets.
    fn push_items(
        &mut self,
        close: u8,
        mut push_item: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.push_byte()?;
        self.cursor.skip_space();
        if self.cursor.peek()? == close {
            self.push_byte()?;
            return Ok(());
        }
        loop {
            push_item(self)?;
            self.cursor.skip_space();
            match self.push_byte()? {
                b',' => self.cursor.skip_space(),
                after if after == close => return Ok(()),
                _ => return Err(Malformed),
            }
        }
    }

    fn push_byte(&mut self) -> Result<u8, Malformed> {
        let byte = self.cursor.peek()?;
        self.cursor.advance();
        self.text.push(byte);
        Ok(byte)
    }

    /// Brings the members of the object at the end of the text into the order of their names.
    fn sort(&mut self, start: usize, first: usize) {
        let text = &mut self.text;
        let members = &mut self.members[first..];
        let is_sorted = members
            .windows(2)
            .all(|pair| text[pair[0].name.clone()] < text[pair[1].name.clone()]);
        if !is_sorted {
            // Stable, so that the last member of a repeated name is the last of its neighbours.
            members.sort_by(|one, other| text[one.name.clone()].cmp(&text[other.name.clone()]));
            self.moved.clear();
            for (at, member) in members.iter().enumerate() {
                let is_repeated = members
                    .get(at + 1)
                    .is_some_and(|next| text[next.name.clone()] == text[member.name.clone()]);
                if !is_repeated {
                    self.moved
                        .extend_from_slice(&text[member.name.start..member.end]);
                    self.moved.push(b',');
                }
            }
            self.moved.pop();
            text.truncate(start + 1);
            text.extend_from_slice(&self.moved);
            text.push(b'}');
        }
        self.members.truncate(first);
    }

    fn push_text(&mut self, spelt: &Text) {
        match spelt
            .has_escapes
            .then(|| self.cursor.decode(spelt))
            .flatten()
        {
            // A text always serialises into memory.
            Some(decoded) => drop(serde_json::to_writer(&mut self.text, &*decoded)),
            None => {
                let quoted = spelt.span.start - 1..=spelt.span.end;
                self.text.extend_from_slice(&self.cursor.input()[quoted]);
            }
        }
    }
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
