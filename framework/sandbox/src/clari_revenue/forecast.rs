//! The result of a forecast export: which rows it has, and the values in them.

use std::ops::Range;

use super::calendar::{DAY_MILLISECONDS, Quarter, date_of};
use super::forecast_request::{Currency, ForecastRequest, Types};
use super::tenant::{FORECASTS, Field, FieldKind, Forecast, Tenant, person, user_id};
use crate::random::{Purpose, Rolls, mix};

/// The number of quarters with data, the current one included.
const QUARTERS_OF_DATA: i64 = 8;

/// The number of users after which values repeat, with other values for every field and week.
pub(crate) const VALUE_PERIOD: u64 = 97;

/// The inputs of a result.
#[derive(Clone, Debug)]
pub(crate) struct ForecastData {
    pub(crate) tenant: Tenant,
    pub(crate) forecast: &'static Forecast,
    pub(crate) quarter: Quarter,
    /// The first days of the weeks, in the order of the result.
    pub(crate) weeks: Vec<i64>,
    pub(crate) users: Range<u64>,
    pub(crate) types: Types,
    pub(crate) currency: Currency,
    /// The week that is still open and how often its values changed.
    pub(crate) open_week: (i64, u64),
}

pub(crate) fn find_forecast(id: &str) -> Option<&'static Forecast> {
    FORECASTS.iter().find(|forecast| forecast.id == id)
}

/// The quarters that have data, the newest first.
pub(crate) fn quarters(today: i64) -> impl Iterator<Item = Quarter> {
    let current = Quarter::of_day(today);
    (0..QUARTERS_OF_DATA).map(move |quarters| current.earlier(quarters))
}

impl ForecastData {
    /// `None` when the scope does not exist. An unknown quarter, and one without data, silently
    /// means the current one (seen by users of the API).
    pub(crate) fn select(
        tenant: Tenant,
        forecast: &'static Forecast,
        request: &ForecastRequest,
        today: i64,
        revision: u64,
    ) -> Option<Self> {
        let users = match &request.scope_id {
            None => tenant.all_users(),
            Some(scope) => tenant.users_of_scope(scope)?,
        };
        let asked = request.time_period.as_deref().and_then(Quarter::parse);
        let quarter = asked
            .filter(|asked| quarters(today).any(|quarter| quarter == *asked))
            .unwrap_or_else(|| Quarter::of_day(today));
        let in_order = quarter.weeks(today);
        let weeks = if request.include_historical {
            shuffled(&in_order)
        } else {
            in_order.last().copied().into_iter().collect()
        };
        let open_week = Quarter::of_day(today).weeks(today).last().copied();
        Some(Self {
            tenant,
            forecast,
            quarter,
            weeks,
            users,
            types: request.types,
            currency: request.currency,
            open_week: (open_week.unwrap_or(today), revision),
        })
    }

    /// The full history of a quarter, by default of the current one; `None` for a quarter without
    /// data.
    pub(crate) fn all_weeks(
        tenant: Tenant,
        forecast: &'static Forecast,
        period: Option<&str>,
        types: Types,
        today: i64,
    ) -> Option<Self> {
        let quarter = match period {
            None => Quarter::of_day(today),
            Some(id) => quarters(today).find(|quarter| quarter.id() == id)?,
        };
        Some(Self {
            tenant,
            forecast,
            quarter,
            weeks: quarter.weeks(today),
            users: tenant.all_users(),
            types,
            currency: ("USD", "$"),
            open_week: (today, 0),
        })
    }

    /// How many rows there are.
    pub(crate) fn count(&self) -> u64 {
        let users = self.users.end - self.users.start;
        (self.weeks.len() * self.fields().count()) as u64 * users
    }

    /// The key of every row.
    pub(crate) fn entry_keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        for frame in self.frame_keys() {
            for user in self.users.clone().map(user_id) {
                let fields = self.fields();
                keys.extend(fields.map(|field| format!("{frame}|{user}|{}", field.id)));
            }
        }
        keys
    }

    /// The period and the frame of every week.
    pub(crate) fn frame_keys(&self) -> Vec<String> {
        let period = self.quarter.id();
        let weeks = self.weeks.iter();
        weeks
            .map(|week| format!("{period}|{}", time_frame_id(*week)))
            .collect()
    }

    /// The fields that have rows.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &'static Field> + use<'_> {
        let calls = self.tenant.calls;
        let mut seen = 0;
        self.forecast.fields.iter().filter(move |field| {
            let is_call = field.kind == FieldKind::Forecast;
            seen += usize::from(is_call);
            self.types.show(field.kind) && (!is_call || seen <= calls)
        })
    }

    /// Where in the period of values the first user (number 0) of a field and a week is.
    pub(crate) fn turn(&self, week: i64, field: &Field) -> u64 {
        let start = mix(self.tenant.seed ^ week.unsigned_abs().wrapping_mul(31));
        let name = field.id.bytes().chain(self.forecast.id.bytes());
        name.fold(start, |digest, byte| mix(digest ^ u64::from(byte))) % VALUE_PERIOD
    }

    /// The values at one position of the period in a week.
    pub(crate) fn values(&self, week: i64, position: u64) -> Values {
        let revision = match self.open_week {
            (open_week, revision) if open_week == week => revision,
            _ => 0,
        };
        let salt = week.unsigned_abs() ^ revision.rotate_left(32);
        let index = position ^ mix(salt) << 8;
        let mut rolls = Rolls::new(self.tenant.seed, Purpose::ForecastValue, index);
        let amount = match position {
            0 => Some("12345678901234567890.10".to_owned()),
            1 => None,
            2 => Some(format!("-{}.5", rolls.between(1, 90_000))),
            3 => Some("572.0".to_owned()),
            4 => Some("0.0".to_owned()),
            5 => Some("0.30000000000000004".to_owned()),
            _ if position.is_multiple_of(3) => Some(format!(
                "{}.{:02}",
                rolls.between(1, 9_000_000),
                rolls.below(100)
            )),
            _ => Some(format!("{}.0", rolls.between(1, 900) * 2_500)),
        };
        let is_updated = rolls.chance(60);
        let is_adjusted = position % 4 == 2;
        // Some hours into the week, and later with every change.
        let moment = week * DAY_MILLISECONDS
            + i64::try_from(rolls.below(20 * 3_600)).unwrap_or_default() * 1_000
            + i64::try_from(revision).unwrap_or_default() * 60_000;
        Values {
            amount,
            is_updated,
            updated_by: person(rolls.below(self.tenant.users)),
            moment,
            adjustment: is_adjusted.then(|| format!("{}.0", rolls.between(1, 4_000) * 500)),
        }
    }

    pub(crate) fn week_record(week: i64) -> String {
        format!(
            "{{\"timeFrameId\":\"{}\",\"startDate\":\"{}\",\"endDate\":\"{}\"}}",
            time_frame_id(week),
            date_of(week),
            date_of(week + 6)
        )
    }

    pub(crate) fn period_record(&self) -> String {
        let quarter = self.quarter;
        format!(
            "{{\"timePeriodId\":\"{}\",\"type\":\"quarter\",\"label\":\"Quarter {}\",\"year\":\"{}\",\
             \"startDate\":\"{}\",\"endDate\":\"{}\",\"crmId\":\"026{:012}QAC\"}}",
            quarter.id(),
            quarter.number(),
            quarter.fiscal_year(),
            date_of(quarter.first_day()),
            date_of(quarter.last_day()),
            quarter.fiscal_year() * 4 + quarter.number(),
        )
    }
}

/// The values of one row.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    /// As it is spelled; `None` for null.
    pub(crate) amount: Option<String>,
    pub(crate) is_updated: bool,
    pub(crate) updated_by: u64,
    pub(crate) moment: i64,
    pub(crate) adjustment: Option<String>,
}

pub(crate) fn time_frame_id(week: i64) -> String {
    format!("TF:{}", date_of(week))
}

/// All weeks, in an order that is not theirs (the vendor document promises none).
fn shuffled(weeks: &[i64]) -> Vec<i64> {
    let odd = weeks.iter().skip(1).step_by(2).rev();
    odd.chain(weeks.iter().step_by(2)).copied().collect()
}
