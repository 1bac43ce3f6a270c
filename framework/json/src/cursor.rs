//! A cursor over JSON text that is there as a whole.
//!
//! Quotes, brackets, commas and the special characters of strings are marks, which the cursor finds 64 bytes at a time; the bytes
//! between them are checked when the cursor passes them. The cursor has two ways to pass a value. The functions here check what it
//! takes to know where the value ends: quotes, the number of brackets, the words of the language; a caller that only
//! passes over a value does not pay for more. [`JsonCursor::checked_value`] checks the whole grammar.

use std::{borrow::Cow, ops::Range};

use crate::{
    blocks::{BLOCK, Flags},
    text::decode,
};

/// The text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A position in JSON text.
#[derive(Clone, Copy, Debug)]
pub struct JsonCursor<'b> {
    pub(crate) input: &'b [u8],
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
    pub fn new(input: &'b [u8]) -> Self {
        let position = Position::start(input);
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
    #[inline]
    pub fn peek(&self) -> Result<u8, Malformed> {
        self.input.get(self.position.at).copied().ok_or(Malformed)
    }

    /// Passes the next byte, outside of strings.
    #[inline]
    pub fn advance(&mut self) {
        let position = &mut self.position;
        if position.at == position.mark {
            position.pass_mark(self.input);
        } else {
            position.at += 1;
        }
    }

    /// Passes a byte that has to be there.
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
        // Blanks that are marks were passed with the mark before them.
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.input.get(self.position.at) {
            self.position.at += 1;
        }
    }

    /// Whether nothing is left.
    #[inline]
    pub const fn is_at_end(&self) -> bool {
        self.position.at == self.input.len()
    }

    /// Goes to an offset outside of strings.
    pub fn seek(&mut self, at: usize) {
        self.position = Position::at(self.input, at);
    }

    /// Passes a string.
    #[inline]
    pub fn text(&mut self) -> Result<Text, Malformed> {
        if self.peek()? != b'"' {
            return Err(Malformed);
        }
        // A quote outside of strings is the next mark.
        let position = &mut self.position;
        let start = position.mark + 1;
        position.find_mark(self.input);
        let mut has_escapes = false;
        if position.byte != b'"' {
            (*position, has_escapes) = position.unchecked_end_of_string(self.input)?;
        }
        let span = start..position.mark;
        position.pass_mark(self.input);
        Ok(Text { span, has_escapes })
    }

    /// Passes the name of a field and the colon after it.
    #[inline]
    pub fn name(&mut self) -> Result<Text, Malformed> {
        let name = self.text()?;
        self.skip_space();
        self.expect(b':')?;
        self.skip_space();
        Ok(name)
    }

    /// Passes a number, a truth value or null.
    #[inline]
    pub fn token(&mut self) -> Result<&'b [u8], Malformed> {
        let rest = &self.input[self.position.at..];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let length = rest.iter().take_while(|byte| is_part(byte)).count();
        let token = &rest[..length];
        match token {
            b"null" | b"true" | b"false" | [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..] => {
                // None of these bytes is a mark.
                self.position.at += length;
                Ok(token)
            }
            _ => Err(Malformed),
        }
    }

    /// Passes any value. How deep it is nested does not matter.
    #[inline]
    pub fn skip_value(&mut self) -> Result<(), Malformed> {
        match self.peek()? {
            b'"' => self.text().map(drop),
            b'{' | b'[' => self.skip_nested(),
            _ => self.token().map(drop),
        }
    }

    /// Passes an object or list, of which only the end is looked for.
    fn skip_nested(&mut self) -> Result<(), Malformed> {
        let input = self.input;
        let mut position = self.position;
        let mut depth = 0_usize;
        loop {
            match position.byte {
                b'"' => {
                    position.find_mark(input);
                    if position.byte != b'"' {
                        (position, _) = position.unchecked_end_of_string(input)?;
                    }
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ if position.mark == input.len() => return Err(Malformed),
                _ => {}
            }
            position.pass_mark(input);
            if depth == 0 {
                self.position = position;
                return Ok(());
            }
        }
    }

    /// What a string says; none if it has bytes or escapes that are no characters.
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
    let mut position = Position::start(value);
    let mut depth = 0_usize;
    while position.mark < value.len() {
        match position.byte {
            b'"' => {
                position.find_mark(value);
                if position.byte != b'"' {
                    match position.unchecked_end_of_string(value) {
                        Ok((end, _)) => position = end,
                        Err(Malformed) => return false,
                    }
                }
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > max {
            return true;
        }
        position.pass_mark(value);
    }
    false
}

/// Where a cursor is, with the next mark. Outside of strings, line breaks are blanks and not the next mark.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    /// The offset behind the last passed value.
    pub(crate) at: usize,
    /// The next mark, or the end of the text.
    pub(crate) mark: usize,
    /// The byte of the mark; zero for the end.
    pub(crate) byte: u8,
    /// Where the block of the mark begins, and the marks in it that come later.
    block: usize,
    later: u64,
}

// Inlined, and by value where not, so that positions are kept in registers: it takes half the time.
impl Position {
    #[inline]
    fn start(text: &[u8]) -> Self {
        Self::at(text, 0)
    }

    #[inline]
    fn at(text: &[u8], at: usize) -> Self {
        let block = at / BLOCK * BLOCK;
        let mut position = Self {
            at,
            mark: 0,
            byte: 0,
            block,
            later: marks(text, block) & u64::MAX << (at - block),
        };
        position.find_mark(text);
        position.skip_blank_marks(text);
        position
    }

    /// Goes on to the next mark.
    #[inline(always)]
    pub(crate) fn find_mark(&mut self, text: &[u8]) {
        if self.later == 0 {
            (self.block, self.later) = next_marks(text, self.block);
        }
        // No marks at all are one behind the block, which is then the last.
        self.mark = (self.block + self.later.trailing_zeros() as usize).min(text.len());
        self.later &= self.later.wrapping_sub(1);
        self.byte = text.get(self.mark).copied().unwrap_or(0);
    }

    /// Outside of strings, line breaks are blanks like others.
    #[inline(always)]
    fn skip_blank_marks(&mut self, text: &[u8]) {
        while self.byte < b' ' && self.mark < text.len() {
            self.find_mark(text);
        }
    }

    /// Passes the mark, outside of strings.
    #[inline(always)]
    pub(crate) fn pass_mark(&mut self, text: &[u8]) {
        self.at = self.mark + 1;
        self.find_mark(text);
        self.skip_blank_marks(text);
    }

    /// Goes on to the quote that ends a string, and says whether an escape is before it.
    #[inline(never)]
    fn unchecked_end_of_string(mut self, text: &[u8]) -> Result<(Self, bool), Malformed> {
        let mut escaped = None;
        loop {
            match self.byte {
                _ if escaped == Some(self.mark) => {}
                b'"' => return Ok((self, escaped.is_some())),
                b'\\' => escaped = Some(self.mark + 1),
                _ => {}
            }
            if self.mark == text.len() {
                return Err(Malformed);
            }
            self.find_mark(text);
        }
    }
}

/// The next block that has marks, and these; the last one without any where there is none.
#[inline(never)]
fn next_marks(text: &[u8], mut block: usize) -> (usize, u64) {
    while block + BLOCK < text.len() {
        block += BLOCK;
        let marks = marks(text, block);
        if marks != 0 {
            return (block, marks);
        }
    }
    (block, 0)
}

/// The marks of the block that begins here, one bit for each byte.
#[inline(always)]
fn marks(text: &[u8], start: usize) -> u64 {
    let rest = &text[start..];
    match rest.first_chunk() {
        Some(block) => Flags::of(block, is_mark).lowest(),
        None => {
            let mut block = [b' '; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            Flags::of(&block, is_mark).lowest()
        }
    }
}

const fn is_mark(byte: u8) -> u8 {
    // `[` and `{` differ in one bit, and so do `]` and `}`.
    let is_bracket = (byte | 0x20 == b'{') | (byte | 0x20 == b'}');
    (is_bracket | (byte == b',') | (byte == b'"') | (byte == b'\\') | (byte < b' ')) as u8
}

#[cfg(test)]
mod tests;
