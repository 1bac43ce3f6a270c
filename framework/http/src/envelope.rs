//! Cutting a page into its records without building a tree.
//!
//! [`JsonCursor`] cuts a page first. If it gives up, serde_json cuts the page, decides whether it is one, and words the error.

use std::{borrow::Cow, fmt, ops::Range};

use headwater_core::{Error, Kind, Note, Result};
use headwater_json::JsonCursor;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, value::RawValue};

/// Records of one list of a page: as many as a body of 32 MiB has at 128 bytes each. The places of more take more memory
/// than the body itself.
const MAX_RECORDS: usize = 1 << 18;
/// Bytes of a value beside the records, such as a cursor: a tree of it takes many times its text.
const LONGEST_VALUE: usize = 64 << 10;
/// How the error of a longer list begins.
const TOO_MANY: &str = "a list of more than 262144 records";

/// Where a page has its records.
#[derive(Clone, Copy, Debug)]
pub enum Records {
    /// In the first of these lists that is there, each a JSON Pointer; the empty pointer is a body that is a list. None
    /// there is an error, never an empty page.
    Lists(&'static [&'static str]),
    /// One record, the object at this JSON Pointer; the whole body for the empty pointer.
    One(&'static str),
}

/// A page cut up: validated, but not parsed further than to its records.
#[derive(Clone, Debug, Default)]
pub struct Split {
    /// The range of each record in the body.
    pub records: Vec<Range<usize>>,
    /// Where the records of each companion list stand; none where the body has no such list.
    pub companions: Vec<Vec<Range<usize>>>,
    /// The values found at the wanted pointers, in their order.
    pub found: Vec<Option<Value>>,
    /// Whether the answer has null in the place of its list, or no content at all, so that it counts as an empty list.
    pub taken_as_empty: bool,
}

impl Split {
    /// Returns the notes about values that were read leniently, for a page of this stream.
    pub fn notes(&self, name: &str) -> Vec<Note> {
        let note = self.taken_as_empty.then(|| taken_as_empty(name));
        note.into_iter().collect()
    }
}

/// Says that an answer without a list counts as an empty one.
pub(crate) fn taken_as_empty(name: &str) -> Note {
    Note {
        code: "taken_as_empty",
        message: format!(
            "{name} came as null, without content or without their count; that was taken as an empty list"
        ),
    }
}

/// Finds the records of a page, and the values at `wanted` (total, cursor, next link), in one pass over the body.
///
/// Its errors quote nothing of the body; [`Client::split`](crate::Client::split) adds what the service says.
///
/// # Errors
///
/// Fails if the body is not JSON, has no list of records where it should be, or has too many records.
pub fn split(body: &[u8], records: Records, wanted: &[&str]) -> Result<Split> {
    split_with(body, records, &[], wanted)
}

/// [`split`] for a body that has more lists of records beside the main one, at the pointers `companions`.
///
/// # Errors
///
/// Fails if the body is not JSON, has no list of records where it should be, or has too many records.
pub fn split_with(
    body: &[u8],
    records: Records,
    companions: &[&str],
    wanted: &[&str],
) -> Result<Split> {
    let whole = [""];
    let is_null = body.trim_ascii() == b"null";
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let inner: Vec<&str>;
    let (pointers, shape): (&[&str], Shape) = match &records {
        Records::Lists(lists) if (is_list || is_null) && lists.contains(&"") => {
            (&whole, Shape::List)
        }
        Records::Lists(lists) => {
            inner = lists
                .iter()
                .copied()
                .filter(|list| !list.is_empty())
                .collect();
            (&inner, Shape::List)
        }
        Records::One("") => (&whole, Shape::One),
        Records::One(pointer) => (std::slice::from_ref(pointer), Shape::One),
    };
    let targets: Vec<Target<'_>> = targets(pointers, companions, wanted).collect();
    let cut = match Cut::walk(body, shape, &targets) {
        Some(cut) => cut,
        None => Cut::parse(body, shape, &targets).map_err(|error| unreadable(body, &error))?,
    };
    let taken_as_empty = cut.records.is_none() && cut.has_null;
    let Some(spans) = cut.records.or(taken_as_empty.then(Vec::new)) else {
        return Err(Error::new(
            Kind::DataInvalid,
            format!("the answer has no records at {}", pointers.join(" or ")),
        )
        .with("bytes", body.len()));
    };
    Ok(Split {
        records: spans,
        companions: cut.companions,
        found: cut.found,
        taken_as_empty,
    })
}

fn targets<'p>(
    records: &'p [&'p str],
    companions: &'p [&'p str],
    wanted: &'p [&'p str],
) -> impl Iterator<Item = Target<'p>> {
    let records = records.iter().map(|pointer| (pointer, Goal::Records));
    let companions = companions.iter().enumerate();
    let companions = companions.map(|(index, pointer)| (pointer, Goal::Companion(index)));
    let wanted = wanted.iter().enumerate();
    let wanted = wanted.map(|(index, pointer)| (pointer, Goal::Value(index)));
    let all = records.chain(companions).chain(wanted);
    all.map(|(pointer, goal)| Target { pointer, goal })
}

/// A record without the values of some of its top-level fields, which become null; unchanged where it has none of them.
pub fn without<'r>(record: &'r [u8], fields: &[&str]) -> Cow<'r, [u8]> {
    let Ok(spans) = places(record, fields) else {
        // Not an object: nothing to hide in it, and not for this function to judge.
        return Cow::Borrowed(record);
    };
    if spans.is_empty() {
        return Cow::Borrowed(record);
    }
    let mut kept = Vec::with_capacity(record.len());
    let mut from = 0;
    for span in spans {
        kept.extend_from_slice(&record[from..span.start]);
        kept.extend_from_slice(b"null");
        from = span.end;
    }
    kept.extend_from_slice(&record[from..]);
    Cow::Owned(kept)
}

/// Where the values of these top-level fields stand, in the order of the record.
pub(crate) fn places(record: &[u8], fields: &[&str]) -> Result<Vec<Range<usize>>> {
    struct ListRanges<'f> {
        start: usize,
        fields: &'f [&'f str],
    }
    impl<'de> Visitor<'de> for ListRanges<'_> {
        type Value = Vec<Range<usize>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some(Key(name)) = map.next_key()? {
                let value: &RawValue = map.next_value()?;
                if self.fields.contains(&name.as_ref()) {
                    let from = value.get().as_ptr() as usize - self.start;
                    found.push(from..from + value.get().len());
                }
            }
            Ok(found)
        }
    }
    let places = ListRanges {
        start: record.as_ptr() as usize,
        fields,
    };
    serde_json::Deserializer::from_slice(record)
        .deserialize_map(places)
        .map_err(|error| unreadable(record, &error))
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    List,
    One,
}

#[derive(Clone, Copy, Debug)]
enum Goal {
    Records,
    Companion(usize),
    Value(usize),
}

#[derive(Clone, Copy, Debug)]
struct Target<'p> {
    pointer: &'p str,
    goal: Goal,
}

#[derive(Debug, PartialEq)]
struct Cut {
    records: Option<Vec<Range<usize>>>,
    companions: Vec<Vec<Range<usize>>>,
    found: Vec<Option<Value>>,
    /// The body has null in place of a list of records.
    has_null: bool,
}

impl Cut {
    /// With room for what the targets are.
    fn empty(targets: &[Target<'_>]) -> Self {
        let count = |is_meant: fn(&Goal) -> bool| {
            let goals = targets.iter().map(|target| &target.goal);
            goals.filter(|goal| is_meant(goal)).count()
        };
        Self {
            records: None,
            companions: vec![Vec::new(); count(|goal| matches!(goal, Goal::Companion(_)))],
            found: vec![None; count(|goal| matches!(goal, Goal::Value(_)))],
            has_null: false,
        }
    }

    /// Says whether these are the first.
    fn keep_records(&mut self, records: Vec<Range<usize>>) -> bool {
        self.records.replace(records).is_none()
    }

    /// Says whether these are the first.
    fn keep_companion(&mut self, index: usize, records: Vec<Range<usize>>) -> bool {
        std::mem::replace(&mut self.companions[index], records).is_empty()
    }
}

/// Targets that lie in the value at hand, each with the rest of its pointer.
type Open<'p> = Vec<(Target<'p>, &'p str)>;

fn all_open<'p>(targets: &[Target<'p>]) -> Open<'p> {
    let open = targets.iter().map(|target| (*target, target.pointer));
    open.collect()
}

/// Those that lie in the field of this name.
fn open_in<'p>(open: &Open<'p>, name: &str) -> Open<'p> {
    let inner = open.iter().filter_map(|(target, rest)| {
        let rest = rest.strip_prefix('/')?.strip_prefix(name)?;
        (rest.is_empty() || rest.starts_with('/')).then_some((*target, rest))
    });
    inner.collect()
}

/// The goal that the value at hand is itself.
fn reached(open: &Open<'_>) -> Option<Goal> {
    let mut reached = open.iter().filter(|(_, rest)| rest.is_empty());
    reached.next().map(|(target, _)| target.goal)
}

/// The fast way.
struct Walker<'b> {
    cursor: JsonCursor<'b>,
    shape: Shape,
    cut: Cut,
}

impl Cut {
    /// None where serde_json has to decide.
    fn walk(body: &[u8], shape: Shape, targets: &[Target<'_>]) -> Option<Self> {
        let mut walker = Walker {
            cursor: JsonCursor::over_utf8(body)?,
            shape,
            cut: Self::empty(targets),
        };
        walker.value(&all_open(targets), 0)?;
        walker.cursor.is_over().then_some(walker.cut)
    }
}

impl Walker<'_> {
    /// Passes a value at this depth that is a target or contains one.
    fn value(&mut self, open: &Open<'_>, depth: u32) -> Option<()> {
        let is_first = match (reached(open), self.shape) {
            (None, _) => return self.fields(open, depth),
            (Some(Goal::Records), Shape::List) => {
                let spans = self.list(depth)?;
                self.cut.keep_records(spans)
            }
            (Some(Goal::Records), Shape::One) => {
                let span = self.object(depth)?;
                self.cut.keep_records(vec![span])
            }
            (Some(Goal::Companion(index)), _) => {
                let spans = self.list(depth)?;
                self.cut.keep_companion(index, spans)
            }
            (Some(Goal::Value(index)), _) => {
                let text = self.cursor.checked_value(depth)?;
                if text.len() > LONGEST_VALUE {
                    return None;
                }
                self.cut.found[index] =
                    Some(serde_json::from_slice(&self.cursor.input()[text]).ok()?);
                true
            }
        };
        is_first.then_some(())
    }

    /// The fields of an object, or null. What else may stand on the way to a target is rare, and harder to judge.
    fn fields(&mut self, open: &Open<'_>, depth: u32) -> Option<()> {
        if !self.cursor.is_before(b'{') {
            let other = self.cursor.checked_value(depth)?;
            return (self.cursor.input()[other] == *b"null").then_some(());
        }
        self.cursor.pass(b'{')?;
        if self.cursor.is_before(b'}') {
            return self.cursor.pass(b'}');
        }
        loop {
            let inner = open_in(open, self.cursor.checked_name()?);
            if inner.is_empty() {
                self.cursor.checked_value(depth + 1)?;
            } else {
                self.value(&inner, depth + 1)?;
            }
            if self.cursor.is_before(b'}') {
                return self.cursor.pass(b'}');
            }
            self.cursor.pass(b',')?;
        }
    }

    fn list(&mut self, depth: u32) -> Option<Vec<Range<usize>>> {
        let mut spans = Vec::new();
        self.cursor.pass(b'[')?;
        if !self.cursor.is_before(b']') {
            spans.push(self.object(depth + 1)?);
        }
        while self.cursor.is_before(b',') {
            if spans.len() == MAX_RECORDS {
                return None;
            }
            self.cursor.pass(b',')?;
            spans.push(self.object(depth + 1)?);
        }
        self.cursor.pass(b']')?;
        Some(spans)
    }

    fn object(&mut self, depth: u32) -> Option<Range<usize>> {
        if !self.cursor.is_before(b'{') {
            return None;
        }
        self.cursor.checked_value(depth)
    }
}

/// The way that decides.
impl Cut {
    fn parse(body: &[u8], shape: Shape, targets: &[Target<'_>]) -> Result<Self, serde_json::Error> {
        let mut cut = Self::empty(targets);
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let level = Level {
            start: body.as_ptr() as usize,
            shape,
            cut: &mut cut,
            open: all_open(targets),
        };
        level.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(cut)
    }
}

/// One value that is a target, or on the way to some.
struct Level<'c, 'p> {
    /// Address of the body's first byte: a raw value borrowed from the body is turned into a span by subtraction.
    start: usize,
    shape: Shape,
    cut: &'c mut Cut,
    open: Open<'p>,
}

impl<'de> DeserializeSeed<'de> for Level<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let start = self.start;
        let is_first = match (reached(&self.open), self.shape) {
            (None, _) => return deserializer.deserialize_any(self),
            (Some(Goal::Records), Shape::List) => {
                match deserializer.deserialize_option(List { start })? {
                    Some(spans) => self.cut.keep_records(spans),
                    None => {
                        self.cut.has_null = true;
                        true
                    }
                }
            }
            (Some(Goal::Records), Shape::One) => {
                let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
                self.cut.keep_records(vec![object(raw, start)?])
            }
            (Some(Goal::Companion(index)), _) => {
                let spans = deserializer.deserialize_option(List { start })?;
                spans.is_none_or(|spans| self.cut.keep_companion(index, spans))
            }
            (Some(Goal::Value(index)), _) => {
                let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
                if raw.get().len() > LONGEST_VALUE {
                    return Err(de::Error::custom("a value beside the records is too long"));
                }
                let value = serde_json::from_str(raw.get());
                self.cut.found[index] = Some(value.map_err(de::Error::custom)?);
                true
            }
        };
        if is_first {
            Ok(())
        } else {
            Err(de::Error::custom("the page has a list of records twice"))
        }
    }
}

impl<'de> Visitor<'de> for Level<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(name)) = map.next_key()? {
            let open = open_in(&self.open, &name);
            if open.is_empty() {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Level {
                    start: self.start,
                    shape: self.shape,
                    cut: &mut *self.cut,
                    open,
                })?;
            }
        }
        Ok(())
    }

    // Anything but an object on the way to a target means that the target is not there.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// A list of records, or null, in the body that starts at this address.
struct List {
    start: usize,
}

impl<'de> Visitor<'de> for List {
    type Value = Option<Vec<Range<usize>>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut spans = Vec::new();
        while let Some(raw) = seq.next_element::<&RawValue>()? {
            if spans.len() == MAX_RECORDS {
                return Err(de::Error::custom(TOO_MANY));
            }
            spans.push(object(raw, self.start)?);
        }
        Ok(Some(spans))
    }
}

/// Returns the range of a record, which has to be an object.
fn object<E: de::Error>(raw: &RawValue, start: usize) -> Result<Range<usize>, E> {
    let text = raw.get();
    if !text.starts_with('{') {
        return Err(E::custom("a record is not an object"));
    }
    let from = text.as_ptr() as usize - start;
    Ok(from..from + text.len())
}

/// A key, borrowed unless it has escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> serde::Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

/// serde_json's text quotes the input in places, so only its position is used.
fn unreadable(body: &[u8], error: &serde_json::Error) -> Error {
    let what = if body.is_empty() {
        "the answer is empty".to_owned()
    } else if looks_like_html(body) {
        "the answer is a web page, not JSON".to_owned()
    } else if error.is_data() && error.to_string().starts_with(TOO_MANY) {
        format!("the answer has {TOO_MANY}, which is the limit of a page here")
    } else if error.is_data() {
        "the answer does not have the expected form".to_owned()
    } else {
        let (line, column) = (error.line(), error.column());
        format!("the answer is not complete, valid JSON (line {line}, column {column})")
    };
    Error::new(Kind::DataInvalid, what).with("bytes", body.len())
}

pub(crate) fn looks_like_html(body: &[u8]) -> bool {
    body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'<')
}

#[cfg(test)]
mod tests;
