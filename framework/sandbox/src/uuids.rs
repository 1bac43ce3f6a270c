//! Uuids that can be read back: from one the simulator finds the index of the record it belongs to
//! without holding any table, then builds it again to see that it is genuine.

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

/// What hides the index of a record in its identifier.
pub(crate) fn mask(seed: u64, purpose: Purpose, head: u64) -> u64 {
    mix(head ^ seed ^ ((purpose as u64) << 56))
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
}
