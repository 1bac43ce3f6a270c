//! The options that decide which records a stream reads. Stored with a position, so that a later run with other options
//! finds the records that its position does not cover.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The options of a form that decide which records a stream reads, with their values. Holds no secret: the state stores
/// it and people see it. Options that only decide *how* records are read do not belong here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// The first moment to read; `None` for a stream read from its beginning, or not by time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The other options, by their names in the form.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, ScopeValue>,
}

/// The value of an option.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScopeValue {
    /// A switch that adds records: on covers off.
    On(bool),
    /// A set of names to read: a set covers its subsets.
    These(BTreeSet<String>),
    /// The form of the records: no value covers another.
    As(String),
}

/// How one scope differs from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeChange {
    /// The start moved back: the time between was not read.
    pub is_earlier: bool,
    /// Options that add records which the other scope left out, each as "name from old to new".
    pub wider: Vec<String>,
    /// Options that give records in another form, likewise.
    pub other: Vec<String>,
}

impl ScopeChange {
    /// Returns whether the old scope read every record of the new one, in the same form.
    pub fn is_covered(&self) -> bool {
        !self.is_earlier && self.wider.is_empty() && self.other.is_empty()
    }
}

impl Scope {
    /// Makes a scope that begins at a moment.
    pub fn since(moment: Timestamp) -> Self {
        Self {
            since: Some(moment),
            options: BTreeMap::new(),
        }
    }

    /// Adds an option.
    #[must_use]
    pub fn option(mut self, name: &str, value: ScopeValue) -> Self {
        self.options.insert(name.to_owned(), value);
        self
    }

    /// Returns the difference from an earlier scope.
    pub fn change_from(&self, earlier: &Self) -> ScopeChange {
        let mut change = ScopeChange {
            is_earlier: self.since < earlier.since,
            ..ScopeChange::default()
        };
        for (name, value) in &self.options {
            // A later version added an option that the earlier scope lacks: its earlier value is unknown.
            let Some(before) = earlier.options.get(name) else {
                continue;
            };
            if before == value {
                continue;
            }
            let text = format!("{name} from {} to {}", before.shown(), value.shown());
            match (before, value) {
                (ScopeValue::On(true), ScopeValue::On(false)) => {}
                (ScopeValue::These(before), ScopeValue::These(these))
                    if these.is_subset(before) => {}
                (ScopeValue::As(_), ScopeValue::As(_)) => change.other.push(text),
                _ => change.wider.push(text),
            }
        }
        change
    }
}

impl ScopeValue {
    /// Makes a set of names.
    pub fn these<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Self {
        Self::These(names.into_iter().map(Into::into).collect())
    }

    /// Returns the value for people, shortened where it is long.
    fn shown(&self) -> String {
        const MAX: usize = 5;
        match self {
            Self::On(true) => "on".to_owned(),
            Self::On(false) => "off".to_owned(),
            Self::As(text) if text.is_empty() => "unset".to_owned(),
            Self::As(text) => text.clone(),
            Self::These(names) if names.is_empty() => "none".to_owned(),
            Self::These(names) => {
                let shown: Vec<&str> = names.iter().take(MAX).map(String::as_str).collect();
                let rest = names.len().saturating_sub(MAX);
                let rest = match rest {
                    0 => String::new(),
                    rest => format!(" and {rest} more"),
                };
                format!("{}{rest}", shown.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: &str) -> Timestamp {
        format!("{day}T00:00:00Z").parse().unwrap()
    }

    #[test]
    fn an_earlier_or_removed_start_is_not_covered_and_a_later_one_is() {
        let june = Scope::since(at("2026-06-01"));
        let change = |now: &Scope, before: &Scope| now.change_from(before).is_earlier;
        assert!(change(&Scope::since(at("2026-01-01")), &june));
        assert!(change(&Scope::default(), &june));
        assert!(!change(&june, &june));
        assert!(!change(&Scope::since(at("2026-09-01")), &june));
        assert!(!change(&june, &Scope::default()));
    }

    #[test]
    fn more_is_wider_less_is_covered_and_another_form_is_neither() {
        let scope = |on: bool, ids: &[&str], currency: &str| {
            Scope::default()
                .option("private", ScopeValue::On(on))
                .option("ids", ScopeValue::these(ids.iter().copied()))
                .option("currency", ScopeValue::As(currency.to_owned()))
        };
        let before = scope(false, &["a", "b"], "");
        assert!(before.change_from(&before).is_covered());
        assert!(scope(false, &["a"], "").change_from(&before).is_covered());
        assert!(
            before
                .change_from(&scope(true, &["a", "b"], ""))
                .is_covered()
        );
        let wider = scope(true, &["a", "c"], "").change_from(&before);
        assert_eq!(
            wider.wider,
            ["ids from a, b to a, c", "private from off to on"]
        );
        let other = scope(false, &["a", "b"], "USD").change_from(&before);
        assert_eq!(other.other, ["currency from unset to USD"]);
        assert!(before.change_from(&Scope::default()).is_covered());
    }
}
