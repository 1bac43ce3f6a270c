//! Marks: quotes, brackets, commas, backslashes and control characters, which are found 64 bytes at a time.

use crate::blocks::{BLOCK, Flags};

/// A position with the next mark. Outside of strings, line breaks are blanks and not the next mark.
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
    /// A position whose mark is not known yet.
    #[inline(always)]
    pub(crate) const fn unmarked(at: usize) -> Self {
        Self {
            at,
            mark: at,
            byte: 0,
            block: 0,
            later: 0,
        }
    }

    /// Whether the mark is known. It is not where a cursor has passed it without looking for marks.
    #[inline(always)]
    pub(crate) const fn is_marked(&self) -> bool {
        self.at < self.mark || self.at == self.mark && self.byte != 0
    }

    /// The position with its mark.
    #[cold]
    #[inline(never)]
    pub(crate) fn marked(mut self, text: &[u8]) -> Self {
        self.block = self.at / BLOCK * BLOCK;
        self.later = marks(text, self.block) & u64::MAX << (self.at - self.block);
        self.find_mark(text);
        self.skip_blank_marks(text);
        self
    }

    /// Advances to the next mark.
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
        Some(block) => Flags::of(block, is_mark).bit(0),
        None => {
            let mut block = [b' '; BLOCK];
            block[..rest.len()].copy_from_slice(rest);
            Flags::of(&block, is_mark).bit(0)
        }
    }
}

const fn is_mark(byte: u8) -> u8 {
    // `[` and `{` differ in one bit, and so do `]` and `}`.
    let is_bracket = (byte | 0x20 == b'{') | (byte | 0x20 == b'}');
    (is_bracket | (byte == b',') | (byte == b'"') | (byte == b'\\') | (byte < b' ')) as u8
}
