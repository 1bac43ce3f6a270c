//! Passing values whose whole grammar is checked.
//!
//! The cursor gives up where a parser has to decide (on anything malformed, very deep, or escaped in a name that
//! matters), and the caller asks serde_json then. It never passes a text that serde_json refuses.

use std::ops::Range;

use crate::{cursor::JsonCursor, marks::Position, number::is_number};

/// Below the depth that serde_json refuses, and no more than [`Nesting`] has bits.
const DEEPEST: u32 = 100;

impl<'b> JsonCursor<'b> {
    /// The beginning of a text whose grammar is to be checked; none where it is not UTF-8, which the other functions do not
    /// check.
    pub fn over_utf8(text: &'b [u8]) -> Option<Self> {
        std::str::from_utf8(text).ok()?;
        Some(Self::new(text))
    }

    #[inline(always)]
    fn find_mark(&mut self) {
        if !self.position.is_marked() {
            self.position = self.position.marked(self.input);
        }
    }

    /// Whether this mark (a bracket, a comma or a quote) comes next, after blanks.
    #[inline]
    pub fn is_before(&self, mark: u8) -> bool {
        if self.position.is_marked() {
            return self.position.is_before(self.input, mark);
        }
        self.position.marked(self.input).is_before(self.input, mark)
    }

    /// Passes this mark, which has to come next.
    #[inline]
    pub fn pass(&mut self, mark: u8) -> Option<()> {
        self.find_mark();
        self.position.pass(self.input, mark)
    }

    /// Whether nothing but blanks is left.
    #[inline]
    pub fn is_over(&self) -> bool {
        let here = match self.position.is_marked() {
            true => self.position,
            false => self.position.marked(self.input),
        };
        here.mark == self.input.len() && here.is_before_mark(self.input)
    }

    /// Passes a name and the colon behind it; none where the name has escapes.
    #[inline]
    pub fn checked_name(&mut self) -> Option<&'b str> {
        self.find_mark();
        let place = self.position.key(self.input)?;
        let name = std::str::from_utf8(&self.input[place]).ok()?;
        (!name.contains('\\')).then_some(name)
    }

    /// Passes a value at this depth, and returns its place.
    pub fn checked_value(&mut self, depth: u32) -> Option<Range<usize>> {
        let text = self.input;
        self.find_mark();
        let mut here = self.position;
        let mut nesting = Nesting::below(depth);
        let from = after_blanks(text, here.at);
        loop {
            match here.byte {
                b'"' => {
                    here.string(text)?;
                }
                b'{' => {
                    here.pass(text, b'{')?;
                    if !here.is_before(text, b'}') {
                        nesting.enter(true)?;
                        here.key(text)?;
                        continue;
                    }
                    here.pass_mark(text);
                }
                b'[' => {
                    here.pass(text, b'[')?;
                    if !here.is_before(text, b']') {
                        nesting.enter(false)?;
                        continue;
                    }
                    here.pass_mark(text);
                }
                _ => here.scalar(text)?,
            }
            // One value has ended, and perhaps those that it is the last one of.
            loop {
                let Some(is_object) = nesting.is_object() else {
                    self.position = here;
                    return Some(from..here.at);
                };
                if !here.is_before_mark(text) {
                    return None;
                }
                match (here.byte, is_object) {
                    (b',', _) => {
                        here.pass_mark(text);
                        if is_object {
                            here.key(text)?;
                        }
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        here.pass_mark(text);
                        nesting.leave();
                    }
                    _ => return None,
                }
            }
        }
    }
}

impl Position {
    #[inline(always)]
    fn pass(&mut self, text: &[u8], mark: u8) -> Option<()> {
        if !self.is_before(text, mark) {
            return None;
        }
        self.pass_mark(text);
        Some(())
    }

    #[inline(always)]
    fn is_before(&self, text: &[u8], mark: u8) -> bool {
        self.byte == mark && self.is_before_mark(text)
    }

    /// Whether nothing but blanks is before the next mark.
    #[inline(always)]
    fn is_before_mark(&self, text: &[u8]) -> bool {
        self.at == self.mark || after_blanks(text, self.at) == self.mark
    }

    /// Passes a string, and returns the place of its inside.
    #[inline(always)]
    fn string(&mut self, text: &[u8]) -> Option<Range<usize>> {
        if !self.is_before(text, b'"') {
            return None;
        }
        let start = self.mark + 1;
        self.find_mark(text);
        if self.byte != b'"' {
            *self = self.end_of_string(text)?;
        }
        let inside = start..self.mark;
        self.pass_mark(text);
        Some(inside)
    }

    /// Advances to the quote that ends a string.
    #[inline(never)]
    fn end_of_string(mut self, text: &[u8]) -> Option<Self> {
        loop {
            match self.byte {
                b'"' => return Some(self),
                b'\\' => match text.get(self.mark + 1..)? {
                    // Marks themselves.
                    [b'"' | b'\\', ..] => self.find_mark(text),
                    [b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => {}
                    [b'u', digits @ ..] => {
                        let four = digits.first_chunk::<4>()?;
                        if !four.iter().all(u8::is_ascii_hexdigit) {
                            return None;
                        }
                    }
                    _ => return None,
                },
                // A control character, or the end of the text.
                0..b' ' => return None,
                _ => {}
            }
            self.find_mark(text);
        }
    }

    /// The same for a name with its colon.
    #[inline(always)]
    fn key(&mut self, text: &[u8]) -> Option<Range<usize>> {
        let inside = self.string(text)?;
        let mut colon = self.at;
        if text.get(colon) != Some(&b':') {
            colon = after_blanks(text, colon);
            if text.get(colon) != Some(&b':') {
                return None;
            }
        }
        self.at = colon + 1;
        Some(inside)
    }

    /// Passes a number or a word, with which everything before the next mark is used up but blanks.
    #[inline(always)]
    fn scalar(&mut self, text: &[u8]) -> Option<()> {
        let start = after_blanks(text, self.at);
        let mut scalar = text.get(start..self.mark)?;
        while let [shorter @ .., last] = scalar
            && is_blank(last)
        {
            scalar = shorter;
        }
        let is_valid = matches!(scalar, b"null" | b"true" | b"false") || is_number(scalar);
        is_valid.then(|| self.at = start + scalar.len())
    }
}

/// The first offset that is not blank.
#[inline(never)]
fn after_blanks(text: &[u8], from: usize) -> usize {
    let blanks = text[from..].iter().take_while(|byte| is_blank(byte));
    from + blanks.count()
}

const fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\r')
}

/// The objects and lists around a value, the innermost in the lowest bit: one for an object, zero for a list.
struct Nesting {
    bits: u128,
    depth: u32,
    max: u32,
}

impl Nesting {
    const fn below(depth: u32) -> Self {
        Self {
            bits: 0,
            depth: 0,
            max: DEEPEST.saturating_sub(depth),
        }
    }

    fn enter(&mut self, is_object: bool) -> Option<()> {
        self.bits = self.bits << 1 | u128::from(is_object);
        self.depth += 1;
        (self.depth <= self.max).then_some(())
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
