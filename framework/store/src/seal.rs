//! Sealing a text with a key, bound to its position.

use std::slice;

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use headwater_core::{Error, Kind, Result};
use zeroize::Zeroizing;

use crate::key::{Key, fill};

/// The bytes of a nonce: enough that a random one never repeats.
const NONCE: usize = 24;
/// Part of every binding: another format of seals gets another name.
const FORMAT: &str = "headwater-store-1";

/// The parts that a seal is bound to; it opens with exactly these parts.
pub(crate) struct Binding(Vec<u8>);

impl Binding {
    /// Each part follows its length, so that no two lists of parts look the same.
    pub(crate) fn new(parts: &[&str]) -> Self {
        let mut bytes = Vec::new();
        for part in slice::from_ref(&FORMAT).iter().chain(parts) {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Self(bytes)
    }
}

/// Seals a text: a random nonce and the ciphertext (XChaCha20-Poly1305), in base64.
pub(crate) fn seal(key: &Key, text: &str, binding: &Binding) -> Result<String> {
    let mut nonce = [0; NONCE];
    fill(&mut nonce)?;
    let payload = Payload {
        msg: text.as_bytes(),
        aad: &binding.0,
    };
    let sealed = cipher(key)
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| Error::new(Kind::Unexpected, "a secret is too long to be sealed"))?;
    Ok(STANDARD.encode([&nonce[..], &sealed].concat()))
}

/// Opens a seal; `None` with another key or binding, or if any bit differs.
pub(crate) fn open(key: &Key, sealed: &str, binding: &Binding) -> Option<Zeroizing<String>> {
    let bytes = STANDARD.decode(sealed).ok()?;
    let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
    let payload = Payload {
        msg: sealed,
        aad: &binding.0,
    };
    let opened = cipher(key).decrypt(&XNonce::from(*nonce), payload).ok()?;
    String::from_utf8(opened).ok().map(Zeroizing::new)
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&(*key.bytes).into())
}

#[cfg(test)]
mod tests {
    use headwater_core::Secret;

    use super::*;
    use crate::key::Keyring;

    fn key(byte: &str) -> Key {
        let ring = Keyring::parse(&Secret::new(byte.repeat(32))).unwrap();
        ring.primary().clone()
    }

    #[test]
    fn a_seal_opens_with_its_key_and_binding_only() {
        let binding = Binding::new(&["row", "field"]);
        let sealed = seal(&key("ab"), "canary", &binding).unwrap();
        assert_ne!(sealed, seal(&key("ab"), "canary", &binding).unwrap());
        assert_eq!(*open(&key("ab"), &sealed, &binding).unwrap(), "canary");
        assert!(open(&key("ac"), &sealed, &binding).is_none());
        for parts in [["row", "fielD"], ["rowf", "ield"], ["field", "row"]] {
            assert!(open(&key("ab"), &sealed, &Binding::new(&parts)).is_none());
        }
    }

    #[test]
    fn no_byte_of_a_seal_can_be_another_one() {
        let binding = Binding::new(&["row"]);
        let sealed = seal(&key("ab"), "canary", &binding).unwrap();
        let bytes = STANDARD.decode(&sealed).unwrap();
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[index] ^= 1 << bit;
                let changed = STANDARD.encode(changed);
                assert!(open(&key("ab"), &changed, &binding).is_none(), "{index}");
            }
            assert!(open(&key("ab"), &STANDARD.encode(&bytes[..index]), &binding).is_none());
        }
        for index in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[index] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert!(open(&key("ab"), &changed, &binding).is_none(), "{index}");
        }
    }
}
