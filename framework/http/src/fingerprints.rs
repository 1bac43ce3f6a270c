//! A set of fingerprints, small enough to travel in a page token or a bookmark.

use std::{collections::HashSet, fmt};

use foldhash::fast::RandomState;
use headwater_core::fnv1a;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use twox_hash::XxHash3_64;

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const NO_DIGIT: u8 = u8::MAX;
/// The value of each character.
const VALUES: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};
/// Characters of one fingerprint: 64 bits at six a character.
const WIDTH: usize = 11;

/// 64-bit fingerprints of byte strings (FNV-1a), in the order of insertion.
///
/// Serialised as one string of eleven characters each. Among 100,000 different entries, the maximum for a week's
/// allowance of requests, two share a fingerprint with a probability of about 3 in 10 billion.
#[derive(Clone, Default)]
pub struct FingerprintSet {
    order: Vec<u64>,
    set: HashSet<u64, RandomState>,
}

/// The fingerprint of whole records. A state names it, so that an unfinished pass keeps the one that it began with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RecordPrint {
    /// FNV-1a, of states without a name.
    Fnv1a,
    /// XXH3, which takes a fraction of the time.
    #[default]
    Xxh3,
}

impl RecordPrint {
    pub(crate) const fn earlier() -> Self {
        Self::Fnv1a
    }

    pub(crate) fn of(self, record: &[u8]) -> u64 {
        match self {
            Self::Fnv1a => fnv1a(record),
            Self::Xxh3 => XxHash3_64::oneshot(record),
        }
    }
}

impl FingerprintSet {
    /// Returns the fingerprint of some bytes; stable, since states store it.
    pub fn fingerprint(bytes: &[u8]) -> u64 {
        fnv1a(bytes)
    }

    /// Adds a fingerprint; returns false if the set already has it.
    pub fn insert(&mut self, fingerprint: u64) -> bool {
        let is_new = self.set.insert(fingerprint);
        if is_new {
            self.order.push(fingerprint);
        }
        is_new
    }

    /// Returns whether the set has a fingerprint.
    pub fn contains(&self, fingerprint: u64) -> bool {
        self.set.contains(&fingerprint)
    }

    /// Keeps the fingerprints that match.
    pub(crate) fn retain(&mut self, is_wanted: impl Fn(u64) -> bool) {
        self.order.retain(|print| is_wanted(*print));
        self.set.retain(|print| is_wanted(*print));
    }

    /// Returns the number of fingerprints.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

impl PartialEq for FingerprintSet {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl fmt::Debug for FingerprintSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FingerprintSet({})", self.order.len())
    }
}

impl Serialize for FingerprintSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Vec::with_capacity(self.order.len() * WIDTH);
        for fingerprint in &self.order {
            let digit = |at: usize| DIGITS[(fingerprint >> (6 * (WIDTH - 1 - at)) & 63) as usize];
            text.extend_from_slice(&std::array::from_fn::<u8, WIDTH, _>(digit));
        }
        let text = String::from_utf8(text).map_err(ser::Error::custom)?;
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for FingerprintSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if !text.len().is_multiple_of(WIDTH) {
            return Err(de::Error::custom(
                "a list of fingerprints has an invalid length",
            ));
        }
        // A token of each page holds thousands: the set never grows while it is read.
        let count = text.len() / WIDTH;
        let mut seen = Self {
            order: Vec::with_capacity(count),
            set: HashSet::with_capacity_and_hasher(count, RandomState::default()),
        };
        for chunk in text.as_bytes().as_chunks::<WIDTH>().0 {
            let digits = chunk.map(|byte| VALUES[usize::from(byte)]);
            if digits.contains(&NO_DIGIT) {
                return Err(de::Error::custom("a fingerprint has an unknown character"));
            }
            let fingerprint = digits
                .iter()
                .fold(0_u64, |high, low| high << 6 | u64::from(*low));
            seen.insert(fingerprint);
        }
        Ok(seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_a_round_trip_in_eleven_characters_each() {
        let mut seen = FingerprintSet::default();
        for n in 0..1000_u32 {
            assert!(seen.insert(FingerprintSet::fingerprint(&n.to_le_bytes())));
        }
        seen.insert(u64::MAX);
        let text = serde_json::to_string(&seen).unwrap();
        assert_eq!(text.len(), 1001 * WIDTH + 2);
        let back: FingerprintSet = serde_json::from_str(&text).unwrap();
        assert_eq!(back, seen);
        assert!(back.contains(FingerprintSet::fingerprint(&7_u32.to_le_bytes())));
        assert!(serde_json::from_str::<FingerprintSet>("\"abc\"").is_err());
    }
}
