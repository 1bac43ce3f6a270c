//! A list that is read by time, and the items of its service.

use std::collections::BTreeSet;

use headwater_core::{SignedDuration, Timestamp};
use headwater_http::{OffsetPaging, Records, WindowedList};
use headwater_testkit::Script;
use serde_json::Value;

use super::{at, client, spec};

/// Enough for pages side by side, whatever their size.
pub const CAP: u64 = 60;
pub const PAGING: OffsetPaging = OffsetPaging {
    skip: "skip",
    limit: "limit",
    sizes: &[5, 2, 1],
    cap: CAP,
    total: "/pagination/matched",
    without_total: Some(("includePagination", "false")),
};

pub const START: &str = "2026-01-01T00:00:00Z";
pub const NOW: &str = "2026-01-31T12:00:00.500Z";
pub const OVERLAP: SignedDuration = SignedDuration::from_hours(1);

/// A record: its id, when it was modified, what it says.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    pub id: usize,
    pub modified: Timestamp,
    pub text: &'static str,
}

pub fn list(script: &Script) -> WindowedList {
    let records = Records::Lists(&["/items"]);
    let bounds = ("after", "before");
    WindowedList::new(
        &client(script),
        spec("items"),
        "/items",
        records,
        bounds,
        at(START),
        OVERLAP,
    )
}

pub fn ids(records: &[String]) -> Vec<usize> {
    let id = |text: &String| {
        serde_json::from_str::<Value>(text).unwrap()["id"]
            .as_u64()
            .unwrap()
    };
    records
        .iter()
        .map(|text| usize::try_from(id(text)).unwrap())
        .collect()
}

pub fn sorted(mut ids: Vec<usize>) -> Vec<usize> {
    ids.sort_unstable();
    ids
}

/// Every one of these was delivered.
pub fn assert_none_lost<'a>(items: impl IntoIterator<Item = &'a Item>, read: &[usize], case: &str) {
    let read: BTreeSet<usize> = read.iter().copied().collect();
    let lost: Vec<&Item> = items
        .into_iter()
        .filter(|item| !read.contains(&item.id))
        .collect();
    assert!(lost.is_empty(), "{case}: lost {lost:?}");
}
