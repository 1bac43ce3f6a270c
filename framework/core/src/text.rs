//! Cleans text from outside: entered values, and text for display.

/// Returns whether a character is invisible and changes the text around it: direction marks, which let a text show as
/// another one, and zero-width blanks. The two joiners do not count: some scripts and emoji need them.
pub const fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{61c}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

/// Returns the first `max` characters of a text in one line, without control characters and hidden ones.
pub fn one_line(text: &str, max: usize) -> String {
    let is_shown = |c: &char| !is_hidden(*c);
    let line: String = text
        .chars()
        .filter(is_shown)
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(max)
        .collect();
    line.trim().to_owned()
}

/// The notice for a value with spaces or quotes around it after tidying.
pub(crate) const WRAPPED: &str =
    "has spaces or quotes around it, which are kept; remove them if they are not part of the value";

/// Returns whether a text has spaces or quotes around it.
pub(crate) fn is_wrapped(text: &str) -> bool {
    bare(text).len() != text.len()
}

/// Returns a text without the white space around it.
pub(crate) fn unspaced(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}' || c == '\u{200b}')
}

/// Returns a text without the white space and the quotes around it, as [`tidy`](crate::tidy) cleans a key or an address.
pub fn bare(mut text: &str) -> &str {
    // Repeats until nothing is left to remove, so that a second call changes nothing.
    loop {
        text = unspaced(text);
        let mut quotes = ['"', '\''].into_iter();
        let inside = quotes.find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote));
        match inside {
            Some(inside) => text = inside,
            None => return text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_moves_no_cursor_and_turns_no_text_around() {
        let text = " a\u{1b}[31mb\r\nc\u{202e}txt.exe\u{2066}\u{200b}\u{feff}\u{e0041} \u{9b}1m";
        assert_eq!(one_line(text, 100), "a [31mb  ctxt.exe  1m");
        assert_eq!(one_line("abcdef", 3), "abc");
        assert_eq!(one_line("👩\u{200d}💻", 9), "👩\u{200d}💻");
    }
}
