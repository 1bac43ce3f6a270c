//! Splitting a document of lists into records while it arrives, in memory that does not depend on its size.
//!
//! The document is an object with named lists of objects, `{"entries":[…],"users":[…]}`, or such a list itself. Records
//! are split by structure: strings and braces, 64 bytes at a time. Everything outside of the records is parsed in full.

use std::{error::Error, fmt, ops::Range};

use bytes::BytesMut;

use crate::{
    blocks::{BLOCK, Flags},
    text::decode,
};

/// Bytes that some services put before a document: U+FEFF in UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The most bytes between two records; a service that sends blanks for ever must not keep the read for ever.
const LONGEST_GAP: u64 = 64 << 20;
/// The longest name of a list.
const LONGEST_NAME: usize = 1 << 10;

/// The lists of a document, each with the number of the stream that its records belong to. The empty name is a document
/// that is a list.
pub type Lists = &'static [(&'static str, usize)];

/// Why a document cannot be split: "breaks off", for a sentence that begins with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitError {
    what: String,
    offset: Option<u64>,
}

impl SplitError {
    fn new(what: impl Into<String>) -> Self {
        let what = what.into();
        Self { what, offset: None }
    }

    /// How many bytes of the document came before, where that helps to find the error.
    pub const fn offset(&self) -> Option<u64> {
        self.offset
    }
}

impl fmt::Display for SplitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for SplitError {}

type Result<T> = std::result::Result<T, SplitError>;

/// Splits one document.
#[derive(Debug)]
pub struct StreamSplitter {
    lists: Lists,
    /// By stream, what the records begin with before their own fields: `{"name":value,`.
    prefixes: Vec<Option<Vec<u8>>>,
    /// The most bytes of a record.
    longest_record: usize,
    at: At,
    /// Bytes taken so far, for messages.
    offset: u64,
    /// Bytes taken when the last record ended.
    last_record: u64,
    has_lists: bool,
    /// Lists that were null: nothing is there.
    nulls: Vec<usize>,
}

/// What the next byte belongs to.
#[derive(Debug)]
enum At {
    Start,
    /// In the byte order mark before the document, with the number of its bytes that came.
    Mark(usize),
    /// Before a name, or before the end of the object where that is allowed.
    Name {
        may_end: bool,
    },
    InName {
        name: Vec<u8>,
        quotes: Quotes,
    },
    Colon {
        name: Vec<u8>,
    },
    Value {
        name: Vec<u8>,
    },
    /// In a null in the place of a list, with the number of its bytes that came.
    Null(usize),
    /// In a value that is no list of records.
    Skip(Skip),
    /// In a list, before a record, a comma or the end.
    List {
        stream: usize,
        is_root: bool,
        next: Next,
    },
    Record {
        stream: usize,
        is_root: bool,
        scan: Scan,
    },
    AfterValue,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Next {
    RecordOrEnd,
    Record,
    CommaOrEnd,
}

/// Whether a byte belongs to a string.
#[derive(Debug, Default)]
struct Quotes {
    is_inside: bool,
    is_escaped: bool,
}

impl Quotes {
    /// Takes one byte, and says whether it belongs to a string, of which the quotes are a part.
    #[inline(always)]
    fn take(&mut self, byte: u8) -> bool {
        if !self.is_inside {
            self.is_inside = byte == b'"';
            return self.is_inside;
        }
        if self.is_escaped {
            self.is_escaped = false;
        } else if byte == b'\\' {
            self.is_escaped = true;
        } else if byte == b'"' {
            self.is_inside = false;
        }
        true
    }
}

#[derive(Debug, Default)]
struct Skip {
    depth: u32,
    quotes: Quotes,
    has_begun: bool,
}

/// The records that came out of a document, in a buffer of their own.
#[derive(Debug, Default)]
pub struct SplitRecords {
    /// Their bytes.
    pub body: BytesMut,
    /// The stream and the place of each record.
    pub records: Vec<(usize, Range<usize>)>,
    /// Where the record under way begins in `body`.
    open: usize,
}

impl SplitRecords {
    /// A place for records in this memory, which is empty.
    pub fn within(body: BytesMut) -> Self {
        Self {
            body,
            ..Self::default()
        }
    }

    /// Forgets all records; between two of them.
    pub fn clear(&mut self) {
        self.body.clear();
        self.records.clear();
        self.open = 0;
    }

    /// Whether the records, which are complete, are text. Asked of many at once, since that is much faster.
    ///
    /// # Errors
    ///
    /// Fails if a record is not UTF-8 text.
    pub fn verify(&self) -> Result<()> {
        if self.body.is_ascii() || std::str::from_utf8(&self.body).is_ok() {
            return Ok(());
        }
        Err(SplitError::new("has a record that is not UTF-8 text"))
    }

    /// Takes the comma after the prefix away where the record under way, which is complete, has no own fields.
    fn without_lone_comma(&mut self, prefix: usize) {
        let own = self.open + prefix;
        let first = self.body[own..]
            .iter()
            .find(|byte| !byte.is_ascii_whitespace());
        if first == Some(&b'}') {
            self.body.truncate(own - 1);
            self.body.extend_from_slice(b"}");
        }
    }

    /// Whether the records have this many bytes or more, and none of them is half way.
    pub fn is_at_least(&self, bytes: usize) -> bool {
        self.open >= bytes && self.open == self.body.len()
    }
}

impl StreamSplitter {
    /// A splitter of these lists. `fields` are, by stream, a field to put before the own ones of its records.
    pub fn new(lists: Lists, fields: &[Option<String>], longest_record: usize) -> Self {
        let prefix = |field: &String| format!("{{{field},").into_bytes();
        Self {
            lists,
            prefixes: fields
                .iter()
                .map(|field| field.as_ref().map(prefix))
                .collect(),
            longest_record,
            at: At::Start,
            offset: 0,
            last_record: 0,
            has_lists: false,
            nulls: Vec::new(),
        }
    }

    /// Takes bytes until they are used up or one record is complete; says how many it took and whether one is.
    ///
    /// # Errors
    ///
    /// Fails if the document is not JSON outside of its records, has no list where one should be, has a record that is
    /// too long, or goes on for too long without one.
    pub fn push(&mut self, bytes: &[u8], out: &mut SplitRecords) -> Result<(usize, bool)> {
        let mut taken = 0;
        while taken < bytes.len() {
            if let At::Record {
                stream,
                is_root,
                scan,
            } = &mut self.at
            {
                let prefix = self.prefixes.get(*stream).and_then(Option::as_ref);
                let mut part = taken;
                if let (Some(prefix), true) = (prefix, scan.is_before()) {
                    out.body.extend_from_slice(prefix);
                    part += 1;
                }
                let end = scan.advance(&bytes[taken..]);
                let after = taken + end.unwrap_or(bytes.len() - taken);
                out.body.extend_from_slice(&bytes[part..after]);
                let part = after - taken;
                taken = after;
                self.offset += part as u64;
                if out.body.len() - out.open > self.longest_record {
                    let mebibytes = self.longest_record >> 20;
                    return Err(self.wrong(&format!("has a record of more than {mebibytes} MiB")));
                }
                if end.is_none() {
                    break;
                }
                if let Some(prefix) = prefix {
                    out.without_lone_comma(prefix.len());
                }
                let place = out.open..out.body.len();
                out.records.push((*stream, place));
                out.open = out.body.len();
                self.last_record = self.offset;
                self.at = At::List {
                    stream: *stream,
                    is_root: *is_root,
                    next: Next::CommaOrEnd,
                };
                return Ok((taken, true));
            }
            let byte = bytes[taken];
            if self.structure(byte)? {
                taken += 1;
                self.offset += 1;
                if self.offset - self.last_record > LONGEST_GAP {
                    return Err(self.wrong("goes on for 64 MiB without a record"));
                }
            }
        }
        Ok((taken, false))
    }

    /// The streams whose lists were null.
    pub fn nulls(&self) -> &[usize] {
        &self.nulls
    }

    /// Whether the document may end here.
    ///
    /// # Errors
    ///
    /// Fails if the document is empty, breaks off here, or has none of the lists.
    pub fn finish(&self) -> Result<()> {
        match self.at {
            At::End if self.has_lists => Ok(()),
            At::End => {
                let names: Vec<&str> = self.lists.iter().map(|(name, _)| *name).collect();
                let text = format!("has none of the lists {}", names.join(", "));
                Err(SplitError::new(text))
            }
            At::Start => Err(SplitError::new("is empty")),
            _ => Err(self.wrong("breaks off")),
        }
    }

    /// One byte outside of a record; false when it is the first one of a record and stays.
    fn structure(&mut self, byte: u8) -> Result<bool> {
        let is_space = byte.is_ascii_whitespace();
        match &mut self.at {
            At::Skip(skip) => {
                if skip.ends_before(byte) {
                    self.at = At::AfterValue;
                    return Ok(false);
                }
                return Ok(true);
            }
            At::InName { name, quotes } => {
                quotes.take(byte);
                if !quotes.is_inside {
                    let Some(name) = decoded(std::mem::take(name)) else {
                        return Err(self.wrong("has a name that is not valid JSON"));
                    };
                    self.at = At::Colon { name };
                    return Ok(true);
                }
                name.push(byte);
                if name.len() > LONGEST_NAME {
                    return Err(self.wrong("has a name without an end"));
                }
                return Ok(true);
            }
            At::Null(taken) => {
                if byte != b"null"[*taken] {
                    return Err(self.wrong("is not valid JSON"));
                }
                *taken += 1;
                if *taken == b"null".len() {
                    self.at = At::AfterValue;
                }
                return Ok(true);
            }
            At::Mark(taken) => {
                if byte != BYTE_ORDER_MARK[*taken] {
                    return Err(self.wrong("does not begin like JSON"));
                }
                *taken += 1;
                if *taken == BYTE_ORDER_MARK.len() {
                    self.at = At::Start;
                }
                return Ok(true);
            }
            _ if is_space => return Ok(true),
            At::Start if byte == BYTE_ORDER_MARK[0] && self.offset == 0 => self.at = At::Mark(1),
            At::Start => match byte {
                b'{' => self.at = At::Name { may_end: true },
                b'[' => match self.list(b"") {
                    Some(stream) => self.open(stream, true),
                    None => return Err(self.wrong("is a list where an object is expected")),
                },
                b'<' => {
                    return Err(SplitError::new("is a web page, not JSON"));
                }
                _ => return Err(self.wrong("does not begin like JSON")),
            },
            At::Name { may_end } => match byte {
                b'"' => {
                    self.at = At::InName {
                        name: Vec::new(),
                        quotes: Quotes {
                            is_inside: true,
                            is_escaped: false,
                        },
                    }
                }
                b'}' if *may_end => self.at = At::End,
                _ => return Err(self.wrong("is not valid JSON")),
            },
            At::Colon { name } if byte == b':' => {
                let name = std::mem::take(name);
                self.at = At::Value { name };
            }
            At::Value { name } => {
                let name = std::mem::take(name);
                match (self.list(&name), byte) {
                    (Some(stream), b'[') => self.open(stream, false),
                    (Some(stream), b'n') => {
                        self.has_lists = true;
                        self.nulls.push(stream);
                        self.at = At::Null(0);
                        return Ok(false);
                    }
                    (Some(_), _) => {
                        let name = String::from_utf8_lossy(&name).into_owned();
                        return Err(
                            self.wrong(&format!("has something other than a list at {name}"))
                        );
                    }
                    (None, _) => {
                        self.at = At::Skip(Skip::default());
                        return Ok(false);
                    }
                }
            }
            At::List {
                stream,
                is_root,
                next,
            } => match (byte, *next) {
                (b'{', Next::Record | Next::RecordOrEnd) => {
                    self.at = At::Record {
                        stream: *stream,
                        is_root: *is_root,
                        scan: Scan::default(),
                    };
                    return Ok(false);
                }
                (b',', Next::CommaOrEnd) => *next = Next::Record,
                (b']', Next::RecordOrEnd | Next::CommaOrEnd) => {
                    self.at = if *is_root { At::End } else { At::AfterValue };
                }
                _ => return Err(self.wrong("has something other than records in a list")),
            },
            At::AfterValue => match byte {
                b',' => self.at = At::Name { may_end: false },
                b'}' => self.at = At::End,
                _ => return Err(self.wrong("is not valid JSON")),
            },
            At::Colon { .. } | At::End | At::Record { .. } => {
                return Err(self.wrong("is not valid JSON"));
            }
        }
        Ok(true)
    }

    fn list(&self, name: &[u8]) -> Option<usize> {
        let mut lists = self.lists.iter();
        let (_, stream) = lists.find(|(list, _)| list.as_bytes() == name)?;
        Some(*stream)
    }

    fn open(&mut self, stream: usize, is_root: bool) {
        self.has_lists = true;
        self.at = At::List {
            stream,
            is_root,
            next: Next::RecordOrEnd,
        };
    }

    fn wrong(&self, what: &str) -> SplitError {
        SplitError {
            what: what.to_owned(),
            offset: Some(self.offset),
        }
    }
}

/// A name with its escapes read; none where they are none of JSON's.
fn decoded(name: Vec<u8>) -> Option<Vec<u8>> {
    if !name.contains(&b'\\') {
        return Some(name);
    }
    Some(decode(&name)?.into_owned().into_bytes())
}

impl Skip {
    /// Whether the value has ended before this byte.
    fn ends_before(&mut self, byte: u8) -> bool {
        let is_flat = self.depth == 0 && !self.quotes.is_inside;
        match byte {
            b',' | b'}' | b']' if is_flat => return true,
            b'"' | b'{' | b'[' if is_flat && self.has_begun => return true,
            _ => {}
        }
        self.has_begun = true;
        if !self.quotes.take(byte) {
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth -= 1,
                _ => {}
            }
        }
        false
    }
}

/// Looks for the end of an object.
#[derive(Debug, Default)]
struct Scan {
    depth: u32,
    quotes: Quotes,
}

impl Scan {
    /// Whether the object has not begun.
    const fn is_before(&self) -> bool {
        self.depth == 0
    }

    /// The offset after the brace that closes the object; none when it is not among these bytes.
    fn advance(&mut self, bytes: &[u8]) -> Option<usize> {
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        for (index, block) in blocks.iter().enumerate() {
            if let Some(end) = self.block(block) {
                return Some(index * BLOCK + end);
            }
        }
        Some(blocks.len() * BLOCK + self.one_by_one(rest)?)
    }

    fn block(&mut self, block: &[u8; BLOCK]) -> Option<usize> {
        let flags = Flags::of(block, flags);
        if self.quotes.is_escaped || flags.any(BACKSLASH) {
            return self.one_by_one(block);
        }
        let outside = if self.quotes.is_inside { 0 } else { u64::MAX };
        // A bit is one inside of a string: each quote flips all bits from its own on.
        let strings = flip_from_each(flags.bit(QUOTE)) ^ !outside;
        let mut open = flags.bit(BRACE) & !strings;
        while open != 0 {
            let place = open.trailing_zeros() as usize;
            if self.brace(block[place]) {
                return Some(place + 1);
            }
            open &= open - 1;
        }
        self.quotes.is_inside = strings >> (BLOCK - 1) == 1;
        None
    }

    fn one_by_one(&mut self, bytes: &[u8]) -> Option<usize> {
        for (place, byte) in bytes.iter().enumerate() {
            if !self.quotes.take(*byte) && self.brace(*byte) {
                return Some(place + 1);
            }
        }
        None
    }

    /// Takes a byte outside of strings, and says whether it ends the object.
    #[inline(always)]
    fn brace(&mut self, byte: u8) -> bool {
        match byte {
            b'{' => self.depth += 1,
            b'}' => {
                self.depth -= 1;
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

const QUOTE: u32 = 0;
const BRACE: u32 = 1;
const BACKSLASH: u32 = 2;

/// Quotes, backslashes, and braces with two bytes that JSON has in strings only.
const fn flags(byte: u8) -> u8 {
    // `{` and `}` differ in two bits.
    (byte == b'"') as u8
        | ((byte | 0x06 == 0x7f) as u8) << BRACE
        | ((byte == b'\\') as u8) << BACKSLASH
}

const fn flip_from_each(mut bits: u64) -> u64 {
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ (bits << 32)
}

#[cfg(test)]
mod tests;
