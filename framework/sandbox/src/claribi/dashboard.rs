//! Dashboards.

use serde_json::json;

use super::catalogue::{Catalogue, Kind, instant};
use super::options::Ids;
use super::record::Record;
use crate::random::{Purpose, Rolls, draw, pick_at};

/// No page shows a status of a dashboard: proposed.
const STATUS_TURNS: &[&str] = &["active", "active", "draft", "active", "archived"];

const NAMES: &[&str] = &[
    "Sales overview",
    "Marketing spend",
    "Customer health",
    "Übersicht Vertrieb",
    "Board pack",
    "Weekly stand-up",
];

pub(crate) fn name(catalogue: &Catalogue, index: u64) -> String {
    let number = draw(catalogue.seed, Purpose::Dashboard, index) >> 32;
    format!("{} {}", pick_at(NAMES, number), index + 1)
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
    let mut rolls = Rolls::new(catalogue.seed, Kind::Dashboard.purpose(), index);
    let created = catalogue.created(Kind::Dashboard, index);
    let since_created = u64::try_from(catalogue.as_of() - created).unwrap_or_default();
    let updated = created + i64::try_from(rolls.below(since_created + 1)).unwrap_or_default();
    let status = catalogue.pick_in_turn(Kind::Dashboard, index, STATUS_TURNS);
    let widgets = rolls.below(9);
    let record = Record::default()
        .with("id", catalogue.id(Kind::Dashboard, index, ids))
        .with("name", name(catalogue, index))
        .with("description", "")
        .with("status", status)
        .with("is_public", rolls.chance(15))
        .with("widget_count", widgets)
        .with(
            "last_refresh",
            (status != "draft").then(|| instant(updated)),
        )
        .with("created_at", instant(created))
        .with("updated_at", instant(updated))
        // Not in any page: a client must not stumble over fields that it does not know.
        .with(
            "theme",
            json!({"palette": ["#1b2a41", "#ccc9dc"], "dark": index.is_multiple_of(4)}),
        );
    if !is_detail {
        return record;
    }
    let id = catalogue.id_text(Kind::Dashboard, index, ids);
    let widgets: Vec<Record> = (0..widgets)
        .map(|number| widget(number, &mut rolls))
        .collect();
    let configuration = Record::default()
        .with("layout", "grid")
        .with_json("widgets", &super::record::array(&widgets));
    record
        .with("web_url", format!("{base_url}/dashboards/{id}"))
        .with_json("configuration", &configuration.to_json())
        .with("analysis_metadata", json!({"sources": rolls.below(4)}))
}

fn widget(number: u64, rolls: &mut Rolls) -> Record {
    Record::default()
        .with("id", format!("w{number}"))
        .with("type", rolls.pick(&["kpi", "line_chart", "table"]))
        .with_json("value", &format!("{}.10", rolls.below(100_000)))
        .with_json("target", &format!("{}e+4", rolls.below(10)))
}
