//! One spelling of the texts in a record: services may escape a character in one response and not in the next.

use std::borrow::Cow;

/// Returns the JSON text with escapes only where JSON requires them. Invalid escapes stay unchanged.
pub(crate) fn plain(json: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', json).is_none() {
        return Cow::Borrowed(json);
    }
    let mut text = Vec::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (before, escape) = rest.split_at(at);
        text.extend_from_slice(before);
        rest = match escaped(escape) {
            Some((character, length)) => {
                push(&mut text, character);
                &escape[length..]
            }
            None => {
                text.push(b'\\');
                &escape[1..]
            }
        };
    }
    text.extend_from_slice(rest);
    Cow::Owned(text)
}

/// Returns the character of the escape at the start of a text, and the length of the escape in bytes.
fn escaped(text: &[u8]) -> Option<(char, usize)> {
    let character = match text.get(1)? {
        b'u' => {
            let first = unit(text, 2)?;
            if !(0xd800..0xdc00).contains(&first) {
                return Some((char::from_u32(first)?, 6));
            }
            let is_pair = text.get(6..8)? == b"\\u";
            let second = unit(text, 8).filter(|unit| is_pair && (0xdc00..0xe000).contains(unit))?;
            let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return Some((char::from_u32(code)?, 12));
        }
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        byte @ (b'"' | b'\\' | b'/') => char::from(*byte),
        _ => return None,
    };
    Some((character, 2))
}

/// Reads the four hexadecimal digits at an index.
fn unit(text: &[u8], at: usize) -> Option<u32> {
    let digits = text.get(at..at + 4)?;
    digits.iter().try_fold(0, |unit, digit| {
        Some(unit * 16 + char::from(*digit).to_digit(16)?)
    })
}

fn push(text: &mut Vec<u8>, character: char) {
    match character {
        '"' | '\\' | '\0'..='\u{1f}' => {
            text.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
        }
        _ => text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_text_are_one() {
        for spellings in [
            &[
                r#"{"a":"b/c"}"#,
                r#"{"a":"b\/c"}"#,
                r#"{"\u0061":"b\u002Fc"}"#,
            ][..],
            &["\"é\"", r#""\u00e9""#, r#""\u00E9""#],
            &["\"😀\"", r#""\ud83d\ude00""#],
            &[r#""\n\"\\""#, r#""\u000a\u0022\u005C""#],
        ] {
            let texts = spellings.iter().map(|text| plain(text.as_bytes()));
            let texts: Vec<_> = texts.collect();
            assert!(texts.windows(2).all(|two| two[0] == two[1]), "{texts:?}");
        }
    }

    #[test]
    fn different_texts_stay_different() {
        let texts = [
            r#""\"""#,
            r#""\\""#,
            r#""\\n""#,
            r#""\n""#,
            r#""n""#,
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\u12""#,
            r#""\x""#,
        ];
        for (index, one) in texts.iter().enumerate() {
            for other in &texts[index + 1..] {
                assert_ne!(
                    plain(one.as_bytes()),
                    plain(other.as_bytes()),
                    "{one} {other}"
                );
            }
        }
        assert!(matches!(plain(b"{\"a\":1}"), Cow::Borrowed(_)));
    }
}
