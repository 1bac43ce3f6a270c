//! What the text of a number is.

/// Whether a text is a number by the grammar of JSON.
pub fn is_number(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let Some(mut rest) = after_digits(unsigned) else {
        return false;
    };
    if unsigned[0] == b'0' && unsigned.len() - rest.len() > 1 {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        match after_digits(fraction) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            after_digits(exponent).is_some_and(<[u8]>::is_empty)
        }
        _ => false,
    }
}

/// The text behind one digit or more.
fn after_digits(text: &[u8]) -> Option<&[u8]> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then(|| &text[digits..])
}

/// A whole number that is written from 64 bits with the same digits: no fraction, no exponent, no needless zero, no
/// negative zero.
pub fn whole_number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_plain = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !is_plain {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_comes_back_with_the_same_digits() {
        for text in [
            "0",
            "7",
            "-7",
            "10",
            "9223372036854775807",
            "-9223372036854775808",
        ] {
            assert_eq!(whole_number(text.as_bytes()).unwrap().to_string(), text);
        }
        for text in [
            "",
            "-",
            "-0",
            "--1",
            "+1",
            "007",
            "-01",
            "1.0",
            "1e5",
            "9223372036854775808",
            "1 ",
            "\"7\"",
            "true",
        ] {
            assert_eq!(whole_number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_number_is_what_the_grammar_says() {
        for text in [
            "0",
            "-0",
            "12",
            "0.5",
            "-2.5E-3",
            "1e9",
            "1E+10",
            "1e999",
            "12345678901234567890.10",
        ] {
            assert!(is_number(text.as_bytes()), "{text}");
        }
        for text in [
            "", "-", "01", "1.", ".5", "1e", "1e+", "1.2.3", "12abc", "NaN", "+1", "1 ",
        ] {
            assert!(!is_number(text.as_bytes()), "{text}");
        }
    }
}
