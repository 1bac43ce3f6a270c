//! Records as lines of a file.

/// Appends a record's own bytes and a line feed. Line breaks between its tokens, which pretty-printed JSON has, are left
/// out; inside a JSON string there are none.
pub fn push_line(buffer: &mut Vec<u8>, record: &[u8]) {
    if memchr::memchr2(b'\n', b'\r', record).is_some() {
        buffer.extend(record.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    } else {
        buffer.extend_from_slice(record);
    }
    buffer.push(b'\n');
}
