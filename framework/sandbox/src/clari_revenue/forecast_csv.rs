//! The CSV result of a forecast export: one line per value, as it is displayed.

use super::calendar::date_of;
use super::forecast::{ForecastData, VALUE_PERIOD, Values};
use super::tenant::{Field, FieldKind, crm_user_id, email, full_name, parent_role_name, role_name};

const HEADER: &str = "User,Email,CRM User ID,Role,Parent Role,Timeframe,Field,Week,Start Day,\
                      End Day,Data Type,Data Value\n";

/// The lines, a piece for every user in every week.
pub(crate) fn pieces(data: ForecastData) -> impl Iterator<Item = String> + Send {
    let users = data.users.clone();
    let weeks = data.weeks.clone();
    let pairs = weeks
        .into_iter()
        .flat_map(move |week| users.clone().map(move |user| (week, user)));
    let lines = pairs.map(move |(week, user)| lines(&data, week, user));
    std::iter::once(HEADER.to_owned()).chain(lines)
}

fn lines(data: &ForecastData, week: i64, user: u64) -> String {
    let seed = data.tenant.seed;
    let number = (week - data.quarter.first_day() + 6).div_euclid(7);
    let person = [
        quoted(&full_name(seed, user)),
        email(seed, user),
        crm_user_id(user),
        role_name(user),
        parent_role_name(user),
        format!(
            "Q{} FY {}",
            data.quarter.number(),
            data.quarter.fiscal_year()
        ),
    ]
    .join(",");
    let days = [week, week + 6].map(|day| date_of(day).strftime("%m/%d/%Y").to_string());
    let days = days.join(",");
    let mut lines = String::new();
    for field in data.fields() {
        let position = (user + data.turn(week, field)) % VALUE_PERIOD;
        for (kind, value) in cells(data, field, &data.values(week, position)) {
            let value = quoted(&value);
            lines += &format!("{person},{},{number},{days},{kind},{value}\n", field.name);
        }
    }
    lines
}

/// The type and the text of each value of a row.
fn cells(data: &ForecastData, field: &Field, values: &Values) -> Vec<(&'static str, String)> {
    let types = data.types;
    let amount = || display(data, values.amount.as_deref());
    if field.kind == FieldKind::Quota {
        return vec![("Quota Value", amount())];
    }
    if field.kind != FieldKind::Forecast {
        return vec![("CRM Total", amount())];
    }
    let mut cells = Vec::new();
    if types.forecast {
        cells.push(("Forecast Value", amount()));
    }
    if types.forecast_updated {
        let is_updated = if values.is_updated { "Yes" } else { "No" };
        cells.push(("Forecast Updated", is_updated.to_owned()));
    }
    if types.adjustment {
        let adjustment = display(data, values.adjustment.as_deref());
        cells.push(("Adjustment Value", adjustment));
    }
    cells
}

/// An amount as people write it, such as `$3,000,190.00`; nothing for null.
fn display(data: &ForecastData, amount: Option<&str>) -> String {
    let Some(amount) = amount else {
        return String::new();
    };
    let (sign, amount) = match amount.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", amount),
    };
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
    let mut grouped = String::new();
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && (whole.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if !data.forecast.is_money {
        return format!("{sign}{grouped}");
    }
    let cents: String = fraction.chars().chain("00".chars()).take(2).collect();
    let symbol = data.currency.1;
    format!("{sign}{symbol}{grouped}.{cents}")
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        let text = text.replace('"', "\"\"");
        return format!("\"{text}\"");
    }
    text.to_owned()
}
