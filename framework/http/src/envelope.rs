//! Cutting a page into its records without building a tree.
//!
//! A page is cut by [`Walk`] first. What that gives up on is cut by serde_json, which decides whether it is a page at all
//! and knows what is wrong with it.

use std::{borrow::Cow, fmt, ops::Range};

use headwater_core::{Error, Kind, Result};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, value::RawValue};

use crate::walk::Walk;

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
    /// Where each record stands in the body.
    pub records: Vec<Range<usize>>,
    /// Where the records of each companion list stand; none where the body has no such list.
    pub companions: Vec<Vec<Range<usize>>>,
    /// The values found at the wanted pointers, in their order.
    pub found: Vec<Option<Value>>,
}

/// Finds the records of a page, and the values at `wanted` (total, cursor, next link), in one pass over the body.
///
/// Its errors quote nothing of the body; [`Client::split`](crate::Client::split) adds what the service says.
pub fn split(body: &[u8], records: Records, wanted: &[&str]) -> Result<Split> {
    split_with(body, records, &[], wanted)
}

/// [`split`] for a body that has more lists of records beside the main one, at the pointers `companions`.
pub fn split_with(
    body: &[u8],
    records: Records,
    companions: &[&str],
    wanted: &[&str],
) -> Result<Split> {
    let whole = [""];
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let inner: Vec<&str>;
    let (pointers, shape): (&[&str], Shape) = match &records {
        Records::Lists(lists) if is_list && lists.contains(&"") => (&whole, Shape::List),
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
    let Some(spans) = cut.records else {
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
fn places(record: &[u8], fields: &[&str]) -> Result<Vec<Range<usize>>> {
    struct Places<'f> {
        start: usize,
        fields: &'f [&'f str],
    }
    impl<'de> Visitor<'de> for Places<'_> {
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
    let places = Places {
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
    walk: Walk<'b>,
    shape: Shape,
    cut: Cut,
}

impl Cut {
    /// None where serde_json has to decide.
    fn walk(body: &[u8], shape: Shape, targets: &[Target<'_>]) -> Option<Self> {
        let mut walker = Walker {
            walk: Walk::over(body)?,
            shape,
            cut: Self::empty(targets),
        };
        walker.value(&all_open(targets), 0)?;
        walker.walk.is_over().then_some(walker.cut)
    }
}

impl Walker<'_> {
    /// A value below so many others that is a target, or on the way to some.
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
                let text = self.walk.value(depth)?;
                self.cut.found[index] = Some(serde_json::from_slice(self.walk.text(text)).ok()?);
                true
            }
        };
        is_first.then_some(())
    }

    /// The fields of an object, or null. What else may stand on the way to a target is rare, and harder to judge.
    fn fields(&mut self, open: &Open<'_>, depth: u32) -> Option<()> {
        if !self.walk.is_before(b'{') {
            let other = self.walk.value(depth)?;
            return (self.walk.text(other) == b"null").then_some(());
        }
        self.walk.pass(b'{')?;
        if self.walk.is_before(b'}') {
            return self.walk.pass(b'}');
        }
        loop {
            let inner = open_in(open, self.walk.name()?);
            if inner.is_empty() {
                self.walk.value(depth + 1)?;
            } else {
                self.value(&inner, depth + 1)?;
            }
            if self.walk.is_before(b'}') {
                return self.walk.pass(b'}');
            }
            self.walk.pass(b',')?;
        }
    }

    fn list(&mut self, depth: u32) -> Option<Vec<Range<usize>>> {
        let mut spans = Vec::new();
        self.walk.pass(b'[')?;
        if !self.walk.is_before(b']') {
            spans.push(self.object(depth + 1)?);
        }
        while self.walk.is_before(b',') {
            self.walk.pass(b',')?;
            spans.push(self.object(depth + 1)?);
        }
        self.walk.pass(b']')?;
        Some(spans)
    }

    fn object(&mut self, depth: u32) -> Option<Range<usize>> {
        if !self.walk.is_before(b'{') {
            return None;
        }
        self.walk.value(depth)
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
                let spans = deserializer.deserialize_seq(List { start })?;
                self.cut.keep_records(spans)
            }
            (Some(Goal::Records), Shape::One) => {
                let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
                self.cut.keep_records(vec![object(raw, start)?])
            }
            (Some(Goal::Companion(index)), _) => {
                let spans = deserializer.deserialize_seq(List { start })?;
                self.cut.keep_companion(index, spans)
            }
            (Some(Goal::Value(index)), _) => {
                let value = <Value as serde::Deserialize>::deserialize(deserializer)?;
                self.cut.found[index] = Some(value);
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

/// A list of records in the body that starts at this address.
struct List {
    start: usize,
}

impl<'de> Visitor<'de> for List {
    type Value = Vec<Range<usize>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut spans = Vec::new();
        while let Some(raw) = seq.next_element::<&RawValue>()? {
            spans.push(object(raw, self.start)?);
        }
        Ok(spans)
    }
}

/// Where a record stands, which has to be an object.
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
mod tests {
    use super::*;

    const CALLS: Records = Records::Lists(&["/calls"]);

    fn texts<'a>(body: &'a [u8], split: &Split) -> Vec<&'a str> {
        split
            .records
            .iter()
            .map(|span| std::str::from_utf8(&body[span.clone()]).unwrap())
            .collect()
    }

    #[test]
    fn records_keep_their_bytes() {
        let body = br#" {"x":[1,{"calls":[]}],"calls":[ {"n":12345678901234567890.10, "e":1e2,"u":"\u00e9\/"} ,{}],
            "pagination":{"matched":7,"deep":{"next":"a\"b"}}} "#;
        let split = split(
            body,
            CALLS,
            &["/pagination/matched", "/pagination/deep/next", "/nope"],
        )
        .unwrap();
        assert_eq!(
            texts(body, &split),
            [
                r#"{"n":12345678901234567890.10, "e":1e2,"u":"\u00e9\/"}"#,
                "{}"
            ]
        );
        assert_eq!(split.found, [Some(7.into()), Some("a\"b".into()), None]);
    }

    #[test]
    fn one_record_at_a_pointer_or_the_whole_body() {
        let body = br#"{"call":{"id":"1"}}"#;
        assert_eq!(
            texts(body, &split(body, Records::One("/call"), &[]).unwrap()),
            [r#"{"id":"1"}"#]
        );
        let whole = br#" {"id":"1"} "#;
        assert_eq!(
            texts(whole, &split(whole, Records::One(""), &[]).unwrap()),
            [r#"{"id":"1"}"#]
        );
    }

    #[test]
    fn a_body_may_be_the_list_itself() {
        let either = Records::Lists(&["", "/jobs"]);
        let list = br#" [{"a":1},{"a":2}]"#;
        assert_eq!(split(list, either, &[]).unwrap().records.len(), 2);
        let wrapped = br#"{"jobs":[{"a":1}]}"#;
        assert_eq!(split(wrapped, either, &[]).unwrap().records.len(), 1);
        assert!(split(b"{}", either, &[]).is_err());
        assert!(split(b"[]", Records::Lists(&["/jobs"]), &[]).is_err());
    }

    #[test]
    fn hidden_fields_become_null_and_nothing_else_changes() {
        let record = br#"{ "n":1.0, "link" : "https:\/\/h/x?sig=1", "deep":{"link":"stays"},"l\u0069nk":{"a":[1]} }"#;
        assert_eq!(
            without(record, &["link"]).as_ref(),
            br#"{ "n":1.0, "link" : null, "deep":{"link":"stays"},"l\u0069nk":null }"#
        );
        assert!(matches!(without(record, &["other"]), Cow::Borrowed(_)));
    }

    #[test]
    fn either_spelling_of_a_list_is_found_and_both_are_refused() {
        let either = Records::Lists(&["/scorecardTemplates", "/scoreCardTemplates"]);
        for body in [
            br#"{"scorecardTemplates":[{}]}"#,
            br#"{"scoreCardTemplates":[{}]}"#,
        ] {
            assert_eq!(split(body, either, &[]).unwrap().records.len(), 1);
        }
        assert!(
            split(
                br#"{"scorecardTemplates":[{}],"scoreCardTemplates":[{}]}"#,
                either,
                &[]
            )
            .is_err()
        );
    }

    #[test]
    fn what_is_not_a_page_is_an_error_that_quotes_nothing() {
        for (body, says) in [
            (&b""[..], "empty"),
            (b"<html>canary</html>", "web page"),
            (b"{\"calls\":[{\"a\":1}", "not complete"),
            (b"{\"calls\":[{\"a\":\"canary", "not complete"),
            (b"{\"calls\":[{}]} trailing canary", "not complete"),
            (b"{\"calls\":{\"canary\":1}}", "expected form"),
            (b"{\"calls\":[\"canary\"]}", "expected form"),
            (b"{\"calls\":null}", "expected form"),
            (b"{\"calls\":[{}],\"calls\":[{}]}", "expected form"),
            (b"{\"items\":[{}]}", "no records at /calls"),
            (b"[]", "no records at /calls"),
            (b"\"canary\"", "no records at /calls"),
            (b"{\"calls\":[{\"a\":\"\xff\"}]}", "not complete"),
        ] {
            let error = split(body, CALLS, &[]).unwrap_err();
            assert_eq!(error.kind(), Kind::DataInvalid);
            let text = format!("{error} {error:?}");
            assert!(error.message().contains(says), "{text}");
            assert!(!text.contains("canary"), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let mut deep = br#"{"x":"#.to_vec();
        deep.extend(std::iter::repeat_n(b'[', 100_000));
        assert!(split(&deep, CALLS, &[]).is_err());
    }

    type Pointers = &'static [&'static str];

    /// What may be asked of a page: shape, lists or record, companions, values.
    const QUESTIONS: [(Shape, Pointers, Pointers, Pointers); 6] = [
        (
            Shape::List,
            &["/calls"],
            &[],
            &["/pagination/next", "/pagination/matched"],
        ),
        (
            Shape::List,
            &["/calls", "/deep/calls"],
            &["/users", "/deep/users"],
            &["/request"],
        ),
        (
            Shape::List,
            &["/deep/calls"],
            &["/calls"],
            &["/deep", "/calls/0", "/"],
        ),
        (
            Shape::One,
            &["/pagination"],
            &[],
            &["/pagination/next", "/users"],
        ),
        (Shape::One, &[""], &[], &["/request"]),
        (Shape::List, &[""], &[], &["/request"]),
    ];

    /// Both ways where the fast one does not give up; says whether it did not.
    fn is_the_same_both_ways(body: &[u8], question: usize) -> bool {
        let (shape, records, companions, wanted) = QUESTIONS[question];
        let targets: Vec<_> = targets(records, companions, wanted).collect();
        let Some(walked) = Cut::walk(body, shape, &targets) else {
            return false;
        };
        let parsed = Cut::parse(body, shape, &targets);
        let text = String::from_utf8_lossy(body);
        match parsed {
            Ok(parsed) => assert_eq!(walked, parsed, "question {question} to {text}"),
            Err(error) => panic!("question {question}: {error}, but was passed: {text}"),
        }
        true
    }

    const PAGES: [&str; 6] = [
        r#"{"request":"r-1","calls":[{"id":"1","n":[1,-0,0.5,1e9,-2.5E-3,12345678901234567890.10],"t":"a\"b\\c\u00e9\/ é 漢 \ud83d\ude00"},{},{"deep":{"a":[[],[{}],[null,true,false]]}}],"users":[{"id":"u"}],"pagination":{"next":"x\u0041","matched":3}}"#,
        "{\n  \"deep\": {\n    \"calls\": [ {\"id\": 1} , { } ],\r\n\t\"users\": []\n  },\n  \"calls\": [], \"request\": null, \"pagination\" : { }\n}\n",
        r#"[{"id":"a long text that takes several words of eight bytes each to pass, and then some"},{"id":2}]"#,
        r#"{"calls":[{"a":{"b":{"c":{"d":{"e":[[[[[[{"f":""}]]]]]]}}}}}],"pagination":null}"#,
        r#"{"calls":[{"id":1}],"calls":[{"id":2}],"users":[],"users":[{"id":3}],"pagination":{"next":1},"pagination":{"next":"2"}}"#,
        r#"{"pagination":1e999,"request":-1.5e+10,"deep":"\ud800","c\u0061lls":[{"id":1}],"":{"calls":[]}}"#,
    ];

    /// Bytes that mean something to JSON, and some that must not be there.
    const TELLING: &[u8] =
        b"\"\\{}[],:0123456789-+.eE tfn\n\t\r/ubx\x00\x0c\x1f\x7f\x80\xa9\xc3\xed\xf0\xff";

    #[test]
    fn the_fast_way_never_differs_from_the_one_that_decides() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut was_walked = [false; QUESTIONS.len()];
        for page in PAGES.map(str::as_bytes) {
            for length in 0..=page.len() {
                for (question, was_walked) in was_walked.iter_mut().enumerate() {
                    *was_walked |= is_the_same_both_ways(&page[..length], question);
                }
            }
        }
        assert_eq!(
            was_walked,
            [true; QUESTIONS.len()],
            "all are walked in some page"
        );
        let mut passed = 0;
        for _ in 0..220_000 {
            let mut page = rng.choice(PAGES).unwrap().as_bytes().to_vec();
            for _ in 0..rng.usize(1..=3) {
                mutate(&mut page, &mut rng);
            }
            passed += u32::from(is_the_same_both_ways(&page, rng.usize(..QUESTIONS.len())));
        }
        assert!(
            passed > 10_000,
            "enough pages stay valid to compare: {passed}"
        );
    }

    fn mutate(page: &mut Vec<u8>, rng: &mut fastrand::Rng) {
        if page.is_empty() {
            return;
        }
        let place = rng.usize(..page.len());
        let telling = TELLING[rng.usize(..TELLING.len())];
        match rng.u32(..7) {
            0 => page[place] ^= 1 << rng.u32(..8),
            1 => page[place] = telling,
            2 => page.insert(place, telling),
            3 => {
                page.remove(place);
            }
            4 => page.truncate(place + 1),
            // A part of the page once more, or another one in its place.
            5 => {
                let part = page[place..(place + rng.usize(1..30)).min(page.len())].to_vec();
                let to = rng.usize(..=page.len());
                page.splice(to..to, part);
            }
            _ => {
                let end = (place + rng.usize(1..30)).min(page.len());
                let values: [&[u8]; 8] = [
                    b"null",
                    b"[]",
                    b"{\"calls\":[{}]}",
                    b"\"\\u12e\"",
                    b"01",
                    b"-",
                    b"1.e5",
                    b"\"\\ud800\"",
                ];
                page.splice(
                    place..end,
                    values[rng.usize(..values.len())].iter().copied(),
                );
            }
        }
    }

    #[test]
    fn usual_pages_are_cut_the_fast_way() {
        for (question, page) in [(0, PAGES[0]), (0, PAGES[1]), (5, PAGES[2]), (0, PAGES[3])] {
            assert!(is_the_same_both_ways(page.as_bytes(), question), "{page}");
        }
    }

    #[test]
    fn every_depth_is_judged_the_same_both_ways() {
        for depth in 0..300 {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
                for page in [
                    format!("{{\"calls\":[{{\"a\":{deep}}}]}}"),
                    format!("{{\"calls\":[],\"pagination\":{{\"next\":{deep}}}}}"),
                    format!("{{\"calls\":[],\"other\":{deep}}}"),
                ] {
                    let was_walked = is_the_same_both_ways(page.as_bytes(), 0);
                    assert!(was_walked || depth > 90, "at {depth}: {page}");
                    assert!(!was_walked || depth < 110, "at {depth}: {page}");
                }
            }
        }
    }
}
