//! Decoding of strings and names.

use std::borrow::Cow;

/// Decodes the bytes between the quotes of a string; `None` if they have bytes or escapes that are not characters, such
/// as half a surrogate pair.
#[inline]
pub fn decode(spelt: &[u8]) -> Option<Cow<'_, str>> {
    if !spelt.contains(&b'\\') {
        return str::from_utf8(spelt).ok().map(Cow::Borrowed);
    }
    // Services escape little, so that the memory for this one does not matter.
    let quoted = [b"\"", spelt, b"\""].concat();
    serde_json::from_slice(&quoted).ok().map(Cow::Owned)
}

/// Decodes a value that is a string; `None` for other values.
pub fn decode_string(value: &[u8]) -> Option<Cow<'_, str>> {
    decode(value.strip_prefix(b"\"")?.strip_suffix(b"\"")?)
}

/// The path of a field of the value at a path: `crm_info.deal_id`.
pub fn join_path(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
