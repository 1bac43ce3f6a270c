//! Users in a hierarchy, forecasts and their fields.

use std::ops::Range;

use serde_json::Value;

use crate::names::{FIRST_NAMES, LAST_NAMES, Name};

/// Maximum number of entries of one export.
const MAX_ENTRIES: u64 = 100_000_000;

/// Weeks of a quarter that the size of the tenant is made for.
const WEEKS: u64 = 13;

/// The number of the first user; the others follow.
const FIRST_USER: u64 = 1_000_000;

/// A manager and nine people.
const TEAM: u64 = 10;

/// The distance between users whose texts have the same length.
pub(crate) const USER_PERIOD: u64 = 32 * TEAM;

/// The length of every `userId`.
pub(crate) const USER_ID_LENGTH: usize = 26;

/// A forecast tab.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Forecast {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// Amounts are of money, and not counts.
    pub(crate) is_money: bool,
    pub(crate) fields: [Field; 7],
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) kind: FieldKind,
}

/// The content of a field's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldKind {
    Forecast,
    Quota,
    CrmTotal,
    CrmClosed,
}

impl FieldKind {
    /// As `fieldType` (the values are proposed).
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Forecast => "FORECAST",
            Self::Quota => "QUOTA",
            Self::CrmTotal | Self::CrmClosed => "CRM",
        }
    }
}

const fn field(id: &'static str, name: &'static str, kind: FieldKind) -> Field {
    Field { id, name, kind }
}

/// A forecast that exists and that the user behind the key may not see.
pub(crate) const NO_ACCESS: &str = "no_access";

/// The forecasts that can be read. Two of them share a field.
pub(crate) const FORECASTS: [Forecast; 3] = [
    Forecast {
        id: "net_arr",
        title: "Net ARR",
        is_money: true,
        fields: [
            field("fc_net_commit", "Net Commit", FieldKind::Forecast),
            field("fc_net_most_likely", "Net Most Likely", FieldKind::Forecast),
            field("fc_net_best_case", "Net Best Case", FieldKind::Forecast),
            field("fc_net_upside", "Net Upside", FieldKind::Forecast),
            field("quota_net", "Net Quota", FieldKind::Quota),
            field("crm_net_pipeline", "Net Pipeline", FieldKind::CrmTotal),
            field("crm_net_closed", "Net Closed", FieldKind::CrmClosed),
        ],
    },
    Forecast {
        id: "net_bookings",
        title: "Net Bookings",
        is_money: true,
        fields: [
            field("fc_net_commit", "Net Commit", FieldKind::Forecast),
            field("fc_book_likely", "Bookings Likely", FieldKind::Forecast),
            field("fc_book_best", "Bookings Best Case", FieldKind::Forecast),
            field("fc_book_upside", "Bookings Upside", FieldKind::Forecast),
            field("quota_book", "Bookings Quota", FieldKind::Quota),
            field(
                "crm_book_pipeline",
                "Bookings Pipeline",
                FieldKind::CrmTotal,
            ),
            field("crm_book_closed", "Bookings Closed", FieldKind::CrmClosed),
        ],
    },
    Forecast {
        id: "deal_owner",
        title: "Deals by Owner",
        is_money: false,
        fields: [
            field("fc_deals_commit", "Deals Commit", FieldKind::Forecast),
            field("fc_deals_likely", "Deals Likely", FieldKind::Forecast),
            field("fc_deals_best", "Deals Best Case", FieldKind::Forecast),
            field("fc_deals_upside", "Deals Upside", FieldKind::Forecast),
            field("quota_deals", "Deals Quota", FieldKind::Quota),
            field("crm_deals_open", "Deals Open", FieldKind::CrmTotal),
            field("crm_deals_closed", "Deals Closed", FieldKind::CrmClosed),
        ],
    },
];

/// The people and the size of the tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tenant {
    pub(crate) seed: u64,
    pub(crate) entries: u64,
    pub(crate) users: u64,
    /// How many of the four fields of calls are used.
    pub(crate) calls: usize,
}

impl Tenant {
    pub(crate) fn new(seed: u64, entries: u64) -> Self {
        let entries = entries.min(MAX_ENTRIES);
        let calls = match entries {
            0..100 => 1,
            100..1_000 => 2,
            _ => 4,
        };
        Self {
            seed,
            entries,
            users: (entries / (WEEKS * calls as u64)).max(2),
            calls,
        }
    }

    pub(crate) fn all_users(self) -> Range<u64> {
        0..self.users
    }

    /// The people below a scope, its own user first; `None` when there is no such scope.
    pub(crate) fn users_of_scope(self, scope: &str) -> Option<Range<u64>> {
        let (number, _) = scope.split_once("::")?;
        let number: u64 = number.parse().ok()?;
        let user = number.checked_sub(FIRST_USER)?;
        let is_known = user < self.users && scope_text(user) == scope;
        if !is_known {
            return None;
        }
        if user == 0 {
            return Some(self.all_users());
        }
        let end = if is_manager(user) {
            user + TEAM
        } else {
            user + 1
        };
        Some(user..end.min(self.users))
    }
}

/// The position in the team, 0 for its manager; the head of all has no team.
fn position(user: u64) -> u64 {
    user.saturating_sub(1) % TEAM
}

fn is_manager(user: u64) -> bool {
    position(user) == 0
}

/// The first role of the person behind a user. The last one of a team is its manager once more, in
/// another role.
pub(crate) fn first_role(user: u64) -> u64 {
    let last_position = TEAM - 1;
    match position(user) {
        position if user > 0 && position == last_position => user - last_position,
        _ => user,
    }
}

/// The number of the person behind a user.
pub(crate) fn person(user: u64) -> u64 {
    FIRST_USER + first_role(user)
}

fn parent(user: u64) -> Option<u64> {
    match user {
        0 => None,
        _ if is_manager(user) => Some(0),
        _ => Some(user - position(user)),
    }
}

fn scope_text(user: u64) -> String {
    let kind = if is_manager(user) { "MGR" } else { "REP" };
    format!("{}::{kind}", FIRST_USER + user)
}

pub(crate) fn role_id(user: u64) -> String {
    format!("00E{user:012}UAS")
}

pub(crate) fn role_name(user: u64) -> String {
    match user {
        0 => "Head of Sales".to_owned(),
        _ if is_manager(user) => format!("Sales Manager {user:07}"),
        _ => format!("Sales Rep {user:07}"),
    }
}

/// `<person>:<role>`.
pub(crate) fn user_id(user: u64) -> String {
    String::from_utf8_lossy(&user_id_bytes(user)).into_owned()
}

/// The id as bytes: written so often that formatting would be half the cost of a result.
pub(crate) fn user_id_bytes(user: u64) -> [u8; USER_ID_LENGTH] {
    let mut id = *b"0000000:00E000000000000UAS";
    let write = |digits: &mut [u8], number: u64| {
        let mut rest = number;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
        }
    };
    write(&mut id[..7], person(user));
    write(&mut id[11..23], user);
    id
}

pub(crate) fn crm_user_id(user: u64) -> String {
    format!("005{:012}IAM", person(user))
}

fn names(seed: u64, user: u64) -> (Name, Name) {
    let at = |names: &'static [Name], position: u64| {
        let length = names.len().max(1) as u64;
        let position = usize::try_from(position % length).unwrap_or_default();
        names.get(position).copied().unwrap_or_default()
    };
    let turn = (person(user) - FIRST_USER + seed % USER_PERIOD) % USER_PERIOD;
    (at(FIRST_NAMES, turn), at(LAST_NAMES, turn + turn / 32))
}

pub(crate) fn full_name(seed: u64, user: u64) -> String {
    let (first, last) = names(seed, user);
    format!("{} {}", first.0, last.0)
}

pub(crate) fn email(seed: u64, user: u64) -> String {
    let (first, last) = names(seed, user);
    format!("{}.{}.{}@example.com", first.1, last.1, person(user))
}

/// A user as the result of an export shows it. The scope is mostly a text; some sources saw an
/// object, or that object as a text.
pub(crate) fn user_record(seed: u64, user: u64) -> String {
    let scope = match user % TEAM {
        4 => scope_object(user).to_string(),
        7 => Value::from(scope_object(user).to_string()).to_string(),
        _ => format!("\"{}\"", scope_text(user)),
    };
    let (parent_id, parent_name) = match parent(user) {
        Some(parent) => (role_id(parent), role_name(parent)),
        None => Default::default(),
    };
    format!(
        "{{\"userId\":\"{}\",\"name\":\"{}\",\"email\":\"{}\",\"crmId\":\"{}\",\"scopeId\":{scope},\
         \"hierarchyId\":\"{}\",\"hierarchyName\":\"{}\",\"parentHierarchyId\":\"{parent_id}\",\
         \"parentHierarchyName\":\"{parent_name}\"}}",
        user_id(user),
        full_name(seed, user),
        email(seed, user),
        crm_user_id(user),
        role_id(user),
        role_name(user),
    )
}

fn scope_object(user: u64) -> Value {
    let kind = if is_manager(user) { "MGR" } else { "REP" };
    serde_json::json!({
        "type": "FORECAST_ROLE",
        "userId": (FIRST_USER + user).to_string(),
        "userType": kind,
    })
}

/// The role name above a user; empty for the head.
pub(crate) fn parent_role_name(user: u64) -> String {
    parent(user).map(role_name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_users_are_json_whose_length_is_periodic() {
        for user in 0..1_000 {
            let record = user_record(3, user);
            let parsed: Value = serde_json::from_str(&record).unwrap();
            assert_eq!(parsed["userId"], user_id(user));
            assert_eq!(user_id(user), format!("{}:{}", person(user), role_id(user)));
            if user > 0 {
                let later = user_record(3, user + 7 * USER_PERIOD);
                assert_eq!(record.len(), later.len(), "{user}");
            }
        }
    }

    #[test]
    fn scopes_hold_their_own_user_first() {
        let tenant = Tenant::new(1, 2_000);
        assert_eq!(tenant.users, 38);
        assert_eq!(tenant.users_of_scope("1000000::MGR"), Some(0..38));
        assert_eq!(tenant.users_of_scope("1000011::MGR"), Some(11..21));
        assert_eq!(tenant.users_of_scope("1000031::MGR"), Some(31..38));
        assert_eq!(tenant.users_of_scope("1000012::REP"), Some(12..13));
        for unknown in ["1000012::MGR", "1000038::REP", "1000011", "x::MGR", ""] {
            assert_eq!(tenant.users_of_scope(unknown), None, "{unknown}");
        }
    }
}
