//! One call of the workspace, generated or created: the facts that filters read, and its records.

use serde_json::{Map, Value};

use super::call_record::call_record;
use super::conversation::add_details;
use super::created_call::CreatedCall;
use super::media::MediaRequest;
use super::population::{Population, is_finished};

/// A status that a generated call was moved to.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) status: String,
    /// Milliseconds since the Unix epoch.
    pub(crate) modified: i64,
}

/// A call. Each fact is computed on access.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call<'a> {
    /// A call of the population.
    Generated {
        population: &'a Population,
        index: u64,
        change: Option<&'a Change>,
    },
    /// A call made by `/create-call`.
    Created(&'a CreatedCall),
}

impl Call<'_> {
    /// A number that no other call of the workspace has.
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Generated { index, .. } => *index,
            Self::Created(call) => u64::MAX - call.number,
        }
    }

    /// The scheduled or start time in milliseconds since the Unix epoch.
    pub(crate) fn time(&self) -> i64 {
        match self {
            Self::Generated {
                population, index, ..
            } => population.time(*index),
            Self::Created(call) => call.time,
        }
    }

    /// The time of the last change of status in milliseconds since the Unix epoch.
    pub(crate) fn modified(&self) -> i64 {
        match self {
            Self::Generated {
                change: Some(change),
                ..
            } => change.modified,
            Self::Generated {
                population, index, ..
            } => population.modified(*index),
            Self::Created(call) => call.modified,
        }
    }

    pub(crate) fn status(&self) -> &str {
        match self {
            Self::Generated {
                change: Some(change),
                ..
            } => &change.status,
            Self::Generated {
                population, index, ..
            } => population.status(*index),
            Self::Created(_) => CreatedCall::STATUS,
        }
    }

    /// Whether the call has a recording, metrics and a transcript.
    pub(crate) fn is_finished(&self) -> bool {
        is_finished(self.status())
    }

    pub(crate) fn is_private(&self) -> bool {
        match self {
            Self::Generated {
                population, index, ..
            } => population.is_private(*index),
            Self::Created(_) => false,
        }
    }

    pub(crate) fn call_type(&self) -> &str {
        match self {
            Self::Generated {
                population, index, ..
            } => population.call_type(*index),
            Self::Created(call) => &call.call_type,
        }
    }

    /// The length of the recording in seconds; a call without a recording has none.
    pub(crate) fn duration(&self) -> Option<i64> {
        match self {
            Self::Generated {
                population, index, ..
            } if self.is_finished() => i64::try_from(population.duration(*index)).ok(),
            _ => None,
        }
    }

    pub(crate) fn source_id(&self) -> Option<String> {
        match self {
            Self::Generated {
                population, index, ..
            } => population.source_id(*index),
            Self::Created(call) => Some(call.source_id.clone()),
        }
    }

    /// Whether one of these addresses is a user's of the call.
    pub(crate) fn has_user(&self, emails: &[String]) -> bool {
        match self {
            Self::Generated {
                population, index, ..
            } => population
                .call_users(*index)
                .any(|user| emails.contains(&user.email)),
            Self::Created(call) => call.has_user(emails),
        }
    }

    /// Whether one of these addresses is that of a participant from outside.
    pub(crate) fn has_attendee(&self, emails: &[String]) -> bool {
        match self {
            Self::Generated {
                population, index, ..
            } => population
                .guests(*index)
                .iter()
                .any(|guest| emails.contains(&guest.email)),
            Self::Created(call) => call.has_attendee(emails),
        }
    }

    /// Whether one of these topics came up in the call.
    pub(crate) fn has_topic(&self, names: &[String]) -> bool {
        match self {
            Self::Generated {
                population, index, ..
            } => {
                self.is_finished()
                    && population
                        .call_topics(*index)
                        .any(|topic| names.iter().any(|name| name == topic.name))
            }
            Self::Created(_) => false,
        }
    }

    /// The record as `/calls` lists it.
    pub(crate) fn record(&self, media: &MediaRequest<'_>) -> Map<String, Value> {
        match self {
            Self::Generated {
                population, index, ..
            } => call_record(population, *index, self, media),
            Self::Created(call) => call.record(),
        }
    }

    /// The record as `/call-details` shows it.
    pub(crate) fn details(&self, media: &MediaRequest<'_>) -> Map<String, Value> {
        let mut record = self.record(media);
        match self {
            Self::Generated {
                population, index, ..
            } => add_details(population, *index, self.is_finished(), &mut record),
            Self::Created(call) => call.add_details(&mut record),
        }
        record
    }
}
