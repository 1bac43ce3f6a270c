//! The audit log: events, newest first, with a cursor; and the actors of a page.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::calendar::DAY_MILLISECONDS;
use super::log::Slots;
use super::tenant::{self, Tenant};
use crate::ids;
use crate::instant::parse_instant;
use crate::query::Query;
use crate::random::{Purpose, Rolls};

/// The age of the oldest events in days (documentation of an integrator).
const DAYS: i64 = 30;
/// Events that would leave these days within an hour are missing from the start: the log does not move, and a client
/// that requests all of its days does so a little later.
const MARGIN_MILLISECONDS: i64 = 60 * 60 * 1_000;

const EVENTS: &[&str] = &[
    "api.accessed",
    "user.login",
    "user.logout",
    "forecast.submitted",
    "forecast.exported",
    "settings.changed",
    "token.created",
];

const SESSION_TYPES: &[&str] = &["WEB", "IOS", "ANDROID"];

/// A request to the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditFilter {
    actor: Option<i64>,
    impersonating_actor: Option<i64>,
    session: Option<String>,
    session_type: Option<String>,
    from: Option<i64>,
    to: Option<i64>,
    event: Option<String>,
}

/// A parameter with an unusable value.
pub(crate) type BadParameter = &'static str;

impl AuditFilter {
    pub(crate) fn of_query(query: &Query) -> Result<Self, BadParameter> {
        let whole = |name: BadParameter| match query.first(name) {
            None => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| name),
        };
        let text = |name| query.first(name).map(str::to_owned);
        Self {
            actor: whole("actorId")?,
            impersonating_actor: whole("impersonatingActorId")?,
            session: text("sessionId"),
            session_type: text("sessionType"),
            from: moment("dateFrom", query.first("dateFrom"))?,
            to: moment("dateTo", query.first("dateTo"))?,
            event: text("event"),
        }
        .checked()
    }

    pub(crate) fn of_body(body: &Map<String, Value>) -> Result<Self, BadParameter> {
        let field = |name: BadParameter| body.get(name).filter(|value| !value.is_null());
        let whole = |name| match field(name) {
            None => Ok(None),
            Some(value) => value.as_i64().map(Some).ok_or(name),
        };
        let text = |name| match field(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or(name),
        };
        Self {
            actor: whole("actorId")?,
            impersonating_actor: whole("impersonatingActorId")?,
            session: text("sessionId")?.map(str::to_owned),
            session_type: text("sessionType")?.map(str::to_owned),
            from: moment("dateFrom", text("dateFrom")?)?,
            to: moment("dateTo", text("dateTo")?)?,
            event: text("event")?.map(str::to_owned),
        }
        .checked()
    }

    fn checked(self) -> Result<Self, BadParameter> {
        if self
            .session
            .as_ref()
            .is_some_and(|session| session.len() != 36)
        {
            return Err("sessionId");
        }
        let kind = self.session_type.as_deref();
        if kind.is_some_and(|kind| !SESSION_TYPES.contains(&kind)) {
            return Err("sessionType");
        }
        Ok(self)
    }

    fn accepts(&self, event: &AuditEvent) -> bool {
        let same = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        self.actor.is_none_or(|actor| actor == event.actor.number())
            && self
                .impersonating_actor
                .is_none_or(|actor| event.impersonating == Some(actor))
            && same(&self.session, &event.session)
            && same(&self.session_type, event.session_type)
            && same(&self.event, event.event)
            && self.from.is_none_or(|from| event.seconds * 1_000 >= from)
            && self.to.is_none_or(|to| event.seconds * 1_000 <= to)
    }
}

fn moment(name: BadParameter, text: Option<&str>) -> Result<Option<i64>, BadParameter> {
    let Some(text) = text else {
        return Ok(None);
    };
    let instant = parse_instant(text).ok_or(name)?;
    Ok(Some(instant.as_millisecond()))
}

/// The actor of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Actor {
    User(u64),
    System,
    Job,
}

impl Actor {
    fn number(self) -> i64 {
        match self {
            Self::System => 1,
            Self::Job => 2,
            Self::User(user) => i64::try_from(tenant::person(user)).unwrap_or_default(),
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::System => "SYSTEM",
            Self::Job => "JOB",
            Self::User(_) => "USER",
        }
    }

    fn record(self, seed: u64) -> Value {
        let (name, email) = match self {
            Self::System => ("System".to_owned(), String::new()),
            Self::Job => ("Scheduled job".to_owned(), String::new()),
            Self::User(user) => (tenant::full_name(seed, user), tenant::email(seed, user)),
        };
        json!({
            "actorType": self.kind(),
            "actorId": self.number().to_string(),
            "name": name,
            "email": email,
        })
    }
}

#[derive(Clone, Debug)]
struct AuditEvent {
    seconds: i64,
    actor: Actor,
    impersonating: Option<i64>,
    session: String,
    session_type: &'static str,
    event: &'static str,
    number: u64,
}

impl AuditEvent {
    fn timestamp(&self) -> String {
        Timestamp::from_second(self.seconds)
            .unwrap_or_default()
            .to_string()
    }

    fn key(&self) -> String {
        let actor = self.actor.number();
        format!(
            "{}|{actor}|{}|{}",
            self.timestamp(),
            self.session,
            self.event
        )
    }

    fn record(&self, seed: u64) -> Value {
        json!({
            "correlationID": ids::object_id(seed, Purpose::AuditEvent, self.number),
            "actorId": self.actor.number().to_string(),
            "impersonatingActorId": self.impersonating.map(|actor| actor.to_string()),
            "actorType": self.actor.kind(),
            "sessionId": self.session,
            "ipAddress": format!("203.0.113.{}", self.number % 254 + 1),
            "sessionType": self.session_type,
            "event": self.event,
            "eventParameters": {"request": self.number, "path": "/forecast", "size": null},
            "eventTimestamp": self.timestamp(),
        })
    }
}

/// The log at one moment: events that were added, and those before them.
#[derive(Clone, Debug)]
pub(crate) struct AuditLog {
    tenant: Tenant,
    slots: Slots,
    /// When events were added, in seconds, the newest last.
    added: Vec<i64>,
}

/// A page of the log.
#[derive(Clone, Debug)]
pub(crate) struct AuditPage {
    pub(crate) items: Vec<Value>,
    pub(crate) actors: Vec<Value>,
    /// The number of events that are newer than the next page, and the number of the others; `None`
    /// on the last page.
    pub(crate) next: Option<(u64, u64)>,
}

impl AuditLog {
    pub(crate) fn new(tenant: Tenant, now: i64) -> Self {
        let count = (tenant.entries / 4).clamp(50, 50_000);
        let oldest = now - DAYS * DAY_MILLISECONDS + MARGIN_MILLISECONDS;
        Self {
            tenant,
            slots: Slots::new(count, DAYS, now).since(oldest),
            added: Vec::new(),
        }
    }

    /// Events that happen now.
    pub(crate) fn add(&mut self, count: u64, now: i64) {
        let count = usize::try_from(count).unwrap_or_default();
        self.added
            .extend(std::iter::repeat_n(now.div_euclid(1_000), count));
    }

    pub(crate) fn count(&self) -> u64 {
        self.added.len() as u64 + self.slots.count()
    }

    /// The event at a position from the newest one.
    fn event(&self, position: u64) -> AuditEvent {
        let added = self.added.len() as u64;
        let newest_first = usize::try_from(position).ok();
        let seconds = newest_first.and_then(|position| self.added.iter().rev().nth(position));
        if let Some(seconds) = seconds {
            // Added events are numbered beyond all slots.
            return self.make(u64::MAX / 4 + added - position, *seconds);
        }
        let slot = self.slots.back(position - added);
        // Every tenth event has a twin: all that could identify it is the same.
        let has_twin = slot.rem_euclid(10) == 9 && self.slots.contains(slot - 1);
        let twin = if has_twin { slot - 1 } else { slot };
        let seconds = self.slots.moment(twin).div_euclid(1_000);
        let event = self.make(twin.unsigned_abs(), seconds);
        AuditEvent {
            number: slot.unsigned_abs(),
            ..event
        }
    }

    fn make(&self, number: u64, seconds: i64) -> AuditEvent {
        let seed = self.tenant.seed;
        let mut rolls = Rolls::new(seed, Purpose::AuditEvent, number);
        let actor = match rolls.below(20) {
            0 => Actor::System,
            1 => Actor::Job,
            _ => Actor::User(tenant::first_role(rolls.below(self.tenant.users.min(200)))),
        };
        // Some events of a session follow each other.
        let session = ids::uuid(seed, Purpose::AuditEvent, number / 5);
        AuditEvent {
            seconds,
            actor,
            impersonating: rolls.chance(5).then(|| Actor::User(0).number()),
            session,
            session_type: rolls.pick(SESSION_TYPES),
            event: rolls.pick(EVENTS),
            number,
        }
    }

    /// Up to `limit` events from a position on.
    pub(crate) fn page(&self, filter: &AuditFilter, from: u64, limit: usize) -> AuditPage {
        let mut found = Vec::new();
        let mut next = None;
        for position in from..self.count() {
            let event = self.event(position);
            if !filter.accepts(&event) {
                continue;
            }
            if found.len() == limit {
                next = Some((position, self.count() - position));
                break;
            }
            found.push(event);
        }
        self.page_of(&found, next)
    }

    /// The events, among the `limit` from a position on, that pass a filter.
    pub(crate) fn filtered_page(&self, filter: &AuditFilter, from: u64, limit: usize) -> AuditPage {
        let end = from.saturating_add(limit as u64).min(self.count());
        let events = (from..end).map(|position| self.event(position));
        let found: Vec<AuditEvent> = events.filter(|event| filter.accepts(event)).collect();
        self.page_of(
            &found,
            (end < self.count()).then(|| (end, self.count() - end)),
        )
    }

    fn page_of(&self, found: &[AuditEvent], next: Option<(u64, u64)>) -> AuditPage {
        let seed = self.tenant.seed;
        let actors: BTreeSet<Actor> = found.iter().map(|event| event.actor).collect();
        AuditPage {
            items: found.iter().map(|event| event.record(seed)).collect(),
            actors: actors.into_iter().map(|actor| actor.record(seed)).collect(),
            next,
        }
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        (0..self.count())
            .map(|position| self.event(position).key())
            .collect()
    }

    pub(crate) fn actor_keys(&self) -> Vec<String> {
        let actors: BTreeSet<Actor> = (0..self.count())
            .map(|position| self.event(position).actor)
            .collect();
        actors
            .into_iter()
            .map(|actor| actor.number().to_string())
            .collect()
    }
}
