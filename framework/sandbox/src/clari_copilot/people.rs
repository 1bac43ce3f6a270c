//! The people of the workspace: its users, and how names and addresses are made.

use serde_json::{Value, json};

use crate::ids;
use crate::names::{FIRST_NAMES, LAST_NAMES, Name};
use crate::random::{Purpose, Rolls, draw};

/// A Copilot user.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) name: String,
    role: &'static str,
    pub(crate) is_recording: bool,
    manager_id: Option<String>,
}

impl User {
    /// The user as `/users` shows it (shape of the vendor document; `manager_id` is absent for the
    /// head of the team, as observed live).
    pub(crate) fn record(&self) -> Value {
        let mut record = json!({
            "id": self.id,
            "email": self.email,
            "name": self.name,
            "role": self.role,
            "is_recording": self.is_recording,
        });
        if let Some(manager_id) = &self.manager_id {
            record["manager_id"] = manager_id.as_str().into();
        }
        record
    }
}

/// All users of a workspace: one head, one manager for every eight people, an observer for every
/// ten, and representatives.
pub(crate) fn users(seed: u64, count: u64) -> Vec<User> {
    (0..count).map(|index| user(seed, index)).collect()
}

fn user(seed: u64, index: u64) -> User {
    let mut rolls = Rolls::new(seed, Purpose::User, index);
    let person = Person::roll(&mut rolls);
    let role = match index {
        _ if index.is_multiple_of(8) => "MANAGER",
        _ if index % 10 == 3 => "OBSERVER",
        _ => "REP",
    };
    let manager_index = match role {
        _ if index == 0 => None,
        "MANAGER" => Some(0),
        _ => Some(index - index % 8),
    };
    User {
        id: ids::uuid(seed, Purpose::User, index),
        email: format!("{}.{index}@example.com", person.login()),
        name: person.full_name(),
        role,
        is_recording: role != "OBSERVER",
        manager_id: manager_index.map(|manager| ids::uuid(seed, Purpose::User, manager)),
    }
}

/// A first and a last name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Person {
    first: Name,
    last: Name,
}

impl Person {
    pub(crate) fn roll(rolls: &mut Rolls) -> Self {
        Self {
            first: name_at(FIRST_NAMES, rolls.next()),
            last: name_at(LAST_NAMES, rolls.next()),
        }
    }

    pub(crate) fn first_name(&self) -> &'static str {
        self.first.0
    }

    pub(crate) fn last_name(&self) -> &'static str {
        self.last.0
    }

    pub(crate) fn full_name(&self) -> String {
        format!("{} {}", self.first.0, self.last.0)
    }

    /// The part of an e-mail address before the `@`, without a number to make it unique.
    pub(crate) fn login(&self) -> String {
        format!("{}.{}", self.first.1, self.last.1)
    }
}

fn name_at(names: &[Name], number: u64) -> Name {
    let position = usize::try_from(number % names.len().max(1) as u64).unwrap_or_default();
    names.get(position).copied().unwrap_or(("Sam", "sam"))
}

/// An outside participant of a call.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub(crate) name: String,
    pub(crate) email: String,
    pub(crate) phone: Option<String>,
}

/// A guest whom the CRM does not know.
pub(crate) fn stranger(seed: u64, call_index: u64) -> Guest {
    let mut rolls = Rolls::new(seed, Purpose::Person, call_index);
    let person = Person::roll(&mut rolls);
    Guest {
        name: person.full_name(),
        email: format!("{}.{call_index}@example.org", person.login()),
        phone: rolls.chance(40).then(|| phone(rolls.next())),
    }
}

/// A phone number from the range that is reserved for fiction.
pub(crate) fn phone(number: u64) -> String {
    format!("+1-202-555-01{:02}", number % 100)
}

/// How many users a workspace of `calls` calls has: 5 to 200.
pub(crate) fn user_count(calls: u64) -> u64 {
    (calls / 30).clamp(5, 200)
}

/// The positions of the users of a call: the organizer first, then up to two more.
pub(crate) fn call_user_positions(seed: u64, call_index: u64, users: u64) -> Vec<u64> {
    let number = draw(seed, Purpose::CallUsers, call_index);
    let organizer = number % users;
    let mut positions = vec![organizer];
    let companions = match (number >> 32) % 10 {
        0..6 => 0,
        6..9 => 1,
        _ => 2,
    };
    for step in 1..=companions {
        positions.push((organizer + step + (number >> 40) % (users - 2)) % users);
    }
    positions
}
