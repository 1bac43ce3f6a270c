//! Lists that end, do not end, and change while they are read.

use super::*;

/// Adds a page of records with these numbers; returns the number of remaining records.
fn take(progress: &mut Progress, numbers: &[u64], total: Option<u64>, has_key: bool) -> usize {
    let mut body = Vec::new();
    let mut records = Vec::new();
    for number in numbers {
        let from = body.len();
        body.extend_from_slice(format!("{{\"id\":{number}}}").as_bytes());
        records.push(from..body.len());
    }
    progress.take(&body, &mut records, total, has_key);
    records.len()
}

fn as_kept(progress: &Progress) -> Progress {
    serde_json::from_str(&serde_json::to_string(progress).unwrap()).unwrap()
}

/// Returns the number of pages until the read stops, and whether it ended with an error.
fn pages(mut page: impl FnMut(u64) -> (Vec<u64>, Option<u64>, Option<String>)) -> (u64, bool) {
    let mut progress = Progress::default();
    for number in 0..200_000 {
        let (numbers, total, token) = page(number);
        take(&mut progress, &numbers, total, true);
        match progress.goes_on(token.as_deref()) {
            Ok(true) => {}
            Ok(false) => return (number + 1, false),
            Err(error) => {
                assert_eq!(error.kind(), Kind::DataInvalid);
                assert!(error.message().contains("would never end"), "{error}");
                return (number + 1, true);
            }
        }
        if number % 50 == 0 {
            progress = as_kept(&progress);
        }
    }
    panic!("reading does not end");
}

#[test]
fn pages_without_anything_new_are_bounded() {
    let cursor = |page: u64| Some(format!("c{page}"));
    assert_eq!(pages(|page| (vec![], None, cursor(page))), (11, true));
    assert_eq!(pages(|page| (vec![1, 2], None, cursor(page))), (4, true));
    // The same records in another order, and fewer.
    assert_eq!(
        pages(|page| match page % 3 {
            0 => (vec![1, 2, 3], None, cursor(page)),
            1 => (vec![3, 1], None, cursor(page)),
            _ => (vec![2], None, cursor(page)),
        }),
        (4, true)
    );
    // Empty pages between them do not hide it.
    let (count, is_error) = pages(|page| match page % 2 {
        0 => (vec![1], None, cursor(page)),
        _ => (vec![], None, cursor(page)),
    });
    assert!(is_error && count < 12, "{count}");
}

#[test]
fn circles_of_any_length_are_noticed() {
    for length in [10_u64, 5_000, 60_000] {
        let mut next = 0;
        let page = |page: u64| {
            // Pages of changing lengths, so that no two rounds have equal pages.
            let numbers: Vec<u64> = (0..40 + page % 17)
                .map(|step| (next + step) % length)
                .collect();
            next = (next + numbers.len() as u64) % length;
            (numbers, None, Some(format!("c{page}")))
        };
        let (count, is_error) = pages(page);
        let rounds = count * 48 / length.max(480);
        assert!(is_error && rounds < 2, "{length}: {count} pages");
    }
}

#[test]
fn a_row_that_leads_every_page_and_a_burst_in_front_are_not_the_same_page() {
    let mut progress = Progress::default();
    for page in 0..50 {
        take(&mut progress, &[999, page], Some(51), true);
        assert!(progress.goes_on(None).unwrap() || page == 49);
    }
    let ending = progress.end("things", false);
    assert!(
        ending.again.is_none() && ending.gaps.is_empty(),
        "{ending:?}"
    );
    // A hundred new records in front push the whole first page into the second one, repeatedly.
    let mut progress = Progress::default();
    for page in 0..10 {
        for numbers in [[1, 2], [1, 2]] {
            let numbers = numbers.map(|number| number + 2 * page);
            take(&mut progress, &numbers, None, true);
            assert!(progress.goes_on(None).unwrap());
        }
    }
}

#[test]
fn a_total_bounds_the_pages() {
    let endless = |page: u64| {
        let numbers = (0..100).map(|n| page * 100 + n).collect();
        (numbers, Some(13), Some(format!("c{page}")))
    };
    let (count, is_error) = pages(endless);
    assert!(is_error && count < 110, "{count}");
    // All records came: the end follows, not an error.
    let behind_the_end = |page: u64| match page {
        0 => (vec![1, 2], Some(3), Some("a".to_owned())),
        1 => (vec![3], Some(3), Some("b".to_owned())),
        _ => (vec![], Some(3), Some(format!("c{page}"))),
    };
    assert_eq!(pages(behind_the_end), (3, false));
}

#[test]
fn one_empty_page_with_a_link_is_legitimate() {
    let mut progress = Progress::default();
    for page in 0..40_u64 {
        let numbers: &[u64] = if page % 4 == 3 { &[page] } else { &[] };
        take(&mut progress, numbers, None, true);
        assert!(progress.goes_on(Some(&page.to_string())).unwrap());
    }
}

#[test]
fn a_list_that_changes_is_read_once_more_and_then_told() {
    let mut first = Progress::default();
    take(&mut first, &[1, 2, 3], Some(6), true);
    take(&mut first, &[5], Some(4), true);
    let ending = first.end("things", false);
    let mut second = as_kept(&ending.again.unwrap());
    assert_eq!(ending.notes[0].code, "read_again");
    assert!(ending.gaps.is_empty());
    // Known records are left out.
    assert_eq!(take(&mut second, &[1, 3, 4], Some(4), true), 1);
    assert_eq!(take(&mut second, &[5], Some(4), true), 0);
    let quiet = second.clone().end("things", false);
    assert!(quiet.again.is_none() && quiet.gaps.is_empty());
    take(&mut second, &[6], Some(9), true);
    let ending = second.end("things", false);
    assert!(ending.again.is_none());
    let gap = &ending.gaps[0];
    assert_eq!((gap.code, gap.at_most), ("list_changed", Some(5 + 4)));
    assert_eq!(gap.mend, Mend::Run);
}

#[test]
fn a_total_beyond_what_came_is_told_and_one_below_it_is_harmless() {
    let mut progress = Progress::default();
    take(&mut progress, &[1, 2], Some(7), true);
    let mut again = progress.end("things", false).again.unwrap();
    take(&mut again, &[1, 2], Some(7), true);
    let ending = again.end("things", false);
    let gap = &ending.gaps[0];
    assert_eq!((gap.code, gap.at_most), ("count_differs", Some(5)));
    let mut progress = Progress::default();
    take(&mut progress, &[1, 2, 3], Some(1), true);
    let ending = progress.end("things", false);
    assert!(ending.again.is_none() && ending.gaps.is_empty());
    assert_eq!(ending.notes[0].code, "count_differs");
}

#[test]
fn a_page_that_came_before_is_no_end_where_the_total_is_too_small() {
    let mut progress = Progress::default();
    for _ in 0..2 {
        take(&mut progress, &[1, 2, 3], Some(2), true);
        take(&mut progress, &[1, 2, 3], Some(2), true);
        assert!(!progress.goes_on(Some("next")).unwrap());
        let ending = progress.clone().end("items", false);
        let Some(again) = ending.again else {
            assert_eq!(ending.gaps[0].code, "count_differs");
            assert_eq!(ending.gaps[0].at_most, None);
            return;
        };
        progress = again;
    }
    panic!("the list ended without a gap");
}

#[test]
fn records_without_a_key_are_left_out_by_the_page_only() {
    let mut progress = Progress::default();
    assert_eq!(take(&mut progress, &[1, 1, 2], None, false), 3);
    assert_eq!(take(&mut progress, &[2, 3], None, false), 2);
    assert_eq!(take(&mut progress, &[3, 2], None, false), 0);
    let mut progress = Progress::default();
    assert_eq!(take(&mut progress, &[1, 1, 2], None, true), 2);
    assert_eq!(take(&mut progress, &[2, 3], None, true), 1);
}

#[test]
fn many_records_take_little_room() {
    let mut progress = Progress::default();
    for page in 0..2_000 {
        let numbers: Vec<u64> = (page * 100..page * 100 + 100).collect();
        assert_eq!(take(&mut progress, &numbers, Some(200_000), true), 100);
    }
    assert!(serde_json::to_string(&progress).unwrap().len() < 100_000);
    let ending = progress.end("things", false);
    assert!(ending.again.is_none() && ending.gaps.is_empty() && ending.notes.is_empty());
}

#[test]
fn totals_are_numbers_or_text_that_is_noted() {
    let read = |text: &str| {
        let mut notes = Vec::new();
        let total = total(
            Some(&serde_json::from_str(text).unwrap()),
            "things",
            &mut notes,
        );
        (total, notes.len())
    };
    assert_eq!(read("250"), (Some(250), 0));
    assert_eq!(read("250.0"), (Some(250), 0));
    assert_eq!(read("\" 250\""), (Some(250), 1));
    for none in ["null", "-1", "2.5", "1e300", "\"many\"", "[]", "true"] {
        assert_eq!(read(none), (None, 0), "{none}");
    }
}

#[test]
fn a_missing_list_is_not_empty_where_a_total_tells_otherwise() {
    let missing = Split {
        taken_as_empty: true,
        ..Split::default()
    };
    let mut progress = Progress::default();
    assert!(progress.require_list(&missing, None).is_ok());
    assert!(progress.require_list(&missing, Some(0)).is_ok());
    assert!(progress.require_list(&missing, Some(1)).is_err());
    take(&mut progress, &[1, 2], Some(3), true);
    assert!(progress.require_list(&missing, None).is_err());
    take(&mut progress, &[3], None, true);
    assert!(progress.require_list(&missing, None).is_ok());
}
