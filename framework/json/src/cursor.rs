//! A cursor over JSON text that is there as a whole.
//!
//! It has two ways to pass a value. The functions here check only where the value ends: quotes, the number of brackets, the
//! words of the language; a caller that passes over a value does not pay for more. [`JsonCursor::checked_value`] checks
//! the whole grammar.

use std::{borrow::Cow, ops::Range};

use memchr::memchr2;

use crate::{marks::Position, text::decode};

/// The text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A position in JSON text.
#[derive(Clone, Copy, Debug)]
pub struct JsonCursor<'b> {
    pub(crate) input: &'b [u8],
    /// The functions here use its offset only.
    pub(crate) position: Position,
}

/// A string in the input.
#[derive(Clone, Debug)]
pub struct Text {
    /// Between the quotes.
    pub span: Range<usize>,
    /// Whether a backslash is in it.
    pub has_escapes: bool,
}

impl<'b> JsonCursor<'b> {
    /// The beginning of some text.
    #[inline]
    pub const fn new(input: &'b [u8]) -> Self {
        let position = Position::unmarked(0);
        Self { input, position }
    }

    /// The whole text.
    #[inline]
    pub const fn input(&self) -> &'b [u8] {
        self.input
    }

    /// The offset of the next byte.
    #[inline]
    pub const fn at(&self) -> usize {
        self.position.at
    }

    /// The next byte, which stays where it is.
    ///
    /// # Errors
    ///
    /// Fails at the end of the input.
    #[inline]
    pub fn peek(&self) -> Result<u8, Malformed> {
        self.input.get(self.position.at).copied().ok_or(Malformed)
    }

    /// Passes the next byte.
    #[inline]
    pub const fn advance(&mut self) {
        self.position.at += 1;
    }

    /// Passes a byte that has to be there.
    ///
    /// # Errors
    ///
    /// Fails if the next byte is another one.
    #[inline]
    pub fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek()? != byte {
            return Err(Malformed);
        }
        self.advance();
        Ok(())
    }

    /// Passes the blanks between two tokens.
    #[inline]
    pub fn skip_space(&mut self) {
        while matches!(
            self.input.get(self.position.at),
            Some(b' ' | b'\n' | b'\r' | b'\t')
        ) {
            self.position.at += 1;
        }
    }

    /// Whether nothing is left.
    #[inline]
    pub const fn is_at_end(&self) -> bool {
        self.position.at == self.input.len()
    }

    /// Goes to an offset.
    pub const fn seek(&mut self, at: usize) {
        self.position = Position::unmarked(at);
    }

    /// Passes a string.
    ///
    /// # Errors
    ///
    /// Fails if no string starts here, or if it has no end.
    #[inline]
    pub fn text(&mut self) -> Result<Text, Malformed> {
        self.expect(b'"')?;
        let start = self.position.at;
        let mut at = start;
        let mut has_escapes = false;
        loop {
            let rest = self.input.get(at..).ok_or(Malformed)?;
            at += memchr2(b'"', b'\\', rest).ok_or(Malformed)?;
            if self.input[at] == b'"' {
                break;
            }
            has_escapes = true;
            at += 2;
        }
        self.position.at = at + 1;
        let span = start..at;
        Ok(Text { span, has_escapes })
    }

    /// Passes the name of a field and the colon after it.
    ///
    /// # Errors
    ///
    /// Fails if no string with a colon after it starts here.
    #[inline]
    pub fn name(&mut self) -> Result<Text, Malformed> {
        let name = self.text()?;
        self.skip_space();
        self.expect(b':')?;
        self.skip_space();
        Ok(name)
    }

    /// Passes a number, a truth value or null.
    ///
    /// # Errors
    ///
    /// Fails if none of these starts here.
    #[inline]
    pub fn token(&mut self) -> Result<&'b [u8], Malformed> {
        let rest = &self.input[self.position.at..];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let length = rest.iter().take_while(|byte| is_part(byte)).count();
        let token = &rest[..length];
        match token {
            b"null" | b"true" | b"false" | [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..] => {
                self.position.at += length;
                Ok(token)
            }
            _ => Err(Malformed),
        }
    }

    /// Passes any value. How deep it is nested does not matter.
    ///
    /// # Errors
    ///
    /// Fails if no value starts here, or if it has no end.
    #[inline]
    pub fn skip_value(&mut self) -> Result<(), Malformed> {
        match self.peek()? {
            b'"' => self.text().map(drop),
            b'{' | b'[' => self.skip_nested(usize::MAX).map(drop),
            _ => self.token().map(drop),
        }
    }

    /// Passes an object or list, of which it looks for the end only. Says whether it is nested no deeper than this; where
    /// it is, the position is somewhere in it.
    fn skip_nested(&mut self, max_depth: usize) -> Result<bool, Malformed> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.text()?;
                    continue;
                }
                b'{' | b'[' if depth == max_depth => return Ok(false),
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.position.at += 1;
            if depth == 0 {
                return Ok(true);
            }
        }
    }

    /// Returns the text of a string; `None` if it has bytes or escapes that are not characters.
    #[inline]
    pub fn decode(&self, text: &Text) -> Option<Cow<'b, str>> {
        decode(&self.input[text.span.clone()])
    }
}

/// Whether objects and lists lie in each other deeper than this in a value, which is valid JSON.
pub fn is_deeper_than(value: &[u8], max: usize) -> bool {
    let opening = |byte: &&u8| matches!(**byte, b'{' | b'[');
    if value.iter().filter(opening).count() <= max {
        return false;
    }
    let mut cursor = JsonCursor::new(value);
    cursor.skip_space();
    matches!(cursor.peek(), Ok(b'{' | b'[')) && cursor.skip_nested(max) == Ok(false)
}

#[cfg(test)]
mod tests;
