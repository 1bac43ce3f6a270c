//! The JSON result of a forecast export, made while it is sent.
//!
//! Every row is a head that depends on its week and field, the id of its user, and a tail that
//! repeats after some users. All heads and tails are made once, so that a row costs no more than
//! copying it, and the length of gigabytes is known before the first byte.

use std::ops::Range;

use bytes::Bytes;

use super::forecast::{ForecastData, VALUE_PERIOD, Values, time_frame_id};
use super::tenant::{Field, FieldKind, USER_ID_LENGTH, USER_PERIOD, user_id_bytes, user_record};

/// The approximate size of a chunk in bytes.
const CHUNK: usize = 128 * 1024;

/// A result that is made chunk by chunk.
#[derive(Debug)]
pub(crate) struct ForecastJson {
    data: ForecastData,
    weeks: Vec<WeekText>,
    next: Part,
}

/// The next row.
#[derive(Clone, Copy, Debug)]
enum Part {
    Start,
    Entries { week: usize, user: u64 },
    Users { user: u64 },
    End,
    Done,
}

/// The texts of one week.
#[derive(Debug)]
struct WeekText {
    fields: Vec<FieldText>,
    /// By [`kind_index`] and position in the period.
    tails: [Vec<Vec<u8>>; 3],
}

#[derive(Debug)]
struct FieldText {
    head: Vec<u8>,
    kind: usize,
    turn: u64,
}

impl ForecastJson {
    pub(crate) fn new(data: ForecastData) -> Self {
        let weeks = data
            .weeks
            .iter()
            .map(|week| WeekText::new(&data, *week))
            .collect();
        Self {
            data,
            weeks,
            next: Part::Start,
        }
    }

    /// The length of the whole result in bytes.
    pub(crate) fn length(&self) -> u64 {
        let users = &self.data.users;
        let user_count = users.end - users.start;
        let mut length = 0;
        let mut rows = 0;
        for week in &self.weeks {
            for field in &week.fields {
                let tails = week.tails.get(field.kind).map(Vec::as_slice);
                let lengths = tails.unwrap_or_default().iter().map(Vec::len);
                let positions = users.start + field.turn..users.end + field.turn;
                length += user_count * (field.head.len() + USER_ID_LENGTH) as u64;
                length += sum_of_period(lengths, positions);
                rows += user_count;
            }
        }
        length += rows.saturating_sub(1);
        length += self.length_of_users() + user_count.saturating_sub(1);
        length + (START.len() + BEFORE_USERS.len() + self.end().len()) as u64
    }

    fn length_of_users(&self) -> u64 {
        let seed = self.data.tenant.seed;
        let users = &self.data.users;
        // The head of all is not like the others.
        let head = match users.contains(&0) {
            true => user_record(seed, 0).len() as u64,
            false => 0,
        };
        // Number 0 of the period has the length of the number one period later.
        let lengths = (0..USER_PERIOD).map(|user| user_record(seed, user + USER_PERIOD).len());
        head + sum_of_period(lengths, users.start.max(1)..users.end.max(1))
    }

    fn end(&self) -> String {
        let fields: Vec<String> = self.data.fields().map(field_record).collect();
        let weeks = self.data.weeks.iter().copied();
        let frames: Vec<String> = weeks.map(ForecastData::week_record).collect();
        format!(
            "],\"fields\":[{}],\"timePeriods\":[{}],\"timeFrames\":[{}]}}",
            fields.join(","),
            self.data.period_record(),
            frames.join(",")
        )
    }

    fn write_entries(&self, mut week: usize, mut user: u64, chunk: &mut Vec<u8>) -> Part {
        let users = &self.data.users;
        while let Some(text) = self.weeks.get(week) {
            while user < users.end {
                if chunk.len() >= CHUNK {
                    return Part::Entries { week, user };
                }
                text.write_rows(user, week == 0 && user == users.start, chunk);
                user += 1;
            }
            week += 1;
            user = users.start;
        }
        chunk.extend_from_slice(BEFORE_USERS);
        Part::Users { user: users.start }
    }

    fn write_users(&self, mut user: u64, chunk: &mut Vec<u8>) -> Part {
        let users = &self.data.users;
        while user < users.end {
            if chunk.len() >= CHUNK {
                return Part::Users { user };
            }
            if user > users.start {
                chunk.push(b',');
            }
            chunk.extend_from_slice(user_record(self.data.tenant.seed, user).as_bytes());
            user += 1;
        }
        Part::End
    }
}

const START: &[u8] = b"{\"entries\":[";
const BEFORE_USERS: &[u8] = b"],\"users\":[";

impl Iterator for ForecastJson {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut chunk = Vec::with_capacity(CHUNK + CHUNK / 16);
        while chunk.len() < CHUNK {
            self.next = match self.next {
                Part::Start => {
                    chunk.extend_from_slice(START);
                    let user = self.data.users.start;
                    Part::Entries { week: 0, user }
                }
                Part::Entries { week, user } => self.write_entries(week, user, &mut chunk),
                Part::Users { user } => self.write_users(user, &mut chunk),
                Part::End => {
                    chunk.extend_from_slice(self.end().as_bytes());
                    Part::Done
                }
                Part::Done => break,
            };
        }
        (!chunk.is_empty()).then(|| chunk.into())
    }
}

impl WeekText {
    fn new(data: &ForecastData, week: i64) -> Self {
        let fields = data
            .fields()
            .map(|field| FieldText {
                head: head(data, week, field).into_bytes(),
                kind: kind_index(field.kind),
                turn: data.turn(week, field),
            })
            .collect();
        let kinds = [FieldKind::Forecast, FieldKind::Quota, FieldKind::CrmTotal];
        let tails = kinds.map(|kind| {
            if !data
                .fields()
                .any(|field| kind_index(field.kind) == kind_index(kind))
            {
                return Vec::new();
            }
            (0..VALUE_PERIOD)
                .map(|position| tail(data, kind, &data.values(week, position)).into_bytes())
                .collect()
        });
        Self { fields, tails }
    }

    /// Writes the rows of one user.
    fn write_rows(&self, user: u64, is_first: bool, chunk: &mut Vec<u8>) {
        let user_id = user_id_bytes(user);
        for (position, field) in self.fields.iter().enumerate() {
            if position > 0 || !is_first {
                chunk.push(b',');
            }
            chunk.extend_from_slice(&field.head);
            chunk.extend_from_slice(&user_id);
            let position = usize::try_from((user + field.turn) % VALUE_PERIOD).unwrap_or_default();
            let tail = self
                .tails
                .get(field.kind)
                .and_then(|tails| tails.get(position));
            chunk.extend_from_slice(tail.map(Vec::as_slice).unwrap_or_default());
        }
    }
}

fn kind_index(kind: FieldKind) -> usize {
    match kind {
        FieldKind::Forecast => 0,
        FieldKind::Quota => 1,
        FieldKind::CrmTotal | FieldKind::CrmClosed => 2,
    }
}

/// The sum over some positions of a list that repeats for ever.
fn sum_of_period(period: impl Iterator<Item = usize>, positions: Range<u64>) -> u64 {
    let values: Vec<u64> = period.map(|value| value as u64).collect();
    let length = (values.len() as u64).max(1);
    let whole: u64 = values.iter().sum();
    let until = |position: u64| {
        let rest = usize::try_from(position % length).unwrap_or_default();
        position / length * whole + values.iter().take(rest).sum::<u64>()
    };
    until(positions.end) - until(positions.start)
}

fn head(data: &ForecastData, week: i64, field: &Field) -> String {
    format!(
        "{{\"fieldId\":\"{}\",\"timePeriodId\":\"{}\",\"timeFrameId\":\"{}\",\"userId\":\"",
        field.id,
        data.quarter.id(),
        time_frame_id(week)
    )
}

/// The rest of a row after the user: only the requested values.
fn tail(data: &ForecastData, kind: FieldKind, values: &Values) -> String {
    let null = || "null".to_owned();
    let amount = values.amount.clone().unwrap_or_else(null);
    let mut tail = "\"".to_owned();
    match kind {
        FieldKind::Quota => tail += &format!(",\"quotaValue\":{amount}"),
        FieldKind::CrmTotal | FieldKind::CrmClosed => {
            tail += &format!(",\"aggregationTotal\":{amount}");
        }
        FieldKind::Forecast if data.types.forecast => {
            tail += &format!(",\"forecastValue\":{amount}");
        }
        FieldKind::Forecast => {}
    }
    if data.forecast.is_money {
        let (code, symbol) = data.currency;
        tail += &format!(",\"currency\":{{\"code\":\"{code}\",\"symbol\":\"{symbol}\"}}");
    }
    if kind == FieldKind::Forecast && data.types.forecast_updated {
        let Values {
            is_updated,
            updated_by,
            moment,
            ..
        } = values;
        tail += &match is_updated {
            true => {
                format!(",\"isUpdated\":true,\"updatedBy\":\"{updated_by}\",\"updatedOn\":{moment}")
            }
            false => ",\"isUpdated\":false,\"updatedBy\":null,\"updatedOn\":null".to_owned(),
        };
    }
    if kind == FieldKind::Forecast
        && data.types.adjustment
        && let Some(adjustment) = &values.adjustment
    {
        let Values {
            updated_by, moment, ..
        } = values;
        tail += &format!(
            ",\"adjustmentValue\":{adjustment},\"adjustedBy\":\"{updated_by}\",\"adjustedOn\":{moment}"
        );
    }
    tail + "}"
}

fn field_record(field: &Field) -> String {
    format!(
        "{{\"fieldId\":\"{}\",\"fieldName\":\"{}\",\"fieldType\":\"{}\"}}",
        field.id,
        field.name,
        field.kind.name()
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::forecast::find_forecast;
    use super::super::forecast_request::ForecastRequest;
    use super::super::tenant::Tenant;
    use super::*;
    use crate::query::Query;

    /// The result for a query at one day.
    fn result(entries: u64, query: &str) -> ForecastJson {
        let request = ForecastRequest::parse(&Query::parse(query), b"").unwrap();
        let tenant = Tenant::new(9, entries);
        let forecast = find_forecast("net_arr").unwrap();
        let data = ForecastData::select(tenant, forecast, &request, 20_000, 0).unwrap();
        ForecastJson::new(data)
    }

    #[test]
    fn the_announced_length_is_that_of_the_json() {
        for entries in [0, 10, 200, 2_000, 50_000] {
            for query in [
                "",
                "includeHistorical=true",
                "includeHistorical=true&scopeId=1000001::MGR",
                "scopeId=1000001::MGR&typesToExport=quota",
                "typesToExport=forecast&typesToExport=adjustment&typesToExport=crm_total\
                 &typesToExport=crm_closed&typesToExport=quota&typesToExport=forecast_updated",
                "typesToExport=forecast_updated&currency=EUR",
            ] {
                let result = result(entries, query);
                let length = result.length();
                let bytes: Vec<u8> = result.flatten().collect();
                assert_eq!(bytes.len() as u64, length, "{entries} {query}");
                let parsed: Value = serde_json::from_slice(&bytes).unwrap();
                assert_eq!(parsed.as_object().unwrap().len(), 5);
            }
        }
    }

    #[test]
    fn a_huge_result_is_made_lazily() {
        let mut result = result(100_000_000, "includeHistorical=true");
        assert!(result.length() > 10_000_000_000, "{}", result.length());
        for _ in 0..3 {
            let chunk = result.next().unwrap();
            assert!(chunk.len() < 2 * CHUNK);
        }
    }
}
