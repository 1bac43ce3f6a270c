//! The cursor against a reader that takes one byte after the other.

use super::*;

/// The end of the value that begins here.
fn end_of_value(text: &[u8], mut at: usize) -> Result<usize, Malformed> {
    let mut depth = 0_usize;
    loop {
        match *text.get(at).ok_or(Malformed)? {
            b'"' => {
                at += 1;
                while *text.get(at).ok_or(Malformed)? != b'"' {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => depth -= 1,
            _ if depth == 0 => {
                let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                let token = text[at..].split(|byte| !is_part(byte)).next();
                let token = token.unwrap_or_default();
                let is_number = matches!(token, [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..]);
                let is_word = matches!(token, b"null" | b"true" | b"false");
                return match is_number || is_word {
                    true => Ok(at + token.len()),
                    false => Err(Malformed),
                };
            }
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Ok(at);
        }
    }
}

fn random_text(random: &mut fastrand::Rng) -> Vec<u8> {
    const TELLING: &[u8] = b"\"\"\"\\\\{}[],: \n\t1-.eantrue\x00\x1f\xc3\xa9";
    let mut text = vec![b'a'; random.usize(..70)];
    text.fill_with(|| random.alphanumeric() as u8);
    let mut text = [b"\"", &text[..], b"\""].concat();
    for _ in 0..random.usize(..150) {
        text.push(TELLING[random.usize(..TELLING.len())]);
    }
    // What nests begins with a bracket.
    if random.bool() {
        text.insert(0, if random.bool() { b'{' } else { b'[' });
    }
    text
}

#[test]
fn values_end_where_a_reader_of_single_bytes_finds_their_ends() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut found = 0;
    for _ in 0..20_000 {
        let text = random_text(&mut random);
        let mut cursor = JsonCursor::new(&text);
        let mut at = 0;
        // One value after the other, with whatever is between them.
        while !cursor.is_at_end() {
            let expected = end_of_value(&text, at);
            let mut again = cursor;
            again.seek(at);
            assert_eq!(again.skip_value().map(|()| again.at()), expected);
            match cursor.skip_value() {
                Ok(()) => {
                    assert_eq!(Ok(cursor.at()), expected, "{at} of {text:?}");
                    found += 1;
                }
                Err(Malformed) => {
                    assert_eq!(expected, Err(Malformed), "{at} of {text:?}");
                    cursor.seek(at + 1);
                }
            }
            at = cursor.at();
        }
    }
    assert!(found > 20_000, "{found}");
}

#[test]
fn a_string_has_its_inside_and_its_escapes_wherever_it_begins() {
    for before in 0..130 {
        for (inside, has_escapes) in [
            ("", false),
            ("a,{}[]é", false),
            ("\\\"", true),
            ("\\\\", true),
            ("\\\\\\\"x", true),
            ("\n\t", false),
        ] {
            let text = format!("{}\"{inside}\" ,", " ".repeat(before));
            let mut cursor = JsonCursor::new(text.as_bytes());
            cursor.skip_space();
            let string = cursor.text().unwrap();
            assert_eq!(&text[string.span.clone()], inside);
            assert_eq!(string.has_escapes, has_escapes);
            cursor.skip_space();
            assert_eq!(cursor.peek(), Ok(b','));
        }
    }
}

#[test]
fn depth_is_counted_outside_of_strings() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(!is_deeper_than(nested(100).as_bytes(), 100));
    assert!(is_deeper_than(nested(101).as_bytes(), 100));
    let wide = format!("[{}\"[\\\"[\"]", "{},".repeat(200));
    assert!(!is_deeper_than(wide.as_bytes(), 2));
}
