//! Topics: keyword topics with their trackers, and custom topics.

use serde_json::{Value, json};

use super::population::FIRST_TIME;
use super::words::{CUSTOM_TOPICS, KEYWORD_TOPICS};
use crate::ids;
use crate::random::{Purpose, draw_below};

/// Half a year in milliseconds.
const HALF_A_YEAR: i64 = 182 * 24 * 3_600_000;

/// How a moment of a call comes to belong to a topic.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TopicKind {
    /// A participant says one of these phrases.
    Keyword(&'static [&'static str]),
    /// A model recognises this description.
    Custom(&'static str),
}

/// A topic of the workspace.
#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) id: String,
    pub(crate) name: &'static str,
    pub(crate) kind: TopicKind,
    /// Milliseconds since the Unix epoch. `/v2/topics` filters by it but does not show it.
    pub(crate) modified: i64,
    team_ids: Vec<String>,
}

impl Topic {
    /// The topic as `/v2/topics` shows it: either `custom_topic` or `keyword_topic` is filled.
    pub(crate) fn record(&self) -> Value {
        let mut record = json!({
            "topic_id": self.id,
            "topic_name": self.name,
            "team_ids": self.team_ids,
        });
        match self.kind {
            TopicKind::Keyword(trackers) => {
                record["type"] = "KEYWORD".into();
                record["keyword_topic"] = json!({"trackers": trackers});
            }
            TopicKind::Custom(description) => {
                record["type"] = "CUSTOM".into();
                record["custom_topic"] = json!({"description": description, "status": "ACTIVE"});
            }
        }
        record
    }
}

/// All topics of the workspace, last modified in the half year before or after the first call.
pub(crate) fn topics(seed: u64) -> Vec<Topic> {
    let keyword = KEYWORD_TOPICS
        .iter()
        .map(|(name, trackers)| (*name, TopicKind::Keyword(trackers)));
    let custom = CUSTOM_TOPICS
        .iter()
        .map(|(name, description)| (*name, TopicKind::Custom(description)));
    keyword
        .chain(custom)
        .zip(0..)
        .map(|((name, kind), index)| {
            let span = HALF_A_YEAR.unsigned_abs() * 2;
            let offset = draw_below(seed, Purpose::Topic, index, span);
            let team_count = draw_below(seed, Purpose::Topic, index + 1_000, 3);
            Topic {
                id: ids::uuid(seed, Purpose::Topic, index),
                name,
                kind,
                modified: FIRST_TIME - HALF_A_YEAR + i64::try_from(offset).unwrap_or_default(),
                team_ids: (0..team_count)
                    .map(|team| ids::object_id(seed, Purpose::Topic, team))
                    .collect(),
            }
        })
        .collect()
}
