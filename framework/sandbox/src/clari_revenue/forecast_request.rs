//! The options of a forecast export, from the parameters and the body of a request.

use serde_json::{Map, Value, json};

use super::tenant::FieldKind;
use crate::query::Query;

/// The requested values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Types {
    pub(crate) forecast: bool,
    pub(crate) quota: bool,
    pub(crate) forecast_updated: bool,
    pub(crate) adjustment: bool,
    pub(crate) crm_total: bool,
    pub(crate) crm_closed: bool,
}

impl Types {
    /// Whether fields of a kind have rows.
    pub(crate) fn show(self, kind: FieldKind) -> bool {
        match kind {
            FieldKind::Forecast => self.forecast || self.forecast_updated || self.adjustment,
            FieldKind::Quota => self.quota,
            FieldKind::CrmTotal => self.crm_total,
            FieldKind::CrmClosed => self.crm_closed,
        }
    }

    pub(crate) fn of_crm(self) -> bool {
        self.crm_total || self.crm_closed
    }

    fn switch_on(&mut self, name: &str) -> bool {
        let known = match name {
            "forecast" => &mut self.forecast,
            "quota" => &mut self.quota,
            "forecast_updated" => &mut self.forecast_updated,
            "adjustment" => &mut self.adjustment,
            "crm_total" => &mut self.crm_total,
            "crm_closed" => &mut self.crm_closed,
            _ => return false,
        };
        *known = true;
        true
    }
}

/// The format of a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Json,
    Csv,
}

impl Format {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Csv => "CSV",
        }
    }
}

/// A currency: its code and its sign.
pub(crate) type Currency = (&'static str, &'static str);

/// The currencies of the tenant, its own one first.
const CURRENCIES: &[Currency] = &[
    ("USD", "$"),
    ("EUR", "€"),
    ("GBP", "£"),
    ("JPY", "¥"),
    ("AUD", "A$"),
    ("INR", "₹"),
];

/// The options of a forecast export.
#[derive(Clone, Debug)]
pub(crate) struct ForecastRequest {
    pub(crate) time_period: Option<String>,
    pub(crate) types: Types,
    pub(crate) scope_id: Option<String>,
    pub(crate) currency: Currency,
    pub(crate) format: Format,
    pub(crate) include_historical: bool,
    /// The number of retries by the server.
    pub(crate) retries: u32,
    /// The parameters of the request, to be shown to tests.
    pub(crate) parameters: Value,
}

const NAMES: [&str; 7] = [
    "timePeriod",
    "typesToExport",
    "scopeId",
    "currency",
    "exportFormat",
    "includeHistorical",
    "schedule",
];

impl ForecastRequest {
    /// Reads the options; the body overrides the parameters. The error is the message of a
    /// `bad_request`.
    pub(crate) fn parse(query: &Query, body: &[u8]) -> Result<Self, String> {
        let parameters = parameters(query, body)?;
        let format = match text(&parameters, "exportFormat")? {
            None | Some("JSON") => Format::Json,
            Some("CSV") => Format::Csv,
            Some(_) => return Err("The exportFormat parameter is invalid.".into()),
        };
        let retries = match text(&parameters, "schedule")? {
            None | Some("NONE") => 0,
            Some("ONCE") => 1,
            Some("MAX") => 3,
            Some(_) => return Err("The schedule parameter is invalid.".into()),
        };
        let currency = match text(&parameters, "currency")? {
            None => CURRENCIES.first(),
            Some(code) => CURRENCIES.iter().find(|(known, _)| *known == code),
        };
        Ok(Self {
            time_period: text(&parameters, "timePeriod")?.map(str::to_owned),
            types: types(&parameters)?,
            scope_id: text(&parameters, "scopeId")?.map(str::to_owned),
            currency: *currency.ok_or("The currency parameter is invalid.")?,
            format,
            include_historical: boolean(&parameters, "includeHistorical")?,
            retries,
            parameters: Value::Object(parameters),
        })
    }
}

/// The known options, those of the body over those of the query; null counts as absent.
fn parameters(query: &Query, body: &[u8]) -> Result<Map<String, Value>, String> {
    let mut parameters = Map::new();
    for name in NAMES.into_iter().filter(|name| *name != "schedule") {
        let values = query.all(name);
        let Some(first) = values.first() else {
            continue;
        };
        let value = match (name, first.as_str()) {
            ("typesToExport", _) => json!(values),
            ("includeHistorical", "true") => true.into(),
            ("includeHistorical", "false") => false.into(),
            (_, first) => first.into(),
        };
        parameters.insert(name.to_owned(), value);
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(parameters);
    }
    let Ok(Value::Object(mut body)) = serde_json::from_slice(body) else {
        return Err("The request body is malformed.".into());
    };
    for name in NAMES {
        if let Some(value) = body.remove(name).filter(|value| !value.is_null()) {
            parameters.insert(name.to_owned(), value);
        }
    }
    Ok(parameters)
}

fn text<'a>(parameters: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, String> {
    let Some(value) = parameters.get(name) else {
        return Ok(None);
    };
    let text = value.as_str().ok_or_else(|| malformed(name))?;
    Ok(Some(text))
}

fn boolean(parameters: &Map<String, Value>, name: &str) -> Result<bool, String> {
    let Some(value) = parameters.get(name) else {
        return Ok(false);
    };
    value.as_bool().ok_or_else(|| malformed(name))
}

fn types(parameters: &Map<String, Value>) -> Result<Types, String> {
    let mut types = Types::default();
    let Some(list) = parameters.get("typesToExport") else {
        types.forecast = true;
        types.forecast_updated = true;
        return Ok(types);
    };
    let list = list.as_array().ok_or_else(|| malformed("typesToExport"))?;
    let unknown: Vec<&Value> = list
        .iter()
        .filter(|value| !value.as_str().is_some_and(|name| types.switch_on(name)))
        .collect();
    if !unknown.is_empty() {
        let unknown = json!(unknown);
        return Err(format!("These typesToExport values are invalid: {unknown}"));
    }
    Ok(types)
}

fn malformed(name: &str) -> String {
    format!("The request body is malformed: {name} has another type.")
}
