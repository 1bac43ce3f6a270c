//! Replacements of values.

use headwater_core::DataClass;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// Makes pseudonyms: the same for the same value, in every stream and every run.
#[derive(Clone, Debug)]
pub(super) enum Pseudonyms {
    /// SHA-256. An attacker with a list of likely values can compute theirs and compare.
    Plain,
    /// HMAC-SHA-256: an attacker can compute nothing without the key.
    Keyed(Box<Hmac<Sha256>>),
}

impl Pseudonyms {
    /// Pseudonyms under a key of any length.
    pub(super) fn keyed(key: &[u8]) -> Option<Self> {
        let hmac = Hmac::new_from_slice(key).ok()?;
        Some(Self::Keyed(Box::new(hmac)))
    }

    /// Appends the pseudonym of a value of a class, which has no character that JSON escapes. Spellings of one value
    /// get one pseudonym.
    pub(super) fn append(&self, class: DataClass, value: &str, out: &mut Vec<u8>) {
        match class {
            DataClass::Email => {
                let digest = self.digest(value.trim().to_ascii_lowercase().as_bytes());
                append_hex(&digest, out);
                out.extend_from_slice(b"@redacted");
            }
            DataClass::Phone => {
                out.extend_from_slice(b"tel-");
                append_hex(&self.digest(dialled(value).as_bytes()), out);
            }
            // The other classes have no pseudonyms of their own.
            _ => {
                let digest = self.digest(value.trim().as_bytes());
                let number = digest[..8]
                    .iter()
                    .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
                out.extend_from_slice(format!("Rep-{:06}", number % 1_000_000).as_bytes());
            }
        }
    }

    fn digest(&self, value: &[u8]) -> [u8; 32] {
        match self {
            Self::Plain => Sha256::digest(value).into(),
            Self::Keyed(hmac) => {
                let mut hmac = hmac.clone();
                hmac.update(value);
                hmac.finalize().into_bytes().into()
            }
        }
    }
}

/// 12 digits: 48 bits.
fn append_hex(digest: &[u8; 32], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in &digest[..6] {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// The digits of a phone number, since people put blanks, dots and brackets between them as they like.
fn dialled(value: &str) -> String {
    let digits: String = value
        .chars()
        .filter(|character| character.is_ascii_digit() || *character == '+')
        .collect();
    if digits.is_empty() {
        value.trim().to_owned()
    } else {
        digits
    }
}

/// A link without its signature.
pub(super) fn without_signature(link: &str) -> &str {
    link.find(['?', '#']).map_or(link, |end| &link[..end])
}

/// Whether a text contains a likely e-mail address: `x@y.zz`, alone or among other words.
pub(super) fn holds_address(text: &[u8]) -> bool {
    let is_local = |byte: u8| byte.is_ascii_alphanumeric() || b"._%+-'".contains(&byte);
    let mut from = 0;
    while let Some(found) = text[from..].iter().position(|byte| *byte == b'@') {
        let at = from + found;
        from = at + 1;
        // Letters beyond ASCII are UTF-8's bytes from 0x80 on.
        let has_local = at > 0 && (is_local(text[at - 1]) || text[at - 1] >= 0x80);
        if has_local && begins_with_domain(&text[from..]) {
            return true;
        }
    }
    false
}

fn begins_with_domain(text: &[u8]) -> bool {
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte >= 0x80;
    let mut labels = text.split(|byte| *byte == b'.');
    let first = labels.next().unwrap_or_default();
    if first.is_empty() || !first.iter().all(|byte| is_host(*byte)) {
        return false;
    }
    labels.next().is_some_and(|second| {
        let length = second.iter().take_while(|byte| is_host(**byte)).count();
        length >= 2
    })
}
