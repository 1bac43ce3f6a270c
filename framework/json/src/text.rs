//! What strings and names say.

use std::borrow::Cow;

/// What a string says, from the bytes between its quotes. None if it has bytes or escapes that are no characters, such
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

/// What a value says that is a string; none for other values.
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
