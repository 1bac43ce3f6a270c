//! JSON values in PostgreSQL's binary form, as COPY and arrays carry them.
//!
//! What fits is decided here and not by the server, since a value that the server refuses takes the whole page with it.

use std::borrow::Cow;

use headwater_json::{decode_string, is_deeper_than, whole_number};
use serde::de::IgnoredAny;

use crate::{columns::ColumnKind, moment::microseconds};

/// Digits that a numeric takes in front of its decimal point.
const MAX_WHOLE_DIGITS: i64 = 131_072;
/// Digits that a numeric takes behind its decimal point.
const MAX_DECIMALS: i64 = 16_383;
/// How deep objects and lists may lie in each other. The server's parser has a stack, and it is not ours.
const DEEPEST: usize = 1_000;
/// PostgreSQL counts from the year 2000.
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;
/// The beginning of the first day that a timestamptz knows, 4714-11-24 BC.
const EARLIEST_MICROSECONDS: i64 = -211_813_488_000_000_000;

/// Appends a field: its length, then its bytes. False where the value does not fit; then nothing is appended.
pub(super) fn push(row: &mut Vec<u8>, kind: ColumnKind, value: &[u8]) -> bool {
    match kind {
        ColumnKind::Text => text(value).is_some_and(|text| push_bytes(row, text.as_bytes())),
        ColumnKind::Integer => {
            whole_number(value).is_some_and(|number| push_bytes(row, &number.to_be_bytes()))
        }
        ColumnKind::Number => numeric(value).is_some_and(|bytes| push_bytes(row, &bytes)),
        ColumnKind::Boolean => match value {
            b"true" => push_bytes(row, &[1]),
            b"false" => push_bytes(row, &[0]),
            _ => false,
        },
        ColumnKind::Time => {
            moment(value).is_some_and(|moment| push_bytes(row, &moment.to_be_bytes()))
        }
        ColumnKind::Json => is_json(value) && push_bytes(row, value),
    }
}

/// Appends a field of these bytes. False where they are more than a length of PostgreSQL can count.
pub(super) fn push_bytes(row: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let Ok(length) = i32::try_from(bytes.len()) else {
        return false;
    };
    row.extend_from_slice(&length.to_be_bytes());
    row.extend_from_slice(bytes);
    true
}

/// Appends a null.
pub(super) fn push_null(row: &mut Vec<u8>) {
    row.extend_from_slice(&(-1_i32).to_be_bytes());
}

/// The fields of a row that was made by the functions above.
pub(super) fn fields(mut row: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        let (length, rest) = row.split_first_chunk()?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            row = rest;
            return Some(None);
        };
        let (field, rest) = rest.split_at_checked(length)?;
        row = rest;
        Some(Some(field))
    })
}

/// The text of a JSON string. None where PostgreSQL cannot hold it: `\u0000` or half a surrogate pair.
fn text(value: &[u8]) -> Option<Cow<'_, str>> {
    decode_string(value).filter(|text| !text.contains('\0'))
}

/// A numeric with all digits and decimals of the number: groups of four digits, the first one's weight, sign, scale.
fn numeric(value: &[u8]) -> Option<Vec<u8>> {
    let (is_negative, rest) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let (whole, rest) = split_digits(rest)?;
    if whole.len() > 1 && whole[0] == b'0' {
        return None;
    }
    let (decimals, rest) = match rest.strip_prefix(b".") {
        Some(rest) => split_digits(rest)?,
        None => (&[][..], rest),
    };
    let exponent = exponent(rest)?;

    let scale = (i64::try_from(decimals.len()).ok()? - exponent).max(0);
    let digits = [whole, decimals].concat();
    let is_zero = |digit: &&u8| **digit == b'0';
    let leading = digits.iter().take_while(is_zero).count();
    let digits = &digits[leading..];
    let trailing = digits.iter().rev().take_while(is_zero).count();
    let digits = &digits[..digits.len() - trailing];
    // The number of digits before the point; below zero, the number of zeros between point and digits.
    let point = i64::try_from(whole.len()).ok()? - i64::try_from(leading).ok()? + exponent;
    if scale > MAX_DECIMALS {
        return None;
    }
    if digits.is_empty() {
        // There is no zero below zero.
        return if is_negative {
            None
        } else {
            numeric_bytes(&[], 0, false, scale)
        };
    }
    if point > MAX_WHOLE_DIGITS {
        return None;
    }

    let weight = (point - 1).div_euclid(4);
    let mut groups: Vec<u16> = Vec::with_capacity(digits.len() / 4 + 2);
    let mut rest = digits;
    let mut room = usize::try_from(point - weight * 4).ok()?;
    while !rest.is_empty() {
        let (group, behind) = rest.split_at(room.min(rest.len()));
        let number = group
            .iter()
            .fold(0_u16, |number, digit| number * 10 + u16::from(digit - b'0'));
        groups.push(number * 10_u16.pow(u32::try_from(room - group.len()).ok()?));
        rest = behind;
        room = 4;
    }
    numeric_bytes(&groups, weight, is_negative, scale)
}

fn numeric_bytes(groups: &[u16], weight: i64, is_negative: bool, scale: i64) -> Option<Vec<u8>> {
    let sign: u16 = if is_negative { 0x4000 } else { 0 };
    let mut bytes = Vec::with_capacity(8 + 2 * groups.len());
    bytes.extend_from_slice(&u16::try_from(groups.len()).ok()?.to_be_bytes());
    bytes.extend_from_slice(&i16::try_from(weight).ok()?.to_be_bytes());
    bytes.extend_from_slice(&sign.to_be_bytes());
    bytes.extend_from_slice(&u16::try_from(scale).ok()?.to_be_bytes());
    for group in groups {
        bytes.extend_from_slice(&group.to_be_bytes());
    }
    Some(bytes)
}

/// The digits at the start, at least one.
fn split_digits(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (count > 0).then(|| text.split_at(count))
}

/// The number behind the `e`; zero where there is none.
fn exponent(text: &[u8]) -> Option<i64> {
    let Some(signed) = text.strip_prefix(b"e").or_else(|| text.strip_prefix(b"E")) else {
        return text.is_empty().then_some(0);
    };
    let digits = signed
        .strip_prefix(b"-")
        .or_else(|| signed.strip_prefix(b"+"))
        .unwrap_or(signed);
    let (_, rest) = split_digits(digits)?;
    if !rest.is_empty() {
        return None;
    }
    let exponent: i32 = str::from_utf8(signed).ok()?.parse().ok()?;
    Some(i64::from(exponent))
}

/// Microseconds since the year 2000. None for a text that is no moment, and for one that a timestamptz would round.
fn moment(value: &[u8]) -> Option<i64> {
    let microseconds = microseconds(&text(value)?)? - EPOCH_MICROSECONDS;
    (microseconds >= EARLIEST_MICROSECONDS).then_some(microseconds)
}

/// Whether PostgreSQL's parser takes it.
fn is_json(value: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(value).is_ok() && !is_deeper_than(value, DEEPEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(kind: ColumnKind, value: &str) -> bool {
        let mut row = Vec::new();
        let is_pushed = push(&mut row, kind, value.as_bytes());
        assert_eq!(is_pushed, !row.is_empty());
        is_pushed
    }

    #[test]
    fn a_number_is_whole_only_if_it_is_written_so() {
        for value in [
            "0",
            "7",
            "-7",
            "9223372036854775807",
            "-9223372036854775808",
        ] {
            assert!(fits(ColumnKind::Integer, value), "{value}");
        }
        for value in [
            "-0",
            "007",
            "1.0",
            "1e5",
            "9223372036854775808",
            "\"7\"",
            "true",
            "-",
            "+1",
        ] {
            assert!(!fits(ColumnKind::Integer, value), "{value}");
        }
    }

    #[test]
    fn a_numeric_takes_what_its_limits_allow() {
        let most = format!("1{}", "0".repeat(131_071));
        for value in [
            "0",
            "0.00",
            "572.0",
            "1e5",
            "1E+131071",
            "1e-16383",
            "0e-16383",
            &most,
        ] {
            assert!(fits(ColumnKind::Number, value), "{value}");
        }
        let too_many = format!("{most}0");
        for value in [
            "-0",
            "-0.0",
            "1e131072",
            "1e-16384",
            "1e99999999999",
            "01",
            "1.",
            ".5",
            "1.2.3",
            "1e",
            "1e+",
            "12abc",
            "NaN",
            "Infinity",
            "\"1\"",
            &too_many,
        ] {
            assert!(!fits(ColumnKind::Number, value), "{value}");
        }
    }

    #[test]
    fn a_moment_is_one_that_need_not_be_rounded() {
        for value in [
            "2024-05-01T10:00:00Z",
            "2024-05-01T10:00:00.123456+02:00",
            "0001-01-01T00:00:00Z",
            "0000-01-01T00:00:00Z",
            "9999-12-31T00:00:00Z",
            "9999-12-31T23:59:59.999999Z",
            "9999-12-31T23:59:59-08:00",
        ] {
            assert!(fits(ColumnKind::Time, &format!("\"{value}\"")), "{value}");
        }
        for value in [
            "2024-05-01T10:00:00.1234567Z",
            "2016-12-31T23:59:60Z",
            "2024-05-01",
            "2024-05-01T10:00:00",
            "soon",
            "infinity",
            "-infinity",
            "9999-12-31T24:00:00Z",
            "",
            "-006000-01-01T00:00:00Z",
        ] {
            assert!(!fits(ColumnKind::Time, &format!("\"{value}\"")), "{value}");
        }
        assert!(!fits(ColumnKind::Time, "1714557600"));
    }

    #[test]
    fn a_text_is_one_that_postgresql_can_hold() {
        assert_eq!(text(br#""a\"b\\\u00e9\ud83d\ude00""#).unwrap(), "a\"b\\é😀");
        for value in [r#""\u0000""#, r#""\ud800""#, r#""\x""#, "7", "null"] {
            assert!(!fits(ColumnKind::Text, value), "{value}");
        }
    }

    #[test]
    fn json_is_not_deeper_than_a_server_can_step() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(fits(ColumnKind::Json, &nested(DEEPEST)));
        assert!(!fits(ColumnKind::Json, &nested(DEEPEST + 1)));
        let wide = format!("[{}\"[\\\"[\"]", "{},".repeat(2 * DEEPEST));
        assert!(fits(ColumnKind::Json, &wide));
        assert!(!fits(ColumnKind::Json, "{\"a\":tru}"));
    }

    #[test]
    fn the_fields_of_a_row_are_those_that_were_pushed() {
        let mut row = Vec::new();
        push(&mut row, ColumnKind::Text, b"\"ab\"");
        push_null(&mut row);
        push(&mut row, ColumnKind::Text, b"\"\"");
        let found: Vec<_> = fields(&row).collect();
        assert_eq!(found, [Some(&b"ab"[..]), None, Some(&b""[..])]);
    }
}
