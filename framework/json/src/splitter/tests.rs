//! Documents of all shapes, in any pieces.

use super::*;

const LONGEST_RECORD: usize = 16 << 20;
const LISTS: Lists = &[("entries", 0), ("users", 1), ("", 0)];

fn cut(pieces: &[&[u8]]) -> Result<Vec<(usize, String)>> {
    let mut splitter = StreamSplitter::new(LISTS, &[], LONGEST_RECORD);
    let mut cut = SplitRecords::default();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let (taken, _) = splitter.push(rest, &mut cut)?;
            rest = &rest[taken..];
        }
    }
    splitter.finish()?;
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
    let mut splitter = StreamSplitter::new(LISTS, &[], LONGEST_RECORD);
    let mut rest = &document[..];
    while !rest.is_empty() {
        rest = &rest[splitter.push(rest, &mut SplitRecords::default()).unwrap().0..];
    }
    assert_eq!(splitter.nulls(), [1]);
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
            let items: Vec<String> = (0..rng.usize(..4)).map(|_| value(rng, depth + 1)).collect();
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
            let records: Vec<String> = (0..rng.usize(..6)).map(|_| object(&mut rng, 0)).collect();
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
        let mut splitter =
            StreamSplitter::new(LISTS, &[Some("\"at\":1".to_owned())], LONGEST_RECORD);
        let mut cut = SplitRecords::default();
        for piece in document.chunks(size) {
            let mut rest = piece;
            while !rest.is_empty() {
                let (taken, _) = splitter.push(rest, &mut cut).unwrap();
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
fn each_byte_has_its_flags() {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..1000 {
        let block = [(); BLOCK].map(|()| match rng.u8(..4) {
            0 => rng.u8(..),
            _ => b"\"\\{}y\x7f[]"[rng.usize(..8)],
        });
        let flags = Flags::of(&block, flags);
        for (place, byte) in block.iter().enumerate() {
            let has = |bit| flags.bit(bit) >> place & 1 == 1;
            assert_eq!(has(QUOTE), *byte == b'"');
            assert_eq!(has(BACKSLASH), *byte == b'\\');
            assert_eq!(has(BRACE), byte | 6 == 0x7f);
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
        assert!(error.to_string().contains(says), "{error} for {document:?}");
    }
}

#[test]
fn a_document_without_records_does_not_go_on_for_ever() {
    for begin in [&b"{\"entries\":["[..], b"{\"other\":\"", b""] {
        let mut splitter = StreamSplitter::new(LISTS, &[], LONGEST_RECORD);
        let mut cut = SplitRecords::default();
        splitter.push(begin, &mut cut).unwrap();
        let endless = vec![b' '; 1 << 20];
        let error = (0..100).find_map(|_| splitter.push(&endless, &mut cut).err());
        assert!(error.unwrap().to_string().contains("64 MiB"));
        assert!(cut.body.is_empty());
    }
}

#[test]
fn a_record_without_an_end_does_not_fill_the_memory() {
    let mut splitter = StreamSplitter::new(LISTS, &[], LONGEST_RECORD);
    let mut cut = SplitRecords::default();
    splitter.push(b"{\"entries\":[{\"a\":\"", &mut cut).unwrap();
    let endless = vec![b'a'; 1 << 20];
    let error = (0..100).find_map(|_| splitter.push(&endless, &mut cut).err());
    assert!(error.unwrap().to_string().contains("16 MiB"));
    assert!(cut.body.len() < 2 * LONGEST_RECORD);
}
