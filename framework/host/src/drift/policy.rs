//! Policies for records that drift.

use std::{fmt, str::FromStr};

use headwater_core::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

/// The policy for a record that breaks its schema: a value of another type, null where the schema has none, a missing
/// required field, a record that is not an object. New fields and new members of an enum break nothing and pass under
/// every policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DriftPolicy {
    /// It goes to the sink like every other.
    #[default]
    Accept,
    /// It goes to the dead letters instead.
    Reject,
    /// It ends the stream.
    Stop,
}

impl DriftPolicy {
    const ALL: [Self; 3] = [Self::Accept, Self::Reject, Self::Stop];

    /// The name in input and output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Stop => "stop",
        }
    }
}

impl fmt::Display for DriftPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DriftPolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|policy| policy.name() == text);
        known.ok_or_else(|| {
            let text =
                "a drift policy is accept, reject or stop, for one stream as in calls=reject";
            Error::new(Kind::ConfigInvalid, text)
        })
    }
}

/// A policy for one stream or for all, written `STREAM=reject` or `reject`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftRule {
    /// The stream of the rule; `None` means all.
    pub stream: Option<String>,
    /// The policy.
    pub policy: DriftPolicy,
}

impl DriftRule {
    /// The policy of a stream: the last rule that names it, else the last rule for all, else accept.
    pub fn policy_of(rules: &[Self], stream: &str) -> DriftPolicy {
        let last = |wanted: Option<&str>| {
            let mut rules = rules.iter().rev();
            rules.find(|rule| rule.stream.as_deref() == wanted)
        };
        let rule = last(Some(stream)).or_else(|| last(None));
        rule.map_or_else(DriftPolicy::default, |rule| rule.policy)
    }
}

impl FromStr for DriftRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (stream, policy) = match text.split_once('=') {
            Some(("", _)) => {
                let text = "a drift policy with = names its stream, as in calls=reject";
                return Err(Error::new(Kind::ConfigInvalid, text));
            }
            Some((stream, policy)) => (Some(stream.to_owned()), policy),
            None => (None, text),
        };
        Ok(Self {
            stream,
            policy: policy.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_for_one_stream_or_for_all() {
        let rules: Vec<DriftRule> = ["reject", "calls=stop", "users=stop", "users=accept"]
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        assert_eq!(DriftRule::policy_of(&rules, "deals"), DriftPolicy::Reject);
        assert_eq!(DriftRule::policy_of(&rules, "calls"), DriftPolicy::Stop);
        assert_eq!(DriftRule::policy_of(&rules, "users"), DriftPolicy::Accept);
        assert_eq!(DriftRule::policy_of(&[], "calls"), DriftPolicy::Accept);
    }

    #[test]
    fn what_is_no_policy_is_refused_with_the_policies_there_are() {
        for text in ["", "Reject", "ignore", "calls=", "calls=reject=stop"] {
            let error = text.parse::<DriftRule>().unwrap_err();
            assert_eq!(error.kind(), Kind::ConfigInvalid);
            assert!(
                error.to_string().contains("accept, reject or stop"),
                "{text}: {error}"
            );
        }
        let error = "=reject".parse::<DriftRule>().unwrap_err().to_string();
        assert!(error.contains("names its stream"), "{error}");
    }
}
