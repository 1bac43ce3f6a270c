//! Identifiers that can be read back: from an id the simulator finds the index of the record it
//! belongs to without holding any table, then builds the id again to see that it is genuine.

use crate::random::{Purpose, draw, mix};

const NODE_BITS: u32 = 48;
const NODE_MASK: u64 = (1 << NODE_BITS) - 1;

/// The lowercase version-4 uuid of record `index`.
///
/// The first 80 bits look random; the last 48 hold the index, hidden behind a mask that is
/// computed from the first ones.
pub(crate) fn uuid(seed: u64, purpose: Purpose, index: u64) -> String {
    let head = draw(seed, purpose, index.wrapping_add(0x0001_0000_0000_0000));
    let head = (head & 0xffff_ffff_ffff_0fff) | 0x4000;
    let clock = (mix(head) >> 48) & 0x3fff | 0x8000;
    let node = (index ^ mask(seed, purpose, head)) & NODE_MASK;
    format!(
        "{:08x}-{:04x}-{:04x}-{clock:04x}-{node:012x}",
        head >> 32,
        (head >> 16) & 0xffff,
        head & 0xffff,
    )
}

/// The index of the record whose uuid is `text`, if this seed and purpose ever issue it.
pub(crate) fn uuid_index(seed: u64, purpose: Purpose, text: &str) -> Option<u64> {
    let compact: String = text.chars().filter(|character| *character != '-').collect();
    let head = u64::from_str_radix(compact.get(..16)?, 16).ok()?;
    let node = u64::from_str_radix(compact.get(20..32)?, 16).ok()?;
    let index = (node ^ mask(seed, purpose, head)) & NODE_MASK;
    (uuid(seed, purpose, index) == text).then_some(index)
}

fn mask(seed: u64, purpose: Purpose, head: u64) -> u64 {
    mix(head ^ seed ^ ((purpose as u64) << 56))
}

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const CRM_PREFIX_LENGTH: usize = 3;
const CRM_HEAD_LENGTH: usize = 7;
const CRM_INDEX_LENGTH: usize = 5;
const CRM_CHECK_LENGTH: usize = 3;
const CRM_INDEX_MASK: u64 = (1 << 29) - 1;

/// The 18-character id of a record in the customer's CRM, in the manner of Salesforce:
/// a three-character object prefix and fifteen letters and digits.
pub(crate) fn crm_id(seed: u64, purpose: Purpose, prefix: &str, index: u64) -> String {
    let head = draw(seed, purpose, index.wrapping_add(0x0002_0000_0000_0000));
    let head = head % 62_u64.pow(7);
    let hidden = (index ^ mask(seed, purpose, head)) & CRM_INDEX_MASK;
    let mut id = String::with_capacity(18);
    id.push_str(prefix);
    push_base62(&mut id, head, CRM_HEAD_LENGTH);
    push_base62(&mut id, hidden, CRM_INDEX_LENGTH);
    push_base62(&mut id, mix(head ^ hidden) >> 20, CRM_CHECK_LENGTH);
    id
}

/// The index of the record whose CRM id is `text`, if this seed and purpose ever issue it.
pub(crate) fn crm_index(seed: u64, purpose: Purpose, prefix: &str, text: &str) -> Option<u64> {
    let body = text.strip_prefix(prefix)?;
    let head = parse_base62(body.get(..CRM_HEAD_LENGTH)?)?;
    let hidden = body.get(CRM_HEAD_LENGTH..CRM_HEAD_LENGTH + CRM_INDEX_LENGTH)?;
    let hidden = parse_base62(hidden)?;
    let index = (hidden ^ mask(seed, purpose, head)) & CRM_INDEX_MASK;
    debug_assert_eq!(prefix.len(), CRM_PREFIX_LENGTH);
    (crm_id(seed, purpose, prefix, index) == text).then_some(index)
}

fn push_base62(text: &mut String, mut number: u64, length: usize) {
    for _ in 0..length {
        let digit = usize::try_from(number % 62).unwrap_or_default();
        text.push(char::from(DIGITS[digit]));
        number /= 62;
    }
}

fn parse_base62(text: &str) -> Option<u64> {
    let mut number = 0_u64;
    for byte in text.bytes().rev() {
        let digit = DIGITS.iter().position(|known| *known == byte)?;
        number = number * 62 + digit as u64;
    }
    Some(number)
}

/// Copilot's own id of a CRM record: 24 hexadecimal digits (observed live).
pub(crate) fn object_id(seed: u64, purpose: Purpose, index: u64) -> String {
    let number = draw(seed, purpose, index.wrapping_add(0x0003_0000_0000_0000));
    format!("{number:016x}{:08x}", mix(number) >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_read_back_to_their_index() {
        for index in (0..1_000_000).step_by(7_919) {
            let id = uuid(3, Purpose::CallId, index);
            assert_eq!(id.len(), 36);
            assert_eq!(uuid_index(3, Purpose::CallId, &id), Some(index));
            assert_eq!(uuid_index(4, Purpose::CallId, &id), None);
            assert_eq!(uuid_index(3, Purpose::User, &id), None);
        }
    }

    #[test]
    fn foreign_uuids_are_refused() {
        for text in [
            "",
            "x",
            "é23e4567-e89b-12d3-a456-426614174000",
            "123e4567-e89b-12d3-a456-426614174000",
        ] {
            assert_eq!(uuid_index(3, Purpose::CallId, text), None);
        }
    }

    #[test]
    fn crm_ids_read_back_to_their_index() {
        for index in (0..100_000).step_by(613) {
            let id = crm_id(3, Purpose::Account, "001", index);
            assert_eq!(id.len(), 18);
            assert_eq!(crm_index(3, Purpose::Account, "001", &id), Some(index));
            assert_eq!(crm_index(3, Purpose::Contact, "001", &id), None);
            assert_eq!(crm_index(3, Purpose::Account, "003", &id), None);
        }
        assert_eq!(crm_index(3, Purpose::Account, "001", "001é"), None);
    }
}
