//! A document has the same records in any pieces. The splitter looks at brackets and texts only, so records of a document
//! that is not JSON may not be JSON either; the host tells of these.
#![no_main]

use headwater_json::{Lists, SplitRecords, StreamSplitter};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

const LISTS: Lists = &[("entries", 0), ("users", 1), ("", 0)];
const LONGEST_RECORD: usize = 1 << 16;

/// The records of a document, and whether it was split to its end.
fn split(document: &[u8], piece: usize) -> (Vec<(usize, Vec<u8>)>, bool) {
    let mut splitter = StreamSplitter::new(LISTS, &[], LONGEST_RECORD);
    let mut out = SplitRecords::default();
    let mut is_whole = true;
    'pieces: for piece in document.chunks(piece) {
        let mut rest = piece;
        while !rest.is_empty() {
            match splitter.push(rest, &mut out) {
                Ok((taken, _)) => rest = &rest[taken..],
                Err(_) => {
                    is_whole = false;
                    break 'pieces;
                }
            }
        }
    }
    let is_whole = is_whole && splitter.finish().is_ok();
    let records = out.records.iter();
    let records = records.map(|(stream, span)| (*stream, out.body[span.clone()].to_vec()));
    (records.collect(), is_whole && out.verify().is_ok())
}

fuzz_target!(|data: &[u8]| {
    let Some((piece, document)) = data.split_first() else {
        return;
    };
    let whole = split(document, usize::MAX);
    assert_eq!(split(document, usize::from(*piece).max(1)), whole);
    assert_eq!(split(document, 1), whole);
    let (records, is_whole) = whole;
    if is_whole && serde_json::from_slice::<IgnoredAny>(document).is_ok() {
        for (_, record) in records {
            serde_json::from_slice::<IgnoredAny>(&record).expect("a record of JSON");
        }
    }
});
