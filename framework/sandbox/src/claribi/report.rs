//! Reports: documents that are written on demand, which takes a while.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::catalogue::{Catalogue, Kind, day, instant};
use super::options::Ids;
use super::record::Record;
use crate::random::Rolls;

/// The values of `status`, which are also those of the filter.
pub(crate) const STATUSES: &[&str] = &["pending", "generating", "completed", "failed", "cancelled"];

const STATUS_TURNS: &[&str] = &[
    "completed",
    "completed",
    "failed",
    "completed",
    "generating",
    "completed",
    "cancelled",
    "completed",
    "completed",
    "pending",
    "completed",
];

/// How long an added report is `pending`, and then `generating`, in milliseconds.
const STEP: i64 = 500;

const SUBJECTS: &[&str] = &[
    "Monthly revenue",
    "Pipeline coverage",
    "Churn & retention",
    "Coûts d'acquisition",
    "Support \"first response\" times",
    "売上サマリー",
];

pub(crate) fn status(catalogue: &Catalogue, index: u64) -> &'static str {
    let Some(added) = catalogue.report_added(index) else {
        return catalogue.pick_in_turn(Kind::Report, index, STATUS_TURNS);
    };
    match Timestamp::now().as_millisecond() - added {
        age if age < STEP => "pending",
        age if age < 2 * STEP => "generating",
        _ => "completed",
    }
}

/// The record; single records have more fields than those in lists. The fields are those of
/// another interface in the vendor's pages, because none shows this one's.
pub(crate) fn record(
    catalogue: &Catalogue,
    index: u64,
    ids: Ids,
    base_url: &str,
    is_detail: bool,
) -> Record {
    let mut rolls = Rolls::new(catalogue.seed, Kind::Report.purpose(), index);
    let id = catalogue.id_text(Kind::Report, index, ids);
    let status = status(catalogue, index);
    let created = catalogue.created(Kind::Report, index);
    let work = match catalogue.report_added(index) {
        Some(_) => 2 * STEP,
        None => i64::try_from(rolls.between(20_000, 300_000)).unwrap_or_default(),
    };
    let ended = (created + work).min(catalogue.as_of().max(created + 2 * STEP));
    let has_ended = matches!(status, "completed" | "failed" | "cancelled");
    let is_completed = status == "completed";
    let download_url = format!("{base_url}/api/reports/{id}/download/");
    let subject = rolls.pick(SUBJECTS);
    let record = Record::default()
        .with("id", catalogue.id(Kind::Report, index, ids))
        .with("title", format!("{subject} {}", index + 1))
        .with("status", status)
        .with("output_format", rolls.pick(&["pdf", "pdf", "xlsx", "pptx"]))
        .with("download_url", is_completed.then_some(download_url))
        .with("created_at", instant(created))
        .with(
            "updated_at",
            instant(if has_ended { ended } else { created }),
        )
        .with("completed_at", is_completed.then(|| instant(ended)))
        // Not in any page: a client must not stumble over fields that it does not know.
        .with_json("generation_cost", &format!("{}.50", rolls.below(40)));
    if !is_detail {
        return record;
    }
    let period_end = created - created.rem_euclid(24 * 3_600_000);
    let insights = match is_completed {
        true => json!([
            {"kind": "summary", "text": format!("{subject}: nothing out of the ordinary.")},
            {"kind": "trend", "text": "Up 3.5 % on the month before.", "confidence": 0.8},
        ]),
        false => json!([]),
    };
    record
        .with("description", rolls.chance(30).then_some(subject))
        .with("web_url", format!("{base_url}/reports/{id}"))
        .with("report_period_start", day(period_end - 30 * 24 * 3_600_000))
        .with("report_period_end", day(period_end))
        .with("insights", insights)
        .with(
            "data_quality_metrics",
            match is_completed {
                true => json!({"completeness": 1.0, "rows_read": rolls.below(100_000)}),
                false => Value::Null,
            },
        )
}
