//! JSON web tokens: issued at the login, valid for a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;

use crate::random::mix;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The purpose of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Access,
    Refresh,
}

#[derive(Debug)]
struct Issued {
    kind: TokenKind,
    expires: Instant,
}

/// Every token that was issued.
#[derive(Debug, Default)]
pub(crate) struct Tokens {
    issued: HashMap<String, Issued>,
}

impl Tokens {
    /// Issues a token: three parts in the alphabet of base 64, of which the second contains the expiry
    /// of the token. The third is no signature, because no client checks it.
    pub(crate) fn issue(&mut self, kind: TokenKind, life: Duration) -> String {
        let number = self.issued.len() as u64 + 1;
        let issued_at = Timestamp::now().as_second();
        let seconds = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
        let header = json!({"alg": "HS256", "typ": "JWT"});
        let payload = json!({
            "token_type": match kind {
                TokenKind::Access => "access",
                TokenKind::Refresh => "refresh",
            },
            "exp": issued_at.saturating_add(seconds),
            "iat": issued_at,
            "jti": format!("{:016x}{:016x}", mix(number), mix(!number)),
            "user_id": 1,
        });
        let signature = [mix(number ^ 1), mix(number ^ 2), mix(number ^ 3)];
        let signature: Vec<u8> = signature
            .iter()
            .flat_map(|part| part.to_be_bytes())
            .collect();
        let token = format!(
            "{}.{}.{}",
            base64(header.to_string().as_bytes()),
            base64(payload.to_string().as_bytes()),
            base64(&signature)
        );
        let expires = Instant::now() + life;
        self.issued.insert(token.clone(), Issued { kind, expires });
        token
    }

    /// Ends the life of all tokens of a kind.
    pub(crate) fn end(&mut self, kind: TokenKind) {
        let now = Instant::now();
        let of_kind = self
            .issued
            .values_mut()
            .filter(|issued| issued.kind == kind);
        of_kind.for_each(|issued| issued.expires = now);
    }

    /// The error in a token, if any.
    pub(crate) fn check(&self, kind: TokenKind, token: &str) -> Result<(), &'static str> {
        let issued = self.issued.get(token).ok_or("Token is invalid")?;
        if issued.expires <= Instant::now() {
            return Err("Token is expired");
        }
        if issued.kind != kind {
            return Err("Token has wrong type");
        }
        Ok(())
    }
}

/// Base 64 for URLs, without padding.
fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut bits = 0_u32;
        for position in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(position).copied().unwrap_or_default());
        }
        for digit in 0..=chunk.len() {
            let value = bits >> (18 - 6 * digit) & 63;
            text.push(char::from(ALPHABET[value as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_64_is_as_in_rfc_4648() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "-_-_");
    }
}
