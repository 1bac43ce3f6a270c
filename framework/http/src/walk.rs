//! Walking over JSON without parsing it: the grammar is checked in full, and strings are passed eight bytes at a time.
//!
//! It gives up where serde_json would have to decide (anything malformed, deep or escaped in a place that matters), so
//! that whoever walks has to ask serde_json then. It never passes what serde_json refuses.

use std::ops::Range;

use crate::cutter::every;

/// Far below the depth that serde_json refuses, and the width of [`Nesting`].
const DEEPEST: u32 = 100;

/// A place in a text.
pub(crate) struct Walk<'b> {
    text: &'b [u8],
    at: usize,
}

impl<'b> Walk<'b> {
    /// The beginning of a text; none where it is not UTF-8, which nothing after this looks at.
    pub(crate) fn over(text: &'b [u8]) -> Option<Self> {
        std::str::from_utf8(text).ok()?;
        Some(Self { text, at: 0 })
    }

    /// What stands in a place that was passed.
    pub(crate) fn text(&self, place: Range<usize>) -> &'b [u8] {
        &self.text[place]
    }

    /// The next byte that is no blank.
    pub(crate) fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.text.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Passes this byte, which has to be the next one after blanks.
    pub(crate) fn pass(&mut self, expected: u8) -> Option<()> {
        (self.peek()? == expected).then(|| self.at += 1)
    }

    /// Passes this byte if it is the next one after blanks.
    pub(crate) fn passes(&mut self, byte: u8) -> bool {
        self.pass(byte).is_some()
    }

    /// Whether nothing but blanks is left.
    pub(crate) fn is_over(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Passes a name and the colon behind it; none where it has escapes.
    pub(crate) fn name(&mut self) -> Option<&'b str> {
        self.pass(b'"')?;
        let from = self.at;
        self.string()?;
        let name = &self.text[from..self.at - 1];
        self.pass(b':')?;
        let name = std::str::from_utf8(name).ok()?;
        (!name.contains('\\')).then_some(name)
    }

    /// Passes a value that stands below so many others, and says where it stands.
    pub(crate) fn value(&mut self, depth: u32) -> Option<Range<usize>> {
        let mut nesting = Nesting::below(depth);
        self.peek()?;
        let from = self.at;
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    self.string()?;
                }
                b'{' => {
                    self.at += 1;
                    if self.peek()? != b'}' {
                        nesting.enter(true)?;
                        self.key()?;
                        continue;
                    }
                    self.at += 1;
                }
                b'[' => {
                    self.at += 1;
                    if self.peek()? != b']' {
                        nesting.enter(false)?;
                        continue;
                    }
                    self.at += 1;
                }
                b'-' | b'0'..=b'9' => self.number()?,
                b'n' => self.word(b"null")?,
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                _ => return None,
            }
            // One value has ended, and perhaps those that it is the last one of.
            loop {
                let Some(is_object) = nesting.is_object() else {
                    return Some(from..self.at);
                };
                match (self.peek()?, is_object) {
                    (b',', is_object) => {
                        self.at += 1;
                        if is_object {
                            self.key()?;
                        }
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        self.at += 1;
                        nesting.leave();
                    }
                    _ => return None,
                }
            }
        }
    }

    /// Passes a word such as `null`.
    fn word(&mut self, word: &[u8]) -> Option<()> {
        let is_there = self.text[self.at..].starts_with(word);
        is_there.then(|| self.at += word.len())
    }

    fn key(&mut self) -> Option<()> {
        self.pass(b'"')?;
        self.string()?;
        self.pass(b':')
    }

    /// Passes the rest of a string, behind its first quote.
    fn string(&mut self) -> Option<()> {
        loop {
            let Some(eight) = self.text[self.at..].first_chunk::<8>() else {
                return self.end_of_string();
            };
            let special = special_bytes(u64::from_le_bytes(*eight));
            if special == 0 {
                self.at += 8;
                continue;
            }
            self.at += special.trailing_zeros() as usize / 8;
            if self.special()? {
                return Some(());
            }
        }
    }

    /// The same within the last eight bytes of the text.
    fn end_of_string(&mut self) -> Option<()> {
        loop {
            match *self.text.get(self.at)? {
                b'"' | b'\\' | 0..0x20 => {
                    if self.special()? {
                        return Some(());
                    }
                }
                _ => self.at += 1,
            }
        }
    }

    /// Passes a quote, which ends the string, or an escape; never a control character.
    fn special(&mut self) -> Option<bool> {
        match *self.text.get(self.at)? {
            b'"' => {
                self.at += 1;
                Some(true)
            }
            b'\\' => {
                self.escape()?;
                Some(false)
            }
            _ => None,
        }
    }

    fn escape(&mut self) -> Option<()> {
        match *self.text.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
            b'u' => {
                let digits = self.text.get(self.at + 2..self.at + 6)?;
                if !digits.iter().all(u8::is_ascii_hexdigit) {
                    return None;
                }
                self.at += 6;
            }
            _ => return None,
        }
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        if self.text[self.at] == b'-' {
            self.at += 1;
        }
        if self.text.get(self.at) == Some(&b'0') {
            // Another digit behind it is what no value ends with.
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// Passes one digit or more.
    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }
}

/// The highest bit of the first byte that is a quote, a backslash or a control character, in the order of the text; bytes
/// behind it may be marked without being one.
const fn special_bytes(word: u64) -> u64 {
    let quotes = word ^ every(b'"');
    let backslashes = word ^ every(b'\\');
    let is_quote = quotes.wrapping_sub(every(1)) & !quotes;
    let is_backslash = backslashes.wrapping_sub(every(1)) & !backslashes;
    let is_control = word.wrapping_sub(every(0x20)) & !word;
    (is_quote | is_backslash | is_control) & every(0x80)
}

/// What a value stands in, the innermost in the lowest bit: one for an object, zero for a list.
struct Nesting {
    bits: u128,
    depth: u32,
    most: u32,
}

impl Nesting {
    const fn below(depth: u32) -> Self {
        Self {
            bits: 0,
            depth: 0,
            most: DEEPEST.saturating_sub(depth),
        }
    }

    fn enter(&mut self, is_object: bool) -> Option<()> {
        self.bits = self.bits << 1 | u128::from(is_object);
        self.depth += 1;
        (self.depth <= self.most).then_some(())
    }

    const fn leave(&mut self) {
        self.bits >>= 1;
        self.depth -= 1;
    }

    /// None outside of everything.
    const fn is_object(&self) -> Option<bool> {
        if self.depth == 0 {
            None
        } else {
            Some(self.bits & 1 == 1)
        }
    }
}
