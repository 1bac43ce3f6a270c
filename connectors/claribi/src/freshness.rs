//! The health of data sources: those in error and those without a recent sync.

use headwater::{
    http::{Access, Prober, StreamAccess},
    prelude::*,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::list::{List, ListPosition, RECORDS};

/// The name of the check.
pub(crate) const NAME: &str = "health:data_sources";
/// Pages hold a hundred data sources, so this is more than any plan has. The check has to end.
const MAX_PAGES: usize = 20;

/// The data sources read so far.
pub(crate) struct Sources {
    /// The result of the request for the first page.
    pub result: StreamAccess,
    listed: Vec<SourceRow>,
    cut: Truncation,
}

/// Why the list is incomplete.
enum Truncation {
    No,
    TooMany,
    Failed,
}

/// The relevant fields of a data source. Fields of an unexpected type count as missing.
#[derive(Default)]
struct SourceRow {
    id: Value,
    name: Value,
    status: String,
    error: Value,
    synced_at: Value,
    created_at: Value,
}

/// Reads the list page by page, each within the time limit of a probe.
pub(crate) async fn read(prober: &Prober<'_>, list: &List) -> Sources {
    let stream = "data_sources";
    let first = list.request(&ListPosition::default());
    let result = prober.access(stream, &first, RECORDS).await;
    let mut sources = Sources {
        result: result.clone(),
        listed: Vec::new(),
        cut: Truncation::No,
    };
    let (mut page, mut position) = (result, ListPosition::default());
    for number in 1.. {
        let (Access::Granted, Some(response)) = (&page.access, &page.response) else {
            sources.cut = Truncation::Failed;
            break;
        };
        let Ok(cut) = list.cut(position, response, stream) else {
            sources.cut = Truncation::Failed;
            break;
        };
        let records = cut.records.into_iter();
        sources
            .listed
            .extend(records.map(|span| SourceRow::read(&response.body[span])));
        // One pass over the list is enough.
        match cut.next {
            Some(next) if !next.is_start() => position = next,
            _ => break,
        }
        if number == MAX_PAGES {
            sources.cut = Truncation::TooMany;
            break;
        }
        let request = list.request(&position);
        page = prober.access(stream, &request, RECORDS).await;
        if page
            .response
            .as_ref()
            .is_some_and(|response| list.is_past_the_end(response))
        {
            break;
        }
    }
    sources
}

impl Sources {
    /// Returns the check, by the service's clock.
    pub(crate) fn check(&self, stale_after: SignedDuration) -> Check {
        let Some(now) = self.result.response.as_ref().map(|response| response.at) else {
            return Check::skipped(NAME);
        };
        if self.result.access != Access::Granted {
            return Check::skipped(NAME);
        }
        judge(&self.listed, &self.cut, now, stale_after)
    }
}

impl SourceRow {
    fn read(record: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Fields {
            id: Value,
            name: Value,
            status: Value,
            error_message: Value,
            last_synced_at: Value,
            last_sync_at: Value,
            created_at: Value,
        }
        let fields: Fields = serde_json::from_slice(record).unwrap_or_default();
        Self {
            id: fields.id,
            name: fields.name,
            status: fields.status.as_str().unwrap_or_default().to_lowercase(),
            error: fields.error_message,
            // The vendor's interfaces use two names.
            synced_at: match fields.last_synced_at {
                Value::Null => fields.last_sync_at,
                synced_at => synced_at,
            },
            created_at: fields.created_at,
        }
    }

    fn is_in_error(&self) -> bool {
        matches!(&*self.status, "error" | "failed")
    }

    /// A paused source is not synced on purpose. A source without a sync is late if its creation is that old.
    fn is_stale(&self, now: Timestamp, stale_after: SignedDuration) -> bool {
        if self.is_in_error() || self.status == "paused" {
            return false;
        }
        let since = match &self.synced_at {
            Value::Null => &self.created_at,
            synced_at => synced_at,
        };
        time(since).is_some_and(|since| now.duration_since(since) > stale_after)
    }
}

fn judge(
    listed: &[SourceRow],
    cut: &Truncation,
    now: Timestamp,
    stale_after: SignedDuration,
) -> Check {
    let in_error: Vec<Value> = listed
        .iter()
        .filter(|source| source.is_in_error())
        .map(|source| {
            json!({
                "id": source.id, "name": source.name, "error_message": source.error,
                "last_synced_at": source.synced_at,
            })
        })
        .collect();
    let stale: Vec<Value> = listed
        .iter()
        .filter(|source| source.is_stale(now, stale_after))
        .map(|source| json!({ "id": source.id, "name": source.name, "last_synced_at": source.synced_at }))
        .collect();
    let never_synced = listed
        .iter()
        .filter(|source| source.synced_at.is_null())
        .count();
    let hours = stale_after.as_hours();
    let total = listed.len();
    let counted = match cut {
        Truncation::No => format!("of {total} data sources"),
        Truncation::TooMany => {
            format!("of the first {total} data sources (the others were not checked)")
        }
        Truncation::Failed => {
            format!("of {total} data sources (the list could not be read to its end)")
        }
    };
    let with_errors = match in_error.len() {
        1 => "1 has an error".to_owned(),
        count => format!("{count} have errors"),
    };
    let late = match stale.len() {
        1 => format!("1 was not synced for more than {hours} hours"),
        count => format!("{count} were not synced for more than {hours} hours"),
    };
    let result = match (in_error.len(), stale.len()) {
        (0, 0) => "none has an error and none is late".to_owned(),
        (_, 0) => with_errors,
        (0, _) => late,
        _ => format!("{with_errors} and {late}"),
    };
    let text = format!("{counted}, {result}");
    let is_fine = in_error.is_empty() && stale.is_empty();
    let check = match (is_fine, cut) {
        (true, Truncation::Failed) => {
            Check::warned(NAME, Kind::Unavailable, "incomplete", text).remedy("try again later")
        }
        (true, _) => Check::passed(NAME, text),
        (false, _) => Check::warned(NAME, Kind::DataInvalid, "unhealthy", text).remedy(
            "open these data sources in clariBI: sign in to them again, or start their sync",
        ),
    };
    check
        .fact("total", total)
        .fact("is_complete", matches!(cut, Truncation::No))
        .fact("in_error", in_error)
        .fact("stale", stale)
        .fact("never_synced", never_synced)
        .fact("stale_after_hours", hours)
}

/// Reads a time. Without a zone, which some settings of the vendor's framework omit, it counts as UTC.
fn time(value: &Value) -> Option<Timestamp> {
    let text = value.as_str()?;
    text.parse().or_else(|_| format!("{text}Z").parse()).ok()
}

#[cfg(test)]
mod tests {
    use headwater::Outcome;

    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn checked(records: &[&str], cut: &Truncation) -> Check {
        let listed: Vec<SourceRow> = records
            .iter()
            .map(|record| SourceRow::read(record.as_bytes()))
            .collect();
        let now = "2025-07-15T12:00:00Z".parse().unwrap();
        judge(&listed, cut, now, DAY)
    }

    #[test]
    fn what_is_broken_or_late_is_named() {
        let check = checked(
            &[
                r#"{"id":1,"name":"fine","status":"active","last_synced_at":"2025-07-14T12:00:00Z"}"#,
                r#"{"id":2,"name":"late","status":"active","last_synced_at":"2025-07-14T11:59:59Z"}"#,
                r#"{"id":3,"name":"paused","status":"paused","last_synced_at":"2020-01-01T00:00:00Z"}"#,
                r#"{"id":"u-4","name":"broken","status":"error","last_synced_at":null,"error_message":"no access"}"#,
                r#"{"id":5,"name":"new","status":"preprocessing","last_synced_at":null,"created_at":"2025-07-15T11:00:00Z"}"#,
                r#"{"id":6,"name":"forgotten","status":"active","last_synced_at":null,"created_at":"2025-07-01T00:00:00Z"}"#,
                r#"{"id":7,"name":"no zone","status":"active","last_sync_at":"2025-07-13T00:00:00.123456"}"#,
                r#"{"id":8,"name":"odd","status":3,"last_synced_at":"yesterday"}"#,
            ],
            &Truncation::No,
        );
        assert_eq!(
            (check.outcome, &*check.code),
            (Outcome::Warned, "unhealthy")
        );
        let facts = Value::from(check.facts);
        assert_eq!(facts["total"], 8);
        assert_eq!(facts["never_synced"], 3);
        assert_eq!(facts["is_complete"], true);
        assert_eq!(
            facts["in_error"],
            json!([{ "id": "u-4", "name": "broken", "error_message": "no access", "last_synced_at": null }])
        );
        let late: Vec<&Value> = facts["stale"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["id"])
            .collect();
        assert_eq!(late, [2, 6, 7]);
        assert_eq!(
            check.message,
            "of 8 data sources, 1 has an error and 3 were not synced for more than 24 hours"
        );
    }

    #[test]
    fn a_list_that_was_not_read_to_its_end_is_said_to_be() {
        let fine = r#"{"id":1,"status":"active","last_synced_at":"2025-07-15T11:00:00Z"}"#;
        let whole = checked(&[fine], &Truncation::No);
        assert_eq!(whole.outcome, Outcome::Passed);
        let many = checked(&[fine], &Truncation::TooMany);
        assert_eq!(many.outcome, Outcome::Passed);
        assert!(many.message.contains("first 1"), "{}", many.message);
        let broken = checked(&[fine], &Truncation::Failed);
        assert_eq!(
            (broken.outcome, &*broken.code),
            (Outcome::Warned, "incomplete")
        );
        for one in [&many, &broken] {
            assert_eq!(one.facts["is_complete"], false);
        }
    }
}
