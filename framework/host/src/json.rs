//! Steps over JSON text: what looks at records byte by byte, without a tree, reads them with this.
//!
//! Checked is what it takes to know where a value ends: quotes, the number of brackets, the words of the language. What
//! an escape or a number says is not, since whoever only passes over a value must not pay for it.

use std::{borrow::Cow, ops::Range, str};

use memchr::memchr2;

/// The text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A place in JSON text.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    pub(crate) input: &'a [u8],
    pub(crate) at: usize,
}

/// A text in the input.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    /// Between the quotes.
    pub(crate) span: Range<usize>,
    pub(crate) has_escapes: bool,
}

impl<'a> Cursor<'a> {
    /// The beginning of some text.
    pub(crate) fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0 }
    }

    /// The next byte, which stays where it is.
    pub(crate) fn peek(&self) -> Result<u8, Malformed> {
        self.input.get(self.at).copied().ok_or(Malformed)
    }

    /// Steps over a byte that has to be there.
    pub(crate) fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek()? != byte {
            return Err(Malformed);
        }
        self.at += 1;
        Ok(())
    }

    /// Steps over the blanks between two tokens.
    pub(crate) fn skip_space(&mut self) {
        while matches!(self.input.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Whether nothing is left.
    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.input.len()
    }

    /// Steps over a text.
    pub(crate) fn text(&mut self) -> Result<Text, Malformed> {
        self.expect(b'"')?;
        let start = self.at;
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
        self.at = at + 1;
        Ok(Text {
            span: start..at,
            has_escapes,
        })
    }

    /// Steps over the name of a field and the colon after it.
    pub(crate) fn name(&mut self) -> Result<Text, Malformed> {
        let name = self.text()?;
        self.skip_space();
        self.expect(b':')?;
        self.skip_space();
        Ok(name)
    }

    /// Steps over a number, a truth value or null.
    pub(crate) fn token(&mut self) -> Result<&'a [u8], Malformed> {
        let rest = &self.input[self.at..];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        let length = rest.iter().take_while(|byte| is_part(byte)).count();
        let token = &rest[..length];
        match token {
            b"null" | b"true" | b"false" | [b'0'..=b'9', ..] | [b'-', b'0'..=b'9', ..] => {
                self.at += length;
                Ok(token)
            }
            _ => Err(Malformed),
        }
    }

    /// Steps over any value. How deep it is nested does not matter.
    pub(crate) fn skip_value(&mut self) -> Result<(), Malformed> {
        match self.peek()? {
            b'"' => self.text().map(drop),
            b'{' | b'[' => self.skip_nested(),
            _ => self.token().map(drop),
        }
    }

    /// Steps over an object or list, of which only the end is looked for.
    fn skip_nested(&mut self) -> Result<(), Malformed> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.text()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// What a text says; nothing if it has bytes or escapes that are no characters.
    pub(crate) fn decode(&self, text: &Text) -> Option<Cow<'a, str>> {
        if text.has_escapes {
            let quoted = &self.input[text.span.start - 1..=text.span.end];
            return serde_json::from_slice(quoted).ok().map(Cow::Owned);
        }
        str::from_utf8(&self.input[text.span.clone()])
            .ok()
            .map(Cow::Borrowed)
    }
}

/// The path of a field of what stands at a path: `crm_info.deal_id`.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
