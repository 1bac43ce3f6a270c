//! Cutting a page into its records without building a tree.

use std::{borrow::Cow, fmt, ops::Range};

use headwater_core::{Error, Kind, Result};
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, value::RawValue};

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
    let mut cut = Cut {
        start: body.as_ptr() as usize,
        shape,
        targets: pointers
            .iter()
            .map(|pointer| Target {
                pointer,
                goal: Goal::Records,
            })
            .chain(
                companions
                    .iter()
                    .enumerate()
                    .map(|(index, pointer)| Target {
                        pointer,
                        goal: Goal::Companion(index),
                    }),
            )
            .chain(wanted.iter().enumerate().map(|(index, pointer)| Target {
                pointer,
                goal: Goal::Value(index),
            }))
            .collect(),
        records: None,
        companions: vec![Vec::new(); companions.len()],
        found: vec![None; wanted.len()],
    };
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let open: Vec<(usize, &str)> = cut
        .targets
        .iter()
        .map(|target| target.pointer)
        .enumerate()
        .collect();
    let parsed = Level {
        cut: &mut cut,
        open,
    }
    .deserialize(&mut deserializer)
    .and_then(|()| deserializer.end());
    if let Err(error) = parsed {
        return Err(unreadable(body, &error));
    }
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

#[derive(Clone, Copy)]
enum Goal {
    Records,
    Companion(usize),
    Value(usize),
}

struct Target<'p> {
    pointer: &'p str,
    goal: Goal,
}

struct Cut<'p> {
    /// Address of the body's first byte: a raw value borrowed from the body is turned into a span by subtraction.
    start: usize,
    shape: Shape,
    targets: Vec<Target<'p>>,
    records: Option<Vec<Range<usize>>>,
    companions: Vec<Vec<Range<usize>>>,
    found: Vec<Option<Value>>,
}

impl Cut<'_> {
    fn span(&self, raw: &RawValue) -> Range<usize> {
        let text = raw.get();
        let from = text.as_ptr() as usize - self.start;
        from..from + text.len()
    }

    fn keep<E: de::Error>(&mut self, records: Vec<Range<usize>>) -> Result<(), E> {
        if self.records.is_some() {
            return Err(E::custom("the page has its records twice"));
        }
        self.records = Some(records);
        Ok(())
    }
}

/// One object on the way to some targets: each open target with the rest of its pointer.
struct Level<'c, 'p> {
    cut: &'c mut Cut<'p>,
    open: Vec<(usize, &'p str)>,
}

impl<'de> DeserializeSeed<'de> for Level<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let reached = self
            .open
            .iter()
            .find(|(_, rest)| rest.is_empty())
            .map(|(target, _)| *target);
        let Some(target) = reached else {
            return deserializer.deserialize_any(self);
        };
        match (self.cut.targets[target].goal, self.cut.shape) {
            (Goal::Value(index), _) => {
                self.cut.found[index] =
                    Some(<Value as serde::Deserialize>::deserialize(deserializer)?);
                Ok(())
            }
            (Goal::Records, Shape::List) => {
                let spans = deserializer.deserialize_seq(List { cut: self.cut })?;
                self.cut.keep(spans)
            }
            (Goal::Companion(index), _) => {
                let spans = deserializer.deserialize_seq(List { cut: self.cut })?;
                if !self.cut.companions[index].is_empty() {
                    return Err(de::Error::custom("the page has a companion list twice"));
                }
                self.cut.companions[index] = spans;
                Ok(())
            }
            (Goal::Records, Shape::One) => {
                let raw = <&RawValue as serde::Deserialize>::deserialize(deserializer)?;
                require_object(raw)?;
                let span = self.cut.span(raw);
                self.cut.keep(vec![span])
            }
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
            let open: Vec<(usize, &str)> = self
                .open
                .iter()
                .filter_map(|(target, rest)| {
                    let rest = rest.strip_prefix('/')?.strip_prefix(name.as_ref())?;
                    (rest.is_empty() || rest.starts_with('/')).then_some((*target, rest))
                })
                .collect();
            if open.is_empty() {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Level {
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

struct List<'c, 'p> {
    cut: &'c Cut<'p>,
}

impl<'de> Visitor<'de> for List<'_, '_> {
    type Value = Vec<Range<usize>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut spans = Vec::new();
        while let Some(raw) = seq.next_element::<&RawValue>()? {
            require_object(raw)?;
            spans.push(self.cut.span(raw));
        }
        Ok(spans)
    }
}

fn require_object<E: de::Error>(raw: &RawValue) -> Result<(), E> {
    if raw.get().starts_with('{') {
        Ok(())
    } else {
        Err(E::custom("a record is not an object"))
    }
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
}
