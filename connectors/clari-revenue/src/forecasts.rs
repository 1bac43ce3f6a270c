//! Forecast entries with their users, fields, periods and weeks: one document feeds five streams.

use headwater::{
    Note, Scope, ScopeValue,
    http::{Client, Export, Jobs, Request, Response, Route},
    prelude::*,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    Config, ExportType, History, ServerRetries,
    jobs::{ExportJobs, Job, code},
};

/// Positions among the streams.
const ENTRIES: usize = 0;
const PERIODS: usize = 3;

/// One forecast in one quarter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    forecast: String,
    /// `None` for the current quarter.
    period: Option<String>,
}

pub(crate) struct Forecasts {
    specs: Vec<StreamSpec>,
    config: Config,
    jobs: ExportJobs<Option<Order>>,
}

impl Forecasts {
    /// Expects the specs of entries, users, fields, periods and weeks.
    pub(crate) fn new(client: &Client, config: &Config, specs: Vec<StreamSpec>) -> Self {
        Self {
            specs,
            jobs: ExportJobs::new(client, config, request, is_ours, refusal),
            config: config.clone(),
        }
    }
}

impl Export for Forecasts {
    /// `None` without forecast ids, so that the read can note this.
    type Order = Option<Order>;
    type Bookmark = ();

    fn client(&self) -> &Client {
        &self.jobs.client
    }

    fn spec(&self) -> &StreamSpec {
        &self.specs[0]
    }

    fn companions(&self) -> &[StreamSpec] {
        &self.specs[1..]
    }

    fn lists(&self) -> &'static [(&'static str, usize)] {
        &[
            ("entries", ENTRIES),
            ("users", 1),
            ("fields", 2),
            ("timePeriods", PERIODS),
            ("timeFrames", 4),
        ]
    }

    fn plan(&self, _: Option<()>, _: Timestamp) -> Result<Vec<Option<Order>>> {
        if self.config.forecast_ids.is_empty() {
            return Ok(vec![None]);
        }
        let periods: Vec<Option<String>> = match self.config.fiscal_periods.as_slice() {
            [] => vec![None],
            periods => periods.iter().cloned().map(Some).collect(),
        };
        let mut orders: Vec<Option<Order>> = Vec::new();
        for forecast in &self.config.forecast_ids {
            for period in &periods {
                let order = Some(Order {
                    forecast: forecast.clone(),
                    period: period.clone(),
                });
                if !orders.contains(&order) {
                    orders.push(order);
                }
            }
        }
        Ok(orders)
    }

    fn scope(&self, _: Timestamp) -> Scope {
        let config = &self.config;
        let history = match config.history {
            History::AllWeeks => "all_weeks",
            History::CurrentWeek => "current_week",
        };
        let mut types: Vec<&str> = config.export_types.iter().map(|one| one.name()).collect();
        types.sort_unstable();
        types.dedup();
        let form = |value: &str| ScopeValue::As(value.to_owned());
        Scope::default()
            .option(
                "forecast_ids",
                ScopeValue::these(config.forecast_ids.iter().cloned()),
            )
            .option(
                "fiscal_periods",
                ScopeValue::these(config.fiscal_periods.iter().cloned()),
            )
            .option("history", form(history))
            .option(
                "currency",
                form(config.currency.as_deref().unwrap_or_default()),
            )
            .option("export_types", form(&types.join(", ")))
    }

    fn route(&self, order: &Option<Order>) -> Route {
        let Some(requested) = order else {
            return Route::Nothing(Note {
                code: "no_forecast_ids",
                message: "no forecast was read: the forecast ids are empty; take them from the address of a Forecast Tab"
                    .to_owned(),
            });
        };
        let periods = &self.config.fiscal_periods;
        let is_configured = self.config.forecast_ids.contains(&requested.forecast)
            && match &requested.period {
                Some(period) => periods.contains(period),
                None => periods.is_empty(),
            };
        if !is_configured {
            return Route::Nothing(Note {
                code: "not_asked_for",
                message:
                    "a forecast of an earlier run is no longer in the form and was not continued"
                        .to_owned(),
            });
        }
        match self.config.history {
            History::AllWeeks => Route::Job,
            History::CurrentWeek => Route::Direct(current_week(requested, &self.config)),
        }
    }

    fn range(&self, order: &Option<Order>) -> PartitionRange {
        let title = order.as_ref().map_or_else(
            || "no forecast".to_owned(),
            |order| {
                let period = order.period.as_deref().unwrap_or("the current quarter");
                format!("forecast {}, {period}", order.forecast)
            },
        );
        PartitionRange {
            title,
            ..PartitionRange::default()
        }
    }

    fn field(&self, order: &Option<Order>, stream: usize) -> Option<String> {
        // Two forecasts may share a field, a user and a week: without the id their entries would share a key.
        let forecast = &order.as_ref()?.forecast;
        (stream == ENTRIES).then(|| format!("\"forecastId\":{}", Value::from(forecast.as_str())))
    }

    fn inspect(&self, order: &Option<Order>, stream: usize, record: &[u8]) -> Result<()> {
        let period = order.as_ref().and_then(|order| order.period.as_deref());
        match period {
            Some(period) if stream == ENTRIES || stream == PERIODS => {
                is_of_period(record, stream, period)
            }
            _ => Ok(()),
        }
    }

    fn refusal(&self, order: &Option<Order>, request: &Request, response: &Response) -> Error {
        refusal(order, &self.jobs.client, request, response)
    }

    fn jobs(&self) -> &dyn Jobs<Option<Order>> {
        &self.jobs
    }
}

/// The parameters that exports and the current week share.
fn parameters(order: &Order, config: &Config) -> Map<String, Value> {
    let mut body = Map::new();
    if let Some(period) = &order.period {
        body.insert("timePeriod".to_owned(), period.as_str().into());
    }
    let types: Vec<&str> = config
        .export_types
        .iter()
        .map(|one: &ExportType| one.name())
        .collect();
    body.insert("typesToExport".to_owned(), json!(types));
    if let Some(currency) = &config.currency {
        body.insert("currency".to_owned(), currency.as_str().into());
    }
    body
}

fn request(order: &Option<Order>, config: &Config) -> Request {
    // Without an order there is no request; see `route`.
    let empty = Order {
        forecast: String::new(),
        period: None,
    };
    let order = order.as_ref().unwrap_or(&empty);
    let mut body = parameters(order, config);
    body.insert("exportFormat".to_owned(), "JSON".into());
    body.insert("includeHistorical".to_owned(), true.into());
    let schedule = match config.server_retries {
        ServerRetries::None => "NONE",
        ServerRetries::Once => "ONCE",
        ServerRetries::Max => "MAX",
    };
    body.insert("schedule".to_owned(), schedule.into());
    Request::post(
        format!("/export/forecast/{}", order.forecast),
        &Value::Object(body),
    )
}

fn current_week(order: &Order, config: &Config) -> Request {
    let mut request =
        Request::get(format!("/forecast/{}", order.forecast)).accept(&[400, 401, 404]);
    for (name, value) in parameters(order, config) {
        request = match (name.as_str(), value) {
            ("timePeriod", Value::String(period)) => request.query("timePeriod", period),
            ("currency", Value::String(currency)) => request.query("currency", currency),
            (_, Value::Array(types)) => types
                .iter()
                .filter_map(Value::as_str)
                .fold(request, |request, one| request.query("typesToExport", one)),
            _ => request,
        };
    }
    request
}

/// Matches the result's file name, which contains forecast and quarter: `clari_export_forecast_net_arr_2026_Q4…`.
fn is_ours(order: &Option<Order>, job: &Job) -> bool {
    let (Some(order), Some(file)) = (order, &job.file_name) else {
        return false;
    };
    let Some(rest) = file.strip_prefix(&format!("clari_export_forecast_{}_", order.forecast))
    else {
        return false;
    };
    match &order.period {
        Some(period) => rest.starts_with(period.as_str()),
        None => {
            let rest = rest.as_bytes();
            rest.len() > 6 && rest[..4].iter().all(u8::is_ascii_digit) && &rest[4..6] == b"_Q"
        }
    }
}

pub(crate) fn refusal(
    order: &Option<Order>,
    client: &Client,
    request: &Request,
    response: &Response,
) -> Error {
    let forecast = order.as_ref().map_or("", |order| order.forecast.as_str());
    let detail = client
        .said(&response.body)
        .map(|message| format!(": {message}"))
        .unwrap_or_default();
    let (kind, text) = match (response.status.as_u16(), code(response).as_str()) {
        (401, "no_optin") => (
            Kind::PermissionDenied,
            format!(
                "the key is valid, but its user is not opted in to the forecast {forecast}; opt the user in at Clari, or \
                 remove the forecast from the forecast ids"
            ),
        ),
        (404, _) | (400, "no_such_forecast_config" | "missing_forecast_id") => (
            Kind::ConfigInvalid,
            format!(
                "Clari has no forecast {forecast}; take the id from the address of its Forecast Tab{detail}"
            ),
        ),
        (400, "type_not_supported") => (
            Kind::ConfigInvalid,
            format!(
                "Clari does not export these values for {forecast}; leave out the CRM values, or read the current week \
                 only{detail}"
            ),
        ),
        (400, _) => (
            Kind::ConfigInvalid,
            format!("Clari does not accept these options for the forecast {forecast}{detail}"),
        ),
        _ => return client.refusal(request, response),
    };
    Error::new(kind, text).with("status", response.status.as_u16())
}

/// Checks the quarter of a record: for an unknown quarter Clari silently returns the current one.
fn is_of_period(record: &[u8], stream: usize, period: &str) -> Result<()> {
    #[derive(Deserialize)]
    struct TimeFrameRef {
        #[serde(rename = "timePeriodId")]
        period: Option<String>,
        r#type: Option<String>,
    }
    let quoted = format!("\"{period}\"");
    if std::str::from_utf8(record).is_ok_and(|text| text.contains(&quoted)) {
        return Ok(());
    }
    let dated: Option<TimeFrameRef> = serde_json::from_slice(record).ok();
    let (found, kind) = dated.map_or((None, None), |dated| (dated.period, dated.r#type));
    let is_other_kind = stream == PERIODS && kind.as_deref().is_some_and(|kind| kind != "quarter");
    if found.as_deref() == Some(period) || is_other_kind {
        return Ok(());
    }
    let found: String = found.unwrap_or_default().chars().take(20).collect();
    let text = format!(
        "Clari returned {found:?} instead of {period}, as it does for a quarter without data; no record was taken. Correct \
         the fiscal periods"
    );
    Err(Error::new(Kind::DataInvalid, text))
}
