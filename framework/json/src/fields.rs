//! The fields of a record, one after the other, for sinks that take keys and columns out of it.
//!
//! The reader looks at the top level only and copies nothing, so that a column costs little more than passing over it.

use std::{error::Error, fmt};

use crate::{
    cursor::{JsonCursor, Malformed},
    text::decode,
};

/// A record is something else than a JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnObject;

impl fmt::Display for NotAnObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record is not a JSON object, so its fields cannot be read")
    }
}

impl Error for NotAnObject {}

/// Shows every field at the top level of a record, in the order in which the record has them.
///
/// A name comes as it is spelt between its quotes: compare it with [`is_name`]. A value comes as its JSON text without
/// the blanks around it. A name that the record has twice is shown twice. Fields that were shown before the record turns
/// out not to be a JSON object are no reason to keep it.
///
/// # Errors
///
/// Fails if the record is not a JSON object.
pub fn for_each_field<'record>(
    record: &'record [u8],
    mut show: impl FnMut(&'record [u8], &'record [u8]),
) -> Result<(), NotAnObject> {
    walk(record, &mut show).map_err(|Malformed| NotAnObject)
}

/// Whether a name, as [`for_each_field`] shows it, says the same as this text.
pub fn is_name(spelt: &[u8], name: &str) -> bool {
    if !spelt.contains(&b'\\') {
        return spelt == name.as_bytes();
    }
    decode(spelt).is_some_and(|decoded| decoded == name)
}

fn walk<'record>(
    record: &'record [u8],
    show: &mut impl FnMut(&'record [u8], &'record [u8]),
) -> Result<(), Malformed> {
    let mut cursor = JsonCursor::new(record);
    cursor.skip_space();
    cursor.expect(b'{')?;
    cursor.skip_space();
    if cursor.peek()? == b'}' {
        cursor.advance();
    } else {
        loop {
            let name = cursor.name()?;
            let start = cursor.at();
            cursor.skip_value()?;
            show(&record[name.span], &record[start..cursor.at()]);
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
    cursor.skip_space();
    if cursor.is_at_end() {
        Ok(())
    } else {
        Err(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(record: &str) -> Vec<(&str, &str)> {
        let mut found = Vec::new();
        for_each_field(record.as_bytes(), |name, value| {
            found.push((
                str::from_utf8(name).unwrap(),
                str::from_utf8(value).unwrap(),
            ));
        })
        .unwrap();
        found
    }

    #[test]
    fn fields_come_in_order_and_as_they_are_spelt() {
        let record = "\r\n { \"id\" : \"a\\\"b\" ,\"n\":-12.50e+3 , \"none\":null,\"x\\u0041\":true,\t\"id\":false} ";
        assert_eq!(
            fields(record),
            [
                ("id", r#""a\"b""#),
                ("n", "-12.50e+3"),
                ("none", "null"),
                (r"x\u0041", "true"),
                ("id", "false"),
            ]
        );
        assert_eq!(fields(" { } "), []);
    }

    #[test]
    fn nested_values_are_shown_whole_whatever_stands_in_their_texts() {
        let record = r#"{"a":[{"b":"}]\"{"}, [ ] ],"c":{"d":{}},"e":"\\"}"#;
        assert_eq!(
            fields(record),
            [
                ("a", r#"[{"b":"}]\"{"}, [ ] ]"#),
                ("c", r#"{"d":{}}"#),
                ("e", r#""\\""#),
            ]
        );
    }

    #[test]
    fn depth_has_no_limit() {
        let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
        let record = format!("{{\"deep\":{deep},\"id\":1}}");
        assert_eq!(fields(&record), [("deep", deep.as_str()), ("id", "1")]);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for record in [
            "",
            "[]",
            "\"a\"",
            "{",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":}",
            "{\"a\":1",
            "{\"a\":1,}",
            "{\"a\" 1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":nul}",
            "{\"a\":NaN}",
            "{\"a\":\"b}",
            "{\"a\":\"b\\",
            "{\"a\":[1}",
            "{\"a\":1}}",
            "{a:1}",
            "{,}",
        ] {
            let read = for_each_field(record.as_bytes(), |_, _| {});
            assert_eq!(read, Err(NotAnObject), "{record}");
        }
    }

    #[test]
    fn a_name_is_compared_by_what_it_says() {
        assert!(is_name(b"id", "id"));
        assert!(is_name(br"i\u0064", "id"));
        assert!(is_name(br#"a\"b"#, "a\"b"));
        assert!(!is_name(b"id", "Id"));
        assert!(!is_name(br"i\u0065", "id"));
        assert!(!is_name(br"\ud800", "id"));
    }

    /// Against a tree: the same names and the same values.
    #[test]
    fn random_records_have_the_fields_that_a_parser_finds() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..2000 {
            let record = random_object(&mut random, 0);
            let parsed: serde_json::Value = serde_json::from_str(&record).unwrap();
            let mut found = serde_json::Map::new();
            for_each_field(record.as_bytes(), |name, value| {
                let name = [b"\"", name, b"\""].concat();
                let name: String = serde_json::from_slice(&name).unwrap();
                found.insert(name, serde_json::from_slice(value).unwrap());
            })
            .unwrap();
            assert_eq!(serde_json::Value::Object(found), parsed, "{record}");
        }
    }

    fn random_object(random: &mut fastrand::Rng, depth: usize) -> String {
        let fields: Vec<String> = (0..random.usize(..5))
            .map(|_| {
                let name = random_text(random);
                let value = random_value(random, depth + 1);
                format!("{}{name}{}:{value}", space(random), space(random))
            })
            .collect();
        format!("{{{}{}}}", fields.join(","), space(random))
    }

    fn random_value(random: &mut fastrand::Rng, depth: usize) -> String {
        const TOKENS: [&str; 5] = ["null", "true", "false", "-0.5e3", "12"];
        let value = match random.usize(..if depth > 3 { 2 } else { 4 }) {
            0 => TOKENS[random.usize(..TOKENS.len())].to_owned(),
            1 => random_text(random),
            2 => random_object(random, depth),
            _ => {
                let items: Vec<String> = (0..random.usize(..4))
                    .map(|_| random_value(random, depth + 1))
                    .collect();
                format!("[{}]", items.join(","))
            }
        };
        format!("{}{value}{}", space(random), space(random))
    }

    fn random_text(random: &mut fastrand::Rng) -> String {
        const PIECES: [&str; 11] = [
            "a", "é", "\\\"", "\\\\", "\\u0041", "{", "}", "[", "]", ",", ":",
        ];
        let pieces = (0..random.usize(..5)).map(|_| PIECES[random.usize(..PIECES.len())]);
        format!("\"{}\"", pieces.collect::<String>())
    }

    fn space(random: &mut fastrand::Rng) -> &'static str {
        ["", "", "", " ", "\r\n\t"][random.usize(..5)]
    }
}
