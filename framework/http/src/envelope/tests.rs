//! Pages of all shapes, cut both ways.

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
