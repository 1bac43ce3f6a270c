//! Cutting a document of lists into records while it arrives, in memory that does not depend on its size.
//!
//! The document is an object with named lists of objects, `{"entries":[…],"users":[…]}`, or such a list itself. Records
//! are cut by structure: strings and braces, 64 bytes at a time. What stands outside of the records is parsed in full.

use std::ops::Range;

use bytes::BytesMut;
use headwater_core::{Error, Kind, LONGEST_RECORD, Result};

use crate::{blocks::BLOCK, message::BYTE_ORDER_MARK};

/// The most that may stand between two records; a service that sends blanks for ever must not keep the read for ever.
const LONGEST_GAP: u64 = 64 << 20;
/// The longest name of a list.
const LONGEST_NAME: usize = 1 << 10;

/// A list of the document, or its place among the streams.
pub(crate) type Lists = &'static [(&'static str, usize)];

/// Cuts one document.
#[derive(Debug)]
pub(crate) struct Cutter {
    /// Names of lists, each with the number of the stream that its records belong to. The empty name is a document
    /// that is a list.
    lists: Lists,
    /// By stream, what the records begin with before their own fields: `{"name":value,`.
    prefixes: Vec<Option<Vec<u8>>>,
    at: At,
    /// Bytes taken so far, for messages.
    offset: u64,
    /// Bytes taken when the last record ended.
    last_record: u64,
    has_lists: bool,
    /// Lists that were null: nothing is there.
    nulls: Vec<usize>,
}

/// Where the next byte stands.
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
        is_escaped: bool,
    },
    Colon {
        name: Vec<u8>,
    },
    Value {
        name: Vec<u8>,
    },
    /// In a null in the place of a list, with the number of its bytes that came.
    Null(usize),
    /// In a value that nobody asked for.
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

#[derive(Debug, Default)]
struct Skip {
    depth: u32,
    in_string: bool,
    is_escaped: bool,
    has_begun: bool,
}

/// The records that came out of a document, in a buffer of their own.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    pub(crate) body: BytesMut,
    /// The stream and the place of each record.
    pub(crate) records: Vec<(usize, Range<usize>)>,
    /// Where the record under way begins in `body`.
    open: usize,
}

impl Cut {
    /// A place for records in this memory, which is empty.
    pub(crate) fn within(body: BytesMut) -> Self {
        Self {
            body,
            ..Self::default()
        }
    }

    /// Forgets all records; between two of them.
    pub(crate) fn clear(&mut self) {
        self.body.clear();
        self.records.clear();
        self.open = 0;
    }

    /// Whether the records, which are complete, are text. Asked of many at once, since that is much faster.
    pub(crate) fn verify(&self) -> Result<()> {
        if self.body.is_ascii() || std::str::from_utf8(&self.body).is_ok() {
            return Ok(());
        }
        let text = "the answer has a record that is not UTF-8 text";
        Err(Error::new(Kind::DataInvalid, text))
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

    /// Whether there are so many bytes, and no record is half way.
    pub(crate) fn is_at_least(&self, bytes: usize) -> bool {
        self.open >= bytes && self.open == self.body.len()
    }
}

impl Cutter {
    /// A cutter of these lists. `fields` are, by stream, a field to put before the own ones of its records.
    pub(crate) fn new(lists: Lists, fields: &[Option<String>]) -> Self {
        let prefix = |field: &String| format!("{{{field},").into_bytes();
        Self {
            lists,
            prefixes: fields
                .iter()
                .map(|field| field.as_ref().map(prefix))
                .collect(),
            at: At::Start,
            offset: 0,
            last_record: 0,
            has_lists: false,
            nulls: Vec::new(),
        }
    }

    /// Takes bytes until they are used up or one record is complete; says how many it took and whether one is.
    pub(crate) fn push(&mut self, bytes: &[u8], cut: &mut Cut) -> Result<(usize, bool)> {
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
                    cut.body.extend_from_slice(prefix);
                    part += 1;
                }
                let end = scan.advance(&bytes[taken..]);
                let after = taken + end.unwrap_or(bytes.len() - taken);
                cut.body.extend_from_slice(&bytes[part..after]);
                let part = after - taken;
                taken = after;
                self.offset += part as u64;
                if cut.body.len() - cut.open > LONGEST_RECORD {
                    return Err(self.wrong("has a record of more than 16 MiB"));
                }
                if end.is_none() {
                    break;
                }
                if let Some(prefix) = prefix {
                    cut.without_lone_comma(prefix.len());
                }
                let place = cut.open..cut.body.len();
                cut.records.push((*stream, place));
                cut.open = cut.body.len();
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
    pub(crate) fn nulls(&self) -> &[usize] {
        &self.nulls
    }

    /// Whether the document may end here.
    pub(crate) fn finish(&self) -> Result<()> {
        match self.at {
            At::End if self.has_lists => Ok(()),
            At::End => {
                let names: Vec<&str> = self.lists.iter().map(|(name, _)| *name).collect();
                let text = format!("the answer has none of the lists {}", names.join(", "));
                Err(Error::new(Kind::DataInvalid, text))
            }
            At::Start => Err(Error::new(Kind::DataInvalid, "the answer is empty")),
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
            At::InName { name, is_escaped } => {
                if *is_escaped {
                    *is_escaped = false;
                } else if byte == b'\\' {
                    *is_escaped = true;
                } else if byte == b'"' {
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
                    let text = "the answer is a web page, not JSON";
                    return Err(Error::new(Kind::DataInvalid, text));
                }
                _ => return Err(self.wrong("does not begin like JSON")),
            },
            At::Name { may_end } => match byte {
                b'"' => {
                    self.at = At::InName {
                        name: Vec::new(),
                        is_escaped: false,
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

    fn wrong(&self, what: &str) -> Error {
        Error::new(Kind::DataInvalid, format!("the answer {what}")).with("byte", self.offset)
    }
}

/// A name with its escapes read; none where they are none of JSON's.
fn decoded(name: Vec<u8>) -> Option<Vec<u8>> {
    if !name.contains(&b'\\') {
        return Some(name);
    }
    let text = [b"\"", &name[..], b"\""].concat();
    let name: String = serde_json::from_slice(&text).ok()?;
    Some(name.into_bytes())
}

impl Skip {
    /// Whether the value has ended before this byte.
    fn ends_before(&mut self, byte: u8) -> bool {
        if self.in_string {
            if self.is_escaped {
                self.is_escaped = false;
            } else if byte == b'\\' {
                self.is_escaped = true;
            } else if byte == b'"' {
                self.in_string = false;
            }
            return false;
        }
        let is_over = self.depth == 0 && self.has_begun;
        match byte {
            b',' | b'}' | b']' if self.depth == 0 => return true,
            b'"' | b'{' | b'[' if is_over => return true,
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth -= 1,
            _ => {}
        }
        self.has_begun = true;
        false
    }
}

/// Looks for the end of an object.
#[derive(Debug, Default)]
struct Scan {
    depth: u32,
    in_string: bool,
    is_escaped: bool,
}

impl Scan {
    /// Whether the object has not begun.
    const fn is_before(&self) -> bool {
        self.depth == 0
    }

    /// The place after the brace that closes the object; none when it is not among these bytes.
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
        let Masks {
            quotes,
            braces,
            has_backslashes,
        } = Masks::of(block);
        if has_backslashes || self.is_escaped {
            return self.one_by_one(block);
        }
        let outside = if self.in_string { 0 } else { u64::MAX };
        // A bit is one inside of a string: each quote flips all bits from its own on.
        let strings = flip_from_each(quotes) ^ !outside;
        let mut open = braces & !strings;
        while open != 0 {
            let place = open.trailing_zeros() as usize;
            match block[place] {
                b'{' => self.depth += 1,
                b'}' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(place + 1);
                    }
                }
                _ => {}
            }
            open &= open - 1;
        }
        self.in_string = strings >> (BLOCK - 1) == 1;
        None
    }

    fn one_by_one(&mut self, bytes: &[u8]) -> Option<usize> {
        for (place, byte) in bytes.iter().enumerate() {
            if self.in_string {
                if self.is_escaped {
                    self.is_escaped = false;
                } else if *byte == b'\\' {
                    self.is_escaped = true;
                } else if *byte == b'"' {
                    self.in_string = false;
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' => self.depth += 1,
                b'}' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(place + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

/// A bit for each byte of a block.
struct Masks {
    quotes: u64,
    /// Braces, and two bytes that JSON has in strings only.
    braces: u64,
    has_backslashes: bool,
}

impl Masks {
    /// In two loops, because compilers turn the first one into vector instructions.
    fn of(block: &[u8; BLOCK]) -> Self {
        const QUOTE: u8 = 1;
        const BRACE: u8 = 2;
        const BACKSLASH: u8 = 4;
        let mut flags = [0; BLOCK];
        for (flag, byte) in flags.iter_mut().zip(block) {
            // `{` and `}` differ in two bits.
            *flag = (u8::from(*byte == b'"') * QUOTE)
                | (u8::from(byte | 0x06 == 0x7f) * BRACE)
                | (u8::from(*byte == b'\\') * BACKSLASH);
        }
        let mut masks = Self {
            quotes: 0,
            braces: 0,
            has_backslashes: false,
        };
        let mut all = 0;
        for (index, word) in flags.as_chunks::<8>().0.iter().enumerate() {
            let word = u64::from_le_bytes(*word);
            all |= word;
            masks.quotes |= gather(word) << (8 * index);
            masks.braces |= gather(word >> 1) << (8 * index);
        }
        masks.has_backslashes = all & every(BACKSLASH) != 0;
        masks
    }
}

/// The lowest bit of each of eight bytes, side by side.
const fn gather(word: u64) -> u64 {
    (word & every(1)).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

const fn every(byte: u8) -> u64 {
    0x0101_0101_0101_0101 * byte as u64
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
mod tests {
    use super::*;

    const LISTS: Lists = &[("entries", 0), ("users", 1), ("", 0)];

    fn cut(pieces: &[&[u8]]) -> Result<Vec<(usize, String)>> {
        let mut cutter = Cutter::new(LISTS, &[]);
        let mut cut = Cut::default();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let (taken, _) = cutter.push(rest, &mut cut)?;
                rest = &rest[taken..];
            }
        }
        cutter.finish()?;
        cut.verify()?;
        Ok(cut
            .records
            .iter()
            .map(|(stream, place)| {
                let text = String::from_utf8(cut.body[place.clone()].to_vec()).unwrap();
                (*stream, text)
            })
            .collect())
    }

    #[test]
    fn names_with_escapes_marks_and_nulls_are_understood() {
        let document = b"\xef\xbb\xbf {\"\\u0065ntri\\u0065s\":[{\"a\":1}],\"users\":null}";
        for at in 0..document.len() {
            let found = cut(&[&document[..at], &document[at..]]).unwrap();
            assert_eq!(found, [(0, r#"{"a":1}"#.to_owned())], "{at}");
        }
        let mut cutter = Cutter::new(LISTS, &[]);
        let mut rest = &document[..];
        while !rest.is_empty() {
            rest = &rest[cutter.push(rest, &mut Cut::default()).unwrap().0..];
        }
        assert_eq!(cutter.nulls(), [1]);
        for wrong in [
            &b"\xef\xbb{}"[..],
            b"{\"\\x\":1}",
            b"{\"users\":nil}",
            b"{\"users\":nu",
            b"{} \xef\xbb\xbf",
        ] {
            cut(&[wrong]).unwrap_err();
        }
    }

    /// A random value whose objects may be records.
    fn value(rng: &mut fastrand::Rng, depth: u32) -> String {
        let blank = |rng: &mut fastrand::Rng| " ".repeat(rng.usize(..3));
        let text = |rng: &mut fastrand::Rng| {
            let parts = [
                "a", "\\\"", "\\\\", "{", "}", "[", "]", "é", "\\u007b", ",", ":", "y",
            ];
            let count = rng.usize(..90);
            (0..count)
                .map(|_| parts[rng.usize(..parts.len())])
                .collect::<String>()
        };
        match rng.u32(..if depth > 3 { 5 } else { 7 }) {
            0 => "null".to_owned(),
            1 => "-12345678901234567890.10".to_owned(),
            2 => "true".to_owned(),
            3 | 4 => format!("\"{}\"", text(rng)),
            5 => {
                let items: Vec<String> =
                    (0..rng.usize(..4)).map(|_| value(rng, depth + 1)).collect();
                format!("[{}{}]", blank(rng), items.join(","))
            }
            _ => object(rng, depth + 1),
        }
    }

    fn object(rng: &mut fastrand::Rng, depth: u32) -> String {
        let fields: Vec<String> = (0..rng.usize(..5))
            .map(|index| format!("\"f{index}\" : {}", value(rng, depth + 1)))
            .collect();
        format!("{{{}}}", fields.join(" ,\n"))
    }

    #[test]
    fn any_document_in_any_pieces_gives_its_records_byte_for_byte() {
        let seed = fastrand::u64(..);
        eprintln!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..300 {
            let mut expected = Vec::new();
            let mut lists = Vec::new();
            for (name, stream) in [("entries", 0), ("other", 9), ("users", 1)] {
                let records: Vec<String> =
                    (0..rng.usize(..6)).map(|_| object(&mut rng, 0)).collect();
                if stream != 9 {
                    expected.extend(records.iter().map(|record| (stream, record.clone())));
                }
                lists.push(format!("\"{name}\": [ {} ]", records.join(" , ")));
                lists.push(format!("\"x{name}\":{}", value(&mut rng, 0)));
            }
            let document = format!(" {{ {} }}\n", lists.join(" , "));
            serde_json::from_str::<serde_json::Value>(&document).unwrap();
            let mut pieces = Vec::new();
            let mut rest = document.as_bytes();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rng.usize(1..=rest.len().min(200)));
                pieces.push(piece);
                rest = after;
            }
            assert_eq!(cut(&pieces).unwrap(), expected, "{document}");
        }
    }

    #[test]
    fn a_field_goes_before_the_own_ones_in_any_pieces() {
        let document = b"{\"users\":[{\"n\":1}],\"entries\":[{ \"n\":1.0}, { } ,{}]}";
        for size in 1..document.len() {
            let mut cutter = Cutter::new(LISTS, &[Some("\"at\":1".to_owned())]);
            let mut cut = Cut::default();
            for piece in document.chunks(size) {
                let mut rest = piece;
                while !rest.is_empty() {
                    let (taken, _) = cutter.push(rest, &mut cut).unwrap();
                    rest = &rest[taken..];
                }
            }
            let texts: Vec<&str> = cut
                .records
                .iter()
                .map(|(_, place)| std::str::from_utf8(&cut.body[place.clone()]).unwrap())
                .collect();
            assert_eq!(
                texts,
                [
                    "{\"n\":1}",
                    "{\"at\":1, \"n\":1.0}",
                    "{\"at\":1}",
                    "{\"at\":1}"
                ],
                "{size}"
            );
        }
    }

    #[test]
    fn a_mask_has_a_bit_for_each_byte() {
        let seed = fastrand::u64(..);
        eprintln!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..1000 {
            let block = [(); BLOCK].map(|()| match rng.u8(..4) {
                0 => rng.u8(..),
                _ => b"\"\\{}y\x7f[]"[rng.usize(..8)],
            });
            let masks = Masks::of(&block);
            assert_eq!(masks.has_backslashes, block.contains(&b'\\'));
            for (place, byte) in block.iter().enumerate() {
                assert_eq!(masks.quotes >> place & 1 == 1, *byte == b'"');
                assert_eq!(masks.braces >> place & 1 == 1, byte | 6 == 0x7f);
            }
        }
    }

    #[test]
    fn a_document_may_be_the_list_itself() {
        assert_eq!(cut(&[b"[{\"a\":1}, {}]"]).unwrap().len(), 2);
        assert_eq!(cut(&[b"[]"]).unwrap().len(), 0);
    }

    #[test]
    fn what_is_not_such_a_document_is_an_error_with_its_place() {
        for (document, says) in [
            (&b""[..], "is empty"),
            (b"<html>", "web page"),
            (b"User,Email\n", "does not begin like JSON"),
            (b"{\"entries\":[{\"a\":1}", "breaks off"),
            (b"{\"entries\":[{\"a\":\"", "breaks off"),
            (b"{\"entries\":[{}],", "breaks off"),
            (b"{\"entries\":[{}]} x", "not valid JSON"),
            (b"{\"entries\":[{} {}]}", "other than records"),
            (b"{\"entries\":[{},]}", "other than records"),
            (b"{\"entries\":[1]}", "other than records"),
            (b"{\"entries\":7}", "other than a list at entries"),
            (b"{\"entries\":[{\"a\":\"\xff\"}]}", "not UTF-8"),
            (b"{\"errorMessage\":\"no\"}", "none of the lists"),
            (b"{\"x\":[{\"entries\":[{}]}]}", "none of the lists"),
            (b"{\"entries\" [{}]}", "not valid JSON"),
        ] {
            let error = cut(&[document]).unwrap_err();
            assert_eq!(error.kind(), Kind::DataInvalid);
            assert!(error.message().contains(says), "{error} for {document:?}");
        }
    }

    #[test]
    fn a_document_without_records_does_not_go_on_for_ever() {
        for begin in [&b"{\"entries\":["[..], b"{\"other\":\"", b""] {
            let mut cutter = Cutter::new(LISTS, &[]);
            let mut cut = Cut::default();
            cutter.push(begin, &mut cut).unwrap();
            let endless = vec![b' '; 1 << 20];
            let error = (0..100).find_map(|_| cutter.push(&endless, &mut cut).err());
            assert!(error.unwrap().message().contains("64 MiB"));
            assert!(cut.body.is_empty());
        }
    }

    #[test]
    fn a_record_without_an_end_does_not_fill_the_memory() {
        let mut cutter = Cutter::new(LISTS, &[]);
        let mut cut = Cut::default();
        cutter.push(b"{\"entries\":[{\"a\":\"", &mut cut).unwrap();
        let endless = vec![b'a'; 1 << 20];
        let error = (0..100).find_map(|_| cutter.push(&endless, &mut cut).err());
        assert!(error.unwrap().message().contains("16 MiB"));
        assert!(cut.body.len() < 2 * LONGEST_RECORD);
    }
}
