//! The nine streams and their API endpoints.

use std::{ops::Range, sync::Arc};

use headwater::{
    Scope, ScopeValue,
    http::{ChildStream, Client, OffsetPaging, Records, Request, RestStream, WindowedList},
    prelude::*,
};
use serde::Deserialize;

use crate::records::{
    Account, Call, CallDetails, Contact, Deal, Scorecard, ScorecardTemplate, Topic, User,
};

pub(crate) const USERS: Records = Records::Lists(&["/users"]);
pub(crate) const CALLS: Records = Records::Lists(&["/calls"]);
pub(crate) const TOPICS: Records = Records::Lists(&["/topics"]);
pub(crate) const SCORECARDS: Records = Records::Lists(&["/scorecards"]);
/// The service uses the first spelling, its document the second.
pub(crate) const TEMPLATES: Records =
    Records::Lists(&["/scorecardTemplates", "/scoreCardTemplates"]);

/// The service answers every request for a page over 6 MB with 502; the vendor recommends 25, and 1 always fits.
const SIZES: &[u32] = &[100, 50, 25, 10, 1];
/// The documented maximum of `skip`.
const CAP: u64 = 10_000;
/// For calls that become visible late, and for clocks that differ.
const CALL_OVERLAP: SignedDuration = SignedDuration::from_mins(10);
/// A scorecard has no time, and the document does not say whether its time filter means the scoring or the call. People
/// score days after a call, so each pass reads a month again and leaves out delivered scorecards.
const SCORECARD_OVERLAP: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Reading options of the form.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    start: Timestamp,
    /// Whether the form has a start date.
    has_start: bool,
    include_private: bool,
}

impl Options {
    pub(crate) fn new(start: Option<Date>, include_private: bool) -> Result<Self> {
        let midnight = |date: Date| {
            date.at(0, 0, 0, 0)
                .to_zoned(TimeZone::UTC)
                .map(|zoned| zoned.timestamp())
        };
        let has_start = start.is_some();
        let start = start.map_or(Ok(beginning()), midnight).map_err(|error| {
            Error::new(Kind::ConfigInvalid, "the start date is out of range").caused_by(error)
        })?;
        Ok(Self {
            start,
            has_start,
            include_private,
        })
    }

    /// Returns the scope of the start date.
    fn scope(&self) -> Scope {
        match self.has_start {
            true => Scope::since(self.start),
            false => Scope::default(),
        }
    }
}

/// Returns 2015-01-01T00:00:00Z, years before the product's first call. A window needs a start to be split.
fn beginning() -> Timestamp {
    Timestamp::from_second(1_420_070_400).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Returns the streams as known without credentials, in the order of reading.
pub(crate) fn specs() -> Vec<StreamSpec> {
    let full = |name, description, key, schema| StreamSpec {
        name,
        description,
        key,
        cursor: None,
        incremental: false,
        schema,
    };
    let changes = |name, description, key, schema| StreamSpec {
        incremental: true,
        ..full(name, description, key, schema)
    };
    let since = |name, description, schema| StreamSpec {
        cursor: Some("last_modified_time"),
        ..changes(name, description, &["id"], schema)
    };
    vec![
        full(
            "users",
            "Current users of the workspace.",
            &["id"],
            record_schema::<User>,
        ),
        since(
            "calls",
            "Scheduled and recorded calls, without transcripts.",
            record_schema::<Call>,
        ),
        since(
            "call_details",
            "Calls with transcript, summary and competitor sentiments.",
            record_schema::<CallDetails>,
        ),
        changes(
            "topics",
            "Topics searched for in calls.",
            &["topic_id"],
            record_schema::<Topic>,
        ),
        changes(
            "scorecards",
            "Completed scorecards.",
            &["id"],
            record_schema::<Scorecard>,
        ),
        full(
            "scorecard_templates",
            "Scorecard questions.",
            &["id"],
            record_schema::<ScorecardTemplate>,
        ),
        changes(
            "accounts",
            "CRM accounts linked to calls.",
            &["crm_id"],
            record_schema::<Account>,
        ),
        changes(
            "contacts",
            "CRM contacts linked to calls.",
            &["crm_id"],
            record_schema::<Contact>,
        ),
        changes(
            "deals",
            "CRM deals linked to calls.",
            &["crm_id"],
            record_schema::<Deal>,
        ),
    ]
}

pub(crate) fn open(client: &Client, options: &Options) -> Vec<Arc<dyn AnyStream>> {
    specs()
        .into_iter()
        .map(|spec| stream(client, options, spec))
        .collect()
}

/// Returns the ids of the workspace's users.
pub(crate) async fn user_ids(client: &Client) -> Result<Vec<String>> {
    let response = client.send(&Request::get("/users")).await?;
    let split = client.split(&response.body, USERS, &[])?;
    let users = split.records.into_iter();
    // A user without an id identifies no account.
    let id = |span: Range<usize>| ids(&response.body[span]).ok()?.id?.into_text();
    Ok(users.filter_map(id).collect())
}

fn stream(client: &Client, options: &Options, spec: StreamSpec) -> Arc<dyn AnyStream> {
    let parents = |spec: &StreamSpec| calls(client, options, spec.clone());
    match spec.name {
        "users" => Arc::new(RestStream::new(client, spec, "/users", USERS)),
        "calls" => Arc::new(parents(&spec)),
        "call_details" => {
            let request = |id: &str| Request::get("/call-details").query("id", id);
            Arc::new(
                ChildStream::new(
                    parents(&spec),
                    spec,
                    call_id,
                    request,
                    Records::One("/call"),
                )
                .changed_at("last_modified_time")
                .one_at_most(),
            )
        }
        "topics" => Arc::new(topics(client, spec)),
        "scorecards" => Arc::new(scorecards(client, options, spec)),
        "scorecard_templates" => Arc::new(RestStream::new(
            client,
            spec,
            "/scorecard-template",
            TEMPLATES,
        )),
        "accounts" => {
            let request = |id: &str| Request::get("/get-account").query("id", id);
            Arc::new(
                ChildStream::new(parents(&spec), spec, account_ids, request, Records::One(""))
                    .once()
                    .one_at_most(),
            )
        }
        "contacts" => {
            let request = |id: &str| Request::get("/get-contact").query("id", id);
            Arc::new(
                ChildStream::new(parents(&spec), spec, contact_ids, request, Records::One(""))
                    .once(),
            )
        }
        _ => {
            let request = |id: &str| Request::get("/get-deal").query("id", id);
            Arc::new(
                ChildStream::new(parents(&spec), spec, deal_ids, request, Records::One(""))
                    .once()
                    .one_at_most(),
            )
        }
    }
}

fn calls(client: &Client, options: &Options, spec: StreamSpec) -> WindowedList {
    let bounds = ("filterModifiedGt", "filterModifiedLt");
    WindowedList::new(
        client,
        spec,
        "/calls",
        CALLS,
        bounds,
        options.start,
        CALL_OVERLAP,
    )
    .query("sortTime", "asc")
    .query("includePrivate", options.include_private)
    // The API returns calls with private calls, never private calls alone.
    .scope(
        options
            .scope()
            .option("include_private", ScopeValue::On(options.include_private)),
    )
    // According to the vendor, counting slows the list down; only both ends of a window need the total.
    .paging(OffsetPaging {
        without_total: Some(("includePagination", "false")),
        ..skip_and_limit()
    })
}

fn scorecards(client: &Client, options: &Options, spec: StreamSpec) -> WindowedList {
    let bounds = ("filterTimeGt", "filterTimeLt");
    WindowedList::new(
        client,
        spec,
        "/scorecard",
        SCORECARDS,
        bounds,
        options.start,
        SCORECARD_OVERLAP,
    )
    .scope(options.scope())
    .paging(skip_and_limit())
}

/// Topics are few and come in one response. The start date applies to calls only.
fn topics(client: &Client, spec: StreamSpec) -> WindowedList {
    let bounds = ("filterModifiedGt", "filterModifiedLt");
    WindowedList::new(
        client,
        spec,
        "/v2/topics",
        TOPICS,
        bounds,
        beginning(),
        CALL_OVERLAP,
    )
}

const fn skip_and_limit() -> OffsetPaging {
    OffsetPaging {
        skip: "skip",
        limit: "limit",
        sizes: SIZES,
        cap: CAP,
        total: "/pagination/matched",
        without_total: None,
    }
}

/// The ids in a call, parsed without its other fields.
#[derive(Default, Deserialize)]
struct CallIds {
    id: Option<Id>,
    crm_info: Option<CrmIds>,
}

#[derive(Default, Deserialize)]
struct CrmIds {
    account_id: Option<Id>,
    deal_id: Option<Id>,
    contact_ids: Option<Vec<Id>>,
}

/// Documented as text. A number passes too, with unchanged digits.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(serde_json::Number),
}

impl Id {
    fn into_text(self) -> Option<String> {
        match self {
            Self::Text(text) => (!text.is_empty()).then_some(text),
            Self::Number(number) => Some(number.to_string()),
        }
    }
}

fn ids(call: &[u8]) -> Result<CallIds> {
    serde_json::from_slice(call).map_err(|_| {
        Error::new(
            Kind::DataInvalid,
            "a call has an id that is neither text nor a number",
        )
    })
}

fn crm_ids(call: &[u8]) -> Result<CrmIds> {
    Ok(ids(call)?.crm_info.unwrap_or_default())
}

fn call_id(call: &[u8]) -> Result<Vec<String>> {
    match ids(call)?.id.and_then(Id::into_text) {
        Some(id) => Ok(vec![id]),
        None => Err(Error::new(
            Kind::DataInvalid,
            "a call has no id, so its details cannot be requested",
        )),
    }
}

fn account_ids(call: &[u8]) -> Result<Vec<String>> {
    Ok(crm_ids(call)?
        .account_id
        .and_then(Id::into_text)
        .into_iter()
        .collect())
}

fn deal_ids(call: &[u8]) -> Result<Vec<String>> {
    Ok(crm_ids(call)?
        .deal_id
        .and_then(Id::into_text)
        .into_iter()
        .collect())
}

fn contact_ids(call: &[u8]) -> Result<Vec<String>> {
    Ok(crm_ids(call)?
        .contact_ids
        .unwrap_or_default()
        .into_iter()
        .filter_map(Id::into_text)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_wherever_calls_name_them() {
        let call = br#"{"id":"c1","crm_info":{"account_id":"a1","deal_id":"","contact_ids":["p1",12345678901234567890]}}"#;
        assert_eq!(call_id(call).unwrap(), ["c1"]);
        assert_eq!(account_ids(call).unwrap(), ["a1"]);
        assert_eq!(deal_ids(call).unwrap(), [""; 0]);
        assert_eq!(contact_ids(call).unwrap(), ["p1", "12345678901234567890"]);
        assert_eq!(
            account_ids(br#"{"id":"c2","crm_info":null}"#).unwrap(),
            [""; 0]
        );
        assert!(call_id(br#"{"title":"no id"}"#).is_err());
        assert!(account_ids(br#"{"crm_info":{"account_id":{}}}"#).is_err());
    }

    #[test]
    fn a_start_date_is_midnight_utc() {
        let options = Options::new(Some("2026-01-31".parse().unwrap()), false).unwrap();
        assert_eq!(options.start.to_string(), "2026-01-31T00:00:00Z");
        assert_eq!(beginning().to_string(), "2015-01-01T00:00:00Z");
    }
}
