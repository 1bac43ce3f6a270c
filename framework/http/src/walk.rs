//! Walking over JSON without parsing it.
//!
//! Quotes, brackets, commas and what is special in a string are looked for 64 bytes at a time; what stands between them
//! is checked when they are passed. The grammar is checked in full. A walk gives up where serde_json would have to decide
//! (anything malformed, very deep, or escaped in a name that matters), and whoever walks asks serde_json then. It never
//! passes what serde_json refuses.

use std::ops::Range;

use crate::blocks::{BLOCK, Flags};

/// Below the depth that serde_json refuses, and no more than [`Nesting`] has bits.
const DEEPEST: u32 = 100;

/// A walk over a text.
pub(crate) struct JsonWalk<'b> {
    text: &'b [u8],
    here: Here,
}

impl<'b> JsonWalk<'b> {
    /// The beginning of a text; none where it is not UTF-8, which nothing after this looks at.
    pub(crate) fn over(text: &'b [u8]) -> Option<Self> {
        std::str::from_utf8(text).ok()?;
        let here = Here::start(text);
        Some(Self { text, here })
    }

    /// What stands in a place that was passed.
    pub(crate) fn text(&self, place: Range<usize>) -> &'b [u8] {
        &self.text[place]
    }

    /// Whether this mark comes next, after blanks.
    pub(crate) fn is_before(&self, mark: u8) -> bool {
        self.here.is_before(self.text, mark)
    }

    /// Passes this mark, which has to come next.
    pub(crate) fn pass(&mut self, mark: u8) -> Option<()> {
        self.here.pass(self.text, mark)
    }

    /// Whether nothing but blanks is left.
    pub(crate) fn is_over(&self) -> bool {
        self.here.mark == self.text.len() && self.here.is_before_mark(self.text)
    }

    /// Passes a name and the colon behind it; none where it has escapes.
    pub(crate) fn name(&mut self) -> Option<&'b str> {
        let place = self.here.key(self.text)?;
        let name = std::str::from_utf8(&self.text[place]).ok()?;
        (!name.contains('\\')).then_some(name)
    }

    /// Passes a value that stands below so many others, and says where it stands.
    pub(crate) fn value(&mut self, depth: u32) -> Option<Range<usize>> {
        let text = self.text;
        let mut here = self.here;
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
                    self.here = here;
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

/// A place in a text. Everything before it has been checked.
#[derive(Clone, Copy)]
struct Here {
    /// Behind what was passed last.
    at: usize,
    /// The next mark, or the end of the text.
    mark: usize,
    /// What stands there; zero for the end.
    byte: u8,
    /// Where the block of the mark begins, and the marks in it that come later.
    block: usize,
    later: u64,
}

// Inlined, and by value where not, so that places are kept in registers: it takes half the time.
impl Here {
    fn start(text: &[u8]) -> Self {
        let mut here = Self {
            at: 0,
            mark: 0,
            byte: 0,
            block: 0,
            later: marks(text, 0),
        };
        here.find_mark(text);
        here.skip_blank_marks(text);
        here
    }

    /// Goes on to the next mark.
    #[inline(always)]
    fn find_mark(&mut self, text: &[u8]) {
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
    fn pass_mark(&mut self, text: &[u8]) {
        self.at = self.mark + 1;
        self.find_mark(text);
        self.skip_blank_marks(text);
    }

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

    /// Whether nothing but blanks stands before the next mark.
    #[inline(always)]
    fn is_before_mark(&self, text: &[u8]) -> bool {
        self.at == self.mark || after_blanks(text, self.at) == self.mark
    }

    /// Passes a string, and says where its inside stands.
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

    /// Goes on to the quote that ends a string.
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

/// The first place that is not blank.
#[inline(never)]
fn after_blanks(text: &[u8], from: usize) -> usize {
    let blanks = text[from..].iter().take_while(|byte| is_blank(byte));
    from + blanks.count()
}

const fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\r')
}

fn is_number(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let Some(mut rest) = after_digits(unsigned) else {
        return false;
    };
    if unsigned[0] == b'0' && unsigned.len() - rest.len() > 1 {
        return false;
    }
    if let Some(fraction) = rest.strip_prefix(b".") {
        match after_digits(fraction) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    match rest {
        [] => true,
        [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] => {
            after_digits(exponent).is_some_and(<[u8]>::is_empty)
        }
        _ => false,
    }
}

/// What stands behind one digit or more.
fn after_digits(text: &[u8]) -> Option<&[u8]> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then(|| &text[digits..])
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
        Some(block) => Flags::of(block, is_mark).bits(),
        None => {
            let mut block = [b' '; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            Flags::of(&block, is_mark).bits()
        }
    }
}

const fn is_mark(byte: u8) -> u8 {
    // `[` and `{` differ in one bit, and so do `]` and `}`.
    let is_bracket = (byte | 0x20 == b'{') | (byte | 0x20 == b'}');
    (is_bracket | (byte == b',') | (byte == b'"') | (byte == b'\\') | (byte < b' ')) as u8
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
